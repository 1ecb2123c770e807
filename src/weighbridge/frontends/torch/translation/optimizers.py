"""Optimizers in one kernel: the parameters of a network, or many of them, updated at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from ....program import AttributeValue
from .reading import Reading

SETTINGS = frozenset(
    {"weight_decay", "momentum", "dampening", "nesterov", "amsgrad", "is_first_step"}
)
"""Arguments on which the arithmetic depends. A sign is turned round (`maximize`) for nothing."""


def _fused(name: str, states: int) -> Callable[..., Reading]:
    """An operator whose first arguments are lists: parameters, their gradients, and so many states."""

    def read(
        parameters: Sequence[Tensor],
        gradients: Sequence[Tensor],
        *lists: Sequence[Tensor],
        grad_scale: Tensor | None = None,
        **settings: AttributeValue | Tensor,
    ) -> Reading:
        held = lists[:states]  # what follows are counts of steps
        attributes: dict[str, AttributeValue] = {
            key: value
            for key, value in settings.items()
            if key in SETTINGS and not isinstance(value, Tensor) and value
        }
        attributes["parameters"] = len(parameters)
        if grad_scale is not None:  # gradients are scaled back, and written
            attributes["scaled"] = True
        operands = [tensor for group in (parameters, gradients, *held) for tensor in group]
        return Reading(
            f"fused_{name}_update",
            operands,
            attributes,
            (True, grad_scale is not None, *[True] * states),
        )

    return read


READINGS: dict[str, Callable[..., Reading]] = {
    "_fused_sgd": _fused("sgd", 1),
    "_fused_adagrad": _fused("adagrad", 1),
    "_fused_adam": _fused("adam", 3),
    "_fused_adamw": _fused("adamw", 3),
}
