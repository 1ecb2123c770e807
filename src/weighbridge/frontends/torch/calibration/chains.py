"""Chains: small networks of common blocks, run whole.

A kernel that is timed alone finds caches, code and branch predictors as its own last run left them; in a network it comes
between others, and Python between all of them. What whole steps take beyond the sum of their kernels is measured on
these: blocks that many networks are made of, in widths of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ....workload import InputSpec, Optimizer, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A network of a few blocks, in one use."""

    name: str
    build: Callable[[], nn.Module]
    workload: Workload


def chains(share: float = 1.0) -> Iterator[Chain]:
    """All chains: each at its batches, in inference and in training."""
    for name, (build, shape, batches) in _CHAINS.items():
        for batch in batches[: max(1, round(share * len(batches)))]:
            for training in (False, True):
                yield Chain(
                    name=f"{name}, batch {batch}, {'training' if training else 'inference'}",
                    build=build,
                    workload=Workload(
                        mode="training" if training else "inference",
                        batch=batch,
                        inputs=(InputSpec(shape=shape),),
                        optimizer=Optimizer(name="sgd") if training else None,
                        loss="mean",
                        backend="cpu",
                    ),
                )


def _normed(before: int, after: int, kernel: int, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


def _plain() -> nn.Module:
    return nn.Sequential(*(_normed(72, 72, 3) for _ in range(8)))


class _Bottleneck(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _normed(width, inner, 1),
            _normed(inner, inner, 3),
            nn.Conv2d(inner, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.body(x), inplace=True)


def _residual() -> nn.Module:
    return nn.Sequential(*(_Bottleneck(320, 80) for _ in range(6)))


class _Inverted(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _normed(width, inner, 1),
            _normed(inner, inner, 3, groups=inner),
            nn.Conv2d(inner, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.body(x)
        return y


def _inverted() -> nn.Module:
    return nn.Sequential(*(_Inverted(48, 192) for _ in range(8)))


class _Growing(nn.Module):
    def __init__(self, width: int, growth: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            _normed(width + place * growth, growth, 3) for place in range(layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat((x, layer(x)), 1)
        return x


def _growing() -> nn.Module:
    return _Growing(64, 24, 10)


def _attending() -> nn.Module:
    layer = nn.TransformerEncoderLayer(
        256, 4, 1024, 0.0, activation="gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)


def _perceptron() -> nn.Module:
    return nn.Sequential(*(nn.Sequential(nn.Linear(768, 768), nn.GELU()) for _ in range(8)))


_CHAINS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], tuple[int, ...]]] = {
    "convolutions": (_plain, (72, 24, 24), (1, 6)),
    "bottlenecks": (_residual, (320, 18, 18), (1, 6)),
    "inverted bottlenecks": (_inverted, (48, 26, 26), (1, 6)),
    "concatenations": (_growing, (64, 22, 22), (1, 6)),
    "attention": (_attending, (150, 256), (1, 6)),
    "perceptron": (_perceptron, (768,), (3, 48)),
}
"""How each is built, the shape of a sample, and at which batches."""
