"""Spectra: fast Fourier transforms."""

from __future__ import annotations

from typing import final

from ..dims import Shape, product
from ..program import Op
from .base import Cost, Operator, register
from .indexing import doublings


@final
class FourierTransform(Operator):
    """A discrete Fourier transform along some axes, complex to complex or between real and complex.

    Shapes: x -> the attribute `shape` (real to complex keeps n/2 + 1 of the last of the axes)
    Attributes: `axes`, `shape`, `real` (one side is real), `dtype` of the result.
    Counts: N numbers along axes of n together: N/2 * ceil(log2 n) butterflies, each a complex product (4
            multiplications, 2 additions) and two complex sums (4 additions); real transforms take half.
    Source: Cooley and Tukey 1965, radix 2; libraries take a fifth to a third less.
    """

    kind = "fourier_transform"
    family = "spectral"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return (op.integers("shape"),)

    def dtypes(self, op: Op) -> tuple[str, ...]:
        return (str(op.attributes["dtype"]),)

    def arithmetic(self, op: Op) -> Cost:
        x, y = op.inputs[0], op.outputs[0]
        # The full length is on the real side.
        whole = max((x, y), key=lambda tensor: tensor.elements)
        length = product(whole.shape[axis] for axis in op.integers("axes"))
        butterflies = whole.elements * doublings(length) // 2
        if op.flag("real"):
            butterflies //= 2
        return Cost(multiplications=4 * butterflies, additions=6 * butterflies)

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        # How often a length halves is no polynomial of it: sizes stay numbers.
        return (op.inputs[0].shape,)


register(FourierTransform())
