"""A sheet as a small HTML table, whole in itself: everything escaped, no script, nothing fetched; and a page in a frame."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from .sheet import Cell, Column, Level, Share, Sheet, text

SUFFIX = ".html"

STYLE = (
    ".weighbridge{font-variant-numeric:tabular-nums;border-collapse:collapse}"
    ".weighbridge caption{text-align:left;padding:.3em 0;font-weight:bold}"
    ".weighbridge th,.weighbridge td{padding:.1em .6em;text-align:right;white-space:pre}"
    ".weighbridge .l{text-align:left}"
    ".weighbridge thead th,.weighbridge tfoot td{border-bottom:1px solid;border-top:1px solid;"
    "font-weight:bold}"
    ".weighbridge .f td{opacity:.7;white-space:normal;text-align:left}"
)


def render(sheet: Sheet, *, title: str = "", footing: Sequence[str] = ()) -> str:
    """The table as a fragment, for a notebook."""
    parts = [f"<style>{STYLE}</style>", '<table class="weighbridge">']
    if title:
        parts.append(f"<caption>{escape(title)}</caption>")
    parts.append(f"<thead><tr>{_cell(sheet.subject, 'th', left=True)}")
    parts.extend(_cell(column.heading, "th", left=_left(column)) for column in sheet.columns)
    parts.append("</tr></thead><tbody>")
    for row in sheet.rows:
        parts.append(_row("  " * row.indent + row.name, row.cells, sheet.columns))
        parts.extend(
            f'<tr class="f"><td colspan="{len(sheet.columns) + 1}">{escape(note)}</td></tr>'
            for note in row.notes
        )
    parts.append("</tbody>")
    if sheet.totals:
        parts.append(f"<tfoot>{_row('total', sheet.totals, sheet.columns)}</tfoot>")
    parts.append("</table>")
    parts.extend(f"<p>{escape(line)}</p>" for line in footing)
    return "\n".join(parts) + "\n"


def framed(page: str, table: str, *, title: str) -> str:
    """A page in a frame that has a policy of its own, and the table for where frames are left out."""
    return (
        f'<iframe title="{escape(title)}" sandbox="allow-scripts allow-downloads" '
        'style="width:100%;height:46rem;border:0;resize:vertical" '
        f'srcdoc="{escape(page)}"></iframe>\n'
        f"<details><summary>as a table</summary>\n{table}</details>\n"
    )


def page(sheet: Sheet, *, title: str, footing: Sequence[str] = ()) -> str:
    """The table as a whole document, for a file."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title></head><body>\n"
        f"{render(sheet, title=title, footing=footing)}</body></html>\n"
    )


def _row(name: str, cells: Sequence[Cell], columns: Sequence[Column]) -> str:
    inside = "".join(
        _cell(
            text(cell),
            "td",
            left=_left(column),
            share=cell if isinstance(cell, Share | Level) else None,
        )
        for cell, column in zip(cells, columns, strict=True)
    )
    return f"<tr>{_cell(name, 'td', left=True)}{inside}</tr>"


def _cell(value: str, tag: str, *, left: bool, share: Share | Level | None = None) -> str:
    place = ' class="l"' if left else ""
    length = f"{share.tenths / 10:.1f}%" if share else ""
    drawn = (
        f' style="background:linear-gradient(to right,#8db6d955 {length},transparent {length})"'
        if share
        else ""
    )
    return f"<{tag}{place}{drawn}>{escape(value)}</{tag}>"


def _left(column: Column) -> bool:
    return column.align == "left"
