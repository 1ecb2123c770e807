"""Growth: parameters, operations, memory and time of a step over its batch, or over the size of its input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from ...analyses.growth import Grown, Growth
from ...analyses.weighing import Json
from ...units import duration, unit
from ..sheet import Cell, Column, Figure, Row, Sheet, Size
from . import style
from .networks import GIGA, MIB, MILLION, MILLISECOND
from .panels import HEAD_INCHES
from .style import COLOURS, MARKS

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

PANEL_INCHES = 2.2
NEAR = 0.09
"""What part of the axis lies between two numbers at least."""


def inches(found: Growth, span: style.Span) -> style.Size:
    """How large the picture is, over one column of a paper or over two."""
    return style.COLUMN_INCHES[span], HEAD_INCHES + PANEL_INCHES * -(-len(_curves(found)) // span)


def draw(figure: Canvas, found: Growth, *, title: str, told: str, span: style.Span) -> None:
    """A panel for each figure, with a mark at every size that was weighed."""
    style.head(figure, title, told)
    curves = _curves(found)
    grid = figure.add_gridspec(-(-len(curves) // span), span)
    sizes = [step.size for step in found.steps]
    for place, (name, values, low, high) in enumerate(curves):
        axes = figure.add_subplot(grid[place // span, place % span])
        style.plain_axes(axes, found.what, name)
        axes.set_xticks(_apart(sizes))
        if low:
            axes.fill_between(sizes, low, high, color=COLOURS[place], alpha=0.18, linewidth=0)
        axes.plot(
            sizes, values, "-", marker=MARKS[place], color=COLOURS[place], markersize=4,
            linewidth=1.1, gid=f"curve-{place}",
        )  # fmt: skip
        axes.set_ylim(0, 1.1 * max(*values, *high))


def sheet(found: Growth) -> Sheet:
    """A row a size."""
    timed = any(step.seconds is not None for step in found.steps)
    columns = [
        Column(key="params", title="params"),
        Column(key="macs", title="MACs"),
        Column(key="peak", title="peak", data_unit="bytes"),
    ]
    if timed:
        columns.append(Column(key="time", title="time", data_unit="s"))
    return Sheet(
        subject=found.what,
        columns=tuple(columns),
        rows=tuple(
            Row(path=str(step.size), name=str(step.size), cells=_cells(step))
            for step in found.steps
        ),
    )


def record(found: Growth) -> dict[str, Json]:
    """The same as plain data."""
    return {
        "over": found.what,
        "steps": [dict(asdict(step)) for step in found.steps],
        "refused": [{"size": size, "why": why} for size, why in found.refused],
    }


def _cells(step: Grown) -> tuple[Cell, ...]:
    macs = Figure(value=step.macs, text=unit(step.macs, "MACs").removesuffix("MACs").rstrip())
    cells: tuple[Cell, ...] = (step.params, macs, Size(bytes=step.peak_bytes))
    if step.seconds is None:
        return cells
    value = step.seconds.value
    return (*cells, Figure(value=value, text=f"~{duration(value)}"))


def _curves(
    found: Growth,
) -> list[tuple[str, Sequence[float], Sequence[float], Sequence[float]]]:
    """The name of each figure with its unit, its values, and between what they lie where they are predictions."""
    steps = found.steps
    curves: list[tuple[str, Sequence[float], Sequence[float], Sequence[float]]] = [
        ("parameters (millions)", [step.params / MILLION for step in steps], (), ()),
        ("step (GMACs)", [step.macs / GIGA for step in steps], (), ()),
        ("peak memory (MiB)", [step.peak_bytes / MIB for step in steps], (), ()),
    ]
    times = [step.seconds for step in steps if step.seconds is not None]
    if times:
        curves.append(
            (
                "time of a step (ms, predicted)",
                [time.value / MILLISECOND for time in times],
                [time.low / MILLISECOND for time in times],
                [time.high / MILLISECOND for time in times],
            )
        )
    return curves


def _apart(sizes: Sequence[int]) -> list[int]:
    """The sizes, without those whose numbers would run into the one before."""
    found: list[int] = []
    for size in sizes:
        if not found or size - found[-1] >= NEAR * sizes[-1]:
            found.append(size)
    return found
