"""Attention, where PyTorch itself takes it whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from .reading import Reading, present


def _attention(
    q: Tensor, k: Tensor, v: Tensor, rate: float = 0.0, causal: bool = False, *_: object,
    attn_mask: Tensor | None = None, **__: object,
) -> Reading:  # fmt: skip
    return Reading("attention", present(q, k, v, attn_mask), {"causal": causal}, (True, True))


def _attention_backward(
    dy: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    y: Tensor,
    row_sums: Tensor,
    *rest: Any,
    **_: object,
) -> Reading:
    causal = any(value is True for value in rest)
    return Reading("attention_backward", (dy, q, k, v, y, row_sums), {"causal": causal})


def _attention_with_bias(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, keep_sums: bool, rate: float = 0.0,
    causal: bool = False, *_: object, **__: object,
) -> Reading:  # fmt: skip
    return Reading("attention", present(q, k, v, bias), {"causal": causal}, (True, True))


def _attention_with_bias_backward(
    dy: Tensor, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, y: Tensor, row_sums: Tensor,
    seed: object, offset: object, rate: float, wanted: object, causal: bool = False, *_: object, **__: object,
) -> Reading:  # fmt: skip
    return Reading("attention_backward", (dy, q, k, v, y, row_sums), {"causal": causal})


READINGS: dict[str, Callable[..., Reading]] = {
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_flash_attention_for_cpu_backward": _attention_backward,
    "_scaled_dot_product_flash_attention": _attention,
    "_scaled_dot_product_flash_attention_backward": _attention_backward,
    "_scaled_dot_product_efficient_attention": _attention_with_bias,
    "_scaled_dot_product_efficient_attention_backward": _attention_with_bias_backward,
    "_scaled_dot_product_cudnn_attention": _attention_with_bias,
    "_scaled_dot_product_cudnn_attention_backward": _attention_backward,
}
