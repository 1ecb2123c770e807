"""Indexing: writing to chosen places, and finding the places to choose.

Comparison counts are those of the textbook algorithm, in the worst case and rounded up: how a library sorts
is its own affair.
"""

from __future__ import annotations

from typing import final

from ..dims import Shape
from ..program import Op
from .base import Cost, Operator, elements, need, register


@final
class Scatter(Operator):
    """Values written to chosen places of a tensor, or added to what is there.

    Shapes: target, indices..., values -> as target
    Attributes: `adds`: values are added, not written.
    Counts: one addition a value where they are added. Reads the indices and the values (and the target
            there, where they are added), writes as much as the values; out of place the target is copied.
    """

    kind = "scatter"
    family = "indexing"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return (op.inputs[0].shape,)

    def arithmetic(self, op: Op) -> Cost:
        return Cost(additions=op.inputs[-1].elements if op.flag("adds") else 0)

    def traffic(self, op: Op) -> tuple[int, int]:
        target, *rest = op.inputs
        values = rest[-1].bytes if rest else 0
        read = sum(tensor.bytes for tensor in rest) + (values if op.flag("adds") else 0)
        if op.outputs and op.outputs[0].storage != target.storage:
            return read + target.bytes, values + target.bytes
        return read, values


def doublings(size: int) -> int:
    """The smallest n with 2^n >= size: 5 -> 3."""
    return max(size - 1, 0).bit_length()


@final
class Sort(Operator):
    """Rows in order, and where each value came from; or only the largest few of each row.

    Shapes: x -> as x along `axis`, or `k` there, and int64 indices of the same shape
    Attributes: `axis`; `k` for the largest k.
    Counts: rows of n: n * ceil(log2 n) comparisons by merging; the largest k by a heap of k,
            n * ceil(log2 (k + 1)).
    Source: Knuth, The Art of Computer Programming, volume 3, 5.2.4 and 5.2.3.
    """

    kind = "sort"
    family = "indexing"
    results = 2

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        x, axis = op.inputs[0].shape, op.integer("axis", -1)
        if "k" not in op.attributes or not x:
            return (x, x)
        axis %= len(x)
        k = op.integer("k")
        need(k <= x[axis], f"the largest {k} of rows of {x[axis]}")
        return ((*x[:axis], k, *x[axis + 1 :]),) * 2

    def dtypes(self, op: Op) -> tuple[str, ...]:
        return (op.inputs[0].dtype, "int64")

    def arithmetic(self, op: Op) -> Cost:
        x = op.inputs[0].shape
        length = x[op.integer("axis", -1)] if x else 1
        steps = doublings(op.integer("k") + 1 if "k" in op.attributes else length)
        return Cost(comparisons=elements(x) * steps)

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        # How often a row doubles is no polynomial of its length: sizes stay numbers.
        return (op.inputs[0].shape,)


@final
class Search(Operator):
    """The place of each value in a sorted row, by halving.

    Shapes: sorted (..., n), values (...) -> as values, int64
    Counts: ceil(log2 (n + 1)) comparisons a value.
    """

    kind = "search"
    family = "indexing"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return (op.inputs[1].shape,)

    def dtypes(self, op: Op) -> tuple[str, ...]:
        return ("int64",)

    def arithmetic(self, op: Op) -> Cost:
        row = op.inputs[0].shape
        return Cost(comparisons=op.inputs[1].elements * doublings((row[-1] if row else 1) + 1))

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        return (op.inputs[0].shape, op.inputs[1].shape)


@final
class EmbeddingBag(Operator):
    """Rows of a table picked by index and summed, or averaged, bag by bag.

    Shapes: table (V, E), indices (n), offsets (bags) -> (bags, E), and what backward needs of the bags
    Counts: a row of E additions for every index but the first of its bag; a mean divides each sum.
    Attributes: `mean`.
    """

    kind = "embedding_bag"
    family = "embedding"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        table, indices, offsets = (tensor.shape for tensor in op.inputs[:3])
        return ((offsets[0], table[1]), indices, offsets, offsets)

    def dtypes(self, op: Op) -> tuple[str, ...]:
        return (op.inputs[0].dtype, *(op.inputs[1].dtype,) * 3)

    def arithmetic(self, op: Op) -> Cost:
        table, indices, offsets = (tensor.shape for tensor in op.inputs[:3])
        sums = offsets[0] * table[1]
        return Cost(
            additions=(indices[0] - offsets[0]) * table[1],
            divisions=sums if op.flag("mean") else 0,
        )

    def traffic(self, op: Op) -> tuple[int, int]:
        table, indices, offsets = op.inputs[:3]
        row = table.bytes // max(table.shape[0], 1)
        return (
            indices.elements * row + indices.bytes + offsets.bytes,
            sum(tensor.bytes for tensor in op.outputs),
        )

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        return (("V", "E"), ("n",), ("b",))[: len(op.inputs)]


register(Scatter(), Sort(), Search(), EmbeddingBag())
