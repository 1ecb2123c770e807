"""ResNet: residual networks of two-layer blocks (18, 34) and three-layer bottlenecks (50, 101, 152).

The plain names are torchvision's, 'v1.5', which stride the 3x3 convolution of a bottleneck. The `-v1`
names are the paper's, which stride its first 1x1 convolution and so compute less. Basic blocks have no
such choice: resnet18-v1 is resnet18. Where a block changes its width, the shortcut is a 1x1 projection (the
paper's option B).
"""

from __future__ import annotations

from ...builder import Builder
from ...layers import (
    activation,
    add,
    batch_norm,
    convolution,
    flatten,
    global_average_pool,
    linear,
    pool,
)
from ...program import Tensor
from .network import IMAGENET, Ends, Network, networks

BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
"""Blocks in each of the four stages, by depth: table 1 of the paper."""

BOTTLENECK_FROM = 50
EXPANSION = 4
"""A bottleneck's output is four times as wide as its 3x3 convolution."""


def _network(depth: int, original: bool) -> Network:
    note = "the paper's: a bottleneck's stride is in its first 1x1"
    if not original:
        note = "torchvision's v1.5: a bottleneck's stride is in its 3x3"
    return Network(
        name=f"resnet{depth}" + ("-v1" if original else ""),
        title=f"ResNet-{depth}" + (" v1" if original else ""),
        citation="He, Zhang, Ren and Sun, Deep Residual Learning for Image Recognition, CVPR 2016, "
        "table 1",
        year=2016,
        inputs=(IMAGENET,),
        depth=depth,
        note=note if depth >= BOTTLENECK_FROM else "v1 and v1.5 are one network",
    )


NETWORKS = networks(*(_network(depth, original) for original in (False, True) for depth in BLOCKS))


def build(net: Builder, name: str, x: Tensor) -> Ends:
    """(B, 3, M, N) -> logits (B, 1000)."""
    depth = NETWORKS[name].depth
    original = name.endswith("-v1")
    x = convolution(net, x, "conv1", 64, 7, stride=2, padding=3, bias=False, inputs=3)
    x = activation(net, batch_norm(net, x, "bn1"), "relu", in_place=True)
    x = pool(net, x, "maxpool", "max_pool", 3, stride=2, padding=1)
    for stage, blocks in enumerate(BLOCKS[depth]):
        with net.module(f"layer{stage + 1}", "Sequential"):
            for index in range(blocks):
                stride = 2 if stage > 0 and index == 0 else 1
                if depth < BOTTLENECK_FROM:
                    x = _basic_block(net, x, f"{index}", 64 << stage, stride)
                else:
                    x = _bottleneck(net, x, f"{index}", 64 << stage, stride, original)
    x = flatten(net, global_average_pool(net, x, "avgpool"))
    return Ends(outputs=(linear(net, x, "fc", 1000),))


def _basic_block(net: Builder, x: Tensor, name: str, width: int, stride: int) -> Tensor:
    """Two 3x3 convolutions, and the input added: (B, c, M, N) -> (B, width, M/stride, N/stride)."""
    with net.module(name, "BasicBlock"):
        y = convolution(net, x, "conv1", width, 3, stride=stride, padding=1, bias=False)
        y = activation(net, batch_norm(net, y, "bn1"), "relu", in_place=True)
        y = convolution(net, y, "conv2", width, 3, padding=1, bias=False)
        y = batch_norm(net, y, "bn2")
        return activation(
            net, add(net, y, _shortcut(net, x, width, stride), in_place=True), "relu", in_place=True
        )


def _bottleneck(
    net: Builder, x: Tensor, name: str, width: int, stride: int, original: bool
) -> Tensor:
    """1x1 to the width, 3x3, 1x1 to four times the width, and the input added."""
    first, second = (stride, 1) if original else (1, stride)
    with net.module(name, "Bottleneck"):
        y = convolution(net, x, "conv1", width, 1, stride=first, bias=False)
        y = activation(net, batch_norm(net, y, "bn1"), "relu", in_place=True)
        y = convolution(net, y, "conv2", width, 3, stride=second, padding=1, bias=False)
        y = activation(net, batch_norm(net, y, "bn2"), "relu", in_place=True)
        y = convolution(net, y, "conv3", width * EXPANSION, 1, bias=False)
        y = batch_norm(net, y, "bn3")
        shortcut = _shortcut(net, x, width * EXPANSION, stride)
        return activation(net, add(net, y, shortcut, in_place=True), "relu", in_place=True)


def _shortcut(net: Builder, x: Tensor, channels: int, stride: int) -> Tensor:
    """The block's input, projected where it has another shape than the block's output."""
    if stride == 1 and x.shape[1] == channels:
        return x
    with net.module("downsample", "Sequential"):
        x = convolution(net, x, "0", channels, 1, stride=stride, bias=False)
        return batch_norm(net, x, "1")
