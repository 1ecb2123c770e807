"""Matrix products and convolutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from ....program import AttributeValue
from .reading import Reading, Sizes, on_each_axis, present


def _addmm(bias: Tensor, x: Tensor, w: Tensor, *, beta: float = 1, alpha: float = 1) -> Reading:
    return Reading("matmul", (x, w, bias) if beta else (x, w), {})


def _scaled_mm(x: Tensor, w: Tensor, *_: object, **__: object) -> Reading:
    return Reading("matmul", (x, w), {})


def _addmv(bias: Tensor, x: Tensor, vector: Tensor, *, beta: float = 1, **_: object) -> Reading:
    return Reading("dot", (x, vector, bias) if beta else (x, vector), {})


def _addr(bias: Tensor, x: Tensor, y: Tensor, *, beta: float = 1, **_: object) -> Reading:
    return Reading("outer", (x, y, bias) if beta else (x, y), {})


def _addbmm(bias: Tensor, x: Tensor, w: Tensor, *, beta: float = 1, **_: object) -> Reading:
    return Reading("summed_matmul", (x, w, bias) if beta else (x, w), {})


def _grouped_mm(x: Tensor, w: Tensor, ends: Tensor | None = None, *_: object) -> Reading:
    return Reading("matmul" if ends is None else "grouped_matmul", present(x, w, ends), {})


def _trilinear(
    a: Tensor,
    b: Tensor,
    c: Tensor,
    expand_a: Sequence[int],
    expand_b: Sequence[int],
    expand_c: Sequence[int],
    summed: Sequence[int],
    *_: object,
) -> Reading:
    rank = a.dim() + len(expand_a)
    attributes: dict[str, AttributeValue] = {"summed": tuple(summed)}
    for place, missing in enumerate((expand_a, expand_b, expand_c)):
        attributes[f"axes_{place}"] = tuple(axis for axis in range(rank) if axis not in missing)
    return Reading("trilinear", (a, b, c), attributes)


def _convolution(
    x: Tensor,
    w: Tensor,
    bias: Tensor | None,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    transposed: bool,
    output_padding: Sizes,
    groups: int,
    *_: object,
) -> Reading:
    attributes = _geometry(w, stride, padding, dilation, transposed, output_padding, groups)
    return Reading("convolution", present(x, w, bias), attributes)


def _convolution_backward(
    dy: Tensor,
    x: Tensor,
    w: Tensor,
    bias_sizes: Sizes | None,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    transposed: bool,
    output_padding: Sizes,
    groups: int,
    output_mask: Sequence[bool],
) -> Reading:
    attributes = _geometry(w, stride, padding, dilation, transposed, output_padding, groups)
    attributes["mask"] = tuple(output_mask)
    # A CPU's library makes the gradient of the kernel along with the bias', wanted or not.
    return Reading("convolution_backward", (dy, x, w), attributes, tuple(output_mask))


def _convolution_over_time(x: Tensor, w: Tensor, bias: Tensor, padding: int = 0) -> Reading:
    return Reading("convolution_over_time", (x, w, bias), {"padding": padding})


def _geometry(
    w: Tensor,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    transposed: bool,
    output_padding: Sizes,
    groups: int,
) -> dict[str, AttributeValue]:
    rank = w.dim() - 2
    attributes: dict[str, AttributeValue] = {
        "stride": on_each_axis(stride, rank),
        "padding": on_each_axis(padding, rank),
        "dilation": on_each_axis(dilation, rank),
        "groups": groups,
        "transposed": transposed,
    }
    if transposed:
        attributes["output_padding"] = on_each_axis(output_padding, rank)
    return attributes


READINGS: dict[str, Callable[..., Reading]] = {
    "addmm": _addmm,
    "baddbmm": _addmm,
    "addmv": _addmv,
    "addr": _addr,
    "addbmm": _addbmm,
    "_grouped_mm": _grouped_mm,
    "_trilinear": _trilinear,
    "_scaled_mm": _scaled_mm,
    "_int_mm": _scaled_mm,
    "convolution": _convolution,
    "_convolution": _convolution,
    "convolution_overrideable": _convolution,
    "conv_tbc": _convolution_over_time,
    "convolution_backward": _convolution_backward,
    "convolution_backward_overrideable": _convolution_backward,
}
