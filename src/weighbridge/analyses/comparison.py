"""Comparison: networks side by side, and what their own figures say about depth, space and compute.

The lecture's take-home message is that a deeper network need not have more parameters or more
operations (L20), and that more parameters need not mean more operations (L19). Both are statements about
pairs; here the pairs are looked for among the networks, and among the modules of one network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, permutations

from ..workload import Workload
from .alignment import Aligned, by_map, by_path
from .pareto import Measure, unbeaten
from .run import Accuracy
from .time.step import Estimate
from .weighing import Weighing


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long a step takes on a device; `seconds` is None where nobody can say, and `why` says why not."""

    device: str
    seconds: Estimate | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One network. `depth` counts weight layers along the longest path; `macs` are of a forward pass.

    `paces` are a step's time on each of the devices, `accuracy` what it was published to reach at its own input size.
    """

    network: str
    source: str
    batch: int
    depth: int
    params: int
    macs: int
    activation_bytes: int
    weights_bytes: int
    peak_bytes: int
    paces: tuple[Pace, ...] = ()
    accuracy: Accuracy | None = None

    @property
    def top1(self) -> float | None:
        """The share of images that it was published to name right."""
        return None if self.accuracy is None else self.accuracy.top1


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
class Costed:
    """A network by one measure: its `cost`, between what that lies where it is a prediction, and whether no other
    network beats it in both cost and accuracy."""

    network: Compared
    cost: float
    between: Estimate | None
    unbeaten: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tradeoff:
    """Accuracy against cost by one measure, of the networks of which both are known; `device` is the time's."""

    measure: Measure
    device: str
    networks: tuple[Costed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The networks in the order in which they were given, their modules, and the pairs found.

    `workload` is the first network's; the others' differ by their inputs alone. `paths` and `maps` are where the networks
    align: in modules of one path, and in maps of one size.
    """

    workload: Workload
    networks: tuple[Compared, ...]
    parts: tuple[Part, ...]
    paths: Aligned
    maps: Aligned
    tradeoffs: tuple[Tradeoff, ...]
    deeper: DeeperIsLighter | None
    larger: LargerIsCheaper | None
    larger_parts: tuple[LargerIsCheaper, ...]


def compare(
    weighings: Sequence[Weighing],
    *,
    depth: int = 1,
    paces: Sequence[tuple[Pace, ...]] = (),
    accuracies: Sequence[Accuracy | None] = (),
) -> Comparison:
    """The networks side by side; modules are those at `depth`, paces and accuracies one for each network."""
    networks = tuple(
        _compared(
            weighing, paces[place] if paces else (), accuracies[place] if accuracies else None
        )
        for place, weighing in enumerate(weighings)
    )
    parts = tuple(_parts(weighing, depth) for weighing in weighings)
    found = (larger_is_cheaper(group) for group in parts)
    return Comparison(
        workload=weighings[0].program.workload,
        networks=networks,
        parts=tuple(part for group in parts for part in group),
        paths=by_path(weighings),
        maps=by_map(weighings),
        tradeoffs=tuple(_tradeoffs(networks)),
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


def _tradeoffs(networks: Sequence[Compared]) -> Iterator[Tradeoff]:
    """By each measure: parameters, operations, memory, and the time on each device."""
    yield _tradeoff(networks, "params", lambda one: one.params)
    yield _tradeoff(networks, "macs", lambda one: one.macs)
    yield _tradeoff(networks, "memory", lambda one: one.peak_bytes)
    for place, pace in enumerate(networks[0].paces):
        yield _tradeoff(networks, "time", partial(_seconds, place), device=pace.device)


def _seconds(place: int, one: Compared) -> Estimate | None:
    return one.paces[place].seconds


def _tradeoff(
    networks: Sequence[Compared],
    measure: Measure,
    cost: Callable[[Compared], int | Estimate | None],
    device: str = "",
) -> Tradeoff:
    def plain(one: Compared) -> float | None:
        found = cost(one)
        return found.value if isinstance(found, Estimate) else found

    best = unbeaten(networks, plain)
    known = [
        (one, spent, cost(one))
        for one in networks
        if one.top1 is not None and (spent := plain(one)) is not None
    ]
    return Tradeoff(
        measure=measure,
        device=device,
        networks=tuple(
            Costed(
                network=one,
                cost=spent,
                between=found if isinstance(found, Estimate) else None,
                unbeaten=any(one is other for other in best),
            )
            for one, spent, found in known
        ),
    )


def _compared(weighing: Weighing, paces: tuple[Pace, ...], accuracy: Accuracy | None) -> Compared:
    return Compared(
        network=weighing.program.network,
        source=weighing.program.source,
        batch=weighing.program.workload.batch,
        depth=weight_layers(weighing),
        params=weighing.parameters.total,
        macs=weighing.compute.forward.macs,
        activation_bytes=weighing.space.activation_bytes,
        weights_bytes=weighing.space.weights_bytes,
        peak_bytes=weighing.memory.peak_bytes,
        paces=paces,
        accuracy=accuracy,
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
