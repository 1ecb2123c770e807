"""The roofline of a step: the device's roofs, a picture in characters, and a row a piece."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import ceil, floor, log10

from ..analyses.time.outsized import Outsized
from ..analyses.time.roofline import Piece, Roof, Roofline
from ..analyses.weighing import Json, Weighing
from ..units import count, significant, unit, whole_percent
from .screen import framed
from .sheet import (
    Cell,
    Column,
    Figure,
    Row,
    Sheet,
    Size,
    durations,
    shares,
    summed,
)
from .table import Line, Span, labelled, render
from .time import SHORT_LIMITS, grounds, sentence, waiting
from .time import record as time_record
from .verdict import indented

HEIGHT = 14
"""Lines of the picture that roofs and pieces are drawn in."""
WIDEST = 76
"""Characters of them, at most."""
NARROWEST = 30
MARGIN = 9
"""Characters that the rates beside the picture take."""
LETTERS = "abcdefghijklmnopqrstuvwxyz"
"""Marks of the pieces that the picture shows, the slowest."""
SHOWN_SHARE = 0.005
"""Of the time, from which on a picture shows a piece."""
LOWEST_INTENSITY = 0.01
"""FLOPs a byte from which on a piece computes to speak of: a single addition a number of float64 is 0.1."""
NOT_APPLICABLE = "-"


def screen(
    weighing: Weighing,
    found: Roofline,
    waits: Outsized | None,
    *,
    width: int | None,
    color: bool,
) -> str:
    """Everything that `weigh roofline` prints."""
    blank: Line = ()
    picture = Picture.of(found, WIDEST if width is None else min(width - MARGIN, WIDEST))
    drawn = (*picture.lines(), blank) if picture is not None else ()
    body = (
        *labelled(f"  {found.device.name}", sentence(found.time, found.device), width=width),
        *(line for text in _below(found) for line in indented(text, width, style="dim")),
        blank,
        *drawn,
        *render(piece_sheet(found), width=width),
        *(
            line
            for text in _waiting(found, waits)
            for line in (blank, *labelled("", text, width=width))
        ),
    )
    return framed(weighing, body, width=width, color=color)


def levels(roofs: Iterable[Roof]) -> Iterator[tuple[str, Roof]]:
    """Roofs of one height together, with the names of their dtypes."""
    named: dict[float, list[Roof]] = {}
    for roof in roofs:
        named.setdefault(roof.flop_per_s, []).append(roof)
    for same in named.values():
        yield "/".join(roof.dtype for roof in same), same[0]


def remarks(found: Roofline, waits: Outsized | None) -> tuple[str, ...]:
    """What stands below the table in a file."""
    return (said(found), *_below(found), *_waiting(found, waits))


def said(found: Roofline) -> str:
    """How long the step takes on the device, in words."""
    return f"{found.device.name}: {sentence(found.time, found.device)}"


def basis(found: Roofline) -> str:
    """What that rests on."""
    return f"basis of the time: {grounds(found.time, found.device)}"


def _waiting(found: Roofline, waits: Outsized | None) -> Iterator[str]:
    if waits is not None:
        yield waiting(waits, found.time.program.workload.batch)


def _below(found: Roofline) -> Iterator[str]:
    ridges = [
        f"{significant(roof.ridge_flop_per_byte)} {names} at {unit(roof.flop_per_s, 'FLOP/s')}"
        for names, roof in levels(sorted(found.roofs, key=lambda roof: not roof.used))
    ]
    yield (
        f"{unit(found.bandwidth_bytes_per_s, 'B/s')}; ridge points, where arithmetic takes as long as memory "
        f"traffic, in FLOP/B: {', '.join(ridges)}"
    )
    yield basis(found)


# -- the table -----------------------------------------------------------------------------------


def piece_sheet(found: Roofline) -> Sheet:
    """A row a piece, slowest first."""
    marks = {piece.name: mark for piece, mark in zip(drawn(found), LETTERS, strict=False)}
    time_unit, times = durations([piece.seconds for piece in found.pieces])
    parts = shares([round(piece.seconds * 1e15) for piece in found.pieces])
    total = (*_figures(found.whole), summed(times), summed(parts), SHORT_LIMITS[found.whole.bound])
    return Sheet(
        subject=found.by,
        columns=(
            Column(key="kernels", title="kernels", rank=5),
            Column(key="flops", title="FLOPs", rank=2),
            Column(key="bytes", title="traffic", data_unit="bytes", rank=2),
            Column(key="intensity", title="FLOP/B"),
            Column(key="attainable", title="roof", unit="FLOP/s", rank=1),
            Column(key="rate", title="reached", unit="FLOP/s", rank=1),
            Column(key="bandwidth", title="moved", unit="B/s", rank=4),
            Column(key="reached", title="of the roof", rank=3),
            Column(key="time", title="time", unit=time_unit, data_unit="s"),
            Column(key="share", title="share", unit="%", rank=3),
            Column(key="bound", title="bound by", align="left"),
        ),
        rows=tuple(
            Row(
                path=piece.name or found.time.program.network,
                name=f"{marks.get(piece.name, ' ')} {piece.name or found.time.program.network}",
                cells=(*_figures(piece), time, share, SHORT_LIMITS[piece.bound]),
            )
            for piece, time, share in zip(found.pieces, times, parts, strict=True)
        ),
        totals=total,
    )


def _figures(piece: Piece) -> tuple[Cell, ...]:
    return (
        piece.kernels,
        Figure(value=piece.flops, text=count(piece.flops)),
        Size(bytes=piece.traffic_bytes),
        _figure(piece.flop_per_byte, significant),
        _figure(piece.attainable_flop_per_s, count),
        _figure(piece.flop_per_s, count),
        _figure(piece.bytes_per_s, count),
        _figure(piece.reached, whole_percent),
    )


def _figure(value: float | None, text: Callable[[float], str]) -> Cell:
    return NOT_APPLICABLE if value is None else Figure(value=value, text=text(value))


def record(found: Roofline) -> dict[str, Json]:
    """The roofs and the pieces as plain data."""
    return {
        "device": {"key": found.device.key, "name": found.device.name},
        "by": found.by,
        "bandwidth_bytes_per_s": found.bandwidth_bytes_per_s,
        "roofs": [
            {
                "dtype": roof.dtype,
                "flop_per_s": roof.flop_per_s,
                "ridge_flop_per_byte": roof.ridge_flop_per_byte,
                "used": roof.used,
            }
            for roof in found.roofs
        ],
        "pieces": [
            {
                "name": piece.name,
                "kernels": piece.kernels,
                "flops": piece.flops,
                "traffic_bytes": piece.traffic_bytes,
                "flop_per_byte": piece.flop_per_byte,
                "attainable_flop_per_s": piece.attainable_flop_per_s,
                "flop_per_s": piece.flop_per_s,
                "bytes_per_s": piece.bytes_per_s,
                "reached": piece.reached,
                "seconds": piece.seconds,
                "share": piece.share,
                "bound": piece.bound,
            }
            for piece in found.pieces
        ],
        **time_record(found.time),
    }


# -- the picture ---------------------------------------------------------------------------------


def drawn(found: Roofline) -> tuple[Piece, ...]:
    """The pieces that pictures show, slowest first: those that compute and move something, and that matter."""
    return tuple(
        piece
        for piece in found.pieces
        if (piece.flop_per_byte or 0.0) >= LOWEST_INTENSITY and piece.share >= SHOWN_SHARE
    )


def power_of_ten(value: float) -> str:
    """'100 G', '10 T': a mark of an axis."""
    number, _, prefix = count(value).partition(" ")
    return f"{float(number):g} {prefix}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Roofs and pieces on a grid of characters, both axes logarithmic: `x` and `y` are their ends as powers of ten."""

    found: Roofline
    characters: int
    x: tuple[float, float]
    y: tuple[float, float]

    @classmethod
    def of(cls, found: Roofline, characters: int) -> Picture | None:
        """The picture; None where there is no room for it, or nothing to draw."""
        pieces = drawn(found)[: len(LETTERS)]
        if characters < NARROWEST or not pieces:
            return None
        roofs = [roof for roof in found.roofs if roof.used]
        intensities = [piece.flops / piece.traffic_bytes for piece in pieces]
        intensities += [4 * roof.ridge_flop_per_byte for roof in roofs]
        rates = [piece.flops / piece.seconds for piece in pieces]
        rates += [2 * roof.flop_per_s for roof in roofs]
        return cls(
            found=found,
            characters=characters,
            x=(log10(min(intensities)) - 0.2, log10(max(intensities)) + 0.1),
            y=(log10(min(rates)) - 0.2, log10(max(rates))),
        )

    def lines(self) -> tuple[Line, ...]:
        """The grid with its axes."""
        grid = [[Span(text=" ")] * self.characters for _ in range(HEIGHT)]
        self._roofs(grid)
        self._pieces(grid)
        labels = self._rates()
        rows = [
            (Span(text=f"{labels.get(row, ''):>{MARGIN - 2}} │", style="dim"), *_joined(cells))
            for row, cells in enumerate(grid)
        ]
        above = (Span(text=" " * (MARGIN - 2) + " FLOP/s", style="dim"),)
        return (above, *rows, *self._intensities())

    def _column(self, power: float) -> int:
        return round((power - self.x[0]) / (self.x[1] - self.x[0]) * (self.characters - 1))

    def _row(self, power: float) -> int:
        return HEIGHT - 1 - round((power - self.y[0]) / (self.y[1] - self.y[0]) * (HEIGHT - 1))

    def _roofs(self, grid: list[list[Span]]) -> None:
        """The slope of the bandwidth up to the highest roof that is used, and each of those from there on."""
        roofs = [roof for roof in self.found.roofs if roof.used]
        slope, top = log10(self.found.bandwidth_bytes_per_s), log10(roofs[0].flop_per_s)
        for column in range(self._column(top - slope)):
            power = self.x[0] + column / (self.characters - 1) * (self.x[1] - self.x[0])
            row = self._row(slope + power)
            if 0 <= row < HEIGHT:
                grid[row][column] = Span(text="·", style="dim")
        for names, roof in levels(roofs):
            row, begin = (
                self._row(log10(roof.flop_per_s)),
                self._column(log10(roof.ridge_flop_per_byte)),
            )
            grid[row][begin:] = [Span(text="─", style="dim")] * (self.characters - begin)
            label = f"{names} {unit(roof.flop_per_s, 'FLOP/s')}"
            if row > 0 and len(label) < self.characters:
                grid[row - 1][-len(label) :] = [Span(text=letter, style="dim") for letter in label]

    def _pieces(self, grid: list[list[Span]]) -> None:
        """A letter for each piece, on the nearest free place; the slowest is placed first."""
        taken: set[tuple[int, int]] = set()
        for piece, letter in zip(drawn(self.found), LETTERS, strict=False):
            row = self._row(log10(piece.flops / piece.seconds))
            column = self._column(log10(piece.flops / piece.traffic_bytes))
            free = (
                (row + down, column + right)
                for right in (0, 1, -1, 2, -2, 3, -3)
                for down in (0, 1, -1)
                if (row + down, column + right) not in taken
                and 0 <= row + down < HEIGHT
                and 0 <= column + right < self.characters
            )
            place = next(free, None)
            if place is not None:
                taken.add(place)
                grid[place[0]][place[1]] = Span(text=letter, style="bold cyan")

    def _rates(self) -> dict[int, str]:
        """The powers of ten beside the lines."""
        powers = range(ceil(self.y[0]), floor(self.y[1]) + 1)
        return {self._row(power): power_of_ten(10.0**power) for power in powers}

    def _intensities(self) -> tuple[Line, ...]:
        """The axis below, with its powers of ten."""
        ticks = {
            self._column(power): f"{10.0**power:g}"
            for power in range(ceil(self.x[0]), floor(self.x[1]) + 1)
        }
        axis = "".join("┴" if place in ticks else "─" for place in range(self.characters))
        labels = [" "] * (self.characters + 16)
        for place, label in ticks.items():
            labels[place : place + len(label)] = label
        name = "FLOP/B"
        written = "".join(labels).rstrip()
        if len(written) + 2 + len(name) <= self.characters:
            written = written.ljust(self.characters - len(name)) + name
        return (
            (Span(text=" " * (MARGIN - 1) + "└" + axis, style="dim"),),
            (Span(text=" " * MARGIN + written, style="dim"),),
        )


def _joined(cells: list[Span]) -> Line:
    """Neighbours of one style as one piece of the line."""
    found: list[Span] = []
    for cell in cells:
        if found and found[-1].style == cell.style:
            found[-1] = Span(text=found[-1].text + cell.text, style=cell.style)
        else:
            found.append(cell)
    return tuple(found)
