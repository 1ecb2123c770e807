"""Keeping what took long to make: a file is there whole or not at all, however a run ends."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

from weighbridge.ops.kernel import KERNEL_CLASSES, Kernel

FORM = hashlib.sha256(
    " ".join([*(field.name for field in fields(Kernel)), *KERNEL_CLASSES]).encode()
).hexdigest()[:8]
"""What is kept is of kernels of one form and of one list of classes: another has another folder."""


@contextmanager
def kept_whole(path: Path) -> Iterator[Path]:
    """A place to write to, which becomes `path` when all of it is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    yield part
    part.replace(path)
