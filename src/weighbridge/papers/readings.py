"""A reading: one way of computing what a cell of a published table says.

A reading names a quantity and what it is taken of, either modules of a network in the zoo, or, for what the
table itself might have meant, a list of kernels written out. It evaluates to *terms*, a module or kernel
each, whose sum is the count: papers that round before they add can then be followed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import Literal

from ..analyses.compute import op_costs
from ..analyses.layers import Layer, depth_of, layers
from ..dims import Shape
from ..errors import UsageError
from ..frontends import zoo
from ..ops import Cost
from ..program import Program
from ..workload import Workload
from .figures import Rounding

Quantity = Literal["parameters", "weights", "macs", "depth", "side", "channels", "children"]
Kernel = tuple[int, int, int]
"""A square convolution kernel: its width, input channels, output channels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A quantity, what it is taken of, and how the result is rounded to print.

    Quantities: `parameters`; `weights`, parameters without biases; `macs`, multiply-accumulates of one
    forward pass over one sample; `depth`, weight layers on the longest path; `side` and
    `channels` of a module's output image; `children`, modules directly below a module.

    `scopes` are the modules of `network` that count, with all below them, and `without` those of them that do
    not; both may have wildcards, and no scopes means the whole network. `kernels` take the network's place, each with a
    bias an output channel where parameters are asked for, or else a bare number of `held` weights; for macs
    each is applied at every position of an `image` (height, width).
    `apart` rounds each term before adding.
    """

    quantity: Quantity
    network: str = ""
    scopes: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    kernels: tuple[Kernel, ...] = ()
    held: int = 0
    image: tuple[int, int] = (1, 1)
    rounding: Rounding = "nearest"
    apart: bool = False

    @property
    def count(self) -> int:
        """What the reading comes to."""
        return sum(terms(self))


def terms(reading: Reading) -> tuple[int, ...]:
    """The parts that a reading adds up, in the order in which the network runs them.

    Raises:
        UsageError: a scope names no module of the network, or kernels are asked for what they have not.
    """
    if reading.kernels or reading.held:
        return _written_out(reading)
    program, costs = _costed(reading.network)
    if reading.quantity == "depth":
        return (depth(program, costs),)
    _check_scopes(reading, program)
    if reading.quantity == "children":
        return (sum(_is_child(module.scope, reading.scopes) for module in program.modules),)
    if reading.quantity in ("side", "channels"):
        axis = 1 if reading.quantity == "channels" else -1
        return tuple(_output(reading.network, scope)[axis] for scope in reading.scopes)
    if reading.quantity == "macs":
        rows = _rows(reading.network, None)
        return tuple(
            row.forward.macs for row in rows if row.forward.macs and _counts(row.scope, reading)
        )
    return tuple(_parameters(program, reading))


def _written_out(reading: Reading) -> tuple[int, ...]:
    height, width = reading.image
    if reading.quantity not in ("weights", "parameters", "macs"):
        raise UsageError(
            f"a list of kernels has no {reading.quantity}",
            "it has: weights, parameters, and macs at an image's size",
        )
    if reading.held:
        return (reading.held * height * width,)
    biased = reading.quantity == "parameters"
    return tuple(
        (size * size * c * k + (k if biased else 0)) * height * width
        for size, c, k in reading.kernels
    )


@cache
def _costed(network: str) -> tuple[Program, tuple[Cost | None, ...]]:
    """The network's forward pass over one sample, which many cells read."""
    program = zoo.read(network, Workload())
    return program, op_costs(program)


@cache
def _rows(network: str, depth: int | None) -> tuple[Layer, ...]:
    """The network's layers, folded to the depth."""
    return layers(*_costed(network), depth=depth)


def _check_scopes(reading: Reading, program: Program) -> None:
    known = {module.scope for module in program.modules}
    for pattern in (*reading.scopes, *reading.without):
        if not any(fnmatchcase(scope, pattern) for scope in known):
            raise UsageError(
                f"{reading.network} has no module {pattern!r}",
                f"its first ones: {', '.join(list(known)[:4])}",
            )


def _counts(scope: str, reading: Reading) -> bool:
    inside = not reading.scopes or _below(scope, reading.scopes)
    return inside and not _below(scope, reading.without)


def _below(scope: str, patterns: tuple[str, ...]) -> bool:
    """Whether the module or one that it is in matches a pattern."""
    parts = scope.split(".")
    return any(
        fnmatchcase(".".join(parts[:end]), pattern)
        for end in range(1, len(parts) + 1)
        for pattern in patterns
    )


def _is_child(scope: str, parents: tuple[str, ...]) -> bool:
    return scope.rpartition(".")[0] in parents


def _output(network: str, scope: str) -> Shape:
    rows = _rows(network, depth_of(scope))
    return next(row for row in rows if row.scope == scope).outputs[0]


def _parameters(program: Program, reading: Reading) -> Iterator[int]:
    """Elements by module."""
    by_scope: dict[str, int] = {}
    for tensor in program.parameters:
        scope, _, own = (tensor.name or "").rpartition(".")
        if _counts(scope, reading) and (own != "bias" or reading.quantity == "parameters"):
            by_scope[scope] = by_scope.get(scope, 0) + tensor.elements
    return iter(by_scope.values())


def depth(program: Program, costs: tuple[Cost | None, ...]) -> int:
    """Weight layers on the longest path from the input to an output.

    A weight layer is a contraction one operand of which follows from parameters alone; normalisation and
    pooling are none, as papers count. Shortcuts lie beside the longest path and so do not count.
    """
    from_parameters = {tensor.id for tensor in program.parameters}
    level: dict[int, int] = {}
    for op, cost in zip(program.ops, costs, strict=True):
        if op.inputs and all(tensor.id in from_parameters for tensor in op.inputs):
            from_parameters.update(tensor.id for tensor in op.outputs)
            continue
        weighted = cost is not None and cost.macs > 0
        weighted = weighted and any(tensor.id in from_parameters for tensor in op.inputs)
        here = max((level.get(tensor.id, 0) for tensor in op.inputs), default=0) + weighted
        level.update({tensor.id: here for tensor in op.outputs})
    return max(level.values(), default=0)
