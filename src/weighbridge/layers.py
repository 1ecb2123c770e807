"""Layers: the modules that networks are made of, each a few operators and the parameters they need.

Functions of a :class:`~weighbridge.builder.Builder` and a tensor, shared by the notation and the zoo.
Each opens a module, named as PyTorch would name it, so that a network described here and the same
network traced can be laid side by side. Shapes have the batch in front.
"""

from __future__ import annotations

from .builder import Builder
from .dims import product
from .errors import ShapeError
from .program import AttributeValue, Tensor

Sizes = int | tuple[int, ...]


def sizes(value: Sizes, rank: int = 2) -> tuple[int, ...]:
    """One number for every axis, or the numbers given."""
    return (value,) * rank if isinstance(value, int) else value


def convolution(
    net: Builder,
    x: Tensor,
    name: str,
    channels: int,
    kernel: Sizes,
    *,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    bias: bool = True,
    inputs: int | None = None,
) -> Tensor:
    """(B, c, *image) -> (B, channels, *output); `inputs` fixes c where the layer is known to take it."""
    rank = len(x.shape) - 2
    if rank < 1:
        raise ShapeError(f"{_where(net, name)} needs an image, and its input has shape {x.shape}")
    window, step, pad, spread = (sizes(v, rank) for v in (kernel, stride, padding, dilation))
    inside = x.shape[1]
    if inputs is not None and inside != inputs:
        raise ShapeError(
            f"{_where(net, name)} takes {inputs} channels, and its input {x.shape} has {inside}"
        )
    if inside % groups or channels % groups:
        raise ShapeError(
            f"{_where(net, name)}: {inside} input and {channels} output channels do not split into "
            f"{groups} groups"
        )
    detail = f"{inside}, {channels}, kernel_size={window}, stride={step}"
    detail += f", padding={pad}" if any(pad) else ""
    detail += f", dilation={spread}" if any(d != 1 for d in spread) else ""
    detail += f", groups={groups}" if groups != 1 else ""
    detail += "" if bias else ", bias=False"
    with net.module(name, f"Conv{rank}d", detail):
        weight = net.parameter("weight", (channels, inside // groups, *window))
        biases = (net.parameter("bias", (channels,)),) if bias else ()
        return net.op(
            "convolution",
            x,
            weight,
            *biases,
            stride=step,
            padding=pad,
            dilation=spread,
            groups=groups,
            transposed=False,
        )[0]


def linear(
    net: Builder,
    x: Tensor,
    name: str,
    features: int,
    *,
    bias: bool = True,
    inputs: int | None = None,
) -> Tensor:
    """(B, ..., n) -> (B, ..., features); `inputs` fixes n where the layer is known to take it."""
    inside = x.shape[-1]
    if inputs is not None and inside != inputs:
        raise ShapeError(
            f"{_where(net, name)} takes {inputs} features, and its input {x.shape} has {inside}"
        )
    with net.module(name, "Linear", f"in_features={inside}, out_features={features}, bias={bias}"):
        weight = net.parameter("weight", (features, inside))
        biases = (net.parameter("bias", (features,)),) if bias else ()
        return multiply(net, x, weight, *biases)


def multiply(net: Builder, x: Tensor, weight: Tensor, *bias: Tensor) -> Tensor:
    """x (B, ..., n) times the transpose of weight (k, n), plus bias (k): what a linear layer does."""
    x, weight, *addend = net.operands("matmul", x, weight, *bias)
    (transposed,) = net.op("transpose", weight, order=(1, 0))
    return net.op("matmul", x, transposed, *addend)[0]


def batch_norm(net: Builder, x: Tensor, name: str) -> Tensor:
    """Normalises (B, c, ...) over all but the channels; batch statistics in training."""
    channels = x.shape[1]
    rank = max(len(x.shape) - 2, 1)  # vectors (B, c) too are BatchNorm1d's
    with net.module(name, f"BatchNorm{rank}d", f"{channels}"):
        weight, bias = net.parameter("weight", (channels,)), net.parameter("bias", (channels,))
        mean, variance = (
            net.buffer("running_mean", (channels,)),
            net.buffer("running_var", (channels,)),
        )
        net.buffer("num_batches_tracked", (), dtype="int64")
        return net.op(
            "batch_norm",
            x, weight, bias, mean, variance,
            training=net.workload.training, affine=True,
        )[0]  # fmt: skip


def layer_norm(net: Builder, x: Tensor, name: str) -> Tensor:
    """Normalises (..., n) over its last axis."""
    width = x.shape[-1]
    with net.module(name, "LayerNorm", f"({width},)"):
        weight, bias = net.parameter("weight", (width,)), net.parameter("bias", (width,))
        return net.op("layer_norm", x, weight, bias, rank=1)[0]


def local_response_norm(net: Builder, x: Tensor, name: str, size: int = 5) -> Tensor:
    """Normalises across `size` neighbouring channels."""
    with net.module(name, "LocalResponseNorm", f"{size}"):
        return net.op("local_response_norm", x, size=size)[0]


def activation(
    net: Builder, x: Tensor, name: str, kind: str = "relu", *, in_place: bool = False
) -> Tensor:
    """An elementwise function by its operator's name; `in_place` it takes no memory of its own."""
    with net.module(name, ACTIVATIONS[kind], "inplace=True" if in_place else ""):
        return (net.in_place if in_place else net.op)(kind, x)[0]


ACTIVATIONS = {
    "relu": "ReLU",
    "hardtanh": "ReLU6",
    "leaky_relu": "LeakyReLU",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "gelu": "GELU",
    "gelu_tanh": "GELU",
    "silu": "SiLU",
    "hardswish": "Hardswish",
    "hardsigmoid": "Hardsigmoid",
}
"""Operators that stand alone as a layer, and what PyTorch calls that layer."""


def pool(
    net: Builder,
    x: Tensor,
    name: str,
    kind: str,
    window: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
) -> Tensor:
    """`max_pool` or `average_pool` over (B, c, *image); the stride is the window unless given."""
    rank = len(x.shape) - 2
    if rank < 1:
        raise ShapeError(f"{_where(net, name)} needs an image, and its input has shape {x.shape}")
    size, pad = sizes(window, rank), sizes(padding, rank)
    step = size if stride is None else sizes(stride, rank)
    settings: dict[str, AttributeValue] = {
        "window": size, "stride": step, "padding": pad, "ceil_mode": ceil_mode
    }  # fmt: skip
    title = "MaxPool" if kind == "max_pool" else "AvgPool"
    detail = f"kernel_size={size}, stride={step}, padding={pad}"
    with net.module(name, f"{title}{rank}d", detail):
        return net.op(kind, x, **settings)[0]


def global_average_pool(net: Builder, x: Tensor, name: str, size: Sizes = 1) -> Tensor:
    """(B, c, *image) -> (B, c, *size), the means of windows that cover the image evenly."""
    rank = len(x.shape) - 2
    if rank < 1:
        raise ShapeError(f"{_where(net, name)} needs an image, and its input has shape {x.shape}")
    target = sizes(size, rank)
    with net.module(name, f"AdaptiveAvgPool{rank}d", f"output_size={target}"):
        return net.op("adaptive_average_pool", x, size=target)[0]


def flatten(net: Builder, x: Tensor) -> Tensor:
    """(B, ...) -> (B, n), a view."""
    if len(x.shape) == 2:
        return x
    return net.op("reshape", x, shape=(x.shape[0], product(x.shape[1:])))[0]


def dropout(net: Builder, x: Tensor, name: str, rate: float = 0.5) -> Tensor:
    """Zeroes at random in training; nothing at all in inference or at rate 0."""
    with net.module(name, "Dropout", f"p={rate}"):
        if not net.workload.training or rate == 0:
            return x
        return net.op("dropout", x, rate=rate)[0]


def add(net: Builder, x: Tensor, y: Tensor, *, in_place: bool = False) -> Tensor:
    """The elementwise sum, as a residual connection; `in_place` it is written over the first."""
    return (net.in_place if in_place else net.op)("add", x, y)[0]


def concatenate(net: Builder, *parts: Tensor, axis: int = 1) -> Tensor:
    """Joined along the channels, or another axis."""
    return net.op("concatenate", *parts, axis=axis)[0]


def embedding(net: Builder, indices: Tensor, name: str, rows: int, width: int) -> Tensor:
    """(B, T) whole numbers -> (B, T, width), rows of a trained table."""
    with net.module(name, "Embedding", f"{rows}, {width}"):
        table = net.parameter("weight", (rows, width))
        return net.op("embedding", table, indices)[0]


def split_heads(net: Builder, x: Tensor, heads: int) -> Tensor:
    """(B, T, H*E) -> (B, H, T, E), views."""
    batch, length, width = x.shape
    (x,) = net.op("reshape", x, shape=(batch, length, heads, width // heads))
    return net.op("transpose", x, order=(0, 2, 1, 3))[0]


def merge_heads(net: Builder, x: Tensor) -> Tensor:
    """(B, H, T, E) -> (B, T, H*E); contiguous already where attention wrote it token by token."""
    batch, heads, length, width = x.shape
    (x,) = net.op("transpose", x, order=(0, 2, 1, 3))
    return net.op("reshape", x, shape=(batch, length, heads * width))[0]


def attention(
    net: Builder,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    *,
    causal: bool = False,
    rate: float = 0,
) -> Tensor:
    """(B, S, n), (B, T, n), (B, T, n) -> (B, S, n): heads split, attended, merged; no parameters.

    In training a share `rate` of the probabilities is dropped out.
    """
    q, k, v = (split_heads(net, part, heads) for part in (q, k, v))
    dropped = {"rate": rate} if rate and net.workload.training else {}
    return merge_heads(net, net.op("attention", q, k, v, causal=causal, **dropped)[0])


def _where(net: Builder, name: str) -> str:
    return f"{net.scope}.{name}" if net.scope else name
