"""Embeddings: rows of a table picked by index; and dropout, the other layer without arithmetic to speak of."""

from __future__ import annotations

from typing import final

from ..dims import Shape
from ..program import Op
from .base import Cost, Emit, Gradients, Operator, register


@final
class Embedding(Operator):
    """Rows of a table, picked by index.

    Shapes: table (V, E), indices (...) integers -> (..., E)
    Counts: no arithmetic; reads the picked rows and the indices, writes the rows.
    Backward: one operator, `embedding_backward`, which reads the indices.
    """

    kind = "embedding"
    family = "embedding"
    kernel_class = "gather"
    aten = ("embedding",)

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return ((*op.inputs[1].shape, op.inputs[0].shape[1]),)

    def arithmetic(self, op: Op) -> Cost:
        return Cost()

    def traffic(self, op: Op) -> tuple[int, int]:
        rows = op.outputs[0].bytes
        return rows + op.inputs[1].bytes, rows

    def backward(self, op: Op, grads: Gradients, wanted: tuple[bool, ...], emit: Emit) -> Gradients:
        (dy,) = grads
        assert dy is not None
        table, indices = op.inputs
        return (*emit("embedding_backward", dy, indices, rows=table.shape[0]), None)


@final
class EmbeddingBackward(Operator):
    """The gradient of a table: zeros, with every row's gradient added where it was picked.

    Shapes: dy (..., E), indices (...) -> (V, E); the attribute `rows` is V.
    Counts: one addition an element of dy; writes the whole table.
    Limits: a dense gradient; `sparse=True` tables are not modelled.
    """

    kind = "embedding_backward"
    family = "embedding"
    kernel_class = "gather"
    kernel_part = "backward"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return ((op.integer("rows"), op.inputs[0].shape[-1]),)

    def arithmetic(self, op: Op) -> Cost:
        return Cost(additions=op.inputs[0].elements)


@final
class Dropout(Operator):
    """Zeroes elements at random and scales the rest, in training.

    Shapes: x -> y as x, and the mask, one byte an element.
    Counts: a comparison of the random number and a multiplication with the scaled mask an element;
            drawing random numbers is not counted.
    Backward: one multiplication an element with the mask.
    Source: Srivastava et al. 2014, scaled in training ('inverted').
    """

    kind = "dropout"
    family = "elementwise"
    kernel_class = "elementwise"
    aten = ("native_dropout",)

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return (op.inputs[0].shape, op.inputs[0].shape)

    def dtypes(self, op: Op) -> tuple[str, ...]:
        return (op.inputs[0].dtype, "bool")

    def arithmetic(self, op: Op) -> Cost:
        n = op.inputs[0].elements
        return Cost(multiplications=n, comparisons=n)

    def backward(self, op: Op, grads: Gradients, wanted: tuple[bool, ...], emit: Emit) -> Gradients:
        dy = grads[0]
        assert dy is not None
        return emit("mul", dy, op.outputs[1])


register(Embedding(), EmbeddingBackward(), Dropout())
