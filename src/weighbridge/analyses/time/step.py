"""A step: the time of a Program on a device, kernel by kernel, and between what it lies.

    step = max(sum of the kernels' times, sum of the host's)

An eager program is handed to a GPU operator by operator: where the host takes longer for that than the device
for its kernels, the device waits. On a CPU the host is the device, and its time comes on top.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from ...devices import Device
from ...ops import rule_of
from ...program import PHASES, Phase, Program
from .clock import Bound, Clock, KernelTime
from .execution import Launch, dispatches, launches

Key = TypeVar("Key", bound=str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A prediction and between what it lies in nine cases of ten; `basis` says what that rests on."""

    value: float
    low: float
    high: float
    basis: str

    def __mul__(self, times: float) -> Estimate:
        return Estimate(
            value=self.value * times, low=self.low * times, high=self.high * times, basis=self.basis
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A kernel with its time and the operators that it runs."""

    launch: Launch
    time: KernelTime


@dataclass(frozen=True, kw_only=True)
class StepTime:
    """The time of one step: `kernels` in the order in which they run, and the host's time for all of them.

    `uncounted` says how many operators have no rule and so no time.
    """

    program: Program
    device: Device
    clock: Clock
    kernels: tuple[Timed, ...]
    dispatch_s: float
    uncounted: int

    @cached_property
    def device_s(self) -> float:
        """The kernels' time alone."""
        return sum(timed.time.seconds for timed in self.kernels)

    @property
    def on_host(self) -> bool:
        """Whether the host is the device."""
        return self.device.kind in ("cpu", "board")

    @property
    def waits_for_host(self) -> bool:
        """Whether handing out operators takes longer than running them."""
        return not self.on_host and self.dispatch_s > self.device_s

    @cached_property
    def seconds(self) -> Estimate:
        """The time of the step."""
        value = (
            self.device_s + self.dispatch_s if self.on_host else max(self.device_s, self.dispatch_s)
        )
        found = self.clock.efficiencies
        return Estimate(
            value=value, low=value * found.low, high=value * found.high, basis=found.basis
        )

    @property
    def samples_per_s(self) -> float:
        return self.program.workload.batch / self.seconds.value

    @cached_property
    def by_bound(self) -> Mapping[Bound, float]:
        """Seconds of the kernels by what bounds them, most first."""
        return _summed((timed.time.bound, timed.time.seconds) for timed in self.kernels)

    @cached_property
    def by_class(self) -> Mapping[str, float]:
        """Seconds of the kernels by their class, most first."""
        return _summed((timed.time.kernel.kind, timed.time.seconds) for timed in self.kernels)

    @cached_property
    def by_phase(self) -> Mapping[Phase, float]:
        """Seconds of the kernels by phase."""
        found = dict.fromkeys(PHASES, 0.0)
        for timed in self.kernels:
            found[timed.launch.ops[0].phase] += timed.time.seconds
        return found

    @cached_property
    def by_op(self) -> Mapping[int, float]:
        """Seconds by operator, keyed by its place in the program; of fused ones in equal parts."""
        places = {id(op): place for place, op in enumerate(self.program.ops)}
        found: dict[int, float] = {}
        for timed in self.kernels:
            each = timed.time.seconds / len(timed.launch.ops)
            for op in timed.launch.ops:
                found[places[id(op)]] = found.get(places[id(op)], 0.0) + each
        return found

    @property
    def extrapolating(self) -> tuple[str, ...]:
        """Classes of kernels that take time here and were not among those that were measured, slowest first."""
        return tuple(kind for kind in self.by_class if not self.clock.efficiencies.fitted(kind))


def step_time(program: Program, clock: Clock) -> StepTime:
    """The time of a program on the clock's device.

    Raises:
        UsageError: the device has no rate for a dtype of the program, or no bandwidth.
    """
    timed = tuple(
        Timed(launch=launch, time=clock.time(launch.kernel)) for launch in launches(program)
    )
    return StepTime(
        program=program,
        device=clock.device,
        clock=clock,
        kernels=timed,
        dispatch_s=dispatches(program) * clock.efficiencies.dispatch_s,
        uncounted=sum(rule_of(op.kind) is None for op in program.ops),
    )


def _summed(entries: Iterable[tuple[Key, float]]) -> dict[Key, float]:
    found: dict[Key, float] = {}
    for key, seconds in entries:
        found[key] = found.get(key, 0.0) + seconds
    return dict(sorted(found.items(), key=lambda entry: -entry[1]))
