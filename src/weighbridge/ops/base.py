"""What an operator is: its shapes, its arithmetic, its traffic, its backward pass; and the registry.

Each kind of operator is described once. The rules are plain arithmetic on sizes, so that they run on
whole numbers (a count), on sympy symbols (a formula) and on numpy arrays (many what-ifs at once).

The backward pass is itself a list of operators: :meth:`Operator.backward` emits them. What backward
costs is then the cost of those operators, and what forward saves is what they read, so that neither
can disagree with the other, nor with a framework that runs the same backward operators itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import Literal, Protocol

from ..dims import BITS, Formula, Shape, formula, symbolic
from ..errors import ShapeError
from ..program import AttributeValue, Op, Tensor
from ..workload import Backend
from .kernel import FOREACH, Kernel, KernelClass, Part
from .strides import Strides, are_channels_last, channels_last, in_order, lie_alike, made_dense


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What an operator does, each kind of work apart; costs add.

    `macs` are the multiply-accumulates of contractions (convolution, matrix product, attention): the
    figure that the field compares networks by. `masked_macs` are those that a causal mask or a window spares: not
    done and not in `macs`, yet most papers and counters have them in their figures. `multiplications` and `additions` are *all* of them,
    those of the contractions included, a sum of n products having n - 1 additions and a bias one more.
    `read_bytes` and `write_bytes` are each operand read once and each result written once.
    """

    macs: int = 0
    masked_macs: int = 0
    multiplications: int = 0
    additions: int = 0
    comparisons: int = 0
    divisions: int = 0
    transcendentals: int = 0
    read_bytes: int = 0
    write_bytes: int = 0

    @property
    def flops(self) -> int:
        """Two for each multiply-accumulate, as PyTorch, fvcore and most papers count."""
        return 2 * self.macs

    @property
    def other(self) -> int:
        """Comparisons, divisions and transcendental functions (exp, log, sqrt, tanh, erf, ...)."""
        return self.comparisons + self.divisions + self.transcendentals

    @property
    def operations(self) -> int:
        """Everything that is arithmetic: multiplications, additions and the other operations."""
        return self.multiplications + self.additions + self.other

    @property
    def traffic_bytes(self) -> int:
        return self.read_bytes + self.write_bytes

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            macs=self.macs + other.macs,
            masked_macs=self.masked_macs + other.masked_macs,
            multiplications=self.multiplications + other.multiplications,
            additions=self.additions + other.additions,
            comparisons=self.comparisons + other.comparisons,
            divisions=self.divisions + other.divisions,
            transcendentals=self.transcendentals + other.transcendentals,
            read_bytes=self.read_bytes + other.read_bytes,
            write_bytes=self.write_bytes + other.write_bytes,
        )

    def __mul__(self, times: int) -> Cost:
        return Cost(**{name: getattr(self, name) * times for name in _COST_FIELDS})

    @staticmethod
    def total(costs: Iterable[Cost]) -> Cost:
        """The sum of the costs."""
        columns = zip(*map(_figures_of, costs), strict=True)
        return Cost(
            **dict(zip(_COST_FIELDS, map(sum, columns), strict=False))
        )  # none: all are nought


_COST_FIELDS = tuple(entry.name for entry in fields(Cost))
_figures_of = attrgetter(*_COST_FIELDS)


def row_bytes(x: Tensor, *, rows: int) -> int:
    """The bytes of one of the rows that a tensor is cut into."""
    return x.bytes // rows if rows else 0


COMPLEX = frozenset({"complex32", "complex64", "complex128"})
"""Dtypes of two numbers an element."""


def contraction(
    macs: int, sums: int, *, addends: int = 0, operands: tuple[Tensor, ...] = ()
) -> Cost:
    """The arithmetic of `sums` sums over `macs` products in all, with so many biases added on top.

    One neuron with n inputs: n multiplications, n - 1 additions to sum them, 1 more for its bias.
    Where both of the `operands` are complex, each product is four of real numbers, and each of the two parts
    of a sum adds up twice as many; where one is, each is two.
    """
    if macs == 0:  # sums over nothing are zeros, written
        return Cost(additions=addends)
    parts = sum(tensor.dtype in COMPLEX for tensor in operands)
    if parts:
        macs, sums, addends = 2**parts * macs, 2 * sums, 2 * addends
    return Cost(macs=macs, multiplications=macs, additions=macs - sums + addends)


class Emit(Protocol):
    """How a backward rule writes the operators that it consists of."""

    def __call__(
        self, kind: str, *inputs: Tensor, **attributes: AttributeValue
    ) -> tuple[Tensor, ...]: ...


Gradients = tuple[Tensor | None, ...]

