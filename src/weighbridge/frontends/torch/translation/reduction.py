"""Sums, extrema and deviations over axes; softmax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ....program import AttributeValue
from .reading import Reading, Sizes, axes_of


def _along(kind: str) -> Callable[..., Reading]:
    """What works along one axis: softmax and partial sums."""

    def read(x: Tensor, dim: int, *_: object, **__: object) -> Reading:
        return Reading(kind, (x,), {"axis": dim % max(x.dim(), 1)})

    return read


def _softmax_backward(kind: str) -> Callable[..., Reading]:
    def read(dy: Tensor, y: Tensor, dim: int, *_: object) -> Reading:
        return Reading(kind, (dy, y), {"axis": dim % max(y.dim(), 1)})

    return read


def _reduce(kind: str) -> Callable[..., Reading]:
    def read(
        x: Tensor, dim: Sizes | None = None, *rest: object, keepdim: bool = False, **_: object
    ) -> Reading:
        if isinstance(dim, bool | float):  # `var(unbiased)`
            dim = None
        keep = keepdim or (bool(rest) and rest[-1] is True)
        attributes: dict[str, AttributeValue] = {"axes": axes_of(dim, x.dim())}
        if keep:
            attributes["keep"] = True
        return Reading(kind, (x,), attributes)

    return read


def _norm(
    x: Tensor,
    order: object = 2,
    dim: Sizes | None = None,
    keepdim: bool = False,
    **_: object,
) -> Reading:
    attributes: dict[str, AttributeValue] = {"axes": axes_of(dim, x.dim())}
    if keepdim:
        attributes["keep"] = True
    return Reading("norm", (x,), attributes)


def _extreme(x: Tensor, dim: Any = None, keepdim: bool = False, **_: object) -> Reading:
    if isinstance(dim, Tensor):  # max(a, b) is elementwise
        return Reading("extremum", (x, dim), {})
    return _reduce("extreme")(x, dim, keepdim=keepdim)


READINGS: dict[str, Callable[..., Reading]] = {
    "_softmax": _along("softmax"),
    "_safe_softmax": _along("softmax"),
    "_log_softmax": _along("log_softmax"),
    "_softmax_backward_data": _softmax_backward("softmax_backward"),
    "_log_softmax_backward_data": _softmax_backward("log_softmax_backward"),
    "sum": _reduce("sum"),
    "mean": _reduce("mean"),
    "amax": _reduce("extreme"),
    "amin": _reduce("extreme"),
    "logsumexp": _reduce("logsumexp"),
    "nansum": _reduce("sum"),
    "count_nonzero": _reduce("sum"),
    "any": _reduce("extreme"),
    "all": _reduce("extreme"),
    "argmax": _reduce("extreme"),
    "argmin": _reduce("extreme"),
    "max": _extreme,
    "min": _extreme,
    "cumsum": _along("running_sum"),
    "logcumsumexp": _along("running_logsumexp"),
    "cumprod": _along("running_product"),
    "cummax": _along("running_extreme"),
    "cummin": _along("running_extreme"),
    "var": _reduce("variance"),
    "std": _reduce("variance"),
    "var_mean": _reduce("variance"),
    "std_mean": _reduce("variance"),
    "prod": _reduce("product"),
    "linalg_vector_norm": _norm,
    "norm": _norm,
}
