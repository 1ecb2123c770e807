"""`python -m benchmarks [NAME ...]`: runs the benchmarks named, all of them without a name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from benchmarks import allocator, building, every, pages, serve, startup, tracing, whatifs
from benchmarks.charts import command as charts
from benchmarks.fitting import command as fitting
from benchmarks.peers import command as peers
from benchmarks.truth import command as truth

BENCHMARKS: Mapping[str, Callable[[], None]] = {
    "startup": startup.main,
    "building": building.main,
    "tracing": tracing.main,
    "allocator": allocator.main,
    "whatifs": whatifs.main,
}


def main(names: list[str]) -> int:
    """Runs the benchmarks; returns the exit code."""
    if names[:1] == ["peers"]:  # minutes, and words of its own: never part of them all
        return peers.main(names[1:])
    if names[:1] == ["serve"]:  # needs the extra of that name
        serve.main(names[1:])
        return 0
    if names[:1] == ["every"]:
        every.main(names[1:])
        return 0
    if names[:1] == ["fit"]:
        return fitting.main(names[1:])
    if names[:1] == ["truth"]:
        truth.main(names[1:])
        return 0
    if names[:1] == ["pages"]:  # needs a browser
        pages.main(names[1:])
        return 0
    if names[:1] == ["charts"]:  # needs a browser, and the libraries
        charts.main(names[1:])
        return 0
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"no benchmark {unknown[0]!r}; there are: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    for name in names or BENCHMARKS:
        BENCHMARKS[name]()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
