"""Masks: what is known of a table of who sees whom, where its values cannot be read.

A table without data is only a shape. Who made it may have said which pattern it holds: keys up to the
query, a window of them, chunks. That is noted with the table's storage, and found again by attention
however the table was sliced off or handed on in between.
"""

from __future__ import annotations

import weakref
from typing import NamedTuple

import torch
from torch import Tensor

from ...program import Attributes


class _Noted(NamedTuple):
    storage: weakref.ref[torch.UntypedStorage]
    pattern: Attributes
    shape: torch.Size


_NOTED: dict[int, _Noted] = {}


def note(mask: Tensor, pattern: Attributes) -> None:
    """Says which pattern a table (..., S, T) holds, as attributes of the operator `attention`."""
    storage = mask.untyped_storage()
    address = storage._cdata
    watch = weakref.ref(storage, lambda _: _NOTED.pop(address, None))
    _NOTED[address] = _Noted(watch, pattern, mask.shape[-2:])


def pattern_of(mask: Tensor | None) -> Attributes:
    """The pattern noted of the table or of the one that it is a view of; nothing where none was."""
    if mask is None:
        return {}
    noted = _NOTED.get(mask.untyped_storage()._cdata)
    # A part of the table holds another pattern than the whole.
    return noted.pattern if noted is not None and noted.shape == mask.shape[-2:] else {}
