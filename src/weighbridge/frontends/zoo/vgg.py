"""VGG: six configurations that differ only in depth, and the same with batch normalisation.

The paper's table 1 gives the columns A, A-LRN, B, C, D, E; torchvision builds A, B, D, E as vgg11, 13,
16 and 19. Modules stand where torchvision has them: `features.N`, `avgpool`, `classifier.N`.
"""

from __future__ import annotations

from ...builder import Builder
from ...layers import (
    activation,
    batch_norm,
    convolution,
    dropout,
    flatten,
    global_average_pool,
    linear,
    local_response_norm,
    pool,
)
from ...program import Tensor
from .network import IMAGENET, Ends, Network, networks

Part = int | str

# fmt: off
CONFIGURATIONS: dict[str, tuple[Part, ...]] = {
    "vgg11": (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    "vgg-a-lrn": (64, "LRN", "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    "vgg13": (64, 64, "M", 128, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    "vgg-c": (64, 64, "M", 128, 128, "M", 256, 256, "256/1", "M",
              512, 512, "512/1", "M", 512, 512, "512/1", "M"),
    "vgg16": (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"),
    "vgg19": (64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M",
              512, 512, 512, 512, "M", 512, 512, 512, 512, "M"),
}
# fmt: on
"""Table 1 of the paper, a row each: a number is a 3x3 convolution of so many channels, `256/1` a 1x1
convolution, M a maximum over 2x2, LRN a local response normalisation."""

_TITLES = {
    "vgg11": ("VGG-11", 11, "configuration A"),
    "vgg-a-lrn": ("VGG A-LRN", 11, "configuration A with one local response normalisation"),
    "vgg13": ("VGG-13", 13, "configuration B"),
    "vgg-c": ("VGG C", 16, "configuration C, whose third convolution of a stage is 1x1"),
    "vgg16": ("VGG-16", 16, "configuration D"),
    "vgg19": ("VGG-19", 19, "configuration E"),
}
_NORMALISED = {f"{name}-bn": name for name in ("vgg11", "vgg13", "vgg16", "vgg19")}


def _network(name: str) -> Network:
    title, depth, note = _TITLES[_NORMALISED.get(name, name)]
    normalised = name in _NORMALISED
    return Network(
        name=name,
        title=title + (" with batch normalisation" if normalised else ""),
        citation="Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image "
        "Recognition, ICLR 2015, table 1",
        year=2015,
        inputs=(IMAGENET,),
        depth=depth,
        note=note + (", batch normalisation added by torchvision" if normalised else ""),
    )


NETWORKS = networks(*(_network(name) for name in (*CONFIGURATIONS, *_NORMALISED)))


def build(net: Builder, name: str, x: Tensor) -> Ends:
    """(B, 3, M, N) -> logits (B, 1000)."""
    with net.module("features", "Sequential"):
        x = _features(net, x, CONFIGURATIONS[_NORMALISED.get(name, name)], name in _NORMALISED)
    x = flatten(net, global_average_pool(net, x, "avgpool", 7))
    with net.module("classifier", "Sequential"):
        for place in (0, 3):
            x = linear(net, x, f"{place}", 4096)
            x = activation(net, x, f"{place + 1}", in_place=True)
            x = dropout(net, x, f"{place + 2}")
        x = linear(net, x, "6", 1000)
    return Ends(outputs=(x,))


def _features(net: Builder, x: Tensor, parts: tuple[Part, ...], normalised: bool) -> Tensor:
    place = 0
    for part in parts:
        if part == "M":
            x = pool(net, x, f"{place}", "max_pool", 2)
        elif part == "LRN":
            x = local_response_norm(net, x, f"{place}")
        else:
            x, place = _convolution(net, x, place, part, normalised)
        place += 1
    return x


def _convolution(
    net: Builder, x: Tensor, place: int, part: Part, normalised: bool
) -> tuple[Tensor, int]:
    """The convolution, its normalisation and its ReLU; also the place of the ReLU."""
    channels, _, size = str(part).partition("/")
    kernel = int(size or 3)
    x = convolution(
        net,
        x,
        f"{place}",
        int(channels),
        kernel,
        padding=kernel // 2,
        inputs=3 if place == 0 else None,
    )
    if normalised:
        place += 1
        x = batch_norm(net, x, f"{place}")
    return activation(net, x, f"{place + 1}", in_place=True), place + 1
