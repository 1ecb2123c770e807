"""Pooling: the maximum or the mean of each window."""

from __future__ import annotations

from math import gcd
from typing import final

from ..dims import Shape, product
from ..program import Op
from .base import (
    Cost,
    Emit,
    Gradients,
    Operator,
    aligned_axes,
    as_images,
    need,
    register,
)
from .strides import Strides


def pooled(op: Op) -> Shape:
    """The output's shape of a window that slides over the image.

    With `ceil_mode` the last window may hang over the edge by less than a stride, and even the first
    one may, but each must start inside image or padding.
    """
    x = op.inputs[0].shape
    window = op.integers("window")
    dilation = op.integers("dilation") if "dilation" in op.attributes else (1,) * len(window)
    reaches = tuple(spread * (side - 1) + 1 for side, spread in zip(window, dilation, strict=True))
    sizes = []
    for size, kernel, stride, pad in zip(
        x[len(x) - len(window) :],
        reaches,
        op.integers("stride"),
        op.integers("padding"),
        strict=True,
    ):
        hang = stride - 1 if op.flag("ceil_mode") else 0
        need(
            not isinstance(size, int) or size + 2 * pad + hang >= kernel,
            f"a pooling window {kernel} wide on an input {x}",
        )
        places = (size + 2 * pad + hang - kernel) // stride + 1
        if hang and isinstance(size, int) and (places - 1) * stride >= size + pad:
            places -= 1
        sizes.append(places)
    return (*x[: len(x) - len(window)], *sizes)


@final
class MaxPool(Operator):
    """The maximum of each window, and where it was.

    Shapes: x (B, c, *image) -> (B, c, *output), and int64 indices of the same shape.
    Attributes: `window`, `stride`, `padding` and optionally `dilation` (one number an axis), `ceil_mode`.
    Counts: window - 1 comparisons an output.
    Backward: one operator, `max_pool_backward`, which reads the indices.
    """

    kind = "max_pool"
    family = "pooling"
    kernel_class = "pooling"

    def strides(self, op: Op, given: tuple[Strides, ...]) -> tuple[Strides, ...]:
        return as_images(op, given)

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        shape = pooled(op)
        return (shape, shape)

    def dtypes(self, op: Op) -> tuple[str, ...]:
        return (op.inputs[0].dtype, "int64")

    def arithmetic(self, op: Op) -> Cost:
        return Cost(comparisons=op.outputs[0].elements * (product(op.integers("window")) - 1))

    def backward(self, op: Op, grads: Gradients, wanted: tuple[bool, ...], emit: Emit) -> Gradients:
        dy = grads[0]
        assert dy is not None
        return emit("max_pool_backward", dy, op.inputs[0], op.outputs[1])


@final
class AveragePool(Operator):
    """The mean of each window.

    Shapes: x (B, c, *image) -> (B, c, *output).
    Attributes: `window`, `stride`, `padding` (one number an axis), `ceil_mode`.
    Counts: window - 1 additions and a division an output.
    Backward: one operator, `average_pool_backward`.
    """

    kind = "average_pool"
    family = "pooling"
    kernel_class = "pooling"

    def strides(self, op: Op, given: tuple[Strides, ...]) -> tuple[Strides, ...]:
        return as_images(op, given)

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return (pooled(op),)

    def arithmetic(self, op: Op) -> Cost:
        outputs = op.outputs[0].elements
        return Cost(additions=outputs * (product(op.integers("window")) - 1), divisions=outputs)

    def backward(self, op: Op, grads: Gradients, wanted: tuple[bool, ...], emit: Emit) -> Gradients:
        (dy,) = grads
        assert dy is not None
        return emit("average_pool_backward", dy, op.inputs[0], window=op.attributes["window"])


@final
class AdaptiveAveragePool(Operator):
    """The mean of each of so many windows that cover the image evenly.

    Shapes: x (B, c, *image) -> (B, c, *size); windows may overlap by one where the sizes do not divide.
    Counts: window - 1 additions and a division an output; window i of s over M reaches from
            floor(i*M/s) to ceil((i+1)*M/s).
    Backward: one operator, `adaptive_average_pool_backward`, which reads the input for its shape. One window is
            a mean of everything: its gradient, spread over the image and divided, needs nothing of the input.
    """

    kind = "adaptive_average_pool"
    family = "pooling"
    kernel_class = "pooling"
    aten = (
        "_adaptive_avg_pool2d",
        "_adaptive_avg_pool3d",
        "adaptive_avg_pool1d",
        "adaptive_avg_pool2d",
    )

    def strides(self, op: Op, given: tuple[Strides, ...]) -> tuple[Strides, ...]:
        return as_images(op, given)

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        x = op.inputs[0].shape
        size = op.integers("size")
        return ((*x[: len(x) - len(size)], *size),)

    def arithmetic(self, op: Op) -> Cost:
        x, y = op.inputs[0].shape, op.outputs[0].shape
        outputs = product(y)
        return Cost(additions=covered(x, y) - outputs, divisions=outputs)

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        (names,) = super().axes(op)
        return (evenly_covered(names, op.inputs[0].shape, op.outputs[0].shape),)

    def backward(self, op: Op, grads: Gradients, wanted: tuple[bool, ...], emit: Emit) -> Gradients:
        (dy,) = grads
        assert dy is not None
        if all(size == 1 for size in op.integers("size")):
            return emit("div", *emit("expand", dy, shape=op.inputs[0].shape))
        return emit("adaptive_average_pool_backward", dy, op.inputs[0])


