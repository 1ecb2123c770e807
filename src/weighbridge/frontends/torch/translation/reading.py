"""What a reading of a call is, and what the readings share: operands, sizes and axes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from torch import Tensor

from ....program import Attributes

Sizes = int | Sequence[int]


class Reading(NamedTuple):
    """One call of an operator in our terms.

    `kept` says of each result whether it counts, and is None where all of them do: a kernel may return more
    than was asked for. What is behind its end does not count.
    """

    kind: str
    operands: Sequence[Tensor]
    attributes: Attributes
    kept: Sequence[bool] | None = None


def tensors_in(values: Iterable[object]) -> list[Tensor]:
    """The tensors among the values and in their lists, in order."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found.extend(tensors_in(value))
    return found


def present(*tensors: Tensor | None) -> list[Tensor]:
    """The operands that are there."""
    return [tensor for tensor in tensors if tensor is not None]


def on_each_axis(sizes: Sizes, rank: int) -> tuple[int, ...]:
    """A size for every axis of an image, where one may stand for all."""
    values = (sizes,) if isinstance(sizes, int) else tuple(sizes)
    return values * rank if len(values) == 1 else values


def axes_of(dims: Sizes | None, rank: int) -> tuple[int, ...]:
    """Axes counted from the front; none given means all."""
    if dims is None or (not isinstance(dims, int) and not len(dims)):
        return tuple(range(rank))
    return tuple(dim % rank for dim in on_each_axis(dims, 1)) if rank else ()
