"""The Pareto line: of entries that cost and reach something, those that no other beats in both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypeVar, get_args

Measure = Literal["params", "macs", "memory", "time"]
"""By what cost is measured."""
MEASURES: tuple[Measure, ...] = get_args(Measure)


class Reaching(Protocol):
    """What reaches a share of the images of a data set, or None where nobody says."""

    @property
    def top1(self) -> float | None:
        """The share."""


Entry = TypeVar("Entry", bound=Reaching)


def unbeaten(entries: Sequence[Entry], cost: Callable[[Entry], float | None]) -> tuple[Entry, ...]:
    """The entries that no other beats: each costs more than the one before and reaches more.

    Of two that cost the same, the one that reaches more; of two that are the same, the first.
    """
    known = [
        (spent, -entry.top1, place, entry)
        for place, entry in enumerate(entries)
        if entry.top1 is not None and (spent := cost(entry)) is not None
    ]
    found: list[Entry] = []
    best = float("inf")
    for _, missed, _, entry in sorted(known, key=lambda one: one[:3]):
        if missed < best:
            found.append(entry)
            best = missed
    return tuple(found)