@final
class AdaptiveMaxPool(Operator):
    """The maximum of each of so many windows that cover the image evenly, and where it was.

    Shapes: x (B, c, *image) -> (B, c, *size), and int64 indices of the same shape
    Counts: window - 1 comparisons an output; the windows are those of adaptive average pooling.
    Backward: one operator, `max_pool_backward`, which reads the indices.
    """

    kind = "adaptive_max_pool"
    family = "pooling"
    kernel_class = "pooling"

    def strides(self, op: Op, given: tuple[Strides, ...]) -> tuple[Strides, ...]:
        return as_images(op, given)

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        x, size = op.inputs[0].shape, op.integers("size")
        return ((*x[: len(x) - len(size)], *size),) * 2

    def dtypes(self, op: Op) -> tuple[str, ...]:
        return (op.inputs[0].dtype, "int64")

    def arithmetic(self, op: Op) -> Cost:
        x, y = op.inputs[0].shape, op.outputs[0].shape
        return Cost(comparisons=covered(x, y) - product(y))

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        (names,) = super().axes(op)
        return (evenly_covered(names, op.inputs[0].shape, op.outputs[0].shape),)

    def backward(self, op: Op, grads: Gradients, wanted: tuple[bool, ...], emit: Emit) -> Gradients:
        dy = grads[0]
        assert dy is not None
        return emit("max_pool_backward", dy, op.inputs[0], op.outputs[1])


@final
class FractionalMaxPool(Operator):
    """The maximum of each of so many windows, placed at random.

    Shapes: x (..., *image) -> (..., *size), and int64 indices of the same shape
    Attributes: `window`, `size`.
    Counts: window - 1 comparisons an output.
    Source: Graham 2014.
    """

    kind = "fractional_max_pool"
    family = "pooling"
    kernel_class = "pooling"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        x, size = op.inputs[0].shape, op.integers("size")
        return ((*x[: len(x) - len(size)], *size),) * 2

    def dtypes(self, op: Op) -> tuple[str, ...]:
        return (op.inputs[0].dtype, "int64")

    def arithmetic(self, op: Op) -> Cost:
        return Cost(comparisons=op.outputs[0].elements * (product(op.integers("window")) - 1))

    def backward(self, op: Op, grads: Gradients, wanted: tuple[bool, ...], emit: Emit) -> Gradients:
        dy = grads[0]
        assert dy is not None
        return (*emit("max_pool_backward", dy, op.inputs[0], op.outputs[1]), None)


def covered(x: Shape, y: Shape) -> int:
    """Elements of all adaptive windows from x (..., *image) to y (..., *size), overlaps twice."""
    # An axis along which nothing is pooled has as many places as it is long.
    return product(covered_by_windows(size, places) for size, places in zip(x, y, strict=True))


def evenly_covered(names: tuple[str | int, ...], x: Shape, y: Shape) -> tuple[str | int, ...]:
    """The names, with the size itself on axes that the windows do not divide evenly.

    How far such windows overlap has no formula in the size.
    """
    return tuple(m if m % n else name for name, m, n in zip(names, x, y, strict=True))


def covered_by_windows(size: int, places: int) -> int:
    """The lengths of the adaptive windows on one axis, added up; `size` where they divide evenly.

    6 in 4 places: [0,2) [1,3) [3,5) [4,6) = 8. Neighbours overlap by one where the border i*6/4
    between them is not whole; of the 4 - 1 borders gcd(6, 4) - 1 are: 6 + (4 - 1) - (2 - 1) = 8.
    """
    if places == 1 or not isinstance(size, int):
        return size
    return size + places - gcd(size, places)


@final
class PoolBackward(Operator):
    """The gradient of a pooling.

    Shapes: dy, x, and for maxima the indices -> dx as x.
    Counts: maxima: one addition an output, into zeros. Means: a division an output, and as many
            additions as the windows have elements.
    """

    family = "pooling"
    kernel_class = "pooling"
    kernel_part = "backward"

    def __init__(self, kind: str, *, aten: tuple[str, ...] = ()) -> None:
        self.kind = kind
        self.aten = aten

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return (op.inputs[1].shape,)

    def arithmetic(self, op: Op) -> Cost:
        dy, x = op.inputs[:2]
        if self.kind == "max_pool_backward":
            return Cost(additions=dy.elements)
        if self.kind == "average_pool_backward":
            return Cost(
                additions=dy.elements * product(op.integers("window")), divisions=dy.elements
            )
        return Cost(additions=covered(x.shape, dy.shape), divisions=dy.elements)

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        if self.kind != "adaptive_average_pool_backward":
            return super().axes(op)
        dy, x = (tensor.shape for tensor in op.inputs)
        (names,) = aligned_axes((x,))
        names = evenly_covered(names, x, dy)
        shares = tuple(name if m == n else n for name, m, n in zip(names, x, dy, strict=True))
        return (shares, names)


register(
    MaxPool(), AveragePool(), AdaptiveAveragePool(), AdaptiveMaxPool(), FractionalMaxPool(), PoolBackward("max_pool_backward"),
    PoolBackward("average_pool_backward"),
    PoolBackward(
        "adaptive_average_pool_backward",
        aten=("_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward"),
    ),
)  # fmt: skip
