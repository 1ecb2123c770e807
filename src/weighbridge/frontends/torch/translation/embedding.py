"""Rows of tables, one by one and in bags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ....program import AttributeValue
from .reading import Reading, present


def _embedding(table: Tensor, indices: Tensor, *_: object) -> Reading:
    return Reading("embedding", (table, indices), {})


def _embedding_backward(dy: Tensor, indices: Tensor, rows: int, *_: object) -> Reading:
    return Reading("embedding_backward", (dy, indices), {"rows": rows})


def _embedding_bag(
    table: Tensor,
    indices: Tensor,
    offsets: Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = 0,
    sparse: bool = False,
    weights: Tensor | None = None,
    include_last_offset: bool = False,
    *_: object,
) -> Reading:
    attributes: dict[str, AttributeValue] = dict(_BAGS[mode])
    if include_last_offset:
        attributes["ends"] = True
    return Reading("embedding_bag", present(table, indices, offsets, weights), attributes)


_BAGS: tuple[dict[str, AttributeValue], ...] = ({}, {"mean": True}, {"largest": True})
"""PyTorch's modes of bags by number: sum, mean, max."""


def _embedding_bag_backward(
    dy: Tensor, indices: Tensor, offsets: Tensor, *rest: Any, **_: object
) -> Reading:
    # After the tensors come the table's rows, whether rows are scaled by how often they occur, and the mode.
    rows, _by_frequency, mode = tuple(value for value in rest if isinstance(value, int))[:3]
    attributes: dict[str, AttributeValue] = {**_BAGS[mode], "rows": rows}
    return Reading("embedding_bag_backward", (dy, indices), attributes)


READINGS: dict[str, Callable[..., Reading]] = {
    "embedding": _embedding,
    "embedding_dense_backward": _embedding_backward,
    "_embedding_bag": _embedding_bag,
    "_embedding_bag_forward_only": _embedding_bag,
    "_embedding_bag_backward": _embedding_bag_backward,
    "_embedding_bag_dense_backward": _embedding_bag_backward,
}
