"""Timing that can be compared: turns taken in rounds, medians, and the ratio to the first."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from rich.console import Console
from rich.table import Table


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_turns(works: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, list[float]]:
    """Each work once a round, so that a machine that slows down slows all of them; one round unmeasured."""
    for work in works.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(seconds(work))
    return times


def command(*arguments: str) -> Callable[[], object]:
    """A work that runs a command as a whole process; a failing one is an error."""

    def run() -> object:
        return subprocess.run(arguments, check=True, capture_output=True)

    return run


def python(code: str) -> Callable[[], object]:
    """A work that runs a line of Python in a fresh interpreter."""
    return command(sys.executable, "-c", code)


def show(title: str, times: Mapping[str, Sequence[float]], *, unit: str = "ms") -> None:
    """Median, fastest and slowest, and the median's ratio to the first row's."""
    scale = {"ms": 1e3, "s": 1.0}[unit]
    table = Table(title=title, title_justify="left")
    table.add_column("what")
    for heading in (f"median {unit}", f"min {unit}", f"max {unit}", "ratio"):
        table.add_column(heading, justify="right")
    base: float | None = None
    for name, values in times.items():
        median = statistics.median(values)
        base = base or median
        cells = (median * scale, min(values) * scale, max(values) * scale, median / base)
        table.add_row(name, *(f"{cell:.2f}" for cell in cells))
    Console().print(table)
