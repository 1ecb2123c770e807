"""What-ifs: the time of a step at any batch, at many batches at once, without building it again.

A network launches the same kernels whatever the batch, and every number about a kernel is a polynomial in
it (`analyses.growing`). So the kernels of a few batches give those of all, the same ones counted together, and
the clock takes a thousand batches at once where they come as an array: its arithmetic is plain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import Any

from ...dims import larger
from ...ops.kernel import Gemm, Kernel
from ...program import Program
from ...workload import Workload
from ..growing import Growing, solved
from ..memory.scaling import UnscalableError, check_operators
from .clock import Clock
from .execution import Launch, dispatches, launches

Build = Callable[[Workload], Program]
"""A network: its Program under any workload."""

_NUMBERS = tuple(
    entry.name for entry in fields(Kernel) if entry.type == "int" and entry.name != "largest_bytes"
)
_SIZES = tuple(entry.name for entry in fields(Gemm))
_numbers_of = attrgetter(*_NUMBERS)
_sizes_of = attrgetter(*_SIZES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Herd:
    """So many kernels of a step that are the same at every batch.

    `kernel` is one of them, `numbers` its numbers, those of its matrix product last. Its largest operand is
    a weight of `weight_bytes`, or what takes `sample_bytes` a sample.
    """

    kernel: Kernel
    count: int
    numbers: Growing
    weight_bytes: int
    sample_bytes: float

    def at(self, batch: int) -> Kernel:
        """One of them at a batch; at an array of batches, one whose numbers are arrays where they grow."""
        values: tuple[Any, ...] = self.numbers.at(batch)
        named: dict[str, Any] = dict(zip(_NUMBERS, values, strict=False))
        named["largest_bytes"] = larger(self.weight_bytes, batch * self.sample_bytes)
        if self.kernel.gemm is not None:
            named["gemm"] = Gemm(**dict(zip(_SIZES, values[len(_NUMBERS) :], strict=True)))
        return replace(self.kernel, **named)


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """The kernels of a step at every batch from `smallest` on, and how much the host hands out."""

    workload: Workload
    smallest: int
    herds: tuple[Herd, ...]
    dispatches: int

    def seconds(self, clock: Clock, batch: int) -> float:
        """The time of the step on the clock's device at a batch, or at each of an array of them.

        Raises:
            UsageError: the device has no rate for a dtype of the step, or no bandwidth.
        """
        clock = clock.running(self.workload)
        device_s = sum(herd.count * clock.time(herd.at(batch)).seconds for herd in self.herds)
        host_s = self.dispatches * clock.efficiencies.dispatch_s
        found: float = device_s + host_s if clock.on_host else larger(device_s, host_s)
        return found


def growth(build: Build, workload: Workload) -> Growth:
    """The kernels of the step at every batch.

    Raises:
        UnscalableError: it launches other kernels at one batch than at another, or they grow faster than
            with the square of it.
        WeighError: the network cannot be built.
    """
    start = max(workload.batch, 2)
    program = build(replace(workload, batch=start))
    launched = tuple(launches(program))
    largest = {start: _largest(launched)}

    def row(batch: int) -> Sequence[int]:
        if batch == start:
            return tuple(_row(launched))
        other = build(replace(workload, batch=batch))
        check_operators(program, other)
        found = tuple(launches(other))
        if list(map(_alike, found)) != list(map(_alike, launched)):
            raise UnscalableError("it launches other kernels at one batch than at another")
        largest[batch] = _largest(found)
        return tuple(_row(found))

    numbers = solved(row, start)
    far = max(largest)
    lengths = (
        len(_NUMBERS) + (0 if launch.kernel.gemm is None else len(_SIZES)) for launch in launched
    )
    herds: dict[Herd, int] = {}
    for launch, piece, here, next_, distant in zip(
        launched,
        numbers.cut(*lengths),
        largest[start],
        largest[start + 1],
        largest[far],
        strict=True,
    ):
        herd = Herd(
            kernel=launch.kernel,
            count=1,
            numbers=piece,
            weight_bytes=here if here == next_ else 0,
            sample_bytes=distant / far if distant != here else 0.0,
        )
        herds[herd] = herds.get(herd, 0) + 1
    return Growth(
        workload=workload,
        smallest=_smallest(numbers, row),
        herds=tuple(replace(herd, count=count) for herd, count in herds.items()),
        dispatches=dispatches(program, launched),
    )


def _smallest(numbers: Growing, row: Callable[[int], Sequence[int]]) -> int:
    try:
        return 1 if numbers.at(1) == row(1) else 2
    except UnscalableError:
        return 2


def _row(launched: Sequence[Launch]) -> Iterator[int]:
    """Every number about the kernels but their largest operands, one after the other."""
    for launch in launched:
        yield from _numbers_of(launch.kernel)
        if launch.kernel.gemm is not None:
            yield from _sizes_of(launch.kernel.gemm)


def _largest(launched: Sequence[Launch]) -> tuple[int, ...]:
    return tuple(launch.kernel.largest_bytes for launch in launched)


def _alike(launch: Launch) -> tuple[object, ...]:
    """What of a kernel is no number, and has to be the same at every batch."""
    kernel = launch.kernel
    return (kernel.kind, kernel.part, kernel.dtype, kernel.channels_last, kernel.gemm is None)
