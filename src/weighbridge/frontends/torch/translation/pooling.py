"""Pooling."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ....program import AttributeValue
from .reading import Reading, Sizes, on_each_axis


def _window(
    kernel: Sizes, stride: Sizes, padding: Sizes, ceil_mode: bool, rank: int
) -> dict[str, AttributeValue]:
    window = on_each_axis(kernel, rank)
    given = on_each_axis(stride, rank)
    return {
        "window": window,
        "stride": given or window,
        "padding": on_each_axis(padding, rank),
        "ceil_mode": ceil_mode,
    }


def _max_pool(rank: int) -> Callable[..., Reading]:
    def read(
        x: Tensor,
        kernel: Sizes,
        stride: Sizes = (),
        padding: Sizes = 0,
        dilation: Sizes = 1,
        ceil_mode: bool = False,
    ) -> Reading:
        attributes = _window(kernel, stride, padding, ceil_mode, rank)
        if any(step != 1 for step in on_each_axis(dilation, rank)):
            attributes["dilation"] = on_each_axis(dilation, rank)
        return Reading("max_pool", (x,), attributes)

    return read


def _max_pool_backward(
    dy: Tensor,
    x: Tensor,
    kernel: Sizes,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool,
    indices: Tensor,
) -> Reading:
    return Reading("max_pool_backward", (dy, x, indices), {})


def _average_pool(rank: int) -> Callable[..., Reading]:
    def read(
        x: Tensor,
        kernel: Sizes,
        stride: Sizes = (),
        padding: Sizes = 0,
        ceil_mode: bool = False,
        *_: object,
    ) -> Reading:
        return Reading("average_pool", (x,), _window(kernel, stride, padding, ceil_mode, rank))

    return read


def _average_pool_backward(rank: int) -> Callable[..., Reading]:
    def read(dy: Tensor, x: Tensor, kernel: Sizes, *_: object) -> Reading:
        return Reading("average_pool_backward", (dy, x), {"window": on_each_axis(kernel, rank)})

    return read


def _adaptive_pool(kind: str) -> Callable[..., Reading]:
    def read(x: Tensor, size: Sizes) -> Reading:
        return Reading(kind, (x,), {"size": on_each_axis(size, 1)})

    return read


def _adaptive_max_pool_backward(dy: Tensor, x: Tensor, indices: Tensor) -> Reading:
    return Reading("max_pool_backward", (dy, x, indices), {})


def _fractional_max_pool(x: Tensor, window: Sizes, size: Sizes, places: Tensor) -> Reading:
    rank = places.shape[-1]  # where the windows lie, a number for each axis
    attributes = {"window": on_each_axis(window, rank), "size": on_each_axis(size, rank)}
    return Reading("fractional_max_pool", (x, places), attributes)


def _fractional_max_pool_backward(
    dy: Tensor, x: Tensor, window: Sizes, size: Sizes, indices: Tensor
) -> Reading:
    return Reading("max_pool_backward", (dy, x, indices), {})


READINGS: dict[str, Callable[..., Reading]] = {
    "quantized_max_pool1d": _max_pool(1),
    "quantized_max_pool2d": _max_pool(2),
    "quantized_max_pool3d": _max_pool(3),
    "max_pool2d_with_indices": _max_pool(2),
    "max_pool3d_with_indices": _max_pool(3),
    "max_pool2d_with_indices_backward": _max_pool_backward,
    "max_pool3d_with_indices_backward": _max_pool_backward,
    "avg_pool2d": _average_pool(2),
    "avg_pool3d": _average_pool(3),
    "avg_pool2d_backward": _average_pool_backward(2),
    "avg_pool3d_backward": _average_pool_backward(3),
    "_adaptive_avg_pool2d": _adaptive_pool("adaptive_average_pool"),
    "_adaptive_avg_pool3d": _adaptive_pool("adaptive_average_pool"),
    "adaptive_max_pool2d": _adaptive_pool("adaptive_max_pool"),
    "adaptive_max_pool3d": _adaptive_pool("adaptive_max_pool"),
    "adaptive_max_pool2d_backward": _adaptive_max_pool_backward,
    "adaptive_max_pool3d_backward": _adaptive_max_pool_backward,
    **{f"fractional_max_pool{rank}d": _fractional_max_pool for rank in (2, 3)},
    **{f"fractional_max_pool{rank}d_backward": _fractional_max_pool_backward for rank in (2, 3)},
}
