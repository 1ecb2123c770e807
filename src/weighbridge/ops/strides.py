"""Strides: how a tensor's elements lie in memory, and what becomes of that in views.

A stride is how many elements further the next one along an axis lies. The numbers are PyTorch's, and so are the rules:
an image (B, c, M, N) of strides (cMN, MN, N, 1) has its channels first, of (cMN, 1, cN, c) its channels last. Axes
of one element lie anywhere, and count for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from ..dims import Shape, product

Strides = tuple[int, ...]

_remembered = lru_cache(maxsize=1 << 14)
"""A network has a few hundred shapes and asks after them ten thousand times."""


@_remembered
def in_order(shape: Shape) -> Strides:
    """Those of a dense tensor whose last axis is walked first: (2, 3, 4) has (12, 4, 1)."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 1, 0, -1):
        strides[axis - 1] = strides[axis] * max(shape[axis], 1)
    return tuple(strides)


def channels_last(shape: Shape) -> Strides:
    """Those of an image (B, c, M, N) whose channels are walked first; of anything else, in order."""
    if len(shape) != 4:
        return in_order(shape)
    _, channels, height, width = shape
    return (height * width * channels, 1, width * channels, channels)


def lie_alike(shape: Shape, one: Strides, other: Strides) -> bool:
    """Whether two ways of lying are the same, axes of one element apart."""
    return all(size == 1 or a == b for size, a, b in zip(shape, one, other, strict=True))


@_remembered
def are_channels_last(shape: Shape, strides: Strides) -> bool:
    """Whether PyTorch takes an image's channels to be last (`is_channels_last_strides_2d` in c10/core/MemoryFormat.h).

    Of images of one place the strides of that place tell: (c, 1, 1, 1) has its channels first.
    """
    if len(shape) != 4 or strides[1] == 0:
        return False
    least = 0
    for axis in (1, 3, 2, 0):
        if strides[axis] < least or (axis == 0 and least == strides[1]):
            return False
        least = strides[axis] * max(shape[axis], 1)
    return True


def dense(shape: Shape, strides: Strides) -> bool:
    """Whether the elements lie without gaps and each once, in whatever order of axes."""
    expected = 1
    for stride, size in sorted(
        (stride, size) for stride, size in zip(strides, shape, strict=True) if size > 1
    ):
        if stride != expected:
            return False
        expected *= size
    return True


@_remembered
def made_dense(shape: Shape, strides: Strides) -> Strides:
    """A dense tensor's whose axes are walked in the same order."""
    found = [0] * len(shape)
    step = 1
    for axis in sorted(range(len(shape)), key=lambda axis: (strides[axis], -axis)):
        found[axis] = step
        step *= max(shape[axis], 1)
    return tuple(found)


@_remembered
def elements_read(shape: Shape, strides: Strides) -> int:
    """How many elements there are in memory: an axis that was stretched over (stride 0) has one."""
    return product(
        tuple(1 if stride == 0 else size for size, stride in zip(shape, strides, strict=True))
    )


def permuted(strides: Strides, order: Sequence[int]) -> Strides:
    """Those of a tensor whose axes are taken in another order."""
    return tuple(strides[axis] for axis in order)


def stretched(shape: Shape, strides: Strides, to: Shape) -> Strides:
    """Those of a tensor broadcast to a larger shape."""
    new = len(to) - len(shape)
    return (0,) * new + tuple(
        0 if size != wide else stride
        for size, wide, stride in zip(shape, to[new:], strides, strict=True)
    )


def sliced(shape: Shape, strides: Strides, to: Shape) -> Strides:
    """Those of a part of a tensor, along one axis or without it."""
    if len(to) == len(shape):
        return strides
    for axis in range(len(shape)):
        if (*shape[:axis], *shape[axis + 1 :]) == to:
            return (*strides[:axis], *strides[axis + 1 :])
    return in_order(to)


def viewed(shape: Shape, strides: Strides, to: Shape) -> Strides | None:
    """Those of a tensor seen under another shape; None where its elements would have to be copied.

    Neighbouring axes that lie as one can be cut anew, others cannot (`computeStride` in aten/src/ATen/TensorUtils.cpp):
    (2, 3, 4) with (12, 4, 1) is a (6, 4) or a (2, 12); turned to (3, 2, 4) with (4, 12, 1) it is no (6, 4).
    """
    if not shape or not product(shape):
        return in_order(to)
    found = [0] * len(to)
    place = len(to) - 1
    base, had, made = strides[-1], 1, 1
    for axis in range(len(shape) - 1, -1, -1):
        had *= shape[axis]
        goes_on = axis > 0 and (shape[axis - 1] == 1 or strides[axis - 1] == had * base)
        if goes_on:
            continue
        while place >= 0 and (made < had or to[place] == 1):
            found[place] = made * base
            made *= to[place]
            place -= 1
        if made != had:
            return None
        if axis > 0:
            base, had, made = strides[axis - 1], 1, 1
    return tuple(found) if place == -1 else None
