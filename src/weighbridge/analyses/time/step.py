"""A step: the time of a Program on a device, kernel by kernel, and between what it lies.

    step = max(sum of the kernels' times, sum of the host's)

An eager program is handed to a GPU operator by operator: where the host takes longer for that than the device
for its kernels, the device waits. On a CPU the host is the device, and its time comes on top.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeVar

from ...calibration import operator_of
from ...devices import Device, Efficiency
from ...errors import UsageError
from ...ops import rule_of
from ...ops.kernel import Kernel
from ...program import PHASES, Phase, Program
from ...workload import Mode, Workload
from .clock import Bound, Clock, KernelTime
from .execution import Launch, launches

Key = TypeVar("Key", bound=str)

Limit = Bound | Literal["host"]
"""What time goes to: the longest of what a kernel takes, or the host, which hands operators out."""


SMALLER, LARGER = "smaller ", "larger "
"""What is said of a class of kernels that was measured at other sizes."""

SOME = 0.05
"""The share of a step's seconds outside of what was measured from which on it is extrapolating. timm's steps of families
not seen lie in their interval in 92 cases of 100 below it, and in 68 above (RTX 4090 and 3090), whose interval is wider."""


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
        return self.clock.on_host

    @property
    def waits_for_host(self) -> bool:
        """Whether handing out operators takes longer than running them."""
        return not self.on_host and self.dispatch_s > self.device_s

    @cached_property
    def seconds(self) -> Estimate:
        """The time of the step."""
        device_s, host_s = self.device_s, self.dispatch_s
        return self.estimate(device_s + host_s if self.on_host else max(device_s, host_s))

    def estimate(self, seconds: float) -> Estimate:
        """Between what such a step lies that takes so long, with as much of everything relative to its time."""
        low, high = self._interval
        return Estimate(
            value=seconds,
            low=seconds * low,
            high=max(seconds * high, self._slow_host_s),
            basis=self.clock.efficiencies.basis,
        )

    @property
    def _slow_host_s(self) -> float:
        """What handing out the operators takes on a slow host, where nobody knows the host."""
        slow = self.clock.slow_host_s(self.program.workload.mode)
        return slow and self.dispatch_s / self.clock.efficiencies.dispatch_s * slow

    @cached_property
    def _interval(self) -> tuple[float, float]:
        """The ends of the interval, in parts of the time."""
        borrowed = sum(
            timed.time.seconds for timed in self.kernels if self._share(timed.time.kernel).borrowed
        )
        return self.clock.efficiencies.interval(
            sort_of(self.program.workload),
            borrowed=borrowed / self.device_s if self.device_s else 0.0,
            extrapolating=self._outside_s > SOME * self.device_s,
        )

    @property
    def samples_per_s(self) -> float:
        return self.program.workload.batch / self.seconds.value

    @property
    def epoch(self) -> Estimate | None:
        """An epoch, every step of it with an update; None where nobody says of how many samples, or by another rule."""
        workload = self.program.workload
        if (
            workload.dataset is None
            or workload.learning_rule != "batch"
            or workload.accumulation > 1
        ):
            return None
        return self.seconds * -(-workload.dataset // workload.batch)

    @property
    def host_s(self) -> float:
        """What the host adds to the kernels' time: on a GPU, how long that waits."""
        return self.seconds.value - self.device_s

    @cached_property
    def by_bound(self) -> Mapping[Limit, float]:
        """Seconds of the step by what they go to, most first."""
        found: list[tuple[Limit, float]] = [
            (timed.time.bound, timed.time.seconds) for timed in self.kernels
        ]
        if self.host_s:
            found.append(("host", self.host_s))
        return _summed(found)

    @cached_property
    def by_class(self) -> Mapping[str, float]:
        """Seconds of the kernels by their class, most first."""
        return _summed((timed.time.kernel.kind, timed.time.seconds) for timed in self.kernels)

    @cached_property
    def by_phase(self) -> Mapping[Phase, float]:
        """Seconds of the step by phase."""
        found = dict.fromkeys(PHASES, 0.0)
        for place, seconds in self.by_op.items():
            found[self.program.ops[place].phase] += seconds
        return found

    @cached_property
    def by_scope(self) -> Mapping[str, float]:
        """Seconds of the step by the module whose operators take them, each without those below it."""
        return _summed(
            (self.program.ops[place].scope, seconds) for place, seconds in self.by_op.items()
        )

    @cached_property
    def by_kind(self) -> Mapping[str, float]:
        """Seconds of the step by kind of operator, most first."""
        return _summed(
            (self.program.ops[place].kind, seconds) for place, seconds in self.by_op.items()
        )

    @cached_property
    def by_op(self) -> Mapping[int, float]:
        """Seconds of the step by operator, keyed by its place in the program; they add up to the step."""
        found: dict[int, float] = {}
        for place, _, seconds in self.shares:
            found[place] = found.get(place, 0.0) + seconds
        return found

    @cached_property
    def shares(self) -> Sequence[tuple[int, Limit, float]]:
        """The step's seconds by the place of an operator and by what they go to; they add up to the step.

        Operators that were fused take equal parts. Where the host is the device, each takes what handing
        it out does too; where a device waits for its host, each takes that alone.
        """
        places = {id(op): place for place, op in enumerate(self.program.ops)}
        waits = self.waits_for_host
        found: list[tuple[int, Limit, float]] = []
        handed: dict[tuple[int, ...], None] = {}
        for timed in self.kernels:
            group = tuple(places[id(op)] for op in timed.launch.ops)
            if timed.time.kernel.launches:  # those of a list are handed out with its first
                handed[group] = None
            bound: Limit = "host" if waits else timed.time.bound
            each = 0.0 if waits else timed.time.seconds / len(group)
            found += ((place, bound, each) for place in group)
        host = self.seconds.value if waits else self.host_s
        for group in handed if host else ():
            found += ((place, "host", host / len(handed) / len(group)) for place in group)
        return found

    @cached_property
    def extrapolating(self) -> tuple[str, ...]:
        """What lies outside of what was measured, slowest first: classes of kernels ('update'), and sizes of them; of a machine
        that was calibrated also dtypes and numbers of threads ('float16', '3 threads').

        Sizes ('larger attention') are named where more than `SOME` of the step lies outside.
        """
        much = self._outside_s > SOME * self.device_s
        return tuple(
            name for name in self._outside if much or not name.startswith((SMALLER, LARGER))
        )

    @property
    def _outside_s(self) -> float:
        """The seconds of all kernels that lie outside of what was measured."""
        return sum(self._outside.values())

    @cached_property
    def _outside(self) -> Mapping[str, float]:
        """The seconds of kernels that lie outside of what was measured, by how, most first."""
        return _summed(
            (name, timed.time.seconds)
            for timed in self.kernels
            if (name := self._beyond(timed.time.kernel)) is not None
        )

    def _beyond(self, kernel: Kernel) -> str | None:
        """How a kernel lies outside of what was measured; None if it does not."""
        if self.clock.measured is not None and (lacking := self.clock.measured.lacks(kernel.dtype)):
            return lacking
        share = self._share(kernel)
        if not self.clock.efficiencies.fitted(kernel.kind) or not share.most:
            return kernel.kind
        if kernel.size < share.least:
            return f"{SMALLER}{kernel.kind}"
        return f"{LARGER}{kernel.kind}" if kernel.size > share.most else None

    def _share(self, kernel: Kernel) -> Efficiency:
        return self.clock.efficiencies.of(
            kernel.kind, kernel.part, channels_last=kernel.channels_last
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Untimed:
    """Why nobody can say how long a step takes on a device, and what to do about it."""

    device: Device
    why: str
    hints: tuple[str, ...] = ()


def sort_of(workload: Workload, mode: Mode | None = None) -> str:
    """The sort of a step, or of one in another mode, as intervals tell them apart: 'training, channels-last, compiled'."""
    return f"{mode or workload.mode}, {workload.layout}{', compiled' if workload.compiled else ''}"


def step_time_or_why(program: Program, clock: Clock) -> StepTime | Untimed:
    """The time of a program on the clock's device, or why it is not known."""
    try:
        found = step_time(program, clock)
    except UsageError as error:
        return Untimed(device=clock.device, why=error.message, hints=error.hints)
    if not found.seconds.value:
        return Untimed(device=clock.device, why="nothing of this network takes time")
    return found


def step_time(
    program: Program, clock: Clock, *, launched: Sequence[Launch] | None = None
) -> StepTime:
    """The time of a program on the clock's device; `launched` are its launches, where they are known already.

    Raises:
        UsageError: the device has no rate for a dtype of the program, or no bandwidth.
    """
    launched = tuple(launches(program)) if launched is None else launched
    clock = clock.running(program.workload)
    # Blocks repeat, and their kernels with them.
    known: dict[tuple[Kernel, str, Phase], KernelTime] = {}
    timed = tuple(Timed(launch=launch, time=_known(launch, clock, known)) for launch in launched)
    return StepTime(
        program=program,
        device=clock.device,
        clock=clock,
        kernels=timed,
        dispatch_s=clock.host_s(program, launched),
        uncounted=sum(rule_of(op.kind) is None for op in program.ops),
    )


def _known(
    launch: Launch, clock: Clock, known: dict[tuple[Kernel, str, Phase], KernelTime]
) -> KernelTime:
    operator = "" if clock.measured is None else operator_of(launch.ops[0])
    phase: Phase = "forward" if clock.measured is None else launch.ops[0].phase
    key = (launch.kernel, operator, phase)
    found = known.get(key)
    if found is None:
        found = known[key] = clock.time(*key)
    return found


def _summed(entries: Iterable[tuple[Key, float]]) -> dict[Key, float]:
    found: dict[Key, float] = {}
    for key, seconds in entries:
        found[key] = found.get(key, 0.0) + seconds
    return dict(sorted(found.items(), key=lambda entry: -entry[1]))
