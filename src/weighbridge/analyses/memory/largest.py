"""The largest size that fits: of the batch, the image, the sequence.

The bytes of every storage are polynomials in the size (`scaling`), and the loop at a size goes through the
allocator (`resident`) without building the network again. What is live bounds the answer from above, at
next to no cost; below that bound a few replays find it. It is then confirmed by building the network at
the answer and at the one after it. Where what a network runs changes with the size there are no polynomials,
and every size that is asked about is built.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ...devices import Device
from ...errors import WeighError
from ...program import Program
from ...units import integer
from ...workload import InputSpec, Workload
from .resident import KERNELS, Loop, Resident, capacity_of, fits, resident
from .scaling import Scaling, UnscalableError, halved, largest, scaling
from .settings import AllocatorSettings
from .timeline import Category, Lifetime, Peak, lifetimes, timeline
from .usage import parts

Build = Callable[[Workload], Program]
"""A network: its Program under any workload."""

Axis = Literal["batch", "image size", "sequence length"]

LIMIT = 2**30
"""Where the search for a largest size ends: nobody has so many samples."""

LONGEST = 20_000
"""Operators of a step from which on a search that builds every size looks for no larger one: they take seconds each."""

IMAGE_STEPS = (32, 28)
"""Pixels from one image size to the next: what most networks halve an image to, five times; two patches of 14."""

SEQUENCE_STEP = 64
"""Tokens from one sequence length to the next: tensor cores want multiples of 8 to 64 (NVIDIA DU-09799-001)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A device as a loop meets it: its memory, what its context takes of it, and the allocator's settings."""

    device: Device
    settings: AllocatorSettings | None = None

    def resident(self, loop: Loop | Sequence[Lifetime]) -> Resident:
        """What the loop takes of it."""
        return resident(loop, self.device, settings=self.settings)

    def fits(self, loop: Loop | Sequence[Lifetime]) -> bool:
        """Whether the loop surely fits. Raises as :func:`resident` does."""
        return fits(loop, self.device, settings=self.settings)

    def holds(self, live_bytes: int) -> bool:
        """Whether so much may be live at once: an allocator takes no less."""
        return int(live_bytes * (1 + KERNELS[1])) <= capacity_of(self.device)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What takes most at the peak: a category, and of that category the module that holds most.

    `scope_bytes` are the module's in that category, of the category's `bytes`, of the peak's `peak_bytes`.
    """

    category: Category
    bytes: int
    scope: str
    scope_bytes: int
    peak_bytes: int

    @property
    def share(self) -> float:
        """The category's part of the peak, 0 to 1."""
        return self.bytes / self.peak_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Largest:
    """The largest size along an axis that fits, with everything else as the workload has it.

    Sizes are looked at in steps of `step`; `size` is 0 where not even the smallest fits, and `binds` then
    says what takes the memory. `at` is the loop built at `size`; `beyond` the loop built at the size after it,
    None where nobody asks further (the limit of the search, or the network takes no larger one).
    `direct` says why each size was built, and is None where sizes followed by arithmetic.
    """

    axis: Axis
    size: int
    step: int
    at: Resident | None
    beyond: Resident | None
    direct: str | None
    binds: Binding | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A step on a device: what it takes there, and the largest batch, None where nobody asked for it."""

    resident: Resident
    largest: Largest | None


def binding(peak: Peak) -> Binding:
    """What takes most at a peak."""
    totals = peak.by_category()
    category = max(totals, key=lambda name: totals[name])
    held = parts([life for life in peak.alive if life.category == category])[0]
    return Binding(
        category=category,
        bytes=totals[category],
        scope=held.scope or "",
        scope_bytes=held.bytes,
        peak_bytes=peak.bytes,
    )


def batch_scaling(build: Build, workload: Workload) -> Scaling:
    """The polynomials in the batch, solved around the workload's; a batch of 1 is like no other, and left out.

    Tensors with an axis of one lie in memory in more than one order at once, so that copies are spared.

    Raises:
        UnscalableError: operators or lifetimes change with the batch.
    """
    return scaling(lambda size: build(replace(workload, batch=size)), start=max(workload.batch, 2))


def largest_batch(build: Build, workload: Workload, room: Room) -> Largest:
    """The largest batch that fits, confirmed.

    Raises:
        WeighError: the network cannot be built under the workload.
        UsageError: nobody says how much memory the device has.
    """
    search = _Search(
        built=lambda size: build(resized(workload, "batch", size)),
        room=room,
        axis="batch",
        start=1,
        step=1,
    )
    if workload.batch == 1 and not room.fits(lifetimes(build(workload))):
        return search.none()
    try:
        polynomials = batch_scaling(build, workload)
    except UnscalableError as error:
        return search.directly(error.message)
    return search.by_arithmetic(polynomials)


def largest_by_arithmetic(polynomials: Scaling, room: Room, *, smallest: int = 1) -> int:
    """The largest size that fits by the polynomials alone; less than `smallest` where that does not."""
    start, step = smallest, polynomials.stride

    def size(place: int) -> int:
        return start + (place - 1) * step

    most = largest(lambda place: room.holds(polynomials.peak(size(place))), limit=LIMIT)
    return size(_descended(lambda place: room.fits(polynomials.loop(size(place))), most))


def largest_size(build: Build, program: Program, room: Room) -> Largest | None:
    """The largest image or sequence at the program's batch; None where the network has neither or takes only one."""
    workload = program.workload
    found = _axis(workload.inputs)
    if found is None:
        return None
    axis, steps = found
    asked = _extent(workload.inputs, axis)
    for step in steps:
        search = _Search(
            built=lambda size: build(resized(workload, axis, size)),
            room=room,
            axis=axis,
            start=asked % step or step,
            step=step,
        )
        for start in (asked, asked - 3 * step):  # some networks take no larger one
            if start < search.start:
                continue
            try:
                polynomials = scaling(search.built, start=start, stride=step)
            except UnscalableError as error:
                return search.directly(error.message)
            except WeighError:
                continue
            return search.by_arithmetic(polynomials)
    return None


