"""Reductions: sums, means and extrema over axes; softmax."""

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
    all_in_order,
    as_images,
    need,
    not_in_order,
    register,
    row_bytes,
)
from .movement import reshaped
from .strides import Strides


@final
class Reduce(Operator):
    """A sum, mean, extremum or deviation over some axes.

    Shapes: x -> x without the attribute `axes`, or with size 1 there where `keep` is set; no `axes`:
            all of them.
    Counts: n elements to m results: n - m additions or comparisons; a mean divides each result; a
            variance adds a subtraction and a square an element; the logarithm of summed exponentials
            subtracts the largest first, as softmax does, and adds it again.
    Backward: of a sum or a mean, the gradient expanded; a mean divides it first.
    """

    family = "reduction"
    kernel_class = "reduction"

    def __init__(self, kind: str, *, aten: tuple[str, ...] = ()) -> None:
        self.kind = kind
        self.aten = aten or (kind,)

    def strides(self, op: Op, given: tuple[Strides, ...]) -> tuple[Strides, ...]:
        return as_images(op, given)

    def autocast(self, backend: Backend) -> Policy | None:
        return "float32" if backend == "cuda" and self.kind in ("sum", "product", "norm") else None

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        x = op.inputs[0].shape
        axes = op.integers("axes") if "axes" in op.attributes else tuple(range(len(x)))
        if op.flag("keep"):
            return (tuple(1 if axis in axes else size for axis, size in enumerate(x)),)
        return (tuple(size for axis, size in enumerate(x) if axis not in axes),)

    def arithmetic(self, op: Op) -> Cost:
        n, m = op.inputs[0].elements, op.outputs[0].elements
        if n == 0:
            return Cost()
        if self.kind == "extreme":
            return Cost(comparisons=n - m)
        if self.kind == "mean":
            return Cost(additions=n - m, divisions=m)
        if self.kind == "variance":
            return Cost(multiplications=n, additions=3 * n - 2 * m, divisions=2 * m)
        if self.kind == "product":
            return Cost(multiplications=n - m)
        if self.kind == "logsumexp":
            return Cost(comparisons=n - m, additions=2 * n, transcendentals=n + m)
        if self.kind == "norm":
            return Cost(multiplications=n, additions=n - m, transcendentals=m)
        return Cost(additions=n - m)

    def backward(self, op: Op, grads: Gradients, wanted: tuple[bool, ...], emit: Emit) -> Gradients:
        (dy,) = grads
        assert dy is not None
        need(self.kind in ("sum", "mean"), f"operator {self.kind!r} has no backward rule")
        x = op.inputs[0].shape
        axes = op.integers("axes") if "axes" in op.attributes else tuple(range(len(x)))
        kept = tuple(1 if axis in axes else size for axis, size in enumerate(x))
        (dx,) = emit("expand", reshaped(dy, kept, emit), shape=x)
        return (dx,) if self.kind == "sum" else emit("div", dx)


@final
class Scan(Operator):
    """Every partial sum, product or extremum along one axis.

    Shapes: x -> as x; the attribute `axis`.
    Counts: rows of n: n - 1 additions, multiplications or comparisons; of logarithms of summed exponentials
            a step takes a comparison, two additions, an exponential and a logarithm.
    """

    family = "reduction"

    def __init__(self, kind: str, *, aten: tuple[str, ...]) -> None:
        self.kind = kind
        self.aten = aten

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return tuple(op.inputs[0].shape for _ in range(2 if self.kind == "running_extreme" else 1))

    def arithmetic(self, op: Op) -> Cost:
        x = op.inputs[0]
        steps = x.elements - _rows(x.shape, op.integer("axis", -1))
        if self.kind == "running_sum":
            return Cost(additions=steps)
        if self.kind == "running_product":
            return Cost(multiplications=steps)
        if self.kind == "running_logsumexp":
            return Cost(comparisons=steps, additions=2 * steps, transcendentals=2 * steps)
        return Cost(comparisons=steps)


