"""The layers that the notation knows: how each is written, and what it is built of.

A layer is written `(Name)` and its settings, each a number and a letter. What a letter means, what it
is when left out and what it may be is a row here; docs/notation.md prints the same table.

An image is (c, M, N) as on the lecture's slides, (c, M) or (c, D, M, N): `w` runs along M, `h` along N
and `t` along D, so that the letters are those of the formulas, 2·c·w·h·(M−w+1)·(N−h+1)·k.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ...builder import Builder
from ...errors import ShapeError
from ...layers import (
    ACTIVATIONS,
    Sizes,
    activation,
    attention,
    batch_norm,
    convolution,
    dropout,
    embedding,
    flatten,
    global_average_pool,
    layer_norm,
    linear,
    local_response_norm,
    pool,
)
from ...program import Tensor
from ...workload import check_dimension


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One letter of a layer: what it says, what it is when left out, the least that it may be.

    A letter without a `default` must be there. A `fraction` is a number from 0 up to, and not including,
    1; all others are whole numbers.
    """

    meaning: str
    default: str | None = None
    least: int = 1
    fraction: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What was written behind a layer's name: numbers by letter, and flags."""

    numbers: Mapping[str, int | float] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()

    def whole(self, letter: str, default: int) -> int:
        """The number with that letter, or the default where it was left out."""
        return int(self.numbers.get(letter, default))

    @property
    def bias(self) -> bool:
        return "nobias" not in self.flags


Build = Callable[[Builder, Tensor, str, Settings], Tensor]
"""(builder, input, name, settings) -> output; raises ShapeError where the input does not fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A layer of the notation.

    `bare` is the letter that a number without one stands for; `example` is how it may be written.
    """

    name: str
    example: str
    build: Build
    other_names: tuple[str, ...] = ()
    letters: Mapping[str, Setting] = field(default_factory=dict)
    bare: str | None = None
    flags: tuple[str, ...] = ()

    @property
    def prefix(self) -> str:
        """What its scopes begin with: `conv` makes conv1, conv2, ..."""
        return self.name.lower()


# -- windows -------------------------------------------------------------------------------------------


def _window(x: Tensor, given: Settings, default: int = 1) -> Sizes:
    """The window along each image axis: (w), (w, h) or (t, w, h).

    Raises:
        ShapeError: a letter is for an axis that the image does not have.
    """
    rank = len(x.shape) - 2
    width = given.whole("w", default)
    axes = {1: ("w",), 2: ("w", "h"), 3: ("t", "w", "h")}.get(rank)
    if axes is None:  # no image: the layer says so itself
        return width
    for letter, axis in (("h", "second"), ("t", "third")):
        if letter in given.numbers and letter not in axes:
            raise ShapeError(
                f"{letter} is the window's size along a {axis} image axis, and the input {x.shape} "
                f"has {rank} behind its batch and channels"
            )
    return tuple(given.whole(letter, width) for letter in axes)


