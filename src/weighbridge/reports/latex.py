r"""A sheet as a LaTeX tabular that needs no package: \hline, \quad for depth."""

from __future__ import annotations

from collections.abc import Sequence

from .sheet import Sheet, text

SUFFIX = ".tex"

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "·": r"$\cdot$", "−": "$-$", "⌊": r"$\lfloor$", "⌋": r"$\rfloor$", "…": r"\ldots{}",
    "²": r"$^2$", "³": r"$^3$", "\n": " ",
}  # fmt: skip


def render(sheet: Sheet, *, title: str = "", footing: Sequence[str] = ()) -> str:
    """The tabular, after comments that say what it is of."""
    notes = [sheet.notes_title] if sheet.has_notes else []
    places = "".join("l" if column.align == "left" else "r" for column in sheet.columns)
    headings = [sheet.subject, *(column.heading for column in sheet.columns), *notes]
    lines = [f"% {line}".replace("\n", " ") for line in (title, *footing) if line]
    lines += [rf"\begin{{tabular}}{{l{places}{'l' * len(notes)}}}", r"\hline"]
    lines += [_row(list(map(escaped, headings))), r"\hline"]
    for row in sheet.rows:
        name = r"\quad " * row.indent + escaped(row.name)
        formulas = [escaped("; ".join(row.notes))] if notes else []
        lines.append(_row([name, *(escaped(text(cell)) for cell in row.cells), *formulas]))
    if sheet.totals:
        cells = [escaped(text(cell)) for cell in sheet.totals]
        lines += [r"\hline", _row(["total", *cells, *([""] if notes else [])])]
    lines += [r"\hline", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def escaped(value: str) -> str:
    """Text in which nothing is taken for LaTeX."""
    return "".join(_SPECIAL.get(character, character) for character in value)


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
