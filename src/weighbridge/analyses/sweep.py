"""Sweep: a step at many batches, in several precisions, on several devices: what it takes, and how fast it is.

Nothing is built again for a batch. Storages and kernels are polynomials in it (`memory.scaling`, `time.whatifs`), and
the largest batch that fits is found by the allocator's replay, as everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..workload import Precision, Workload
from .memory.largest import Build, Room, batch_scaling, largest_by_arithmetic
from .memory.scaling import Scaling
from .time.clock import Clock
from .time.step import Estimate, StepTime, step_time
from .time.whatifs import Growth, growth

ENOUGH = 0.9
"""The share of the best rate at which a larger batch hardly pays any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One what-if: a batch, the time of its step, and the bytes of tensors at its peak."""

    batch: int
    seconds: float
    peak_bytes: int

    @property
    def samples_per_s(self) -> float:
        return self.batch / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """The points of one precision on one device, by batch.

    `largest` is the largest batch that surely fits, None where nobody says how much memory there is. `reference` is
    the step at one batch, built and timed as every step is: its interval, in parts of its value, is all the points'.
    """

    precision: Precision
    room: Room
    points: tuple[Point, ...]
    largest: int | None
    reference: StepTime

    def fits(self, point: Point) -> bool | None:
        """Whether the point's step fits; None where nobody says how much memory there is."""
        return None if self.largest is None else point.batch <= self.largest

    def estimate(self, point: Point) -> Estimate:
        """The point's time and between what it lies."""
        return self.reference.estimate(point.seconds)

    @property
    def fitting(self) -> tuple[Point, ...]:
        """The points that are not known not to fit."""
        return tuple(point for point in self.points if self.fits(point) is not False)

    @property
    def best(self) -> Point | None:
        """The point with most samples a second of those that fit, the smaller of equals; None where none fits."""
        return max(self.fitting, key=lambda point: point.samples_per_s, default=None)

    @property
    def enough(self) -> Point | None:
        """The smallest batch with 90 % of the best rate."""
        if self.best is None:
            return None
        least = ENOUGH * self.best.samples_per_s
        return next(point for point in self.fitting if point.samples_per_s >= least)


Seconds = Callable[[Growth, Clock, Sequence[int]], Sequence[float]]
"""The times of a step at several batches, in order."""


def sweep(
    build: Build,
    workload: Workload,
    *,
    batches: Sequence[int],
    precisions: Sequence[Precision],
    places: Sequence[tuple[Room, Callable[[Workload], Workload], Callable[[Precision], Clock]]],
    seconds: Seconds,
) -> tuple[Course, ...]:
    """A course for each precision on each place: a room, the workload with its kernels, and its clock.

    Raises:
        UnscalableError: what the network runs changes with the batch.
        UsageError: a device has no rate for a precision, or nobody says how fast it is.
        WeighError: the network cannot be built.
    """
    known: dict[str, tuple[Growth, Scaling]] = {}
    courses = []
    for precision in precisions:
        for room, on_device, clock_of in places:
            asked = on_device(replace(workload, precision=precision, batch=2))
            if repr(asked) not in known:
                known[repr(asked)] = growth(build, asked), batch_scaling(build, asked)
            grown, held = known[repr(asked)]
            clock = clock_of(precision)
            asked_of = [batch for batch in batches if batch >= grown.smallest]
            courses.append(
                Course(
                    precision=precision,
                    room=room,
                    points=tuple(
                        Point(batch=batch, seconds=time, peak_bytes=held.peak(batch))
                        for batch, time in zip(
                            asked_of, seconds(grown, clock, asked_of), strict=True
                        )
                    ),
                    largest=None
                    if room.device.capacity_bytes is None
                    else largest_by_arithmetic(held, room, smallest=grown.smallest),
                    reference=step_time(build(asked), clock),
                )
            )
    return tuple(courses)
