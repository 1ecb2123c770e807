"""Elementwise operators: the same small sum for every element, and nothing between elements.

What one element costs is a row of a table. Counts follow the formula in the row's comment as it
would be written by hand; libraries may use another, with the same order of work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import final

from ..dims import Shape, broadcast, bytes_of
from ..errors import ShapeError
from ..program import Op, Tensor
from ..workload import Backend
from .base import COMPLEX, Cost, Emit, Gradients, Operator, Policy, Scratch, register, widest
from .kernel import Kernel
from .movement import sum_to

Derivative = Callable[[Op, Tensor, Emit], Gradients]
"""(op, gradient of the output, emit) -> gradients of the inputs, before broadcasting is undone."""


@final
class Pointwise(Operator):
    """The same work for each element of the output.

    Shapes: the inputs broadcast against each other.
    Counts: a fixed number of multiplications, additions, comparisons, divisions and transcendental
            functions an element; an attribute `alpha` other than 1 scales the second operand, one
            multiplication more. Of complex numbers: a product 4 multiplications and 2 additions (2 with
            a real number), a quotient 6, 3 and 2 divisions, all else twice what it is of real ones.
    Backward: by the kind's own derivative, summed over what was broadcast.
    Scratch: a CPU casts sums, differences, products and quotients of tensors of several dtypes beforehand, each
            operand in a copy (`promote_inputs_to_common_dtype` of TensorIterator); a GPU casts as it reads.
    """

    family = "elementwise"

    def __init__(
        self,
        kind: str,
        *,
        multiplications: int = 0,
        additions: int = 0,
        comparisons: int = 0,
        divisions: int = 0,
        transcendentals: int = 0,
        aten: tuple[str, ...] = (),
        derivative: Derivative | None = None,
        dtype: str | None = None,
        gates: bool = False,
    ) -> None:
        self.kind = kind
        self.gates = gates
        self.aten = aten or (kind,)
        self.work = {
            "multiplications": multiplications,
            "additions": additions,
            "comparisons": comparisons,
            "divisions": divisions,
            "transcendentals": transcendentals,
        }
        self.derivative = derivative
        self.dtype = dtype
        self.kernel_class = "activation" if transcendentals else "elementwise"

    @property
    def summary(self) -> str:
        parts = [f"{number} {name}" for name, number in self.work.items() if number]
        return f"For each element: {', '.join(parts) or 'no arithmetic'}."

    @property
    def overwrites(self) -> bool:
        return self.derivative is _passes or isinstance(self.derivative, _FromOutput)

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        try:
            return (broadcast(tuple(tensor.shape for tensor in op.inputs)),)
        except ValueError as error:
            raise ShapeError(f"{self.kind}: {error}") from error

    def dtypes(self, op: Op) -> tuple[str, ...]:
        return (self.dtype or (_promoted(op.inputs) if op.inputs else "float32"),)

    def autocast(self, backend: Backend) -> Policy | None:
        return "float32" if backend == "cuda" and self.kind in _IN_FLOAT32 else None

    def arithmetic(self, op: Op) -> Cost:
        n = sum(tensor.elements for tensor in op.outputs)
        scale = op.attributes.get("alpha", 1)
        each = self.work if not _is_complex(op) else self._of_complex(op)
        work = {name: n * number for name, number in each.items()}
        if scale != 1:
            work["multiplications"] += n
        return Cost(**work)

    def kernel(self, op: Op) -> Kernel:
        return replace(super().kernel(op), gates=self.gates)

    def scratch(self, op: Op, backend: Backend) -> Scratch:
        if backend != "cpu" or self.kind not in ("add", "sub", "mul", "div") or not op.outputs:
            return Scratch()
        common = op.outputs[0].dtype
        cast = (t for t in op.inputs if t.dtype != common and t.shape)  # a number is read as it is
        return Scratch(running=sum(bytes_of(tensor.elements, common) for tensor in cast))

    def _of_complex(self, op: Op) -> dict[str, int]:
        """The work an element of complex numbers."""
        both = len(op.inputs) > 1 and all(tensor.dtype in COMPLEX for tensor in op.inputs)
        if both and self.kind == "mul":  # (ac - bd) + (ad + bc)i
            return {"multiplications": 4, "additions": 2}
        if both and self.kind == "div":  # a product with the conjugate, over c^2 + d^2
            return {"multiplications": 6, "additions": 3, "divisions": 2}
        return {name: 2 * number for name, number in self.work.items()}

    def backward(self, op: Op, grads: Gradients, wanted: tuple[bool, ...], emit: Emit) -> Gradients:
        (dy,) = grads
        assert dy is not None
        if self.derivative is None:
            return super().backward(op, grads, wanted, emit)
        made = self.derivative(op, dy, emit)
        return tuple(
            sum_to(gradient, tensor.shape, emit) if want and gradient is not None else None
            for gradient, tensor, want in zip(made, op.inputs, wanted, strict=True)
        )


_IN_FLOAT32 = frozenset({"exp", "log", "pow", "rsqrt", "softplus"})
"""Functions that lose too much in half precision, as CUDA's autocast lists them."""


