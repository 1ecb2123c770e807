"""Usage: the memory of a loop's first step and of its later ones, and a curve over a step that a page can take.

The timeline says what is allocated while each of some thousand operators runs. A person reads it by
module: neighbouring operators of one phase in one module are a stretch, told by its fullest moment, so that
no peak is lost however few rows there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from operator import itemgetter

from ...program import Phase, Program
from ..layers import depth_of, folded
from .timeline import (
    CATEGORIES,
    START,
    Category,
    Lifetime,
    Peak,
    Round,
    Timeline,
    in_round,
    lifetimes,
    timeline,
)

ROWS = 40
"""Rows that a curve takes of a page."""

MODULES = 12
"""Modules that are told apart at the peak; the rest are one row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Neighbouring operators of one phase, from module `scope` to module `until`, by their fullest moment.

    `phase` is None for the moment before the step. `operator` is the index of the fullest, at which
    `bytes` are allocated: `tenths` of a percent of the peak. `peak` says that it is the peak itself.
    """

    phase: Phase | None
    scope: str
    until: str
    operator: int
    bytes: int
    tenths: int
    categories: Mapping[Category, int]
    peak: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a module holds at the peak, by category; `scope` is None for all modules that have no row of their own."""

    scope: str | None
    bytes: int
    categories: Mapping[Category, int]


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What a loop around a program holds: tensors alone, exactly, in the first step and in later ones.

    Figures are worked out when first asked for, and kept.
    """

    program: Program

    @cached_property
    def lifetimes(self) -> tuple[Lifetime, ...]:
        """Every storage of a round of the loop."""
        return lifetimes(self.program)

    @cached_property
    def first(self) -> Timeline:
        """The first step. Raises as :func:`timeline` does."""
        return timeline(self.program, "first")

    @cached_property
    def later(self) -> Timeline:
        """Every step after the first. Raises as :func:`timeline` does."""
        return timeline(self.program, "later")

    @property
    def timeline(self) -> Timeline:
        """The step with the higher peak: mostly the second, which finds the optimizer's state."""
        return self.first if self.first.peak.bytes > self.later.peak.bytes else self.later

    @property
    def peak(self) -> Peak:
        """Where most is allocated, and what is alive there."""
        return self.timeline.peak

    @property
    def peak_bytes(self) -> int:
        return self.peak.bytes

    @property
    def categories(self) -> Mapping[Category, int]:
        """Bytes at the peak by what they are for; together they are `peak_bytes`."""
        return self.peak.by_category()

    @property
    def alive_at_peak(self) -> tuple[Lifetime, ...]:
        """The storages at the peak, largest first."""
        return self.peak.alive

    def of(self, round: Round) -> Timeline:
        """The first step, or a later one."""
        return self.first if round == "first" else self.later

    def curve(self, round: Round = "later", *, rows: int = ROWS) -> tuple[Stretch, ...]:
        """A step as at most about so many stretches; their fullest is the step's peak."""
        return tuple(_stretches(self.program, self.of(round), self._before(round), rows))

    def modules(self, *, depth: int | None = None, rows: int = MODULES) -> tuple[Part, ...]:
        """What modules hold at the peak, fullest first, down to `depth`; None: as deep as `rows` allow.

        Those that are over are one part without a scope.
        """
        return parts(self.peak.alive, depth=depth, rows=rows)

    def _before(self, round: Round) -> Mapping[Category, int]:
        """What is there before the first operator of a step."""
        totals: dict[Category, int] = {}
        for life in in_round(self.lifetimes, round):
            if life.birth == START:
                totals[life.category] = totals.get(life.category, 0) + life.bytes
        return totals


def parts(
    alive: Sequence[Lifetime], *, depth: int | None = None, rows: int = MODULES
) -> tuple[Part, ...]:
    """What modules hold of what is alive, as :meth:`Memory.modules` tells it."""
    if depth is None:
        depth = _fitting_depth([life.scope for life in alive], rows)
    held: dict[str, dict[Category, int]] = {}
    for life in alive:
        own = held.setdefault(folded(life.scope, depth), {})
        own[life.category] = own.get(life.category, 0) + life.bytes
    found = sorted((_part(scope, own) for scope, own in held.items()), key=lambda p: -p.bytes)
    rest: dict[Category, int] = {}
    for part in found[rows:]:
        for category, size in part.categories.items():
            rest[category] = rest.get(category, 0) + size
    return (*found[:rows], _part(None, rest)) if rest else tuple(found)


def _part(scope: str | None, sizes: Mapping[Category, int]) -> Part:
    ordered = {name: sizes[name] for name in CATEGORIES if name in sizes}
    return Part(scope=scope, bytes=sum(ordered.values()), categories=ordered)


def _stretches(
    program: Program, step: Timeline, before: Mapping[Category, int], rows: int
) -> Iterator[Stretch]:
    most = step.peak.bytes
    total = sum(before.values())
    yield Stretch(
        phase=None,
        scope="",
        until="",
        operator=START,
        bytes=total,
        tenths=total * 1000 // most if most else 0,
        categories={name: before[name] for name in CATEGORIES if before.get(name)},
        peak=False,
    )
    depth = _curve_depth(program, rows)
    runs = _runs(program, depth)
    together = -(-len(runs) // rows)
    for phase, same in groupby(runs, key=lambda run: program.ops[run[0]].phase):
        of_phase = list(same)
        for start in range(0, len(of_phase), together):
            joined = of_phase[start : start + together]
            indices = [index for run in joined for index in run]
            fullest = max(indices, key=lambda index: (step.allocated[index], -index))
            yield Stretch(
                phase=phase,
                scope=_place(program, joined[0][0], depth)[1],
                until=_place(program, joined[-1][0], depth)[1],
                operator=fullest,
                bytes=step.allocated[fullest],
                tenths=step.allocated[fullest] * 1000 // most if most else 0,
                categories={
                    name: sizes[fullest]
                    for name, sizes in step.categories.items()
                    if sizes[fullest]
                },
                peak=fullest == step.peak.operator,
            )


def _curve_depth(program: Program, rows: int) -> int:
    """The deepest folding that fits; the one below it where that says too little, its runs joined."""
    deepest = max((depth_of(op.scope) for op in program.ops), default=0)
    lengths = {depth: len(_runs(program, depth)) for depth in range(1, deepest + 1)}
    depth = max((depth for depth, length in lengths.items() if length <= rows), default=1)
    few = lengths.get(depth, 0) < rows // 4
    return depth + 1 if few and depth < deepest else depth


def _runs(program: Program, depth: int) -> list[list[int]]:
    """Neighbouring operators of one phase and module; an update is one run, since it touches all modules alike."""
    places = (_place(program, index, depth) for index in range(len(program.ops)))
    return [[index for index, _ in run] for _, run in groupby(enumerate(places), key=itemgetter(1))]


def _place(program: Program, index: int, depth: int) -> tuple[Phase, str]:
    op = program.ops[index]
    return op.phase, "" if op.phase == "update" else folded(op.scope, depth)


def _fitting_depth(scopes: Sequence[str], rows: int) -> int:
    """The deepest folding that leaves no more than so many modules, and at least 1."""
    deepest = max(map(depth_of, scopes), default=1)
    fits = [
        depth
        for depth in range(1, deepest + 1)
        if len({folded(scope, depth) for scope in scopes}) <= rows
    ]
    return max(fits, default=1)
