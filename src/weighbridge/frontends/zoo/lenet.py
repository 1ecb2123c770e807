"""LeNet-5, in two readings.

`lenet5` is what is called so today: every map of the second convolution reads every map before it,
pooling has no weights, ReLU, a linear output; 61,706 parameters. `lenet5-1998` is the paper's: subsampling
with a trained coefficient and bias a map, the partial connections of its table I, and an output of radial
basis functions whose centres are fixed; 60,000 trained parameters, as the paper counts them. Its squashing
function is counted as a plain tanh, the two constants of A tanh(S a) left out.
"""

from __future__ import annotations

from ...builder import Builder
from ...layers import activation, concatenate, convolution, flatten, linear, pool
from ...program import Tensor
from ...workload import InputSpec
from .network import Ends, Network, networks

_DIGIT = InputSpec(shape=(1, 32, 32), name="input")
"""A digit of 28x28 in a frame of 32x32, as the paper feeds it."""

_CITATION = (
    "LeCun, Bottou, Bengio and Haffner, Gradient-Based Learning Applied to Document Recognition, "
    "Proceedings of the IEEE 86(11), 1998"
)

NETWORKS = networks(
    Network(
        name="lenet5",
        title="LeNet-5",
        citation=_CITATION,
        year=1998,
        inputs=(_DIGIT,),
        depth=5,
        note="as it is built today: full connections, maximum pooling, ReLU",
    ),
    Network(
        name="lenet5-1998",
        title="LeNet-5 (1998)",
        citation=_CITATION + ", section II.B and table I",
        year=1998,
        inputs=(_DIGIT,),
        depth=4,
        note="the paper's: partial connections, trained subsampling, fixed radial basis outputs",
    ),
)

# fmt: off
CONNECTIONS: tuple[tuple[int, ...], ...] = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)
# fmt: on
"""Table I of the paper: which of the six maps of S2 each of the sixteen maps of C3 reads."""


def build(net: Builder, name: str, x: Tensor) -> Ends:
    """(B, 1, 32, 32) -> (B, 10)."""
    return Ends(outputs=(_original(net, x) if name == "lenet5-1998" else _modern(net, x),))


def _modern(net: Builder, x: Tensor) -> Tensor:
    x = activation(net, convolution(net, x, "conv1", 6, 5, inputs=1), "relu1")
    x = pool(net, x, "pool1", "max_pool", 2)
    x = activation(net, convolution(net, x, "conv2", 16, 5), "relu2")
    x = flatten(net, pool(net, x, "pool2", "max_pool", 2))
    x = activation(net, linear(net, x, "fc1", 120, inputs=16 * 5 * 5), "relu3")
    x = activation(net, linear(net, x, "fc2", 84), "relu4")
    return linear(net, x, "fc3", 10)


def _original(net: Builder, x: Tensor) -> Tensor:
    x = _squashed(net, convolution(net, x, "c1", 6, 5, inputs=1))
    x = _subsampled(net, x, "s2")
    x = _squashed(net, _partly_connected(net, x, "c3"))
    x = _subsampled(net, x, "s4")
    x = flatten(net, _squashed(net, convolution(net, x, "c5", 120, 5)))
    x = _squashed(net, linear(net, x, "f6", 84, inputs=120))
    return _radial_basis(net, x, "output", 10)


def _squashed(net: Builder, x: Tensor) -> Tensor:
    return net.op("tanh", x)[0]


def _subsampled(net: Builder, x: Tensor, name: str) -> Tensor:
    """Means of 2x2, times a trained coefficient and plus a trained bias a map, squashed."""
    channels = x.shape[1]
    with net.module(name, "Subsampling", f"{channels}, kernel_size=(2, 2)"):
        (x,) = net.op(
            "average_pool", x, window=(2, 2), stride=(2, 2), padding=(0, 0), ceil_mode=False
        )
        (x,) = net.op("mul", x, net.parameter("weight", (channels, 1, 1)))
        (x,) = net.op("add", x, net.parameter("bias", (channels, 1, 1)))
        return _squashed(net, x)


def _partly_connected(net: Builder, x: Tensor, name: str) -> Tensor:
    """(B, 6, M, N) -> (B, 16, M-4, N-4): each map a convolution of the maps that the table names."""
    with net.module(name, "PartialConv2d", "6, 16, kernel_size=(5, 5)"):
        maps = [net.op("slice", x, axis=1, start=index, length=1)[0] for index in range(6)]
        made = [
            convolution(net, concatenate(net, *(maps[i] for i in chosen)), f"{number}", 1, 5)
            for number, chosen in enumerate(CONNECTIONS)
        ]
        return concatenate(net, *made)


def _radial_basis(net: Builder, x: Tensor, name: str, classes: int) -> Tensor:
    """(B, n) -> (B, classes): the squared distances from fixed centres, sum over j of (x_j - w_ij)^2."""
    batch, width = x.shape
    with net.module(name, "RadialBasis", f"{width}, {classes}"):
        centres = net.buffer("weight", (classes, width))
        (x,) = net.op("reshape", x, shape=(batch, 1, width))
        (apart,) = net.op("sub", x, centres)
        (squared,) = net.op("mul", apart, apart)
        return net.op("sum", squared, axes=(2,))[0]
