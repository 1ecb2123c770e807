"""The fit to whole networks: each device's shares, how far off they are on families that it did not see, and intervals.

Shares are fitted to the families that may be seen, and the intervals are from those too (`intervals`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from benchmarks.fitting.intervals import intervals, left_out
from benchmarks.fitting.kernel_shares import Array, Table, fit, shares, table
from benchmarks.fitting.throughputs import FILES, Row, everything
from weighbridge.analyses.time.step import SOME
from weighbridge.devices import Efficiencies, Efficiency, load

DISPATCH_S = 7e-6
"""The host's time for an operator: no row here waits for it, and it stays what it is elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A device's shares, and what they predict of its rows, and which of them are extrapolating."""

    device: str
    rows: tuple[Row, ...]
    predicted: tuple[float, ...]
    extrapolating: tuple[bool, ...]
    efficiencies: Efficiencies
    constants: int


def fit_device(key: str) -> Fitted | None:
    """The fit to a device's files; None where they are not here."""
    return fit_rows(key, tuple(row for row in everything() if row.file.device == key))


def fit_rows(key: str, rows: tuple[Row, ...]) -> Fitted | None:
    """The fit to these rows of a device."""
    covered = tuple(row for row in rows if row.step is not None)
    if not covered:
        return None
    found = table(covered, load(key))
    seen = np.array([not row.held_out for row in covered])
    values = fit(found, seen)
    classes = shares(found, values, seen)
    hidden = np.array([_host_s(row) for row in covered])
    predicted = np.maximum(found.predicted(values), hidden)
    ends = _intervals(covered, found, seen, hidden)
    lows, highs = zip(*ends.values(), strict=True)
    launch, overlap, cached = np.exp(values[-3:])
    efficiencies = Efficiencies(
        default=_typical(classes, float(launch)),
        dispatch_s=DISPATCH_S,
        low=min(lows),
        high=max(highs),
        basis=_basis(covered, predicted),
        classes=classes,
        overlap=float(1 + overlap),
        cached=float(cached),
        intervals=ends,
    )
    return Fitted(
        device=key,
        rows=covered,
        predicted=tuple(map(float, predicted)),
        extrapolating=tuple(map(bool, found.outside(values, seen) > SOME)),
        efficiencies=efficiencies,
        constants=2 * len(classes) + 3,
    )


def _host_s(row: Row) -> float:
    assert row.step is not None
    return row.step.dispatches * DISPATCH_S


def _intervals(
    rows: Sequence[Row], found: Table, seen: Array, hidden: Array
) -> dict[str, tuple[float, float]]:
    """Between how many times its prediction a step takes, by the sort of step."""
    networks = [row.network for row in rows]
    ratio, outside = np.zeros(len(rows)), np.zeros(len(rows), dtype=bool)
    for here, others in left_out(networks, seen):
        values = fit(found, others)
        predicted = np.maximum(found.predicted(values), hidden)
        ratio[here] = found.seconds[here] / predicted[here]
        outside[here] = (found.outside(values, others) > SOME)[here]
    return intervals(ratio, networks, [row.file.sort for row in rows], outside, seen)


def _typical(classes: Mapping[tuple[str, str], Efficiency], launch_s: float) -> Efficiency:
    """What stands for classes that were not measured: the medians of those that were."""
    return Efficiency(
        compute=float(np.median([share.compute for share in classes.values()])),
        bandwidth=float(np.median([share.bandwidth for share in classes.values()])),
        launch_s=launch_s,
    )


def _basis(rows: Sequence[Row], predicted: Array) -> str:
    held = np.array([row.held_out for row in rows])
    seconds = np.array([row.seconds for row in rows])
    off = np.abs(predicted / seconds - 1)[held]
    return (
        f"fitted to timm's times of {int((~held).sum()):,} steps with automatic mixed precision; "
        f"{int(held.sum()):,} of families not seen were {off.mean():.1%} off, the median {np.median(off):.1%}"
    ).replace("%", " %")


@cache
def fit_networks() -> Mapping[str, Fitted]:
    """The fits of all devices that there are files of."""
    devices = dict.fromkeys(file.device for file in FILES)
    found = {key: fit_device(key) for key in devices}
    return {key: fitted for key, fitted in found.items() if fitted is not None}
