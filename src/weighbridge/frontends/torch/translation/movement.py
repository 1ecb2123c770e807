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


def _permuted(x: Tensor, order: Sequence[int]) -> Reading:
    return Reading("transpose", (x,), {"order": tuple(axis % x.dim() for axis in order)})


def _transposed(x: Tensor, one: int = 0, other: int = 1) -> Reading:
    order = list(range(x.dim()))
    if order:  # PyTorch transposes numbers too
        order[one], order[other] = order[other], order[one]
    return Reading("transpose", (x,), {"order": tuple(order)})


def _turned(x: Tensor) -> Reading:
    return Reading("transpose", (x,), {"order": tuple(reversed(range(x.dim())))})


def _cloned(x: Tensor, *, memory_format: torch.memory_format | None = None) -> Reading:
    """A copy; of what is asked to be contiguous, one whose elements lie in order."""
    made_so = memory_format is torch.contiguous_format
    return Reading("clone", (x,), {"in_order": True} if made_so else {})


READINGS: dict[str, Callable[..., Reading]] = {
    "permute": _permuted,
    "transpose": _transposed,
    "t": _turned,
    "clone": _cloned,
    "to": _to,
    "cat": _concatenate,
}
