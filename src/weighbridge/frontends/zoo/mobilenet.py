"""MobileNetV2: inverted residuals, narrow between blocks and wide inside, with depthwise convolutions.

Paths are torchvision's: `features.N.conv.M`, an expansion of 1 leaving out the first 1x1.
"""

from __future__ import annotations

from ...builder import Builder
from ...layers import activation, add, batch_norm, convolution, dropout, flatten, linear
from ...program import Tensor
from .network import IMAGENET, Ends, Network, networks

STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Table 2 of the paper: expansion, channels, blocks, stride of the first block."""

NETWORKS = networks(
    Network(
        name="mobilenet_v2",
        title="MobileNetV2",
        citation="Sandler, Howard, Zhu, Zhmoginov and Chen, MobileNetV2: Inverted Residuals and "
        "Linear Bottlenecks, CVPR 2018, table 2",
        year=2018,
        inputs=(IMAGENET,),
        depth=53,
        note="width 1.0",
    )
)


def build(net: Builder, name: str, x: Tensor) -> Ends:
    """(B, 3, M, N) -> logits (B, 1000)."""
    with net.module("features", "Sequential"):
        x = _normalised(net, x, "0", 32, 3, stride=2, inputs=3)
        place = 1
        for expansion, channels, blocks, stride in STAGES:
            for index in range(blocks):
                step = stride if index == 0 else 1
                x = _inverted_residual(net, x, f"{place}", expansion, channels, step)
                place += 1
        x = _normalised(net, x, f"{place}", 1280, 1)
    # torchvision averages as a function of the network itself, not as a module.
    (x,) = net.op("adaptive_average_pool", x, size=(1, 1))
    x = flatten(net, x)
    with net.module("classifier", "Sequential"):
        return Ends(outputs=(linear(net, dropout(net, x, "0", 0.2), "1", 1000),))


def _inverted_residual(
    net: Builder, x: Tensor, name: str, expansion: int, channels: int, stride: int
) -> Tensor:
    """1x1 to `expansion` times the channels, 3x3 depthwise, 1x1 back; the input added if it fits."""
    inside = x.shape[1]
    hidden = inside * expansion
    with net.module(name, "InvertedResidual"):
        with net.module("conv", "Sequential"):
            y, place = x, 0
            if expansion != 1:
                y, place = _normalised(net, y, "0", hidden, 1), 1
            y = _normalised(net, y, f"{place}", hidden, 3, stride=stride, groups=hidden)
            y = convolution(net, y, f"{place + 1}", channels, 1, bias=False)
            y = batch_norm(net, y, f"{place + 2}")
        return add(net, x, y) if stride == 1 and inside == channels else y


def _normalised(
    net: Builder,
    x: Tensor,
    name: str,
    channels: int,
    kernel: int,
    *,
    stride: int = 1,
    groups: int = 1,
    inputs: int | None = None,
) -> Tensor:
    """A convolution, its batch normalisation and a ReLU cut off at 6."""
    with net.module(name, "Conv2dNormActivation"):
        x = convolution(
            net,
            x,
            "0",
            channels,
            kernel,
            stride=stride,
            padding=kernel // 2,
            groups=groups,
            bias=False,
            inputs=inputs,
        )
        return activation(net, batch_norm(net, x, "1"), "2", "hardtanh", in_place=True)
