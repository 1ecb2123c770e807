"""The time of a step in words: how long, between what, what it goes to, and what that rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from ..analyses.time.outsized import Outsized
from ..analyses.time.step import LARGER, SMALLER, Limit, StepTime, Untimed
from ..analyses.weighing import Json
from ..devices import Device
from ..units import count, duration, durations, integer, plural, whole_percent

Part = TypeVar("Part", bound=str)

LIMITS: Mapping[Limit, str] = {
    "compute": "arithmetic",
    "memory": "memory traffic",
    "overhead": "launching kernels",
    "host": "the host",
}
"""What time goes to, as it is said."""
SHORT_LIMITS: Mapping[Limit, str] = {
    "compute": "arithmetic",
    "memory": "memory",
    "overhead": "launches",
    "host": "the host",
}
"""The same in a column."""

MOST_NAMES = 4
"""Layers that a sentence names."""


def sentence(time: StepTime | Untimed, asked: Device) -> str:
    """'one step ~71.3 ms (60.4 to 84.6 ms), 898 samples/s; bound by memory traffic in 61 % of the time'.

    `asked` is the device that was named, for which another's rates may stand.
    """
    if isinstance(time, Untimed):
        return f"no time of a step: {'; '.join((time.why, *time.hints))}"
    parts = [f"one step {about(time)}{stand_in(time, asked)}, {rate(time)}"]
    if time.epoch is not None:
        parts[0] += f", an epoch ~{duration(time.epoch.value)}"
    if time.waits_for_host:
        parts.append(
            f"it waits for the host, which hands out operators for {duration(time.dispatch_s)}, and needs "
            f"{duration(time.device_s)} itself"
        )
    else:
        limit, share = largest_part(time)
        parts.append(f"bound by {LIMITS[limit]} in {whole_percent(share)} of the time")
    if time.uncounted:
        parts.append(f"without {plural(time.uncounted, 'operator')} that no rule is known for")
    return "; ".join(parts)


def about(time: StepTime) -> str:
    """'~71.3 ms (60.4 to 84.6 ms)'."""
    found = time.seconds
    return f"~{duration(found.value)} ({durations(found.low, found.high)})"


def stand_in(time: StepTime, asked: Device) -> str:
    """Whose rates stand for those of the device that was named: ' on Core i7-12700H for any CPU'."""
    return "" if time.device.key == asked.key else f" on {time.device.name}"


def rate(time: StepTime) -> str:
    """'898 samples/s'."""
    return f"{count(time.samples_per_s)} samples/s"


def bound(time: StepTime) -> str:
    """What most of the time goes to, in a column: 'memory 61 %'."""
    limit, share = largest_part(time)
    return f"{SHORT_LIMITS[limit]} {whole_percent(share)}"


def largest_part(time: StepTime) -> tuple[Limit, float]:
    """What most of the time goes to, and its share of one."""
    limit, seconds = next(iter(time.by_bound.items()))
    return limit, seconds / time.seconds.value


def grounds(time: StepTime, asked: Device) -> str:
    """Whose rates were taken, what they rest on, and what of this step lies outside of that."""
    outside = time.extrapolating if time.clock.efficiencies.classes else ()
    return rests_on(time.seconds.basis, time.device, asked, outside)


def rests_on(basis: str, rated: Device, asked: Device, extrapolating: Sequence[str]) -> str:
    """The same of its parts: the rates of one device, for another, in classes of which some were not measured."""
    parts = [basis]
    if rated.key != asked.key:
        parts.append(f"rates of {rated.name}")
    for beyond, said in BEYOND.items():
        named = [name.removeprefix(beyond) for name in extrapolating if name.startswith(beyond)]
        if named:
            parts.append(f"extrapolating {said}{listed(named)}")
        extrapolating = [name for name in extrapolating if not name.startswith(beyond)]
    if extrapolating:
        parts.append(f"extrapolating: {listed(extrapolating)}")
    return "; ".join(parts)


BEYOND = {SMALLER: "to smaller kernels: ", LARGER: "to larger kernels: "}


def waiting(found: Outsized, batch: int) -> str:
    """Which layers wait for their weights: 'fc6, fc7 and fc8: 1 % of the operations, 34 % of the time. At batch 1 ...'."""
    names = listed([scope or "the network" for scope in found.scopes])
    each = f"each of their weights is fetched from memory for {integer(round(found.operations_each))} operations"
    others = (
        ""
        if found.others_each is None
        else f", one of the other layers for {integer(round(found.others_each))}"
    )
    larger = (
        ""
        if found.larger is None or found.larger_share is None
        else f"; at batch {integer(found.larger)} they take {whole_percent(found.larger_share)} of the time"
    )
    return (
        f"{names}: {whole_percent(found.operations_share)} of the operations, {whole_percent(found.time_share)} "
        f"of the time. At batch {integer(batch)} {each}{others}{larger}"
    )


def listed(names: Sequence[str]) -> str:
    """'fc6, fc7 and fc8'; of many the first ones and how many more."""
    if len(names) > MOST_NAMES:
        names = [*names[: MOST_NAMES - 1], f"{len(names) - MOST_NAMES + 1} more"]
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def record(time: StepTime | Untimed) -> dict[str, Json]:
    """The keys of a device's record that are of time: `time`, null where `time_unknown` says why."""
    if isinstance(time, Untimed):
        return {"time": None, "time_unknown": "; ".join((time.why, *time.hints))}
    found = time.seconds
    return {
        "time": {
            "seconds": found.value,
            "low": found.low,
            "high": found.high,
            "samples_per_s": time.samples_per_s,
            **({} if time.epoch is None else {"epoch_s": time.epoch.value}),
            "device_s": time.device_s,
            "dispatch_s": time.dispatch_s,
            "waits_for_host": time.waits_for_host,
            "by_bound": _seconds(time.by_bound),
            "by_class": _seconds(time.by_class),
            "by_phase": _seconds(time.by_phase),
            "by_layer": _seconds(time.by_scope),
            "rates_of": {"key": time.device.key, "name": time.device.name},
            "basis": found.basis,
            "extrapolating": list(time.extrapolating),
            "uncounted": time.uncounted,
        }
    }


def _seconds(parts: Mapping[Part, float]) -> dict[str, Json]:
    return dict(parts.items())
