"""Steps of timm's networks on GPUs, against timm's published times: families that no fit has seen.

The protocol is that of `benchmarks.fitting.split`: whole families are held out, by a rule that was settled before the
first fit. Baselines are fitted to the same families as the shares were and tested on the same rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.fitting.kernel_shares import PERFECT
from benchmarks.fitting.networks import Fitted, fit_networks
from benchmarks.fitting.throughputs import FILES, File, Row, everything
from benchmarks.truth.tables import Errors, Sheet, percent
from weighbridge.analyses.time.clock import Clock
from weighbridge.devices import load

Array = np.ndarray

WORST = 12


def sheet(only: str) -> Sheet | None:
    """The comparison, or nothing where the shared data are not there."""
    fits = fit_networks()
    if not fits:
        return None
    table, errors = [], []
    for file in FILES:
        fitted = fits[file.device]
        places = [
            place
            for place, row in enumerate(fitted.rows)
            if row.file == file and row.held_out and only in row.network
        ]
        if not places:
            continue
        rows = [fitted.rows[place] for place in places]
        found = np.array([fitted.predicted[place] for place in places])
        measured = np.array([row.seconds for row in rows])
        off = found / measured - 1
        errors += list(map(float, off))
        table.append(
            _line(file, "weighbridge", off, _ranks(found, measured, rows), _held(fitted, places))
        )
        for name, predicted in _baselines(fitted, file, rows):
            table.append(
                _line(file, name, predicted / measured - 1, _ranks(predicted, measured, rows), "")
            )
    return Sheet(
        heading="Steps of timm's networks on GPUs, families held out",
        sentences=SENTENCES,
        columns=(
            "file", "predicted by", "rows", "mean", "median", "90th percentile", "worst", "bias", "rank", "in the interval",
        ),
        rows=table,
        errors=Errors(values=errors),
        notes=tuple(_notes(fits.values(), only)),
    )  # fmt: skip


SENTENCES = (
    "`python -m benchmarks truth timm`. Times are timm's own (`results/benchmark-*.csv`), automatic mixed precision; networks are",
    "traced by the installed timm, and times come from the shares in `devices/fitted`, which were fitted to the other two",
    "thirds of the families (`python -m benchmarks fit`). `rank` is Spearman's correlation of times a sample. `in the interval`",
    "is the share of rows within the 90 % interval, which comes from families left out in turn among those that were fitted.",
    "Two numbers that are not fitted were chosen with held-out rows in view: what a thread waits for memory (EfficientFormerV2's",
    "bilinear kernel), and how much longer than its arithmetic a product that fills no tile takes at most (CaiT).",
    "Baselines are fitted to the same families: a time a parameter, a multiply-accumulate, and a multiply-accumulate and a",
    "byte written; the plain roofline has the card's peak and bandwidth and nothing else.",
)


def _line(file: File, name: str, off: Array, rank: float, held: str) -> tuple[str, ...]:
    size = np.sort(np.abs(off))
    return (
        file.name, name, f"{len(off):,}", percent(float(size.mean())), percent(float(np.median(size))),
        percent(float(size[min(9 * len(size) // 10, len(size) - 1)])), percent(float(size[-1])),
        percent(float(off.mean()), signed=True), f"{rank:.3f}", held,
    )  # fmt: skip


def _held(fitted: Fitted, places: Sequence[int]) -> str:
    """How many of the rows lie in their interval."""
    return percent(float(np.mean([_inside(fitted, place) for place in places])))


def _inside(fitted: Fitted, place: int) -> bool:
    row = fitted.rows[place]
    low, high = fitted.efficiencies.interval(
        row.file.sort, extrapolating=fitted.extrapolating[place]
    )
    return low <= row.seconds / fitted.predicted[place] <= high


def _ranks(predicted: Array, measured: Array, rows: Sequence[Row]) -> float:
    """Spearman's correlation of the times a sample."""
    if len(rows) < 2:
        return 1.0
    batch = np.array([row.batch for row in rows])
    places = [np.argsort(np.argsort(times / batch)) for times in (predicted, measured)]
    return float(np.corrcoef(*places)[0, 1])


