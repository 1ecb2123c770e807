"""The formula of a layer, as the lecture would write it on the board, with its sizes.

A row of one contraction shows that contraction's. A row of many operators shows those that matter
most, equal ones once, and says how much the rest comes to.
"""

from __future__ import annotations

from collections.abc import Mapping

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


class Board:
    """Writes the formulas of one weighing; equal operators are worked out once."""

    def __init__(self, weighing: Weighing) -> None:
        self._weighing = weighing
        self._known: dict[object, str] = {}

    def lines(self, layer: Layer) -> tuple[str, ...]:
        """The formulas of a row's forward operators, dearest first, each with its value and sizes."""
        groups: dict[str, list[Op]] = {}
        for op in sorted(layer.ops, key=lambda op: -self._weighing.operations((op,), "forward")):
            if self._weighing.operations((op,), "forward"):
                groups.setdefault(self._line(op), []).append(op)
        lines = [
            f"{len(same)} x ({line})" if len(same) > 1 else line
            for line, same in list(groups.items())[:SHOWN]
        ]
        rest = [op for same in list(groups.values())[SHOWN:] for op in same]
        if rest:
            amount = integer(self._weighing.operations(rest))
            lines.append(
                f"and {plural(len(rest), 'operator')} more: {amount} {self._weighing.unit}"
            )
        return tuple(lines)

    def _line(self, op: Op) -> str:
        key = _sizes(op)
        if key not in self._known:
            self._known[key] = self._written(op)
        return self._known[key]

    def _written(self, op: Op) -> str:
        rule = rule_of(op.kind)
        assert rule is not None  # what has no rule costs nothing here and is not asked for
        found = _added(rule.formulas(op), COUNTED[self._weighing.convention])
        sizes = ", ".join(f"{name}={size}" for name, size in found.values.items())
        return f"{found.text} = {integer(found.value)}   {sizes}".rstrip()


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
