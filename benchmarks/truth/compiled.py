"""Compiled networks beside timm's published times: families that no fit has seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.fitting.compiled import FILES, SORT, File, Fit, Row, fit, perfect, rows
from benchmarks.fitting.split import family, held_out
from benchmarks.truth.tables import Errors, Sheet, percent
from weighbridge.devices import load


def sheet(only: str) -> Sheet | None:
    """The comparison, or nothing where the shared data are not there."""
    table, errors, notes = [], [], []
    for file in FILES:
        if only not in file.card:
            continue
        found = fit(file)
        if found is None:
            return None
        lines, tested = _of(file, found)
        table += lines
        errors += tested
        notes += ["", *_worst(file, found), "", _intervals(file, found)]
    return Sheet(
        heading="Compiled networks beside their published times",
        sentences=SENTENCES,
        columns=("device", "prediction", "rows", "mean", "median", "90th percentile", "worst", "bias", "ranks", "numbers fitted"),
        rows=table,
        errors=Errors(values=errors),
        notes=notes,
    )  # fmt: skip


def _of(file: File, found: Fit) -> tuple[list[tuple[str, ...]], list[float]]:
    """The lines of a file: the model on what it saw and on what it did not, and the baselines on the latter."""
    name = load(file.card).name
    seen = [not held_out(row.network) for row in found.rows]
    ours = _ratios(found.rows, found.predicted)
    tested = [error for error, known in zip(ours, seen, strict=True) if not known]
    missing = [row for row in rows(file) if not row.kernels and held_out(row.network)]
    lines = [
        _line(name, "fitted shares", found, ours, seen, test=True, numbers=str(found.constants)),
        _line("", "the same, families that were fitted", found, ours, seen, test=False, numbers=""),
    ]
    ideal = perfect(file)
    roofline = [
        sum(ideal.time(kernel).seconds * times for kernel, times in row.kernels)
        for row in found.rows
    ]
    for label, predicted, numbers in (
        ("roofline of the data sheet", roofline, "0"),
        ("parameters", _scaled(found.rows, seen, lambda row: (row.params,)), "1"),
        ("MACs", _scaled(found.rows, seen, lambda row: (row.gmacs * row.batch,)), "1"),
        (
            "MACs and activations",
            _scaled(
                found.rows, seen, lambda row: (row.gmacs * row.batch, row.mactivations * row.batch)
            ),
            "2",
        ),
    ):
        errors = _ratios(found.rows, predicted)
        lines.append(_line("", label, found, errors, seen, test=True, numbers=numbers))
    if missing:
        lines.append(("", "not traced", str(len(missing)), *[""] * 7))
    return lines, [*tested, *[-1.0] * len(missing)]


def _ratios(found: Sequence[Row], predicted: Sequence[float]) -> list[float]:
    return [seconds / row.seconds - 1 for row, seconds in zip(found, predicted, strict=True)]


def _line(
    device: str,
    label: str,
    found: Fit,
    errors: Sequence[float],
    seen: Sequence[bool],
    *,
    test: bool,
    numbers: str,
) -> tuple[str, ...]:
    inside = [place for place, known in enumerate(seen) if known != test]
    of = [errors[place] for place in inside]
    sizes = sorted(map(abs, of))
    measured = np.array([found.rows[place].seconds for place in inside])
    return (
        device,
        label,
        f"{len(of):,}",
        percent(sum(sizes) / len(sizes)),
        percent(sizes[len(sizes) // 2]),
        percent(sizes[9 * len(sizes) // 10]),
        percent(sizes[-1]),
        percent(sum(of) / len(of), signed=True),
        f"{_ranks(measured, measured * (1 + np.array(of))):.3f}",
        numbers,
    )


def _ranks(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rank correlation."""
    places = [np.argsort(np.argsort(values)).astype(float) for values in (one, other)]
    return float(np.corrcoef(*places)[0, 1])


def _scaled(
    found: Sequence[Row], seen: Sequence[bool], what: Callable[[Row], tuple[float, ...]]
) -> list[float]:
    """A sum of what a row has, each times a number that fits the rows seen, relative errors squared."""
    have = np.array([what(row) for row in found])
    seconds = np.array([row.seconds for row in found])
    known = np.array(seen)
    weighed = (have / seconds[:, None])[known]
    numbers, *_ = np.linalg.lstsq(weighed, np.ones(len(weighed)), rcond=None)
    return [float(value) for value in have @ numbers]


def _intervals(file: File, found: Fit) -> str:
    """How many of the rows that were not seen lie in their interval."""
    inside: dict[bool, list[bool]] = {True: [], False: []}
    errors: dict[bool, list[float]] = {True: [], False: []}
    for row, predicted, extrapolating in zip(
        found.rows, found.predicted, found.extrapolating, strict=True
    ):
        if held_out(row.network):
            low, high = found.efficiencies.interval(SORT, extrapolating=extrapolating)
            inside[extrapolating].append(low <= row.seconds / predicted <= high)
            errors[extrapolating].append(predicted / row.seconds - 1)
    both = [*inside[True], *inside[False]]
    return (
        f"{load(file.card).name}, in the 90 % interval: {percent(sum(both) / len(both))} of the rows above that were not fitted; "
        + "; ".join(
            f"of those {name} {percent(sum(inside[which]) / len(inside[which]))} ({Errors(values=errors[which]).text})"
            for name, which in (("that are extrapolating", True), ("that are not", False))
            if inside[which]
        )
        + "."
    )


def _worst(file: File, found: Fit) -> list[str]:
    """The held-out families that are furthest off."""
    by: dict[str, list[float]] = {}
    for row, error in zip(found.rows, _ratios(found.rows, found.predicted), strict=True):
        if held_out(row.network):
            by.setdefault(family(row.network), []).append(error)
    means = {name: sum(errors) / len(errors) for name, errors in by.items()}
    order = sorted(means, key=lambda name: -abs(means[name]))[:10]
    listed = ", ".join(f"{name} {percent(means[name], signed=True)}" for name in order)
    return [f"{load(file.card).name}, families furthest off: {listed}."]


SENTENCES = (
    "timm's published times of inference under torch.compile: an RTX 4090 under automatic mixed precision and a laptop's CPU",
    "in float32 with one image at a time, PyTorch 2.4. Every network is traced and lowered to the kernels that inductor",
    "makes of it (`weighbridge.analyses.time.fusion`); the shares of peaks of a few groups of classes are fitted to two",
    "families of three, and the others tested. Baselines are fitted to and tested on the same rows. Intervals are from the",
    "families that were fitted, one in five left out in turn (`benchmarks.fitting.intervals`); a step is extrapolating that has",
    "more than a twentieth of its time in kernels of sizes that were not among those fitted.",
    "Two causes of large errors lie in what was timed: ecaresnext50t_32x4d is another network today (25.0 M parameters, 15.4 M where",
    "it was timed), and attention without a fused kernel is computed in half precision by PyTorch 2.4, in float32 by later",
    "versions (pytorch/pytorch#128922, #141756), which is what is predicted: it would explain why nest, twins, hiera and some of",
    "mobilenetv are predicted too slow on the RTX 4090. Kernels are kept once they are worked out: of",
    "those of this page 140 of 2,883 are by the latest rules, the others from before; all are worked out anew where build/kernels is removed.",
    "The form of the RTX 4090's fit was chosen by families left out of the fitted ones, and errors of the held-out families were",
    "printed beside them: its figure is not quite that of a fresh test.",
    "`python -m benchmarks truth compiled`.",
)
