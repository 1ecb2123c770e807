"""Fourier transforms."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ....program import AttributeValue
from .reading import Reading, axes_of


def _fft(x: Tensor, dims: Sequence[int], *_: object) -> Reading:
    return _spectrum(x, dims, x.shape, x.dtype.to_complex(), real=False)


def _fft_of_real(x: Tensor, dims: Sequence[int], normalization: int, onesided: bool) -> Reading:
    shape = list(x.shape)
    if onesided:
        shape[dims[-1]] = shape[dims[-1]] // 2 + 1
    return _spectrum(x, dims, shape, x.dtype.to_complex(), real=True)


def _fft_to_real(x: Tensor, dims: Sequence[int], normalization: int, size: int) -> Reading:
    shape = list(x.shape)
    shape[dims[-1]] = size
    return _spectrum(x, dims, shape, x.dtype.to_real(), real=True)


def _spectrum(
    x: Tensor, dims: Sequence[int], shape: Sequence[int], dtype: torch.dtype, *, real: bool
) -> Reading:
    attributes: dict[str, AttributeValue] = {
        "axes": axes_of(dims, x.dim()),
        "shape": tuple(shape),
        "dtype": str(dtype).removeprefix("torch."),
    }
    if real:
        attributes["real"] = True
    return Reading("fourier_transform", (x,), attributes)


READINGS: dict[str, Callable[..., Reading]] = {
    "_fft_c2c": _fft,
    "_fft_r2c": _fft_of_real,
    "_fft_c2r": _fft_to_real,
}
