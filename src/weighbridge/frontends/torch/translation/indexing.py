"""Writing to chosen places and finding them; windows and padding put together again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from ....program import AttributeValue
from .reading import Reading, present, tensors_in


def _index_put(
    target: Tensor,
    indices: Sequence[Tensor | None],
    values: Tensor,
    accumulate: bool = False,
    *_: object,
) -> Reading:
    return Reading("scatter", present(target, *indices, values), {"adds": accumulate})


def _masked_index_put(
    target: Tensor, mask: Tensor, indices: Sequence[Tensor | None], values: Tensor
) -> Reading:
    return Reading("scatter", present(target, mask, *indices, values), {"adds": True})


def _scatter_add(target: Tensor, dim: int, indices: Tensor, values: Tensor, **_: object) -> Reading:
    return Reading("scatter", (target, indices, values), {"adds": True})


def _scatter(
    target: Tensor,
    dim: int,
    indices: Tensor,
    values: Any = 0,
    *_: object,
    reduce: str = "",
    **__: object,
) -> Reading:
    attributes = _COMBINED.get(reduce, {})
    if isinstance(values, Tensor):
        return Reading("scatter", (target, indices, values), attributes)
    return Reading("scatter", (target, indices), {**attributes, "written": indices.numel()})


_COMBINED: dict[str, dict[str, AttributeValue]] = {
    "add": {"adds": True}, "sum": {"adds": True}, "mean": {"adds": True},
    "amax": {"compares": True}, "amin": {"compares": True},
    "prod": {"multiplies": True}, "multiply": {"multiplies": True},
}  # fmt: skip
"""How scattered values meet what is there, by PyTorch's names."""


def _scatter_reduce(
    target: Tensor, dim: int, indices: Tensor, values: Tensor, reduce: str, *_: object, **__: object
) -> Reading:
    return Reading("scatter", (target, indices, values), _COMBINED.get(reduce, {}))


def _index_copy(target: Tensor, dim: int, indices: Tensor, values: Tensor) -> Reading:
    return Reading("scatter", (target, indices, values), {})


def _index_fill(target: Tensor, dim: int, indices: Tensor, value: object) -> Reading:
    along = target.shape[dim] if target.dim() else 1
    written = indices.numel() * target.numel() // max(along, 1)
    return Reading("scatter", (target, indices), {"written": written})


def _put(target: Tensor, indices: Tensor, values: Tensor, accumulate: bool = False) -> Reading:
    return Reading("scatter", (target, indices, values), {"adds": accumulate})


def _write_part(target: Tensor, values: Tensor, *_: object, **__: object) -> Reading:
    return Reading("scatter", (target, values), {})


def _sort(x: Tensor, dim: int = -1, *_: object, **named: Any) -> Reading:
    return Reading("sort", (x,), {"axis": named.get("dim", dim) % max(x.dim(), 1)})


def _middle(x: Tensor, dim: int | None = None, *_: object, **__: object) -> Reading:
    """The median: of a row, or of all numbers."""
    return Reading("sort", (x,), {"flat": True}) if dim is None else _sort(x, dim)


def _smallest(x: Tensor, k: int, dim: int = -1, *_: object) -> Reading:
    return _sort(x, dim)


def _top(x: Tensor, k: int, dim: int = -1, *_: object) -> Reading:
    return Reading("sort", (x,), {"axis": dim % max(x.dim(), 1), "k": k})


def _distinct(x: Tensor, *_: object, **__: object) -> Reading:
    return Reading("sort", (x,), {"flat": True})


def _search(row: Tensor, values: Any, **_: object) -> Reading:
    return Reading("search", tensors_in((row, values)), {})


def _bucket(values: Any, row: Tensor, **_: object) -> Reading:
    return Reading("search", tensors_in((row, values)), {})


def _histogram(x: Tensor, bins: int = 100, *_: object) -> Reading:
    return Reading("histogram", (x,), {"bins": bins})


def _fold(x: Tensor, size: Sequence[int], kernel: Sequence[int], *_: object) -> Reading:
    channels = x.shape[-2] // (kernel[0] * kernel[1])
    return Reading("fold", (x,), {"shape": (*x.shape[:-2], channels, *size)})


def _windows_backward(dy: Tensor, shape: Sequence[int], *_: object) -> Reading:
    return Reading("fold", (dy,), {"shape": tuple(shape)})


def _padding_backward(dy: Tensor, x: Tensor, *_: object) -> Reading:
    return Reading("fold", (dy,), {"shape": tuple(x.shape)})


READINGS: dict[str, Callable[..., Reading]] = {
    "scatter": _scatter,
    "scatter_reduce": _scatter_reduce,
    "index_copy": _index_copy,
    "index_fill": _index_fill,
    "put": _put,
    "select_scatter": _write_part,
    "slice_scatter": _write_part,
    "diagonal_scatter": _write_part,
    "as_strided_scatter": _write_part,
    "index_reduce": _scatter_reduce,
    "_unsafe_masked_index_put_accumulate": _masked_index_put,
    "sort": _sort,
    "argsort": _sort,
    "median": _middle,
    "nanmedian": _middle,
    "mode": _sort,
    "kthvalue": _smallest,
    "_unique2": _distinct,
    "unique_consecutive": _distinct,
    "unique_dim": _distinct,
    "searchsorted": _search,
    "bucketize": _bucket,
    "histc": _histogram,
    "col2im": _fold,
    "unfold_backward": _windows_backward,
    **{
        f"{mode}_pad{rank}d_backward": _padding_backward
        for mode in ("reflection", "replication")
        for rank in (1, 2, 3)
    },
    "index_put": _index_put,
    "_index_put_impl": _index_put,
    "_unsafe_index_put": _index_put,
    "scatter_add": _scatter_add,
    "index_add": _scatter_add,
    "topk": _top,
}