def _promoted(operands: tuple[Tensor, ...]) -> str:
    """Half precision beside float32 gives float32; all else is as the first operand is."""
    if any(tensor.dtype in ("float16", "bfloat16") for tensor in operands):
        return widest(operands)
    return operands[0].dtype


def _is_complex(op: Op) -> bool:
    return any(tensor.dtype in COMPLEX for tensor in op.outputs)


def _passes(op: Op, dy: Tensor, emit: Emit) -> Gradients:
    """d(a + b): both take the gradient as it comes."""
    return tuple(dy for _ in op.inputs)


def _product(op: Op, dy: Tensor, emit: Emit) -> Gradients:
    """d(a * b) = (dy * b, dy * a); with a constant (dy * constant)."""
    if len(op.inputs) == 1:
        return emit("mul", dy)
    a, b = op.inputs
    (db,) = emit("mul", dy, a)
    (da,) = emit("mul", dy, b)
    return (da, db)


def _quotient(op: Op, dy: Tensor, emit: Emit) -> Gradients:
    """d(a / b) = (dy / b, -dy * (a/b) / b); with a constant (dy / constant)."""
    if len(op.inputs) == 1:
        return emit("div", dy)
    b = op.inputs[1]
    (da,) = emit("div", dy, b)
    (scaled,) = emit("div", op.outputs[0], b)
    (db,) = emit("mul", dy, scaled)
    return (da, db)


def _power(op: Op, dy: Tensor, emit: Emit) -> Gradients:
    """d(x^k) = dy * (k * x^(k - 1)), for a constant k: the attribute `exponent`; of a cube it takes a square."""
    (raised,) = emit("square" if op.attributes.get("exponent") == 3 else "pow", op.inputs[0])
    return emit("mul", dy, *emit("mul", raised))


class _FromOutput:
    """One operator on the gradient and the output."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self, op: Op, dy: Tensor, emit: Emit) -> Gradients:
        return emit(self.kind, dy, op.outputs[0])


class _FromInput:
    """One operator on the gradient and the input."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self, op: Op, dy: Tensor, emit: Emit) -> Gradients:
        return emit(self.kind, dy, op.inputs[0])


