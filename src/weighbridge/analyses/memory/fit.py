"""Fit: will the step fit on that device, what is the largest batch, and what would make it fit?

Sizes that fit are found by arithmetic: the bytes of every storage are polynomials in the batch
(`scaling`), and the loop at a batch goes through the allocator (`resident`) without building the network
again. The answer is then confirmed by building the network at it and at the one after it. Where what a
network runs changes with the size there are no polynomials, and every size asked about is built.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ...devices import Device
from ...program import Program
from ...workload import Workload
from .resident import Resident
from .timeline import Category, Peak

Build = Callable[[Workload], Program]
"""A network: its Program under any workload."""

Axis = Literal["batch", "image size", "sequence length"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What takes most at the peak: a category, and of that category the module that holds most.

    `scope_bytes` are the module's in that category, of the category's `bytes`, of the peak's `peak_bytes`.
    """

    category: Category
    bytes: int
    scope: str
    scope_bytes: int
    peak_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Largest:
    """The largest size along an axis that fits, with everything else as the workload has it.

    Sizes are looked at in steps of `step`; `size` is 0 where not even the smallest fits, and `binds` then
    says what takes the memory. `at` is the loop built at `size`; `beyond` the loop built at `size + step`,
    None where nobody asks further (the limit of the search, or the network cannot be built there).
    `direct` says why each size was built, and is None where sizes followed by arithmetic.
    """

    axis: Axis
    size: int
    step: int
    at: Resident | None
    beyond: Resident | None
    direct: str | None
    binds: Binding | None


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
