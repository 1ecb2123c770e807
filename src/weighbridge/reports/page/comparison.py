"""The page of a comparison: figures side by side, accuracy against cost, and where the networks align.

Everything is in its HTML, bars and pictures too, so that it reads the same where no script may run; the program chooses
rows, marks one network everywhere, and saves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ...analyses.alignment import Aligned, Side
from ...analyses.comparison import Comparison, Costed, Tradeoff
from ...analyses.pareto import Measure
from ...analyses.weighing import Json
from ...units import count, duration, durations, integer, memory, percent, plural
from .. import csv, latex, markdown
from ..comparison import ELSEWHERE, basis, findings, labels, network_sheet, ratio
from ..sheet import Cell, Column, Duration, Figure, Sheet, Size, text
from . import document
from .scatter import HEIGHT, WIDTH, Picture, Point, picture

MODULES = ("elements", "saving", "compare")

FITS = 30
"""Modules that a screen takes: as many levels of them are shown at first as fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A cell: what is written, how long its bar is, in tenths of a percent, and a remark beside it."""

    text: str
    tenths: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A row: `level` is how far below the network a module stands; `differs` whether the networks have it otherwise."""

    name: str
    cells: tuple[Bar, ...]
    level: int = 0
    differs: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Accuracy over one measure."""

    axis: str
    said: str
    picture: Picture


AXES: Mapping[Measure, tuple[str, Callable[[float], str], int]] = {
    "params": ("parameters", count, 10),
    "macs": ("multiply-accumulates of a forward pass", count, 10),
    "memory": ("peak of tensors in a step", memory, 2),
    "time": ("time of a step", duration, 10),
}
"""A measure on an axis: its name, how it is written, and whether it is round in tens or in twos."""


def render(comparison: Comparison, command: str, *, title: str, json: str) -> str:
    """The page; `title` and `json` are of what it hands out, and `command` prints the same figures."""
    sheet = network_sheet(comparison)
    told = (*findings(comparison), basis(comparison))
    names = labels(comparison)
    forms: dict[str, Json] = {
        "json": json,
        "csv": csv.render(sheet),
        "md": markdown.render(sheet, title=title, footing=told),
        "tex": latex.render(sheet, title=title, footing=told),
    }
    tradeoffs = [each for each in comparison.tradeoffs if len(each.networks) > 1]
    unknown = [
        name for name, one in zip(names, comparison.networks, strict=True) if one.top1 is None
    ]
    paths = tuple(_paths(comparison.paths))
    levels = sorted({line.level for line in paths})
    return document(
        "compare.html.j2",
        MODULES,
        {"forms": forms, "name": "compare"},
        names=names,
        setting=" · ".join(_setting(comparison)),
        headings=(
            sheet.subject,
            *(column.heading for column in sheet.columns if not _beside(column)),
            "unbeaten in",
        ),
        rows=tuple(_networks(comparison, sheet)),
        findings=findings(comparison),
        whys=tuple(_whys(comparison)),
        panels=tuple(_panel(each, comparison) for each in tradeoffs),
        unknown=", ".join(unknown),
        maps=tuple(_maps(comparison.maps)),
        paths=paths,
        levels=levels,
        open=max((level for level in levels if _within(paths, level) <= FITS), default=0),
        apart=tuple(_apart(comparison.paths, names)),
        command=command,
        basis=basis(comparison),
        width=WIDTH,
        height=HEIGHT,
    )


def _setting(comparison: Comparison) -> Iterator[str]:
    workload = comparison.workload
    yield plural(len(comparison.networks), "network")
    yield f"batch {integer(workload.batch)}"
    optimizer = "" if workload.optimizer is None else f", {workload.optimizer.text}"
    yield f"{workload.mode}{optimizer}, {workload.precision}"
    devices = [pace.device for pace in comparison.networks[0].paces]
    if devices:
        yield f"on {', '.join(devices)}"


def _networks(comparison: Comparison, sheet: Sheet) -> Iterator[Line]:
    """The sheet with a bar in every column of numbers, as long as the share of the largest."""
    columns = list(zip(*(row.cells for row in sheet.rows), strict=True))
    largest = [max((_number(cell) or 0.0 for cell in column), default=0.0) for column in columns]
    for row, one in zip(sheet.rows, comparison.networks, strict=True):
        best = [
            each
            for each in comparison.tradeoffs
            if any(other.network is one and other.unbeaten for other in each.networks)
        ]
        cells: list[Bar] = []
        for column, cell, most in zip(sheet.columns, row.cells, largest, strict=True):
            if _beside(column):
                cells[-1] = replace(cells[-1], note=text(cell))
            else:
                cells.append(Bar(text=text(cell), tenths=_tenths(_number(cell), most)))
        yield Line(name=row.name, cells=(*cells, Bar(text=_unbeaten(best, len(one.paces)))))


def _unbeaten(best: Sequence[Tradeoff], devices: int) -> str:
    """The measures in a column; of several devices, on which."""
    names = [{"macs": "MACs"}.get(each.measure, each.measure) for each in best if not each.device]
    on = [each.device for each in best if each.device]
    if on and devices > 1:
        names.append(f"time on {'all devices' if len(on) == devices else ' and '.join(on)}")
    elif on:
        names.append("time")
    return ", ".join(names)


def _beside(column: Column) -> bool:
    """Whether a column says more of the one before it."""
    return column.key == "between" or column.key.endswith("-ratio")


def _number(cell: Cell) -> float | None:
    if isinstance(cell, int):
        return cell
    if isinstance(cell, Size):
        return cell.bytes
    if isinstance(cell, Duration):
        return cell.seconds
    return cell.value if isinstance(cell, Figure) else None


def _tenths(value: float | None, most: float) -> int | None:
    return None if value is None or not most else round(1000 * value / most)


def _whys(comparison: Comparison) -> Iterator[str]:
    """Why there is no time, where there is none."""
    for name, one in zip(labels(comparison), comparison.networks, strict=True):
        for pace in one.paces:
            if pace.seconds is None:
                yield f"no time of {name} on {pace.device}: {pace.why}"


def _panel(tradeoff: Tradeoff, comparison: Comparison) -> Panel:
    names = dict(zip(map(id, comparison.networks), labels(comparison), strict=True))
    axis, written, base = AXES[tradeoff.measure]
    if tradeoff.device:
        axis = f"{axis} on {tradeoff.device}, predicted"
    points = [_point(one, names[id(one.network)], written) for one in tradeoff.networks]
    best = sorted((point for point in points if point.best), key=lambda point: point.x)
    return Panel(
        axis=axis,
        said=f"top-1 accuracy over {axis}; no other beats {', '.join(point.name for point in best)}",
        picture=picture(points, written, base),
    )


def _point(one: Costed, name: str, written: Callable[[float], str]) -> Point:
    top1 = 100 * (one.network.top1 or 0.0)
    between = one.between
    said = f"{name}: {written(one.cost)}, {top1:.2f} % top-1"
    if between is not None:
        said += f"; in nine cases of ten {durations(between.low, between.high)}"
    return Point(
        name=name,
        x=one.cost,
        y=top1,
        best=one.unbeaten,
        text=said,
        low=None if between is None else between.low,
        high=None if between is None else between.high,
    )


def _maps(aligned: Aligned) -> Iterator[tuple[str, tuple[Line, ...]]]:
    """A table of parameters and one of operations: a row a size of maps, with each network's share of its whole."""
    if not aligned.places:
        return
    names = (*(place.name for place in aligned.places), ELSEWHERE)
    rows = (*(place.sides for place in aligned.places), aligned.apart)
    yield (
        "parameters",
        _shares(names, [[None if side is None else side.params for side in row] for row in rows]),
    )
    yield (
        "MACs",
        _shares(names, [[None if side is None else side.macs for side in row] for row in rows]),
    )


