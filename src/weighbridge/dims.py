"""Dimensions: what a shape is made of, and how a count becomes a formula.

A dimension is a whole number, or a sympy symbol that stands for one, or a numpy array of many.
Operator rules are written over plain arithmetic, so the same rule yields the count, the formula on
the board, and a thousand what-ifs. This is the only home of sympy, and it is imported only when a
formula is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sympy import Expr

Shape = tuple[int, ...]
"""The sizes of a tensor's axes, outermost first."""

BITS: Mapping[str, int] = {
    "float64": 64, "float32": 32, "float16": 16, "bfloat16": 16,
    "float8_e4m3fn": 8, "float8_e5m2": 8, "float8_e4m3fnuz": 8, "float8_e5m2fnuz": 8,
    "float8_e8m0fnu": 8, "float4_e2m1fn_x2": 8,
    "int64": 64, "int32": 32, "int16": 16, "int8": 8, "uint64": 64, "uint32": 32, "uint16": 16,
    "uint8": 8, "int4": 4, "uint4": 4, "int2": 2, "uint2": 2, "int1": 1, "uint1": 1, "bool": 8,
    "complex128": 128, "complex64": 64, "complex32": 32,
    "qint8": 8, "quint8": 8, "qint32": 32, "quint4x2": 4, "quint2x4": 2,
}  # fmt: skip
"""Bits that one element of each dtype takes."""


def product(sizes: Iterable[int]) -> int:
    """The product of the sizes; 1 for none."""
    return prod(sizes)


def bytes_of(elements: int, dtype: str) -> int:
    """Bytes that so many elements take; a part of a byte at the end counts as one."""
    bits = BITS[dtype]
    return elements * (bits // 8) if bits % 8 == 0 else -(-elements * bits // 8)


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """The shape that elementwise operands of these shapes combine to.

    Raises:
        ValueError: two sizes of an axis differ and neither is 1.
    """
    result: list[int] = []
    for place in range(1, max((len(shape) for shape in shapes), default=0) + 1):
        size = 1
        for shape in shapes:
            here = shape[-place] if place <= len(shape) else 1
            if here != 1 and size != 1 and here != size:
                text = " and ".join(str(shape) for shape in shapes)
                raise ValueError(f"shapes {text} do not broadcast")
            size = here if size == 1 else size
        result.append(size)
    return tuple(reversed(result))


@dataclass(frozen=True, slots=True, kw_only=True)
class Formula:
    """A count as the lecture would write it, and the sizes to put in.

    `text` reads `2·c·w·h·k·(M−w+1)·(N−h+1)`; `values` maps each symbol to its size here.
    """

    expression: Expr
    values: Mapping[str, int]

    @property
    def text(self) -> str:
        return formula_text(self.expression, tuple(self.values))

    @property
    def value(self) -> int:
        """The formula with the sizes put in."""
        sizes = {symbol: self.values[symbol.name] for symbol in self.expression.free_symbols}
        return int(self.expression.subs(sizes))


def symbolic(axes: Sequence[Sequence[str | int]]) -> tuple[Shape, ...]:
    """Shapes whose named axes are sympy symbols: positive whole numbers not yet known."""
    from sympy import Symbol

    return tuple(
        tuple(
            axis if isinstance(axis, int) else Symbol(axis, integer=True, positive=True)
            for axis in shape
        )
        for shape in axes
    )


def formula(expression: int, values: Mapping[str, int]) -> Formula:
    """Wraps what a rule returned for symbolic sizes, keeping the values of the symbols it uses."""
    from sympy import sympify

    expr = sympify(expression)
    used = {symbol.name: symbol for symbol in expr.free_symbols}
    ordered = {name: size for name, size in values.items() if name in used}
    return Formula(expression=expr, values=ordered)


def formula_text(expression: Expr, order: Sequence[str]) -> str:
    """Prints a formula with `·` and `−`, its factors in the order in which the axes were named."""
    from sympy import factor_terms
    from sympy.printing.str import StrPrinter

    rank = {name: index for index, name in enumerate(order)}

    class Board(StrPrinter):  # type: ignore[misc]
        def _print_Symbol(self, expr):  # type: ignore[no-untyped-def]
            return str(expr.name)

        def _print_Add(self, expr, order=None):  # type: ignore[no-untyped-def]
            terms = sorted(
                expr.args, key=lambda t: (t.is_number, t.could_extract_minus_sign(), _rank(t, rank))
            )
            text = ""
            for term in terms:
                piece = self._print(term)
                if text and not piece.startswith("−"):
                    text += "+"
                text += piece
            return text

        def _print_Mul(self, expr):  # type: ignore[no-untyped-def]
            coefficient, rest = expr.as_coeff_mul()
            numerators = [f for f in rest if not (f.is_Pow and f.exp.is_negative)]
            denominators = [1 / f for f in rest if f.is_Pow and f.exp.is_negative]
            factors = sorted(numerators, key=lambda f: (f.is_Add, _rank(f, rank)))
            sign = "−" if coefficient.is_negative else ""
            numerator, denominator = abs(coefficient).as_numer_denom()
            parts = [str(numerator)] if numerator != 1 or not factors else []
            parts += [f"({self._print(f)})" if f.is_Add else self._print(f) for f in factors]
            below = [str(denominator)] if denominator != 1 else []
            below += [f"({self._print(f)})" if f.is_Add else self._print(f) for f in denominators]
            return sign + "·".join(parts) + "".join(f"/{b}" for b in below)

        def _print_Pow(self, expr, rational=False):  # type: ignore[no-untyped-def]
            base = self._print(expr.base)
            base = f"({base})" if expr.base.is_Add or expr.base.is_Mul else base
            marks = str(expr.exp).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
            return f"{base}{marks}"

        def _print_Integer(self, expr):  # type: ignore[no-untyped-def]
            return str(expr.p).replace("-", "−")

        def _print_floor(self, expr):  # type: ignore[no-untyped-def]
            return f"⌊{self._print(expr.args[0])}⌋"

    return str(Board().doprint(factor_terms(expression)))


def _rank(term: Expr, rank: Mapping[str, int]) -> tuple[int, str]:
    ranks = [rank.get(symbol.name, len(rank)) for symbol in term.free_symbols]
    return (min(ranks, default=len(rank)), str(term))


def larger(a: float, b: float) -> float:
    """The larger of two numbers; of arrays the larger at each place, as (a + b + |a - b|) / 2."""
    if type(a) in _PLAIN and type(b) in _PLAIN:
        return max(a, b)
    return (a + b + abs(a - b)) / 2


def smaller(a: float, b: float) -> float:
    """The smaller of two numbers; of arrays the smaller at each place."""
    if type(a) in _PLAIN and type(b) in _PLAIN:
        return min(a, b)
    return (a + b - abs(a - b)) / 2


_PLAIN = frozenset({int, float})
"""What is one number; everything else is taken to be an array of them."""


def halved(size: int) -> int:
    """Half of a size that is known to be even, for numbers and for symbols alike."""
    return size // 2 if isinstance(size, int) else size * _one_half()


def _one_half() -> int:
    from sympy import Rational

    half: int = Rational(1, 2)
    return half
