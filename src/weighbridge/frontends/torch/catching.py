"""Catching: the networks that frontends hand to the tracer, for whoever wants to run them too.

Whatever a network was named by, it comes past the tracer as a module with its workload; who measures it takes it there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...workload import Workload

if TYPE_CHECKING:
    from torch import nn

    from .inputs import Examples


@dataclass(frozen=True, slots=True, kw_only=True)
class Caught:
    """A network on its way into the tracer: what a frontend built, and how it is used."""

    model: nn.Module | Callable[..., object]
    workload: Workload
    network: str
    examples: Examples | None


_watching: list[list[Caught]] = []


@contextmanager
def catching() -> Iterator[list[Caught]]:
    """The networks that frontends hand to the tracer meanwhile."""
    found: list[Caught] = []
    _watching.append(found)
    try:
        yield found
    finally:
        _watching.remove(found)


def catch(network: Caught) -> None:
    """Notes a network for whoever is catching."""
    for found in _watching:
        found.append(network)
