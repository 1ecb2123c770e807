"""The gradient scaler, which float16 under autocast goes with: `torch.amp.GradScaler`.

The loss is scaled up before backward, so that small gradients do not vanish, and gradients are scaled down
again before the update, all in place and by one operator over all of them, which looks for overflow on the
way. No copies are made.

Source: torch/amp/grad_scaler.py (`scale`, `_unscale_grads_`).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .recording import Recorder


class Scaler:
    """A scaler that earlier steps have brought to its scale."""

    def __init__(self, recorder: Recorder, device: torch.device) -> None:
        self.recorder = recorder
        self.device = device
        self.scale = self._number("loss_scale")

    def scaled(self, loss: Tensor) -> Tensor:
        """The loss times the scale, in float32."""
        return loss * self.scale

    def unscale(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Writes down that the gradients are scaled back."""
        gradients = [tensor.grad for tensor in parameters.values() if tensor.grad is not None]
        if not gradients:
            return
        found, inverse = self._number("found_inf"), self._number("inverse_scale")
        self.recorder.emit(
            "unscale",
            (*gradients, found, inverse),
            (*gradients, found),
            {},
            name="aten._amp_foreach_non_finite_check_and_unscale_.default",
            results=len(gradients) + 1,
            in_place=True,
        )

    def _number(self, name: str) -> Tensor:
        with self.recorder.muted():
            number = torch.ones((), device=self.device)
        self.recorder.declare(number, "buffer", name=name)
        return number
