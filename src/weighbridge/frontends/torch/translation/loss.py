"""Losses, and how they are added up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from .reading import Reading, tensors_in

_MEAN = 1
"""PyTorch's number of the reduction that averages."""


def _nll_loss(
    x: Tensor, targets: Tensor, weight: Tensor | None, reduction: int, *_: object
) -> Reading:
    return Reading("nll_loss", (x, targets), {})


def _nll_loss_backward(
    dy: Tensor,
    x: Tensor,
    targets: Tensor,
    weight: Tensor | None,
    reduction: int,
    ignored: int,
    total_weight: Tensor,
) -> Reading:
    return Reading("nll_loss_backward", (dy, x, targets, total_weight), {})


def _elements(kind: str, place: int) -> Callable[..., Reading]:
    """A loss of elements whose reduction is the argument in that place, 0 the first."""

    def read(*args: Any, reduction: int = _MEAN, **named: Any) -> Reading:
        chosen = args[place] if len(args) > place else reduction
        operands = tensors_in((*args, *named.values()))
        return Reading(kind, operands, {"mean": True} if chosen == _MEAN else {})

    return read


def _ctc_loss(
    log_probabilities: Tensor,
    targets: Tensor,
    input_lengths: Sequence[int] | Tensor,
    target_lengths: Sequence[int] | Tensor,
    *_: object,
) -> Reading:
    longest = int(max(target_lengths, default=0)) if targets.dim() == 1 else targets.shape[1]
    operands = tensors_in((log_probabilities, targets, input_lengths, target_lengths))
    return Reading("ctc_loss", operands, {"longest": longest})


READINGS: dict[str, Callable[..., Reading]] = {
    "nll_loss_forward": _nll_loss,
    "nll_loss2d_forward": _nll_loss,
    "nll_loss_backward": _nll_loss_backward,
    "nll_loss2d_backward": _nll_loss_backward,
    **{
        name: _elements(name, 2)
        for name in ("mse_loss", "smooth_l1_loss", "huber_loss", "soft_margin_loss")
    },
    **{
        name: _elements(name, 3)
        for name in ("binary_cross_entropy", "binary_cross_entropy_with_logits")
    },
    "multi_margin_loss": _elements("multi_margin_loss", 5),
    "_ctc_loss": _ctc_loss,
}
