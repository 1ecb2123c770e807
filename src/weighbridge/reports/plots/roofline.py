"""The roofline as a picture. Both axes are logarithmic, and every piece has a mark of its own beside its colour."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from math import atan2, degrees
from typing import TYPE_CHECKING

from ...analyses.time.roofline import Piece, Roof, Roofline
from ...units import count, plural, unit, whole_percent
from ..roofline import SHOWN_SHARE, drawn, levels, power_of_ten
from . import style
from .panels import HEAD_INCHES, ROW_INCHES
from .style import COLOURS, GREY, MARKS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL_INCHES = 3.4
AXES_INCHES: Mapping[style.Span, float] = {1: 2.8, 2: 4.5}
"""About how wide the axes are, beside what is written around them."""
SMALLEST, LARGEST = 24.0, 300.0
"""Areas of a mark in square points: of nothing, and of the whole time."""
LONGEST_NAME = 26
WHAT_IFS = frozenset({"float16", "bfloat16"})
"""Roofs that are drawn, if fainter, where nothing of the step is computed under them."""
CLOSE = 1.6
"""A roof that is so many times higher than another would cross that one's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line of the legend; `mark` is none of what has no place under the roofs."""

    text: str
    mark: str = "none"
    colour: str = GREY
    hollow: bool = False


def inches(found: Roofline, span: style.Span) -> style.Size:
    """How large the picture is, over one column of a paper or over two."""
    legend = ROW_INCHES * (len(_legend(found)) + 1)
    panel = PANEL_INCHES + legend if span == 1 else max(PANEL_INCHES, legend)
    return style.COLUMN_INCHES[span], HEAD_INCHES + panel


def draw(figure: Figure, found: Roofline, *, title: str, told: str, span: style.Span) -> None:
    """Draws the roofs, the pieces under them and the legend on an empty figure."""
    roofs = [roof for roof in found.roofs if roof.used or roof.dtype in WHAT_IFS]
    style.head(figure, title, told)
    entries = _legend(found)
    if span == 1:
        heights = (PANEL_INCHES, ROW_INCHES * (len(entries) + 1))
        grid = figure.add_gridspec(2, 1, height_ratios=heights)
        axes, room = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])
        room.set_axis_off()
    else:
        axes, room = figure.add_subplot(), None
    x, y = _ends(found, _labels(roofs, span), axes_inches=AXES_INCHES[span])
    axes.set(xscale="log", yscale="log", xlim=x, ylim=y)
    between = "\n" if span == 1 else " "
    name = f"arithmetic intensity{between}(FLOP per byte of memory traffic)"
    style.plain_axes(axes, name, "rate (FLOP/s)")
    axes.xaxis.set_major_formatter(lambda intensity, _: f"{intensity:g}")
    axes.yaxis.set_major_formatter(lambda rate, _: power_of_ten(rate))
    _roofs(axes, _labels(roofs, span), {roof.flop_per_s for roof in roofs if roof.used}, x[1])
    _pieces(axes, drawn(found))
    _beside(axes, room, entries)
    figure.draw_without_rendering()  # lays it out: from here on the slope has an angle
    _bandwidth(axes, found.bandwidth_bytes_per_s, x[0], roofs[0])


def _labels(roofs: Sequence[Roof], span: style.Span) -> list[tuple[str, Roof]]:
    """A roof of each height with what is written beside it; over one column the axis alone has the unit."""
    rate = count if span == 1 else partial(unit, name="FLOP/s")
    return [(f"{names} {rate(roof.flop_per_s)}", roof) for names, roof in levels(roofs)]


