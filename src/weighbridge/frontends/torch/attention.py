"""Attention, taken whole: one operator forward and one backward, whatever a device would run it as.

On meta, PyTorch takes scaled dot-product attention apart into matrix products and a softmax, with the
table of scores in memory, which no device that has a fused kernel does. Here it stays one operator.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional

from ...ops.attention_kernels import (
    AttentionCall,
    Kept,
    Name,
    attention_kernel,
    keeps,
    log_sum_exp_rows,
)
from ...program import Attributes, AttributeValue
from ...workload import Backend
from .masks import pattern_of
from .recording import DTYPE_NAMES, Recorder

NAME = "aten.scaled_dot_product_attention"

scaled_dot_product_attention = torch._C._nn.scaled_dot_product_attention
"""PyTorch's own, under whatever name a network calls it."""

Context: TypeAlias = Any  # what autograd hands to forward and backward, untyped in PyTorch

Values: TypeAlias = Callable[[], tuple[Tensor, Tensor | None]]
"""Attention as PyTorch computes it: y, and the log-sum-exp where that is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a device's kernel runs attention: which it is, and what it keeps beside the log-sum-exp."""

    kernel: Name = "efficient"
    backend: Backend = "cuda"
    keeps: tuple[Kept, ...] = ()

    def result(self, q: Tensor, width: int) -> Tensor:
        """An empty result (B, H, S, width), as the kernel lays it out: as its operand, or by token."""
        if self.kernel == "flash":
            return torch.empty_like(q)
        if self.kernel == "math":
            return q.new_empty((*q.shape[:-1], width))
        return _by_token(q, width)

    def gradient(self, operand: Tensor) -> Tensor:
        """An empty gradient of an operand; the CPU writes them by token in any case."""
        if self.kernel == "efficient" or self.backend == "cpu":
            return _by_token(operand, operand.shape[-1])
        return torch.empty_like(operand)

    def row_sums(self, q: Tensor) -> Tensor:
        """An empty log-sum-exp (B, H, S)."""
        wide = torch.float64 if q.dtype == torch.float64 else torch.float32
        if self.kernel == "math":  # none: the scores are kept
            return q.new_empty((1,), dtype=wide).expand(q.shape[:-1])
        rows = log_sum_exp_rows(self.kernel, self.backend, q.shape[-2])
        return q.new_empty((*q.shape[:-2], rows), dtype=wide)[..., : q.shape[-2]]


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
        way: Way,
    ) -> tuple[Tensor, Tensor]:
        """q (B, H, S, E), k (B, G, T, E), v (B, G, T, F) -> (B, H, S, F), and the log-sum-exp."""
        with recorder.muted():
            y = way.result(q, v.shape[-1])
            row_sums = way.row_sums(q)
            kept = [q.new_empty(each.shape, dtype=getattr(torch, each.dtype)) for each in way.keeps]
            if recorder.home != "meta":  # there are values, and the network may ask for some
                found, sums = values()
                y.copy_(found)
                if sums is not None:
                    row_sums.copy_(sums)
        operands = (q, k, v) if mask is None else (q, k, v, mask)
        recorder.emit("attention", operands, (y, row_sums, *kept), attributes, name=name)
        ctx.recorder, ctx.name, ctx.attributes, ctx.link = recorder, name, attributes, link
        ctx.way = way
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(q, k, v, y, row_sums, *kept, *operands[3:])
        return y, row_sums

    @staticmethod
    def backward(ctx: Context, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """The gradients of q, k and v, shaped and laid out as fused kernels return them."""
        q, k, v, y, row_sums, *rest = ctx.saved_tensors
        kept = rest[: len(ctx.way.keeps)]
        recorder: Recorder = ctx.recorder
        dy, d_sums = gradients
        link = ctx.link
        with recorder.muted():
            made = tuple(ctx.way.gradient(tensor) for tensor in (q, k, v))
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
            (dy, q, k, v, y, row_sums, *kept),
            made,
            ctx.attributes,
            name=f"{ctx.name}_backward",
            results=3,
        )
        return (None, *made, None, linked, None, None, None, None)


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
    way: Way = Way(),
) -> tuple[Tensor, Tensor]:
    """Writes attention down as one operator, and one more when backward comes to it.

    q (B, H, S, E), k (B, G, T, E), v (B, G, T, F) -> y (B, H, S, F) and the log-sum-exp (B, H, S).
    `values` computes both where tensors have data. A `link` is a tensor that the result depends on in
    some way of its own: it gets a gradient.
    """
    made: tuple[Tensor, Tensor] = _Attention.apply(
        recorder, q, k, v, mask, link, name, attributes, values, way
    )
    return made


