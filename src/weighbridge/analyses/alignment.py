"""Alignment: what several networks have in the same place, so that they can be held against each other part by part.

Networks of one family have modules of one path: layer3.0.conv1 of ResNet-50 and of ResNet-101. Networks of several
families that look at images have maps of one size: at 56 x 56 each of them has some layers, and what they weigh there
says where one is heavier than another. What stands in no such place is kept apart, so that places and rest add up to
the whole network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from ..ops import rule_of
from ..program import Op
from .weighing import Weighing

ON_MAPS = frozenset(
    {
        "convolution 1x1", "convolution", "convolution stem", "depthwise convolution", "wide depthwise convolution",
        "grouped convolution", "batch norm",
    }
)  # fmt: skip
"""Kernels whose operands are maps: samples, channels, and then the map's sides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What one network has in a place: its kind and settings where it is one module, and what it weighs."""

    kind: str = ""
    detail: str = ""
    params: int = 0
    macs: int = 0

    def __add__(self, other: Side) -> Side:
        return replace(self, params=self.params + other.params, macs=self.macs + other.macs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place, by its path or the size of its maps, and its side of each network; None where it has no such place."""

    name: str
    sides: tuple[Side | None, ...]

    @property
    def differs(self) -> bool:
        """Whether the networks that have it have it otherwise."""
        there = [side for side in self.sides if side is not None]
        return any(side != there[0] for side in there)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aligned:
    """Places in the order of the first network that has them, and what each network has in none of them.

    A place may hold others, by their paths: what it holds is then in both.
    """

    places: tuple[Place, ...]
    apart: tuple[Side, ...]


def by_path(weighings: Sequence[Weighing]) -> Aligned:
    """Modules whose path at least two networks have; each holds all below it."""
    rows = [_rows(weighing) for weighing in weighings]
    known = [_with_all_below(found) for found in rows]
    shared = [
        path
        for path in _merged(known)
        if path and sum(path in found for found in known) > 1
    ]  # fmt: skip
    there = set(shared)

    def held(path: str) -> bool:
        return path in there or any(above in there for above in _above(path))

    places = tuple(
        Place(name=path, sides=tuple(found.get(path) for found in known)) for path in shared
    )
    return Aligned(
        places=tuple(place for place in places if _weighs(place)),
        apart=tuple(
            sum((side for path, side in found.items() if not held(path)), Side()) for found in rows
        ),
    )


def by_map(weighings: Sequence[Weighing]) -> Aligned:
    """Layers by the size of the maps that they make, the largest first."""
    known = [_maps(weighing) for weighing in weighings]
    sizes = sorted({size for found in known for size in found if size}, key=prod, reverse=True)
    return Aligned(
        places=tuple(
            Place(name=" x ".join(map(str, size)), sides=tuple(found.get(size) for found in known))
            for size in sizes
        ),
        apart=tuple(found.get((), Side()) for found in known),
    )


def _rows(weighing: Weighing) -> dict[str, Side]:
    return {
        layer.scope: Side(
            kind=layer.kind, detail=layer.detail, params=layer.params, macs=layer.forward.macs
        )
        for layer in weighing.layers()
    }


def _with_all_below(rows: Mapping[str, Side]) -> dict[str, Side]:
    found = dict(rows)
    for path, side in rows.items():
        for above in _above(path):
            found[above] = found.get(above, Side()) + side
    return found


def _above(path: str) -> Iterator[str]:
    while "." in path:
        path = path.rpartition(".")[0]
        yield path


def _merged(known: Sequence[Mapping[str, Side]]) -> list[str]:
    """The paths of all, those that a later network adds behind the one that they follow there."""
    order: list[str] = []
    for found in known:
        after = 0
        for path in found:
            if path in order:
                after = order.index(path) + 1
            else:
                order.insert(after, path)
                after += 1
    return order


def _weighs(place: Place) -> bool:
    return any(side is not None and (side.params or side.macs) for side in place.sides)


def _maps(weighing: Weighing) -> dict[tuple[int, ...], Side]:
    """What the operators on maps of each size weigh; () is everything else."""
    program = weighing.program
    unread = {tensor.id: tensor.elements for tensor in program.parameters}
    found: dict[tuple[int, ...], Side] = {}
    for op, cost in zip(program.ops, weighing.costs, strict=True):
        if op.phase != "forward":
            continue
        params = sum(unread.pop(tensor.id, 0) for tensor in op.inputs)
        side = Side(params=params, macs=0 if cost is None else cost.macs)
        if side.params or side.macs:
            size = _map(op)
            found[size] = found.get(size, Side()) + side
    found[()] = found.get((), Side()) + Side(params=sum(unread.values()))
    return found


def _map(op: Op) -> tuple[int, ...]:
    rule = rule_of(op.kind)
    if rule is None or not any(kernel.kind in ON_MAPS for kernel in rule.kernels(op)):
        return ()
    return tuple(op.outputs[0].shape[2:])
