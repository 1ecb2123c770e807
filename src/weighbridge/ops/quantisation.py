"""Quantisation: numbers as whole ones of a few bits, and layers that work on them.

A whole number stands for `scale * (q - zero)`. To make one: a product with 1/scale, the addition of the zero
point, and two comparisons that clamp it. To go back: a subtraction and a product. Rounding is taken for free,
as everywhere. A layer in whole numbers does the arithmetic of the plain one, and makes whole numbers again of
what it hands on; a ReLU behind it is the clamping, from another bound. What zero points add to a product is
worked out once a row or once for all, and left out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import final

from ..dims import Shape, product
from ..program import Op
from .base import Cost, Operator, contraction, need, register, rule_of


def _to_whole(numbers: int) -> Cost:
    return Cost(multiplications=numbers, additions=numbers, comparisons=2 * numbers)


def _to_float(numbers: int) -> Cost:
    return Cost(multiplications=numbers, additions=numbers)


def _observed(numbers: int) -> Cost:
    """The smallest and the largest of them."""
    return Cost(comparisons=2 * numbers)


@final
class Quantise(Operator):
    """Floating-point numbers as whole ones.

    Shapes: x -> x
    Attributes: `dtype` of the result; `observed`: the scale is made of the smallest and largest number.
    Counts: a product, an addition and two comparisons an element; two comparisons more to observe it.
    Source: Jacob et al. 2018, equation 1.
    """

    kind = "quantise"
    family = "quantisation"
    kernel_class = "elementwise"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return (op.inputs[0].shape,)

    def dtypes(self, op: Op) -> tuple[str, ...]:
        return (str(op.attributes["dtype"]),)

    def arithmetic(self, op: Op) -> Cost:
        elements = op.inputs[0].elements
        return _to_whole(elements) + _observed(elements if op.flag("observed") else 0)


@final
class Dequantise(Operator):
    """Whole numbers as the floating-point ones that they stand for.

    Shapes: x -> x
    Counts: a subtraction and a product an element.
    Source: Jacob et al. 2018, equation 1.
    """

    kind = "dequantise"
    family = "quantisation"
    kernel_class = "elementwise"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return (op.inputs[0].shape,)

    def dtypes(self, op: Op) -> tuple[str, ...]:
        return ("float32",)

    def arithmetic(self, op: Op) -> Cost:
        return _to_float(op.inputs[0].elements)


@final
class FakeQuantise(Operator):
    """Numbers rounded to what whole ones can stand for, for training; and which of them were within bounds.

    Shapes: x, ... -> x, x bool
    Attributes: `observed`: the scale is made of the smallest and largest number.
    Counts: as quantising and going back; two comparisons more to observe it. Backward is a product with the mask.
    Source: Jacob et al. 2018, section 3.
    """

    kind = "fake_quantise"
    family = "quantisation"
    kernel_class = "elementwise"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return (op.inputs[0].shape,) * 2

    def dtypes(self, op: Op) -> tuple[str, ...]:
        return (op.inputs[0].dtype, "bool")

    def arithmetic(self, op: Op) -> Cost:
        elements = op.inputs[0].elements
        observed = _observed(elements if op.flag("observed") else 0)
        return _to_whole(elements) + _to_float(elements) + observed


def _handed_on(op: Op, outputs: int) -> Cost:
    """What becomes of a layer's sums; where it is `dynamic` its input was floating point, and so is what it returns."""
    if not op.flag("dynamic"):
        return _to_whole(outputs)
    elements = op.inputs[0].elements
    return _observed(elements) + _to_whole(elements) + Cost(multiplications=outputs)


@final
class QuantisedLinear(Operator):
    """A linear layer in whole numbers.

    Shapes: x (*, n), w (m, n), bias (m) -> (*, m)
    Attributes: `dynamic`: x is floating point, quantised on the way, and so is the result.
    Counts: m*n products a row. Then whole numbers are made of the sums; dynamically of x, observed, and a sum
            is scaled by a product.
    Source: Jacob et al. 2018, section 2.2.
    """

    kind = "quantised_linear"
    family = "quantisation"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        x, w = (tensor.shape for tensor in op.inputs[:2])
        need(len(w) == 2 and x[-1] == w[1], f"a layer {w} on rows {x}")
        return ((*x[:-1], w[0]),)

    def arithmetic(self, op: Op) -> Cost:
        x, w = (tensor.shape for tensor in op.inputs[:2])
        outputs = product((*x[:-1], w[0]))
        addends = outputs if len(op.inputs) > 2 else 0
        return contraction(outputs * w[1], outputs, addends=addends) + _handed_on(op, outputs)

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        rows = tuple(f"d{axis}" for axis in range(len(op.inputs[0].shape) - 1))
        return ((*rows, "n"), ("m", "n"), ("m",))[: len(op.inputs)]


@final
class QuantisedConvolution(Operator):
    """A convolution in whole numbers.

    Shapes: as a convolution's; `onto`: and behind its operands one of the result's shape
    Attributes: as a convolution's; `dynamic`: x is floating point, quantised on the way, and so is the result.
    Counts: as a convolution; `onto` an operand, whose numbers are made floating point and added. Then whole numbers are made of the sums; dynamically of x, observed, and a sum is
            scaled by a product.
    Source: Jacob et al. 2018, section 2.2.
    """

    kind = "quantised_convolution"
    family = "quantisation"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return _plain("convolution").shapes(_alone(op))

    def arithmetic(self, op: Op) -> Cost:
        outputs = product(self.shapes(op)[0])
        cost = _plain("convolution").arithmetic(_alone(op)) + _handed_on(op, outputs)
        return cost + _to_float(outputs) + Cost(additions=outputs) if op.flag("onto") else cost

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        # What is added has the result's sizes, which are no names of the operands'.
        onto = (op.inputs[-1].shape,) if op.flag("onto") else ()
        return (*_plain("convolution").axes(_alone(op)), *onto)


def _alone(op: Op) -> Op:
    """The convolution without what it is added to."""
    return replace(op, inputs=op.inputs[:-1]) if op.flag("onto") else op


@final
class QuantisedElementwise(Operator):
    """An elementwise operator, or a concatenation, of whole numbers.

    Shapes: as the plain one's
    Counts: as the plain one, on floating-point numbers that are made of every operand; then whole ones of
            the result, which has a scale of its own.
    """

    family = "quantisation"
    kernel_class = "elementwise"

    def __init__(self, plain: str) -> None:
        self.kind = f"quantised_{plain}"
        self.plain = plain

    @property
    def summary(self) -> str:
        return f"{self.plain} of whole numbers, by way of floating point"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return _plain(self.plain).shapes(op)

    def arithmetic(self, op: Op) -> Cost:
        plain = _plain(self.plain)
        operands = sum(tensor.elements for tensor in op.inputs)
        return plain.arithmetic(op) + _to_float(operands) + _to_whole(product(plain.shapes(op)[0]))

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        return _plain(self.plain).axes(op)


def _plain(kind: str) -> Operator:
    rule = rule_of(kind)
    assert rule is not None
    return rule


ELEMENTWISE = ("add", "mul", "concatenate", "hardswish", "sigmoid", "leaky_relu", "elu")

register(
    Quantise(),
    Dequantise(),
    FakeQuantise(),
    QuantisedLinear(),
    QuantisedConvolution(),
    *(QuantisedElementwise(plain) for plain in ELEMENTWISE),
)
