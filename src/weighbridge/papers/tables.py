"""A published table: its records, and how they come from a file and the zoo.

The file says what is printed and how it is read; everything computed is worked out here, when the table
is asked for. Settings of a reading are given at whatever level they are common to (the table, a column,
a row, a cell), the nearer level deciding.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from importlib import resources
from typing import Any, Literal

from ..errors import UsageError, nearest
from .figures import Figure, figure
from .readings import Reading, terms

Verdict = Literal["agrees", "explained", "open"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column: its key in the rows, its heading, and the unit of what is counted in it.

    `compact` columns hold structure (sizes, repetitions) and need no computed figure beside them where
    the two agree.
    """

    key: str
    title: str
    unit: str
    compact: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What is printed, and what is computed by the table's own reading.

    `verdict` is 'agrees' where the computed figure prints as published; 'explained' where it does
    by the cell's other reading, `by`, which leaves the table's numbers as they are; 'open' where no
    such reading is known. `note` is the number of the note that says so.
    """

    published: Figure
    reading: Reading
    computed: int
    verdict: Verdict
    by: Reading | None = None
    note: int | None = None

    @property
    def computed_text(self) -> str:
        """The computed figure in the published one's unit."""
        return self.published.of(self.computed)

    @property
    def ratio(self) -> Fraction | None:
        """Computed over published; None for a bound."""
        return None if self.published.bound else self.computed / self.published.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row: its label and its cells by column.

    A `variant` shows what the row above it would come to otherwise; it is no row of the paper's table, and its
    cells do not count.
    """

    label: str
    cells: Mapping[str, Cell]
    variant: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A figure in a note, the reading that it comes from, and what that comes to."""

    published: Figure
    reading: Reading
    computed: int
    holds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What explains a cell, or says what is known of one that nothing explains, with its claims."""

    number: int
    text: str
    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperTable:
    """A published table, recomputed. `convention` says what its units mean."""

    name: str
    title: str
    citation: str
    convention: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[Note, ...]

    def count(self, verdict: Verdict | None = None) -> int:
        """How many of the paper's cells have the verdict; with none given, how many there are."""
        verdicts = [
            cell.verdict for row in self.rows if not row.variant for cell in row.cells.values()
        ]
        return len(verdicts) if verdict is None else verdicts.count(verdict)


def names() -> tuple[str, ...]:
    """The tables there are: the files of this folder."""
    entries = resources.files(__package__).iterdir()
    return tuple(
        sorted(
            entry.name.removesuffix(".toml") for entry in entries if entry.name.endswith(".toml")
        )
    )


def table(name: str) -> PaperTable:
    """The table, recomputed.

    Raises:
        UsageError: there is no table of that name.
    """
    known = name.strip().lower()
    if known not in names():
        near = nearest(known, names())
        raise UsageError(
            f"no published table is called {name!r}",
            f"nearest: {', '.join(near)}" if near else f"there are: {', '.join(names())}",
        )
    text = resources.files(__package__).joinpath(f"{known}.toml").read_text(encoding="utf-8")
    return read(known, text)


def read(name: str, text: str) -> PaperTable:
    """A table from the text of its file.

    Raises:
        UsageError: a cell stands in no column, refers to no note, or gives a figure or reading that is none.
    """
    file = tomllib.loads(text)
    return _File(file).table(name)


class _File:
    """The parsed file and what all its cells share."""

    def __init__(self, file: dict[str, Any]) -> None:
        self.file = file
        self.units: dict[str, int] = file.get("units", {})
        self.columns: dict[str, dict[str, Any]] = file["columns"]
        self.numbers = {entry["key"]: i for i, entry in enumerate(file.get("notes", ()), start=1)}

    def table(self, name: str) -> PaperTable:
        file = self.file
        return PaperTable(
            name=name,
            title=file["title"],
            citation=file["citation"],
            convention=file["convention"],
            columns=tuple(self._column(key, entry) for key, entry in self.columns.items()),
            rows=tuple(self._row(entry) for entry in file["rows"]),
            notes=tuple(self._note(entry) for entry in file.get("notes", ())),
        )

    @staticmethod
    def _column(key: str, entry: dict[str, Any]) -> Column:
        return Column(
            key=key,
            title=entry["title"],
            unit=entry.get("unit", ""),
            compact=entry.get("compact", False),
        )

    def _row(self, entry: dict[str, Any]) -> Row:
        cells = {}
        for key, value in entry["cells"].items():
            if key not in self.columns:
                raise UsageError(
                    f"row {entry['label']!r} has a cell {key!r}, and there is no such column",
                    f"the columns: {', '.join(self.columns)}",
                )
            cell = value if isinstance(value, dict) else {"printed": value}
            cells[key] = self._cell(self.columns[key], entry, cell)
        return Row(label=entry["label"], cells=cells, variant=entry.get("variant", False))

    def _cell(self, column: dict[str, Any], row: dict[str, Any], cell: dict[str, Any]) -> Cell:
        common = {**self.file, **column, **row, **cell}
        reading = _reading(common)
        by = _reading({**common, **cell["by"]}) if "by" in cell else None
        printed = figure(cell["printed"], self.units, common.get("scale", 1))
        return Cell(
            published=printed,
            reading=reading,
            computed=reading.count,
            verdict=_verdict(printed, reading, by),
            by=by,
            note=self._number(cell["note"]) if "note" in cell else None,
        )

    def _number(self, key: str) -> int:
        if key not in self.numbers:
            raise UsageError(
                f"a cell refers to a note {key!r}, and there is no such note",
                f"the notes: {', '.join(self.numbers) or 'none'}",
            )
        return self.numbers[key]

    def _note(self, entry: dict[str, Any]) -> Note:
        return Note(
            number=self.numbers[entry["key"]],
            text=" ".join(entry["text"].split()),
            claims=tuple(self._claim(claim) for claim in entry.get("claims", ())),
        )

    def _claim(self, entry: dict[str, Any]) -> Claim:
        reading = _reading({**self.file, **entry})
        printed = figure(entry["prints"], self.units)
        return Claim(
            published=printed,
            reading=reading,
            computed=reading.count,
            holds=_prints(printed, reading),
        )


def _verdict(printed: Figure, reading: Reading, by: Reading | None) -> Verdict:
    if _prints(printed, reading):
        return "agrees"
    return "explained" if by is not None and _prints(printed, by) else "open"


def _prints(printed: Figure, reading: Reading) -> bool:
    return printed.prints(terms(reading), reading.rounding, apart=reading.apart)


_SETTINGS = frozenset(field.name for field in fields(Reading))


def _reading(settings: Mapping[str, Any]) -> Reading:
    """The reading among the settings, lists made tuples."""
    return Reading(**{key: _frozen(value) for key, value in settings.items() if key in _SETTINGS})


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
