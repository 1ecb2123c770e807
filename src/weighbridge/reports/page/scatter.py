"""A small picture of points over a logarithmic axis: where everything stands, for a template to draw.

Names stand beside their points where they cover neither each other nor a point; what finds no room is told by the
table and when the pointer rests on the point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, log, log10

WIDTH, HEIGHT = 440, 280
LEFT, RIGHT, TOP, BOTTOM = 40, 10, 20, 24
LETTER, LINE = 6.6, 13
"""How wide a letter is on the average, and how high a line, in the picture's units."""
RADIUS = 5
MOST_TICKS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What stands at `x` over `y`; `best` is on the line. `low` and `high` are between what x lies."""

    name: str
    x: float
    y: float
    best: bool
    text: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A line of an axis and what is written at it."""

    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A point's name: where it begins or ends."""

    x: float
    y: float
    anchor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A point as it is drawn; `label` is None where there is no room for its name."""

    point: Point
    x: float
    y: float
    between: tuple[float, float] | None
    label: Label | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """The points, the line through the best of them, and the axes."""

    marks: tuple[Mark, ...]
    line: str
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]


Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def picture(points: Sequence[Point], written: Callable[[float], str], base: int) -> Picture:
    """The points with room around them; `written` is how a cost is told, and `base` in what it is round."""
    lows = [point.x if point.low is None else point.low for point in points]
    highs = [point.x if point.high is None else point.high for point in points]
    begin, end = log10(min(lows) / 1.25), log10(max(highs) * 1.6)
    bottom, top = min(point.y for point in points) - 1, max(point.y for point in points) + 1

    def x(value: float) -> float:
        return LEFT + (log10(value) - begin) / (end - begin) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (value - bottom) / (top - bottom) * (HEIGHT - BOTTOM - TOP)

    best = sorted((x(point.x), y(point.y)) for point in points if point.best)
    return Picture(
        marks=tuple(_marks(points, x, y)),
        line=" ".join(f"{at:.1f},{height:.1f}" for at, height in best),
        across=tuple(
            Tick(at=x(value), text=written(value)) for value in _round(10**begin, 10**end, base)
        ),
        up=tuple(Tick(at=y(value), text=f"{value:g}") for value in _even(bottom, top)),
    )


def _marks(
    points: Sequence[Point], x: Callable[[float], float], y: Callable[[float], float]
) -> Iterator[Mark]:
    """The best are named first: they are what the picture is about."""
    taken: list[Box] = [
        (
            min(x(point.x) - RADIUS, x(point.low or point.x)),
            y(point.y) - RADIUS,
            max(x(point.x) + RADIUS, x(point.high or point.x)),
            y(point.y) + RADIUS,
        )
        for point in points
    ]
    for point in sorted(points, key=lambda point: not point.best):
        at, height = x(point.x), y(point.y)
        low, high = point.low, point.high
        yield Mark(
            point=point,
            x=at,
            y=height,
            between=None if low is None or high is None else (x(low), x(high)),
            label=_label(point.name, at, height, taken),
        )


def _label(name: str, x: float, y: float, taken: list[Box]) -> Label | None:
    """Right of the point, left of it, above or below: the first place that is free, which is taken then."""
    width = LETTER * len(name)
    for anchor, left, middle in (
        ("start", x + RADIUS + 2, y),
        ("end", x - RADIUS - 2 - width, y),
        ("middle", x - width / 2, y - RADIUS - LINE / 2 - 1),
        ("middle", x - width / 2, y + RADIUS + LINE / 2 + 1),
    ):
        box = (left, middle - LINE / 2, left + width, middle + LINE / 2)
        inside = left >= LEFT and box[2] <= WIDTH and box[1] >= 0 and box[3] <= HEIGHT - BOTTOM
        if inside and not any(_cover(box, other) for other in taken):
            taken.append(box)
            shift = {"start": 0.0, "end": width, "middle": width / 2}[anchor]
            return Label(x=left + shift, y=middle + 4, anchor=anchor)
    return None


def _cover(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _round(low: float, high: float, base: int) -> list[float]:
    """Powers of two between the two; or 1, 2 and 5 of each power of ten. Every so many, where those are many."""
    steps = (1, 2, 5) if base == 10 else (1,)
    powers = range(floor(log(low, base)), ceil(log(high, base)) + 1)
    found = [float(step * base**power) for power in powers for step in steps]
    inside = [value for value in found if low <= value <= high]
    return inside[:: ceil(len(inside) / MOST_TICKS)] if base == 2 else _thinned(inside)


def _thinned(values: list[float]) -> list[float]:
    """The powers of ten alone where there are many."""
    if len(values) <= MOST_TICKS:
        return values
    return [value for value in values if f"{value:e}".startswith("1.0")]


def _even(low: float, high: float) -> list[float]:
    """Some four round steps between the two."""
    rough = (high - low) / 4
    power = 10.0 ** floor(log10(rough))
    step = next(times * power for times in (1, 2, 5, 10) if times * power >= rough)
    first = ceil(low / step)
    return [step * place for place in range(first, floor(high / step) + 1)]
