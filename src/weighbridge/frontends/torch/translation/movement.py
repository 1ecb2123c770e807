"""Tensors joined and filled."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from .reading import Reading


def _concatenate(tensors: Sequence[Tensor], dim: int = 0) -> Reading:
    # An empty list entry of shape (0,) is allowed and joins nothing.
    joined = [tensor for tensor in tensors if tensor.dim() > 1 or tensor.numel()]
    return Reading("concatenate", joined, {"axis": dim % max(joined[0].dim(), 1) if joined else 0})


def filled(*_: object, **__: object) -> Reading:
    """Fills with a number or draws: reads nothing."""
    return Reading("fill", (), {})


READINGS: dict[str, Callable[..., Reading]] = {
    "cat": _concatenate,
}
