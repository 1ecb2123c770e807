"""Shortcuts: what an operator returns on meta, said without asking PyTorch.

PyTorch answers most operators on meta with kernels written in Python, made to compile and not to be
quick: one batch normalisation takes as long as three hundred allocations. What they return follows from
the operands' shapes, dtypes and strides, and for plain operands (floating point, dense, their axes in
order) it is a line each. `SHORTCUTS` holds those lines; each takes the operator's own arguments and
returns what PyTorch's kernel would, shape by shape, stride by stride, byte by byte, or None where the
operands are not plain: then PyTorch's kernel is asked, and so it is for everything that may be wrong,
so that errors stay PyTorch's own.

A shortcut stands here only where it was measured to save time, and only where tests compare it with
the kernel. Operators that return views have none: their kernels are quick.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

Shape = tuple[int, ...]
Shortcut = Callable[..., object]

_META = torch.device("meta")
_HALF = frozenset({torch.float16, torch.bfloat16})
_FLOATS = frozenset({torch.float32, torch.float64}) | _HALF


@lru_cache(maxsize=4096)
def _in_order(shape: Shape) -> Shape:
    """The strides of a dense tensor whose axes lie in order; an axis of size 0 counts as 1."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 1, 0, -1):
        strides[axis - 1] = strides[axis] * max(shape[axis], 1)
    return tuple(strides)


def _new(shape: Shape, dtype: torch.dtype) -> Tensor:
    return torch.empty_strided(shape, _in_order(shape), dtype=dtype, device=_META)


def _floating(x: object) -> bool:
    """Whether it is a tensor of floating-point numbers on meta."""
    return isinstance(x, Tensor) and x.is_meta and x.dtype in _FLOATS


def _plain(x: object) -> bool:
    """Whether it is such a tensor, dense and with its axes in order."""
    return (
        isinstance(x, Tensor)
        and x.is_meta
        and x.dtype in _FLOATS
        and x.stride() == _in_order(x.shape)
    )


def _alike(x: object, y: object) -> bool:
    """Whether two tensors are plain, of one shape and of one dtype."""
    return (
        isinstance(x, Tensor)
        and isinstance(y, Tensor)
        and x.dtype == y.dtype
        and x.shape == y.shape
        and _plain(x)
        and _plain(y)
    )


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _spreads(small: Shape, large: Shape) -> bool:
    """Whether a shape is broadcast to another without that one changing."""
    offset = len(large) - len(small)
    return offset >= 0 and all(side in (1, large[offset + axis]) for axis, side in enumerate(small))


def _statistics_dtype(dtype: torch.dtype) -> torch.dtype:
    """Normalisations compute half precision in single."""
    return torch.float32 if dtype in _HALF else dtype


# -- elementwise -------------------------------------------------------------------------------------


def _unary(x: Tensor, *_: object, **__: object) -> Tensor | None:
    """A function of each element; further arguments are numbers that its shape does not follow from."""
    return _new(x.shape, x.dtype) if _plain(x) else None


def _with_number(x: Tensor, number: object) -> Tensor | None:
    return _new(x.shape, x.dtype) if _is_number(number) and _plain(x) else None


def _binary(x: Any, y: Any, **scale: object) -> Tensor | None:
    """Two tensors of which one may be broadcast to the other, or a tensor and a number."""
    if scale or not _plain(x):
        return None
    if _is_number(y):
        return _new(x.shape, x.dtype)
    if not _plain(y) or x.dtype != y.dtype:
        return None
    if x.shape == y.shape or _spreads(y.shape, x.shape):
        return _new(x.shape, x.dtype)
    return _new(y.shape, y.dtype) if _spreads(x.shape, y.shape) else None


def _gradient(dy: Tensor, x: Tensor, *_: object, **__: object) -> Tensor | None:
    """The gradient of a function of each element, from its input or its output."""
    return _new(x.shape, x.dtype) if _alike(dy, x) else None


def _written(x: Tensor, *_: object, **__: object) -> Tensor | None:
    """A function of each element, written over it."""
    return x if _plain(x) else None


def _written_with(x: Tensor, y: Any, **scale: object) -> Tensor | None:
    """A tensor of the same shape, or a number, worked into the first operand."""
    if scale:
        return None
    return x if (_plain(x) if _is_number(y) else x is not y and _alike(x, y)) else None


def _copied(x: Tensor, *, memory_format: torch.memory_format | None = None) -> Tensor | None:
    if memory_format is torch.contiguous_format and _floating(x):
        return _new(x.shape, x.dtype)
    return _new(x.shape, x.dtype) if memory_format is None and _plain(x) else None


def _dropout(x: Tensor, rate: float, train: bool | None) -> tuple[Tensor, Tensor] | None:
    if not train or not 0 < rate < 1 or not _plain(x):
        return None
    return _new(x.shape, x.dtype), _new(x.shape, torch.bool)


