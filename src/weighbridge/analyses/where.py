"""Where: on which devices a step may be run, what it takes there, and what renting one costs (L23).

The step is built once for each backend, and put through the allocator of every device and on its clock. Whether it
fits is asked of the batch as it is: nothing is searched. Where the buyer chooses a device's memory, the smallest
that the step surely fits is taken, else the largest there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ..devices import Device, with_memory
from ..program import Program
from ..workload import Backend, Workload
from .memory.largest import Build, Room
from .memory.resident import Loop, Resident, fits
from .memory.scaling import halved
from .memory.timeline import lifetimes
from .run import Run, Step, Terms, placed, stepping

Order = Literal["time", "cost", "memory"]
Found = Literal["here", "named", "catalogue"]

GIB = 2**30
ANSWERS = ("fits", "too close to call", None, "does not fit")
"""The order of answers: what surely fits first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A device to look at: this machine's, one that was named, or one of the catalogue."""

    room: Room
    found: Found


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """A step on the devices that were asked about.

    `here` are this machine's, GPUs first; `runs` all of them, those that fit first, in the order asked for.
    `needs_bytes` is the smallest memory of a GPU, in whole GiB, that the step surely fits.
    `without` are devices whose memory is their buyer's choice, of which nothing is said.
    """

    program: Program
    here: tuple[Run, ...]
    runs: tuple[Run, ...]
    needs_bytes: int
    without: tuple[Device, ...]

    @property
    def runs_here(self) -> Run | None:
        """This machine's first device on which it surely fits."""
        return next((run for run in self.here if run.fits), None)

    @property
    def fastest(self) -> Run | None:
        """Of those that it surely fits, the fastest."""
        return min(self._timed(), key=_seconds_a_sample, default=None)

    @property
    def cheapest(self) -> Run | None:
        """Of those that it surely fits and that can be rented, the one on which it costs least."""
        rented = [run for run in self._timed() if run.rented is not None]
        return min(rented, key=_price, default=None)

    def _timed(self) -> Iterator[Run]:
        return (run for run in self.runs if run.fits and run.pace is not None)


def where(
    build: Build,
    asked: Workload,
    sites: Sequence[Site],
    terms: Terms,
    *,
    backend: Callable[[Device], Backend],
    without: Sequence[Device] = (),
    network: str,
    epochs: float | None = None,
    order: Order = "time",
) -> Where:
    """The step at every site; `backend` says whose kernels run there.

    Raises:
        UsageError: the learning rule, the data set and the batch make no sense together, or a device that was named
            has no rate for a dtype of the step.
        WeighError: the network cannot be built under the workload.
    """
    workload = stepping(asked)
    steps: dict[Backend, tuple[Step, Loop]] = {}

    def step(kernels: Backend) -> tuple[Step, Loop]:
        if kernels not in steps:
            program = build(replace(workload, backend=kernels))
            steps[kernels] = (Step.of(program), Loop.of(lifetimes(program)))
        return steps[kernels]

    runs: list[tuple[Site, Run]] = []
    for site in sites:
        built, loop = step(backend(site.room.device))
        found = placed(
            built,
            _resident(loop, site.room),
            terms,
            network=network,
            epochs=epochs,
            lenient=site.found == "catalogue",
        )
        runs.append((site, found))
    whole, loop = step(workload.backend)
    return Where(
        program=whole.program,
        here=tuple(run for site, run in runs if site.found == "here"),
        runs=tuple(sorted((run for _, run in runs), key=lambda run: _place(run, order))),
        needs_bytes=needed(loop),
        without=tuple(without),
    )


def needed(loop: Loop) -> int:
    """The smallest memory of a GPU, in whole GiB, that a loop surely fits; of the GPU nothing else is known."""

    def fitting(gib: int) -> bool:
        return fits(loop, Device(name="a GPU", memory_bytes=gib * GIB))

    least = loop.live_bytes // GIB  # in so much it does not fit
    most = max(2 * least, 1)
    while not fitting(most):
        least, most = most, 2 * most
    return (halved(lambda gib: not fitting(gib), least, most) + 1) * GIB


def _resident(loop: Loop, room: Room) -> Resident:
    """What the step takes of the device, of the smallest memory that it can be bought with."""
    device = room.device
    if device.capacity_bytes is not None or not device.memory_options_bytes:
        return room.resident(loop)
    found = [
        replace(room, device=with_memory(device, size)).resident(loop)
        for size in sorted(device.memory_options_bytes)
    ]
    return next((resident for resident in found if resident), found[-1])


def _place(run: Run, order: Order) -> tuple[int, float]:
    assert run.resident is not None
    measure = {"time": _seconds_a_sample, "cost": _price, "memory": _memory}[order]
    return ANSWERS.index(run.resident.answer), measure(run)


def _seconds_a_sample(run: Run) -> float:
    rate = run.samples_per_s
    return float("inf") if rate is None else 1 / rate


def _price(run: Run) -> float:
    cost = run.cost_of_million
    return float("inf") if cost is None else cost


def _memory(run: Run) -> float:
    capacity = None if run.resident is None else run.resident.capacity_bytes
    return float("inf") if capacity is None else capacity
