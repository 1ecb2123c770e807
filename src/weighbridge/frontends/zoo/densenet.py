"""DenseNet: every layer of a block reads what all layers before it in the block have made.

The four networks of the paper's table 1, DenseNet-BC: bottlenecks of four times the growth rate, and
transitions that halve the channels. Paths and order are torchvision's.
"""

from __future__ import annotations

from ...builder import Builder
from ...layers import activation, batch_norm, concatenate, convolution, flatten, linear, pool
from ...program import Tensor
from .network import IMAGENET, Ends, Network, networks

CONFIGURATIONS = {
    "densenet121": (32, 64, (6, 12, 24, 16)),
    "densenet169": (32, 64, (6, 12, 32, 32)),
    "densenet201": (32, 64, (6, 12, 48, 32)),
    "densenet161": (48, 96, (6, 12, 36, 24)),
}
"""Growth rate, channels of the first convolution (twice the growth rate), layers of each block."""

BOTTLENECK = 4
"""A layer's 1x1 convolution makes so many times the growth rate."""


def _network(name: str) -> Network:
    depth = int(name.removeprefix("densenet"))
    return Network(
        name=name,
        title=f"DenseNet-{depth}",
        citation="Huang, Liu, van der Maaten and Weinberger, Densely Connected Convolutional "
        "Networks, CVPR 2017, table 1",
        year=2017,
        inputs=(IMAGENET,),
        depth=depth,
        note=f"growth rate {CONFIGURATIONS[name][0]}",
    )


NETWORKS = networks(*(_network(name) for name in CONFIGURATIONS))


def build(net: Builder, name: str, x: Tensor) -> Ends:
    """(B, 3, M, N) -> logits (B, 1000)."""
    growth, first, blocks = CONFIGURATIONS[name]
    with net.module("features", "Sequential"):
        x = convolution(net, x, "conv0", first, 7, stride=2, padding=3, bias=False, inputs=3)
        x = activation(net, batch_norm(net, x, "norm0"), "relu0", in_place=True)
        x = pool(net, x, "pool0", "max_pool", 3, stride=2, padding=1)
        for number, layers in enumerate(blocks, start=1):
            x = _dense_block(net, x, f"denseblock{number}", layers, growth)
            if number < len(blocks):
                x = _transition(net, x, f"transition{number}")
        x = batch_norm(net, x, "norm5")
    # torchvision runs these three as functions of the network itself, not as modules, and names the features.
    with net.holding(x):
        (x,) = net.in_place("relu", x)
        (x,) = net.op("adaptive_average_pool", x, size=(1, 1))
        x = linear(net, flatten(net, x), "classifier", 1000)
    return Ends(outputs=(x,))


def _dense_block(net: Builder, x: Tensor, name: str, layers: int, growth: int) -> Tensor:
    """(B, c, M, N) -> (B, c + layers * growth, M, N)."""
    with net.module(name, "_DenseBlock"):
        made = [x]
        for number in range(1, layers + 1):
            with net.module(f"denselayer{number}", "_DenseLayer"):
                joined = concatenate(net, *made)
                with net.holding(joined):
                    y = activation(net, batch_norm(net, joined, "norm1"), "relu1", in_place=True)
                    narrow = convolution(net, y, "conv1", BOTTLENECK * growth, 1, bias=False)
                with net.holding(narrow):
                    y = activation(net, batch_norm(net, narrow, "norm2"), "relu2", in_place=True)
                    made.append(convolution(net, y, "conv2", growth, 3, padding=1, bias=False))
        return concatenate(net, *made)


def _transition(net: Builder, x: Tensor, name: str) -> Tensor:
    """(B, c, M, N) -> (B, c/2, M/2, N/2)."""
    with net.module(name, "_Transition"):
        x = activation(net, batch_norm(net, x, "norm"), "relu", in_place=True)
        x = convolution(net, x, "conv", x.shape[1] // 2, 1, bias=False)
        return pool(net, x, "pool", "average_pool", 2)