def _dropout_backward(dy: Tensor, mask: Tensor, scale: float) -> Tensor | None:
    same = dy.shape == mask.shape and mask.stride() == _in_order(mask.shape)
    return _new(dy.shape, dy.dtype) if same and _plain(dy) else None


# -- products ----------------------------------------------------------------------------------------


def _product(x: Tensor, w: Tensor) -> Tensor | None:
    """(M, K) and (K, N), or (B, M, K) and (B, K, N), in any layout."""
    if not (_floating(x) and _floating(w)) or x.dtype != w.dtype:
        return None
    a, b = x.shape, w.shape
    if not len(a) == len(b) in (2, 3) or a[-1] != b[-2] or a[:-2] != b[:-2]:
        return None
    return _new((*a[:-1], b[-1]), x.dtype)


def _product_and_bias(bias: Tensor, x: Tensor, w: Tensor, **scale: object) -> Tensor | None:
    """(N), (M, K) and (K, N)."""
    if scale or bias.dtype != x.dtype or bias.shape != w.shape[1:] or x.dim() != 2:
        return None
    return _product(x, w) if bias.is_meta else None


def _convolution(
    x: Tensor,
    w: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor | None:
    """(B, C, *image) and (K, C/groups, *kernel); the output's axes lie in order in any case."""
    a, b = x.shape, w.shape
    if transposed or not len(a) == len(b) > 2 or a[1] != b[1] * groups or not b[0]:
        return None
    if not (_floating(x) and _floating(w)) or x.dtype != w.dtype or not x.numel():
        return None
    if not len(stride) == len(padding) == len(dilation) == len(a) - 2:
        return None
    sides = [
        (side + 2 * pad - apart * (kernel - 1) - 1) // step + 1
        for side, kernel, step, pad, apart in zip(
            a[2:], b[2:], stride, padding, dilation, strict=True
        )
    ]
    return _new((a[0], b[0], *sides), x.dtype) if min(sides) > 0 else None


def _convolution_backward(
    dy: Tensor,
    x: Tensor,
    w: Tensor,
    bias_sizes: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    mask: Sequence[bool],
) -> tuple[Tensor | None, ...] | None:
    if not (_plain(x) and _plain(w) and _floating(dy)):
        return None
    return (
        _new(x.shape, dy.dtype) if mask[0] else None,
        _new(w.shape, dy.dtype) if mask[1] else None,
        _new(tuple(bias_sizes or ()), dy.dtype) if mask[2] else None,
    )


# -- normalisations ----------------------------------------------------------------------------------


def _batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor | None,
    variance: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor] | None:
    """(B, C, *image) and up to four of (C)."""
    if not _plain(x) or x.dim() < 2:
        return None
    channels = x.shape[1:2]
    given = [tensor for tensor in (weight, bias, mean, variance) if tensor is not None]
    if any(tensor.shape != channels or not _plain(tensor) for tensor in given):
        return None
    # One value a channel has no variance; without batch statistics there must be running ones.
    if x.numel() <= channels[0] if training else mean is None or variance is None:
        return None
    dtype = _statistics_dtype(x.dtype)
    return _new(x.shape, x.dtype), _new(channels, dtype), _new(channels, dtype)


def _batch_norm_backward(
    dy: Tensor,
    x: Tensor,
    weight: Tensor | None,
    running_mean: Tensor | None,
    running_variance: Tensor | None,
    mean: Tensor | None,
    deviation: Tensor | None,
    training: bool,
    eps: float,
    mask: Sequence[bool],
) -> tuple[Tensor | None, ...] | None:
    if not _alike(dy, x) or x.dim() < 2 or not x.numel():
        return None
    statistics = (mean, deviation) if training else (running_mean, running_variance)
    channels = x.shape[1:2]
    if any(tensor is None or tensor.shape != channels for tensor in statistics):
        return None
    if weight is not None and (weight.shape != channels or not _plain(weight)):
        return None
    dtype = x.dtype if weight is None else weight.dtype
    return (
        _new(x.shape, x.dtype),
        _new(channels, dtype) if mask[1] else None,
        _new(channels, dtype) if mask[2] else None,
    )


def _layer_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor] | None:
    """(*outer, *shape), and up to two of shape; a mean and a deviation for each of outer."""
    inner, outer = tuple(shape), x.dim() - len(shape)
    if not _plain(x) or not inner or outer < 0 or x.shape[outer:] != inner:
        return None
    if any(t is not None and (t.shape != inner or not _plain(t)) for t in (weight, bias)):
        return None
    per_row = (*x.shape[:outer], *(1 for _ in inner))
    dtype = _statistics_dtype(x.dtype)
    return _new(x.shape, x.dtype), _new(per_row, dtype), _new(per_row, dtype)