register(
    Pointwise("add", additions=1, aten=("add", "_foreach_add"), derivative=_passes),
    Pointwise("sub", additions=1, aten=("sub", "rsub", "_foreach_sub"), derivative=_passes),
    Pointwise("mul", multiplications=1, aten=("mul", "_foreach_mul", "deg2rad", "rad2deg"), derivative=_product),
    Pointwise("div", divisions=1, aten=("div", "_foreach_div", "reciprocal", "_foreach_reciprocal"), derivative=_quotient),
    # max(x, 0)
    Pointwise("relu", comparisons=1, aten=("relu",), derivative=_FromOutput("threshold_backward")),
    Pointwise("threshold_backward", comparisons=1),
    # min(max(x, low), high); ReLU6 and clipping
    Pointwise("hardtanh", comparisons=2, aten=("hardtanh", "clamp", "relu6"), derivative=_FromInput("hardtanh_backward")),
    Pointwise("hardtanh_backward", comparisons=2),
    Pointwise("clamp_min", comparisons=1, aten=("clamp_min", "clamp_max", "_foreach_clamp_min", "_foreach_clamp_max", "threshold", "heaviside")),
    Pointwise("leaky_relu", comparisons=1, multiplications=1, aten=("leaky_relu", "rrelu_with_noise"), derivative=_FromInput("leaky_relu_backward")),
    Pointwise("leaky_relu_backward", comparisons=1, multiplications=1, aten=("leaky_relu_backward", "rrelu_with_noise_backward")),
    # x > a or x < -a ? x : 0; soft: moved towards zero by a
    Pointwise("hardshrink", comparisons=2),
    Pointwise("softshrink", comparisons=2, additions=1),
    Pointwise("shrink_backward", comparisons=2, aten=("hardshrink_backward", "softshrink_backward")),
    Pointwise("prelu", comparisons=1, multiplications=1, aten=("_prelu_kernel",)),
    # of x and of the slope, each: x > 0 ? dy : dy * the other
    Pointwise("prelu_backward", comparisons=1, multiplications=1, aten=("_prelu_kernel_backward",)),
    # 1 / (1 + exp(-x))
    Pointwise("sigmoid", transcendentals=1, additions=1, divisions=1, derivative=_FromOutput("sigmoid_backward")),
    # dy * y * (1 - y)
    Pointwise("sigmoid_backward", multiplications=2, additions=1),
    Pointwise("tanh", transcendentals=1, derivative=_FromOutput("tanh_backward")),
    # dy * (1 - y*y)
    Pointwise("tanh_backward", multiplications=2, additions=1),
    # x/2 * (1 + erf(x / sqrt 2))
    Pointwise("gelu", multiplications=3, additions=1, transcendentals=1, derivative=_FromInput("gelu_backward"), gates=True),
    # dy * (cdf + x * pdf), cdf as above, pdf = c * exp(-x*x/2)
    Pointwise("gelu_backward", multiplications=7, additions=2, transcendentals=2),
    # x/2 * (1 + tanh(a * (x + b * x^3)))
    Pointwise("gelu_tanh", multiplications=6, additions=2, transcendentals=1, aten=("gelu_tanh",), derivative=_FromInput("gelu_tanh_backward"), gates=True),
    # dy * ((1 + t)/2 + x/2 * (1 - t*t) * a * (1 + 3b * x^2)), t as above
    Pointwise("gelu_tanh_backward", multiplications=12, additions=5, transcendentals=1),
    # x * sigmoid(x)
    Pointwise("silu", multiplications=1, additions=1, divisions=1, transcendentals=1, derivative=_FromInput("silu_backward"), gates=True),
    # dy * s * (1 + x * (1 - s)), s = sigmoid(x)
    Pointwise("silu_backward", multiplications=3, additions=3, divisions=1, transcendentals=1),
    # x * min(max(x + 3, 0), 6) / 6
    Pointwise("hardswish", multiplications=2, additions=1, comparisons=2, derivative=_FromInput("hardswish_backward"), gates=True),
    Pointwise("hardswish_backward", multiplications=2, additions=1, comparisons=2),
    Pointwise("hardsigmoid", multiplications=1, additions=1, comparisons=2, derivative=_FromOutput("hardsigmoid_backward")),
    Pointwise("hardsigmoid_backward", multiplications=1, comparisons=2),
    # x > 0 ? x : a * (exp(x) - 1)
    Pointwise("elu", comparisons=1, multiplications=1, additions=1, transcendentals=1, aten=("elu", "celu", "selu")),
    Pointwise("elu_backward", comparisons=1, multiplications=2, additions=1),
    # log(1 + exp(x))
    Pointwise("softplus", additions=1, transcendentals=2, aten=("softplus", "log_sigmoid_forward")),
    Pointwise("softplus_backward", multiplications=1, additions=1, divisions=1, transcendentals=1, aten=("softplus_backward", "log_sigmoid_backward")),
    # x * tanh(log(1 + exp(x)))
    Pointwise("mish", multiplications=1, additions=1, transcendentals=3, gates=True),
    Pointwise("mish_backward", multiplications=4, additions=3, transcendentals=3),
    Pointwise("glu", multiplications=1, additions=1, divisions=1, transcendentals=1),
    Pointwise("glu_backward", multiplications=4, additions=2, divisions=1, transcendentals=1),
    Pointwise("exp", transcendentals=1, derivative=_FromOutput("mul")),
    Pointwise("log", transcendentals=1, aten=("log", "log2", "log10", "log1p"), derivative=_FromInput("div")),
    Pointwise("sqrt", transcendentals=1, aten=("sqrt", "_foreach_sqrt"), derivative=_FromOutput("div")),
    Pointwise("rsqrt", transcendentals=1, divisions=1, aten=("rsqrt", "_foreach_rsqrt")),
    Pointwise("pow", transcendentals=1, aten=("pow", "_foreach_pow"), derivative=_power),
    Pointwise("square", multiplications=1),
    Pointwise(
        "transcendental", transcendentals=1,
        aten=("sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "erf", "erfinv",
              "expm1", "exp2", "digamma", "lgamma", "logaddexp", "logaddexp2", "xlogy", "asinh", "acosh", "atanh",
              "erfc", "polygamma", "sinc", "hypot", "ldexp", "i0", "i0e", "special_i0", "special_i0e", "special_i1",
              "special_i1e", "special_erfcx", "special_ndtri", "special_log_ndtr", "special_entr", "special_zeta",
              "special_bessel_j0", "special_bessel_j1",
              "special_bessel_y0", "special_bessel_y1", "special_spherical_bessel_j0", "special_airy_ai",
              *(f"special_{scaled}modified_bessel_{kind}" for scaled, kind in
                (("", "i0"), ("", "i1"), ("", "k0"), ("", "k1"), ("scaled_", "k0"), ("scaled_", "k1"))),
              *(f"special_{shifted}chebyshev_polynomial_{kind}" for shifted in ("", "shifted_") for kind in "tuvw"),
              "special_hermite_polynomial_h", "special_hermite_polynomial_he", "special_laguerre_polynomial_l",
              "special_legendre_polynomial_p", "special_xlog1py", "igamma", "igammac", "mvlgamma",
              "_foreach_exp", "_foreach_log", "_foreach_erf", "_foreach_tanh"),
    ),
    Pointwise("negative", aten=("neg", "_foreach_neg", "_foreach_abs", "_foreach_sign", "sign", "sgn", "conj_physical", "_conj_physical", "copysign", "nextafter")),
    # a complex number from its parts; from length and angle r cos a + i r sin a; and back: sqrt(a^2 + b^2), atan(b / a)
    Pointwise("complex", dtype="complex64"),
    Pointwise("polar", multiplications=1, transcendentals=1, dtype="complex64"),
    Pointwise("modulus", multiplications=2, additions=1, transcendentals=1),
    Pointwise("angle", divisions=1, transcendentals=1, aten=()),
    # log(x / (1 - x)); dy / (x * (1 - x))
    Pointwise("logit", additions=1, divisions=1, transcendentals=1),
    Pointwise("logit_backward", multiplications=1, additions=1, divisions=1),
    # (a2 b3 - a3 b2, ...)
    Pointwise("cross", multiplications=2, additions=1, aten=("linalg_cross",)),
    Pointwise("extremum", comparisons=1, aten=("maximum", "minimum", "fmax", "fmin", "_foreach_maximum", "_foreach_minimum")),
    Pointwise(
        "compare", comparisons=1, dtype="bool",
        aten=("eq", "ne", "lt", "le", "gt", "ge", "isnan", "isinf", "isfinite", "logical_not",
              "logical_and", "logical_or", "logical_xor", "isin", "isposinf", "isneginf", "signbit"),
    ),
    Pointwise("bits", aten=("frexp", "bitwise_and", "bitwise_or", "bitwise_not", "bitwise_xor", "__and__", "__or__", "bitwise_left_shift", "bitwise_right_shift")),
    Pointwise("round", aten=("floor", "ceil", "round", "trunc", "frac")),
    Pointwise("remainder", divisions=1, aten=("remainder", "fmod", "floor_divide")),
    Pointwise("where", aten=("where", "masked_fill", "nan_to_num", "masked_scatter")),
    # a + c * b / d
    Pointwise("addcdiv", multiplications=1, additions=1, divisions=1, aten=("addcdiv", "_foreach_addcdiv")),
    # a + c * b * d
    Pointwise("addcmul", multiplications=2, additions=1, aten=("addcmul", "_foreach_addcmul")),
    # a + c * (b - a)
    Pointwise("lerp", multiplications=1, additions=2, aten=("lerp", "_foreach_lerp")),
)  # fmt: skip
