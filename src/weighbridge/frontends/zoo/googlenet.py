"""GoogLeNet: nine inception modules, each four branches side by side.

Table 1 of the paper leaves some things open, and each reading is a network here:

- `googlenet`: convolutions with biases and no normalisation, a full 7x7 first convolution, local
  response normalisation after the first and third, 5x5 convolutions in the third branch.
- `googlenet-separable`: the same, the first convolution separable: a depthwise 7x7 with multiplier 8, then
  1x1 to 64 channels. 7*7*3*8 + 24*64 = 2,712 weights, the 2.7K that the table prints.
- `googlenet-bn`: torchvision's: batch normalisation in place of biases and of response normalisation, 3x3 in
  place of 5x5, the last pooling 2x2.

`-aux` adds the two auxiliary classifiers, which run in training only; their losses weigh 0.3. They average
the image down to 4x4 whatever its size, as torchvision does; the paper's 5x5/3 pooling does so for 14x14.
Paths are torchvision's.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass

from ...builder import Builder
from ...layers import (
    activation,
    batch_norm,
    concatenate,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How the table is read."""

    normalised: bool = False
    separable: bool = False
    auxiliary: bool = False


READINGS = {
    "googlenet": Reading(),
    "googlenet-aux": Reading(auxiliary=True),
    "googlenet-separable": Reading(separable=True),
    "googlenet-separable-aux": Reading(separable=True, auxiliary=True),
    "googlenet-bn": Reading(normalised=True),
    "googlenet-bn-aux": Reading(normalised=True, auxiliary=True),
}

INCEPTIONS: Mapping[str, tuple[int, int, int, int, int, int]] = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
"""Channels of each module, as table 1 has them: #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj."""

DEPTH_MULTIPLIER = 8
AUXILIARIES = {"4a": "aux1", "4d": "aux2"}
"""The modules whose outputs an auxiliary classifier reads."""

AUXILIARY_LOSS = 0.3
"""What the loss of an auxiliary classifier weighs (section 5 of the paper)."""


def _network(name: str) -> Network:
    reading = READINGS[name]
    parts = ["torchvision's, normalised, 3x3 for 5x5" if reading.normalised else "the paper's"]
    parts += ["first convolution separable"] if reading.separable else []
    parts += ["two auxiliary classifiers in training"] if reading.auxiliary else []
    return Network(
        name=name,
        title="GoogLeNet" + (f" ({'; '.join(parts)})" if name != "googlenet" else ""),
        citation="Szegedy et al., Going Deeper with Convolutions, CVPR 2015, table 1",
        year=2015,
        inputs=(IMAGENET,),
        depth=23 if reading.separable else 22,
        note="; ".join(parts),
    )


NETWORKS = networks(*(_network(name) for name in READINGS))


def build(net: Builder, name: str, x: Tensor) -> Ends:
    """(B, 3, M, N) -> logits (B, 1000); in training with auxiliary classifiers, three of them."""
    reading = READINGS[name]
    x = _stem(net, x, reading)
    heads = []
    for module in INCEPTIONS:
        x = _inception(net, x, module, reading)
        if module == "3b":
            x = _max_pool(net, x, "maxpool3")
        elif reading.auxiliary and module in AUXILIARIES:
            heads.append(_auxiliary(net, x, AUXILIARIES[module], reading))
        elif module == "4e":
            x = _max_pool(net, x, "maxpool4", 2 if reading.normalised else 3)
    x = flatten(net, global_average_pool(net, x, "avgpool"))
    x = dropout(net, x, "dropout", 0.2 if reading.normalised else 0.4)
    x = linear(net, x, "fc", 1000)
    if not net.workload.training:
        return Ends(outputs=(x,))
    return Ends(outputs=(x, *heads), loss_weights=(1, *(AUXILIARY_LOSS for _ in heads)))


def _stem(net: Builder, x: Tensor, reading: Reading) -> Tensor:
    """(B, 3, 224, 224) -> (B, 192, 28, 28)."""
    if reading.separable:
        x = _separable(net, x, "conv1", 64)
    else:
        x = _convolution(net, x, "conv1", 64, 7, reading, stride=2, inputs=3)
    x = _max_pool(net, x, "maxpool1")
    if not reading.normalised:
        x = local_response_norm(net, x, "norm1")
    x = _convolution(net, x, "conv2", 64, 1, reading)
    x = _convolution(net, x, "conv3", 192, 3, reading)
    if not reading.normalised:
        x = local_response_norm(net, x, "norm2")
    return _max_pool(net, x, "maxpool2")


def _inception(net: Builder, x: Tensor, module: str, reading: Reading) -> Tensor:
    """Four branches of the same image, joined along the channels."""
    ones, reduce3, threes, reduce5, fives, projection = INCEPTIONS[module]
    with net.module(f"inception{module}", "Inception"):
        branches = [_convolution(net, x, "branch1", ones, 1, reading)]
        for name, reduced, channels, kernel in (
            ("branch2", reduce3, threes, 3),
            ("branch3", reduce5, fives, 3 if reading.normalised else 5),
        ):
            with net.module(name, "Sequential"):
                y = _convolution(net, x, "0", reduced, 1, reading)
                branches.append(_convolution(net, y, "1", channels, kernel, reading))
        with net.module("branch4", "Sequential"):
            y = pool(net, x, "0", "max_pool", 3, stride=1, padding=1, ceil_mode=True)
            branches.append(_convolution(net, y, "1", projection, 1, reading))
        return concatenate(net, *branches)


def _auxiliary(net: Builder, x: Tensor, name: str, reading: Reading) -> Tensor:
    """A classifier half-way, which runs in training only: (B, c, M, N) -> logits (B, 1000)."""
    with net.module(name, "InceptionAux"), nullcontext() if net.workload.training else net.idle():
        (x,) = net.op("adaptive_average_pool", x, size=(4, 4))
        x = flatten(net, _convolution(net, x, "conv", 128, 1, reading))
        (x,) = net.in_place("relu", linear(net, x, "fc1", 1024))
        return linear(net, dropout(net, x, "dropout", 0.7), "fc2", 1000)


def _convolution(
    net: Builder,
    x: Tensor,
    name: str,
    channels: int,
    kernel: int,
    reading: Reading,
    *,
    stride: int = 1,
    inputs: int | None = None,
) -> Tensor:
    """A convolution that keeps the image's size (at stride 1), its normalisation if any, and a ReLU."""
    with net.module(name, "BasicConv2d"):
        x = convolution(
            net,
            x,
            "conv",
            channels,
            kernel,
            stride=stride,
            padding=kernel // 2,
            bias=not reading.normalised,
            inputs=inputs,
        )
        if reading.normalised:
            x = batch_norm(net, x, "bn")
        return net.in_place("relu", x)[0]


def _separable(net: Builder, x: Tensor, name: str, channels: int) -> Tensor:
    """A 7x7/2 convolution as a depthwise one with multiplier 8, then a 1x1 with the only bias."""
    with net.module(name, "SeparableConv2d"):
        x = convolution(
            net,
            x,
            "depthwise",
            3 * DEPTH_MULTIPLIER,
            7,
            stride=2,
            padding=3,
            groups=3,
            bias=False,
            inputs=3,
        )
        return activation(net, convolution(net, x, "pointwise", channels, 1), "relu", in_place=True)


def _max_pool(net: Builder, x: Tensor, name: str, window: int = 3) -> Tensor:
    """A pooling that halves the image, rounding up."""
    return pool(net, x, name, "max_pool", window, stride=2, ceil_mode=True)
