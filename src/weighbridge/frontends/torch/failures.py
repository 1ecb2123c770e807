"""Failures: what went wrong while a network ran, in the user's terms.

The exception that PyTorch raises is low and long. What a person needs is the line of their own code,
the module that was running, the shapes that went in, and what to try.
"""

from __future__ import annotations

import linecache
import os
import re
import traceback
from pathlib import Path
from types import TracebackType

import torch
from torch._ops import OpOverload

from ...errors import WeighError
from .recording import MemoryLimitError

_OURS = f"{Path(__file__).parents[2]}{os.sep}"
_PYTORCH = f"{Path(torch.__file__).parent}{os.sep}"  # torchvision stands beside it

_ON_META = re.compile(r"\bmeta\b", re.IGNORECASE)
"""What PyTorch's message mentions where a tensor without data was asked for some, or met one that has some."""

_DATA_TAGS = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)


class NeedsDataError(WeighError):
    """The network asked for values where there are none. `asked` says where, in one line."""

    def __init__(self, message: str, *hints: str, asked: str = "") -> None:
        super().__init__(message, *hints)
        self.asked = asked

    def with_hint(self, *hints: str) -> NeedsDataError:
        error = NeedsDataError(self.message, *self.hints, *hints, asked=self.asked)
        error.__cause__ = self.__cause__ or self
        return error


def explain(
    error: Exception,
    *,
    doing: str,
    scope: str,
    failed: OpOverload | None,
    given: str,
    with_data: bool,
) -> WeighError:
    """The exception as one message. `doing` is the phase, `scope` the module that was running."""
    result: WeighError
    if isinstance(error, WeighError):
        return error
    where = user_line(error.__traceback__)
    place = f" in {scope}" if scope else ""
    if isinstance(error, MemoryLimitError):
        result = WeighError(
            f"{doing} of the network was stopped{place}: {error}",
            *([where] if where else []),
            "make the batch or the input smaller",
        )
    elif not with_data and needs_data(error, failed):
        result = NeedsDataError(
            f"the network needs data to run: {doing}{place} asks for values, and there are none",
            *([where] if where else []),
            *([f"operator: {failed}"] if failed is not None else []),
            asked=f"{doing}{place}" + (f" at {where}" if where else ""),
        )
    elif "overflow" in str(error).lower():
        result = WeighError(
            f"{doing} of the network failed{place}: a tensor is larger than PyTorch can address",
            *([where] if where else []),
            f"it was given: {given}",
            "make the batch or the input smaller",
        )
    else:
        result = WeighError(
            f"{doing} of the network failed{place}: {_first_line(error)}",
            *([where] if where else []),
            f"it was given: {given}",
            "another input: --input 3,224,224 (shape without the batch axis)",
        )
    result.__cause__ = error
    return result


def needs_data(error: Exception, failed: OpOverload | None) -> bool:
    """Whether the failure is that a value was asked for where there are none."""
    if failed is not None and any(tag in failed.tags for tag in _DATA_TAGS):
        return True
    return isinstance(error, RuntimeError | TypeError | NotImplementedError | ValueError) and bool(
        _ON_META.search(str(error))
    )


def user_line(trace: TracebackType | None, *, within: Path | None = None) -> str | None:
    """The deepest line of code that is neither ours nor PyTorch's: 'net.py:12: x = self.conv(x)'.

    With `within`, the deepest of that file, if it has one.
    """
    found: str | None = None
    for frame, number in traceback.walk_tb(trace):
        path = frame.f_code.co_filename
        if path.startswith((_OURS, _PYTORCH, "<")):
            continue
        if within is not None and Path(path).resolve() != within.resolve():
            continue
        line = linecache.getline(path, number).strip()
        found = f"{_short(path)}:{number}: {line}"
    return found


def _short(path: str) -> str:
    """The path from here where it lies below; a library's from its package."""
    location = Path(path)
    if "site-packages" in location.parts:
        return "/".join(location.parts[location.parts.index("site-packages") + 1 :])
    here = Path.cwd()
    return str(location.relative_to(here)) if location.is_relative_to(here) else path


def _first_line(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
