"""The clock on this machine: predicted from its calibration, beside the real clock, for networks it was not made from.

Measurements are kept under build/ as they are taken, so that they may be taken in pieces; each case is measured twice, the
second time when all others were measured once: how far the two are apart is the machine's own noise.

    python -m benchmarks truth here --only resnet     # some of them
    python -m benchmarks.truth.here 200               # measure what is not measured yet, for 200 seconds
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.truth.here_cases import HereCase, here_cases
from benchmarks.truth.spread import interval
from benchmarks.truth.tables import Errors, Sheet, percent
from weighbridge.analyses.time.execution import launches
from weighbridge.analyses.time.step import StepTime, step_time
from weighbridge.calibration import Calibration, path, read
from weighbridge.frontends.torch import trace
from weighbridge.frontends.torch.running import run
from weighbridge.frontends.torch.stopwatch import typical
from weighbridge.machine import SPREAD, measured_clock
from weighbridge.program import Program

KEPT = Path("build/truth/here.jsonl")
PASSES = 2
SHOWS = (
    "What it shows. A machine of which others have a share is another one an hour later. Three calibrations of one day (2026-11-27), each "
    "tried on these rows: medians of 12.9, 11.0 and 12.5 %, all predicting too long, for the rows were measured in a quiet hour; "
    "the first had a median of 9.2 % on rows measured right after it, when the machine's own noise was 12.3 %. The host's time of an "
    "operator in forward came out as 13, 5 and 25 us: a few small networks tell it from the kernels' time, and the second's "
    "in place of the third's would give 10.1 %, with a 90th percentile of 19.5 %.",
)
SECONDS = 1.5


def measure(budget_s: float) -> None:
    """Measures what was not measured yet, as long as there is time."""
    began = time.monotonic()
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    known = kept()
    for number in range(PASSES):
        for case in here_cases():
            if len(known.get(case.key, ())) > number:
                continue
            if time.monotonic() - began > budget_s:
                return
            ran = run(case.caught(), warm_ups=2, seconds=SECONDS, memory=False)
            record = {
                "key": case.key,
                "torch": torch.__version__,
                "threads": torch.get_num_threads(),
                "seconds": typical(ran.samples),
                "steps": len(ran.samples),
                "undisturbed": sum(sample.undisturbed for sample in ran.samples),
                "pages": statistics.median(sample.pages for sample in ran.samples),
            }
            with KEPT.open("a") as lines:
                lines.write(json.dumps(record) + "\n")
            print(f"{case.key}: {record['seconds'] * 1e3:.1f} ms", flush=True)


def kept() -> Mapping[str, Sequence[float]]:
    """The seconds that were measured of each case, in order."""
    found: dict[str, list[float]] = {}
    for line in KEPT.read_text().splitlines() if KEPT.exists() else ():
        record = json.loads(line)
        found.setdefault(record["key"], []).append(record["seconds"])
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A case: predicted, measured, and by the two baselines."""

    case: HereCase
    step: StepTime
    measured_s: float
    first_s: float
    again_s: float
    roofline_s: float
    macs: int

    @property
    def predicted_s(self) -> float:
        return self.step.seconds.value

    @property
    def error(self) -> float:
        return self.predicted_s / self.measured_s - 1


def program_of(case: HereCase) -> Program:
    """The case's step, traced without data for a CPU."""
    caught = case.caught()
    return trace(
        caught.model,
        caught.workload,
        network=caught.network,
        source="benchmark",
        examples=caught.examples,
    )


def compare(case: HereCase, seconds: Sequence[float], calibration: Calibration) -> Timed:
    """The prediction beside what was measured."""
    program = program_of(case)
    clock = measured_clock(calibration)
    peak = clock.device.peak_flop_per_s("float32") or 1.0
    bandwidth = clock.device.bandwidth_bytes_per_s or 1.0
    kernels = [launch.kernel for launch in launches(program)]
    return Timed(
        case=case,
        step=step_time(program, clock),
        measured_s=statistics.geometric_mean(seconds),
        first_s=seconds[0],
        again_s=seconds[-1],
        roofline_s=sum(max(k.flops / peak, k.traffic_bytes / bandwidth) for k in kernels),
        macs=sum(k.macs for k in kernels),
    )


