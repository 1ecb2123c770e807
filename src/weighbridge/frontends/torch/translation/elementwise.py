"""Elementwise operators whose arguments say more than their operands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from .reading import Reading, tensors_in


def _scaled(kind: str) -> Callable[..., Reading]:
    """An addition whose second operand may be scaled by `alpha`."""

    def read(
        x: Any, y: Any, alpha_by_place: float = 1, *, alpha: float = 1, **_: object
    ) -> Reading:
        scale = alpha if alpha != 1 else alpha_by_place
        return Reading(kind, tensors_in((x, y)), {"alpha": scale} if scale != 1 else {})

    return read


def _absolute(x: Tensor) -> Reading:
    return Reading("modulus" if x.is_complex() else "negative", (x,), {})


def _gelu(x: Tensor, *, approximate: str = "none") -> Reading:
    return Reading("gelu_tanh" if approximate == "tanh" else "gelu", (x,), {})


def _gelu_backward(dy: Tensor, x: Tensor, *, approximate: str = "none") -> Reading:
    kind = "gelu_tanh_backward" if approximate == "tanh" else "gelu_backward"
    return Reading(kind, (dy, x), {})


def _pow(x: Any, exponent: Any) -> Reading:
    """A square is a multiplication and a square root a square root, as PyTorch computes them."""
    plain = exponent if isinstance(exponent, int | float) else None
    kind = {2: "square", 0.5: "sqrt", -0.5: "rsqrt"}.get(plain, "pow") if plain else "pow"
    return Reading(kind, tensors_in((x, exponent)), {})


def _dropout(x: Tensor, rate: float, train: bool | None) -> Reading:
    return Reading("dropout", (x,), {"rate": rate})


def _dropout_backward(dy: Tensor, mask: Tensor, scale: float) -> Reading:
    return Reading("mul", (dy, mask), {})


READINGS: dict[str, Callable[..., Reading]] = {
    "abs": _absolute,
    "add": _scaled("add"),
    "sub": _scaled("sub"),
    "rsub": _scaled("sub"),
    "_foreach_add": _scaled("add"),
    "_foreach_sub": _scaled("sub"),
    "gelu": _gelu,
    "gelu_backward": _gelu_backward,
    "pow": _pow,
    "_foreach_pow": _pow,
    "native_dropout": _dropout,
    "native_dropout_backward": _dropout_backward,
}
