"""The loss of a training step, chosen by what the network returns."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from ...errors import UsageError, WeighError

AUXILIARY_WEIGHTS: Mapping[str, float] = {"GoogLeNetOutputs": 0.3, "InceptionOutputs": 0.4}
"""How much auxiliary heads count: Szegedy et al. 2015, section 5, and torchvision's reference training."""

LOSSES = ("auto", "cross-entropy", "mean")


Targets = Callable[[tuple[int, ...]], Tensor]
"""Makes up the right answers: class numbers of the shape that is asked for."""


def loss_of(output: object, loss: str, targets: Targets) -> Tensor:
    """The loss over a network's output.

    'auto' is cross-entropy where the output looks like logits ((B, classes), or (B, T, classes) under
    the name `logits`), and the mean of the output elsewhere. A network that returns its own scalar
    `loss` has it taken. Auxiliary heads are weighted and added.

    Raises:
        UsageError: there is no such loss.
        WeighError: the output has nothing that a loss could be taken of.
    """
    if loss not in LOSSES:
        raise UsageError(f"no loss is called {loss!r}", f"there are: {', '.join(LOSSES)}")
    own = _named(output, "loss")
    if own is not None and own.dim() == 0:
        return own
    logits = _named(output, "logits")
    main = logits if logits is not None else _first(output)
    if main is None:
        raise WeighError(
            f"the network returns {type(output).__name__}, with no floating-point tensor to take a loss of",
            "give your own: loss=lambda output: ... in Python, --loss file.py:function on the command line",
        )
    result = _one_loss(main, loss, targets, is_logits=logits is not None)
    for head in _auxiliary_heads(output):
        extra = _one_loss(head, loss, targets, is_logits=True)
        result = result + AUXILIARY_WEIGHTS[type(output).__name__] * extra
    return result


OF_CLASSES = (
    functional.cross_entropy,
    functional.nll_loss,
    functional.multi_margin_loss,
    functional.multilabel_margin_loss,
)
"""Losses whose targets are class numbers; others are given as many numbers as the output has."""

_MODULES_OF_CLASSES = (nn.CrossEntropyLoss, nn.NLLLoss, nn.MultiMarginLoss, nn.MultiLabelMarginLoss)


def own_loss(
    function: Callable[..., object], output: object, targets: Callable[[Tensor, bool], Tensor]
) -> Tensor:
    """A loss of the user's: of what the network returns, or of that and targets, which are made up.

    Raises:
        WeighError: it cannot be called so, or does not return one number.
    """
    arguments: tuple[object, ...] = (output,)
    if _parameters(function) > 1:
        first = _named(output, "logits")
        main = _first(output) if first is None else first
        if main is None:
            raise WeighError(
                f"the network returns {type(output).__name__}, with no floating-point tensor that targets could "
                "be made up for",
                "give a loss of the output alone, which makes its own: loss=lambda output: ...",
            )
        of_classes = function in OF_CLASSES or isinstance(function, _MODULES_OF_CLASSES)
        arguments = (main, targets(main, of_classes))
    loss = function(*arguments)
    if not isinstance(loss, Tensor):
        raise WeighError(
            f"the loss returns {type(loss).__name__}, and backward starts from a tensor of one number"
        )
    if loss.numel() != 1:
        raise WeighError(
            f"the loss returns a tensor of shape {tuple(loss.shape)}, and backward starts from one number",
            "take its mean or its sum",
        )
    return loss


def _parameters(function: Callable[..., object]) -> int:
    """How many arguments it must be given: those without a default."""
    called = function.forward if isinstance(function, nn.Module) else function
    try:
        signature = inspect.signature(called)
    except (TypeError, ValueError):  # builtins have none
        return 2
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(
        each.default is inspect.Parameter.empty and each.kind in positional
        for each in signature.parameters.values()
    )


def _one_loss(output: Tensor, loss: str, targets: Targets, *, is_logits: bool) -> Tensor:
    """The loss over one tensor: (B, classes, ...), or logits (B, T, classes), or anything for a mean."""
    likely = output.dim() == 2 or (is_logits and output.dim() == 3)
    if loss == "mean" or output.dim() < 2 or (loss == "auto" and not likely):
        return output.mean()
    if output.dim() == 3:
        output = output.flatten(0, 1)
    return functional.cross_entropy(output, targets((output.shape[0], *output.shape[2:])))


def _auxiliary_heads(output: object) -> list[Tensor]:
    if type(output).__name__ not in AUXILIARY_WEIGHTS or not isinstance(output, tuple):
        return []
    return [head for head in output[1:] if isinstance(head, Tensor)]


def _named(output: Any, name: str) -> Tensor | None:
    value = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
    return value if isinstance(value, Tensor) and value.is_floating_point() else None


def _first(output: object) -> Tensor | None:
    """The first floating-point tensor in tuples, lists and mappings of any depth."""
    if isinstance(output, Tensor):
        return output if output.is_floating_point() or output.is_complex() else None
    parts: list[object] = []
    if isinstance(output, Mapping):
        parts = list(output.values())
    elif isinstance(output, list | tuple):
        parts = list(output)
    elif hasattr(output, "__dict__"):
        parts = list(vars(output).values())
    return next((found for part in parts if (found := _first(part)) is not None), None)
