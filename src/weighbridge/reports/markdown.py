"""A sheet as a Markdown table (GitHub's), with the coverage line below it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .sheet import Sheet, text

SUFFIX = ".md"


def render(sheet: Sheet, *, title: str = "", footing: Sequence[str] = ()) -> str:
    """The table; rows of the second level and below are indented by their depth."""
    notes = [sheet.notes_title] if sheet.has_notes else []
    headings = [sheet.subject, *(column.heading for column in sheet.columns), *notes]
    marks = ["---" if column.align == "left" else "--:" for column in sheet.columns]
    lines = [f"### {escaped(title)}", ""] if title else []
    lines += [_row(map(escaped, headings)), _row([":--", *marks, *([":--"] if notes else [])])]
    for row in sheet.rows:
        name = "&nbsp;&nbsp;" * row.indent + escaped(row.name)
        formulas = ["<br>".join(map(escaped, row.notes))] if notes else []
        lines.append(_row([name, *(escaped(text(cell)) for cell in row.cells), *formulas]))
    if sheet.totals:
        cells = [f"**{escaped(text(cell))}**" if text(cell) else "" for cell in sheet.totals]
        lines.append(_row(["**total**", *cells, *([""] if notes else [])]))
    for line in footing:
        lines += ["", escaped(line)]
    return "\n".join(lines) + "\n"


def escaped(value: str) -> str:
    """Text in which nothing is taken for Markdown or HTML."""
    return re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", value.replace("&", "&amp;")).replace("\n", " ")


def _row(cells: Sequence[str] | map[str]) -> str:
    return f"| {' | '.join(cells)} |"
