"""The sheet of operators: one row a kind, dearest first."""

from __future__ import annotations

from dataclasses import replace

from ..analyses.weighing import Weighing
from ..ops import Cost, rule_of
from ..program import Op
from .layers import short_unit
from .sheet import Cell, Column, Partial, Row, Sheet, shares, summed


def operator_sheet(weighing: Weighing) -> Sheet:
    """What each kind of operator comes to over the whole step, backward and update included."""
    groups: dict[str, list[Op]] = {}
    for op in weighing.program.ops:
        groups.setdefault(op.kind, []).append(op)
    costs = weighing.by_operator()
    order = sorted(costs, key=lambda kind: -weighing.operations(groups[kind]))
    values = [weighing.operations(groups[kind]) for kind in order]
    rows = tuple(
        Row(
            path=kind,
            name=kind,
            cells=(
                *_cells(kind, value, *costs[kind]),
                replace(share, partial=rule_of(kind) is None),
            ),
        )
        for kind, value, share in zip(order, values, shares(values), strict=True)
    )
    return Sheet(
        subject="operator",
        columns=_columns(weighing),
        rows=rows,
        totals=tuple(summed(column) for column in zip(*(row.cells for row in rows), strict=True)),
    )


def _columns(weighing: Weighing) -> tuple[Column, ...]:
    return (
        Column(key="family", title="family", align="left", rank=3),
        Column(key="runs", title="runs", rank=1),
        Column(key="operations", title=f"{short_unit(weighing)} of the step"),
        Column(key="multiplications", title="multiplications", rank=4),
        Column(key="additions", title="additions", rank=4),
        Column(key="other", title="other operations", rank=4),
        Column(key="traffic", title="read and written", unit="bytes", rank=5),
        Column(key="share", title="share", unit="%", rank=2),
    )


def _cells(kind: str, operations: int, runs: int, cost: Cost) -> tuple[Cell, ...]:
    rule = rule_of(kind)
    if rule is None:
        unknown = Partial(known=0)
        return ("no rule", runs, unknown, unknown, unknown, unknown, unknown)
    return (
        rule.family, runs, operations,
        cost.multiplications, cost.additions, cost.other, cost.traffic_bytes,
    )  # fmt: skip
