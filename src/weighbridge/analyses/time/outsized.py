"""Outsized layers: those that take a share of the time out of all proportion to their share of the operations.

A fully connected layer multiplies each of its weights once a sample, a convolution once at every place of the
image. At a small batch its weights are read from memory for a few operations, and memory decides how long that
takes. The batch shares the reading: with it the layers come down to their operations' worth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from ...errors import WeighError
from ...ops.kernel import CONTRACTIONS
from ...program import Program, Role
from ...workload import Workload
from .step import StepTime, step_time

Build = Callable[[Workload], Program]
"""A network: its Program under any workload."""

TIMES = 5.0
"""How many times its share of the operations a layer's share of the time is to be called outsized."""
LEAST = 0.05
"""The share of the time that such layers must take together to be worth a word."""
LARGER = 64
"""A batch at which many samples share what is read; at a batch of some, 16 times as many."""
WEIGHTS: frozenset[Role] = frozenset({"parameter", "gradient", "optimizer_state"})
"""Roles of what is as large as the weights, whatever the batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outsized:
    """Layers that wait for their weights, slowest first, and their shares of the step, 0 to 1.

    A weight of theirs takes part in `operations_each` operations of the step, one of the other layers in
    `others_each`, which is None where no other has any. At `larger` they take `larger_share` of the time; both are None
    where the network cannot be built at another batch.
    """

    scopes: tuple[str, ...]
    operations_share: float
    time_share: float
    operations_each: float
    others_each: float | None
    larger: int | None = None
    larger_share: float | None = None


def outsized(time: StepTime, build: Build | None = None) -> Outsized | None:
    """The outsized layers of a step; None where there are none to speak of.

    `build` makes the network's Program under another workload, to say how they do at a larger batch.
    """
    layers = _layers(time)
    operations = sum(layer.operations for layer in layers.values())
    slowest_first = sorted(layers, key=lambda scope: -time.by_scope[scope])
    found = [
        scope
        for scope in slowest_first
        if layers[scope].waits_for_weights(time.by_scope[scope])
        and share_of(time, [scope]) > TIMES * layers[scope].operations / operations
    ]
    share, each = share_of(time, found), _each(layers[scope] for scope in found)
    if share < LEAST or each is None:
        return None
    larger = None if build is None else _larger(time, build, found)
    return Outsized(
        scopes=tuple(found),
        operations_share=sum(layers[scope].operations for scope in found) / operations,
        time_share=share,
        operations_each=each,
        others_each=_each(layer for scope, layer in layers.items() if scope not in found),
        larger=larger[0] if larger else None,
        larger_share=larger[1] if larger else None,
    )


def share_of(time: StepTime, scopes: Iterable[str]) -> float:
    """The part of a step's time that some layers take, 0 to 1."""
    return sum(time.by_scope.get(scope, 0.0) for scope in scopes) / time.seconds.value


def _larger(time: StepTime, build: Build, scopes: Iterable[str]) -> tuple[int, float] | None:
    """A larger batch, and the part of its step's time that some layers take; None where there is no such step."""
    workload = time.program.workload
    batch = max(LARGER, LARGER // 4 * workload.batch)
    try:
        found = step_time(build(replace(workload, batch=batch)), time.clock)
    except WeighError:
        return None
    return batch, share_of(found, scopes)


class _Layer:
    """What a layer's contractions compute, and what it moves, while that is added up."""

    def __init__(self) -> None:
        self.operations = self.weight_bytes = self.moved_bytes = 0
        self.waiting_s = 0.0  # for memory
        self.weights: dict[int, int] = {}  # elements by storage

    def waits_for_weights(self, seconds: float) -> bool:
        """Whether most of what it moves is weights, and most of its time goes to that."""
        return 2 * self.weight_bytes > self.moved_bytes and 2 * self.waiting_s > seconds


def _layers(time: StepTime) -> dict[str, _Layer]:
    """What the layers with contractions compute and move, by scope."""
    roles = {
        tensor.storage: tensor.role for tensor in time.program.tensors if tensor.role in WEIGHTS
    }
    found: dict[str, _Layer] = {}
    for timed in time.kernels:
        kernel, op = timed.time.kernel, timed.launch.ops[0]
        layer = found.setdefault(op.scope, _Layer())
        layer.waiting_s += timed.time.seconds if timed.time.bound == "memory" else 0.0
        if kernel.kind in CONTRACTIONS:
            layer.operations += kernel.flops
            read = (tensor for tensor in op.inputs if roles.get(tensor.storage) == "parameter")
            layer.weights.update((tensor.storage, tensor.elements) for tensor in read)
    for op in {id(op): op for timed in time.kernels for op in timed.launch.ops}.values():
        layer, moved = found.setdefault(op.scope, _Layer()), (*op.inputs, *op.outputs)
        layer.weight_bytes += sum(tensor.bytes for tensor in moved if tensor.storage in roles)
        layer.moved_bytes += sum(tensor.bytes for tensor in moved)
    return {scope: layer for scope, layer in found.items() if layer.operations}


def _each(layers: Iterable[_Layer]) -> float | None:
    """Operations for each weight of some layers; None where they have none."""
    chosen = [layer for layer in layers if layer.weights]
    if not chosen:
        return None
    return sum(layer.operations for layer in chosen) / sum(
        sum(layer.weights.values()) for layer in chosen
    )
