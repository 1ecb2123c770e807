"""GPUs whose measurements were not used: each measured GPU predicted from its card, with all of its own times hidden.

Of operators the rule of `weighbridge.devices.sustained` is settled anew on what the others reached, and bandwidths are those
of the nearest of them. What all GPUs share, the tiles and how often a row is read, was fitted on all. Of steps of whole
networks every share of a peak is the other GPUs' (`weighbridge.devices.nearest`), and their families were in no fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
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
from benchmarks.fitting.throughputs import FILES, Row, everything
from benchmarks.truth.tables import Errors, Sheet, percent
from benchmarks.truth.timm import roofline
from weighbridge.analyses.time.clock import Clock
from weighbridge.devices import Efficiencies, load, measured, taken_over


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Times of one sort on one GPU, and how far off they are predicted: as signed shares of what was measured.

    `left_out` is with the GPU's own times hidden, `own` with them, `plain` at the peaks of the data sheet.
    """

    card: str
    sort: str
    left_out: Sequence[float]
    own: Sequence[float]
    plain: Sequence[float]

    @property
    def line(self) -> tuple[str, ...]:
        sizes = sorted(map(abs, self.left_out))
        return (
            self.card,
            self.sort,
            f"{len(sizes):,}",
            percent(_mean(sizes)),
            percent(sizes[len(sizes) // 2]),
            percent(sizes[9 * len(sizes) // 10]),
            percent(_mean(self.left_out), signed=True),
            percent(_mean(list(map(abs, self.own)))),
            percent(_mean(list(map(abs, self.plain)))),
        )


def sheet(only: str) -> Sheet | None:
    """The comparison, or nothing where the shared data are not there."""
    single = tuple(group for group in operators() if only in group.card)
    whole, held = steps(only)
    if not single and not whole:
        return None
    notes = []
    for name, groups in (("Operators", single), ("Steps", whole)):
        if groups:
            left_out = _all(group.left_out for group in groups)
            own, plain = _all(group.own for group in groups), _all(group.plain for group in groups)
            notes += [
                f"**{name}: {left_out.text}.**",
                "",
                f"The same with the GPU's own times used: {own.text}.",
                "",
                f"Plain roofline, peaks of the data sheet: {plain.text}.",
                "",
            ]
    if held:
        notes += [
            f"In the interval, which is wider for a GPU left out: {percent(_mean(held))} of the steps."
        ]
    return Sheet(
        heading="GPUs whose measurements were not used: operators, and steps of whole networks",
        sentences=SENTENCES,
        columns=(
            "GPU left out", "what", "rows", "mean", "median", "90th percentile", "bias", "its own times used", "plain roofline",
        ),
        rows=[group.line for group in (*single, *whole)],
        errors=_all(group.left_out for group in (*single, *whole)),
        notes=notes,
    )  # fmt: skip


def _all(errors: Iterable[Sequence[float]]) -> Errors:
    return Errors(values=[error for values in errors for error in values])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


# -- operators -------------------------------------------------------------------------------------------


def operators() -> Iterator[Group]:
    """NeuSight's and Vidur's operators, by GPU and operator."""
    rows = sorted(timed(samples()), key=lambda row: (row.sample.card, row.sample.operator))
    known = fit_all()
    shares = shares_of_peak(known)
    for card, of_card in groupby(rows, key=lambda row: row.sample.card):
        rule = settle({key: share for key, share in shares.items() if key != card})
        predicted = unseen(load(card), known, rule)
        for operator, found in groupby(of_card, key=lambda row: row.sample.operator):
            group = tuple(found)
            yield Group(
                card=card,
                sort=operator,
                left_out=[predicted(row) / row.sample.seconds - 1 for row in group],
                own=_own(group, known[card]),
                plain=[_roofline(row) / row.sample.seconds - 1 for row in group],
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


# -- steps of whole networks -----------------------------------------------------------------------------


def steps(only: str) -> tuple[Sequence[Group], Sequence[bool]]:
    """timm's steps in inference of families that no fit has seen, by GPU and layout; and which lie in their interval."""
    known, groups, held = measured(), [], []
    for file in FILES:
        rows = [row for row in everything() if row.file == file and row.held_out and row.step]
        if file.training or only not in file.device or not rows:
            continue
        device = load(file.device)
        others = {key: found for key, found in known.items() if key != device.key}
        hidden = Clock(device=device, efficiencies=taken_over(device, others))
        own = Clock(device=device, efficiencies=known[device.key])
        left_out = [_seconds(row, hidden) / row.seconds - 1 for row in rows]
        groups.append(
            Group(
                card=device.key,
                sort=f"steps, {file.sort}",
                left_out=left_out,
                own=[_seconds(row, own) / row.seconds - 1 for row in rows],
                plain=[roofline(row) / row.seconds - 1 for row in rows],
            )
        )
        low, high = hidden.efficiencies.interval(file.sort, borrowed=1.0)
        held += [low <= 1 / (1 + error) <= high for error in left_out]
    return groups, held


def _seconds(row: Row, clock: Clock) -> float:
    """What a row's step takes by that clock: its kernels, or the host, which hands them out."""
    assert row.step is not None
    kernels = sum(times * clock.time(kernel).seconds for times, kernel in row.kernels())
    return max(kernels, row.step.dispatches * clock.efficiencies.dispatch_s)


SENTENCES = (
    "NeuSight's times of single float32 operators on six GPUs (Lee, Phanishayee and Mahajan, ASPLOS 2025) and Vidur's of",
    "float16 products on two (Agrawal et al., MLSys 2024). Each GPU is left out in turn: its clock comes from",
    "its TDP and multiprocessors, by a rule settled on the others (`weighbridge.devices.sustained`), its bandwidth's share",
    "from the nearest of them (`weighbridge.devices.nearest`). Tiles, waves and re-read rows are the same for all GPUs",
    "and were fitted on all, 17 numbers. Ada's watts, where the L4 is left out, are from an L40S (KernelBench).",
    "Steps are timm's times of whole networks in inference with automatic mixed precision, of the families that are held out from",
    "every fit: every share of a peak is another GPU's. What reads its operands again waits for multiprocessors, and carries over",
    "by their cycles; that rule has no number fitted to these rows, and its form was chosen in sight of them. Training was timed on",
    "one GPU alone. P4, T4 and L4 are cooled by whatever air passes: the same product differs by a factor of two from run to run on",
    "T4 and L4, which no prediction can follow. `python -m benchmarks truth unseen`.",
)
