"""GPUs that nothing was fitted on: steps measured there, beside what is predicted from a card, or from a calibration.

The measuring half is `cuda_measuring`, which runs on the machine with the GPU; its rows are kept in
`benchmarks/measured`, one file a card, and this half needs no GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.truth.cuda_cases import CudaCase, cuda_cases
from benchmarks.truth.cuda_measuring import Measured, written
from benchmarks.truth.spread import interval
from benchmarks.truth.tables import Errors, Sheet, percent
from weighbridge.analyses.memory.resident import Resident, resident
from weighbridge.analyses.memory.timeline import lifetimes
from weighbridge.analyses.time.clock import Clock
from weighbridge.analyses.time.step import StepTime, step_time
from weighbridge.calibration import read
from weighbridge.devices import Device, gpu, load
from weighbridge.frontends.torch import trace
from weighbridge.machine import SPREAD, measured_clock
from weighbridge.rooms import clock
from weighbridge.workload import Precision

MEASURED = Path("benchmarks/measured")
CARD = "h100-sxm"
"""The GPU whose steps are predicted from its card alone."""

CALIBRATED = "h200-sxm"
"""The GPU that `weigh calibrate --device cuda` measured, in the same hour as the steps beside it; none of them is part of that."""

Timing = Callable[[Precision], Clock]
"""The clock for a precision."""

BUSY = 0.9
"""Of a step: a GPU whose kernels take more of it does not wait for its host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A case as it was measured and as it is predicted."""

    case: CudaCase
    measured: Measured
    step: StepTime
    held: Resident

    @property
    def kernels(self) -> float:
        """The error of the kernels' time."""
        return self.step.device_s / self.measured.device_s - 1

    @property
    def whole(self) -> float:
        """The error of the step's time."""
        return self.step.seconds.value / self.measured.step_s - 1

    @property
    def busy(self) -> bool:
        """Whether the GPU was what the step waited for."""
        return self.measured.device_s > BUSY * self.measured.step_s

    @property
    def allocated(self) -> float:
        return self.held.allocated.expected / self.measured.allocated_bytes - 1

    @property
    def reserved(self) -> float:
        return self.held.reserved.expected / self.measured.reserved_bytes - 1


def compare(case: CudaCase, measured: Measured, device: Device, timing: Timing) -> Row:
    """The prediction of a case, traced without data, beside what was measured."""
    caught = case.caught()
    program = trace(caught.model, caught.workload, network=caught.network, source="benchmark")
    return Row(
        case=case,
        measured=measured,
        step=step_time(program, timing(program.workload.precision)),
        held=resident(lifetimes(program), device),
    )


def rows_of(card: str, timing: Timing, only: str) -> list[Row]:
    """Every case that was measured on a GPU."""
    known = {row.key: row for row in written(MEASURED / f"{card}.csv")}
    cases = [case for case in cuda_cases() if case.key in known and only in case.key]
    return [compare(case, known[case.key], load(card), timing) for case in cases]


def sheet(only: str = "") -> Sheet | None:
    """The GPU that is predicted from its card; None where nothing was measured."""
    rows = rows_of(CARD, lambda precision: clock(load(CARD), precision), only)
    return _sheet("An H100 that nothing was fitted on", "from its card alone", rows, SHOWS)


def calibrated(only: str = "") -> Sheet | None:
    """The GPU that was calibrated; None where nothing was measured."""
    taken = read(MEASURED / f"{CALIBRATED}-calibration.json")
    if taken is None:
        return None
    own = gpu(taken.conditions.processor)

    def timing(precision: Precision) -> Clock:
        return measured_clock(taken, own, tf32=precision == "tf32")

    from_card = rows_of(CALIBRATED, lambda precision: clock(load(CALIBRATED), precision), only)
    rows = rows_of(CALIBRATED, timing, only)
    ratios = [row.measured.step_s / row.step.seconds.value for row in rows]
    notes = (
        f"From the card alone, the same steps: {_text(from_card, lambda row: row.whole)}.",
        "",
        interval(ratios, [row.case.network.name for row in rows], SPREAD["cuda"]),
        "",
        *CALIBRATED_SHOWS,
    )
    how = f"from a calibration of it of {taken.taken[:10]}, {len(taken.points)} kernels in {taken.seconds:.0f} s"
    return _sheet("An H200 that was calibrated", how, rows, notes)


