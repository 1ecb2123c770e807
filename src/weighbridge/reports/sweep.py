"""A sweep: for each precision on each device the batch that is fastest, and every what-if as a row of a file."""

from __future__ import annotations

from collections.abc import Sequence

from ..analyses.sweep import Course, Point
from ..analyses.weighing import Json
from ..units import count, duration, plural
from .run import UNKNOWN, spelled, time_cell
from .sheet import Cell, Column, Figure, Row, Sheet, Size
from .table import Line, labelled, render
from .time import rests_on

SCHEMA = "weighbridge-sweep/1"

ANSWERS = {True: "fits", False: "does not fit", None: "?"}


def screen(courses: Sequence[Course], *, width: int | None) -> tuple[Line, ...]:
    """What `weigh sweep` prints below the heading."""
    blank: Line = ()
    points = sum(len(course.points) for course in courses)
    lines = [
        *labelled("  ", f"{plural(points, 'what-if')}; -o sweep.csv writes every one", width=width),
        blank,
        *render(summary(courses), width=width),
    ]
    for text in basis(courses):
        lines.extend(labelled("", text, width=width, style="dim"))
    return tuple(lines)


def summary(courses: Sequence[Course]) -> Sheet:
    """A row for each precision on each device, the fastest first."""
    columns = (
        Column(key="precision", title="precision", align="left"),
        Column(key="largest", title="largest batch", rank=3),
        Column(key="best", title="fastest batch"),
        Column(key="step", title="a step", data_unit="s", rank=2),
        Column(key="rate", title="samples/s"),
        Column(key="peak", title="tensors at peak", data_unit="bytes", rank=4),
        Column(key="enough", title="90 % of it from batch", rank=1),
    )
    ordered = sorted(courses, key=lambda course: -(course.best.samples_per_s if course.best else 0))
    return Sheet(subject="device", columns=columns, rows=tuple(map(_course, ordered)))


def _course(course: Course) -> Row:
    name = spelled(course.room.device)
    largest: Cell = UNKNOWN if course.largest is None else course.largest
    best, enough = course.best, course.enough
    if best is None or enough is None:
        return Row(
            path=name, name=name, cells=(course.precision, largest, "none fits", *(None,) * 4)
        )
    cells = (
        course.precision,
        largest,
        best.batch,
        time_cell(course.estimate(best)),
        _rate(best),
        Size(bytes=best.peak_bytes),
        enough.batch,
    )
    return Row(path=name, name=name, cells=cells)


def sheet(courses: Sequence[Course]) -> Sheet:
    """A row for each what-if."""
    columns = (
        Column(key="precision", title="precision", align="left"),
        Column(key="batch", title="batch"),
        Column(key="fits", title="fits?", align="left"),
        Column(key="step", title="a step", data_unit="s"),
        Column(key="low", title="from", data_unit="s"),
        Column(key="high", title="to", data_unit="s"),
        Column(key="rate", title="samples/s"),
        Column(key="peak", title="tensors at peak", data_unit="bytes"),
    )
    rows = tuple(_point(course, point) for course in courses for point in course.points)
    return Sheet(subject="device", columns=columns, rows=rows)


def _point(course: Course, point: Point) -> Row:
    name = spelled(course.room.device)
    time = course.estimate(point)
    cells = (
        course.precision,
        point.batch,
        ANSWERS[course.fits(point)],
        _seconds(time.value),
        _seconds(time.low),
        _seconds(time.high),
        _rate(point),
        Size(bytes=point.peak_bytes),
    )
    return Row(path=name, name=name, cells=cells)


def _seconds(value: float) -> Figure:
    return Figure(value=value, text=duration(value))


def _rate(point: Point) -> Figure:
    return Figure(value=point.samples_per_s, text=f"~{count(point.samples_per_s)}")


def basis(courses: Sequence[Course]) -> tuple[str, ...]:
    """What times and memory rest on, each once."""
    told: dict[str, dict[str, None]] = {}
    for course in courses:
        step, device = course.reference, course.room.device
        rests = rests_on(step.seconds.basis, step.device, device, step.extrapolating)
        told.setdefault(rests, {})[spelled(device)] = None
    times = (f"time on {', '.join(names)}: {rests}" for rests, names in told.items())
    return (
        *times,
        "the largest batch is by arithmetic and the allocator's replay; weigh fit builds it to confirm",
    )


def to_dict(courses: Sequence[Course]) -> dict[str, Json]:
    """Everything as plain data: seconds and bytes."""
    return {
        "schema": SCHEMA,
        "network": courses[0].reference.program.network,
        "courses": [_record(course) for course in courses],
    }


def _record(course: Course) -> dict[str, Json]:
    device = course.room.device
    estimates = [course.estimate(point) for point in course.points]
    return {
        "device": {"key": device.key, "name": device.name},
        "precision": course.precision,
        "largest_batch": course.largest,
        "best_batch": None if course.best is None else course.best.batch,
        "basis": course.reference.seconds.basis,
        "extrapolating": list(course.reference.extrapolating),
        "batch": [point.batch for point in course.points],
        "step_s": [point.seconds for point in course.points],
        "low_s": [estimate.low for estimate in estimates],
        "high_s": [estimate.high for estimate in estimates],
        "samples_per_s": [point.samples_per_s for point in course.points],
        "peak_bytes": [point.peak_bytes for point in course.points],
    }
