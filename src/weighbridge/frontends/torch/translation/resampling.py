"""Images made larger or smaller, or read at places between pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from ....program import AttributeValue
from .reading import Reading, Sizes, on_each_axis


def _upsample(mode: str) -> Callable[..., Reading]:
    def read(x: Tensor, size: Sizes | None, *rest: object) -> Reading:
        if size is None:  # by factors, which come last
            factors = rest[-1]
            assert isinstance(factors, list | tuple)
            sides = zip(x.shape[2:], factors, strict=True)
            size = tuple(int(side * factor) for side, factor in sides)
        return Reading("upsample", (x,), {"size": tuple(on_each_axis(size, 1)), "mode": mode})

    return read


def _upsample_backward(mode: str) -> Callable[..., Reading]:
    def read(dy: Tensor, size: Sizes, shape: Sequence[int], *_: object) -> Reading:
        return Reading("upsample_backward", (dy,), {"shape": tuple(shape), "mode": mode})

    return read


_SAMPLING = ("bilinear", "nearest", "bicubic")
"""How PyTorch numbers the interpolations of grid sampling."""


def _grid_sample(x: Tensor, grid: Tensor, mode: int, *_: object) -> Reading:
    return Reading("grid_sample", (x, grid), {"mode": _SAMPLING[mode]})


def _grid_sample_backward(dy: Tensor, x: Tensor, grid: Tensor, mode: int, *_: object) -> Reading:
    return Reading("grid_sample_backward", (dy, x, grid), {"mode": _SAMPLING[mode]})


def _smooth_upsample(mode: str) -> Callable[..., Reading]:
    def read(x: Tensor, size: Sequence[int], *_: object) -> Reading:
        return Reading("smooth_upsample", (x,), {"size": tuple(size), "mode": mode})

    return read


def _smooth_upsample_backward(mode: str) -> Callable[..., Reading]:
    def read(dy: Tensor, size: Sequence[int], shape: Sequence[int], *_: object) -> Reading:
        attributes: dict[str, AttributeValue] = {"shape": tuple(shape), "mode": mode}
        return Reading("smooth_upsample_backward", (dy,), attributes)

    return read


def _affine_grid(maps: Tensor, size: Sequence[int], *_: object) -> Reading:
    return Reading("affine_grid", (maps,), {"image": tuple(size[2:])})


_RESAMPLED = (
    *(("upsample_nearest", "nearest", rank) for rank in (1, 2, 3)),
    *(("_upsample_nearest_exact", "nearest", rank) for rank in (1, 2, 3)),
    ("upsample_linear", "linear", 1),
    ("upsample_bilinear", "bilinear", 2),
    ("upsample_trilinear", "trilinear", 3),
    ("upsample_bicubic", "bicubic", 2),
)
"""PyTorch's names for resampling, without the rank behind them."""


READINGS: dict[str, Callable[..., Reading]] = {
    **{f"{name}{rank}d": _upsample(mode) for name, mode, rank in _RESAMPLED},
    **{f"{name}{rank}d_backward": _upsample_backward(mode) for name, mode, rank in _RESAMPLED},
    "grid_sampler_2d": _grid_sample,
    "grid_sampler_3d": _grid_sample,
    "grid_sampler_2d_backward": _grid_sample_backward,
    "grid_sampler_3d_backward": _grid_sample_backward,
    **{f"_upsample_{mode}2d_aa": _smooth_upsample(mode) for mode in ("bilinear", "bicubic")},
    **{
        f"_upsample_{mode}2d_aa_backward": _smooth_upsample_backward(mode)
        for mode in ("bilinear", "bicubic")
    },
    "affine_grid_generator": _affine_grid,
}