Policy = Literal["lower", "float32", "widest"]
"""What autocast casts floating-point operands to: the low precision, float32, or the widest among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratch:
    """Bytes that an operator takes beside its operands and results.

    While it runs; of those, what is still held while the next one runs; and on top, what lasts until the
    last operator of its phase has run. `turned` is taken while it runs too, where images lie with their channels first.
    """

    running: int = 0
    turned: int = 0
    lingering: int = 0
    lasting: int = 0


class Operator(ABC):
    """A kind of operator. Subclasses are final; an instance is entered in the registry by its kind.

    `kind` is its name in this project, `family` the heading under which `weigh ops` lists it, `aten`
    PyTorch's spellings with the same operands in the same order. `results` says how many of the
    outputs a layer hands on; what follows them (indices, masks, statistics) is saved for backward.
    `kernel_class` says with which others it runs alike, `kernel_part` which way it goes.
    """

    kind: str
    family: str
    aten: tuple[str, ...] = ()
    results: int = 1
    kernel_class: KernelClass = "other"
    kernel_part: Part = "forward"

    @property
    def summary(self) -> str:
        """The first line of the rule's docstring."""
        return (type(self).__doc__ or "").strip().partition("\n")[0]

    @abstractmethod
    def shapes(self, op: Op) -> tuple[Shape, ...]:
        """The shapes of the outputs, from the inputs and the attributes.

        Raises:
            ShapeError: the inputs do not fit each other or the attributes.
        """

    @abstractmethod
    def arithmetic(self, op: Op) -> Cost:
        """Multiplications, additions and other operations; no traffic."""

    def backward(self, op: Op, grads: Gradients, wanted: tuple[bool, ...], emit: Emit) -> Gradients:
        """Emits the backward operators and returns a gradient for each input that is wanted.

        `grads` has a gradient for each output, None where nothing flows back.

        Raises:
            ShapeError: this kind has no backward rule.
        """
        raise ShapeError(f"operator {self.kind!r} has no backward rule")

    def dtypes(self, op: Op) -> tuple[str, ...]:
        """The dtypes of the outputs: the first input's, unless the kind says otherwise."""
        return (op.inputs[0].dtype,) * len(self.shapes(op))

    def traffic(self, op: Op) -> tuple[int, int]:
        """Bytes read and written: every operand once, every result once."""
        return sum(t.bytes for t in op.inputs), sum(t.bytes for t in op.outputs)

    def scratch(self, op: Op, backend: Backend) -> Scratch:
        """Memory that a backend's kernel takes beside operands and results: none, unless the kind says."""
        return Scratch()

    @property
    def view(self) -> bool:
        """Whether the output shares the first input's storage."""
        return False

    def autocast(self, backend: Backend) -> Policy | None:
        """In what automatic mixed precision runs it; None: in whatever its operands are in."""
        return None

    @property
    def overwrites(self) -> bool:
        """Whether it may be written over its first input in training: backward does without that."""
        return False

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        """A name for each axis of each input, for the formula; equal sizes on aligned axes agree."""
        return aligned_axes(tuple(tensor.shape for tensor in op.inputs))

    def cost(self, op: Op) -> Cost:
        """Arithmetic and traffic together."""
        read, write = self.traffic(op)
        return replace(self.arithmetic(op), read_bytes=read, write_bytes=write)

    def kernels(self, op: Op) -> tuple[Kernel, ...]:
        """What a device runs for it: one kernel of its class, or none for a view, unless the kind says otherwise."""
        return () if self.view else (self.kernel(op),)

    def kernel(self, op: Op) -> Kernel:
        """All of its work as one kernel."""
        cost = self.cost(op)
        return Kernel(
            kind=self.kernel_class,
            part=self.kernel_part,
            dtype=arithmetic_dtype(op),
            macs=cost.macs,
            operations=max(cost.operations - 2 * cost.macs, 0),
            read_bytes=cost.read_bytes,
            write_bytes=cost.write_bytes,
            row_bytes=self.row_bytes(op),
            launches=0 if op.flag(FOREACH) else 1,
        )

    def row_bytes(self, op: Op) -> int:
        """What one norm or softmax goes over, more than once; 0 for everything else."""
        return 0

    def strides(self, op: Op, given: tuple[Strides, ...]) -> tuple[Strides, ...]:
        """How the results lie in memory, from how the operands do.

        As the first operand of a result's shape, without gaps (PyTorch's TensorIterator), and in order where there is
        none, unless the kind says otherwise; what is written in place stays as it lay.
        """
        return tuple(_as_operands(op, given, result) for result in op.outputs)

    def copied(self, op: Op, given: tuple[Strides, ...]) -> tuple[Tensor, ...]:
        """The operands that do not lie as the kernel takes them, and are copied first: none, unless the kind says."""
        return ()

    def moves(self, op: Op, given: tuple[Strides, ...]) -> bool:
        """Whether there is anything to do: what is to lie in order may lie so already."""
        return True

    def formulas(self, op: Op) -> Mapping[str, Formula]:
        """Each non-zero kind of arithmetic as a formula in the sizes of the inputs."""
        if self.arithmetic(op) == Cost():
            return {}
        names = self.axes(op)
        values: dict[str, int] = {}
        for shape, tensor in zip(names, op.inputs, strict=True):
            for name, size in zip(shape, tensor.shape, strict=True):
                if isinstance(name, str):
                    values.setdefault(name, size)
        inputs = tuple(
            replace(tensor, shape=shape)
            for tensor, shape in zip(op.inputs, symbolic(names), strict=True)
        )
        open_op = replace(op, inputs=inputs, outputs=())
        outputs = tuple(
            replace(tensor, shape=shape)
            for tensor, shape in zip(op.outputs, self.shapes(open_op), strict=False)
        )
        cost = self.arithmetic(replace(open_op, outputs=outputs))
        counts = {name: getattr(cost, name) for name in _COST_FIELDS}
        counts["flops"] = cost.flops
        return {name: formula(count, values) for name, count in counts.items() if count != 0}