def _baselines(fitted: Fitted, file: File, rows: Sequence[Row]) -> Iterator[tuple[str, Array]]:
    """Simpler predictions of the same rows, fitted to the families that were not held out."""
    seen = [row for row in fitted.rows if row.file == file and not row.held_out]
    measured = np.array([row.seconds for row in seen])
    for name, sizes in (
        ("parameters alone", ("params",)),
        ("MACs alone", ("macs",)),
        ("MACs and bytes written", ("macs", "written")),
    ):
        known = np.array([[_size(row, size) for size in sizes] for row in seen])
        asked = np.array([[_size(row, size) for size in sizes] for row in rows])
        yield name, asked @ _fitted(known, measured)
    yield "plain roofline", np.array([roofline(row) for row in rows])


def _size(row: Row, name: str) -> float:
    if name == "params":
        assert row.step is not None
        return float(row.step.params * row.batch)
    if name == "macs":
        return float(sum(times * kernel.macs for times, kernel in row.kernels()))
    return float(sum(times * kernel.write_bytes for times, kernel in row.kernels()))


def _fitted(sizes: Array, measured: Array) -> Array:
    """Non-negative coefficients that make the errors, as shares, least in their squares, outliers held down."""
    weight = np.ones(len(measured))
    found = np.zeros(sizes.shape[1])
    for _ in range(20):
        scaled = sizes / measured[:, None] * weight[:, None]
        kept = np.ones(sizes.shape[1], dtype=bool)
        found = np.zeros(sizes.shape[1])
        while kept.any():
            found[:] = 0
            found[kept] = np.linalg.lstsq(scaled[:, kept], weight, rcond=None)[0]
            if (found >= 0).all():
                break
            kept &= found > 0
        weight = 1 / np.sqrt(np.maximum(np.abs(sizes @ found / measured - 1), 0.02))
    return found


def roofline(row: Row) -> float:
    """The sum of what each kernel takes at the card's peak rate or bandwidth."""
    device = load(row.file.device)
    clock = Clock(device=device, efficiencies=PERFECT)
    bandwidth = device.bandwidth_bytes_per_s or 1.0
    return sum(
        times * max(kernel.flops / clock.flop_per_s(kernel), kernel.traffic_bytes / bandwidth)
        for times, kernel in row.kernels()
    )


def _notes(fits: Sequence[Fitted], only: str) -> Iterator[str]:
    for fitted in fits:
        share = fitted.efficiencies
        yield (
            f"- {load(fitted.device).name}: {fitted.constants} constants for {len(fitted.rows):,} rows, of which "
            f"{sum(not row.held_out for row in fitted.rows):,} were fitted to; overlap {share.overlap:.2f}, gain of the last cache {share.cached:.2f}."
        )
        places = [place for place, row in enumerate(fitted.rows) if row.held_out]
        for name, which in (("extrapolating", True), ("others", False)):
            some = [place for place in places if fitted.extrapolating[place] == which]
            if some:
                off = [fitted.predicted[place] / fitted.rows[place].seconds - 1 for place in some]
                yield f"  - {name}: {Errors(values=off).text}; in the interval {_held(fitted, some)}."
    for file in FILES:
        rows = [row for row in everything() if row.file == file]
        missing = [row.network for row in rows if row.step is None]
        if rows:
            yield (
                f"- {file.name}: {len(rows) - len(missing):,} of {len(rows):,} rows covered. Not covered, for the installed "
                f"timm has no such network or another under that name: {', '.join(missing) or 'none'}."
            )
    yield ""
    yield f"The {WORST} rows that are furthest off, of all files:"
    yield ""
    far = sorted(
        (
            (predicted / row.seconds - 1, row)
            for fitted in fits
            for row, predicted in zip(fitted.rows, fitted.predicted, strict=True)
            if row.held_out and only in row.network
        ),
        key=lambda found: -abs(np.log1p(found[0])),
    )
    for off, row in far[:WORST]:
        yield f"- {row.network} at {row.side} pixels, {row.file.name}: {percent(off, signed=True)}"
