"""GPUs whose measurements were not used: each measured GPU predicted from its card, with all of its own times hidden.

The rule of `weighbridge.devices.sustained` is settled anew on what the others reached, and bandwidths are those of the
nearest of them. What all GPUs share, the tiles and how often a row is read, was fitted on all.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from benchmarks.fitting.neusight import (
    Timed,
    fit_all,
    perfect,
    settle,
    shares_of_peak,
    timed,
    unseen,
)
from benchmarks.fitting.operators import samples
from benchmarks.truth.tables import Errors, Sheet, percent
from weighbridge.devices import Efficiencies, load


def sheet(only: str) -> Sheet | None:
    """The comparison, or nothing where the shared data are not there."""
    rows = sorted(
        (row for row in timed(samples()) if only in row.sample.card),
        key=lambda row: (row.sample.card, row.sample.operator),
    )
    if not rows:
        return None
    known = fit_all()
    shares = shares_of_peak(known)
    table, errors, own, roofline = [], [], [], []
    for card, of_card in groupby(rows, key=lambda row: row.sample.card):
        rule = settle({key: share for key, share in shares.items() if key != card})
        predicted = unseen(load(card), known, rule)
        for operator, found in groupby(of_card, key=lambda row: row.sample.operator):
            group = tuple(found)
            left_out = [predicted(row) / row.sample.seconds - 1 for row in group]
            of_own = _own(group, known[card])
            plain = [_roofline(row) / row.sample.seconds - 1 for row in group]
            table.append((card, operator, f"{len(group):,}", *_cells(left_out, of_own, plain)))
            errors += left_out
            own += of_own
            roofline += plain
    return Sheet(
        heading="Operators on GPUs whose measurements were not used",
        sentences=SENTENCES,
        columns=(
            "GPU left out", "operator", "rows", "mean", "median", "90th percentile", "bias", "its own times used",
            "plain roofline",
        ),
        rows=table,
        errors=Errors(values=errors),
        notes=(
            f"The same rows with the GPU's own times used, one number a class: {Errors(values=own).text}.",
            "",
            f"Plain roofline, peaks of the data sheet: {Errors(values=roofline).text}.",
        ),
    )  # fmt: skip


def _cells(*errors: Sequence[float]) -> tuple[str, ...]:
    left_out, own, plain = (sorted(map(abs, values)) for values in errors)
    return (
        percent(sum(left_out) / len(left_out)),
        percent(left_out[len(left_out) // 2]),
        percent(left_out[9 * len(left_out) // 10]),
        percent(sum(errors[0]) / len(errors[0]), signed=True),
        percent(sum(own) / len(own)),
        percent(sum(plain) / len(plain)),
    )


def _own(rows: Sequence[Timed], found: Efficiencies) -> list[float]:
    shares = [found.of(row.sample.kernel.kind, "forward") for row in rows]
    return [
        row.predicted(share.compute, share.bandwidth) / row.sample.seconds - 1
        for row, share in zip(rows, shares, strict=True)
    ]


def _roofline(row: Timed) -> float:
    kernel, clock = row.sample.kernel, perfect(row.sample.card)
    bandwidth = clock.device.bandwidth_bytes_per_s
    assert bandwidth is not None
    return max(kernel.flops / clock.flop_per_s(kernel), kernel.traffic_bytes / bandwidth)


SENTENCES = (
    "NeuSight's times of single float32 operators on six GPUs (Lee, Phanishayee and Mahajan, ASPLOS 2025) and Vidur's of",
    "float16 products on two (Agrawal et al., MLSys 2024). Each GPU is left out in turn: its clock comes from",
    "its TDP and multiprocessors, by a rule settled on the others (`weighbridge.devices.sustained`), its bandwidth's share",
    "from the nearest of them (`weighbridge.devices.nearest`). Tiles, waves and re-read rows are the same for all GPUs",
    "and were fitted on all, 17 numbers. Ada's watts, where the L4 is left out, are from an L40S (KernelBench).",
    "P4, T4 and L4 are cooled by whatever air passes: the same product differs by a factor of two from run to run",
    "on T4 and L4, which no prediction can follow. `python -m benchmarks truth unseen`.",
)
