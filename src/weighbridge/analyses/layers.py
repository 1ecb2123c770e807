"""Layers: the cost of the network by module, folded to any depth so that rows add up to totals.

Every operator and every parameter belongs to exactly one row, the module that ran or holds it, or its
ancestor at the depth asked for. A module's own row holds what none of its shown children does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from ..dims import Shape
from ..ops import Cost, rule_of
from ..program import Op, Phase, Program


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One row: a module with what it, and all below it that is not shown, does and holds.

    `inputs` and `outputs` are the shapes that go in and come out in forward, as far as known.
    `activation_bytes` are the forward results that take memory of their own. `copies` is how many
    modules, each the same, the row stands for; its figures are of all of them together.
    """

    scope: str
    kind: str
    detail: str = ""
    copies: int = 1
    inputs: tuple[Shape, ...] = ()
    outputs: tuple[Shape, ...] = ()
    params: int = 0
    trainable_params: int = 0
    forward: Cost = field(default_factory=Cost)
    backward: Cost = field(default_factory=Cost)
    update: Cost = field(default_factory=Cost)
    activation_bytes: int = 0
    operators: int = 0
    uncounted: int = 0
    ops: tuple[Op, ...] = ()

    @property
    def depth(self) -> int:
        return depth_of(self.scope)

    @property
    def name(self) -> str:
        """The last part of the scope."""
        return self.scope.rpartition(".")[2]


def depth_of(scope: str) -> int:
    """0 for the network itself, 1 for its modules, ..."""
    return scope.count(".") + 1 if scope else 0


def folded(scope: str, depth: int | None) -> str:
    """The ancestor of `scope` at the depth; `scope` itself where it is no deeper."""
    if depth is None or depth_of(scope) <= depth:
        return scope
    return ".".join(scope.split(".")[:depth])


def layers(
    program: Program, costs: Iterable[Cost | None], *, depth: int | None = None
) -> tuple[Layer, ...]:
    """The rows in the order in which modules are declared; those that hold and do nothing too.

    `depth` folds everything deeper into its ancestor. The network's own row, scope '', comes first.
    """
    known = {module.scope: module for module in program.modules}
    order: dict[str, None] = {"": None}
    for scope in known:
        parts = scope.split(".")
        for index in range(1, len(parts) + 1):
            order.setdefault(folded(".".join(parts[:index]), depth), None)
    groups: dict[str, list[tuple[Op, Cost | None]]] = {}
    for op, cost in zip(program.ops, costs, strict=True):
        groups.setdefault(folded(op.scope, depth), []).append((op, cost))
    params: dict[str, list[int]] = {}
    for tensor in program.parameters:
        owner = folded((tensor.name or "").rpartition(".")[0], depth)
        row = params.setdefault(owner, [0, 0])
        row[0] += tensor.elements
        row[1] += tensor.elements if tensor.trainable else 0
    for scope in (*groups, *params):
        order.setdefault(scope, None)
    rows = []
    for scope in order:
        module = known.get(scope)
        total, trainable = params.get(scope, (0, 0))
        rows.append(
            replace(
                _row(scope, groups.get(scope, [])),
                kind=module.kind if module else (program.network if not scope else ""),
                detail=module.detail if module else "",
                params=total,
                trainable_params=trainable,
            )
        )
    return tuple(rows)


def _row(scope: str, entries: list[tuple[Op, Cost | None]]) -> Layer:
    forward = [op for op, _ in entries if op.phase == "forward"]

    def cost(phase: Phase) -> Cost:
        return Cost.total(cost for op, cost in entries if op.phase == phase and cost is not None)

    return Layer(
        scope=scope,
        kind="",
        inputs=_inputs(forward),
        outputs=_outputs(forward),
        forward=cost("forward"),
        backward=cost("backward"),
        update=cost("update"),
        activation_bytes=activation_bytes(forward),
        operators=len(entries),
        uncounted=sum(cost is None for _, cost in entries),
        ops=tuple(op for op, _ in entries),
    )


def _inputs(ops: list[Op]) -> tuple[Shape, ...]:
    """The shape of the first thing read that was not made here and is no parameter."""
    made = {tensor.id for op in ops for tensor in op.outputs}
    for op in ops:
        for tensor in op.inputs:
            if tensor.role not in ("parameter", "buffer") and tensor.id not in made:
                return (tensor.shape,)
    return ()


def _outputs(ops: list[Op]) -> tuple[Shape, ...]:
    """The shape of the last result."""
    for op in reversed(ops):
        if op.outputs:
            return (op.outputs[0].shape,)
    return ()


def activation_bytes(ops: Iterable[Op]) -> int:
    """Bytes of what the operators hand on, each storage once; views and work in place take nothing."""
    return sum(activation_storages(ops).values())


def activation_storages(ops: Iterable[Op]) -> dict[int, int]:
    """Storage to bytes, for the first results of forward operators that have storage of their own."""
    storages: dict[int, int] = {}
    for op in ops:
        read = {tensor.storage for tensor in op.inputs}
        rule = rule_of(op.kind)
        results = rule.results if rule is not None else len(op.outputs)
        for tensor in op.outputs[:results]:
            if tensor.role == "activation" and tensor.storage not in read:
                storages.setdefault(tensor.storage, tensor.bytes)
    return storages
