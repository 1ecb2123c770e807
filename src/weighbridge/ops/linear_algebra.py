"""Linear algebra: factorisations and solutions whose operations the textbook counts exactly.

What is found by repetition until it is good enough (eigenvalues, singular values, matrix exponentials), or in
blocks whose size is the library's affair (QR), has no exact count: it stays without a rule, and is named.
"""

from __future__ import annotations

from typing import final

from ..dims import Shape, halved, product
from ..program import Op
from .base import Cost, Operator, contraction, need, register


@final
class Factorisation(Operator):
    """A square matrix as a product of triangular ones, and what is worked out from that.

    Shapes: a (*B, n, n) -> the factors or the inverse (*B, n, n), or the determinant (*B)
    Counts: a matrix: Cholesky n(n-1)(n+1)/6 multiplications and as many additions, n(n-1)/2 divisions, n roots.
            LU with row exchanges n(n-1)(2n-1)/6 multiplications and as many additions, n(n-1)/2 divisions and
            comparisons. A determinant multiplies the n numbers on LU's diagonal, its logarithm adds up their
            logarithms. An inverse solves LU for the n columns of the identity.
    Source: Golub and Van Loan, Matrix Computations, 4th edition, 3.2 and 4.2.
    """

    family = "linear algebra"

    def __init__(self, kind: str, *, aten: tuple[str, ...]) -> None:
        self.kind = kind
        self.aten = aten

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        a = op.inputs[0].shape
        need(len(a) >= 2 and a[-1] == a[-2], f"{self.kind} of a matrix {a}, which is not square")
        return (a[:-2] if "determinant" in self.kind else a,)

    def arithmetic(self, op: Op) -> Cost:
        *batch, n, _ = op.inputs[0].shape
        many = product(batch)
        if self.kind == "cholesky":
            products = many * (n * (n - 1) * (n + 1) // 6)
            return Cost(
                multiplications=products,
                additions=products,
                divisions=many * halved(n * (n - 1)),
                transcendentals=many * n,
            )
        factored = _lu(many, n)
        if self.kind == "determinant":
            return factored + Cost(multiplications=many * max(n - 1, 0))
        if self.kind == "log_determinant":
            return factored + Cost(additions=many * max(n - 1, 0), transcendentals=many * n)
        if self.kind == "inverse":
            columns = many * n
            factored += _triangle(columns, n, unit=True) + _triangle(columns, n, unit=False)
        return factored

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        # A sixth of a cube is no whole number before the size is known: sizes stay numbers.
        return (op.inputs[0].shape,)


@final
class Solve(Operator):
    """Equations in n unknowns, for k right sides.

    Shapes: a (*B, n, n), b (*B, n, k) or (*B, n) -> as b
    Attributes: `triangular`: a is, and is not factorised first; `unit`: with ones on its diagonal;
            `factored`: a holds the factors L and U; `cholesky`: it holds L, and U is its transpose.
    Counts: a triangle n(n-1)/2 multiplications and as many additions a right side, and n divisions but where
            its diagonal is ones. In general LU first, then L (ones on its diagonal), then U.
    Source: Golub and Van Loan, Matrix Computations, 4th edition, 3.1 and 3.2.
    """

    kind = "solve"
    family = "linear algebra"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        a, b = op.inputs[0].shape, op.inputs[1].shape
        need(len(a) >= 2 and a[-1] == a[-2], f"equations {a}, which is not square")
        need(a[-1] in b[-2:], f"equations {a} for a right side {b}")
        return (b,)

    def arithmetic(self, op: Op) -> Cost:
        n = op.inputs[0].shape[-1]
        many = product(op.inputs[0].shape[:-2])
        columns = op.inputs[1].elements // max(n, 1)  # of all matrices together
        if op.flag("triangular"):
            return _triangle(columns, n, unit=op.flag("unit"))
        diagonal = _triangle(columns, n, unit=False)
        if op.flag("cholesky"):
            return diagonal + diagonal
        solved = _triangle(columns, n, unit=True) + diagonal
        return solved if op.flag("factored") else _lu(many, n) + solved

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        return tuple(tensor.shape for tensor in op.inputs)


def _lu(many: int, n: int) -> Cost:
    # Step k of n eliminates m = n-1-k rows: m divisions, m*m products taken away, m comparisons for the pivot.
    products = many * (n * (n - 1) * (2 * n - 1) // 6)
    pairs = many * halved(n * (n - 1))
    return Cost(multiplications=products, additions=products, divisions=pairs, comparisons=pairs)


def _triangle(columns: int, n: int, *, unit: bool) -> Cost:
    products = columns * halved(n * (n - 1))
    divisions = 0 if unit else columns * n
    return Cost(multiplications=products, additions=products, divisions=divisions)


@final
class Distance(Operator):
    """The distance of every pair of points, each by summing over its coordinates.

    Shapes: x (*B, P, D), y (*B, R, D) -> (*B, P, R); x (N, D) alone -> the N(N-1)/2 pairs
    Attributes: `power`: 2 squares and takes the root; 1, 0 and infinity do neither; others raise to it.
            `by_product`: as PyTorch does many points, x^2 - 2xy + y^2 by one product of rows of D + 2.
    Counts: a pair: D subtractions, D squares (or powers), D - 1 additions (largest: comparisons), a root.
            By product: (D + 2) multiply-accumulates a pair, a comparison with zero and a root; the squared
            length of each point; x scaled by -2.
    Source: by definition.
    """

    kind = "distance"
    family = "linear algebra"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        x = op.inputs[0].shape
        if len(op.inputs) == 1:
            return ((halved(x[0] * (x[0] - 1)),),)
        y = op.inputs[1].shape
        need(x[-1] == y[-1], f"distances of points {x} and {y}")
        return ((*x[:-1], y[-2]),)

    def arithmetic(self, op: Op) -> Cost:
        pairs, wide = op.outputs[0].elements, op.inputs[0].shape[-1]
        apart = Cost(additions=pairs * wide)
        summed = Cost(additions=pairs * (wide - 1))
        if op.flag("by_product"):
            return self._by_product(op, pairs, wide)
        power = op.attributes.get("power", 2)
        if power == float("inf"):
            return apart + Cost(comparisons=pairs * (wide - 1))
        if power in (0, 1):
            return apart + summed
        if power == 2:
            return apart + summed + Cost(multiplications=pairs * wide, transcendentals=pairs)
        return apart + summed + Cost(transcendentals=pairs * wide + pairs)

    def _by_product(self, op: Op, pairs: int, wide: int) -> Cost:
        x, y = op.inputs[0].elements, op.inputs[1].elements
        points = (x + y) // max(wide, 1)
        lengths = Cost(multiplications=x + y + x, additions=x + y - points)
        rooted = Cost(comparisons=pairs, transcendentals=pairs)
        return contraction(pairs * (wide + 2), pairs) + lengths + rooted

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        return tuple(tensor.shape for tensor in op.inputs)


@final
class DistanceBackward(Operator):
    """The gradient of distances: each pair's difference, scaled, added to its point.

    Shapes: dy (pairs), x (..., D), ... -> as x
    Counts: a pair: a division of dy by the distance; D subtractions, D products, D additions.
    """

    kind = "distance_backward"
    family = "linear algebra"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return (op.inputs[1].shape,)

    def arithmetic(self, op: Op) -> Cost:
        pairs, wide = op.inputs[0].elements, op.inputs[1].shape[-1]
        n = pairs * wide
        return Cost(multiplications=n, additions=2 * n, divisions=pairs)

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        return tuple(tensor.shape for tensor in op.inputs)


register(
    Factorisation("cholesky", aten=("linalg_cholesky_ex", "cholesky")),
    Factorisation("lu", aten=("linalg_lu_factor_ex", "_lu_with_info", "linalg_lu")),
    Factorisation("inverse", aten=("linalg_inv_ex",)),
    Factorisation("determinant", aten=("_linalg_det",)),
    Factorisation("log_determinant", aten=("_linalg_slogdet",)),
    Solve(),
    Distance(),
    DistanceBackward(),
)