def resized(workload: Workload, axis: Axis, size: int) -> Workload:
    """The workload at another batch, image size or sequence length; its inputs must be known."""
    if axis == "batch":
        return replace(workload, batch=size)
    return replace(workload, inputs=_resized(workload.inputs, axis, size))


def _axis(inputs: Sequence[InputSpec]) -> tuple[Axis, tuple[int, ...]] | None:
    """Which size of the inputs may change, and in which steps: square images, or the tokens of all inputs."""
    images = {spec.shape[-2:] for spec in inputs if len(spec.shape) >= 3}
    if len(images) == 1 and len({*images.pop()}) == 1:
        return "image size", IMAGE_STEPS
    tokens = {spec.shape for spec in inputs if spec.dtype == "int64"}
    if len(tokens) == 1 and len(tokens.pop()) == 1 and all(len(spec.shape) == 1 for spec in inputs):
        return "sequence length", (SEQUENCE_STEP,)
    return None


def _extent(inputs: Sequence[InputSpec], axis: Axis) -> int:
    rank = 3 if axis == "image size" else 1
    return next(spec.shape[-1] for spec in inputs if len(spec.shape) >= rank)


def _resized(inputs: Sequence[InputSpec], axis: Axis, size: int) -> tuple[InputSpec, ...]:
    if axis == "sequence length":
        return tuple(replace(spec, shape=(size,)) for spec in inputs)
    return tuple(
        replace(spec, shape=(*spec.shape[:-2], size, size)) if len(spec.shape) >= 3 else spec
        for spec in inputs
    )


def _descended(fitting: Callable[[int], bool], most: int) -> int:
    """The largest place that fits, of which `most` is a bound and mostly not far off; 0 where none does."""
    if most < 1 or fitting(most):
        return most
    high, gap = most, max(1, most // 32)
    low = max(high - gap, 0)
    while low and not fitting(low):
        high, gap = low, 2 * gap
        low = max(high - gap, 0)
    return halved(fitting, low, high)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """A search along an axis: sizes `start`, `start + step`, ..., and how the network is built at one."""

    built: Callable[[int], Program]
    room: Room
    axis: Axis
    start: int
    step: int

    def by_arithmetic(self, polynomials: Scaling) -> Largest:
        """The answer of the polynomials, with the network built at it and after it.

        Where the network is not what they say, every size is built.
        """
        size = largest_by_arithmetic(polynomials, self.room, smallest=self.start)
        beyond = self._resident(size + self.step)
        if size < self.start:
            return self.none()
        at = self._resident(size)
        if at is None:
            return self.directly(f"the network cannot be built at {self.axis} {size}")
        if beyond or not at:
            return self.directly(
                f"at {self.axis} {size} the network takes other memory than its growth up to there says"
            )
        return self._found(size, at, beyond, None)

    def directly(self, why: str) -> Largest:
        """The answer by building every size that is asked about; one that cannot be built does not fit.

        Where operators grow with the size without taking memory, a larger size would fit for as long as one
        cares to wait: the search then ends at a size that does, and says so.
        """
        looked_at: dict[int, Resident | None] = {}
        ended: dict[int, int] = {}  # the size that is large enough, and the operators of its step

        def fitting(place: int) -> bool:
            size = self.start + (place - 1) * self.step
            if any(size > end for end in ended):
                return False
            program = self._program(size)
            looked_at[size] = None if program is None else self._on(program)
            if looked_at[size] and program is not None and len(program.ops) > LONGEST:
                ended[size] = len(program.ops)
            return bool(looked_at[size])

        size = self.start + (largest(fitting, limit=LIMIT) - 1) * self.step
        at = looked_at.get(size)
        if at is None:
            return self.none(why)
        if size in ended:
            why = f"{why}; a larger one was not looked for, since a step runs {integer(ended[size])} operators there"
        return self._found(size, at, looked_at.get(size + self.step), why)

    def _found(
        self, size: int, at: Resident, beyond: Resident | None, direct: str | None
    ) -> Largest:
        return Largest(
            axis=self.axis,
            size=size,
            step=self.step,
            at=at,
            beyond=beyond,
            direct=direct,
            binds=None,
        )

    def none(self, direct: str | None = None) -> Largest:
        """Not even the smallest fits: what takes the memory there."""
        return Largest(
            axis=self.axis,
            size=0,
            step=self.step,
            at=None,
            beyond=self._resident(self.start),
            direct=direct,
            binds=binding(timeline(self.built(self.start)).peak),
        )

    def _resident(self, size: int) -> Resident | None:
        """The loop at a size, None where the network cannot be built at it."""
        program = self._program(size)
        return None if program is None else self._on(program)

    def _program(self, size: int) -> Program | None:
        if size >= LIMIT:
            return None
        try:
            return self.built(size)
        except WeighError:
            return None

    def _on(self, program: Program) -> Resident:
        return self.room.resident(lifetimes(program))
