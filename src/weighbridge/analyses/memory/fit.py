"""Fit: will the step fit on that device, what is the largest batch, and what would make it fit?

Sizes that fit are found by `largest`. Changes of the step (`changes`), one at a time and in pairs, are each
a workload of its own: its Program is built, put through the allocator, and has a largest batch. They stand in the
order of advice: what makes the step fit first; of that what leaves the training most as it is; of that what
costs fewest operations.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from ...devices import Device
from ...errors import WeighError
from ...program import Program
from ...workload import Workload
from ..compute import op_costs
from .changes import Alters, Single, singles
from .largest import (
    Binding,
    Build,
    Largest,
    Room,
    batch_scaling,
    binding,
    largest_batch,
    largest_by_arithmetic,
    largest_size,
)
from .resident import Resident, capacity_of
from .scaling import Scaling, UnscalableError
from .timeline import Peak, lifetimes
from .usage import Memory

PAIRED = 5
"""Single changes that are tried in pairs: those that raise the largest batch most."""

WORTH = 1.05
"""How many times as large a batch as either of its changes a pair must allow, to be told."""

MICRO_STEPS = 2
"""Any number of micro-steps above one takes the same memory: gradients are there already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of the step, weighed as a Program of its own.

    `parts` are the keys of the single changes in it ('checkpoint', 'adam8bit', ...): one, or two of a pair.
    `text` says it to a person, `workload` is the step's afterwards. `operations` is how many times as
    many MACs an equal number of samples takes (1.0: as many), `largest_batch` the largest batch that fits
    with it, 0 where none does; of accumulation the largest micro-batch. `alters` is what becomes of the
    training, `note` what else it changes, '' where nothing.
    """

    parts: tuple[str, ...]
    text: str
    workload: Workload
    resident: Resident
    operations: float
    largest_batch: int
    alters: Alters
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A change that could not be weighed, and why."""

    text: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Whether a step fits on a device, what binds, the largest sizes, and ranked changes.

    `resident` and `peak` are of the workload as it was asked for. `size` is the largest image or sequence at
    that batch, None where the network has neither or takes only one. `changes` stand in the order of
    advice: what makes the step fit first, and of that what costs least first.
    """

    program: Program
    device: Device
    resident: Resident
    peak: Peak
    binds: Binding
    batch: Largest
    size: Largest | None
    changes: tuple[Change, ...]
    refused: tuple[Refused, ...]


def fit(build: Build, asked: Workload, room: Room) -> Fit:
    """Weighs the step and its changes on a device.

    Raises:
        UsageError: nobody says how much memory the device has.
        WeighError: the network cannot be built under the workload.
    """
    capacity_of(room.device)
    program = build(asked)
    usage = Memory(program=program)
    advice = _Advice(build, program, room)
    batch = largest_batch(build, program.workload, room)
    return Fit(
        program=program,
        device=room.device,
        resident=room.resident(usage.lifetimes),
        peak=usage.peak,
        binds=binding(usage.peak),
        batch=batch,
        size=largest_size(build, program, room),
        changes=advice.changes(batch.size),
        refused=tuple(advice.refused),
    )


class _Advice:
    """Changes of a step, each built and weighed."""

    def __init__(self, build: Build, program: Program, room: Room) -> None:
        self.build = build
        self.room = room
        self.program = program
        self.asked = program.workload
        self.macs = _macs_a_sample(program)
        self.refused: list[Refused] = []

    def changes(self, largest: int) -> tuple[Change, ...]:
        """What helps: lowers the peak or raises the largest batch, which is so much without it."""
        before = self.room.resident(lifetimes(self.program))
        known = singles(self.program, self.room.device)
        found: dict[tuple[str, ...], Change] = {}
        for single in known:
            change = self._weighed((single,))
            if change is not None and _helps(change, before, largest):
                found[change.parts] = change
        best = sorted(found.values(), key=lambda change: -change.largest_batch)[:PAIRED]
        paired = [single for single in known if (single.key,) in {c.parts for c in best}]
        for one, other in combinations(paired, 2):
            change = self._weighed((one, other)) if one.kind != other.kind else None
            if change is not None and all(
                change.largest_batch >= WORTH * found[key,].largest_batch for key in change.parts
            ):
                found[change.parts] = change
        if before.answer != "fits":
            smaller = self._accumulated(())
            more = [] if smaller is not None else [s for s in known if (s.key,) in found]
            for change in (smaller, *(self._accumulated((single,)) for single in more)):
                if change is not None:
                    found[change.parts] = change
        return tuple(sorted(found.values(), key=_advised))

    def _weighed(self, parts: Sequence[Single]) -> Change | None:
        """The change, built; None where the network takes no such step, which is said of single changes."""
        workload = _applied(self.asked, parts)
        try:
            program = self.build(workload)
            if workload.batch == 1 and not self.room.fits(lifetimes(program)):
                return self._change(parts, workload, program, 0)
            scaling = self._scaling(workload)
        except WeighError as error:
            if len(parts) == 1:
                self.refused.append(Refused(text=_text(parts), why=error.message))
            return None
        return self._change(parts, workload, program, self._largest(workload, scaling))

    def _accumulated(self, parts: Sequence[Single]) -> Change | None:
        """The same update from smaller batches, where one of them fits."""
        if not self.asked.training or self.asked.accumulation > 1 or self.asked.batch == 1:
            return None
        stepped = replace(_applied(self.asked, parts), accumulation=MICRO_STEPS)
        try:
            scaling = self._scaling(stepped)
            largest = min(self._largest(stepped, scaling), self.asked.batch - 1)
            if largest < 1:
                return None
            micro, steps = micro_batches(self.asked.batch, largest)
            workload = replace(stepped, batch=micro, accumulation=steps)
            program = self.build(workload)
        except WeighError as error:
            self.refused.append(
                Refused(text=f"{_text(parts)} --accumulate".strip(), why=error.message)
            )
            return None
        smaller = Single(
            key="accumulate",
            kind="batch",
            text=f"--batch {micro} --accumulate {steps}",
            alters=0,
            note="" if micro * steps == self.asked.batch else f"{micro * steps} samples an update",
            apply=lambda old: workload,
        )
        return self._change((*parts, smaller), workload, program, largest)

    def _scaling(self, workload: Workload) -> Scaling | None:
        """The polynomials in the batch; None where there are none."""
        try:
            return batch_scaling(self.build, workload)
        except UnscalableError:
            return None

    def _largest(self, workload: Workload, scaling: Scaling | None) -> int:
        if scaling is None:
            return largest_batch(self.build, workload, self.room).size
        return max(largest_by_arithmetic(scaling, self.room), 0)

    def _change(
        self, parts: Sequence[Single], workload: Workload, program: Program, largest: int
    ) -> Change:
        return Change(
            parts=tuple(part.key for part in parts),
            text=_text(parts),
            workload=workload,
            resident=self.room.resident(lifetimes(program)),
            operations=_macs_a_sample(program) / self.macs if self.macs else 1.0,
            largest_batch=largest,
            alters=max(part.alters for part in parts),
            note=", ".join(dict.fromkeys(part.note for part in parts if part.note)),
        )


def micro_batches(batch: int, largest: int) -> tuple[int, int]:
    """A micro-batch of at most `largest` samples and how many of them make a batch.

    Evenly where twice as many steps as needed are enough for that, else with as few samples over as can be.

        micro_batches(64, 40) == (32, 2)     micro_batches(7, 3) == (3, 3)
    """
    fewest = -(-batch // largest)
    for steps in range(fewest, 2 * fewest + 1):
        if batch % steps == 0:
            return batch // steps, steps
    return -(-batch // fewest), fewest


def _applied(workload: Workload, parts: Iterable[Single]) -> Workload:
    for part in parts:
        workload = part.apply(workload)
    return workload


def _text(parts: Sequence[Single]) -> str:
    return " ".join(part.text for part in parts)


def _helps(change: Change, before: Resident, largest: int) -> bool:
    return change.resident.total.expected < before.total.expected or change.largest_batch > largest


def _advised(change: Change) -> tuple[object, ...]:
    """The order of advice."""
    answers = ("fits", "too close to call", "does not fit", None)
    return (
        answers.index(change.resident.answer),
        change.alters,
        round(change.operations, 2),
        len(change.parts),
        -change.largest_batch,
        change.parts,
    )


def _macs_a_sample(program: Program) -> float:
    return sum(cost.macs for cost in op_costs(program) if cost is not None) / program.workload.batch
