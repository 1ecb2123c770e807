"""The fit to whole networks: each device's shares, how far off they are on families that it did not see, and intervals.

Shares are fitted to the families that may be seen. The intervals are from those too: one family in five is left out in
turn, and the 5th and 95th percentiles of what the others' fit leaves of it are kept. Whether nine in ten of the
families that were held out then lie within is a test, and not by construction.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from benchmarks.fitting.kernel_shares import Array, Table, fit, shares, table
from benchmarks.fitting.throughputs import FILES, Row, everything
from weighbridge.devices import Efficiencies, Efficiency, load

DISPATCH_S = 7e-6
"""The host's time for an operator: no row here waits for it, and it stays what it is elsewhere."""

FOLDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A device's shares, and what they predict of its rows."""

    device: str
    rows: tuple[Row, ...]
    predicted: tuple[float, ...]
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
    intervals = _intervals(covered, found, seen, hidden)
    lows, highs = zip(*intervals.values(), strict=True)
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
        intervals=intervals,
    )
    return Fitted(
        device=key,
        rows=covered,
        predicted=tuple(map(float, predicted)),
        efficiencies=efficiencies,
        constants=2 * len(classes) + 3,
    )


def _host_s(row: Row) -> float:
    assert row.step is not None
    return row.step.dispatches * DISPATCH_S


def _intervals(
    rows: Sequence[Row], found: Table, seen: Array, hidden: Array
) -> dict[str, tuple[float, float]]:
    """The 5th and 95th percentiles of time over prediction, by the sort of step, of families left out in turn.

    A network that is asked about is mostly of another family, so each family counts once, however many rows it has.
    """
    fold = np.array([_fold(row.family) for row in rows])
    ratio = np.zeros(len(rows))
    for left_out in range(FOLDS):
        values = fit(found, seen & (fold != left_out))
        predicted = np.maximum(found.predicted(values), hidden)
        here = seen & (fold == left_out)
        ratio[here] = found.seconds[here] / predicted[here]
    sorts = np.array([row.file.sort for row in rows])
    sizes = Counter((row.file.sort, row.family) for row in rows)
    weight = np.array([1 / sizes[row.file.sort, row.family] for row in rows])
    return {
        str(sort): (
            _percentile(ratio[here], weight[here], 0.05),
            _percentile(ratio[here], weight[here], 0.95),
        )
        for sort in dict.fromkeys(sorts)
        if (here := seen & (sorts == sort)).any()
    }


def _percentile(values: Array, weights: Array, share: float) -> float:
    """The value that this share of the weights lies below."""
    order = np.argsort(values)
    below = np.cumsum(weights[order]) - weights[order] / 2
    return float(np.interp(share * weights.sum(), below, values[order]))


def _fold(family: str) -> int:
    return hashlib.sha256(f"fold {family}".encode()).digest()[0] % FOLDS


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
