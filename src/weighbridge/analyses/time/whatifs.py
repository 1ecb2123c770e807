"""What-ifs: the time of a step at any batch, at many batches at once, without building it again.

A network launches the same kernels whatever the batch, and every number about a kernel is a polynomial in
it (`analyses.growing`). So the kernels of a few batches give those of all, the same ones counted together, and
the clock takes a thousand batches at once where they come as an array: its arithmetic is plain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, cached_property, reduce
from operator import attrgetter
from typing import Any

from ...dims import larger
from ...errors import WeighError
from ...ops import rule_of
from ...ops.kernel import Gemm, Kernel
from ...program import Program
from ...workload import Workload
from ..growing import Growing, constant, solved, solved_over_sizes
from ..memory.scaling import UnscalableError, check_operators
from ..sizes import Lattice, resized
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


SHORT = 16
"""Over shorter sequences attention may have less other arithmetic than its sums of n products save (one addition each), which a
kernel counts as none, and no polynomial does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Herd:
    """The kernels of a step that are the same at every batch.

    `kernel` is one of them at some batch, `numbers` its numbers, those of its matrix product last, and
    `operands` the bytes of what it reads and writes.
    """

    kernel: Kernel
    numbers: Growing
    operands: Growing

    def at(self, batch: int, steps: int = 0) -> Kernel:
        """One of them at a batch and so many steps of the size; at an array of batches, one whose numbers are arrays."""
        values: tuple[Any, ...] = self.numbers.at(batch, steps)
        named: dict[str, Any] = dict(zip(NUMBERS, values, strict=False))
        named["largest_bytes"] = reduce(larger, self.operands.at(batch, steps), 0.0)
        if self.kernel.gemm is not None:
            named["gemm"] = Gemm(**dict(zip(SIZES, values[len(NUMBERS) :], strict=True)))
        return replace(self.kernel, **named)


@dataclass(frozen=True, kw_only=True)
class Growth:
    """The kernels of a step at every batch from `smallest` to `largest`, None where there is no end.

    `sizes` is from and to how many steps of its size they are known, None at its own alone. `dispatches` is how much the host hands
    out, `uncounted` how many operators have no rule. `launched` are the launches in order: each one's herd, and the
    places of its operators in the program.
    """

    workload: Workload
    smallest: int
    largest: int | None
    sizes: tuple[int, int] | None
    herds: tuple[Herd, ...]
    launched: tuple[tuple[int, tuple[int, ...]], ...]
    dispatches: int
    uncounted: int

    @cached_property
    def counts(self) -> Mapping[int, int]:
        """How many kernels a herd has."""
        return Counter(herd for herd, _ in self.launched)

    def covers(self, batch: int) -> bool:
        """Whether it knows the kernels at a batch, at the network's own size."""
        least, most = self.sizes or (0, 0)
        return (
            self.smallest <= batch
            and (self.largest is None or batch <= self.largest)
            and least <= 0 <= most
        )

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
        """The same forward and backward with the update of another program, which comes last and no batch makes larger."""
        update_begins = sum(op.phase != "update" for op in program.ops)
        kept = [
            (self.herds[herd], places)
            for herd, places in self.launched
            if places[0] < update_begins
        ]
        update = _alone(program, tuple(launches(program, "update")))
        return _growth(
            program,
            [*kept, *update],
            smallest=self.smallest,
            largest=self.largest,
            sizes=self.sizes,
        )


def growth(build: Build, workload: Workload, lattice: Lattice | None = None) -> Growth:
    """The kernels of the step at every batch, and at every size of a lattice where they grow with that too.

    Raises:
        UnscalableError: it launches other kernels at one batch than at another, or they grow faster than
            with the square of it.
        WeighError: the network cannot be built.
    """
    start = max(workload.batch, 2)
    program = build(replace(workload, batch=start))
    launched = tuple(launches(program))

    @cache
    def row(batch: int, steps: int) -> Sequence[int]:
        if (batch, steps) == (start, 0):
            return tuple(_row(launched))
        asked = replace(workload, batch=batch)
        other = build(resized(asked, lattice.size(steps)) if lattice and steps else asked)
        check_operators(program, other)
        found = tuple(launches(other))
        if list(map(_alike, found)) != list(map(_alike, launched)):
            raise UnscalableError("it launches other kernels at one batch than at another")
        return tuple(_row(found))

    def holds(found: Growing, batch: int, steps: int = 0) -> bool:
        try:
            return found.at(batch, steps) == row(batch, steps)
        except WeighError:
            return False

    numbers, sizes = _over_sizes(row, holds, start, lattice)
    smallest = 1 if holds(numbers, 1) and (sizes is None or holds(numbers, 1, sizes[0])) else 2
    herds = _herds(program, launched, numbers)
    return _growth(program, herds, smallest=smallest, largest=None, sizes=sizes)


def _over_sizes(
    row: Callable[[int, int], Sequence[int]],
    holds: Callable[[Growing, int, int], bool],
    start: int,
    lattice: Lattice | None,
) -> tuple[Growing, tuple[int, int] | None]:
    """The numbers, and from and to how many steps of the size they are known."""
    if lattice is not None:
        for least, most in _spans(lattice):
            try:
                found = solved_over_sizes(row, start, most, degree=lattice.degree)
            except UnscalableError:
                continue
            if holds(found, start, least):
                return found, (least, most)
    return solved(lambda batch: row(batch, 0), start), None


def _spans(lattice: Lattice) -> Iterator[tuple[int, int]]:
    """From and to how many steps: all; all but the smallest size, whose tensors lie in several orders at once; and none
    below a sixteenth of the own one or `SHORT`, where there may be less of something than of what is taken off it."""
    shortest = min(max(lattice.own // 16, SHORT), lattice.own)
    down = (lattice.own - shortest) // abs(lattice.stride)
    if lattice.stride > 0:
        yield from ((least, lattice.most) for least in (lattice.least, lattice.least + 1, -down))
    else:
        yield from ((lattice.least, most) for most in (lattice.most, lattice.most - 1, down))


def alone(program: Program) -> Growth:
    """The kernels of a step at its own batch and size and no other."""
    batch = program.workload.batch
    herds = _alone(program, tuple(launches(program)))
    return _growth(program, herds, smallest=batch, largest=batch, sizes=None)


def growths(build: Build, workload: Workload, lattice: Lattice | None = None) -> tuple[Growth, ...]:
    """The kernels of the step at every batch, of a batch of 1 apart where it runs others; at its own alone where they do not
    grow as polynomials do.

    Raises:
        WeighError: the network cannot be built.
    """
    try:
        found = growth(build, workload, lattice)
    except UnscalableError:
        return (alone(build(workload)),)
    if found.smallest == 1:
        return (found,)
    try:
        return (found, alone(build(replace(workload, batch=1))))
    except WeighError:
        return (found,)


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
    program: Program,
    launched: Sequence[tuple[Herd, tuple[int, ...]]],
    *,
    smallest: int,
    largest: int | None,
    sizes: tuple[int, int] | None,
) -> Growth:
    herds: dict[Herd, int] = {}
    placed = tuple((herds.setdefault(herd, len(herds)), places) for herd, places in launched)
    return Growth(
        workload=program.workload,
        smallest=smallest,
        largest=largest,
        sizes=sizes,
        herds=tuple(herds),
        launched=placed,
        dispatches=dispatches(program, launched),
        uncounted=sum(rule_of(op.kind) is None for op in program.ops),
    )


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