@final
class Softmax(Operator):
    """exp(x - max) / sum of exp(x - max) along one axis; or its logarithm.

    Shapes: x -> as x; the attribute `axis`; `dtype` where the caller asks for x's own.
    Counts: rows of n: n - 1 comparisons, n subtractions, n exponentials, n - 1 additions, n divisions;
            the logarithm takes one log a row and a subtraction an element instead of the divisions.
    Backward: one operator, from the output.
    """

    family = "reduction"
    kernel_class = "softmax"

    def __init__(self, kind: str, *, aten: tuple[str, ...]) -> None:
        self.kind = kind
        self.aten = aten

    def strides(self, op: Op, given: tuple[Strides, ...]) -> tuple[Strides, ...]:
        return all_in_order(op)

    def copied(self, op: Op, given: tuple[Strides, ...]) -> tuple[Tensor, ...]:
        return not_in_order(op, given, 0)

    def autocast(self, backend: Backend) -> Policy | None:
        return "float32" if backend == "cuda" or self.kind == "log_softmax" else None

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return (op.inputs[0].shape,)

    def arithmetic(self, op: Op) -> Cost:
        x = op.inputs[0]
        n = x.elements
        rows = _rows(x.shape, op.integer("axis", -1))
        shared = Cost(comparisons=n - rows, additions=2 * n - rows, transcendentals=n)
        if self.kind == "softmax":
            return shared + Cost(divisions=n)
        return shared + Cost(additions=n, transcendentals=rows)

    def row_bytes(self, op: Op) -> int:
        x = op.inputs[0]
        return row_bytes(x, rows=_rows(x.shape, op.integer("axis", -1)))

    def backward(self, op: Op, grads: Gradients, wanted: tuple[bool, ...], emit: Emit) -> Gradients:
        (dy,) = grads
        assert dy is not None
        return emit(f"{self.kind}_backward", dy, op.outputs[0], axis=op.integer("axis", -1))


@final
class SoftmaxBackward(Operator):
    """The gradient of softmax or of its logarithm.

    Shapes: dy, y -> dx as y; the attribute `axis`.
    Counts: softmax: y * (dy - sum of dy * y). Logarithm: dy - exp(y) * sum of dy.
    """

    family = "reduction"
    kernel_class = "softmax"
    kernel_part = "backward"

    def __init__(self, kind: str, *, aten: tuple[str, ...]) -> None:
        self.kind = kind
        self.aten = aten

    def strides(self, op: Op, given: tuple[Strides, ...]) -> tuple[Strides, ...]:
        return all_in_order(op)

    def copied(self, op: Op, given: tuple[Strides, ...]) -> tuple[Tensor, ...]:
        return not_in_order(op, given, 0, 1)

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return (op.inputs[1].shape,)

    def arithmetic(self, op: Op) -> Cost:
        y = op.inputs[1]
        n = y.elements
        rows = _rows(y.shape, op.integer("axis", -1))
        if self.kind == "softmax_backward":
            return Cost(multiplications=2 * n, additions=2 * n - rows)
        return Cost(multiplications=n, additions=2 * n - rows, transcendentals=n)

    def row_bytes(self, op: Op) -> int:
        y = op.inputs[1]
        return row_bytes(y, rows=_rows(y.shape, op.integer("axis", -1)))


def _rows(shape: Shape, axis: int) -> int:
    length = shape[axis] if shape else 1
    return product(shape) // length if length else 0


register(
    Reduce("sum", aten=("sum", "nansum", "count_nonzero", "trace", "bincount")),
    Reduce("mean"),
    Reduce("extreme", aten=("amax", "amin", "max", "min", "argmax", "argmin", "any", "all", "aminmax")),
    Reduce("variance", aten=("var", "std", "var_mean", "std_mean")),
    Reduce("product", aten=("prod",)),
    Reduce("logsumexp"),
    Reduce("norm", aten=("linalg_vector_norm", "norm", "_foreach_norm")),
    Scan("running_sum", aten=("cumsum",)),
    Scan("running_product", aten=("cumprod",)),
    Scan("running_logsumexp", aten=("logcumsumexp",)),
    Scan("running_extreme", aten=("cummax", "cummin")),
    Softmax("softmax", aten=("_softmax", "_safe_softmax")),
    SoftmaxBackward("softmax_backward", aten=("_softmax_backward_data",)),
    Softmax("log_softmax", aten=("_log_softmax",)),
    SoftmaxBackward("log_softmax_backward", aten=("_log_softmax_backward_data",)),
)  # fmt: skip
