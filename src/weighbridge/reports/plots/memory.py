"""Memory over one step, stacked by what it is for, with its peak marked."""

from __future__ import annotations

from itertools import groupby
from textwrap import fill
from typing import TYPE_CHECKING

from ...analyses.memory.timeline import CATEGORIES, Category, Timeline
from ...analyses.weighing import Weighing
from ...units import memory
from ..memory import NAMES, place
from . import style
from .panels import HEAD_INCHES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL_INCHES = 3.0
UNITS = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10), ("B", 1))
LOOKS: dict[Category, tuple[str, str]] = {
    "parameter": ("#0072B2", ""),
    "buffer": ("#000000", ""),
    "optimizer_state": ("#56B4E9", "////"),
    "gradient": ("#E69F00", ""),
    "input": ("#999999", ""),
    "held": ("#999999", "xxxx"),
    "saved_activation": ("#009E73", ""),
    "activation_gradient": ("#D55E00", "\\\\\\\\"),
    "temporary": ("#CC79A7", ""),
    "workspace": ("#F0E442", "...."),
}
"""A colour and a hatching each, so that two neighbours differ in print without colour too."""


def inches(span: style.Span) -> style.Size:
    """How large the picture is, over one column of a paper or over two."""
    return style.COLUMN_INCHES[span], HEAD_INCHES + PANEL_INCHES + (1.0 if span == 1 else 0.0)


def draw(figure: Figure, weighing: Weighing, *, title: str, told: str, span: style.Span) -> None:
    """The curve of the step with the peak, an operator after the other."""
    step = weighing.memory.timeline
    style.head(figure, title, told)
    name, size = next((name, size) for name, size in UNITS if step.peak.bytes >= size or size == 1)
    if span == 1:
        grid = figure.add_gridspec(2, 1, height_ratios=(PANEL_INCHES, 1.0))
        axes, room = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])
        room.set_axis_off()
    else:
        axes, room = figure.add_subplot(), None
    style.plain_axes(
        axes, "operator of the step, in the order in which they run", f"allocated ({name})"
    )
    _stacked(axes, step, size)
    _phases(axes, weighing)
    _peak(axes, step, size)
    handles, _ = axes.get_legend_handles_labels()
    style.legend(axes, room, handles[::-1], columns=2)


def _stacked(axes: Axes, step: Timeline, size: int) -> None:
    """What stays at the bottom, what comes and goes on top; steps, since nothing lies between two operators."""
    at = range(len(step.allocated) + 1)
    below = [0.0] * len(at)
    for category in CATEGORIES:
        held = step.categories.get(category, ())
        if not any(held):
            continue
        above = [low + here / size for low, here in zip(below, (*held, held[-1]), strict=True)]
        colour, hatch = LOOKS[category]
        axes.fill_between(
            at, below, above, step="post", facecolor=colour, hatch=hatch, edgecolor="white",
            linewidth=0, label=NAMES[category], gid=f"role-{category}",
        )  # fmt: skip
        below = above
    axes.set_xlim(0, max(len(step.allocated), 1))
    axes.set_ylim(0, 1.3 * step.peak.bytes / size)


def _phases(axes: Axes, weighing: Weighing) -> None:
    """Where forward ends and backward ends, each named at the foot of the upper edge."""
    at = 0
    for phase, ops in groupby(weighing.program.ops, key=lambda op: op.phase):
        length = len(list(ops))
        if at:
            axes.axvline(at, color="black", linewidth=0.6, linestyle=":")
        if length * 14 >= len(weighing.program.ops):  # else the name would not fit
            axes.annotate(
                phase, (at + length / 2, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 3),
                textcoords="offset points", ha="center", va="bottom", fontsize=7,
            )  # fmt: skip
        at += length


def _peak(axes: Axes, step: Timeline, size: int) -> None:
    peak = step.peak
    x, y = max(peak.operator, 0) + 0.5, peak.bytes / size
    right = x > 0.5 * len(step.allocated)
    axes.plot([x], [y], "v", color="black", markersize=5, zorder=5, gid="peak", clip_on=False)
    axes.annotate(
        f"peak {memory(peak.bytes)}\n{fill(place(peak), 38)}",
        (x, y), xytext=(-6 if right else 6, 4), textcoords="offset points",
        ha="right" if right else "left", va="bottom", fontsize=7,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
    )  # fmt: skip
