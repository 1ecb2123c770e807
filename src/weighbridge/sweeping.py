"""Sweeping: thousands of what-ifs at once, over batches, precisions and devices.

    >>> import weighbridge
    >>> found = weighbridge.sweep("resnet18", batches=range(1, 257), on="rtx-4090,a100-80gb")
    >>> len(found.courses[0].points)
    256

A :class:`SweepReport` prints as the screen of `weigh sweep`, shows as HTML in a notebook, and gives plain data. This is the
home of numpy, with which the clock works at all batches at once; without it they follow one after the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Unpack, final

from .analyses.sweep import Course
from .analyses.sweep import sweep as swept
from .analyses.time.clock import Clock
from .analyses.time.whatifs import Growth
from .analyses.weighing import Json, Weighing
from .errors import UsageError
from .network import Network
from .program import Program
from .reports.sheet import Sheet
from .reports.tabled import TabledReport
from .rooms import On, backend, clock, rooms
from .settings import Inputs, Settings
from .workload import PRECISIONS, Precision, check_choice, check_dimension

if TYPE_CHECKING:
    from torch.nn import Module

MOST = 100_000
"""Batches in one sweep: more is a slip of the keyboard."""


def sweep(
    model: str | Module | Callable[..., object],
    inputs: Inputs | None = None,
    *,
    on: On | None,
    batches: Sequence[int],
    precisions: Sequence[Precision] | None = None,
    context: str | int | None = None,
    alloc_conf: str | None = None,
    **settings: Unpack[Settings],
) -> SweepReport:
    """A step at many batches, in several precisions, on several devices.

    Args:
        model, inputs, settings: as of :func:`weighbridge.weigh`.
        on: the devices.
        batches: which; those that the network cannot take (a batch of 1, for some) are left out.
        precisions: which; that of the settings where none is given.
        context, alloc_conf: as of :func:`weighbridge.weigh`.

    Raises:
        UsageError: something is asked for that does not exist or makes no sense, or a device has no rate for a precision.
        WeighError: the network cannot be built, or what it runs changes with the batch.
    """
    if isinstance(model, Program):
        raise UsageError(
            "a Program is one step at one batch, and a sweep builds the step at others",
            "give what it was made from: a name, a module or a callable",
        )
    if on is None:
        raise UsageError("sweep on which device?", "name one, as in --on rtx-4090, or --here")
    sizes = sorted(set(batches))
    if not sizes:
        raise UsageError("a sweep over no batch", "give some, as in --batches 1:512")
    for size in (sizes[0], sizes[-1]):
        check_dimension(size, "a batch of the sweep")
    chosen = tuple(precisions or (settings.get("precision", "float32"),))
    for precision in chosen:
        check_choice("precision", precision, PRECISIONS)
    network = Network(model, inputs)
    asked = network.workload(settings)
    places = [
        (
            room,
            lambda workload, room=room: replace(workload, backend=backend(room.device)),
            lambda precision, room=room: clock(room.device, precision),
        )
        for room in rooms(on, context=context, alloc_conf=alloc_conf)
    ]
    courses = swept(
        network.program, asked, batches=sizes, precisions=chosen, places=places, seconds=seconds_of
    )
    return SweepReport(courses)


def batches_of(text: str) -> list[int]:
    """Batches as they are typed: '1,2,4,8', '1:512' or with a step '8:512:8', both ends included.

    Raises:
        UsageError: that is no list of whole numbers and ranges, or of too many.
    """
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?::(\d+)(?::(\d+))?)?\s*", part)
        if match is None or match[3] == "0":
            raise UsageError(
                f"{part.strip()!r} is no batch and no range of batches",
                "write numbers and ranges, as in 1,2,4 or 1:512 or 8:512:8",
            )
        first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
        if (last - first) // step >= MOST:
            raise UsageError(f"{part.strip()} is more than {MOST:,} batches", "give a larger step")
        found.extend(range(first, last + 1, step))
    if not found:
        raise UsageError(f"{text!r} holds no batch", "a range goes upwards, as in 1:512")
    return found


def precisions_of(text: str) -> list[Precision]:
    """Precisions as they are typed: 'float32,amp-fp16'.

    Raises:
        UsageError: there is no such precision.
    """
    found: list[Precision] = []
    for part in text.split(","):
        check_choice("precision", part.strip(), PRECISIONS)
        found.extend(each for each in PRECISIONS if each == part.strip())
    return found


def seconds_of(grown: Growth, clock: Clock, batches: Sequence[int]) -> Sequence[float]:
    """The times at all batches, at once where numpy is there; a calibration's curves take one kernel after the other."""
    if find_spec("numpy") is None or clock.measured is not None:
        return [grown.seconds(clock, batch) for batch in batches]
    import numpy

    many: Callable[[Growth, Clock, object], object] = Growth.seconds  # type: ignore[assignment]
    found = many(grown, clock, numpy.asarray(batches, dtype=numpy.int64))
    times: list[float] = numpy.broadcast_to(numpy.asarray(found, float), len(batches)).tolist()
    return times


@final
class SweepReport(TabledReport):
    """What was found over batches, precisions and devices. Printed, it is the screen of `weigh sweep`."""

    def __init__(self, courses: tuple[Course, ...]) -> None:
        self.courses = courses
        self.weighing = Weighing(program=courses[0].reference.program)

    def sheet(self) -> Sheet:
        """A row for each what-if."""
        from .reports.sweep import sheet

        return sheet(self.courses)

    def screen(self, *, width: int | None = None, color: bool = False) -> str:
        """Everything that `weigh sweep` prints: a row for each precision on each device."""
        from .reports.screen import framed
        from .reports.sweep import screen

        return framed(self.weighing, screen(self.courses, width=width), width=width, color=color)

    def __repr__(self) -> str:
        points = sum(len(course.points) for course in self.courses)
        return f"<weighbridge.SweepReport of {self.weighing.program.network}: {points} what-ifs>"

    def _repr_html_(self) -> str:
        from .reports import html
        from .reports.sweep import summary

        return html.render(summary(self.courses), title=self.title, footing=self.remarks)

    @property
    def title(self) -> str:
        from .reports.screen import title

        return title(self.weighing)

    @property
    def remarks(self) -> Sequence[str]:
        from .reports.sweep import basis

        return basis(self.courses)

    def to_dict(self) -> dict[str, Json]:
        """The JSON contract `weighbridge-sweep/1` as plain data."""
        from .reports.sweep import to_dict

        return to_dict(self.courses)
