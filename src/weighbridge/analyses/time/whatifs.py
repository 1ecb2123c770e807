"""What-ifs: the time of a step at any batch, at many batches at once, without building it again.

A network launches the same kernels whatever the batch, and every number about a kernel is a polynomial in
it (`analyses.growing`). So the kernels of a few batches give those of all, the same ones counted together, and
the clock takes a thousand batches at once where they come as an array: its arithmetic is plain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, reduce
from operator import attrgetter
from typing import Any

from ...dims import larger
from ...ops import rule_of
from ...ops.kernel import Gemm, Kernel
from ...program import Program
from ...workload import Workload
from ..growing import Growing, constant, solved
from ..memory.scaling import UnscalableError, check_operators
from .clock import Clock
from .execution import Launch, dispatches, launches

Build = Callable[[Workload], Program]
"""A network: its Program under any workload."""

NUMBERS = tuple(
    entry.name for entry in fields(Kernel) if entry.type == "int" and entry.name != "largest_bytes"
)
"""The numbers of a kernel that grow, its largest operand apart: that is the largest of several that do."""
SIZES = tuple(entry.name for entry in fields(Gemm))
_numbers_of = attrgetter(*NUMBERS)
_sizes_of = attrgetter(*SIZES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Herd:
    """The kernels of a step that are the same at every batch.

    `kernel` is one of them at some batch, `numbers` its numbers, those of its matrix product last, and
    `operands` the bytes of what it reads and writes.
    """

    kernel: Kernel
    numbers: Growing
    operands: Growing

    def at(self, batch: int) -> Kernel:
        """One of them at a batch; at an array of batches, one whose numbers are arrays where they grow."""
        values: tuple[Any, ...] = self.numbers.at(batch)
        named: dict[str, Any] = dict(zip(NUMBERS, values, strict=False))
        named["largest_bytes"] = reduce(larger, self.operands.at(batch), 0.0)
        if self.kernel.gemm is not None:
            named["gemm"] = Gemm(**dict(zip(SIZES, values[len(NUMBERS) :], strict=True)))
        return replace(self.kernel, **named)


@dataclass(frozen=True, kw_only=True)
class Growth:
    """The kernels of a step at every batch from `smallest` on, and how much the host hands out.

    `launched` are its launches in order: each one's herd, and the places of its operators in the program.
    """

    workload: Workload
    smallest: int
    herds: tuple[Herd, ...]
    launched: tuple[tuple[int, tuple[int, ...]], ...]
    dispatches: int
    uncounted: int

    @cached_property
    def counts(self) -> Mapping[int, int]:
        """How many kernels a herd has."""
        return Counter(herd for herd, _ in self.launched)

    def seconds(self, clock: Clock, batch: int) -> float:
        """The time of the step on the clock's device at a batch, or at each of an array of them.

        Raises:
            UsageError: the device has no rate for a dtype of the step, or no bandwidth.
        """
        clock = clock.running(self.workload)
        device_s = sum(
            self.counts[place] * clock.time(herd.at(batch)).seconds
            for place, herd in enumerate(self.herds)
        )
        host_s = self.dispatches * clock.efficiencies.dispatch_s
        found: float = device_s + host_s if clock.on_host else larger(device_s, host_s)
        return found

    def updated(self, program: Program) -> Growth:
        """The same forward and backward with the update of another program, which no batch makes larger."""
        kept = [
            (self.herds[herd], places)
            for herd, places in self.launched
            if program.ops[places[0]].phase != "update"
        ]
        update = _alone(program, tuple(launches(program, "update")))
        return _growth(program, [*kept, *update], smallest=self.smallest)


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

    def row(batch: int) -> Sequence[int]:
        if batch == start:
            return tuple(_row(launched))
        other = build(replace(workload, batch=batch))
        check_operators(program, other)
        found = tuple(launches(other))
        if list(map(_alike, found)) != list(map(_alike, launched)):
            raise UnscalableError("it launches other kernels at one batch than at another")
        return tuple(_row(found))

    numbers = solved(row, start)
    return _growth(
        program,
        _herds(program, launched, numbers),
        smallest=_smallest(numbers, row),
    )


def alone(program: Program) -> Growth:
    """The kernels of a step at its own batch and no other."""
    return _growth(
        program, _alone(program, tuple(launches(program))), smallest=program.workload.batch
    )


def _alone(program: Program, launched: Sequence[Launch]) -> list[tuple[Herd, tuple[int, ...]]]:
    return _herds(program, launched, constant(tuple(_row(launched))))


def _herds(
    program: Program, launched: Sequence[Launch], numbers: Growing
) -> list[tuple[Herd, tuple[int, ...]]]:
    """The herd of each launch, and the places of its operators; `numbers` are those of all, one after the other."""
    lengths = [
        length
        for launch in launched
        for length in (_length(launch.kernel), len(launch.operands_bytes))
    ]
    pieces = iter(numbers.cut(*lengths))
    places = _places(program)
    return [
        (
            Herd(kernel=launch.kernel, numbers=next(pieces), operands=next(pieces).each_once()[0]),
            places(launch),
        )
        for launch in launched
    ]


def _growth(
    program: Program, launched: Sequence[tuple[Herd, tuple[int, ...]]], *, smallest: int
) -> Growth:
    herds: dict[Herd, int] = {}
    placed = tuple((herds.setdefault(herd, len(herds)), places) for herd, places in launched)
    return Growth(
        workload=program.workload,
        smallest=smallest,
        herds=tuple(herds),
        launched=placed,
        dispatches=dispatches(program, launched),
        uncounted=sum(rule_of(op.kind) is None for op in program.ops),
    )


def _smallest(numbers: Growing, row: Callable[[int], Sequence[int]]) -> int:
    try:
        return 1 if numbers.at(1) == row(1) else 2
    except UnscalableError:
        return 2


def _row(launched: Sequence[Launch]) -> Iterator[int]:
    """Every number about the kernels but their largest operands, and the bytes of each operand, one after the other."""
    for launch in launched:
        yield from _numbers_of(launch.kernel)
        if launch.kernel.gemm is not None:
            yield from _sizes_of(launch.kernel.gemm)
        yield from launch.operands_bytes


def _length(kernel: Kernel) -> int:
    return len(NUMBERS) + (0 if kernel.gemm is None else len(SIZES))


def _alike(launch: Launch) -> tuple[object, ...]:
    """What of a kernel is no number, and has to be the same at every batch."""
    kernel = launch.kernel
    return (
        kernel.kind,
        kernel.part,
        kernel.dtype,
        kernel.channels_last,
        kernel.gemm is None,
        len(launch.operands_bytes),
    )


def _places(program: Program) -> Callable[[Launch], tuple[int, ...]]:
    """Finds where the operators of a launch stand in the program."""
    places = {id(op): place for place, op in enumerate(program.ops)}
    return lambda launch: tuple(places[id(op)] for op in launch.ops)
