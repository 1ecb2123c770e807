"""Losses: a number that says how far the outputs are from their targets.

Cross-entropy is a logarithm of softmax and a negative log-likelihood; losses that PyTorch puts together from
elementwise operators are counted as those.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from ..dims import Shape
from ..program import Op
from ..workload import Backend
from .base import Cost, Emit, Gradients, Operator, Policy, need, register


def _scored_axes(x: Shape) -> tuple[tuple[str | int, ...], ...]:
    """Axis names of log-probabilities (B, k, ...) and of their targets (B, ...)."""
    rest = ("M", "N", "D")[: len(x) - 2]
    return (("B", "k", *rest), ("B", *rest))


@final
class NegativeLogLikelihood(Operator):
    """The mean of the log-probabilities of the right classes, negated.

    Shapes: log-probabilities (B, classes, ...), targets (B, ...) int64 -> () and the total weight ().
    Counts: one addition a target (the first sets the sum), one division.
    Backward: one operator: writes zeros, and one division a target.
    """

    kind = "nll_loss"
    family = "loss"
    kernel_class = "reduction"

    def autocast(self, backend: Backend) -> Policy | None:
        return "float32"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        x, targets = op.inputs[0].shape, op.inputs[1].shape
        need(targets == (x[0], *x[2:]), f"targets {targets} for log-probabilities {x}")
        return ((), ())

    def arithmetic(self, op: Op) -> Cost:
        return Cost(additions=op.inputs[1].elements - 1, divisions=1)

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        return _scored_axes(op.inputs[0].shape)

    def traffic(self, op: Op) -> tuple[int, int]:
        x, targets = op.inputs[:2]
        picked = targets.elements * x.bytes // x.elements
        return picked + targets.bytes, sum(t.bytes for t in op.outputs)

    def backward(self, op: Op, grads: Gradients, wanted: tuple[bool, ...], emit: Emit) -> Gradients:
        dy = grads[0]
        assert dy is not None
        x, targets = op.inputs[:2]
        return (*emit("nll_loss_backward", dy, x, targets, op.outputs[1]), None)


@final
class NegativeLogLikelihoodBackward(Operator):
    """The gradient of the negative log-likelihood: -1/B at each target, zero elsewhere.

    Shapes: dy (), log-probabilities (B, classes, ...), targets (B, ...), total weight () -> as the
            log-probabilities.
    Counts: one division a target.
    """

    kind = "nll_loss_backward"
    family = "loss"
    kernel_class = "elementwise"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return (op.inputs[1].shape,)

    def arithmetic(self, op: Op) -> Cost:
        return Cost(divisions=op.inputs[2].elements)

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        return ((), *_scored_axes(op.inputs[1].shape), ())

    def traffic(self, op: Op) -> tuple[int, int]:
        dy, _, targets, weight = op.inputs
        return dy.bytes + targets.bytes + weight.bytes, op.outputs[0].bytes


_ELEMENT: Mapping[str, Cost] = {
    # (x - y)^2
    "mse_loss": Cost(multiplications=1, additions=1),
    # d = x - y, |d| < beta ? d^2 / 2 / beta : |d| - beta/2: the first
    "smooth_l1_loss": Cost(multiplications=2, additions=1, comparisons=1, divisions=1),
    # |d| < delta ? d^2 / 2 : delta * (|d| - delta/2): the same work in either case
    "huber_loss": Cost(multiplications=2, additions=1, comparisons=1),
    # (y - 1) * max(log(1 - x), -100) - y * max(log x, -100)
    "binary_cross_entropy": Cost(multiplications=2, additions=3, comparisons=2, transcendentals=2),
    # (1 - y) * x + max(-x, 0) + log(1 + exp(-|x|))
    "binary_cross_entropy_with_logits": Cost(
        multiplications=1, additions=4, comparisons=1, transcendentals=2
    ),
    # log(1 + exp(-x * y))
    "soft_margin_loss": Cost(multiplications=1, additions=1, transcendentals=2),
    # max(margin - x of the right class + x, 0)
    "multi_margin_loss": Cost(additions=1, comparisons=1),
}
"""What one element of a loss takes, before they are added up."""

_ELEMENT_BACKWARD: Mapping[str, Cost] = {
    # 2 (x - y) * dy
    "mse_loss_backward": Cost(multiplications=2, additions=1),
    # d / beta within, and the sign beyond either end
    "smooth_l1_loss_backward": Cost(multiplications=2, additions=1, comparisons=2, divisions=1),
    "huber_loss_backward": Cost(multiplications=2, additions=1, comparisons=2),
    # dy * (x - y) / max((1 - x) * x, eps)
    "binary_cross_entropy_backward": Cost(
        multiplications=2, additions=2, comparisons=1, divisions=1
    ),
    # z = exp(-x * y): -y * z / (1 + z) * dy
    "soft_margin_loss_backward": Cost(
        multiplications=3, additions=1, divisions=1, transcendentals=1
    ),
    # where the margin is not kept, dy; taken from the right class
    "multi_margin_loss_backward": Cost(additions=2, comparisons=1),
}
"""What one element of a loss' gradient takes."""


