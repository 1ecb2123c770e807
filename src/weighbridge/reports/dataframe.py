"""A sheet as a pandas DataFrame; the only home of pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import WeighError
from .sheet import Cell, Duration, Figure, Level, Partial, Share, Sheet, Size

if TYPE_CHECKING:
    from pandas import DataFrame


def render(sheet: Sheet) -> DataFrame:
    """One row a row of the sheet, indexed by its full path; no totals. Shares are in percent.

    Figures that stand in the rows below are 0 here, so that columns of counts are whole numbers.

    Raises:
        WeighError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise WeighError(
            "a DataFrame needs pandas, which is not installed",
            "install it with: pip install 'weighbridge[dataframe]'",
        ) from error
    index = pandas.Index([row.path for row in sheet.rows], name=sheet.subject)
    data = {
        column.data_heading: [
            _value(row.cells[place], column.align == "left") for row in sheet.rows
        ]
        for place, column in enumerate(sheet.columns)
    }
    if sheet.has_notes:
        data[sheet.notes_title] = ["; ".join(row.notes) for row in sheet.rows]
    return pandas.DataFrame(data, index=index)


def _value(cell: Cell, words: bool) -> int | float | str:
    if cell is None:
        return "" if words else 0
    if isinstance(cell, Share | Level):
        return cell.tenths / 10
    if isinstance(cell, Size):
        return cell.bytes
    if isinstance(cell, Figure):
        return cell.value
    if isinstance(cell, Duration):
        return cell.seconds
    return cell.known if isinstance(cell, Partial) else cell
