"""The roofline as a picture. Both axes are logarithmic, and every piece has a mark of its own beside its colour."""

from __future__ import annotations

from collections.abc import Sequence
from math import atan2, degrees
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from ...analyses.time.roofline import Piece, Roof, Roofline
from ...units import plural, unit, whole_percent
from ..roofline import SHOWN_SHARE, drawn, levels, power_of_ten
from ..time import sentence
from . import style
from .style import COLOURS, GREY, MARKS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INCHES = (9.0, 5.2)
SMALLEST, LARGEST = 40.0, 500.0
"""Areas of a mark in square points: of nothing, and of the whole time."""
LONGEST_NAME = 26
WHAT_IFS = frozenset({"float16", "bfloat16"})
"""Roofs that are drawn, if fainter, where nothing of the step is computed under them."""
CLOSE = 1.6
"""A roof that is so many times higher than another would cross that one's name."""


def save(path: str | Path, found: Roofline, *, title: str) -> None:
    """Draws the roofline into a file. Raises as :func:`style.save` does."""
    style.save(path, INCHES, lambda figure: draw(figure, found, title))


def draw(figure: Figure, found: Roofline, title: str) -> None:
    """Draws the roofs, the pieces under them and the legend on an empty figure."""
    roofs = [roof for roof in found.roofs if roof.used or roof.dtype in WHAT_IFS]
    axes = figure.add_subplot()
    x, y = _ends(found, roofs)
    axes.set(xscale="log", yscale="log", xlim=x, ylim=y)
    axes.set_xlabel("arithmetic intensity (FLOP per byte of memory traffic)")
    axes.set_ylabel("rate (FLOP/s)")
    axes.xaxis.set_major_formatter(lambda intensity, _: f"{intensity:g}")
    axes.yaxis.set_major_formatter(lambda rate, _: power_of_ten(rate))
    axes.grid(visible=True, which="major", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    _roofs(axes, roofs, x[1])
    _pieces(figure, axes, found)
    figure.suptitle(
        fill(title.replace(" ·", "\N{NO-BREAK SPACE}·"), 72),
        fontsize=9,
        x=0.01,
        ha="left",
        weight="bold",
    )
    told = f"{found.device.name}: {sentence(found.time, found.device)}"
    axes.set_title(fill(told, 84), fontsize=8, loc="left", color="#404040")
    figure.draw_without_rendering()  # lays it out: from here on the slope has an angle
    _bandwidth(axes, found.bandwidth_bytes_per_s, x[0], roofs[0])


def _ends(
    found: Roofline, roofs: Sequence[Roof]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """From where to where the axes go."""
    pieces = drawn(found)
    ridges = [roof.ridge_flop_per_byte for roof in roofs]
    intensities = [piece.flops / piece.traffic_bytes for piece in pieces] + ridges
    rates = [piece.flops / piece.seconds for piece in pieces]
    highest = max(roof.flop_per_s for roof in roofs)
    lowest = min([*rates, highest / 100])
    return (min(intensities) / 2, max(intensities) * 8), (lowest / 2, highest * 2.2)


def _roofs(axes: Axes, roofs: Sequence[Roof], end: float) -> None:
    """The peak of each dtype from its ridge point on, with its name where no other roof crosses it."""
    shown = list(levels(roofs))
    for place, (names, roof) in enumerate(shown):
        used = any(same.used for same in roofs if same.flop_per_s == roof.flop_per_s)
        line, colour = ("-", "black") if used else ("--", GREY)
        axes.plot(
            [roof.ridge_flop_per_byte, end], [roof.flop_per_s] * 2, line, color=colour, lw=1.2
        )
        crossed = place > 0 and shown[place - 1][1].flop_per_s < CLOSE * roof.flop_per_s
        axes.annotate(
            f"{names} {unit(roof.flop_per_s, 'FLOP/s')}",
            (end, roof.flop_per_s),
            xytext=(-4, -3 if crossed else 3),
            textcoords="offset points",
            ha="right",
            va="top" if crossed else "bottom",
            fontsize=8,
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
        fontsize=8,
    )


def _pieces(figure: Figure, axes: Axes, found: Roofline) -> None:
    """A mark for each of the slowest, larger the more of the time it takes; the legend beside the picture."""
    shown = drawn(found)
    for place, piece in enumerate(shown[: len(MARKS)]):
        colour = COLOURS[place % len(COLOURS)]
        axes.scatter(
            [piece.flops / piece.traffic_bytes],
            [piece.flops / piece.seconds],
            s=SMALLEST + (LARGEST - SMALLEST) * piece.share,
            marker=MARKS[place],
            facecolors="none" if piece.bound == "overhead" else colour,
            edgecolors=colour if piece.bound == "overhead" else "white",
            linewidths=1.4 if piece.bound == "overhead" else 0.7,
            label=f"{_short(piece.name or found.time.program.network)}  {whole_percent(piece.share)}",
            zorder=4,
        )
    rest = shown[len(MARKS) :]
    if rest:
        axes.scatter(
            [piece.flops / piece.traffic_bytes for piece in rest],
            [piece.flops / piece.seconds for piece in rest],
            s=9,
            color=GREY,
            label=f"{plural(len(rest), 'other')}  {whole_percent(sum(p.share for p in rest))}",
            zorder=3,
        )
    for text in _beside(found, shown):
        axes.plot([], [], " ", label=text)
    figure.legend(
        loc="outside right upper",
        title="share of the time",
        fontsize=8,
        title_fontsize=8,
        frameon=False,
        labelspacing=0.9,
        alignment="left",
    )


def _beside(found: Roofline, shown: Sequence[Piece]) -> Sequence[str]:
    """What takes time and has no place under the roofs."""
    missing = [piece for piece in found.pieces if piece not in shown]
    return [
        f"{_short(piece.name)}  {whole_percent(piece.share)}, no arithmetic"
        for piece in missing
        if piece.share >= SHOWN_SHARE
    ]


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"…{name[1 - LONGEST_NAME :]}"
