"""Stopwatches: how long a piece of work takes on a device, and whether something came between.

Whoever else runs on a machine makes a measurement longer, never shorter. On a CPU the system says how often it took
the processor away from this process, and Linux how long its threads waited for one; on a GPU the device's own events are read, which do not count the host.
"""

from __future__ import annotations

import gc
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

INTERRUPTIONS_PER_S = 120.0
"""How often a system's own work interrupts a process that nobody disturbs: 60 to 70 times a second was seen on Linux."""

WAITING = 0.03, 20e-6
"""How long the threads of a process that nobody disturbs wait for a processor: a share of the time, and seconds to wake up."""

AHEAD_CYCLES, MOST_CYCLES = 400_000, 25_600_000
"""How long a device is kept busy: 200 us at 2 GHz, and four times as long each time that the host was not done by then."""

BETWEEN = 25

SHORTEST_S = 1e-7

ENOUGH = 3
"""Undisturbed samples that a median is taken of; with fewer, the lower quartile of all is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One run: its seconds, how often the processor was taken away, how long all threads together were ready and had none,
    and how many pages the system made.
    """

    seconds: float
    interruptions: int = 0
    waited_s: float = 0.0
    pages: int = 0

    @property
    def undisturbed(self) -> bool:
        share, waking_s = WAITING
        if self.waited_s > waking_s + share * self.seconds:
            return False
        return self.interruptions <= 0.5 + INTERRUPTIONS_PER_S * self.seconds


class Stopwatch(Protocol):
    """Times work on a device; `name` is what PyTorch calls that."""

    name: str

    def sample(self, work: Callable[[], object]) -> Sample:
        """Runs the work once, until it is done."""


class CpuStopwatch:
    """The processor's own clock, and what the system says of interruptions and pages."""

    name = "cpu"

    def sample(self, work: Callable[[], object]) -> Sample:
        waited_s = _waited_s()
        interruptions, pages = _usage()
        start = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - start
        interruptions_after, pages_after = _usage()
        waited_s_after = _waited_s()
        del result  # what it made is freed after the clock has stopped
        return Sample(
            seconds=seconds,
            interruptions=interruptions_after - interruptions,
            waited_s=waited_s_after - waited_s,
            pages=pages_after - pages,
        )


class EventStopwatch:
    """A GPU's events: the time between two of them in the device's own queue."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._device = getattr(torch, name)

    def sample(self, work: Callable[[], object]) -> Sample:
        start, end = (self._device.Event(enable_timing=True) for _ in range(2))
        self._device.synchronize()
        start.record()
        result = work()
        end.record()
        self._device.synchronize()
        del result
        return Sample(seconds=start.elapsed_time(end) / 1e3)


class QueuedStopwatch:
    """A CUDA device's events behind a kernel that keeps it busy until the work stands in its queue: the device's time alone.

    What two events are apart with nothing between them is taken off.
    """

    name = "cuda"

    def __init__(self) -> None:
        self._between = 0.0
        self._between = statistics.median(self.sample(_nothing).seconds for _ in range(BETWEEN))

    def sample(self, work: Callable[[], object]) -> Sample:
        cuda: Any = torch.cuda
        cycles = AHEAD_CYCLES
        start, end = (cuda.Event(enable_timing=True) for _ in range(2))
        while True:
            cuda.synchronize()
            cuda._sleep(cycles)
            start.record()
            result = work()
            end.record()
            late = start.query()  # the device was done waiting before the work stood there
            cuda.synchronize()
            del result
            if not late or cycles >= MOST_CYCLES:
                break
            cycles *= 4
        return Sample(seconds=max(start.elapsed_time(end) / 1e3 - self._between, SHORTEST_S))


def _nothing() -> None:
    """Work that takes no time."""


def stopwatch(name: str) -> Stopwatch:
    """The stopwatch of a kind of device: 'cpu', 'cuda' or 'mps'."""
    return CpuStopwatch() if name == "cpu" else EventStopwatch(name)


def typical(samples: Sequence[Sample]) -> float:
    """The median of the undisturbed samples; the lower quartile of all where hardly any was undisturbed."""
    clean = [sample.seconds for sample in samples if sample.undisturbed]
    if len(clean) >= min(ENOUGH, len(samples)):
        return statistics.median(clean)
    return sorted(sample.seconds for sample in samples)[len(samples) // 4]


@contextmanager
def without_collector() -> Iterator[None]:
    """Keeps Python's cyclic collector from running in between."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


@contextmanager
def threads(count: int | None = None) -> Iterator[None]:
    """Works on so many threads of the processor, and takes back whatever is done to their number."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _waited_s(tasks: Path = Path("/proc/self/task")) -> float:
    """How long this process' threads were ready to run and had no processor (Linux, scheduler/sched-stats); 0 elsewhere."""
    waited_ns = 0
    with suppress(OSError):  # a thread may end meanwhile
        for task in os.listdir(tasks):
            with open(tasks / task / "schedstat", "rb") as file:
                waited_ns += int(file.read().split()[1])
    return waited_ns / 1e9


def _usage() -> tuple[int, int]:
    """How often the processor was taken from this process, and how many pages it was given without reading a disk."""
    if sys.platform == "win32":
        return 0, 0
    import resource

    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_nivcsw, usage.ru_minflt