def _ends(
    found: Roofline, labels: Sequence[tuple[str, Roof]], *, axes_inches: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """From where to where the axes go: to the right so far that the slope crosses the name of no roof."""
    pieces = drawn(found)
    highest, *_ = [roof for _, roof in labels]
    intensities = [piece.flops / piece.traffic_bytes for piece in pieces]
    intensities += [roof.ridge_flop_per_byte for _, roof in labels]
    rates = [piece.flops / piece.seconds for piece in pieces]
    begin, end = min(intensities) / 2, max(intensities) * 8
    for label, roof in labels[1:]:
        share = min(len(label) / style.CHARACTERS_PER_INCH[7] / axes_inches, 0.5)
        crossing = CLOSE * roof.ridge_flop_per_byte  # where the slope has risen past the name
        end = max(end, begin * (crossing / begin) ** (1 / (1 - share)))
    lowest = min([*rates, highest.flop_per_s / 100])
    return (begin, end), (lowest / 2, highest.flop_per_s * 2.2)


def _roofs(axes: Axes, labels: Sequence[tuple[str, Roof]], used: Set[float], end: float) -> None:
    """The peak of each dtype from its ridge point on, with its name where no other roof crosses it."""
    for place, (label, roof) in enumerate(labels):
        line, colour = ("-", "black") if roof.flop_per_s in used else ("--", GREY)
        axes.plot(
            [roof.ridge_flop_per_byte, end], [roof.flop_per_s] * 2, line, color=colour, lw=1.2
        )
        crossed = place > 0 and labels[place - 1][1].flop_per_s < CLOSE * roof.flop_per_s
        axes.annotate(
            label,
            (end, roof.flop_per_s),
            xytext=(-4, -3 if crossed else 3),
            textcoords="offset points",
            ha="right",
            va="top" if crossed else "bottom",
            fontsize=7,
            color=colour,
        )


def _bandwidth(axes: Axes, bandwidth: float, begin: float, roof: Roof) -> None:
    """The slope up to the highest roof, with its name along it."""
    end = roof.ridge_flop_per_byte
    axes.plot([begin, end], [begin * bandwidth, end * bandwidth], "-", color="black", lw=1.2)
    middle = (begin * end) ** 0.5
    (left, low), (right, high) = axes.transData.transform(
        [(begin, begin * bandwidth), (end, end * bandwidth)]
    )
    axes.annotate(
        unit(bandwidth, "B/s"),
        (middle, middle * bandwidth),
        xytext=(-6, 6),
        textcoords="offset points",
        ha="center",
        va="bottom",
        rotation=degrees(atan2(high - low, right - left)),
        rotation_mode="anchor",
        fontsize=7,
    )


def _look(place: int, piece: Piece) -> tuple[str, str, bool]:
    """The mark of a piece by its place among the slowest, its colour, and whether it is hollow: of what launches bound."""
    if place >= len(MARKS):
        return ".", GREY, False
    return MARKS[place], COLOURS[place % len(COLOURS)], piece.bound == "overhead"


def _pieces(axes: Axes, shown: Sequence[Piece]) -> None:
    """A mark for each, larger the more of the time it takes."""
    for place, piece in enumerate(shown):
        mark, colour, hollow = _look(place, piece)
        named = place < len(MARKS)
        axes.scatter(
            [piece.flops / piece.traffic_bytes],
            [piece.flops / piece.seconds],
            s=SMALLEST + (LARGEST - SMALLEST) * piece.share if named else SMALLEST,
            marker=mark,
            facecolors="none" if hollow else colour,
            edgecolors=colour if hollow else "white",
            linewidths=1.2 if hollow else 0.6,
            zorder=4 if named else 3,
        )


def _legend(found: Roofline) -> list[Entry]:
    """The slowest pieces by name, the rest together, and what takes time and has no place under the roofs."""
    return [*_named(found), *_placeless(found)]


def _named(found: Roofline) -> Iterator[Entry]:
    shown = drawn(found)
    for place, piece in enumerate(shown[: len(MARKS)]):
        mark, colour, hollow = _look(place, piece)
        name = _short(piece.name or found.time.program.network)
        text = f"{name}  {whole_percent(piece.share)}"
        yield Entry(text=text, mark=mark, colour=colour, hollow=hollow)
    rest = shown[len(MARKS) :]
    if rest:
        share = whole_percent(sum(piece.share for piece in rest))
        yield Entry(text=f"{plural(len(rest), 'other')}  {share}", mark=".")


def _placeless(found: Roofline) -> Iterator[Entry]:
    shown = drawn(found)
    for piece in found.pieces:
        if piece not in shown and piece.share >= SHOWN_SHARE:
            yield Entry(text=f"{_short(piece.name)}  {whole_percent(piece.share)}, no arithmetic")


def _beside(axes: Axes, room: Axes | None, entries: Sequence[Entry]) -> None:
    """The legend, beside the axes or in a room of its own below them."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [], [], linestyle="none", marker=entry.mark, color=entry.colour, markersize=5,
            markerfacecolor="none" if entry.hollow else entry.colour, label=entry.text,
        )
        for entry in entries
    ]  # fmt: skip
    style.legend(axes, room, handles, title="share of the time")


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"…{name[1 - LONGEST_NAME :]}"
