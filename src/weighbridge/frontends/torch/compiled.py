"""Compiled code, looked through: the operators are the same, and nothing is compiled."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch


def _as_it_is(model: Callable[..., Any] | None = None, **_: object) -> Callable[..., Any]:
    """Stands in for `torch.compile`, also as a decorator with settings."""
    return _as_it_is if model is None else model


@contextmanager
def uncompiled() -> Iterator[None]:
    """While it lasts, what `torch.compile` made runs as it was before, and it makes nothing new."""
    before = torch.compile
    # Where nobody has loaded the compiler nothing was compiled, and loading it takes seconds.
    eagerly = (
        torch.compiler.set_stance("force_eager")
        if "torch._dynamo" in sys.modules
        else nullcontext()
    )
    torch.compile = _as_it_is
    try:
        with eagerly:
            yield
    finally:
        torch.compile = before