def _layer_norm_backward(
    dy: Tensor,
    x: Tensor,
    shape: Sequence[int],
    mean: Tensor,
    deviation: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mask: Sequence[bool],
) -> tuple[Tensor | None, ...] | None:
    inner = tuple(shape)
    if not _alike(dy, x) or not x.numel() or x.shape[x.dim() - len(inner) :] != inner:
        return None
    if any(t is not None and (t.shape != inner or not _plain(t)) for t in (weight, bias)):
        return None
    return (
        _new(x.shape, x.dtype) if mask[0] else None,
        _new(inner, weight.dtype) if mask[1] and weight is not None else None,
        _new(inner, bias.dtype) if mask[2] and bias is not None else None,
    )


def _softmax(x: Tensor, dim: int, to_single: bool) -> Tensor | None:
    return _new(x.shape, x.dtype) if not to_single and _plain(x) else None


def _softmax_backward(dy: Tensor, y: Tensor, dim: int, input_dtype: torch.dtype) -> Tensor | None:
    return _new(y.shape, y.dtype) if y.dtype == input_dtype and _alike(dy, y) else None


# -- reductions and movement -------------------------------------------------------------------------


def _reduced(
    x: Tensor, dim: Sequence[int] | None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Tensor | None:
    """Some axes summed up; an empty list means all."""
    rank = x.dim()
    if dtype is not None or not dim or not _plain(x) or not all(-rank <= d < rank for d in dim):
        return None
    axes = {d % rank for d in dim}
    if len(axes) != len(dim):
        return None
    if keepdim:
        return _new(tuple(1 if d in axes else n for d, n in enumerate(x.shape)), x.dtype)
    return _new(tuple(n for d, n in enumerate(x.shape) if d not in axes), x.dtype)


def _joined(tensors: Sequence[Tensor], dim: int = 0) -> Tensor | None:
    first = tensors[0]
    rank, dtype = first.dim(), first.dtype
    if not -rank <= dim < rank:
        return None
    shape, axis = first.shape, dim % rank
    before, after = shape[:axis], shape[axis + 1 :]
    for x in tensors:
        other = x.shape
        if len(other) != rank or other[:axis] != before or other[axis + 1 :] != after:
            return None
        if x.dtype != dtype or not _plain(x):
            return None
    return _new((*before, sum(x.shape[axis] for x in tensors), *after), dtype)


_aten = torch.ops.aten

SHORTCUTS: Mapping[OpOverload, Shortcut] = {
    **dict.fromkeys(
        (
            _aten.relu.default, _aten.gelu.default, _aten.silu.default, _aten.hardswish.default,
            _aten.hardsigmoid.default, _aten.hardtanh.default, _aten.sigmoid.default,
            _aten.tanh.default, _aten.exp.default, _aten.neg.default, _aten.sqrt.default,
            _aten.rsqrt.default,
        ),
        _unary,
    ),
    **dict.fromkeys(
        (
            _aten.add.Scalar, _aten.sub.Scalar, _aten.mul.Scalar, _aten.div.Scalar,
            _aten.pow.Tensor_Scalar,
        ),
        _with_number,
    ),
    **dict.fromkeys(
        (_aten.add.Tensor, _aten.sub.Tensor, _aten.mul.Tensor, _aten.div.Tensor), _binary
    ),
    **dict.fromkeys(
        (
            _aten.threshold_backward.default, _aten.gelu_backward.default,
            _aten.silu_backward.default, _aten.hardswish_backward.default,
            _aten.hardsigmoid_backward.default, _aten.hardtanh_backward.default,
            _aten.sigmoid_backward.default, _aten.tanh_backward.default,
        ),
        _gradient,
    ),
    **dict.fromkeys(
        (_aten.silu_.default, _aten.hardswish_.default, _aten.hardtanh_.default), _written
    ),
    **dict.fromkeys((_aten.add_.Tensor, _aten.mul_.Tensor), _written_with),
    _aten.clone.default: _copied,
    _aten.native_dropout.default: _dropout,
    _aten.native_dropout_backward.default: _dropout_backward,
    _aten.mm.default: _product,
    _aten.bmm.default: _product,
    _aten.addmm.default: _product_and_bias,
    _aten.convolution.default: _convolution,
    _aten.convolution_backward.default: _convolution_backward,
    _aten.native_batch_norm.default: _batch_norm,
    _aten.native_batch_norm_backward.default: _batch_norm_backward,
    _aten.native_layer_norm.default: _layer_norm,
    _aten.native_layer_norm_backward.default: _layer_norm_backward,
    _aten._softmax.default: _softmax,
    _aten._log_softmax.default: _softmax,
    _aten._softmax_backward_data.default: _softmax_backward,
    _aten._log_softmax_backward_data.default: _softmax_backward,
    _aten.sum.dim_IntList: _reduced,
    _aten.mean.dim: _reduced,
    _aten.cat.default: _joined,
}  # fmt: skip
"""What each operator returns for plain operands, None for others, by PyTorch's name of it."""
