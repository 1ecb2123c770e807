"""Experts: products of rows grouped by expert, taken whole in whatever precision the network has.

PyTorch's grouped product refuses on meta what it computes elsewhere (its shapes are checked for one
device's bfloat16 kernel), and which expert a row goes to is in offsets that hold no values here. Neither
matters for what is computed: every row meets one expert's weights, so that the work follows from the
number of rows alone.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd import Function

from ...units import integer, significant
from .recording import Recorder

NAME = "aten._grouped_mm"

grouped_mm = torch._grouped_mm
"""PyTorch's own, which `torch.nn.functional.grouped_mm` calls."""

Context: TypeAlias = Any  # what autograd hands to forward and backward, untyped in PyTorch


class _GroupedProduct(Function):
    """A grouped product as autograd sees it: results of the right size, with nothing in them."""

    @staticmethod
    def forward(ctx: Context, recorder: Recorder, x: Tensor, w: Tensor, offsets: Tensor) -> Tensor:
        """x (M, K), w (G, K, N), offsets (G) -> (M, N)."""
        ctx.recorder = recorder
        ctx.save_for_backward(x, w, offsets)
        return _product(recorder, NAME, (x, w, offsets), (x.shape[0], w.shape[-1]))

    @staticmethod
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """dX = dY W^T and dW = X^T dY, both grouped as forward was."""
        x, w, offsets = ctx.saved_tensors
        (dy,) = gradients
        name = f"{NAME}_backward"
        with ctx.recorder.muted():
            turned, upright = w.transpose(-2, -1), x.t()
        dx = dw = None
        if ctx.needs_input_grad[1]:
            dx = _product(ctx.recorder, name, (dy, turned, offsets), tuple(x.shape))
        if ctx.needs_input_grad[2]:
            dw = _product(ctx.recorder, name, (upright, dy, offsets), tuple(w.shape))
        return None, dx, dw, None


def multiply_grouped(
    recorder: Recorder,
    x: Tensor,
    w: Tensor,
    offs: Tensor | None = None,
    bias: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """Stands in for `torch._grouped_mm`, with its parameters.

    Groups of one size, (G, M, K) with (G, K, N), are a batch of products. What is neither that nor rows
    against a stack of matrices, (M, K) with (G, K, N), goes to PyTorch's own.
    """
    if x.dim() == w.dim() == 3 and offs is None and bias is None and out_dtype in (None, x.dtype):
        return torch.bmm(x, w)
    fits = x.dim() == 2 and w.dim() == 3 and x.shape[1] == w.shape[1] and x.dtype == w.dtype
    if not fits or offs is None or bias is not None or out_dtype not in (None, x.dtype):
        result: Tensor = grouped_mm(x, w, offs, bias, out_dtype)
    else:
        result = _GroupedProduct.apply(recorder, x, w, offs)
    return result


def expectation(x: Tensor, w: Tensor, offs: Tensor | None = None, *_: object, **__: object) -> str:
    """How many rows each expert is expected to get, '' where that is no question."""
    if offs is None or x.dim() != 2 or w.dim() != 3:
        return ""
    rows, experts = x.shape[0], w.shape[0]
    return (
        f"which expert a token goes to has no value here: {integer(rows)} rows among {integer(experts)} experts, "
        f"{significant(rows / experts)} expected for each; what is counted is the same however they are shared"
    )


def _product(
    recorder: Recorder, name: str, operands: tuple[Tensor, ...], shape: tuple[int, ...]
) -> Tensor:
    with recorder.muted():
        made = operands[0].new_empty(shape)
    recorder.emit("grouped_matmul", operands, (made,), {}, name=name)
    return made