def _shares(names: Sequence[str], rows: Sequence[Sequence[int | None]]) -> tuple[Line, ...]:
    wholes = [sum(value or 0 for value in column) for column in zip(*rows, strict=True)]
    return tuple(
        Line(
            name=name,
            cells=tuple(_share(value, whole) for value, whole in zip(row, wholes, strict=True)),
        )
        for name, row in zip(names, rows, strict=True)
    )


def _share(value: int | None, whole: int) -> Bar:
    if value is None:
        return Bar(text="-")
    note = percent(value / whole) if whole else ""
    return Bar(text=count(value), tenths=_tenths(value, whole), note=note)


def _paths(aligned: Aligned) -> Iterator[Line]:
    """A row a module that several networks have: what each has there, and how often what the first of them has."""
    for place in aligned.places:
        first = next(side for side in place.sides if side is not None)
        yield Line(
            name=place.name,
            level=place.name.count("."),
            differs=place.differs,
            cells=tuple(cell for side in place.sides for cell in _side(side, first)),
        )


def _within(lines: Sequence[Line], level: int) -> int:
    return sum(line.level <= level for line in lines)


def _side(side: Side | None, first: Side) -> tuple[Bar, Bar, Bar]:
    if side is None:
        return Bar(text="-"), Bar(text="-"), Bar(text="-")
    kind = f"{side.kind}({side.detail})" if side.detail else side.kind
    return (
        Bar(text=kind),
        Bar(text=integer(side.params), note=_times(side.params, first.params)),
        Bar(text=count(side.macs), note=_times(side.macs, first.macs)),
    )


def _times(value: int, first: int) -> str:
    """How often what the first has, where it is not the same."""
    return "" if value == first else ratio(value, first)


def _apart(aligned: Aligned, names: Sequence[str]) -> Iterator[str]:
    for name, side in zip(names, aligned.apart, strict=True):
        if side.params or side.macs:
            yield f"{name}: {count(side.params)} parameters and {count(side.macs)} MACs in modules whose path no other has"
