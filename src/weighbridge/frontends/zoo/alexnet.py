"""AlexNet, in two readings.

`alexnet` is torchvision's, the one-column network of Krizhevsky's 'One weird trick' paper (2014):
61,100,840 parameters. `alexnet-2012` is the NIPS paper's: two groups in the second, fourth and fifth
convolution, as it ran on two GPUs, with response normalisation; 60,965,224 parameters. The paper says
224x224 images, but its 55x55 first maps and the 6x6 maps below its first linear layer need 227x227 without
padding, as its code used: (227 - 11) / 4 + 1 = 55, where (224 - 11) / 4 is no whole number.
"""

from __future__ import annotations

from ...builder import Builder
from ...layers import (
    activation,
    convolution,
    dropout,
    flatten,
    global_average_pool,
    linear,
    local_response_norm,
    pool,
)
from ...program import Tensor
from ...workload import InputSpec
from .network import IMAGENET, Ends, Network, networks

NETWORKS = networks(
    Network(
        name="alexnet",
        title="AlexNet",
        citation="Krizhevsky, One weird trick for parallelizing convolutional neural networks, 2014",
        year=2014,
        inputs=(IMAGENET,),
        depth=8,
        note="torchvision's: one column, no response normalisation",
    ),
    Network(
        name="alexnet-2012",
        title="AlexNet (2012)",
        citation="Krizhevsky, Sutskever and Hinton, ImageNet Classification with Deep Convolutional "
        "Neural Networks, NIPS 2012, section 3.5",
        year=2012,
        inputs=(InputSpec(shape=(3, 227, 227), name="input"),),
        depth=8,
        note="the paper's: two groups, response normalisation; 227x227, since 224 does not give its "
        "55x55 maps",
    ),
)


def build(net: Builder, name: str, x: Tensor) -> Ends:
    """(B, 3, M, N) -> logits (B, 1000)."""
    return Ends(outputs=(_grouped(net, x) if name == "alexnet-2012" else _one_column(net, x),))


def _one_column(net: Builder, x: Tensor) -> Tensor:
    with net.module("features", "Sequential"):
        x = activation(
            net, convolution(net, x, "0", 64, 11, stride=4, padding=2, inputs=3), "1", in_place=True
        )
        x = pool(net, x, "2", "max_pool", 3, stride=2)
        x = activation(net, convolution(net, x, "3", 192, 5, padding=2), "4", in_place=True)
        x = pool(net, x, "5", "max_pool", 3, stride=2)
        x = activation(net, convolution(net, x, "6", 384, 3, padding=1), "7", in_place=True)
        x = activation(net, convolution(net, x, "8", 256, 3, padding=1), "9", in_place=True)
        x = activation(net, convolution(net, x, "10", 256, 3, padding=1), "11", in_place=True)
        x = pool(net, x, "12", "max_pool", 3, stride=2)
    x = flatten(net, global_average_pool(net, x, "avgpool", 6))
    with net.module("classifier", "Sequential"):
        x = activation(net, linear(net, dropout(net, x, "0"), "1", 4096), "2", in_place=True)
        x = activation(net, linear(net, dropout(net, x, "3"), "4", 4096), "5", in_place=True)
        return linear(net, x, "6", 1000)


def _grouped(net: Builder, x: Tensor) -> Tensor:
    """Modules carry the names of the paper's published code and of Caffe's."""
    x = activation(net, convolution(net, x, "conv1", 96, 11, stride=4, inputs=3), "relu1")
    x = pool(net, local_response_norm(net, x, "norm1"), "pool1", "max_pool", 3, stride=2)
    x = activation(net, convolution(net, x, "conv2", 256, 5, padding=2, groups=2), "relu2")
    x = pool(net, local_response_norm(net, x, "norm2"), "pool2", "max_pool", 3, stride=2)
    x = activation(net, convolution(net, x, "conv3", 384, 3, padding=1), "relu3")
    x = activation(net, convolution(net, x, "conv4", 384, 3, padding=1, groups=2), "relu4")
    x = activation(net, convolution(net, x, "conv5", 256, 3, padding=1, groups=2), "relu5")
    x = flatten(net, pool(net, x, "pool5", "max_pool", 3, stride=2))
    x = activation(net, linear(net, x, "fc6", 4096, inputs=256 * 6 * 6), "relu6")
    x = activation(net, linear(net, dropout(net, x, "drop6"), "fc7", 4096), "relu7")
    return linear(net, dropout(net, x, "drop7"), "fc8", 1000)