def sheet(only: str = "", calibrated: Calibration | None = None) -> Sheet | None:
    """Every case that was measured, beside its prediction; None on a machine that was not calibrated."""
    calibration = calibrated or read(path())
    if calibration is None:
        return None
    known = kept()
    if not known:
        measure(float("inf"))
        known = kept()
    cases = [case for case in here_cases() if case.key in known and only in case.key]
    rows = [compare(case, known[case.key], calibration) for case in cases]
    noise = sorted(abs(row.again_s / row.first_s - 1) for row in rows if row.again_s != row.first_s)
    notes = [
        f"The machine's own noise, the same cases measured twice: {_spread(noise)}.",
        *(
            f"{name}: {Errors(values=[row.error for row in some]).text}."
            for name, some in _groups(rows).items()
            if some
        ),
        f"Rank correlation of predicted and measured: {_rank_correlation(rows):.3f}.",
        _interval(rows),
        f"Baseline, roofline of the fastest product and the copy's bandwidth: {_baseline([r.roofline_s for r in rows], rows)}.",
        f"Baseline, MACs at the one rate that suits these rows best: {_baseline([float(r.macs) for r in rows], rows, scaled=True)}.",
        *SHOWS,
    ]
    conditions = calibration.conditions
    return Sheet(
        heading="The clock on this machine, after `weigh calibrate`",
        sentences=(
            "Networks that the calibration was not made from, in inference (two batches) and training (SGD; text AdamW), eager,",
            "float32. Measured: the median of undisturbed steps of a copy with random weights; each case twice, the second",
            "time after all others, for the machine's own noise; errors are to the geometric mean of both.",
            f"{conditions.processor}, {conditions.cores} cores, {conditions.threads} threads, PyTorch {conditions.torch}; "
            f"calibrated in {calibration.seconds:.0f} s, {len(calibration.points)} points, repeatability "
            f"{percent(calibration.repeatability)}. `python -m benchmarks truth here`.",
        ),
        columns=("network", "kind", "step", "batch", "measured ms", "again ms", "predicted ms", "error"),
        rows=[
            (
                row.case.network.name, row.case.network.kind, "training" if row.case.training else "inference",
                str(row.case.batch), f"{row.first_s * 1e3:,.1f}", f"{row.again_s * 1e3:,.1f}",
                f"{row.predicted_s * 1e3:,.1f}", percent(row.error, signed=True),
            )
            for row in rows
        ],
        errors=Errors(values=[row.error for row in rows]),
        notes=notes,
    )  # fmt: skip


def _interval(rows: Sequence[Timed]) -> str:
    """The interval that these rows give, and how often one of other families holds a row."""
    ratios = [row.measured_s / row.predicted_s for row in rows]
    return interval(ratios, [row.case.network.name for row in rows], SPREAD["cpu"])


def _groups(rows: Sequence[Timed]) -> Mapping[str, list[Timed]]:
    return {
        "Inference": [row for row in rows if not row.case.training],
        "Training": [row for row in rows if row.case.training],
        "CNNs": [row for row in rows if row.case.network.kind == "CNN"],
        "Others": [row for row in rows if row.case.network.kind != "CNN"],
    }


def _baseline(predicted: Sequence[float], rows: Sequence[Timed], *, scaled: bool = False) -> str:
    rate = 1.0
    if scaled:
        rate = statistics.median(
            row.measured_s / value for row, value in zip(rows, predicted, strict=True)
        )
    return Errors(
        values=[
            rate * value / row.measured_s - 1 for row, value in zip(rows, predicted, strict=True)
        ]
    ).text


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "not measured"
    return f"n {len(values)}, median {percent(statistics.median(values))}, 90th percentile {percent(values[9 * len(values) // 10])}"


def _rank_correlation(rows: Sequence[Timed]) -> float:
    """Spearman's: of the ranks."""

    def ranks(values: Sequence[float]) -> list[int]:
        order = sorted(range(len(values)), key=lambda place: values[place])
        found = [0] * len(values)
        for rank, place in enumerate(order):
            found[place] = rank
        return found

    a, b = ranks([row.predicted_s for row in rows]), ranks([row.measured_s for row in rows])
    return statistics.correlation(a, b) if len(rows) > 1 else 1.0


if __name__ == "__main__":
    measure(float(sys.argv[1]))
