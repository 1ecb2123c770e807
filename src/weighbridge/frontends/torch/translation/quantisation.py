"""Quantised layers: PyTorch's own, whose weights lie packed in objects of a library's.

A packed weight is a tensor to nobody but the library. It is unpacked once, and the same tensors stand for it
wherever it is used, so that it counts once and in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from ....program import AttributeValue
from .reading import Reading, present, tensors_in

Packed: TypeAlias = Any  # a ScriptObject, whose methods PyTorch makes when it is loaded

Unpacked = tuple[Tensor, Tensor | None]

_HELD: dict[int, tuple[Packed, Unpacked]] = {}
"""What was unpacked, by the address of the object, which is held so that no other can take its place."""


@contextmanager
def unpacked_once() -> Iterator[None]:
    """Lets unpacked weights go afterwards."""
    try:
        yield
    finally:
        _HELD.clear()


def unpack(packed: Packed) -> Unpacked:
    """The weight and the bias in a packed object, the same tensors every time."""
    address = hash(packed)
    if address not in _HELD:
        with _disable_current_modes():  # to look into it is nothing that the network does
            held = packed.unpack()
        # An embedding's table comes alone.
        _HELD[address] = (packed, (held, None) if isinstance(held, Tensor) else held)
    return _HELD[address][1]


def packed_weights(model: nn.Module) -> dict[str, Tensor]:
    """The weights and biases that a network's modules hold packed, by the names that they had before."""
    found: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        for value in vars(module).values():
            if isinstance(value, torch.ScriptObject) and hasattr(value, "unpack"):
                # A linear layer holds them in a module of their own.
                prefix = name.removesuffix("_packed_params").rstrip(".")
                weight, bias = unpack(value)
                for key, tensor in (("weight", weight), ("bias", bias)):
                    if tensor is not None:
                        found[f"{prefix}.{key}".lstrip(".")] = tensor
    return found


def _convolution(rank: int, *, dynamic: bool = False, onto: bool = False) -> Callable[..., Reading]:
    """A convolution, `onto` what its second operand holds."""

    def read(x: Tensor, *others: Any, **_: object) -> Reading:
        packed: Packed = next(each for each in others if isinstance(each, torch.ScriptObject))
        weight, bias = unpack(packed)
        transposed = bool(packed.transpose())
        if weight.dim() > rank + 2:  # in one dimension it is kept as an image of one row
            weight = weight.squeeze(2)

        def last(sizes: Sequence[int]) -> tuple[int, ...]:
            return tuple(sizes)[-rank:]

        attributes: dict[str, AttributeValue] = {
            "stride": last(packed.stride()),
            "padding": last(packed.padding()),
            "dilation": last(packed.dilation()),
            "groups": packed.groups(),
            "transposed": transposed,
        }
        if transposed:
            attributes["output_padding"] = last(packed.output_padding())
        if dynamic:
            attributes["dynamic"] = True
        if onto:
            attributes["onto"] = True
        added = tensors_in(others[:1]) if onto else []
        return Reading("quantised_convolution", [*present(x, weight, bias), *added], attributes)

    return read


def _linear(*, dynamic: bool = False) -> Callable[..., Reading]:
    def read(x: Tensor, packed: Packed, *_: object, **__: object) -> Reading:
        attributes: dict[str, AttributeValue] = {"dynamic": True} if dynamic else {}
        return Reading("quantised_linear", present(x, *unpack(packed)), attributes)

    return read


def _elementwise(plain: str) -> Callable[..., Reading]:
    def read(*operands: object, **_: object) -> Reading:
        return Reading(f"quantised_{plain}", tensors_in(operands), {})

    return read


def _concatenate(tensors: Sequence[Tensor], axis: int, *_: object) -> Reading:
    return Reading("quantised_concatenate", tensors, {"axis": axis % tensors[0].dim()})


def _quantise(x: Tensor, *settings: Any, **named: Any) -> Reading:
    dtype = next(each for each in (*settings, *named.values()) if isinstance(each, torch.dtype))
    return Reading("quantise", (x,), {"dtype": str(dtype).removeprefix("torch.")})


def _quantise_observed(x: Tensor, dtype: torch.dtype, *_: object) -> Reading:
    reading = _quantise(x, dtype)
    return Reading("quantise", (x,), {**reading.attributes, "observed": True})


def _dequantise(x: Tensor) -> Reading:
    return Reading("dequantise", (x,), {})


def _fake(x: Tensor, *_: object) -> Reading:
    return Reading("fake_quantise", (x,), {})


def _fake_observed(x: Tensor, *_: object) -> Reading:
    return Reading("fake_quantise", (x,), {"observed": True})


def _fake_backward(dy: Tensor, mask: Tensor) -> Reading:
    return Reading("mul", (dy, mask), {})


READINGS: dict[str, Callable[..., Reading]] = {
    "quantize_per_tensor": _quantise,
    "quantize_per_channel": _quantise,
    "quantize_per_tensor_dynamic": _quantise_observed,
    "dequantize": _dequantise,
    "_fused_moving_avg_obs_fq_helper": _fake_observed,
    "fake_quantize_per_tensor_affine_cachemask": _fake,
    "fake_quantize_per_channel_affine_cachemask": _fake,
    "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams": _fake,
    "fake_quantize_per_tensor_affine_cachemask_backward": _fake_backward,
    "fake_quantize_per_channel_affine_cachemask_backward": _fake_backward,
    **{f"quantized::linear{after}": _linear() for after in ("", "_relu")},
    **{f"quantized::linear{after}_dynamic": _linear(dynamic=True) for after in ("", "_relu")},
    **{
        f"quantized::{name}{rank}d{after}": _convolution(rank, dynamic=after == "_dynamic")
        for name, afters in (("conv", ("", "_relu", "_dynamic")), ("conv_transpose", ("", "_dynamic")))
        for after in afters
        for rank in (1, 2, 3)
    },
    **{f"quantized::conv2d_add{after}": _convolution(2, onto=True) for after in ("", "_relu")},
    **{
        f"quantized::{plain}{after}": _elementwise(plain)
        for plain in ("add", "mul")
        for after in ("", "_relu", "_scalar", "_scalar_relu")
    },
    **{
        f"quantized::{name}": _elementwise(plain)
        for name, plain in (
            ("hardswish", "hardswish"), ("sigmoid", "sigmoid"), ("leaky_relu", "leaky_relu"), ("elu", "elu"),
            ("celu", "elu"),
        )
    },
    **{f"quantized::cat{after}": _concatenate for after in ("", "_relu")},
}  # fmt: skip
