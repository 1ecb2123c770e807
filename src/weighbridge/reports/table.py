"""A sheet as a table for the terminal: aligned, no wider than there is room, plain where it is piped.

Columns keep their whole numbers; where there is too little room, those that matter least leave, and
the last line says which. rich is loaded only where there is colour.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from .sheet import Cell, Column, Level, Row, Share, Sheet, text

GAP = "  "
BAR = 4
"""Characters that a bar of 100 % takes."""
CURVE = 24
"""Characters that the highest point of a curve takes."""
EIGHTHS = " ▏▎▍▌▋▊▉█"
WIDEST_NAME = 48

Style = str
"""A style as rich names it: 'bold', 'dim', 'cyan'; '' for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A piece of a line, with its style."""

    text: str
    style: Style = ""


Line = tuple[Span, ...]


def plain(value: str, style: Style = "") -> Line:
    """A line of one piece."""
    return (Span(text=value, style=style),)


def labelled(
    label: str, value: str, *, width: int | None = None, style: Style = ""
) -> tuple[Line, ...]:
    """A bold label and what it says, broken over as many lines as it needs at this width."""
    start = f"{label}  " if label else ""
    pieces = _broken(value, max((width or 10**6) - len(start), 20))
    first = (Span(text=start, style="bold"), Span(text=pieces[0], style=style))
    return (first, *(plain(" " * len(start) + piece, style) for piece in pieces[1:]))


def _broken(value: str, room: int) -> list[str]:
    """The text in pieces of so many characters; a figure stays with its unit, and a shape whole."""
    bound = re.sub(r"(?<=\d) (?=[^\W\d]|%)", "\N{NO-BREAK SPACE}", value)
    bound = re.sub("\N{NO-BREAK SPACE}(x|of) ", "\N{NO-BREAK SPACE}\\1\N{NO-BREAK SPACE}", bound)
    pieces = textwrap.wrap(bound, room, break_on_hyphens=False) or [""]
    return [piece.replace("\N{NO-BREAK SPACE}", " ") for piece in pieces]


def written(lines: Iterable[Line], *, color: bool) -> str:
    """The lines as text, with the terminal's codes for styles where there is colour."""
    if not color:
        return "\n".join("".join(span.text for span in line).rstrip() for line in lines)
    from rich.style import Style as Ansi

    known: dict[str, Ansi] = {}
    painted = []
    for line in lines:
        parts = [
            known.setdefault(span.style, Ansi.parse(span.style)).render(span.text)
            if span.style
            else span.text
            for span in line
        ]
        painted.append("".join(parts))
    return "\n".join(painted)


def render(sheet: Sheet, *, width: int | None = None) -> tuple[Line, ...]:
    """The table, at most `width` characters wide as far as its columns of rank 0 allow; None: no limit."""
    fitted, left_out = _fitted(sheet, width)
    names = [_name(row) for row in fitted.rows]
    first = max(map(len, (sheet.subject, "total", *names)))
    grid = [[_written(cell) for cell in row.cells] for row in fitted.rows]
    totals = [_written(cell) for cell in fitted.totals or ()]
    body = [*grid, totals] if totals else grid
    headings = [column.title if _is_share(column) else column.heading for column in fitted.columns]
    widths = [max(map(len, column)) for column in zip(headings, *body, strict=True)]

    def laid(name: str, cells: Sequence[str], style: Style = "") -> Line:
        placed = [
            cell.ljust(size) if column.align == "left" else cell.rjust(size)
            for cell, size, column in zip(cells, widths, fitted.columns, strict=True)
        ]
        return (
            Span(text=name.ljust(first), style=style),
            *(
                Span(text=GAP + cell, style=style or _style(column))
                for cell, column in zip(placed, fitted.columns, strict=True)
            ),
        )

    lines = [laid(sheet.subject, headings, "bold")]
    for row, name, cells in zip(fitted.rows, names, grid, strict=True):
        lines.append(laid(name, cells))
        lines.extend(_notes(row, width))
    if totals:
        lines.append(laid("total", totals, "bold"))
    if left_out:
        lines.append(plain(f"left out for want of room: {', '.join(left_out)}", "dim"))
    return tuple(lines)


def _fitted(sheet: Sheet, width: int | None) -> tuple[Sheet, tuple[str, ...]]:
    """The sheet without the columns that there is no room for, and the names of those."""
    left_out: list[str] = []
    while width is not None and _width(sheet) > width:
        ranks = [column.rank for column in sheet.columns]
        if not any(ranks):
            break
        # Of equals, the last one leaves.
        place = max(range(len(ranks)), key=lambda index: (ranks[index], index))
        left_out.append(sheet.columns[place].title)
        sheet = _without(sheet, place)
    return sheet, tuple(left_out)


def _width(sheet: Sheet) -> int:
    rows = [row.cells for row in sheet.rows] + ([sheet.totals] if sheet.totals else [])
    first = max(map(len, (sheet.subject, "total", *map(_name, sheet.rows))))
    columns = (
        max(
            len(column.title if _is_share(column) else column.heading),
            *(len(_written(cells[index])) for cells in rows),
            0,
        )
        for index, column in enumerate(sheet.columns)
    )
    return first + sum(len(GAP) + size for size in columns)


def _without(sheet: Sheet, place: int) -> Sheet:
    def cut(cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
        return cells[:place] + cells[place + 1 :]

    return replace(
        sheet,
        columns=sheet.columns[:place] + sheet.columns[place + 1 :],
        rows=tuple(replace(row, cells=cut(row.cells)) for row in sheet.rows),
        totals=None if sheet.totals is None else cut(sheet.totals),
    )


def _name(row: Row) -> str:
    name = "  " * row.indent + row.name
    return name if len(name) <= WIDEST_NAME else name[: WIDEST_NAME - 1] + "…"


def _written(cell: Cell) -> str:
    if isinstance(cell, Share):
        return f"{bar(cell.tenths)} {cell.text:>7}"
    if isinstance(cell, Level):
        return f"{bar(cell.tenths, CURVE)} {cell.mark}".rstrip()
    return text(cell)


def _is_share(column: Column) -> bool:
    return column.unit == "%"  # each figure below carries the sign


def _style(column: Column) -> Style:
    return "cyan" if column.rank == 0 else "dim" if column.align == "left" else ""


def _notes(row: Row, width: int | None) -> list[Line]:
    """The lines below a row, broken where there is no room for them."""
    indent = "  " * row.indent + "    "
    lines: list[Line] = []
    for note in row.notes:
        room = max((width or 10**6) - len(indent) - 2, 20)
        lines.extend(
            plain(indent + ("  " if index else "") + piece, "dim")
            for index, piece in enumerate(_broken(note, room))
        )
    return lines


def bar(tenths: int, characters: int = BAR) -> str:
    """A bar of so many characters for a share in tenths of a percent; a sliver for what is above zero."""
    eighths = min(max(-(-tenths * characters * 8 // 1000), 0), characters * 8)
    full, rest = divmod(eighths, 8)
    return (EIGHTHS[8] * full + (EIGHTHS[rest] if rest else "")).ljust(characters)
