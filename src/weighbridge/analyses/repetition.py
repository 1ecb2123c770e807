"""Repetition: a decoder of 126 blocks is one block, 126 times.

Networks repeat themselves. Modules that stand side by side under names that count on (`0`, `1`, `2`, or
`layer_0`, `layer_1`), and that are the same in class, shapes, parameters and work all the way down, are
merged into one row that stands for all of them, with their figures added up, so that rows still come to the
totals. A module that differs in anything, such as the first of a stage, stays on its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from .layers import Layer

COUNTED = re.compile(r"(.*?)(\d+)")
"""A name that ends in a number."""


@dataclass(frozen=True, slots=True)
class _Branch:
    """A layer with the layers below it."""

    layer: Layer
    below: tuple[_Branch, ...]

    def same(self) -> object:
        """What two branches have in common when one repeats the other: everything but their names."""
        layer = self.layer
        figures = (
            layer.kind, layer.detail, layer.inputs, layer.outputs, layer.params,
            layer.trainable_params, layer.forward, layer.backward, layer.update,
            layer.activation_bytes, layer.operators, layer.uncounted,
        )  # fmt: skip
        return (figures, tuple((branch.layer.name, branch.same()) for branch in self.below))


def merged(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """The layers with repeated ones on one row, parents before what is below them.

    Twelve blocks `h.0` to `h.11` become `h.0-11`, 12 copies; the rows below are those of one block, each
    with the figures of all twelve.
    """
    below: dict[str, list[Layer]] = {}
    for layer in layers:
        if layer.scope:
            below.setdefault(layer.scope.rpartition(".")[0], []).append(layer)
    whole = {layer.scope: layer for layer in layers}

    def branch(layer: Layer) -> _Branch:
        return _Branch(layer, tuple(branch(child) for child in below.get(layer.scope, ())))

    # A scope whose parent is no module stands on its own, as the network's own row does.
    roots = [layer for layer in layers if layer.scope and _parent(layer.scope) not in whole]
    top = [branch(layer) for layer in (*([whole[""]] if "" in whole else []), *roots)]
    return tuple(row for tree in _merge_all(top) for row in _rows(tree))


def _parent(scope: str) -> str:
    return scope.rpartition(".")[0]


def _rows(tree: _Branch) -> Iterator[Layer]:
    yield tree.layer
    for child in tree.below:
        yield from _rows(child)


def _merge_all(branches: Sequence[_Branch]) -> tuple[_Branch, ...]:
    """Siblings with every run of repeated ones merged, and the same below them."""
    found: list[_Branch] = []
    for _, run in groupby(branches, key=_Runs()):
        copies = tuple(run)
        found.append(_one(copies[0]) if len(copies) == 1 else _merge(copies))
    return tuple(found)


class _Runs:
    """Groups neighbours: the same key as long as each repeats the one before and counts on from it."""

    def __init__(self) -> None:
        self._number = 0
        self._last: tuple[str, int, object] | None = None

    def __call__(self, branch: _Branch) -> int:
        match = COUNTED.fullmatch(branch.layer.name)
        if match is None:
            self._last = None
        else:
            here = (match[1], int(match[2]), branch.same())
            last = self._last
            self._last = here
            if last is not None and here == (last[0], last[1] + 1, last[2]):
                return self._number
        self._number += 1
        return self._number


def _one(branch: _Branch) -> _Branch:
    return replace(branch, below=_merge_all(branch.below))


def _merge(copies: Sequence[_Branch]) -> _Branch:
    """One branch for all copies; those below them are merged place by place, then among themselves."""
    first, last = copies[0].layer, copies[-1].layer
    number = COUNTED.fullmatch(last.name)
    assert number is not None
    together = _sum([copy.layer for copy in copies], f"{first.scope}-{number[2]}")
    below = tuple(
        _renamed(_together(places), together.scope)
        for places in zip(*(copy.below for copy in copies), strict=True)
    )
    return _Branch(together, _merge_all(below))


def _together(places: Sequence[_Branch]) -> _Branch:
    """The branches of the same place in every copy, added up; they keep the first one's name."""
    layers = [place.layer for place in places]
    return _Branch(
        _sum(layers, layers[0].scope),
        tuple(_together(deeper) for deeper in zip(*(place.below for place in places), strict=True)),
    )


def _renamed(branch: _Branch, parent: str) -> _Branch:
    scope = f"{parent}.{branch.layer.name}"
    return _Branch(
        replace(branch.layer, scope=scope),
        tuple(_renamed(child, scope) for child in branch.below),
    )


def _sum(layers: Sequence[Layer], scope: str) -> Layer:
    """One row with the figures of all; they are the same in each."""
    first, count = layers[0], len(layers)
    return replace(
        first,
        scope=scope,
        copies=count * first.copies,
        params=count * first.params,
        trainable_params=count * first.trainable_params,
        forward=first.forward * count,
        backward=first.backward * count,
        update=first.update * count,
        activation_bytes=count * first.activation_bytes,
        operators=count * first.operators,
        uncounted=count * first.uncounted,
        ops=tuple(op for layer in layers for op in layer.ops),
    )
