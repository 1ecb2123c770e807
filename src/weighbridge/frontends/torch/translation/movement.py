"""Tensors joined and filled."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .reading import Reading


def _concatenate(tensors: Sequence[Tensor], dim: int = 0) -> Reading:
    # An empty list entry of shape (0,) is allowed and joins nothing.
    joined = [tensor for tensor in tensors if tensor.dim() > 1 or tensor.numel()]
    return Reading("concatenate", joined, {"axis": dim % max(joined[0].dim(), 1) if joined else 0})


def filled(*_: object, **__: object) -> Reading:
    """Fills with a number or draws: reads nothing."""
    return Reading("fill", (), {})


def _to(x: Tensor, *settings: object, **named: object) -> Reading:
    """A copy where the dtype is another, the same tensor elsewhere."""
    dtypes = [each for each in (*settings, *named.values()) if isinstance(each, torch.dtype)]
    return Reading("clone" if dtypes and dtypes[0] != x.dtype else "reshape", (x,), {})


READINGS: dict[str, Callable[..., Reading]] = {
    "to": _to,
    "cat": _concatenate,
}
