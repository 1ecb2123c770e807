"""What a page says before its program runs, and where none may run, as in a mail: verdict, figures, and the layers' table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...analyses.memory.largest import Placed
from ...analyses.time.step import StepTime, Untimed
from ...analyses.weighing import Weighing
from ...units import duration, durations, memory
from ..screen import named_facts
from ..sheet import Column, Sheet, text
from ..side_by_side import sentences
from ..time import bound, rate

UNPLACED = "; name a device with --on to see whether it fits, and how long a step takes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What it is, the figure itself, where there is one, and what else is said of it."""

    name: str
    value: str
    note: str


def verdict(
    weighing: Weighing, placed: Sequence[Placed], times: Sequence[StepTime | Untimed]
) -> tuple[str, ...]:
    """The sentences on the devices; on none, how much memory the step takes."""
    if placed:
        return sentences(placed, times)
    return (
        (f"peak {memory(weighing.memory.peak_bytes)} of tensors over a step{UNPLACED}",)
        if weighing.program.ops
        else ()
    )


def figures(weighing: Weighing, times: Sequence[StepTime | Untimed]) -> Iterator[Figure]:
    """What most people came for, on the first of the devices."""
    for name, said in named_facts(weighing):
        value, equals, rest = said.partition(" = ")
        yield Figure(name=name, value=value if equals else "", note=f"= {rest}" if equals else said)
    if weighing.program.ops:
        peak = weighing.memory.peak
        where = f"in {peak.scope or weighing.program.network}, {peak.phase}"
        yield Figure(name="peak of tensors", value=memory(peak.bytes), note=where)
    for time in times[:1]:
        yield _step(time)


def _step(time: StepTime | Untimed) -> Figure:
    if isinstance(time, Untimed):
        return Figure(name="a step", value="?", note=time.why)
    found = time.seconds
    between = durations(found.low, found.high)
    return Figure(
        name="a step",
        value=f"~{duration(found.value)}",
        note=f"{between} · {rate(time)} · bound by {bound(time)}",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A sheet as texts, a class for each column."""

    headings: tuple[tuple[str, str], ...]
    rows: tuple[tuple[tuple[str, str], ...], ...]
    totals: tuple[tuple[str, str], ...]


def table(sheet: Sheet) -> Table:
    """The sheet, rows indented by their depth, and its totals where it has them."""
    sides = ("l", *map(_side, sheet.columns))

    def written(name: str, cells: Sequence[str]) -> tuple[tuple[str, str], ...]:
        return tuple(zip(sides, (name, *cells), strict=True))

    return Table(
        headings=written(sheet.subject, [column.heading for column in sheet.columns]),
        rows=tuple(
            written("\u2003" * row.indent + row.name, list(map(text, row.cells)))
            for row in sheet.rows
        ),
        totals=written("total", list(map(text, sheet.totals))) if sheet.totals else (),
    )


def _side(column: Column) -> str:
    return "l" if column.align == "left" else ""
