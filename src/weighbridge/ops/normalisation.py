"""Normalisations: a mean and a variance over some of the elements, then scale and shift.

n elements a group, G groups. A mean is n - 1 additions and a division; a variance takes a subtraction,
a square and an addition an element; then each element is shifted and scaled, and with an affine layer
scaled and shifted again.
"""

from __future__ import annotations

from typing import final

from ..dims import Shape, product
from ..program import Op, Tensor
from ..workload import Backend
from .base import (
    Cost,
    Emit,
    Gradients,
    Operator,
    Policy,
    aligned_axes,
    all_in_order,
    need,
    not_in_order,
    register,
    row_bytes,
)
from .strides import Strides


def channel_axes(op: Op) -> tuple[tuple[str | int, ...], ...]:
    """Axis names where vectors run along the channels, the second axis of an image."""
    # Beside an image, what has two axes is a number for each group of channels.
    vectors = all(len(tensor.shape) <= 2 for tensor in op.inputs)
    return tuple(_channels_second(tensor.shape, vectors=vectors) for tensor in op.inputs)


def _channels_second(shape: Shape, *, vectors: bool) -> tuple[str | int, ...]:
    if len(shape) == 1:
        return ("c",)
    if len(shape) == 2:
        return ("B", "c" if vectors else shape[1])
    if len(shape) == 3:  # a signal: elsewhere three axes are a sequence (B, T, n)
        return ("B", "c", "M")
    return aligned_axes((shape,))[0]


@final
class BatchNorm(Operator):
    """Batch normalisation over every axis but the channels.

    Shapes: x (B, c, ...), optional weight (c) and bias (c), optional running mean and variance (c)
            -> y as x, and in training mean (c) and inverse deviation (c), float32.
    Attributes: `training` (batch statistics, not running ones), `affine`.
    Counts: inference folds the layer into one multiplication and one addition an element, after a few
            operations a channel. Training adds mean, variance and the update of the running ones.
    Backward: one operator, `batch_norm_backward`.
    Source: Ioffe and Szegedy 2015, Algorithms 1 and 2.
    """

    kind = "batch_norm"
    family = "normalisation"
    kernel_class = "batch norm"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        x = op.inputs[0].shape
        channels = (x[1],)
        for tensor in op.inputs[1:]:
            need(tensor.shape == channels, f"batch norm of {x[1]} channels with {tensor.shape}")
        return (x, channels, channels) if op.flag("training") else (x,)

    def dtypes(self, op: Op) -> tuple[str, ...]:
        x = op.inputs[0].dtype
        return (x, "float32", "float32") if op.flag("training") else (x,)

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        return channel_axes(op)

    def arithmetic(self, op: Op) -> Cost:
        x = op.inputs[0]
        n, c = x.elements, x.shape[1]
        affine = c if op.flag("affine") else 0
        # scale = weight / sqrt(var + eps), shift = bias - mean * scale; y = x * scale + shift
        fold = Cost(
            multiplications=n + c + affine, additions=n + 2 * c, transcendentals=c, divisions=c
        )
        if not op.flag("training"):
            return fold
        tracked = len(op.inputs) > (3 if op.flag("affine") else 1)
        running = Cost(multiplications=5 * c, additions=2 * c) if tracked else Cost()
        # mean: n - c additions, c divisions; variance: n subtractions, n squares, n - c additions
        statistics = Cost(multiplications=n, additions=3 * n - 2 * c, divisions=2 * c)
        return fold + statistics + running

    def row_bytes(self, op: Op) -> int:
        x = op.inputs[0]
        return row_bytes(x, rows=product(x.shape[:2])) if op.flag("training") else 0

    def backward(self, op: Op, grads: Gradients, wanted: tuple[bool, ...], emit: Emit) -> Gradients:
        dy = grads[0]
        assert dy is not None
        x = op.inputs[0]
        weight = op.inputs[1:2] if op.flag("affine") else ()
        training = op.flag("training")
        statistics = op.outputs[1:3] if training else op.inputs[-2:]
        made = emit(
            "batch_norm_backward",
            dy,
            x,
            *weight,
            *statistics,
            training=training,
            affine=bool(weight),
        )
        return (*made, *(None for _ in op.inputs[len(made) :]))


def _wanted(op: Op, *, weights: int) -> tuple[bool, bool, bool]:
    """Whether the gradients of input, weight and bias are asked for: all that there are, unless said."""
    given = op.integers("mask") if "mask" in op.attributes else (True,) * (1 + weights)
    of_input, of_weight, of_bias = (*map(bool, given), False, False)[:3]
    return of_input, of_weight, of_bias


