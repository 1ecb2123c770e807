"""Compute: what each phase of a step multiplies, adds and moves, and how much of it was counted.

A total is counted by a *convention*, since the field has several and a figure without its convention
is a factor of two or more away from meaning anything:

- `macs`: multiply-accumulates of contractions (convolution, matrix product, attention), nothing else.
- `lecture`: multiplications and additions of those layers apart and added up; a sum of n products has
  n - 1 additions and a bias is one more. With a bias this is 2 a MAC, without it a little less.
- `exact`: every multiplication, addition, comparison, division and transcendental function of every
  operator.
- `paper`: as `macs`, but the full square of causal attention, and under the name 'FLOPs': as many papers
  print it, and as FlopCounterMode and fvcore count it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from ..ops import Cost, rule_of
from ..program import PHASES, Phase, Program

Convention = Literal["macs", "lecture", "exact", "paper"]
CONVENTIONS: Mapping[Convention, str] = {
    "macs": "MACs",
    "lecture": "operations",
    "exact": "operations",
    "paper": "FLOPs as papers print them (1 a MAC)",
}
"""Each convention and the unit of a total counted by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncounted:
    """An operator without a rule: how often it ran, and the bytes that went through it."""

    op: str
    count: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """The cost of each phase, and the coverage: how many of the operators have a rule."""

    forward: Cost
    backward: Cost
    update: Cost
    operators: int
    uncounted: tuple[Uncounted, ...]
    traffic_bytes: int

    @property
    def counted(self) -> int:
        return self.operators - sum(entry.count for entry in self.uncounted)

    @property
    def uncounted_share(self) -> float:
        """The share of all bytes moved that went through operators without a rule."""
        missed = sum(entry.bytes for entry in self.uncounted)
        return missed / (missed + self.traffic_bytes) if missed else 0.0

    @property
    def total(self) -> Cost:
        return self.forward + self.backward + self.update

    def phase(self, phase: Phase) -> Cost:
        """The cost of one phase."""
        return {"forward": self.forward, "backward": self.backward, "update": self.update}[phase]


def op_costs(program: Program) -> tuple[Cost | None, ...]:
    """The cost of each operator of the program, None where it has no rule."""
    known: dict[object, Cost | None] = {}
    costs = []
    for op in program.ops:
        key = op.signature
        if key not in known:
            rule = rule_of(op.kind)
            known[key] = None if rule is None else rule.cost(op)
        costs.append(known[key])
    return tuple(costs)


def compute(program: Program, costs: Iterable[Cost | None] | None = None) -> Compute:
    """Adds up the costs by phase and names what has no rule."""
    by_phase: dict[Phase, list[Cost]] = {phase: [] for phase in PHASES}
    missed: Counter[str] = Counter()
    missed_bytes: Counter[str] = Counter()
    for op, cost in zip(program.ops, op_costs(program) if costs is None else costs, strict=True):
        if cost is None:
            missed[op.kind] += 1
            missed_bytes[op.kind] += sum(t.bytes for t in (*op.inputs, *op.outputs))
        else:
            by_phase[op.phase].append(cost)
    totals = {phase: Cost.total(entries) for phase, entries in by_phase.items()}
    return Compute(
        **totals,
        operators=len(program.ops),
        uncounted=tuple(
            Uncounted(op=name, count=count, bytes=missed_bytes[name])
            for name, count in missed.most_common()
        ),
        traffic_bytes=sum(cost.traffic_bytes for cost in totals.values()),
    )


def counted_by(convention: Convention, costs: Iterable[Cost]) -> int:
    """The total of the costs by a convention."""
    if convention == "macs":
        return sum(cost.macs for cost in costs)
    if convention == "paper":
        return sum(cost.macs + cost.masked_macs for cost in costs)
    if convention == "lecture":
        return sum(cost.multiplications + cost.additions for cost in costs if cost.macs)
    return sum(cost.operations for cost in costs)
