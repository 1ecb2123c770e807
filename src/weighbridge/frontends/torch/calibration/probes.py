"""Probes: the operators that a calibration times, each at sizes from small to large.

Sizes are drawn at random from what networks use, always the same ones: spread in size, so that a network that is
none of them lies between. A probe says which of its operands the operator before has just made (the cache holds
them, where they are not too large) and which come from memory, as weights do and what forward kept for backward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

Run: TypeAlias = Callable[..., object]
Shape: TypeAlias = tuple[int, ...]

aten = torch.ops.aten

SEED = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Between what probes of a kind of device lie: from nothing but its overhead to milliseconds.

    `elements` are the most of one operand, `weights` of a product with one row, as classifiers of old have them, which no
    cache holds; `rows` are the most of a product. `gpu` says that attention's backward reads what only its forward
    makes, so that autograd runs it.
    """

    elements: int
    weights: int
    rows: int
    fewest_macs: int
    most_macs: int
    batches: tuple[int, ...]
    gpu: bool = False


PROCESSOR = Sizes(
    elements=6_000_000, weights=60_000_000, rows=4096, fewest_macs=200_000, most_macs=1_600_000_000,
    batches=(1, 1, 2, 4, 8, 16),
)  # fmt: skip
GPU = Sizes(
    elements=100_000_000, weights=100_000_000, rows=65_536, fewest_macs=20_000_000, most_macs=200_000_000_000,
    batches=(1, 2, 8, 16, 32, 64, 128, 256), gpu=True,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """An operator to time: what runs, on operands of which shapes.

    The first `warm` operands were just made, the rest come from memory. `whole` says which operands are whole
    numbers, and below what; `single` which are float32 whatever the others are. `backward` says that what is
    timed is the gradients of all operands, by autograd. `images` says that a GPU's matrix units take the operands
    with their channels last.
    """

    name: str
    run: Run
    shapes: tuple[Shape, ...]
    warm: int = 1
    whole: tuple[tuple[int, int], ...] = ()
    single: tuple[int, ...] = ()
    backward: bool = False
    images: bool = False

    @property
    def product(self) -> bool:
        """Whether it is a matrix product, which float32 may run on matrix units if it is told to."""
        return self.name.startswith(("linear", "scores", "weighing"))

    @property
    def elements(self) -> int:
        """Elements of all operands."""
        return sum(torch.Size(shape).numel() for shape in self.shapes)


def probes(share: float = 1.0, sizes: Sizes = PROCESSOR) -> Iterator[Probe]:
    """All probes; a `share` of the sizes of each."""
    for family, count in FAMILIES.items():
        rng = Random(f"{SEED} {family.__name__}")
        for _ in range(max(2, round(count * share))):
            yield from family(rng, sizes)


def _spread(rng: Random, low: float, high: float, multiple: int = 1) -> int:
    """A size between two, spread evenly in its logarithm, and a multiple of something."""
    size: float = low * (high / low) ** rng.random()
    return max(multiple, round(size / multiple) * multiple)


def _channels(rng: Random, most: int) -> int:
    """Channels: mostly multiples of what kernels take at once, as in most networks."""
    return _spread(rng, 16, most, rng.choice((8, 16, 16, 32)))


IMAGES = (7, 8, 14, 16, 20, 28, 32, 40, 56, 64, 80, 112)


# -- convolutions --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Convolution:
    batch: int
    channels: int
    kernels: int
    image: int
    kernel: int
    stride: int = 1
    groups: int = 1
    padding: int = 0

    @property
    def out(self) -> int:
        return (self.image + 2 * self.padding - self.kernel) // self.stride + 1

    @property
    def x(self) -> Shape:
        return (self.batch, self.channels, self.image, self.image)

    @property
    def w(self) -> Shape:
        return (self.kernels, self.channels // self.groups, self.kernel, self.kernel)

    @property
    def y(self) -> Shape:
        return (self.batch, self.kernels, self.out, self.out)

    @property
    def macs(self) -> int:
        return torch.Size(self.y).numel() * torch.Size(self.w[1:]).numel()

    def fits(self, sizes: Sizes) -> bool:
        """Whether it is neither too small nor too large."""
        largest = max(torch.Size(self.x).numel(), torch.Size(self.y).numel())
        return sizes.fewest_macs <= self.macs <= sizes.most_macs and largest <= sizes.elements


def _drawn(rng: Random, sizes: Sizes, draw: Callable[[Random], _Convolution]) -> Iterator[Probe]:
    """The three convolutions of the first that is neither too small nor too large."""
    found = draw(rng)
    while not found.fits(sizes):
        found = draw(rng)
    stride, padding, groups = found.stride, found.padding, found.groups
    attributes = ([stride] * 2, [padding] * 2, [1, 1], False, [0, 0], groups)

    def forward(x: Tensor, w: Tensor) -> Tensor:
        return functional.conv2d(x, w, None, stride, padding, 1, groups)

    def input_gradient(dy: Tensor, x: Tensor, w: Tensor) -> object:
        return aten.convolution_backward(dy, x, w, None, *attributes, [True, False, False])

    def weight_gradient(dy: Tensor, x: Tensor, w: Tensor) -> object:
        return aten.convolution_backward(dy, x, w, None, *attributes, [False, True, False])

    name = f"convolution {found.x} {found.w} stride {stride}"
    yield Probe(name=name, run=forward, shapes=(found.x, found.w), images=True)
    for run in (input_gradient, weight_gradient):
        yield Probe(
            name=f"{name} {run.__name__}", run=run, shapes=(found.y, found.x, found.w), images=True
        )


def _convolution_1x1(rng: Random, sizes: Sizes) -> Iterator[Probe]:
    return _drawn(
        rng,
        sizes,
        lambda rng: _Convolution(
            batch=rng.choice(sizes.batches), channels=_channels(rng, 2048), kernels=_channels(rng, 2048),
            image=rng.choice(IMAGES), kernel=1, stride=rng.choice((1, 1, 1, 1, 2)),
        ),
    )  # fmt: skip


def _convolution(rng: Random, sizes: Sizes) -> Iterator[Probe]:
    def draw(rng: Random) -> _Convolution:
        kernel = rng.choice((3, 3, 3, 3, 5))
        return _Convolution(
            batch=rng.choice(sizes.batches), channels=_channels(rng, 1024), kernels=_channels(rng, 1024),
            image=rng.choice(IMAGES), kernel=kernel, stride=rng.choice((1, 1, 1, 2)), padding=kernel // 2,
        )  # fmt: skip

    return _drawn(rng, sizes, draw)


def _stem(rng: Random, sizes: Sizes) -> Iterator[Probe]:
    def draw(rng: Random) -> _Convolution:
        kernel, stride = rng.choice(((3, 1), (3, 2), (7, 2), (4, 4), (16, 16), (32, 32), (11, 4)))
        return _Convolution(
            batch=rng.choice(sizes.batches), channels=3, kernels=_spread(rng, 16, 768 if kernel > 11 else 128, 8),
            image=rng.choice((128, 160, 192, 224, 224, 256)), kernel=kernel, stride=stride,
            padding=0 if kernel == stride else kernel // 2,
        )  # fmt: skip

    return _drawn(rng, sizes, draw)


def _depthwise(rng: Random, sizes: Sizes) -> Iterator[Probe]:
    def draw(rng: Random) -> _Convolution:
        kernel, channels = rng.choice((3, 3, 5, 7)), _channels(rng, 1024)
        return _Convolution(
            batch=rng.choice(sizes.batches), channels=channels, kernels=channels, groups=channels,
            image=rng.choice(IMAGES), kernel=kernel, stride=rng.choice((1, 1, 1, 2)), padding=kernel // 2,
        )  # fmt: skip

    return _drawn(rng, sizes, draw)


def _grouped(rng: Random, sizes: Sizes) -> Iterator[Probe]:
    def draw(rng: Random) -> _Convolution:
        groups, width = rng.choice((2, 4, 8, 16, 32)), _spread(rng, 4, 64, 4)
        return _Convolution(
            batch=rng.choice(sizes.batches), channels=groups * width, kernels=groups * width, groups=groups,
            image=rng.choice(IMAGES), kernel=3, stride=rng.choice((1, 1, 1, 2)), padding=1,
        )  # fmt: skip

    return _drawn(rng, sizes, draw)


# -- matrix products -----------------------------------------------------------------------------


def _matmul(rng: Random, sizes: Sizes) -> Iterator[Probe]:
    """A linear layer, and both of its gradients."""
    while True:
        rows = rng.choice((1, 1, _spread(rng, 2, 64), _spread(rng, 64, sizes.rows)))
        widest = 16_384 if rows == 1 else 4096
        width, height = _spread(rng, 48, widest, 8), _spread(rng, 48, widest, 8)
        if (
            rows * max(width, height) <= sizes.elements
            and rows * width * height <= sizes.most_macs
            and width * height <= (sizes.weights if rows == 1 else sizes.elements)
        ):
            break
    x, w, dy = (rows, width), (height, width), (rows, height)
    name = f"linear {x} {w}"
    yield Probe(name=name, run=functional.linear, shapes=(x, w, (height,)))
    yield Probe(name=f"{name} input gradient", run=lambda dy, w: dy.mm(w), shapes=(dy, w))
    yield Probe(name=f"{name} weight gradient", run=lambda dy, x: dy.t().mm(x), shapes=(dy, x))


def _batched_matmul(rng: Random, sizes: Sizes) -> Iterator[Probe]:
    """Scores of attention, and what they weigh."""
    heads = rng.choice((1, 2, 4, 8)) * rng.choice((3, 6, 8, 12, 16))
    length, width = rng.choice((49, 64, 128, 197, 256, 512)), rng.choice((32, 64, 64, 96))
    if heads * length * length > sizes.elements:
        heads = max(1, sizes.elements // length**2)
    q, scores = (heads, length, width), (heads, length, length)
    yield Probe(
        name=f"scores {q}", run=lambda q, k: q.bmm(k.transpose(1, 2)), shapes=(q, q), warm=2
    )
    yield Probe(name=f"weighing {q}", run=lambda p, v: p.bmm(v), shapes=(scores, q), warm=2)


def _attention(rng: Random, sizes: Sizes) -> Iterator[Probe]:
    batch, heads = rng.choice(sizes.batches), rng.choice((3, 6, 8, 12, 16))
    length, width = rng.choice((49, 64, 128, 197, 256, 512, 1024)), rng.choice((32, 64, 64, 80))
    while batch * heads * length * length * width > sizes.most_macs // 2:
        length //= 2
    q, causal = (batch, heads, length, width), rng.random() < 0.3

    def forward(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(q, k, v, is_causal=causal)

    def backward(dy: Tensor, q: Tensor, k: Tensor, v: Tensor, y: Tensor, lse: Tensor) -> object:
        return aten._scaled_dot_product_flash_attention_for_cpu_backward(
            dy, q, k, v, y, lse, 0.0, causal
        )

    yield Probe(name=f"attention {q}", run=forward, shapes=(q, q, q), warm=3)
    if sizes.gpu:
        yield Probe(
            name=f"attention {q} backward", run=forward, shapes=(q, q, q), warm=0, backward=True
        )
        return
    yield Probe(
        name=f"attention {q} backward", run=backward, shapes=(q, q, q, q, q, q[:-1]), single=(5,)
    )


def _recurrent(rng: Random, sizes: Sizes) -> Iterator[Probe]:
    """A layer of an LSTM over whole sequences, whose steps wait for one another; a CPU runs GRUs operator by operator."""
    while True:
        steps, batch = rng.choice((8, 16, 32, 64, 128, 256)), rng.choice(sizes.batches)
        width, hidden = _spread(rng, 32, 1024, 32), _spread(rng, 32, 1024, 32)
        if batch * steps * 4 * hidden * (width + hidden) <= sizes.most_macs // 4:
            break
    x, state, gates = (steps, batch, width), (1, batch, hidden), 4 * hidden

    def forward(x: Tensor, h: Tensor, c: Tensor, *weights: Tensor) -> Tensor:
        return torch.lstm(x, (h, c), weights, True, 1, 0.0, False, False, False)[0]

    shapes = (x, state, state, (gates, width), (gates, hidden), (gates,), (gates,))
    yield Probe(name=f"lstm {x} of {hidden}", run=forward, shapes=shapes, warm=3)
    yield Probe(
        name=f"lstm {x} of {hidden} backward", run=forward, shapes=shapes, warm=0, backward=True
    )


# -- what is bound by memory ---------------------------------------------------------------------


def _image(rng: Random, sizes: Sizes, smallest: int = 3_000) -> Shape:
    while True:
        shape = (
            rng.choice(sizes.batches), _spread(rng, 16, 2048, 8),
            *(2 * (rng.choice(IMAGES),)),
        )  # fmt: skip
        if smallest <= torch.Size(shape).numel() <= sizes.elements:
            return shape


def _tokens(rng: Random, sizes: Sizes) -> Shape:
    while True:
        shape = (
            rng.choice(sizes.batches), rng.choice((1, 49, 64, 128, 197, 256, 512, 784)), _spread(rng, 96, 3072, 32),
        )  # fmt: skip
        if torch.Size(shape).numel() <= sizes.elements:
            return shape


def _batch_norm(rng: Random, sizes: Sizes) -> Iterator[Probe]:
    x = _image(rng, sizes)
    c = (x[1],)

    def used(x: Tensor, w: Tensor, b: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        return functional.batch_norm(x, mean, variance, w, b, training=False)

    def trained(x: Tensor, w: Tensor, b: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        return functional.batch_norm(x, mean, variance, w, b, training=True)

    def backward(dy: Tensor, x: Tensor, w: Tensor, *kept: Tensor) -> object:
        return aten.native_batch_norm_backward(
            dy, x, w, kept[0], kept[1], kept[2], kept[3], True, 1e-5, [True, True, True]
        )

    yield Probe(name=f"batch norm {x}", run=used, shapes=(x, c, c, c, c))
    yield Probe(name=f"batch norm {x} in training", run=trained, shapes=(x, c, c, c, c))
    yield Probe(name=f"batch norm {x} backward", run=backward, shapes=(x, x, c, c, c, c, c))


def _layer_norm(rng: Random, sizes: Sizes) -> Iterator[Probe]:
    x = _tokens(rng, sizes)
    c, rows = x[-1:], (*x[:-1], 1)

    def forward(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return functional.layer_norm(x, c, w, b)

    def backward(dy: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, w: Tensor, b: Tensor) -> object:
        return aten.native_layer_norm_backward(dy, x, list(c), mean, rstd, w, b, [True, True, True])

    yield Probe(name=f"layer norm {x}", run=forward, shapes=(x, c, c))
    yield Probe(name=f"layer norm {x} backward", run=backward, shapes=(x, x, rows, rows, c, c))


def _softmax(rng: Random, sizes: Sizes) -> Iterator[Probe]:
    length = rng.choice((49, 64, 128, 197, 256, 512))
    rows = _spread(rng, 8, sizes.elements / length)
    x = (rows, length)
    yield Probe(name=f"softmax {x}", run=lambda x: functional.softmax(x, -1), shapes=(x,))
    yield Probe(
        name=f"softmax {x} backward",
        run=lambda dy, y: aten._softmax_backward_data(dy, y, -1, y.dtype),
        shapes=(x, x),
    )


def _elements(rng: Random, sizes: Sizes) -> Shape:
    return (_spread(rng, 1_000, sizes.elements, 16),)


def _activation(rng: Random, sizes: Sizes) -> Iterator[Probe]:
    x = _elements(rng, sizes)
    name, forward, backward = rng.choice(
        (
            ("gelu", functional.gelu, aten.gelu_backward),
            ("silu", functional.silu, aten.silu_backward),
            ("gelu", functional.gelu, aten.gelu_backward),
            ("sigmoid", torch.sigmoid, aten.sigmoid_backward),
            ("tanh", torch.tanh, aten.tanh_backward),
            ("exp", torch.exp, None),
        )
    )
    yield Probe(name=f"{name} {x}", run=forward, shapes=(x,))
    if backward is not None:
        yield Probe(name=f"{name} {x} backward", run=backward, shapes=(x, x))


def _elementwise(rng: Random, sizes: Sizes) -> Iterator[Probe]:
    """Pointwise operators as networks have them: into memory of their own and over what they read."""
    x = _elements(rng, sizes)
    yield Probe(name=f"relu_ {x}", run=torch.relu_, shapes=(x,))
    yield Probe(name=f"hardtanh {x}", run=functional.relu6, shapes=(x,))
    yield Probe(name=f"add {x}", run=torch.add, shapes=(x, x))
    yield Probe(name=f"add_ {x}", run=lambda x, y: x.add_(y), shapes=(x, x))
    yield Probe(
        name=f"threshold {x} backward",
        run=lambda dy, y: aten.threshold_backward(dy, y, 0),
        shapes=(x, x),
    )
    yield Probe(name=f"mul {x}", run=lambda x: x * 0.5, shapes=(x,))
    image = _image(rng, sizes)
    yield Probe(name=f"scale {image}", run=torch.mul, shapes=(image, (*image[:2], 1, 1)))


def _update(rng: Random, sizes: Sizes) -> Iterator[Probe]:
    """What optimizers do to a parameter, its gradient and its states: all of them come from memory."""
    x = _elements(rng, sizes)
    yield Probe(name=f"sgd {x}", run=lambda p, g: p.add_(g, alpha=-1e-3), shapes=(x, x), warm=0)
    yield Probe(name=f"lerp_ {x}", run=lambda m, g: m.lerp_(g, 0.1), shapes=(x, x), warm=0)
    yield Probe(
        name=f"addcmul_ {x}",
        run=lambda v, g: v.addcmul_(g, g, value=0.1),
        shapes=(x, x),
        warm=0,
    )
    yield Probe(
        name=f"addcdiv_ {x}",
        run=lambda p, m, v: p.addcdiv_(m, v, value=-1e-3),
        shapes=(x, x, x),
        warm=0,
    )


def _copy(rng: Random, sizes: Sizes) -> Iterator[Probe]:
    image, tokens = _image(rng, sizes), _tokens(rng, sizes)
    half = (image[0], image[1] // 2, *image[2:])
    yield Probe(name=f"clone {image}", run=torch.clone, shapes=(image,))
    yield Probe(
        name=f"concatenate {half}", run=lambda a, b: torch.cat((a, b), 1), shapes=(half, half),
        warm=2,
    )  # fmt: skip
    heads = (tokens[0], tokens[1], tokens[2] // 32, 32)
    yield Probe(
        name=f"heads {heads}", run=lambda x: x.transpose(1, 2).contiguous(), shapes=(heads,)
    )
    yield Probe(
        name=f"channels last {image}",
        run=lambda x: x.permute(0, 2, 3, 1).contiguous(),
        shapes=(image,),
    )


def _reduction(rng: Random, sizes: Sizes) -> Iterator[Probe]:
    image, tokens = _image(rng, sizes), _tokens(rng, sizes)
    rows = (tokens[0] * tokens[1], tokens[2])
    yield Probe(name=f"mean {image}", run=lambda x: x.mean((2, 3)), shapes=(image,))
    yield Probe(name=f"bias gradient {rows}", run=lambda dy: dy.sum(0), shapes=(rows,))


def _pooling(rng: Random, sizes: Sizes) -> Iterator[Probe]:
    x = _image(rng, sizes, 20_000)
    kernel, stride, padding = rng.choice(((2, 2, 0), (3, 2, 1), (3, 2, 1), (3, 1, 1)))
    out = (x[2] + 2 * padding - kernel) // stride + 1
    y = (*x[:2], out, out)

    def forward(x: Tensor) -> Tensor:
        return functional.max_pool2d(x, kernel, stride, padding)

    def average(x: Tensor) -> Tensor:
        return functional.avg_pool2d(x, kernel, stride, padding)

    def backward(dy: Tensor, x: Tensor, places: Tensor) -> object:
        window = ([kernel] * 2, [stride] * 2, [padding] * 2)
        return aten.max_pool2d_with_indices_backward(dy, x, *window, [1, 1], False, places)

    yield Probe(name=f"max pool {x}", run=forward, shapes=(x,))
    yield Probe(name=f"average pool {x}", run=average, shapes=(x,))
    yield Probe(
        name=f"max pool {x} backward", run=backward, shapes=(y, x, y), whole=((2, x[2] * x[3]),)
    )


def _gather(rng: Random, sizes: Sizes) -> Iterator[Probe]:
    rows, width = rng.choice((2_000, 8_000)), _spread(rng, 64, 700, 32)
    places = (rng.choice(sizes.batches), rng.choice((64, 128, 256)))

    def backward(dy: Tensor, places: Tensor) -> object:
        return aten.embedding_dense_backward(dy, places, rows, -1, False)

    yield Probe(
        name=f"embedding {places} of {rows}",
        run=functional.embedding,
        shapes=(places, (rows, width)),
        whole=((0, rows),),
    )
    yield Probe(
        name=f"embedding {places} of {rows} backward",
        run=backward,
        shapes=((*places, width), places),
        whole=((1, rows),),
    )


def _resampling(rng: Random, sizes: Sizes) -> Iterator[Probe]:
    x = _image(rng, sizes)
    x = (x[0], x[1], max(x[2] // 2, 4), max(x[3] // 2, 4))
    yield Probe(
        name=f"nearest {x}", run=lambda x: functional.interpolate(x, scale_factor=2), shapes=(x,)
    )
    yield Probe(
        name=f"bilinear {x}",
        run=lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear"),
        shapes=(x,),
    )


FAMILIES: dict[Callable[[Random, Sizes], Iterator[Probe]], int] = {
    _convolution_1x1: 100,
    _convolution: 90,
    _stem: 36,
    _depthwise: 100,
    _grouped: 44,
    _matmul: 60,
    _batched_matmul: 22,
    _attention: 40,
    _recurrent: 40,
    _batch_norm: 40,
    _layer_norm: 36,
    _softmax: 24,
    _activation: 60,
    _elementwise: 24,
    _update: 16,
    _copy: 24,
    _reduction: 24,
    _pooling: 24,
    _gather: 12,
    _resampling: 12,
}
"""How many sizes of each: more for those whose time depends on more than one of them."""
