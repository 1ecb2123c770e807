"""Networks compared: accuracy over cost, depth against weight, and DenseNet's figure 3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from ...analyses.pareto import Measure
from ...analyses.standing import Standing, pareto
from ...analyses.weighing import Json
from ...units import duration, unit
from ..sheet import Cell, Column, Figure, Row, Sheet, Size
from .panels import Panel, Point

MILLION, GIGA, MIB, MILLISECOND = 1e6, 1e9, 2.0**20, 1e-3

AXES: Mapping[Measure, tuple[str, float]] = {
    "params": ("parameters (millions)", MILLION),
    "macs": ("forward pass (GMACs)", GIGA),
    "memory": ("peak memory of a step (MiB)", MIB),
    "time": ("time of a step (ms, predicted)", MILLISECOND),
}
"""A measure on an axis: its name with its unit, and how large that unit is."""


def tradeoff(standings: Sequence[Standing], measures: Sequence[Measure]) -> tuple[Panel, ...]:
    """Accuracy over each measure, with the networks that no other beats on a line."""
    return tuple(
        Panel(
            x=AXES[measure][0],
            y="top-1 accuracy (%)",
            points=tuple(_point(one, measure) for one in standings if one.top1 is not None),
            front=tuple(one.network for one in pareto(standings, measure)),
        )
        for measure in measures
    )


def depth(standings: Sequence[Standing]) -> tuple[Panel, ...]:
    """Parameters, operations and memory over depth."""
    measures: tuple[Measure, ...] = ("params", "macs", "memory")
    return tuple(
        Panel(
            x="depth (weight layers on the longest path)",
            y=AXES[measure][0],
            points=tuple(
                Point(
                    name=one.network,
                    family=one.family,
                    x=one.depth,
                    y=(one.cost(measure) or 0) / AXES[measure][1],
                )
                for one in standings
            ),
            logarithmic="xy",
        )
        for measure in measures
    )


def figure3(standings: Sequence[Standing]) -> tuple[Panel, ...]:
    """Validation error over parameters, and over FLOPs."""
    return (
        _errors(standings, "parameters (millions)", [one.params / MILLION for one in standings]),
        _errors(
            standings,
            "forward pass (GFLOPs, 1 MAC = 2 FLOPs)",
            [one.flops / GIGA for one in standings],
        ),
    )


def sheet(
    standings: Sequence[Standing],
    *,
    on: str = "",
    fronts: Sequence[Measure] = (),
    errors: bool = False,
) -> Sheet:
    """A row a network; `fronts` are the measures by which it is said whether another beats it.

    `errors` shows the share that a network gets wrong in place of what it reaches.
    """
    best = {measure: {one.network for one in pareto(standings, measure)} for measure in fronts}
    reaches = not errors and any(one.top1 is not None for one in standings)
    timed = any(one.seconds is not None for one in standings)
    columns = [
        Column(key="depth", title="depth", rank=2),
        Column(key="params", title="params"),
        Column(key="macs", title="MACs"),
        Column(key="peak", title="peak", data_unit="bytes", rank=1),
    ]
    if timed:
        columns.append(Column(key="time", title=f"time on {on}", data_unit="s"))
    if reaches:
        columns.append(Column(key="top1", title="top-1", unit="%"))
    if errors:
        columns.append(Column(key="error", title="top-1 error", unit="%"))
    if fronts:
        columns.append(Column(key="best", title="unbeaten in", align="left", rank=1))
    return Sheet(
        subject="network",
        columns=tuple(columns),
        rows=tuple(
            Row(
                path=one.source,
                name=one.network,
                cells=tuple(_cells(one, timed, reaches, errors, best)),
            )
            for one in standings
        ),
    )


def record(standings: Sequence[Standing], *, fronts: Sequence[Measure] = ()) -> dict[str, Json]:
    """The same as plain data."""
    return {
        "networks": [dict(asdict(one)) for one in standings],
        "pareto": {
            measure: [one.network for one in pareto(standings, measure)] for measure in fronts
        },
    }


def _errors(standings: Sequence[Standing], name: str, values: Sequence[float]) -> Panel:
    points = tuple(
        Point(name=one.network, family=one.family, x=value, y=100 * (one.error or 0))
        for one, value in zip(standings, values, strict=True)
    )
    return Panel(x=name, y="top-1 error (%)", points=points, joined=True, logarithmic="")


def _point(one: Standing, measure: Measure) -> Point:
    size = AXES[measure][1]
    between = one.seconds if measure == "time" else None
    return Point(
        name=one.network,
        family=one.family,
        x=(one.cost(measure) or 0) / size,
        y=100 * (one.top1 or 0),
        low=None if between is None else between.low / size,
        high=None if between is None else between.high / size,
    )


def _cells(
    one: Standing,
    timed: bool,
    reaches: bool,
    errors: bool,
    best: Mapping[Measure, set[str]],
) -> list[Cell]:
    found: list[Cell] = [one.depth, one.params, _macs(one), Size(bytes=one.peak_bytes)]
    if timed:
        seconds = one.seconds
        found.append(
            "?"
            if seconds is None
            else Figure(value=seconds.value, text=f"~{duration(seconds.value)}")
        )
    if reaches:
        found.append(_percent(one.top1))
    if errors:
        found.append(_percent(one.error))
    if best:
        found.append(", ".join(measure for measure in best if one.network in best[measure]))
    return found


def _percent(share: float | None) -> Cell:
    return "?" if share is None else Figure(value=100 * share, text=f"{100 * share:.2f}")


def _macs(one: Standing) -> Cell:
    return Figure(value=one.macs, text=unit(one.macs, "MACs").removesuffix("MACs").rstrip())
