"""What this machine is, what a calibration found, and a measured step beside its prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from ..analyses.time.step import StepTime, Untimed
from ..analyses.weighing import Json, Weighing
from ..calibration import Calibration, Setting
from ..devices import Device
from ..program import Program
from ..units import duration, durations, integer, memory, percent, plural, unit
from . import json
from .screen import title
from .table import Line, labelled, written
from .time import about, listed


class Found(Protocol):
    """What was measured of a step."""

    @property
    def seconds(self) -> float: ...
    @property
    def low_s(self) -> float: ...
    @property
    def high_s(self) -> float: ...
    @property
    def steps(self) -> int: ...
    @property
    def undisturbed(self) -> int: ...
    @property
    def peak_bytes(self) -> int | None: ...
    @property
    def reserved_bytes(self) -> int | None: ...


class Known(Protocol):
    """What was measured of a device, why that does not hold now, and what it lacks."""

    @property
    def calibration(self) -> Calibration: ...
    @property
    def stale(self) -> tuple[str, ...]: ...
    @property
    def lacking(self) -> str | None: ...


States = Mapping[str, Known | None]
"""By kind of device."""


def here(
    devices: Sequence[Device],
    processor: str,
    cores: int,
    caches: Mapping[str, int],
    calibrations: States,
    *,
    width: int | None,
    color: bool,
) -> str:
    """What `weigh here` prints."""
    sizes = ", ".join(f"{level} {memory(size)}" for level, size in caches.items())
    lines: list[Line] = [
        *labelled(
            "processor",
            f"{processor}, {plural(cores, 'core')}" + (f"; caches {sizes}" if sizes else ""),
            width=width,
        )
    ]
    for device in devices:
        about = (
            device.name
            if device.kind == "cpu"
            else f"{device.name}, {memory(device.capacity_bytes or 0)}"
        )
        lines += labelled("memory" if device.kind == "cpu" else "GPU", about, width=width)
    for kind, found in calibrations.items():
        label = "GPU calibration" if kind == "cuda" else "calibration"
        lines += labelled(label, state(kind, found), width=width)
    return written(lines, color=color)


def here_json(
    devices: Sequence[Device],
    processor: str,
    cores: int,
    caches: Mapping[str, int],
    calibrations: States,
) -> str:
    """The same as JSON."""
    return json.render(
        {
            "processor": processor,
            "cores": cores,
            "caches": dict(caches),
            "devices": [
                {"name": each.name, "kind": each.kind, "capacity_bytes": each.capacity_bytes}
                for each in devices
            ],
            **{
                "gpu_calibration" if kind == "cuda" else "calibration": None
                if found is None
                else state_json(found.calibration, found.stale)
                for kind, found in calibrations.items()
            },
        }
    )


def state(kind: str, found: Known | None) -> str:
    """One sentence: whether a device was calibrated, when, in what, and whether that still holds."""
    again = "weigh calibrate" if kind == "cpu" else f"weigh calibrate --device {kind}"
    if found is None:
        return f"none; measure this machine: {again}"
    calibration = found.calibration
    conditions = calibration.conditions
    taken = (
        f"of {calibration.taken[:16].replace('T', ' ')} UTC, PyTorch {conditions.torch}, {held(calibration)}, "
        f"repeatability {percent(calibration.repeatability)}"
    )
    if found.stale:
        return f"stale and not used, {taken}: {'; '.join(found.stale)}; measure again: {again}"
    if found.lacking is not None:
        return f"{taken}; PyTorch takes {found.lacking} now, which it lacks: times are extrapolated"
    return taken


def held(calibration: Calibration) -> str:
    """What was timed: '2,151 kernels in float32 on 2 threads, 217 of them in bfloat16 on 2 threads too'."""
    base, *others = calibration.settings
    text = f"{plural(len(calibration.points), 'kernel')} in {_named(base)}"
    if not others:
        return text
    some = sum(bool(point.others) for point in calibration.points)
    return f"{text}, {integer(some)} of them in {listed([_named(each) for each in others])} too"


def _named(setting: Setting) -> str:
    return f"{setting.dtype} on {plural(setting.threads, 'thread')}"


def state_json(calibration: Calibration, stale: Sequence[str]) -> dict[str, Json]:
    """The same as plain data."""
    conditions, overheads = calibration.conditions, calibration.overheads
    return {
        "taken": calibration.taken,
        "seconds": calibration.seconds,
        "kernels": len(calibration.points),
        "repeatability": calibration.repeatability,
        "disturbed": calibration.disturbed,
        "conditions": {
            "device": conditions.device,
            "processor": conditions.processor,
            "cores": conditions.cores,
            "threads": conditions.threads,
            "torch": conditions.torch,
            "system": conditions.system,
            "malloc": conditions.malloc,
        },
        "overheads": {
            "forward": overheads.forward,
            "backward": overheads.backward,
            "forward_s": overheads.forward_s,
            "backward_s": overheads.backward_s,
            "page_s": overheads.page_s,
        },
        "settings": [
            {"dtype": setting.dtype, "threads": setting.threads} for setting in calibration.settings
        ],
        "stale": list(stale),
    }


def calibrated(
    calibration: Calibration,
    rates: Mapping[str, float],
    bandwidth: float,
    place: str,
    *,
    width: int | None,
    color: bool,
) -> str:
    """What `weigh calibrate` prints."""
    overheads, conditions = calibration.overheads, calibration.conditions
    lines: list[Line] = [
        *labelled(
            conditions.processor,
            f"PyTorch {conditions.torch}",
            width=width,
        ),
        *labelled(
            "measured",
            f"{held(calibration)}, in {duration(calibration.seconds)}; the same kernels again at the "
            f"end: {percent(calibration.repeatability)} apart; disturbed {percent(calibration.disturbed)} of the runs",
            width=width,
        ),
        *labelled(
            "fastest product",
            ", ".join(f"{unit(rate, 'FLOP/s')} in {dtype}" for dtype, rate in rates.items()),
            width=width,
        ),
        *labelled("large operands", unit(bandwidth, "B/s"), width=width),
        *labelled(
            "in a network",
            f"kernels take {overheads.forward:.2f} times as long in forward, {overheads.backward:.2f} in backward; "
            f"the host {duration(overheads.forward_s)} an operator, {duration(overheads.backward_s)} in backward",
            width=width,
        ),
    ]
    if overheads.page_s:
        lines += labelled("a new page", duration(overheads.page_s), width=width)
    lines += labelled("kept in", place, width=width)
    return written(lines, color=color)


def measured(
    program: Program,
    found: Found,
    time: StepTime | Untimed,
    predicted_bytes: int,
    predicted_reserved_bytes: int | None,
    *,
    width: int | None,
    color: bool,
) -> str:
    """What `weigh measure` prints."""
    took = (
        f"{duration(found.seconds)} a step; half of {found.steps} steps took {durations(found.low_s, found.high_s)}"
        + (
            f"; {found.steps - found.undisturbed} were disturbed"
            if found.undisturbed < found.steps
            else ""
        )
    )
    if isinstance(time, Untimed):
        predicted = f"no time: {'; '.join((time.why, *time.hints))}"
    else:
        off = time.seconds.value / found.seconds - 1
        predicted = f"{about(time)}, {percent(abs(off))} {'more' if off > 0 else 'less'}; {time.seconds.basis}"
    lines: list[Line] = [
        *labelled("", title(Weighing(program=program)), width=width),
        (),
        *labelled("measured", took, width=width),
        *labelled("predicted", predicted, width=width),
    ]
    if found.peak_bytes is not None:
        lines += labelled(
            "memory measured", f"{memory(found.peak_bytes)} at the allocator's peak", width=width
        )
        lines += labelled(
            "memory predicted", _beside(predicted_bytes, found.peak_bytes), width=width
        )
    if found.reserved_bytes is not None and predicted_reserved_bytes is not None:
        lines += labelled("reserved", f"{memory(found.reserved_bytes)} for that", width=width)
        lines += labelled(
            "reserved predicted",
            _beside(predicted_reserved_bytes, found.reserved_bytes),
            width=width,
        )
    return written(lines, color=color)


def _beside(predicted: int, found: int) -> str:
    """Predicted bytes, and how far they are from what was found."""
    off = predicted / found - 1
    return f"{memory(predicted)}, {percent(abs(off))} {'more' if off > 0 else 'less'}"
