"""Writing a report to a file, whose suffix says in which form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import UsageError
from .sheet import Sheet

SUFFIXES = (".json", ".csv", ".md", ".tex", ".html", ".txt")
PICTURES = (".png", ".svg", ".pdf")
"""Of what can be drawn as well."""


def suffix_of(path: Path, *, also: tuple[str, ...] = ()) -> str:
    """The suffix, in lower case; `also` are those of further forms that there are.

    Raises:
        UsageError: no form has it.
    """
    suffix = path.suffix.lower()
    if suffix not in (*also, *SUFFIXES):
        seen = f"the suffix {path.suffix!r}" if path.suffix else "no suffix"
        raise UsageError(
            f"cannot tell the form of {str(path)!r} from {seen}",
            f"there are: {', '.join((*also, *SUFFIXES))}",
        )
    return suffix


def formed(sheet: Sheet, suffix: str, *, title: str, footing: tuple[str, ...]) -> str:
    """A sheet in the form of a suffix other than .json and .txt, which are not of a sheet alone."""
    if suffix == ".csv":
        from . import csv

        return csv.render(sheet)
    if suffix == ".md":
        from . import markdown

        return markdown.render(sheet, title=title, footing=footing)
    if suffix == ".tex":
        from . import latex

        return latex.render(sheet, title=title, footing=footing)
    from . import html

    return html.page(sheet, title=title, footing=footing)


def save(
    path: str | Path,
    *,
    json: Callable[[], str],
    screen: Callable[[], str],
    formed: Callable[[str], str],
) -> None:
    """Writes the form that the path's suffix names; `formed` makes those of a sheet, of which it gets the suffix.

    Raises:
        UsageError: the suffix names no form, or the file cannot be written.
    """
    suffix = suffix_of(Path(path))
    if suffix == ".json":
        content = json()
    elif suffix == ".txt":
        content = screen() + "\n"
    else:
        content = formed(suffix)
    write(Path(path), content)


def write(path: Path, content: str) -> None:
    """Writes the file, replacing one that is there.

    Raises:
        UsageError: it cannot be written; the message says why.
    """
    try:
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"cannot write {str(path)!r}: {(error.strerror or str(error)).lower()}",
            "give another file with -o",
        ) from error