@final
class BatchNormBackward(Operator):
    """The gradients of batch normalisation: of its input, its weight and its bias, as far as wanted.

    Shapes: dy, x (B, c, ...), optional weight (c), mean (c), deviation (c) -> dx as x, dweight, dbias.
    Attributes: `training`, `affine`; `mask`, three booleans: which of the gradients are wanted.
    Counts: with xhat = (x - mean) * inv: dbias = sum dy, dweight = sum dy * xhat, and in training
            dx = weight * inv * (dy - dbias/n - xhat * dweight/n), which takes both sums whether or not there
            are weights; in inference dx = dy * weight * inv, and inv = 1/sqrt(var + eps) is worked out again.
    Source: Ioffe and Szegedy 2015, section 3.
    """

    kind = "batch_norm_backward"
    family = "normalisation"
    kernel_class = "batch norm"
    kernel_part = "backward"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        x = op.inputs[1].shape
        wanted = _wanted(op, weights=2 * int(op.flag("affine")))
        return tuple(s for s, want in zip((x, (x[1],), (x[1],)), wanted, strict=True) if want)

    def dtypes(self, op: Op) -> tuple[str, ...]:
        weights = op.inputs[2].dtype if op.flag("affine") else op.inputs[0].dtype
        wanted = _wanted(op, weights=2 * int(op.flag("affine")))
        made = (op.inputs[0].dtype, weights, weights)
        return tuple(dtype for dtype, want in zip(made, wanted, strict=True) if want)

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        return channel_axes(op)

    def row_bytes(self, op: Op) -> int:
        x = op.inputs[1]
        return row_bytes(x, rows=product(x.shape[:2])) if op.flag("training") else 0

    def arithmetic(self, op: Op) -> Cost:
        x = op.inputs[1]
        n, c = x.elements, x.shape[1]
        of_input, of_weight, of_bias = _wanted(op, weights=2 * int(op.flag("affine")))
        through_sums = of_input and op.flag("training")
        cost = Cost()
        if of_weight or through_sums:  # xhat, times dy, summed
            cost += Cost(multiplications=2 * n, additions=2 * n - c)
        if of_bias or through_sums:
            cost += Cost(additions=n - c)
        if through_sums:
            cost += Cost(multiplications=2 * n + c, additions=2 * n, divisions=2 * c)
        elif of_input:
            cost += Cost(multiplications=n + c)
        if not op.flag("training") and (of_input or of_weight):
            cost += Cost(transcendentals=c, additions=c)
        return cost


@final
class LayerNorm(Operator):
    """Layer normalisation over the last axes.

    Shapes: x (..., *shape), optional weight (*shape) and bias (*shape) -> y as x, mean (...), inverse
            deviation (...), one a row.
    Counts: G rows of n: mean G(n-1) additions; variance 2 additions and a multiplication an element;
            one scale an element (the shift is the subtraction already made); affine one more of each.
    Backward: one operator, `layer_norm_backward`.
    Source: Ba, Kiros and Hinton 2016, equation 3.
    """

    kind = "layer_norm"
    family = "normalisation"
    kernel_class = "norm"

    def strides(self, op: Op, given: tuple[Strides, ...]) -> tuple[Strides, ...]:
        return all_in_order(op)

    def copied(self, op: Op, given: tuple[Strides, ...]) -> tuple[Tensor, ...]:
        return not_in_order(op, given, 0)

    def autocast(self, backend: Backend) -> Policy | None:
        return "float32" if backend == "cuda" else None

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        x = op.inputs[0].shape
        rank = op.integer("rank", 1)
        for tensor in op.inputs[1:]:
            need(tensor.shape == x[-rank:], f"layer norm of {x} with {tensor.shape}")
        rows = (*x[:-rank], *(1 for _ in range(rank)))
        return (x, rows, rows)

    def dtypes(self, op: Op) -> tuple[str, ...]:
        return (op.inputs[0].dtype, "float32", "float32")

    def arithmetic(self, op: Op) -> Cost:
        return grouped_norm(op, rows=op.outputs[1].elements, affine=len(op.inputs) - 1)

    def row_bytes(self, op: Op) -> int:
        return row_bytes(op.inputs[0], rows=op.outputs[1].elements)

    def backward(self, op: Op, grads: Gradients, wanted: tuple[bool, ...], emit: Emit) -> Gradients:
        dy = grads[0]
        assert dy is not None
        x = op.inputs[0]
        made = emit(
            "layer_norm_backward",
            dy,
            x,
            *op.outputs[1:3],
            *op.inputs[1:],
            rank=op.integer("rank", 1),
        )
        return tuple(g if w else None for g, w in zip(made, wanted, strict=True))


