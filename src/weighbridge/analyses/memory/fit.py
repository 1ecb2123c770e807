"""Fit: will the step fit on that device, what is the largest batch, and what would make it fit?

Sizes that fit are found by arithmetic: the bytes of every storage are polynomials in the batch
(`scaling`), and the loop at a batch goes through the allocator (`resident`) without building the network
again. The answer is then confirmed by building the network at it and at the one after it. Where what a
network runs changes with the size there are no polynomials, and every size asked about is built.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...devices import Device
from ...workload import Workload
from .largest import Binding, Largest
from .resident import Resident
from .timeline import Peak


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of the step, weighed as a Program of its own.

    `parts` are the keys of the single changes in it ('checkpoint', 'adam8bit', ...): one, or two of a pair.
    `text` says it to a person, `workload` is the step's afterwards. `operations` is how many times as many
    MACs an equal number of samples takes (1.0: as many), `largest_batch` the largest batch that fits
    with it, 0 where none does. `note` says what else it changes, '' where nothing.
    """

    parts: tuple[str, ...]
    text: str
    workload: Workload
    resident: Resident
    operations: float
    largest_batch: int
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Whether a step fits on a device, what binds, the largest sizes, and ranked changes.

    `resident` and `peak` are of the workload as it was asked for. `size` is the largest image or sequence at
    that batch, None where the network has neither or takes only one. `changes` stand in the order of
    advice: what makes the step fit first, and of that what costs least first.
    """

    network: str
    workload: Workload
    device: Device
    resident: Resident
    peak: Peak
    binds: Binding
    batch: Largest
    size: Largest | None
    changes: tuple[Change, ...]
