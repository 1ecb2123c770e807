"""Resampling: images at other sizes and at other places, each output a weighted sum of a few inputs.

The weights depend on the place and not on the channel; they are worked out once a place, and that work is
left out where it is the same for all channels and samples (scaling), and counted where it is not (sampling
at given places).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import final

from ..dims import Shape, product
from ..program import Op
from .base import (
    Cost,
    Emit,
    Gradients,
    Operator,
    as_images,
    contraction,
    need,
    register,
)
from .kernel import Kernel
from .strides import Strides

TAPS: Mapping[str, int] = {"nearest": 1, "linear": 2, "bilinear": 4, "trilinear": 8, "bicubic": 16}
"""Inputs that one output is a weighted sum of: 2 an axis, 4 an axis for cubic."""


@final
class Upsample(Operator):
    """An image at another size, by interpolation.

    Shapes: x (B, c, *image) -> (B, c, *size)
    Attributes: `size`; `mode`: nearest, linear, bilinear, trilinear or bicubic.
    Counts: a sum of t products an output, t = 2, 4, 8 or 16; nearest copies.
    Time:   with channels first, CUDA has a thread a place of the image, which goes over all channels of all samples
            one after the other, unless it copies (`upsample_bilinear2d_out_frame` in UpSampleBilinear2d.cu).
    Backward: one operator: each gradient is added to the t inputs it came from.
    Source: Keys 1981 for cubic; by definition for linear.
    """

    kind = "upsample"
    family = "resampling"
    kernel_class = "resampling"

    def strides(self, op: Op, given: tuple[Strides, ...]) -> tuple[Strides, ...]:
        return as_images(op, given)

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        x, size = op.inputs[0].shape, op.integers("size")
        need(len(x) == len(size) + 2, f"an image {x} does not scale to {size}")
        return ((*x[:2], *size),)

    def arithmetic(self, op: Op) -> Cost:
        taps = _taps(op)
        if taps == 1:
            return Cost()
        outputs = op.outputs[0].elements
        return Cost(multiplications=outputs * taps, additions=outputs * (taps - 1))

    def kernel(self, op: Op) -> Kernel:
        batch, channels = op.outputs[0].shape[:2]
        return replace(super().kernel(op), waits=batch * channels if _taps(op) > 1 else 0)

    def backward(self, op: Op, grads: Gradients, wanted: tuple[bool, ...], emit: Emit) -> Gradients:
        (dy,) = grads
        assert dy is not None
        return emit("upsample_backward", dy, shape=op.inputs[0].shape, mode=op.attributes["mode"])


@final
class UpsampleBackward(Operator):
    """The gradient of an interpolation: each output's, weighted, on the inputs it came from.

    Shapes: dy (B, c, *size) -> the attribute `shape`
    Counts: t products an output, each added to zeros; nearest adds alone.
    """

    kind = "upsample_backward"
    family = "resampling"
    kernel_class = "resampling"
    kernel_part = "backward"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return (op.integers("shape"),)

    def arithmetic(self, op: Op) -> Cost:
        taps = _taps(op)
        outputs = op.inputs[0].elements
        return Cost(multiplications=outputs * taps if taps > 1 else 0, additions=outputs * taps)


def _taps(op: Op) -> int:
    mode = op.attributes["mode"]
    need(mode in TAPS, f"no interpolation is called {mode!r}; there are: {', '.join(TAPS)}")
    return TAPS[str(mode)]


@final
class SmoothUpsample(Operator):
    """An image at another size by interpolation that widens with the scale, so that nothing is skipped.

    Shapes: x (B, c, M, N) -> (B, c, *size), or backward the attribute `shape`
    Attributes: `size`; `mode`: bilinear or bicubic.
    Counts: rows first, then columns, t products an output of each: t is 2 (cubic 4) times the scale, rounded up,
            where the image shrinks. Backward is the same products the other way, each added.
    Source: Pillow's resize, which PyTorch's `antialias` follows; at the edges it takes a few taps less.
    """

    family = "resampling"
    kernel_class = "resampling"

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.aten = ()

    def strides(self, op: Op, given: tuple[Strides, ...]) -> tuple[Strides, ...]:
        return as_images(op, given)

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        if self.kind.endswith("backward"):
            return (op.integers("shape"),)
        return ((*op.inputs[0].shape[:2], *op.integers("size")),)

    def arithmetic(self, op: Op) -> Cost:
        x, y = op.inputs[0].shape, op.outputs[0].shape
        if self.kind.endswith("backward"):
            x, y = y, x
        taps = 2 if op.attributes["mode"] == "bilinear" else 4
        down, across = (max(-(-taps * a // b), taps) for a, b in zip(x[2:], y[2:], strict=True))
        rows = x[0] * x[1] * x[2] * y[3]  # every row at its new width
        outputs = x[0] * x[1] * y[2] * y[3]
        products = rows * across + outputs * down
        backward = self.kind.endswith("backward")
        return Cost(
            multiplications=products,
            additions=products if backward else products - rows - outputs,
        )

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        # A scale is no polynomial of the sizes: they stay numbers.
        return (op.inputs[0].shape,)


@final
class AffineGrid(Operator):
    """The places that an affine map sends the points of an image to.

    Shapes: maps (B, a, a + 1) of a axes -> (B, *image, a), the image as the attribute `image`
    Counts: a product of each point's a + 1 coordinates with the map's rows.
    Source: Jaderberg et al. 2015, equation 1.
    """

    kind = "affine_grid"
    family = "resampling"
    kernel_class = "resampling"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        maps, image = op.inputs[0].shape, op.integers("image")
        need(maps[1:] == (len(image), len(image) + 1), f"affine maps {maps} of an image {image}")
        return ((maps[0], *image, len(image)),)

    def arithmetic(self, op: Op) -> Cost:
        sums = op.outputs[0].elements
        return contraction(sums * op.inputs[0].shape[2], sums)

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        maps = op.inputs[0].shape
        return (("B", maps[1], maps[2]),)


@final
class GridSample(Operator):
    """An image read at given places, by interpolation.

    Shapes: x (B, c, *image), grid (B, *places, axes) -> (B, c, *places)
    Attributes: `mode`: nearest, bilinear (trilinear on volumes) or bicubic.
    Counts: a place: each coordinate scaled and shifted, its two (cubic: four) weights an addition each;
            the weights of the axes multiplied together; then a sum of t products for each channel.
    Backward: one operator.
    Source: Jaderberg et al. 2015, equations 3 and 5.
    """

    kind = "grid_sample"
    family = "resampling"
    kernel_class = "resampling"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        x, grid = op.inputs[0].shape, op.inputs[1].shape
        need(len(x) == len(grid), f"an image {x} sampled at a grid {grid}")
        return ((*x[:2], *grid[1:-1]),)

    def arithmetic(self, op: Op) -> Cost:
        return _sampling(op, product(op.outputs[0].shape), op.inputs[1].shape)

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        x, grid = op.inputs[0].shape, op.inputs[1].shape
        image, places = ("M", "N", "D")[: len(x) - 2], ("P", "Q", "R")[: len(x) - 2]
        return (("B", "c", *image), ("B", *places, grid[-1]))

    def backward(self, op: Op, grads: Gradients, wanted: tuple[bool, ...], emit: Emit) -> Gradients:
        (dy,) = grads
        assert dy is not None
        return emit("grid_sample_backward", dy, *op.inputs, mode=op.attributes["mode"])


@final
class GridSampleBackward(Operator):
    """The gradients of an image read at given places: of the image, and of the places.

    Shapes: dy (B, c, *places), x (B, c, *image), grid (B, *places, axes) -> as x, as grid
    Counts: the weights again; a channel and place: t products added to the image's gradient, and for each
            axis t products summed into the place's.
    """

    kind = "grid_sample_backward"
    family = "resampling"
    kernel_class = "resampling"
    kernel_part = "backward"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return tuple(tensor.shape for tensor in op.inputs[1:3])

    def arithmetic(self, op: Op) -> Cost:
        outputs, grid = op.inputs[0].elements, op.inputs[2].shape
        taps = _grid_taps(op, grid)
        once = _sampling(op, outputs, grid)
        return once + Cost(
            multiplications=outputs * taps * grid[-1], additions=outputs * (1 + taps * grid[-1])
        )

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        x, grid = op.inputs[1].shape, op.inputs[2].shape
        image, places = ("M", "N", "D")[: len(x) - 2], ("P", "Q", "R")[: len(x) - 2]
        return (("B", "c", *places), ("B", "c", *image), ("B", *places, grid[-1]))


def _grid_taps(op: Op, grid: Shape) -> int:
    an_axis = {"nearest": 1, "bilinear": 2, "bicubic": 4}
    mode = op.attributes["mode"]
    need(mode in an_axis, f"no sampling is called {mode!r}; there are: {', '.join(an_axis)}")
    return product([an_axis[str(mode)]] * grid[-1])


def _sampling(op: Op, outputs: int, grid: Shape) -> Cost:
    taps = _grid_taps(op, grid)
    places, axes = product(grid[:-1]), grid[-1]
    if taps == 1:
        return Cost(multiplications=places * axes, additions=places * axes)
    return Cost(
        multiplications=places * (axes + taps * (axes - 1)) + outputs * taps,
        additions=places * axes * 3 + outputs * (taps - 1),
    )


register(
    Upsample(), UpsampleBackward(), SmoothUpsample("smooth_upsample"), SmoothUpsample("smooth_upsample_backward"),
    AffineGrid(), GridSample(), GridSampleBackward(),
)  # fmt: skip
