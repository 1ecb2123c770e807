"""The formula of a layer, as the lecture would write it on the board, with its sizes.

A row of one contraction shows that contraction's. A row of many operators shows those that matter
most, equal ones once, and says how much the rest comes to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..analyses.layers import Layer
from ..analyses.weighing import Weighing
from ..dims import Formula, formula
from ..ops import rule_of
from ..program import Op
from ..units import integer, plural

SHOWN = 3
"""Formulas below one row; the rest is summed up."""

COUNTED: Mapping[str, tuple[str, ...]] = {
    "macs": ("macs",),
    "paper": ("macs", "masked_macs"),
    "lecture": ("multiplications", "additions"),
    "exact": ("multiplications", "additions", "comparisons", "divisions", "transcendentals"),
}
"""The kinds of arithmetic that each convention adds up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A formula, its value and the sizes in it; `ops` are the operators that it is of, all alike."""

    text: str
    value: int
    sizes: Mapping[str, int]
    ops: tuple[Op, ...]


class Board:
    """Writes the formulas of one weighing; equal operators are worked out once."""

    def __init__(self, weighing: Weighing) -> None:
        self._weighing = weighing
        self._known: dict[object, tuple[str, int, Formula]] = {}

    def lines(self, layer: Layer) -> tuple[str, ...]:
        """The formulas of a row's forward operators, dearest first, each with its value and sizes."""
        shown, rest = self.formulas(layer)
        lines = []
        for found in shown:
            sizes = ", ".join(f"{name}={size}" for name, size in found.sizes.items())
            line = f"{found.text} = {integer(found.value)}   {sizes}".rstrip()
            lines.append(f"{len(found.ops)} x ({line})" if len(found.ops) > 1 else line)
        if rest:
            amount = integer(self._weighing.operations(rest))
            lines.append(
                f"and {plural(len(rest), 'operator')} more: {amount} {self._weighing.unit}"
            )
        return tuple(lines)

    def formulas(self, layer: Layer) -> tuple[tuple[Written, ...], tuple[Op, ...]]:
        """The formulas of a row's forward operators, dearest first, and the operators beyond those shown."""
        groups: dict[object, list[tuple[Op, Formula]]] = {}
        for op in sorted(layer.ops, key=lambda op: -self._weighing.operations((op,), "forward")):
            if self._weighing.operations((op,), "forward"):
                text, value, found = self._read(op)
                key = (text, value, tuple(found.values.items()))
                groups.setdefault(key, []).append((op, found))
        shown = tuple(
            Written(
                text=self._read(same[0][0])[0],
                value=self._read(same[0][0])[1],
                sizes=same[0][1].values,
                ops=tuple(op for op, _ in same),
            )
            for same in list(groups.values())[:SHOWN]
        )
        return shown, tuple(op for same in list(groups.values())[SHOWN:] for op, _ in same)

    def _read(self, op: Op) -> tuple[str, int, Formula]:
        key = _sizes(op)
        if key not in self._known:
            rule = rule_of(op.kind)
            assert rule is not None  # what has no rule costs nothing here and is not asked for
            found = _added(rule.formulas(op), COUNTED[self._weighing.convention])
            self._known[key] = (found.text, found.value, found)
        return self._known[key]


def _added(formulas: Mapping[str, Formula], keys: tuple[str, ...]) -> Formula:
    """The sum of the formulas of these kinds of arithmetic."""
    chosen = [formulas[key] for key in keys if key in formulas]
    values = {name: size for entry in chosen for name, size in entry.values.items()}
    return formula(sum(entry.expression for entry in chosen), values)


def _sizes(op: Op) -> object:
    return (
        op.kind,
        tuple(tensor.shape for tensor in op.inputs),
        tuple(sorted((key, str(value)) for key, value in op.attributes.items())),
    )
