"""Points over what they cost, in panels: the shape of every picture that compares networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...units import plural
from . import style
from .style import COLOURS, GREY, MARKS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL_INCHES = 2.9
"""How high a panel is."""
HEAD_INCHES = 0.9
ROW_INCHES = 0.16
"""How high a row of the legend is."""
BESIDE_INCHES = 1.1
"""How wide a legend beside the panels is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A network: `low` and `high` are between what its x lies, where that is a prediction."""

    name: str
    family: str
    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """`front` are the names of the points that no other beats, in the order of their x; a line joins them.

    `joined` has a line through the points of each family instead. `logarithmic` says which axes are: 'x', 'y', 'xy'.
    """

    x: str
    y: str
    points: tuple[Point, ...]
    front: tuple[str, ...] = ()
    joined: bool = False
    logarithmic: str = "x"


def inches(panels: Sequence[Panel], span: style.Span) -> style.Size:
    """How large the picture is, over one column of a paper or over two."""
    rows = -(-len(panels) // span)
    legend = ROW_INCHES * -(-len(_families(panels)) // 3) if span == 1 else 0.0
    return style.COLUMN_INCHES[span], HEAD_INCHES + PANEL_INCHES * rows + legend


def draw(
    figure: Figure, panels: Sequence[Panel], *, title: str, told: str, span: style.Span
) -> None:
    """Draws the panels with the names of their points, and the legend of families where it is wanted."""
    families = _families(panels)
    style.head(figure, title, told)
    rows = -(-len(panels) // span)
    spare = span * rows > len(panels) and len(panels) > 1
    beneath = span == 1 and len(families) > 1
    heights = [PANEL_INCHES] * rows + [ROW_INCHES * -(-len(families) // 3)] * beneath
    grid = figure.add_gridspec(rows + beneath, min(span, len(panels)), height_ratios=heights)
    drawn = []
    for place, panel in enumerate(panels):
        axes = figure.add_subplot(grid[place // span, place % span])
        _panel(axes, panel, families)
        drawn.append((axes, panel))
    if len(families) > 1:
        room = None
        if spare or beneath:
            room = figure.add_subplot(grid[rows, 0] if beneath else grid[rows - 1, -1])
            room.set_axis_off()
        _legend(figure, room, families, columns=3 if beneath else 2 if spare else 1)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # where names go depends on where everything else is
    for axes, panel in drawn:
        _names(axes, panel, families)


def _families(panels: Sequence[Panel]) -> dict[str, int]:
    """The families in the order in which they come, each with its number."""
    found: dict[str, int] = {}
    for panel in panels:
        for point in panel.points:
            found.setdefault(point.family, len(found))
    return found


def _look(number: int) -> tuple[str, str, str]:
    """A mark, a colour and a filling that no other family of the first 28 has."""
    colour = COLOURS[number % len(COLOURS)]
    hollow = number // len(MARKS) % 2
    return MARKS[number % len(MARKS)], colour, "white" if hollow else colour


def _panel(axes: Axes, panel: Panel, families: dict[str, int]) -> None:
    style.plain_axes(axes, panel.x, panel.y)
    if "x" in panel.logarithmic:
        axes.set_xscale("log")
    if "y" in panel.logarithmic:
        axes.set_yscale("log")
    axes.set_title(" ", fontsize=6)  # keeps room for what _names says there
    if panel.front:
        (front,) = _lines(panel, families)
        axes.plot(*zip(*front, strict=True), "--", color=GREY, linewidth=0.9, zorder=1, gid="front")
    if panel.joined:
        for number, line in enumerate(_lines(panel, families)):
            look = "-" if number % 2 else "--"
            axes.plot(
                *zip(*line, strict=True), look, color=_look(number)[1], linewidth=0.9, zorder=1
            )
    for point in panel.points:
        mark, colour, filling = _look(families[point.family])
        if point.low is not None and point.high is not None:
            axes.plot(
                [point.low, point.high], [point.y] * 2,
                "-", color=colour, alpha=0.35, linewidth=1.0, zorder=2,
            )  # fmt: skip
        axes.plot(
            [point.x], [point.y], mark, color=colour, markerfacecolor=filling,
            markeredgewidth=0.9, markersize=4.6, zorder=4, gid=f"point-{point.name}",
        )  # fmt: skip
    axes.margins(0.1)
    axes.autoscale_view()
    for letter, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
        if letter in panel.logarithmic:
            style.plain_numbers(axis)


def _lines(panel: Panel, families: dict[str, int]) -> list[list[tuple[float, float]]]:
    """The line through the points that no other beats, or one through each family's."""
    if panel.joined:
        return [
            sorted((point.x, point.y) for point in panel.points if point.family == family)
            for family in families
        ]
    at = {point.name: (point.x, point.y) for point in panel.points}
    return [[at[name] for name in panel.front]] if panel.front else []


def _names(axes: Axes, panel: Panel, families: dict[str, int]) -> None:
    """Those on the line first, from the far end on, then the rest."""
    first = sorted(
        (point for point in panel.points if point.name in panel.front), key=lambda point: point.x
    )
    rest = [point for point in panel.points if point.name not in panel.front]
    named = [(point.name, point.x, point.y) for point in (*first[::-1], *rest)]
    missing = style.names(axes, named, _lines(panel, families))
    if missing:
        axes.set_title(
            f"{plural(len(missing), 'point')} without room for a name",
            loc="right", fontsize=6, color=GREY,
        )  # fmt: skip


def _legend(figure: Figure, room: Axes | None, families: dict[str, int], *, columns: int) -> None:
    from matplotlib.lines import Line2D

    handles = []
    for family, number in families.items():
        mark, colour, filling = _look(number)
        handles.append(
            Line2D(
                [], [], linestyle="none", marker=mark, color=colour, markerfacecolor=filling,
                markersize=4.6, label=family,
            )
        )  # fmt: skip
    if room is not None:
        room.legend(
            handles=handles, loc="center", ncols=columns, fontsize=7, frameon=False,
            borderaxespad=0, handletextpad=0.2, columnspacing=1.0,
        )  # fmt: skip
        return
    figure.legend(
        handles=handles, loc="outside right upper", fontsize=7, frameon=False, handletextpad=0.2
    )