def _as_operands(op: Op, given: tuple[Strides, ...], result: Tensor) -> Strides:
    for tensor, strides in zip(op.inputs, given, strict=True):
        if tensor.shape == result.shape:
            in_place = tensor.storage == result.storage
            return strides if in_place else made_dense(tensor.shape, strides)
    return in_order(result.shape)


def all_in_order(op: Op) -> tuple[Strides, ...]:
    """Results that lie in order however the operands do."""
    return tuple(in_order(result.shape) for result in op.outputs)


def as_images(op: Op, given: tuple[Strides, ...]) -> tuple[Strides, ...]:
    """Results whose channels come last where those of the first operand do."""
    last = bool(op.inputs) and are_channels_last(op.inputs[0].shape, given[0])
    return tuple(
        channels_last(result.shape) if last else in_order(result.shape) for result in op.outputs
    )


def not_in_order(op: Op, given: tuple[Strides, ...], *places: int) -> tuple[Tensor, ...]:
    """The operands at these places that do not lie in order."""
    return tuple(
        op.inputs[place]
        for place in places
        if not lie_alike(op.inputs[place].shape, given[place], in_order(op.inputs[place].shape))
    )


AXIS_NAMES: Mapping[int, tuple[str, ...]] = {
    0: (),
    1: ("n",),
    2: ("B", "n"),
    3: ("B", "T", "n"),
    4: ("B", "c", "M", "N"),
    5: ("B", "c", "D", "M", "N"),
}


def arithmetic_dtype(op: Op) -> str:
    """The dtype that an operator computes in: that of its first operand with numbers, else of its result."""
    for tensor in (*op.inputs, *op.outputs):
        if tensor.dtype.startswith(("float", "bfloat", "complex")):
            return tensor.dtype
    return next((t.dtype for t in (*op.inputs, *op.outputs)), "float32")


def widest(tensors: Iterable[Tensor]) -> str:
    """The dtype that operands of several have in common: that of the widest, as PyTorch promotes them.

    Tensors without axes do not count beside others.
    """
    held = tuple(tensors)
    counting = [tensor for tensor in held if tensor.shape] or list(held)
    floating = [tensor.dtype for tensor in counting if tensor.dtype.startswith(("float", "bfloat"))]
    return max(floating, key=lambda dtype: BITS[dtype]) if floating else held[0].dtype


def aligned_axes(shapes: Sequence[Shape]) -> tuple[tuple[str | int, ...], ...]:
    """Names for axes that line up from the right, as broadcasting aligns them."""
    rank = max((len(shape) for shape in shapes), default=0)
    names = AXIS_NAMES.get(rank) or tuple(f"d{index}" for index in range(rank))
    sizes: dict[str, int] = {}
    for shape in shapes:
        for name, size in zip(names[rank - len(shape) :], shape, strict=True):
            if size != 1:
                sizes.setdefault(name, size)
    return tuple(
        tuple(
            name if size == sizes.get(name) else size
            for name, size in zip(names[rank - len(shape) :], shape, strict=True)
        )
        for shape in shapes
    )


_RULES: dict[str, Operator] = {}
_SPELLINGS: dict[str, dict[str, str]] = {"aten": {}}


def register(*rules: Operator) -> None:
    """Enters rules in the registry, each kind and each spelling once."""
    for rule in rules:
        if rule.kind in _RULES:
            raise ValueError(f"two rules for operator {rule.kind!r}")
        _RULES[rule.kind] = rule
        for dialect, names in (("aten", rule.aten),):
            for name in names:
                if name in _SPELLINGS[dialect]:
                    raise ValueError(f"two rules for {dialect} {name!r}")
                _SPELLINGS[dialect][name] = rule.kind


def unregister(kind: str) -> None:
    """Takes a rule without spellings out of the registry, such as one of the user's."""
    del _RULES[kind]


def rule_of(kind: str) -> Operator | None:
    """The rule for a kind of operator, or None where there is none."""
    return _RULES.get(kind)


def rules() -> tuple[Operator, ...]:
    """All rules, in the order in which they were entered."""
    return tuple(_RULES.values())


def spellings(dialect: str) -> Mapping[str, str]:
    """From a framework's operator names to kinds, for those whose operands stand in our order."""
    return _SPELLINGS[dialect]


def need(condition: bool, message: str) -> None:
    """Refuses operands that do not fit.

    Raises:
        ShapeError: the condition is false.
    """
    if not condition:
        raise ShapeError(message)
