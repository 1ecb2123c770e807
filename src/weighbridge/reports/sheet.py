"""A sheet: columns, rows and totals, ready to be written in any form.

What the rows are (layers, operators, networks) is decided where the sheet is made; how a row looks is
decided where it is written (terminal, CSV, Markdown, LaTeX, HTML). Cells keep whole numbers, so that
printed columns add up to printed totals whatever the form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..units import integer, memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A part of a column's total, in tenths of a percent that add up to 100.0 over the column.

    `partial` says that operators without a rule are missing from the part.
    """

    tenths: int
    part: int
    partial: bool = False

    @property
    def text(self) -> str:
        """'2.9 %'; what is there but rounds to nothing is '<0.1 %'; what nobody counted is '?'."""
        if self.partial and not self.part:
            return "?"
        if self.part and not self.tenths:
            return "<0.1 %"
        return f"{self.tenths // 10}.{self.tenths % 10} %"


@dataclass(frozen=True, slots=True, kw_only=True)
class Partial:
    """A count from which operators without a rule are missing: what is known of it."""

    known: int

    @property
    def text(self) -> str:
        return f"{integer(self.known)} + ?" if self.known else "?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Bytes: in full where a program reads them, three digits and a unit where a person does."""

    bytes: int

    @property
    def text(self) -> str:
        return memory(self.bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure that is not whole: unscaled where a program reads it, as `text` where a person does.

    A time is in seconds, an energy in joules; the column's key says in what.
    """

    value: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """A part of a time: in seconds where a program reads it, where a person does in whole steps of the last digit
    that is written, which add up over the column. `partial` is as of a share.
    """

    seconds: float
    steps: int
    decimals: int
    partial: bool = False

    @property
    def text(self) -> str:
        """'2.90'; what is there but rounds to nothing is '<0.01'."""
        if not self.seconds:
            return "?" if self.partial else "0"
        least = not self.steps
        written = f"{(1 if least else self.steps) / 10**self.decimals:.{self.decimals}f}"
        return f"{'<' if least else ''}{written}{' + ?' if self.partial else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """How high something stands, in tenths of a percent of the highest; `mark` is written behind it."""

    tenths: int
    mark: str = ""

    @property
    def text(self) -> str:
        return self.mark


Cell = int | str | Share | Partial | Size | Figure | Duration | Level | None
"""A whole number, a text, a share, a count that is not whole, bytes, a time or the like, a height, or nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column: `key` is what a user asks for it by, `unit` stands in its heading.

    `data_unit` is the unit in which a program reads its figures, where that is another.
    `rank` says which columns leave first where there is little room; rank 0 stays.
    """

    key: str
    title: str
    unit: str = ""
    data_unit: str = ""
    align: Literal["left", "right"] = "right"
    rank: int = 0

    @property
    def heading(self) -> str:
        return f"{self.title} ({self.unit})" if self.unit else self.title

    @property
    def data_heading(self) -> str:
        """The heading of the figures as a program reads them."""
        return f"{self.title} ({self.data_unit})" if self.data_unit else self.heading


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row: the full `path` of what it is about, the `name` to show indented, and a cell a column.

    `notes` are lines that belong below it, such as formulas.
    """

    path: str
    name: str
    cells: tuple[Cell, ...]
    indent: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """`columns` do not include the one of names, whose heading is `subject`."""

    subject: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    totals: tuple[Cell, ...] | None = None
    notes_title: str = "formula"

    @property
    def has_notes(self) -> bool:
        return any(row.notes for row in self.rows)


def text(cell: Cell) -> str:
    """A cell as a person reads it: grouped digits, `?` where unknown, nothing where there is nothing."""
    if cell is None:
        return ""
    if isinstance(cell, int):
        return integer(cell)
    return cell if isinstance(cell, str) else cell.text


def shares(values: Sequence[int]) -> tuple[Share, ...]:
    """Each value's share of their sum, rounded so that the shares add up to 100.0 %; all are zero where the sum is."""
    if not sum(values):
        return tuple(Share(tenths=0, part=0) for _ in values)
    return tuple(
        Share(tenths=tenth, part=value)
        for tenth, value in zip(apportioned(values, 1000), values, strict=True)
    )


def durations(seconds: Sequence[float]) -> tuple[str, tuple[Duration, ...]]:
    """Times as they are written below each other: their unit, and each in steps that add up to their sum's.

    The sum has four significant digits from a microsecond on, and the unit that it would have alone, up to seconds.
    """
    whole = sum(seconds)
    unit, size = next(
        ((unit, size) for unit, size in (("s", 1.0), ("ms", 1e-3)) if whole >= size), ("us", 1e-6)
    )
    decimals = max(4 - len(f"{int(whole / size)}"), 0)
    steps = apportioned(
        [round(value * 1e15) for value in seconds], round(whole / size * 10**decimals)
    )
    return unit, tuple(
        Duration(seconds=value, steps=step, decimals=decimals)
        for value, step in zip(seconds, steps, strict=True)
    )


def apportioned(values: Sequence[int], steps: int) -> list[int]:
    """So many steps, shared out in proportion to the values.

    Largest remainder: every share is rounded down, and the steps that are left go to those that lost most.
    """
    whole = sum(values)
    if not whole:
        return [0 for _ in values]
    found = [value * steps // whole for value in values]
    lost = sorted(range(len(values)), key=lambda index: -(values[index] * steps % whole))
    for index in lost[: steps - sum(found)]:
        found[index] += 1
    return found


def summed(cells: Sequence[Cell]) -> Cell:
    """The total of a column; None for texts."""
    if any(isinstance(cell, str) for cell in cells) or all(cell is None for cell in cells):
        return None
    if any(isinstance(cell, Share) for cell in cells):
        parts = [cell for cell in cells if isinstance(cell, Share)]
        return Share(tenths=sum(p.tenths for p in parts), part=sum(p.part for p in parts))
    times = [cell for cell in cells if isinstance(cell, Duration)]
    if times:
        return Duration(
            seconds=sum(time.seconds for time in times),
            steps=sum(time.steps for time in times),
            decimals=times[0].decimals,
            partial=any(time.partial for time in times),
        )
    sizes = [cell.bytes for cell in cells if isinstance(cell, Size)]
    if sizes:
        return Size(bytes=sum(sizes))
    whole = sum(cell for cell in cells if isinstance(cell, int))
    partial = [cell.known for cell in cells if isinstance(cell, Partial)]
    return Partial(known=whole + sum(partial)) if partial else whole
