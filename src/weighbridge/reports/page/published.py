"""The published table of a network's family on its page: each cell beside what is computed, and why some differ."""

from __future__ import annotations

from dataclasses import dataclass

from ...papers import Cell, PaperTable, Verdict
from ..paper import LEGEND, MARKS, summary

MEANINGS: dict[Verdict, str] = {
    "agrees": "prints as published",
    "explained": "prints as published by the reading in its note",
    "open": "prints as published by no reading known",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A cell: what is printed, what is computed, the verdict; `mine` where it is read of the page's own network."""

    printed: str
    computed: str
    mark: str
    meaning: str
    verdict: Verdict
    note: int | None
    mine: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A table as the template draws it; a row is its label, whether it is a variant, and a cell a column or None."""

    name: str
    title: str
    citation: str
    convention: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, bool, tuple[Shown | None, ...]], ...]
    notes: tuple[tuple[int, str], ...]
    summary: str
    legend: str = LEGEND


def published(table: PaperTable, network: str) -> Published:
    """The table for the page of one of its family."""
    return Published(
        name=table.name,
        title=table.title,
        citation=table.citation,
        convention=table.convention,
        columns=tuple(column.title for column in table.columns),
        rows=tuple(
            (
                row.label,
                row.variant,
                tuple(
                    None
                    if column.key not in row.cells
                    else _shown(row.cells[column.key], network, row.variant, column.compact)
                    for column in table.columns
                ),
            )
            for row in table.rows
        ),
        notes=tuple((note.number, note.text) for note in table.notes),
        summary=summary(table),
    )


def _shown(cell: Cell, network: str, variant: bool, compact: bool) -> Shown:
    """A column of structure needs no computed figure where the two agree, and a variant is not what is printed."""
    told = not compact or cell.verdict != "agrees"
    return Shown(
        printed="" if variant else cell.published.text,
        computed=cell.computed_text if told else "",
        mark=MARKS[cell.verdict],
        meaning=MEANINGS[cell.verdict],
        verdict=cell.verdict,
        note=cell.note,
        mine=cell.reading.network == network,
    )
