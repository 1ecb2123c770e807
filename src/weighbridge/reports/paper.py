"""A published table beside the computed one: what `weigh paper googlenet` prints.

A cell shows what is printed in the paper, what is computed, their ratio, and a mark: `=` where the computed
figure prints as published, `≈` where it does by the reading in the cell's note, `✗` where no reading is known
that does. Columns of structure (sizes, repetitions) show the paper's entry and the mark alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..analyses.weighing import Json
from ..papers import Cell, Claim, Column, PaperTable, Reading, Row, Verdict, decimal
from ..units import plural
from . import sheet
from .table import Line, labelled, plain, written
from .table import render as laid_out

SCHEMA = "weighbridge-paper/1"

MARKS: Mapping[Verdict, str] = {"agrees": "=", "explained": "≈", "open": "✗"}
"""How each verdict is shown."""

LEGEND = "= prints as published   ≈ by the reading in its note   ✗ by no reading known"


def render(table: PaperTable, *, width: int | None = None, color: bool = False) -> str:
    """The table as text of at most `width` columns; None: as many as it takes.

    Where there is too little room the ratios leave first, then columns of structure, and the last line of the
    table says so. Figures are never cut.
    """
    blank: Line = ()
    lines = [
        *labelled(table.title, table.citation, width=width),
        *labelled("", table.convention, width=width, style="dim"),
        blank,
        *laid_out(_sheet(table), width=width),
        blank,
        *labelled("", LEGEND, width=width, style="dim"),
        blank,
    ]
    widest = len(f"({len(table.notes)})")
    for note in table.notes:
        lines.extend(labelled(f"({note.number})".rjust(widest), note.text, width=width))
    if table.notes:
        lines.append(blank)
    return written((*lines, plain(summary(table), "bold")), color=color)


def summary(table: PaperTable) -> str:
    """'13 of 24 cells agree to the printed digit, 4 are explained, 7 are open'."""
    agree, explained, still_open = (
        table.count(verdict) for verdict in ("agrees", "explained", "open")
    )
    text = f"{agree} of {plural(table.count(), 'cell')} agree to the printed digit, "
    text += f"{explained} are explained"
    return f"{text}, {still_open} are open" if still_open else text


def to_dict(table: PaperTable) -> dict[str, Json]:
    """The table as plain data: counts in full, each with its unit, and the readings that made them."""
    units = {column.key: column.unit for column in table.columns}
    return {
        "schema": SCHEMA,
        "name": table.name,
        "title": table.title,
        "citation": table.citation,
        "convention": table.convention,
        "columns": [_column(column) for column in table.columns],
        "rows": [
            {
                "label": row.label,
                "variant": row.variant,
                "cells": {key: _cell(cell, units[key]) for key, cell in row.cells.items()},
            }
            for row in table.rows
        ],
        "notes": [
            {
                "number": note.number,
                "text": note.text,
                "claims": [_claim(claim) for claim in note.claims],
            }
            for note in table.notes
        ],
        "summary": {
            "cells": table.count(),
            "agree": table.count("agrees"),
            "explained": table.count("explained"),
            "open": table.count("open"),
        },
    }


def _sheet(table: PaperTable) -> sheet.Sheet:
    return sheet.Sheet(
        subject="row",
        columns=tuple(heading for column in table.columns for heading in _headings(column)),
        rows=tuple(
            sheet.Row(
                path=row.label,
                name=row.label,
                cells=tuple(part for column in table.columns for part in _parts(row, column)),
                indent=int(row.variant),
            )
            for row in table.rows
        ),
    )


def _headings(column: Column) -> tuple[sheet.Column, ...]:
    """The columns on the screen that a column of the paper takes: one where it is compact, four else."""
    if column.compact:
        return (sheet.Column(key=column.key, title=column.title, align="left", rank=1),)
    return (
        sheet.Column(key=column.key, title=f"{column.title} printed"),
        sheet.Column(key=f"{column.key}_computed", title="computed"),
        sheet.Column(key=f"{column.key}_ratio", title="ratio", rank=2),
        sheet.Column(key=f"{column.key}_mark", title="", align="left"),
    )


def _parts(row: Row, column: Column) -> tuple[str, ...]:
    """What a cell shows in those columns."""
    cell = row.cells.get(column.key)
    if cell is None:
        return ("",) * len(_headings(column))
    mark = MARKS[cell.verdict] + (f" ({cell.note})" if cell.note else "")
    if column.compact:
        known = "" if cell.verdict == "agrees" else f" {cell.computed_text}"
        return (f"{cell.published.text}{known} {mark}",)
    if row.variant:
        return ("", cell.computed_text, "", mark)
    return (cell.published.text, cell.computed_text, _ratio(cell), mark)


def _ratio(cell: Cell) -> str:
    return "-" if cell.ratio is None else decimal(cell.ratio, 3)


def _column(column: Column) -> Json:
    return {"key": column.key, "title": column.title, "unit": column.unit or None}


def _cell(cell: Cell, unit: str) -> Json:
    return {
        "published": cell.published.text,
        "published_value": float(cell.published.value),
        "computed": cell.computed,
        "unit": unit or None,
        "ratio": None if cell.ratio is None else float(cell.ratio),
        "verdict": cell.verdict,
        "note": cell.note,
        "reading": _reading(cell.reading),
        "by": None if cell.by is None else _reading(cell.by),
    }


def _claim(claim: Claim) -> Json:
    return {
        "published": claim.published.text,
        "computed": claim.computed,
        "holds": claim.holds,
        "reading": _reading(claim.reading),
    }


def _reading(reading: Reading) -> Json:
    return {
        "quantity": reading.quantity,
        "network": reading.network or None,
        "scopes": list(reading.scopes),
        "without": list(reading.without),
        "kernels": [list(kernel) for kernel in reading.kernels],
        "held": reading.held or None,
        "image": list(reading.image),
        "rounding": reading.rounding,
        "apart": reading.apart,
    }
