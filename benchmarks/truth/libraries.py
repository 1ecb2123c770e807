"""Networks of torchvision, timm and transformers, built from their configurations with weights drawn at random."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

Build = Callable[[], nn.Module]


def of_torchvision(name: str, **settings: Any) -> Build:
    """By its name; GoogLeNet and Inception v3 by themselves, where their settings do not say otherwise."""
    if name in ("googlenet", "inception_v3"):
        settings = {"init_weights": False, "aux_logits": False, **settings}

    def build() -> nn.Module:
        from torchvision.models import get_model

        made: nn.Module = get_model(name, weights=None, **settings)
        return made

    return build


def of_timm(name: str) -> Build:
    def build() -> nn.Module:
        from timm import create_model

        made: nn.Module = create_model(name, pretrained=False)
        return made

    return build


def of_transformers(kind: str, **configuration: Any) -> Build:
    """By the class of the network; what it returns is transformers' own."""

    def build() -> nn.Module:
        import transformers

        network = getattr(transformers, kind)
        made: nn.Module = network(network.config_class(**configuration))
        return made

    return build


def with_logits(build: Build, **given: object) -> Build:
    """A network of transformers' as one that takes words and returns their logits, called with what is `given` besides."""
    return lambda: _Logits(build(), given)


class _Logits(nn.Module):
    def __init__(self, inner: nn.Module, given: Mapping[str, object]) -> None:
        super().__init__()
        self.inner = inner
        self.given = given

    def forward(self, words: Tensor) -> Tensor:
        more = {"decoder_input_ids": words} if self.inner.config.is_encoder_decoder else {}
        logits: Tensor = self.inner(input_ids=words, **more, **self.given).logits
        return logits.flatten(0, 1)