def _padding(window: Sizes, given: Settings) -> Sizes:
    """`p` on every axis, or what keeps the size at stride 1: half of what the window covers less one.

    Raises:
        ShapeError: `same` with a window that covers an even number of places.
    """
    if "same" not in given.flags:
        return given.whole("p", 0)
    if "p" in given.numbers:
        raise ShapeError("'same' works out the padding, and p gives it too")
    spread = given.whole("d", 1)
    axes = (window,) if isinstance(window, int) else window
    reaches = tuple(spread * (size - 1) + 1 for size in axes)
    for reach in reaches:
        if reach % 2 == 0:
            raise ShapeError(
                f"'same' pads both sides alike, and the window covers {reach}, which is even"
            )
    pads = tuple(reach // 2 for reach in reaches)
    return pads[0] if isinstance(window, int) else pads


# -- what each is built of -----------------------------------------------------------------------------


def _convolution(net: Builder, x: Tensor, name: str, given: Settings) -> Tensor:
    return _convolved(net, x, name, given, given.whole("c", 1), given.whole("g", 1))


def _depthwise(net: Builder, x: Tensor, name: str, given: Settings) -> Tensor:
    """Each channel has kernels of its own: as many groups as channels."""
    channels = x.shape[1]
    return _convolved(net, x, name, given, channels * given.whole("m", 1), channels)


def _convolved(
    net: Builder, x: Tensor, name: str, given: Settings, channels: int, groups: int
) -> Tensor:
    window = _window(x, given)
    return convolution(
        net,
        x,
        name,
        channels,
        window,
        stride=given.whole("s", 1),
        padding=_padding(window, given),
        dilation=given.whole("d", 1),
        groups=groups,
        bias=given.bias,
    )


def _pooling(kind: str) -> Build:
    def build(net: Builder, x: Tensor, name: str, given: Settings) -> Tensor:
        window = _window(x, given)
        padding = _padding(window, given)
        narrowest = window if isinstance(window, int) else min(window)
        if isinstance(padding, int) and 2 * padding > narrowest:
            raise ShapeError(
                f"a pooling window {narrowest} wide takes at most {narrowest // 2} of padding, "
                f"and p is {padding}",
                "a window would lie in nothing but padding",
            )
        return pool(
            net,
            x,
            name,
            kind,
            window,
            stride=given.whole("s", 0) or None,
            padding=padding,
            ceil_mode="ceil" in given.flags,
        )

    return build


def _global_average(net: Builder, x: Tensor, name: str, given: Settings) -> Tensor:
    return global_average_pool(net, x, name, _window(x, given))


def _fully_connected(net: Builder, x: Tensor, name: str, given: Settings) -> Tensor:
    """Takes its whole input, as the convolution whose kernel covers it would (lecture L2)."""
    return linear(net, _flat(net, x), name, given.whole("c", 1), bias=given.bias)


def _linear(net: Builder, x: Tensor, name: str, given: Settings) -> Tensor:
    return linear(net, x, name, given.whole("c", 1), bias=given.bias)


def _flatten(net: Builder, x: Tensor, name: str, given: Settings) -> Tensor:
    with net.module(name, "Flatten"):
        return _flat(net, x)


def _flat(net: Builder, x: Tensor) -> Tensor:
    flat = flatten(net, x)
    check_dimension(flat.shape[1], f"the flattened input {x.shape}")
    return flat


def _batch_norm(net: Builder, x: Tensor, name: str, given: Settings) -> Tensor:
    return batch_norm(net, x, name)


def _layer_norm(net: Builder, x: Tensor, name: str, given: Settings) -> Tensor:
    if len(x.shape) > 3:
        raise ShapeError(
            f"a layer norm takes vectors (n) or a sequence (T, n), and the input {x.shape} is an image",
            "(BN) normalises the channels of an image",
        )
    return layer_norm(net, x, name)


def _local_response_norm(net: Builder, x: Tensor, name: str, given: Settings) -> Tensor:
    return local_response_norm(net, x, name, given.whole("w", 5))


def _activation(kind: str) -> Build:
    def build(net: Builder, x: Tensor, name: str, given: Settings) -> Tensor:
        return activation(net, x, name, kind)

    return build


def _softmax(net: Builder, x: Tensor, name: str, given: Settings) -> Tensor:
    """Over the last axis of vectors and sequences, over the channels of an image."""
    axis = 1 if len(x.shape) > 3 else len(x.shape) - 1
    with net.module(name, "Softmax", f"dim={axis}"):
        return net.op("softmax", x, axis=axis)[0]


def _dropout(net: Builder, x: Tensor, name: str, given: Settings) -> Tensor:
    return dropout(net, x, name, float(given.numbers.get("r", 0.5)))


def _embedding(net: Builder, x: Tensor, name: str, given: Settings) -> Tensor:
    if not x.dtype.startswith(("int", "uint")):
        raise ShapeError(
            f"an embedding picks rows by whole numbers, and its input is {x.dtype}",
            "it stands right behind the input",
        )
    return embedding(net, x, name, given.whole("v", 1), given.whole("c", 1))


def _self_attention(net: Builder, x: Tensor, name: str, given: Settings) -> Tensor:
    """Queries, keys and values of one sequence (B, T, n) each projected, attended, projected again.

    4·n² + 4·n parameters with biases. Source: Vaswani et al. 2017, section 3.2.2.
    """
    heads = given.whole("h", 1)
    if len(x.shape) != 3:
        raise ShapeError(f"attention needs a sequence (T, n), and its input has shape {x.shape}")
    width = x.shape[2]
    if width % heads:
        raise ShapeError(f"{width} numbers a token do not split into {heads} heads")
    causal = "causal" in given.flags
    with net.module(name, "MultiheadAttention", f"{width}, heads={heads}, causal={causal}"):
        q, k, v = (linear(net, x, part, width, bias=given.bias) for part in ("q", "k", "v"))
        joined = attention(net, q, k, v, heads, causal=causal)
        return linear(net, joined, "out", width, bias=given.bias)


# -- the table -----------------------------------------------------------------------------------------

_WIDTH = Setting(meaning="width, along M")
_SPAN = {
    "h": Setting(meaning="height, along N", default="w"),
    "t": Setting(meaning="depth, along D", default="w"),
}
_MOVE = {
    "s": Setting(meaning="stride", default="1"),
    "p": Setting(meaning="padding on either side", default="0", least=0),
}
_HOP = _MOVE | {"s": Setting(meaning="stride", default="the window")}
_SPREAD = {"d": Setting(meaning="dilation", default="1")}
_OUT = {"c": Setting(meaning="numbers that come out")}

_POOL = {"w": _WIDTH} | _SPAN | _HOP
_DEPTHWISE = {"w": _WIDTH} | _SPAN | _MOVE | _SPREAD
_DEPTHWISE |= {"m": Setting(meaning="kernels a channel", default="1")}
_CONVOLUTION = {"c": Setting(meaning="kernels"), "w": _WIDTH} | _SPAN | _MOVE | _SPREAD
_CONVOLUTION |= {"g": Setting(meaning="groups", default="1")}
_GLOBAL = {"w": Setting(meaning="places left along M", default="1")} | _SPAN
_NEIGHBOURS = {"w": Setting(meaning="neighbouring channels", default="5")}
_SHARE = {"r": Setting(meaning="share that is zeroed", default="0.5", fraction=True)}
_ROWS = {"v": Setting(meaning="rows of the table, the vocabulary")}
_HEADS = {"h": Setting(meaning="heads")}

_ACTIVATION_NAMES = {"hardtanh": "ReLU6", "gelu_tanh": "GELUTanh"}
"""Where PyTorch's name for the layer is not the operator's, or is another's too."""


def _activations() -> tuple[Kind, ...]:
    names = {kind: _ACTIVATION_NAMES.get(kind, title) for kind, title in ACTIVATIONS.items()}
    return tuple(
        Kind(name=name, example=f"({name})", build=_activation(kind))
        for kind, name in names.items()
    )


KINDS: tuple[Kind, ...] = (
    Kind(name="Conv", example="(Conv)6c5w1s0p", build=_convolution, other_names=("Convolution",), letters=_CONVOLUTION, flags=("same", "nobias")),
    Kind(name="DWConv", example="(DWConv)3w1p", build=_depthwise, other_names=("DepthwiseConv", "Depthwise"), letters=_DEPTHWISE, bare="w", flags=("same", "nobias")),
    Kind(name="MaxPool", example="(MaxPool)3w2s", build=_pooling("max_pool"), other_names=("Pool",), letters=_POOL, bare="w", flags=("same", "ceil")),
    Kind(name="AvgPool", example="(AvgPool)2w", build=_pooling("average_pool"), letters=_POOL, bare="w", flags=("same", "ceil")),
    Kind(name="GlobalAvgPool", example="(GlobalAvgPool)", build=_global_average, other_names=("GAP", "AdaptiveAvgPool"), letters=_GLOBAL, bare="w"),
    Kind(name="fc", example="(fc)10", build=_fully_connected, other_names=("FullyConnected",), letters=_OUT, bare="c", flags=("nobias",)),
    Kind(name="Linear", example="(Linear)3072", build=_linear, letters=_OUT, bare="c", flags=("nobias",)),
    Kind(name="BN", example="(BN)", build=_batch_norm, other_names=("BatchNorm",)),
    Kind(name="LN", example="(LN)", build=_layer_norm, other_names=("LayerNorm",)),
    Kind(name="LRN", example="(LRN)5w", build=_local_response_norm, other_names=("LocalResponseNorm",), letters=_NEIGHBOURS, bare="w"),
    *_activations(),
    Kind(name="Softmax", example="(Softmax)", build=_softmax),
    Kind(name="Dropout", example="(Dropout)0.5", build=_dropout, letters=_SHARE, bare="r"),
    Kind(name="Flatten", example="(Flatten)", build=_flatten),
    Kind(name="Embedding", example="(Embedding)50257v768c", build=_embedding, letters=_ROWS | _OUT),
    Kind(name="Attention", example="(Attention)12h causal", build=_self_attention, other_names=("SelfAttention", "MultiheadAttention"), letters=_HEADS, bare="h", flags=("causal", "nobias")),
)  # fmt: skip
"""Every layer of the notation."""


def folded(name: str) -> str:
    """A layer's name as it is looked up: letter case, spaces, `_` and `-` make no difference."""
    return re.sub(r"[\s_-]", "", name).lower()


BY_NAME: Mapping[str, Kind] = {
    folded(name): kind for kind in KINDS for name in (kind.name, *kind.other_names)
}