def _sheet(heading: str, how: str, rows: Sequence[Row], notes: Sequence[str]) -> Sheet | None:
    if not rows:
        return None
    first = rows[0].measured
    inside = sum(
        row.step.seconds.low <= row.measured.step_s <= row.step.seconds.high for row in rows
    )
    return Sheet(
        heading=heading,
        sentences=(
            "Steps of networks in inference and training, in float32, TF32 and half precision, measured on the GPU and predicted",
            f"{how}. A step is the median of rounds of several, one after the other; its kernels are what PyTorch's",
            "profiler saw of one; memory is the allocator's own peak, from an empty one on. The errors above the table are those",
            f"of the kernels' time. {first.gpu}, driver {first.driver}, PyTorch {first.torch}, {first.libraries}; {first.taken[:10]}.",
            "`python -m benchmarks.truth.cuda_measuring FOLDER` measures, `python -m benchmarks truth cuda cuda-calibrated` compares.",
        ),
        columns=(
            "network", "use", "step ms", "kernels ms", "predicted kernels ms", "error", "step's error", "allocated", "reserved",
        ),
        rows=[
            (
                row.measured.network, row.measured.use, f"{row.measured.step_s * 1e3:,.2f}",
                f"{row.measured.device_s * 1e3:,.2f}", f"{row.step.device_s * 1e3:,.2f}", percent(row.kernels, signed=True),
                percent(row.whole, signed=True), percent(row.allocated, signed=True), percent(row.reserved, signed=True),
            )
            for row in rows
        ],
        errors=Errors(values=[row.kernels for row in rows]),
        notes=(
            f"Steps, all: {_text(rows, lambda row: row.whole)}.",
            "",
            f"Steps whose GPU is busy for {percent(BUSY)} of the time: {_text([row for row in rows if row.busy], lambda row: row.whole)}.",
            "",
            f"Steps inside their 90 % interval: {inside} of {len(rows)}.",
            "",
            f"Memory allocated at the peak: {_text(rows, lambda row: row.allocated)}.",
            "",
            f"Memory reserved: {_text(rows, lambda row: row.reserved)}.",
            "",
            *notes,
        ),
    )  # fmt: skip


def _text(rows: Sequence[Row], error: Callable[[Row], float]) -> str:
    return Errors(values=[error(row) for row in rows]).text if rows else "none"


SHOWS = (
    "What it shows. Products in float32 are as predicted, most of the rest is predicted too fast: shares that were taken over from an A100 and",
    "GeForce cards do not hold on this one (norms, attention, batch norms in training, convolutions in TF32, whose images",
    "cuDNN turns here also in float32). The host of this machine takes 20 us an operator in inference and 50 in training, several",
    "times what is supposed of hosts, so that most steps of training wait for it: no card tells that. Memory has the copies that",
    "cuDNN makes of a contiguous image and of its result while a convolution runs (98 MiB for 64 x 64 x 56 x 56 in float32);",
    "they were found on these rows, without them VGG-16's inference came out 42 % too low. Where cuDNN turns less than all,",
    "as in LeViT's and EfficientNetV2's first convolutions, it is too much.",
)

CALIBRATED_SHOWS = (
    "What it shows. Steps that the GPU is busy with are near; where it waits for its host, the host's time of an operator, fitted to small",
    "networks run whole, is not the same from network to network: steps of convolutional networks with channels last took twice",
    "what is predicted, those of transformers as long. Memory needs no calibration and is here as near as on the H100.",
)
