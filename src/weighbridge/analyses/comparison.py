"""Comparison: networks side by side, and what their own figures say about depth, space and compute.

The lecture's take-home message is that a deeper network need not have more parameters or more
operations (L20), and that more parameters need not mean more operations (L19). Both are statements about
pairs; here the pairs are looked for among the networks, and among the modules of one network.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations

from .weighing import Weighing


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One network. `depth` counts weight layers along the longest path; `macs` are of a forward pass."""

    network: str
    source: str
    batch: int
    depth: int
    params: int
    macs: int
    activation_bytes: int
    weights_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One module of a network, with all that it contains."""

    network: str
    scope: str
    kind: str
    params: int
    macs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeeperIsLighter:
    """A network that is deeper than another (L20): `fewer_params`, `fewer_macs` or both."""

    deeper: Compared
    shallower: Compared

    @property
    def fewer_params(self) -> bool:
        return self.deeper.params < self.shallower.params

    @property
    def fewer_macs(self) -> bool:
        return self.deeper.macs < self.shallower.macs


@dataclass(frozen=True, slots=True, kw_only=True)
class LargerIsCheaper:
    """Two networks, or two modules of a kind in one: more parameters, fewer operations (L19)."""

    larger: Compared | Part
    smaller: Compared | Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The networks in the order in which they were given, their modules, and the pairs found."""

    networks: tuple[Compared, ...]
    parts: tuple[Part, ...]
    deeper: DeeperIsLighter | None
    larger: LargerIsCheaper | None
    larger_parts: tuple[LargerIsCheaper, ...]


def compare(weighings: Sequence[Weighing], *, depth: int = 1) -> Comparison:
    """The networks side by side; modules are those at `depth`."""
    networks = tuple(map(_compared, weighings))
    parts = tuple(_parts(weighing, depth) for weighing in weighings)
    found = (larger_is_cheaper(group) for group in parts)
    return Comparison(
        networks=networks,
        parts=tuple(part for group in parts for part in group),
        deeper=deeper_is_lighter(networks),
        larger=larger_network_is_cheaper(networks),
        larger_parts=tuple(pair for pair in found if pair is not None),
    )


def weight_layers(weighing: Weighing) -> int:
    """Layers with trained weights that multiply, along the longest path: the depth in a network's name.

    ResNet-50 has 54 of them, 50 on the longest path: its four projections run beside others.
    """
    weights = {tensor.id for tensor in weighing.program.parameters}
    depths: dict[int, int] = {}
    for op, cost in zip(weighing.program.ops, weighing.costs, strict=True):
        if op.phase != "forward":
            continue
        read = [tensor.id for tensor in op.inputs]
        if read and all(id in weights for id in read):  # a weight transposed is still a weight
            weights.update(tensor.id for tensor in op.outputs)
            continue
        multiplies = cost is not None and cost.macs > 0 and any(id in weights for id in read)
        depth = max((depths.get(id, 0) for id in read), default=0) + multiplies
        for tensor in op.outputs:
            depths[tensor.id] = max(depth, depths.get(tensor.id, 0))
    return max(depths.values(), default=0)


def deeper_is_lighter(networks: Iterable[Compared]) -> DeeperIsLighter | None:
    """The pair that says most: lighter in both respects before one, then the greatest step in depth."""
    pairs = [
        DeeperIsLighter(deeper=a, shallower=b)
        for a, b in permutations(networks, 2)
        if a.depth > b.depth and (a.params < b.params or a.macs < b.macs)
    ]
    return max(
        pairs,
        key=lambda p: (p.fewer_params + p.fewer_macs, p.deeper.depth - p.shallower.depth),
        default=None,
    )


def larger_network_is_cheaper(networks: Iterable[Compared]) -> LargerIsCheaper | None:
    """The pair of networks with the greatest fall in MACs where parameters rise."""
    pairs = [
        (a, b) for a, b in permutations(networks, 2) if a.params > b.params and 0 < a.macs < b.macs
    ]
    if not pairs:
        return None
    larger, smaller = max(pairs, key=lambda pair: pair[1].macs / pair[0].macs)
    return LargerIsCheaper(larger=larger, smaller=smaller)


def larger_is_cheaper(parts: Iterable[Part]) -> LargerIsCheaper | None:
    """Of modules of a kind, ordered by parameters, the step with the greatest fall in MACs.

    Steps between neighbours, so that the pair is as alike in parameters as the network has them.
    """
    kinds: dict[str, list[Part]] = {}
    for part in parts:
        if part.params and part.macs:
            kinds.setdefault(part.kind, []).append(part)
    steps = [
        (small, large)
        for group in kinds.values()
        for small, large in pairwise(sorted(group, key=lambda part: part.params))
        if large.params > small.params and large.macs < small.macs
    ]
    if not steps:
        return None
    smaller, larger = max(steps, key=lambda step: step[0].macs / step[1].macs)
    return LargerIsCheaper(larger=larger, smaller=smaller)


def _compared(weighing: Weighing) -> Compared:
    return Compared(
        network=weighing.program.network,
        source=weighing.program.source,
        batch=weighing.program.workload.batch,
        depth=weight_layers(weighing),
        params=weighing.parameters.total,
        macs=weighing.compute.forward.macs,
        activation_bytes=weighing.space.activation_bytes,
        weights_bytes=weighing.space.weights_bytes,
    )


def _parts(weighing: Weighing, depth: int) -> tuple[Part, ...]:
    return tuple(
        Part(
            network=weighing.program.network,
            scope=layer.scope,
            kind=layer.kind,
            params=layer.params,
            macs=layer.forward.macs,
        )
        for layer in weighing.layers(depth)
        if layer.params or layer.forward.macs
    )
