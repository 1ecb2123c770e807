"""A sheet as CSV: whole numbers without grouping, units in the headings, totals in the last row."""

from __future__ import annotations

import csv
import io

from .sheet import Cell, Duration, Figure, Level, Partial, Share, Sheet, Size

SUFFIX = ".csv"


def render(sheet: Sheet) -> str:
    """One line a row, named by its full path. What is only partly known carries its known part."""
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\n").writerow
    notes = [sheet.notes_title] if sheet.has_notes else []
    write([sheet.subject, *(column.data_heading for column in sheet.columns), *notes])
    for row in sheet.rows:
        write([row.path, *map(value, row.cells), *(["; ".join(row.notes)] if notes else [])])
    if sheet.totals:
        write(["total", *map(value, sheet.totals), *([""] if notes else [])])
    return out.getvalue()


def value(cell: Cell) -> str | int | float:
    """A cell as data: a number, a share in percent, a text; empty where there is nothing.

    Nothing in a column of figures means that the rows below have them.
    """
    if isinstance(cell, Share):
        return f"{cell.tenths // 10}.{cell.tenths % 10}"
    if isinstance(cell, Partial):
        return cell.known
    if isinstance(cell, Size):
        return cell.bytes
    if isinstance(cell, Figure):
        return cell.value
    if isinstance(cell, Duration):
        return cell.seconds
    if isinstance(cell, Level):
        return f"{cell.tenths // 10}.{cell.tenths % 10}"
    return "" if cell is None else cell