@final
class PointwiseLoss(Operator):
    """A loss worked out element by element, and added up or averaged.

    Shapes: x, y, optional weight -> (), or as x where nothing is added up
    Attributes: `mean`: the sum is divided.
    Counts: a fixed number of operations an element; a sum of n has n - 1 additions.
    Source: torch.nn documents each loss' formula, which the table's comments repeat.
    """

    family = "loss"
    kernel_class = "reduction"

    def __init__(self, kind: str, work: Cost) -> None:
        self.kind = kind
        self.aten = (kind,)
        self.work = work

    def autocast(self, backend: Backend) -> Policy | None:
        return "float32"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return ((),)

    def arithmetic(self, op: Op) -> Cost:
        n, m = op.inputs[0].elements, op.outputs[0].elements
        if n == 0:
            return Cost()
        mean = Cost(divisions=1) if op.flag("mean") else Cost()
        return self.work * n + Cost(additions=n - m) + mean

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        return _aligned_with_losses(op)


@final
class PointwiseLossBackward(Operator):
    """The gradient of a loss worked out element by element.

    Shapes: dy, x, y, optional weight -> as x
    Counts: a fixed number of operations an element.
    """

    family = "loss"
    kernel_class = "elementwise"

    def __init__(self, kind: str, work: Cost) -> None:
        self.kind = kind
        self.aten = (kind,)
        self.work = work

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return (op.inputs[1].shape,)

    def arithmetic(self, op: Op) -> Cost:
        return self.work * op.inputs[1].elements

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        return _aligned_with_losses(op)


def _aligned_with_losses(op: Op) -> tuple[tuple[str | int, ...], ...]:
    # Losses that are not added up have the shape of x, and a formula would need to know: sizes stay numbers.
    return tuple(tensor.shape for tensor in op.inputs)


_STATE = Cost(additions=7, comparisons=2, transcendentals=4)
"""The logarithm of three summed exponentials and a log-probability: the largest of three, three differences,
exponentials, two sums, a logarithm, and the largest and the log-probability added."""

_STATE_OF_CLASS = Cost(additions=5, comparisons=1, transcendentals=3)
"""alpha + beta joined to what its class has: the larger of two, two differences, exponentials, a sum, a logarithm,
and the larger added."""

_GRADIENT_OF_CLASS = Cost(multiplications=1, additions=3, transcendentals=2)
"""(exp(log p) - exp(class + loss - log p)) * dy."""


@final
class ConnectionistTemporalClassification(Operator):
    """The loss of a sequence whose targets are in order, at places unknown (CTC).

    Shapes: log-probabilities (T, B, classes), targets -> (B) and the logarithms alpha (B, T, 2 S + 1)
    Counts: a state of alpha: the logarithm of three summed exponentials, and a log-probability added; then two
            states of the last step joined a sequence.
    Limits: padding counts: every sequence has all T steps and the most targets.
    Source: Graves et al. 2006, equations 6 to 8, with logarithms.
    """

    kind = "ctc_loss"
    family = "loss"
    aten = ("_ctc_loss",)

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        steps, batch, _ = op.inputs[0].shape
        targets = op.inputs[1].shape
        longest = targets[1] if len(targets) == 2 else op.integer("longest")
        return ((batch,), (batch, steps, 2 * longest + 1))

    def dtypes(self, op: Op) -> tuple[str, ...]:
        return (op.inputs[0].dtype,) * 2

    def arithmetic(self, op: Op) -> Cost:
        joined = Cost(additions=4, comparisons=1, transcendentals=3)
        return _STATE * op.outputs[1].elements + joined * op.outputs[0].elements

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        return (("T", "B", "k"), *(tensor.shape for tensor in op.inputs[1:]))


@final
class ConnectionistTemporalClassificationBackward(Operator):
    """The gradient of CTC: the same states from the end, and what each class has of them.

    Shapes: dy (B), log-probabilities (T, B, classes), targets, ..., alpha (B, T, 2 S + 1) last
            -> as the log-probabilities
    Counts: a state: beta as alpha, and alpha + beta joined to its class; a class and step: two exponentials.
    Source: Graves et al. 2006, equations 9 to 16, with logarithms.
    """

    kind = "ctc_loss_backward"
    family = "loss"
    aten = ("_ctc_loss_backward",)

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return (op.inputs[1].shape,)

    def arithmetic(self, op: Op) -> Cost:
        states, classes = op.inputs[-1].elements, op.inputs[1].elements
        return (_STATE + _STATE_OF_CLASS) * states + _GRADIENT_OF_CLASS * classes

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        return tuple(tensor.shape for tensor in op.inputs)


register(
    NegativeLogLikelihood(),
    NegativeLogLikelihoodBackward(),
    *(PointwiseLoss(kind, work) for kind, work in _ELEMENT.items()),
    *(PointwiseLossBackward(kind, work) for kind, work in _ELEMENT_BACKWARD.items()),
    ConnectionistTemporalClassification(),
    ConnectionistTemporalClassificationBackward(),
)
