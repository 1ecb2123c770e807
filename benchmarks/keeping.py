"""Keeping what took long to make: a file is there whole or not at all, however a run ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def kept_whole(path: Path) -> Iterator[Path]:
    """A place to write to, which becomes `path` when all of it is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    yield part
    part.replace(path)
