"""Indexing: writing to chosen places, and finding the places to choose.

Comparison counts are those of the textbook algorithm, in the worst case and rounded up: how a library sorts
is its own affair.
"""

from __future__ import annotations

from typing import final

from ..dims import Shape, bytes_of, product
from ..program import Op
from .base import Cost, Operator, contraction, need, register


@final
class Scatter(Operator):
    """Values written to chosen places of a tensor, or added to what is there.

    Shapes: target, indices..., values -> as target
    Attributes: `adds`: values are added, not written; `multiplies`: they are multiplied; `compares`: the larger or
            the smaller stays; `written`: how many values there are, where all are one number and no operand.
    Counts: one addition, multiplication or comparison a value where they are combined with what is there. Reads the indices and the values (and the target
            there, where they are added), writes as much as the values; out of place the target is copied.
    """

    kind = "scatter"
    family = "indexing"
    kernel_class = "gather"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return (op.inputs[0].shape,)

    def arithmetic(self, op: Op) -> Cost:
        values = op.integer("written") if "written" in op.attributes else op.inputs[-1].elements
        return Cost(
            additions=values if op.flag("adds") else 0,
            comparisons=values if op.flag("compares") else 0,
            multiplications=values if op.flag("multiplies") else 0,
        )

    def traffic(self, op: Op) -> tuple[int, int]:
        target, *rest = op.inputs
        values = rest[-1].bytes if rest else 0
        if "written" in op.attributes:
            values = bytes_of(op.integer("written"), target.dtype)
        combines = op.flag("adds") or op.flag("compares") or op.flag("multiplies")
        read = sum(tensor.bytes for tensor in rest) + (values if combines else 0)
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
    Attributes: `axis`; `k` for the largest k; `flat`: all numbers are one row.
    Counts: the median, the most frequent and the distinct values of a row are found by putting it in order;
            rows of n: n * ceil(log2 n) comparisons by merging; the largest k by a heap of k,
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
        if op.flag("flat"):
            length = product(x)
        steps = doublings(op.integer("k") + 1 if "k" in op.attributes else length)
        return Cost(comparisons=product(x) * steps)

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
    kernel_class = "gather"

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
class Histogram(Operator):
    """How many numbers fall into each of equal bins.

    Shapes: x -> the attribute `bins`
    Counts: a number: two comparisons with the ends, a subtraction and a multiplication for its bin, and an
            addition to that.
    """

    kind = "histogram"
    family = "indexing"
    kernel_class = "gather"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return ((op.integer("bins"),),)

    def arithmetic(self, op: Op) -> Cost:
        n = op.inputs[0].elements
        return Cost(comparisons=2 * n, multiplications=n, additions=2 * n)


@final
class Fold(Operator):
    """Values added to the places of zeros that they were taken from: the gradient of windows and of padding.

    Shapes: x -> the attribute `shape`
    Counts: one addition a value; reads the values, writes the whole.
    """

    kind = "fold"
    family = "indexing"
    kernel_class = "gather"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return (op.integers("shape"),)

    def arithmetic(self, op: Op) -> Cost:
        return Cost(additions=op.inputs[0].elements)


@final
class EmbeddingBag(Operator):
    """Rows of a table picked by index and summed, or averaged, bag by bag.

    Shapes: table (V, E), indices (n), offsets (bags), optional weights (n) -> (bags, E), and what backward
            needs of the bags
    Counts: a row of E additions (comparisons for the largest) for every index but the first of its bag; a mean
            divides each sum; weights multiply each row.
    Attributes: `mean`, `largest`; `ends`: the offsets have one more, where the last bag ends.
    """

    kind = "embedding_bag"
    family = "embedding"
    kernel_class = "gather"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        table, indices, offsets = (tensor.shape for tensor in op.inputs[:3])
        return ((offsets[0] - int(op.flag("ends")), table[1]), indices, offsets, offsets)

    def dtypes(self, op: Op) -> tuple[str, ...]:
        return (op.inputs[0].dtype, *(op.inputs[1].dtype,) * 3)

    def arithmetic(self, op: Op) -> Cost:
        table, indices, offsets = (tensor.shape for tensor in op.inputs[:3])
        bags = offsets[0] - int(op.flag("ends"))
        joined = (indices[0] - bags) * table[1]
        return Cost(
            additions=0 if op.flag("largest") else joined,
            comparisons=joined if op.flag("largest") else 0,
            divisions=bags * table[1] if op.flag("mean") else 0,
            multiplications=indices[0] * table[1] if len(op.inputs) == 4 else 0,
        )

    def traffic(self, op: Op) -> tuple[int, int]:
        table, indices, offsets = op.inputs[:3]
        row = table.bytes // max(table.shape[0], 1)
        return (
            indices.elements * row + indices.bytes + offsets.bytes,
            sum(tensor.bytes for tensor in op.outputs),
        )

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        return (("V", "E"), ("n",), ("b",), ("n",))[: len(op.inputs)]


@final
class EmbeddingBagBackward(Operator):
    """The gradient of the table of bags: zeros, with its bag's gradient added to every row that was picked.

    Shapes: dy (bags, E), indices (n), ... -> (V, E); the attribute `rows` is V
    Attributes: `mean`: each bag's gradient is divided first.
    Counts: n*E additions. Of the largest, one row a number: bags*E.
    """

    kind = "embedding_bag_backward"
    family = "embedding"
    kernel_class = "gather"
    kernel_part = "backward"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return ((op.integer("rows"), op.inputs[0].shape[1]),)

    def arithmetic(self, op: Op) -> Cost:
        dy, indices = op.inputs[:2]
        spread = indices.elements * dy.shape[1]
        return Cost(
            additions=dy.elements if op.flag("largest") else spread,
            divisions=dy.elements if op.flag("mean") else 0,
        )

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        return (("b", "E"), ("n",), *(tensor.shape for tensor in op.inputs[2:]))


@final
class EmbeddingBagWeightsBackward(Operator):
    """The gradient of the weights of bags: of each picked row with its bag's gradient.

    Shapes: dy (bags, E), table (V, E), indices (n), ... -> (n)
    Counts: n sums of E products.
    """

    kind = "embedding_bag_weights_backward"
    family = "embedding"
    kernel_class = "gather"
    kernel_part = "backward"
    aten = ("_embedding_bag_per_sample_weights_backward",)

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return (op.inputs[2].shape,)

    def arithmetic(self, op: Op) -> Cost:
        n = op.inputs[2].elements
        return contraction(n * op.inputs[1].shape[1], n)

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        rest = (tensor.shape for tensor in op.inputs[3:])
        return (("b", "E"), ("V", "E"), ("n",), *rest)


@final
class Nonzero(Operator):
    """The places of the numbers that are not zero.

    Shapes: x (*d) -> (n, rank) int64, n as many as there are, at most all
    Counts: one comparison a number.
    """

    kind = "nonzero"
    family = "indexing"
    kernel_class = "gather"
    aten = ("nonzero", "nonzero_static")

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        x = op.inputs[0].shape
        return ((product(x), len(x)),)

    def dtypes(self, op: Op) -> tuple[str, ...]:
        return ("int64",)

    def arithmetic(self, op: Op) -> Cost:
        return Cost(comparisons=op.inputs[0].elements)


register(
    Nonzero(), EmbeddingBagWeightsBackward(), Scatter(), Sort(), Search(), Histogram(), Fold(), EmbeddingBag(), EmbeddingBagBackward()
)  # fmt: skip
