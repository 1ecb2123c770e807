"""Attention, taken whole: one operator forward and one backward, whatever a device would run it as.

On meta, PyTorch takes scaled dot-product attention apart into matrix products and a softmax, with the
table of scores in memory, which no device that has a fused kernel does. Here it stays one operator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd import Function

from ...program import Attributes
from .masks import pattern_of
from .recording import Recorder

NAME = "aten.scaled_dot_product_attention"

scaled_dot_product_attention = torch._C._nn.scaled_dot_product_attention
"""PyTorch's own, under whatever name a network calls it."""

Context: TypeAlias = Any  # what autograd hands to forward and backward, untyped in PyTorch

Values: TypeAlias = Callable[[], tuple[Tensor, Tensor | None]]
"""Attention as PyTorch computes it: y, and the log-sum-exp where that is asked for."""


class _Attention(Function):
    """Attention over heads as autograd sees it: results of the right size, with nothing in them."""

    @staticmethod
    def forward(
        ctx: Context,
        recorder: Recorder,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None,
        link: Tensor | None,
        name: str,
        attributes: Attributes,
        values: Values,
    ) -> tuple[Tensor, Tensor]:
        """q (B, H, S, E), k (B, G, T, E), v (B, G, T, F) -> (B, H, S, F), laid out token by token."""
        with recorder.muted():
            y = _by_token(q, v.shape[-1])
            row_sums = q.new_empty(q.shape[:-1], dtype=torch.float32)  # log-sum-exp (B, H, S)
            if recorder.home != "meta":  # there are values, and the network may ask for some
                found, sums = values()
                y.copy_(found)
                if sums is not None:
                    row_sums.copy_(sums)
        operands = (q, k, v) if mask is None else (q, k, v, mask)
        recorder.emit("attention", operands, (y, row_sums), attributes, name=name)
        ctx.recorder, ctx.name, ctx.attributes, ctx.link = recorder, name, attributes, link
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(q, k, v, y, row_sums)
        return y, row_sums

    @staticmethod
    def backward(ctx: Context, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """The gradients of q, k and v, shaped and laid out as fused kernels return them."""
        q, k, v, y, row_sums = ctx.saved_tensors
        recorder: Recorder = ctx.recorder
        dy, d_sums = gradients
        link = ctx.link
        with recorder.muted():
            made = tuple(_by_token(tensor, tensor.shape[-1]) for tensor in (q, k, v))
            dy = torch.zeros_like(y) if dy is None else dy
            lowered = None if d_sums is None else torch.empty_like(row_sums)
            linked = None if link is None else torch.zeros_like(link)
            if recorder.home != "meta":  # no step looks at a gradient's values: none are worked out
                for tensor in made:
                    tensor.zero_()
        if lowered is not None and d_sums is not None:  # it comes off the sum of dy * y of each row
            recorder.emit("sub", (row_sums, d_sums), (lowered,), {}, name=f"{ctx.name}_backward")
        recorder.emit(
            "attention_backward",
            (dy, q, k, v, y, row_sums),
            made,
            ctx.attributes,
            name=f"{ctx.name}_backward",
            results=3,
        )
        return (None, *made, None, linked, None, None, None)


def whole(
    recorder: Recorder,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    name: str,
    attributes: Attributes,
    values: Values,
    mask: Tensor | None = None,
    link: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Writes attention down as one operator, and one more when backward comes to it.

    q (B, H, S, E), k (B, G, T, E), v (B, G, T, F) -> y (B, H, S, F) and the log-sum-exp (B, H, S).
    `values` computes both where tensors have data. A `link` is a tensor that the result depends on in
    some way of its own: it gets a gradient.
    """
    made: tuple[Tensor, Tensor] = _Attention.apply(
        recorder, q, k, v, mask, link, name, attributes, values
    )
    return made


def _by_token(like: Tensor, width: int) -> Tensor:
    """An empty (B, H, S, width) in which the heads of a token lie side by side."""
    batch, heads, length, _ = like.shape
    return like.new_empty((batch, length, heads, width)).transpose(1, 2)


def attend(
    recorder: Recorder,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Stands in for `torch.nn.functional.scaled_dot_product_attention`, with its parameters.

    Query, key and value may have 2 to 4 axes; three (B, S, E) are one head. A mask whose gradient is
    wanted, and operands that do not fit, go to PyTorch's own, which takes the first apart and refuses
    the second. Of a mask whose pattern is known (`masks`) what it lets through is counted, of another
    the whole square.
    """
    learnt = attn_mask is not None and attn_mask.requires_grad
    if learnt or not _fits(query, key, value, enable_gqa) or (is_causal and attn_mask is not None):
        result: Tensor = scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
        return result
    missing = 4 - query.dim()
    for _ in range(missing):
        query, key, value = (tensor.unsqueeze(-3) for tensor in (query, key, value))
    attributes = {"causal": is_causal, **pattern_of(attn_mask)}
    if dropout_p:
        attributes["rate"] = dropout_p

    def values() -> tuple[Tensor, None]:
        grouped = query.shape[1] != key.shape[1]
        computed: Tensor = scaled_dot_product_attention(
            query, key, value, attn_mask, 0.0, is_causal, scale=scale, enable_gqa=grouped
        )
        return computed, None

    result, _sums = whole(
        recorder, query, key, value, name=NAME, attributes=attributes, values=values, mask=attn_mask
    )
    for _ in range(missing):
        result = result.squeeze(-3)
    return result


def _fits(q: Tensor, k: Tensor, v: Tensor, grouped: bool) -> bool:
    """Whether the operands are plain attention: one batch, one width, heads alike or in groups."""
    if not 2 <= q.dim() == k.dim() == v.dim() <= 4:
        return False
    if q.shape[-1] != k.shape[-1] or k.shape[:-1] != v.shape[:-1]:
        return False
    if q.dim() < 4:
        return q.shape[:-2] == k.shape[:-2]
    heads, groups = q.shape[1], k.shape[1]
    return q.shape[0] == k.shape[0] and (heads == groups or (grouped and heads % groups == 0))