@final
class GroupNorm(Operator):
    """Group normalisation: layer normalisation over groups of channels.

    Shapes: x (B, c, ...), optional weight (c) and bias (c) -> y as x, mean (B, groups), inverse
            deviation (B, groups).
    Counts: as layer normalisation, with B * groups rows.
    Source: Wu and He 2018.
    """

    kind = "group_norm"
    family = "normalisation"
    kernel_class = "group norm"

    def strides(self, op: Op, given: tuple[Strides, ...]) -> tuple[Strides, ...]:
        return all_in_order(op)

    def copied(self, op: Op, given: tuple[Strides, ...]) -> tuple[Tensor, ...]:
        return not_in_order(op, given, 0)

    def autocast(self, backend: Backend) -> Policy | None:
        return "float32" if backend == "cuda" else None

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        x = op.inputs[0].shape
        rows = (x[0], op.integer("groups"))
        return (x, rows, rows)

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        return channel_axes(op)

    def arithmetic(self, op: Op) -> Cost:
        return grouped_norm(op, rows=op.outputs[1].elements, affine=len(op.inputs) - 1)

    def row_bytes(self, op: Op) -> int:
        return row_bytes(op.inputs[0], rows=op.outputs[1].elements)


@final
class NormBackward(Operator):
    """The gradients of layer or group normalisation: of the input, the weight and the bias, as far as wanted.

    Shapes: dy, x, mean, inverse deviation, optional weight and bias -> dx, dweight, dbias.
    Attributes: `mask`, three booleans: which of the gradients are wanted; unless said, the input's and those of
            the weight and the bias that are given. PyTorch's group norm does not read the bias.
    Counts: as batch normalisation in training, with the sums a row for dx and a column for the weights.
    """

    family = "normalisation"
    kernel_part = "backward"

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.kernel_class = "group norm" if kind == "group_norm_backward" else "norm"

    def strides(self, op: Op, given: tuple[Strides, ...]) -> tuple[Strides, ...]:
        return all_in_order(op)

    def copied(self, op: Op, given: tuple[Strides, ...]) -> tuple[Tensor, ...]:
        return not_in_order(op, given, 0, 1)

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        of_input, *of_weights = _wanted(op, weights=len(op.inputs) - 4)
        dx = (op.inputs[1].shape,) if of_input else ()
        return (*dx, *(op.inputs[4].shape for want in of_weights if want))

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        if self.kind == "group_norm_backward":
            return channel_axes(op)
        return aligned_axes(tuple(tensor.shape for tensor in op.inputs))

    def arithmetic(self, op: Op) -> Cost:
        n, rows = op.inputs[1].elements, op.inputs[2].elements
        of_input, of_weight, of_bias = _wanted(op, weights=len(op.inputs) - 4)
        cost = Cost()
        if n == 0:
            return cost
        if of_input or of_weight:  # xhat
            cost += Cost(multiplications=n, additions=n)
        if of_input:
            # g = dy * weight; sums of g and g * xhat a row; dx = inv * (g - m1 - xhat * m2)
            scaled = n if len(op.inputs) > 4 else 0
            cost += Cost(
                multiplications=3 * n + scaled, additions=4 * n - 2 * rows, divisions=2 * rows
            )
        if of_weight:  # sum dy * xhat
            cost += Cost(multiplications=n, additions=n - op.inputs[4].elements)
        if of_bias:  # sum dy
            cost += Cost(additions=n - op.inputs[4].elements)
        return cost

    def row_bytes(self, op: Op) -> int:
        return row_bytes(op.inputs[1], rows=op.inputs[2].elements)


def grouped_norm(op: Op, *, rows: int, affine: int) -> Cost:
    """The arithmetic of normalising `rows` rows that together are the first input."""
    n = op.inputs[0].elements
    statistics = Cost(
        multiplications=n,
        additions=3 * n - 2 * rows + rows,
        divisions=3 * rows,
        transcendentals=rows,
    )
    return statistics + Cost(
        multiplications=n * (2 if affine >= 1 else 1), additions=n if affine >= 2 else 0
    )