def _by_token(like: Tensor, width: int) -> Tensor:
    """An empty (B, H, S, width) in which the heads of a token lie side by side."""
    batch, heads, length, _ = like.shape
    return like.new_empty((batch, length, heads, width)).transpose(1, 2)


def attend(
    recorder: Recorder,
    backend: Backend,
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
    the second; so does what the CPU has no kernel for. Of a mask whose pattern is known (`masks`) what it
    lets through is counted, of another the whole square.
    """
    learnt = attn_mask is not None and attn_mask.requires_grad
    fits = _fits(query, key, value, enable_gqa) and not (is_causal and attn_mask is not None)
    way = _way(backend, query, key, value, attn_mask, bool(dropout_p), is_causal) if fits else None
    if learnt or way is None or (backend == "cpu" and way.kernel == "math"):
        result: Tensor = scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
        return result
    missing = 4 - query.dim()
    for _ in range(missing):
        query, key, value = (tensor.unsqueeze(-3) for tensor in (query, key, value))
    attributes: dict[str, AttributeValue] = {"causal": is_causal, **pattern_of(attn_mask)}
    if dropout_p:
        attributes["rate"] = dropout_p
    if backend == "cuda":
        attributes["kernel"] = way.kernel
    if attn_mask is not None:
        attn_mask = _added(attn_mask, query, way)

    def values() -> tuple[Tensor, None]:
        grouped = query.shape[1] != key.shape[1]
        computed: Tensor = scaled_dot_product_attention(
            query, key, value, attn_mask, 0.0, is_causal, scale=scale, enable_gqa=grouped
        )
        return computed, None

    result, _sums = whole(
        recorder,
        query,
        key,
        value,
        name=NAME,
        attributes=attributes,
        values=values,
        mask=attn_mask,
        way=way,
    )
    for _ in range(missing):
        result = result.squeeze(-3)
    return result


def _way(
    backend: Backend,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    dropout: bool,
    causal: bool,
) -> Way:
    """The kernel that the backend runs the call with."""
    wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (q, k, v))
    call = AttentionCall(
        q=_four(q),
        k=_four(k),
        v=_four(v),
        dtype=DTYPE_NAMES[q.dtype],
        causal=causal,
        masked=mask is not None,
        dropout=dropout,
        gradients=wanted,
    )
    kernel = attention_kernel(call, backend)
    return Way(kernel=kernel, backend=backend, keeps=keeps(call, kernel))


def _four(tensor: Tensor) -> tuple[int, ...]:
    return (*(1,) * (4 - tensor.dim()), *tensor.shape)


_BIAS_ALIGNMENT = 8
"""Elements that a row of the mask is padded to a multiple of (`pad_bias` in attention.cpp)."""


def _added(mask: Tensor, q: Tensor, way: Way) -> Tensor:
    """The mask as kernels take it: added to the scores, its rows padded where a kernel loads them whole."""
    if mask.dtype == torch.bool:
        zero = torch.scalar_tensor(0.0, dtype=q.dtype, device=mask.device)
        never = torch.scalar_tensor(-math.inf, dtype=q.dtype, device=mask.device)
        mask = torch.where(mask, zero, never)
    missing = -mask.shape[-1] % _BIAS_ALIGNMENT
    if way.kernel == "efficient" and missing and mask.shape[-1] > 1:
        mask = functional.pad(mask, (0, missing))[..., :-missing]
    return mask


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
