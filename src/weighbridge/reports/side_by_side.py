"""A step on several devices side by side: a row each, and below it what a row cannot say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..analyses.memory.largest import Placed
from ..analyses.time.step import StepTime, Untimed
from ..devices import Device
from ..units import count, duration, durations, memory
from .sheet import Cell, Column, Row, Sheet
from .table import Line, plain, render
from .time import SHORT_LIMITS, bound, grounds, sentence
from .verdict import SHORT_ANSWERS, indented, verdict
from .verdict import sentences as verdict_sentences

Timed = StepTime | Untimed


def verdicts(
    placed: Sequence[Placed], times: Sequence[Timed], *, width: int | None = None
) -> tuple[Line, ...]:
    """A paragraph on the one device, or a table of several."""
    if len(placed) == 1:
        return verdict(placed[0], times[0], width=width)
    inner = None if width is None else max(width - 2, 20)
    table = render(device_sheet(placed, times), width=inner)
    below = [line for text in _below(placed, times) for line in indented(text, width, style="dim")]
    return (*((*plain("  "), *line) for line in table), *below)


def sentences(placed: Sequence[Placed], times: Sequence[Timed]) -> tuple[str, ...]:
    """The same as plain lines, for what stands below a table in a file: a paragraph on each device."""
    return tuple(
        text
        for entry, time in zip(placed, times, strict=True)
        for text in verdict_sentences(entry, time)
    )


def device_sheet(placed: Sequence[Placed], times: Sequence[Timed]) -> Sheet:
    """A row a device: whether the step fits, its peak, the largest batch, its time, and what that goes to."""
    epochs = any(isinstance(time, StepTime) and time.epoch is not None for time in times)
    return Sheet(
        subject="device",
        columns=(
            Column(key="fits", title="fits?", align="left"),
            Column(key="memory", title="memory", rank=4),
            Column(key="peak", title="peak"),
            Column(key="batch", title="max batch", rank=2),
            Column(key="step", title="a step"),
            Column(key="interval", title="between", rank=3),
            Column(key="samples", title="samples/s", rank=0 if not epochs else 2),
            *([Column(key="epoch", title="an epoch")] if epochs else []),
            Column(key="bound", title="bound by", align="left", rank=1),
        ),
        rows=tuple(
            Row(
                path=entry.resident.device.key or entry.resident.device.name,
                name=short(entry.resident.device),
                cells=(*_memory(entry), *_time(time, epochs)),
            )
            for entry, time in zip(placed, times, strict=True)
        ),
    )


def short(device: Device) -> str:
    """A device's name without what it adds: 'this machine's memory'."""
    return device.name.partition(",")[0]


def _memory(placed: Placed) -> tuple[Cell, ...]:
    found, largest = placed.resident, placed.largest
    return (
        SHORT_ANSWERS[found.answer],
        "?" if found.capacity_bytes is None else memory(found.capacity_bytes),
        f"~{memory(found.total.expected)}",
        "?" if largest is None else largest.size,
    )


def _time(time: Timed, epochs: bool) -> tuple[Cell, ...]:
    """The time's cells, of which one is the epoch's where epochs are told."""
    if isinstance(time, Untimed):
        return ("?", "", "?", *(["?"] if epochs else []), "")
    found = time.seconds
    return (
        f"~{duration(found.value)}",
        durations(found.low, found.high),
        count(time.samples_per_s),
        *([] if time.epoch is None else [f"~{duration(time.epoch.value)}"]),
        SHORT_LIMITS["host"] if time.waits_for_host else bound(time),
    )


def _below(placed: Sequence[Placed], times: Sequence[Timed]) -> Iterator[str]:
    """What memory and times rest on, each once with the devices that it is said of."""
    names = [short(entry.resident.device) for entry in placed]
    told: dict[str, list[str]] = {}
    for name, entry, time in zip(names, placed, times, strict=True):
        asked = entry.resident.device
        if isinstance(time, Untimed):
            text = sentence(time, asked)
        else:
            text = f"time: {grounds(time, asked)}"
        told.setdefault(text, []).append(name)
    for name, entry in zip(names, placed, strict=True):
        told.setdefault(f"memory: {entry.resident.basis}", []).append(name)
    for text, of in told.items():
        yield text if len(of) == len(names) else f"{', '.join(of)}: {text}"
