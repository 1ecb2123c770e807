"""What a comparison found: errors added up, on the screen and as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Signed errors as shares of what was measured or published."""

    values: Sequence[float]

    @property
    def text(self) -> str:
        sizes = sorted(map(abs, self.values))
        figures = {
            "mean": statistics.mean(sizes),
            "median": statistics.median(sizes),
            "90th percentile": sizes[min(len(sizes) - 1, 9 * len(sizes) // 10)],
            "worst": sizes[-1],
        }
        parts = [f"{name} {percent(value)}" for name, value in figures.items()]
        bias = statistics.mean(self.values)
        return f"n {len(sizes)}, {', '.join(parts)}, bias {percent(bias, signed=True)}"


def percent(share: float, *, signed: bool = False) -> str:
    """A share as a percentage with three decimals below one percent."""
    digits = 3 if abs(share) < 0.01 else 1
    text = f"{share:{'+' if signed else ''}.{digits}%}"
    return text.replace("%", " %")


def mib(size: int) -> str:
    """Bytes as MiB with a decimal."""
    return f"{size / 2**20:,.1f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A heading, sentences above the table, the table, and its errors."""

    heading: str
    sentences: Sequence[str]
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    errors: Errors
    notes: Sequence[str] = ()

    def show(self) -> None:
        """Prints it."""
        console = Console(width=160)
        table = Table(title=self.heading, title_justify="left")
        for place, column in enumerate(self.columns):
            table.add_column(column, justify="right" if self._figures(place) else "left")
        for row in self.rows:
            table.add_row(*row)
        console.print(table)
        for line in (self.errors.text, *self.notes):
            console.print(line)

    def markdown(self) -> str:
        """The same as Markdown."""
        bars = "|".join("---:" if self._figures(i) else "---" for i in range(len(self.columns)))
        lines = [f"# {self.heading}", "", *self.sentences, "", f"**{self.errors.text}.**", ""]
        lines += [f"| {' | '.join(self.columns)} |", f"|{bars}|"]
        lines += [f"| {' | '.join(row)} |" for row in self.rows]
        lines += ["", *self.notes] if self.notes else []
        return "\n".join(lines) + "\n"

    def _figures(self, place: int) -> bool:
        return all(row[place][:1] in "+-0123456789" for row in self.rows if row[place])