@final
class LocalResponseNorm(Operator):
    """Local response normalisation across `size` neighbouring channels.

    Shapes: x (B, c, M, N) -> y as x.
    Counts: an element takes a square, `size` - 1 additions, k + alpha * sum, a power and a division.
            Channels at the edge have fewer neighbours; they are counted as if they had all.
    Backward: one operator, `local_response_norm_backward`.
    Source: Krizhevsky, Sutskever and Hinton 2012, section 3.3.
    """

    kind = "local_response_norm"
    family = "normalisation"
    kernel_class = "norm"

    def autocast(self, backend: Backend) -> Policy | None:
        return "float32" if backend == "cuda" else None

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return (op.inputs[0].shape,)

    def arithmetic(self, op: Op) -> Cost:
        n = op.inputs[0].elements
        size = op.integer("size")
        return Cost(multiplications=2 * n, additions=size * n, divisions=n, transcendentals=n)

    def backward(self, op: Op, grads: Gradients, wanted: tuple[bool, ...], emit: Emit) -> Gradients:
        (dy,) = grads
        assert dy is not None
        return emit(
            "local_response_norm_backward", dy, op.inputs[0], op.outputs[0], size=op.integer("size")
        )


@final
class LocalResponseNormBackward(Operator):
    """The gradient of local response normalisation.

    Shapes: dy, x, y (B, c, M, N) -> dx as x.
    Counts: dx = dy * s^-beta - 2 alpha beta / size * x * sum over neighbours of dy * y / s, the
            sums s recomputed from x as in forward.
    """

    kind = "local_response_norm_backward"
    family = "normalisation"
    kernel_class = "norm"
    kernel_part = "backward"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return (op.inputs[1].shape,)

    def arithmetic(self, op: Op) -> Cost:
        n = op.inputs[1].elements
        size = op.integer("size")
        return Cost(multiplications=6 * n, additions=2 * size * n, divisions=n, transcendentals=n)


@final
class WeightNorm(Operator):
    """Weights as a direction and a length: every row of v scaled to the length g.

    Shapes: v (k, ...), g (k, 1, ...) -> w as v, and the lengths of v's rows as g, float32
    Counts: k rows, n numbers: n squares, n - k additions, k roots; k divisions g / |v|; n products.
    Backward: one operator.
    Source: Salimans and Kingma 2016, equation 2.
    """

    kind = "weight_norm"
    family = "normalisation"
    kernel_class = "norm"
    aten = ("_weight_norm_interface",)

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return (op.inputs[0].shape, op.inputs[1].shape)

    def arithmetic(self, op: Op) -> Cost:
        n, k = op.inputs[0].elements, op.inputs[1].elements
        return Cost(multiplications=2 * n, additions=n - k, divisions=k, transcendentals=k)

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        return tuple(tensor.shape for tensor in op.inputs)

    def backward(self, op: Op, grads: Gradients, wanted: tuple[bool, ...], emit: Emit) -> Gradients:
        dw = grads[0]
        assert dw is not None
        return emit("weight_norm_backward", dw, *op.inputs, op.outputs[1])


@final
class WeightNormBackward(Operator):
    """The gradients of a weight's direction and length.

    Shapes: dw, v (k, ...), g, lengths (k, 1, ...) -> dv as v, dg as g
    Counts: dg = (sum dw * v) / |v|, dv = g/|v| * (dw - dg/|v| * v): k rows, n numbers: three products each, a sum
            over each row, a subtraction; three divisions a row.
    Source: Salimans and Kingma 2016, equation 3.
    """

    kind = "weight_norm_backward"
    family = "normalisation"
    kernel_class = "norm"
    kernel_part = "backward"
    aten = ("_weight_norm_interface_backward",)

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return (op.inputs[1].shape, op.inputs[2].shape)

    def arithmetic(self, op: Op) -> Cost:
        n, k = op.inputs[1].elements, op.inputs[2].elements
        return Cost(multiplications=3 * n, additions=2 * n - k, divisions=3 * k)

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        return tuple(tensor.shape for tensor in op.inputs)


register(
    WeightNorm(), WeightNormBackward(), BatchNorm(), BatchNormBackward(), LayerNorm(), NormBackward("layer_norm_backward"),
    GroupNorm(), NormBackward("group_norm_backward"), LocalResponseNorm(), LocalResponseNormBackward(),
)  # fmt: skip
