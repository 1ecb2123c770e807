"""The sheet of operators: one row a kind, dearest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..analyses.time.step import StepTime
from ..analyses.weighing import Weighing
from ..ops import Cost, rule_of
from ..program import Op
from .layers import short_unit
from .sheet import Cell, Column, Partial, Row, Sheet, durations, shares, summed


def operator_sheet(weighing: Weighing, *, times: Sequence[StepTime] = ()) -> Sheet:
    """What each kind of operator comes to over the whole step, backward and update included.

    Where the time of the step on one device is given, it is a column, and the slowest comes first.
    """
    time = times[0] if len(times) == 1 and times[0].program is weighing.program else None
    seconds = {} if time is None else time.by_kind
    groups: dict[str, list[Op]] = {}
    for op in weighing.program.ops:
        groups.setdefault(op.kind, []).append(op)
    costs = weighing.by_operator()
    order = sorted(
        costs, key=lambda kind: (-seconds.get(kind, 0.0), -weighing.operations(groups[kind]))
    )
    unit, spent = durations([seconds.get(kind, 0.0) for kind in order])
    values = [weighing.operations(groups[kind]) for kind in order]
    rows = tuple(
        Row(
            path=kind,
            name=kind,
            cells=(
                *_cells(kind, value, *costs[kind]),
                replace(share, partial=rule_of(kind) is None),
                *([] if time is None else [replace(taken, partial=rule_of(kind) is None)]),
            ),
        )
        for kind, value, share, taken in zip(order, values, shares(values), spent, strict=True)
    )
    return Sheet(
        subject="operator",
        columns=(
            *_columns(weighing),
            *([] if time is None else [Column(key="time", title="time", unit=unit, data_unit="s")]),
        ),
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
