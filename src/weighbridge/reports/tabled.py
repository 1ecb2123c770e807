"""A report around one table: how it prints, shows in a notebook and is saved, once for all commands that have one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

from ..analyses.weighing import Json
from . import files
from .sheet import Sheet


class TabledReport(ABC):
    """A report has a table, with a title above and remarks below, and a screen that says more than the table.

    Printed, it is the screen; a notebook shows the table as HTML; saved, it takes the form that a suffix names.
    """

    @property
    @abstractmethod
    def title(self) -> str:
        """What stands above the table."""

    @property
    @abstractmethod
    def remarks(self) -> Sequence[str]:
        """What stands below it."""

    @abstractmethod
    def sheet(self) -> Sheet:
        """The table."""

    @abstractmethod
    def screen(self, *, width: int | None = None, color: bool = False) -> str:
        """Everything that the command prints."""

    @abstractmethod
    def to_dict(self) -> dict[str, Json]:
        """The record as plain data."""

    def __str__(self) -> str:
        return self.screen()

    def _repr_html_(self) -> str:
        from . import html

        return html.render(self.sheet(), title=self.title, footing=self.remarks)

    def to_json(self) -> str:
        """The record as text."""
        from . import json

        return json.render(self.to_dict())

    def save(self, path: str | Path) -> None:
        """Writes a file in the form that its suffix names: .json .csv .md .tex .html .txt.

        Raises:
            UsageError: the suffix names no form, or the file cannot be written.
        """
        self._save(path, self.sheet, self.screen)

    def _save(
        self, path: str | Path, sheet: Callable[[], Sheet], screen: Callable[[], str]
    ) -> None:
        """Saves a part that a report was asked for in place of the whole."""
        files.save(
            path,
            json=self.to_json,
            screen=screen,
            formed=lambda suffix: files.formed(
                sheet(), suffix, title=self.title, footing=tuple(self.remarks)
            ),
        )
