"""What all pictures share: colours, marks, sizes, files; and names that find a place of their own.

The only home of matplotlib. Colours are those of Okabe and Ito, which colour-blind eyes tell apart, and whatever has
a colour has a mark or a name beside it, so that print in black loses nothing. The same input gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from math import hypot
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Literal

from ...errors import UsageError, WeighError

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito 2008, 'Color universal design', without the yellow, which white paper swallows."""
MARKS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*", "d", "8")
"""matplotlib's names of marks that are told apart by their shape."""
GREY = "#808080"
GRID = "#e4e4e4"
DOTS_PER_INCH = 160
Span = Literal[1, 2]
"""Columns of a paper."""
COLUMN_INCHES: Mapping[Span, float] = {1: 3.5, 2: 7.2}
"""How wide one column is, and two with what lies between them."""
CHARACTERS_PER_INCH = {9: 11.5, 7: 17.5}
"""How many characters of a size in points take an inch, in bold for 9."""

METADATA: Mapping[str, dict[str, str | None]] = {
    ".png": {"Software": "weighbridge"},
    ".svg": {"Date": None, "Creator": "weighbridge"},
    ".pdf": {"CreationDate": None, "Creator": "weighbridge", "Producer": None},
}
"""What a file says about itself: nothing that differs from one run to the next."""

Size = tuple[float, float]
Draw = Callable[["Figure"], None]


def check_span(span: int) -> None:
    """Refuses a picture over so many columns.

    Raises:
        UsageError: they are not 1 or 2.
    """
    if span not in COLUMN_INCHES:
        raise UsageError(
            f"a picture over {span} columns of a paper", "it spans 1 (3.5 inches) or 2 (7.2 inches)"
        )


def save(path: str | Path, inches: Size, draw: Draw) -> None:
    """Draws a picture into a file, in the form that its suffix names.

    Raises:
        WeighError: matplotlib is not installed.
        UsageError: the file cannot be written.
    """
    content = rendered(Path(path).suffix.lower(), inches, draw)
    try:
        Path(path).write_bytes(content)
    except OSError as error:
        raise UsageError(
            f"cannot write {str(path)!r}: {(error.strerror or str(error)).lower()}",
            "give another file with -o",
        ) from error


def rendered(suffix: str, inches: Size, draw: Draw) -> bytes:
    """A picture in the form of a suffix.

    Raises:
        WeighError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise WeighError(
            "a picture needs matplotlib, which is not installed",
            "install it with: pip install 'weighbridge[plot]', or write another form: .csv .json .txt",
        ) from error
    content = BytesIO()
    with rc_context({"svg.hashsalt": "weighbridge", "pdf.fonttype": 42}):
        figure = Figure(figsize=inches, dpi=DOTS_PER_INCH, layout="constrained")
        draw(figure)
        figure.savefig(content, format=suffix[1:], dpi=DOTS_PER_INCH, metadata=METADATA[suffix])
    return content.getvalue()


def told(remarks: Sequence[str]) -> str:
    """Remarks as sentences below a picture."""
    return " ".join(f"{text[:1].upper()}{text[1:]}." for text in remarks)


def head(figure: Figure, title: str, told: str) -> None:
    """The title above a picture, and below it what it shows and where that is from."""
    width = figure.get_figwidth()
    figure.suptitle(
        fill(_held(title), int(width * CHARACTERS_PER_INCH[9])),
        fontsize=9, x=0.01, ha="left", weight="bold",
    )  # fmt: skip
    figure.supxlabel(
        fill(_held(told), int(width * CHARACTERS_PER_INCH[7]), break_on_hyphens=False),
        fontsize=7, x=0.01, ha="left", color="#404040",
    )  # fmt: skip


def _held(text: str) -> str:
    """No line begins with a dot between two parts, and none breaks within a shape."""
    return text.replace(" ·", "\N{NO-BREAK SPACE}·").replace(
        " x ", "\N{NO-BREAK SPACE}x\N{NO-BREAK SPACE}"
    )


def plain_axes(axes: Axes, x: str, y: str) -> None:
    """Axes with their names and a grid behind what is drawn."""
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)
    axes.tick_params(labelsize=7, which="both")
    axes.grid(visible=True, which="major", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)


def legend(
    axes: Axes, room: Axes | None, handles: Sequence[Artist], *, title: str = "", columns: int = 1
) -> None:
    """The legend beside the axes, or in a room of its own below them."""
    (axes if room is None else room).legend(
        handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1) if room is None else (0, 1),
        ncols=1 if room is None else columns, borderaxespad=0, title=title, fontsize=7, title_fontsize=7,
        frameon=False, alignment="left", handletextpad=0.4,
    )  # fmt: skip


# -- names beside points -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in dots."""

    left: float
    low: float
    right: float
    high: float

    def meets(self, other: Box) -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.low < other.high
            and other.low < self.high
        )

    def within(self, other: Box) -> bool:
        return (
            other.left <= self.left
            and self.right <= other.right
            and other.low <= self.low
            and self.high <= other.high
        )


SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
"""Right of the point, left, above, below, then between them."""
DISTANCES = (5.0, 9.0, 15.0, 23.0, 34.0)
"""From a point to its name, in points."""
LED = 9.0
"""From this distance on a line leads from the name to its point."""
ROOM = 1.5
"""Around a name, in points."""
MARK = 3.2
"""Half the width of a mark, in points."""


def names(
    axes: Axes,
    points: Sequence[tuple[str, float, float]],
    lines: Sequence[Sequence[tuple[float, float]]] = (),
) -> tuple[str, ...]:
    """Writes the names of points beside them, the first first, where no other name and no mark is.

    Where there is room they keep clear of the lines too. Returns the names that found no room. The figure must be
    laid out already: names are placed in dots.
    """
    if not points:
        return ()
    dot = DOTS_PER_INCH / 72
    seen = axes.get_window_extent()
    frame = Box(seen.x0, seen.y0, seen.x1, seen.y1)
    at = [(float(x), float(y)) for x, y in axes.transData.transform([(x, y) for _, x, y in points])]
    marks = [Box(x - MARK * dot, y - MARK * dot, x + MARK * dot, y + MARK * dot) for x, y in at]
    drawn = [
        box
        for line in lines
        for one, other in pairwise(axes.transData.transform(list(line)))
        for box in _strip((float(one[0]), float(one[1])), (float(other[0]), float(other[1])), dot)
    ]
    taken: list[Box] = []
    left_out = []
    for place, (name, x, y) in enumerate(points):
        text = axes.annotate(
            name, (x, y), xytext=(0, 0), textcoords="offset points", fontsize=6.5,
            ha="center", va="center", zorder=6, gid=f"name-{name}",
        )  # fmt: skip
        size = text.get_window_extent()
        wide, high = size.width / dot, size.height / dot
        others = [*taken, *marks[:place], *marks[place + 1 :]]
        for clear, side, distance in _places():
            off = _offset(side, distance, wide, high)
            middle = (at[place][0] + off[0] * dot, at[place][1] + off[1] * dot)
            half = (size.width / 2 + ROOM * dot, size.height / 2 + ROOM * dot)
            box = Box(
                middle[0] - half[0], middle[1] - half[1], middle[0] + half[0], middle[1] + half[1]
            )
            edge = (off[0] - side[0] * wide / 2, off[1] - side[1] * high / 2)
            lead = (
                _strip(at[place], (at[place][0] + edge[0] * dot, at[place][1] + edge[1] * dot), dot)
                if distance >= LED
                else []
            )
            if (
                not box.within(frame)
                or any(map(box.meets, (*others, marks[place], *(drawn if clear else ()))))
                or any(strip.meets(other) for strip in lead for other in others)
            ):
                continue
            taken += [box, *lead]
            text.set_position(off)
            if lead:
                _lead(axes, (x, y), edge)
            break
        else:
            text.remove()
            left_out.append(name)
    return tuple(left_out)


def _offset(
    side: tuple[int, int], distance: float, wide: float, high: float
) -> tuple[float, float]:
    """From a point to the middle of its name; a corner may come nearer than a side."""
    gap = distance * (0.7 if side[0] and side[1] else 1.0)
    return side[0] * (gap + wide / 2), side[1] * (gap + high / 2)


def _strip(one: tuple[float, float], other: tuple[float, float], dot: float) -> list[Box]:
    """A line as small boxes along it."""
    length = hypot(other[0] - one[0], other[1] - one[1])
    steps = max(int(length / (3 * dot)), 1)
    half = 0.5 * dot
    found = []
    for step in range(steps + 1):
        x = one[0] + (other[0] - one[0]) * step / steps
        y = one[1] + (other[1] - one[1]) * step / steps
        found.append(Box(x - half, y - half, x + half, y + half))
    return found


def _places() -> Iterator[tuple[bool, tuple[int, int], float]]:
    """Clear of all lines first."""
    for clear in (True, False):
        for distance in DISTANCES:
            for side in SIDES:
                yield clear, side, distance


def _lead(axes: Axes, point: tuple[float, float], edge: tuple[float, float]) -> None:
    """A thin line from the name's edge to the point."""
    axes.annotate(
        "", point, xytext=edge, textcoords="offset points", zorder=2,
        arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2},
    )  # fmt: skip


LONG = 100.0
"""An axis that ends so many times higher than it begins has room for powers of ten alone."""


def plain_numbers(axis: Axis) -> None:
    """A logarithmic axis with 1, 2, 5, 10, ... written out; with 1, 10, 100, ... where it is long."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    subs = (1.0,) if high > LONG * low else (1.0, 2.0, 5.0)
    axis.set_major_locator(LogLocator(base=10, subs=subs))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())
