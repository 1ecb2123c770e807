"""Failures: what went wrong while a network ran without data, in the user's terms.

The exception that PyTorch raises is low and long. What a person needs is the line of their own code,
the module that was running, the shapes that went in, and what to try.
"""

from __future__ import annotations

import linecache
import traceback
from pathlib import Path
from types import TracebackType

import torch
from torch._ops import OpOverload

from ...errors import WeighError

_OURS = str(Path(__file__).parents[2])
_PYTORCH = str(Path(torch.__file__).parent)

_DATA_TAGS = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)


def explain(
    error: Exception,
    *,
    doing: str,
    scope: str,
    failed: OpOverload | None,
    given: str,
) -> WeighError:
    """The exception as one message. `doing` is the phase, `scope` the module that was running."""
    if isinstance(error, WeighError):
        return error
    where = user_line(error.__traceback__)
    place = f" in {scope}" if scope else ""
    if needs_data(error, failed):
        result = WeighError(
            f"the network needs data to run: {doing}{place} asks for values, and there are none",
            *([where] if where else []),
            *([f"operator: {failed}"] if failed is not None else []),
            "networks are run on tensors without data; running on fake or real data is yet to come",
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
    text = str(error).lower()
    return "meta tensor" in text or "'meta' backend" in text or "meta device" in text


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
