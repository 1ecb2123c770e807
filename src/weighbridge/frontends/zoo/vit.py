"""ViT-B/16: an image cut into patches of 16x16, each a token of a transformer encoder.

Paths are torchvision's. The three projections of attention are one packed matrix, `in_proj_weight`, as
`nn.MultiheadAttention` holds them, and it uses the weights of its `out_proj` itself. The image's size is
part of the network, since every patch has a trained position.
"""

from __future__ import annotations

from ...builder import Builder
from ...errors import ShapeError
from ...layers import (
    activation,
    add,
    concatenate,
    convolution,
    dropout,
    layer_norm,
    linear,
    multiply,
)
from ...program import Tensor
from .network import IMAGENET, Ends, Network, networks

PATCH = 16
IMAGE = 224
BLOCKS = 12
HEADS = 12
WIDTH = 768
HIDDEN = 3072
"""The row ViT-Base of table 1."""

NETWORKS = networks(
    Network(
        name="vit_b_16",
        title="ViT-B/16",
        citation="Dosovitskiy et al., An Image is Worth 16x16 Words: Transformers for Image "
        "Recognition at Scale, ICLR 2021, table 1",
        year=2021,
        inputs=(IMAGENET,),
        depth=50,
        note="torchvision's, for images of 224x224",
    )
)


def build(net: Builder, name: str, x: Tensor) -> Ends:
    """(B, 3, 224, 224) -> logits (B, 1000)."""
    batch = x.shape[0]
    if x.shape[2:] != (IMAGE, IMAGE):
        side = IMAGE // PATCH
        raise ShapeError(
            f"encoder.pos_embedding holds a position for each of the {side} x {side} patches of a "
            f"{IMAGE} x {IMAGE} image, and the input has shape {x.shape}"
        )
    x = convolution(net, x, "conv_proj", WIDTH, PATCH, stride=PATCH, inputs=3)
    tokens = x.shape[2] * x.shape[3]
    (x,) = net.op("reshape", x, shape=(batch, WIDTH, tokens))
    (x,) = net.op("transpose", x, order=(0, 2, 1))
    (first,) = net.op(
        "expand", net.parameter("class_token", (1, 1, WIDTH)), shape=(batch, 1, WIDTH)
    )
    x = _encoder(net, concatenate(net, first, x, axis=1))
    (x,) = net.op("slice", x, axis=1, start=0, length=1)
    (x,) = net.op("reshape", x, shape=(batch, WIDTH))
    with net.module("heads", "Sequential"):
        return Ends(outputs=(linear(net, x, "head", 1000),))


def _encoder(net: Builder, x: Tensor) -> Tensor:
    """(B, T, n) -> (B, T, n)."""
    with net.module("encoder", "Encoder"):
        x = add(net, x, net.parameter("pos_embedding", (1, *x.shape[1:])))
        x = dropout(net, x, "dropout", 0)
        with net.module("layers", "Sequential"):
            for index in range(BLOCKS):
                x = _block(net, x, f"encoder_layer_{index}")
        return layer_norm(net, x, "ln")


def _block(net: Builder, x: Tensor, name: str) -> Tensor:
    with net.module(name, "EncoderBlock"):
        y = _packed_attention(net, layer_norm(net, x, "ln_1"), "self_attention")
        x = add(net, dropout(net, y, "dropout", 0), x)
        y = layer_norm(net, x, "ln_2")
        with net.module("mlp", "MLPBlock"):
            y = activation(net, linear(net, y, "0", HIDDEN), "1", "gelu")
            y = linear(net, dropout(net, y, "2", 0), "3", WIDTH)
            y = dropout(net, y, "4", 0)
        return add(net, x, y)


def _packed_attention(net: Builder, x: Tensor, name: str) -> Tensor:
    """(B, T, n) -> (B, T, n), queries, keys and values projected by one matrix of 3n rows.

    `nn.MultiheadAttention` works token by token, the images of a batch side by side: (T, B, n). Turning more
    than one image round copies, before either projection, and the copies are what backward reads.
    """
    batch, length, width = x.shape
    with net.module(name, "MultiheadAttention"):
        weight = net.parameter("in_proj_weight", (3 * width, width))
        bias = net.parameter("in_proj_bias", (3 * width,))
        with net.module("out_proj", "NonDynamicallyQuantizableLinear"):
            out_weight = net.parameter("weight", (width, width))
            out_bias = net.parameter("bias", (width,))
        (x,) = net.op("transpose", x, order=(1, 0, 2))
        x, weight, bias = net.operands("matmul", x, weight, bias)
        if batch == 1:  # turned round already
            packed = multiply(net, x, weight, bias)
        else:  # of what is not in order the bias is added afterwards
            packed = multiply(net, *net.op("clone", x), weight)
            packed = add(net, packed, bias, in_place=True)
        (packed,) = net.op("reshape", packed, shape=(length, batch, 3, width))
        (packed,) = net.op("transpose", packed, order=(2, 0, 1, 3))
        (packed,) = net.op("clone", packed)
        q, k, v = (_heads(net, packed, index) for index in range(3))
        (y, _) = net.op("attention", q, k, v, causal=False)
        (y,) = net.op("transpose", y, order=(2, 0, 1, 3))
        # Flash kernels, which half precision runs in, lay their result out as the queries are, turned round.
        flash = net.workload.backend == "cuda" and y.dtype in ("float16", "bfloat16")
        if batch > 1 and not flash:
            (y,) = net.op("clone", y)
        (y,) = net.op("reshape", y, shape=(length * batch, width))
        y = multiply(net, y, out_weight, out_bias)
        (y,) = net.op("reshape", y, shape=(length, batch, width))
        return net.op("transpose", y, order=(1, 0, 2))[0]


def _heads(net: Builder, packed: Tensor, index: int) -> Tensor:
    """(3, T, B, n) -> (B, H, T, E), views."""
    _, length, batch, width = packed.shape
    (part,) = net.op("slice", packed, axis=0, start=index, length=1)
    (part,) = net.op("reshape", part, shape=(length, batch * HEADS, width // HEADS))
    (part,) = net.op("transpose", part, order=(1, 0, 2))
    return net.op("reshape", part, shape=(batch, HEADS, length, width // HEADS))[0]
