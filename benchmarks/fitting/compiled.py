"""Compiled networks: timm's published times of inference under torch.compile, and what is fitted to them.

Two files: an RTX 4090 under automatic mixed precision (PyTorch 2.4, CUDA 12.4), and a laptop's CPU in float32, one
image at a time (PyTorch 2.4, Core i7-12700H). Each network is traced at its row's image size and batch, lowered to the
kernels that inductor makes of it, and timed by the clock with shares of 1; the shares of a few groups of
classes are then fitted to the rows of the families that are not held out.

Tracing takes an hour or two a file. The kernels that came out are kept under build/kernels, by the form of a kernel
and not by the rules that make them: who changes a rule removes the folder.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from math import inf
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.fitting.intervals import intervals, left_out
from benchmarks.fitting.shares import Numbers, Steps, Term
from benchmarks.fitting.split import held_out
from benchmarks.keeping import FORM, kept_whole
from weighbridge.analyses.time.clock import Clock, cached_bytes
from weighbridge.analyses.time.execution import launches
from weighbridge.analyses.time.step import SOME
from weighbridge.devices import Efficiencies, Efficiency, load
from weighbridge.errors import WeighError
from weighbridge.frontends import timm
from weighbridge.ops.kernel import CONTRACTIONS, KERNEL_CLASSES, Gemm, Kernel, KernelClass
from weighbridge.workload import Backend, InputSpec, Precision, Workload

TIMM = Path(__file__).parents[3] / "shared" / "data" / "published" / "timm"
KEPT = Path(__file__).parents[2] / "build" / "kernels" / FORM


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of published times: what ran, and on which card of ours."""

    card: str
    name: str
    backend: Backend
    precision: Precision


FILES: Sequence[File] = (
    File(
        card="rtx-4090",
        name="benchmark-infer-amp-nchw-pt240-cu124-rtx4090-dynamo.csv",
        backend="cuda",
        precision="amp-fp16",
    ),
    File(
        card="i7-12700h",
        name="benchmark-infer-fp32-nchw-pt240-cpu-i7_12700h-dynamo.csv",
        backend="cpu",
        precision="float32",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A published time, with the network's kernels and how often each runs; none where it could not be traced."""

    network: str
    size: int
    batch: int
    seconds: float
    params: float  # millions
    gmacs: float
    mactivations: float
    kernels: Sequence[tuple[Kernel, int]]


@cache
def rows(file: File) -> tuple[Row, ...]:
    """The rows of a file; none where the shared data are not there."""
    path = TIMM / file.name
    if not path.exists():
        return ()
    with path.open(newline="", encoding="utf-8") as lines:
        return tuple(_row(file, record) for record in csv.DictReader(lines))


def _row(file: File, record: Mapping[str, str]) -> Row:
    network, size = record["model"], int(record["infer_img_size"])
    batch = int(record["infer_batch_size"])
    return Row(
        network=network,
        size=size,
        batch=batch,
        seconds=float(record["infer_step_time"]) / 1e3,
        params=float(record["param_count"]),
        gmacs=float(record["infer_gmacs"]),
        mactivations=float(record["infer_macts"]),
        kernels=kernels(file, network, size, batch),
    )


def kernels(file: File, network: str, size: int, batch: int) -> Sequence[tuple[Kernel, int]]:
    """The kernels of one network, from the folder that keeps them or traced."""
    kept = KEPT / file.card / f"{network}@{size}.json.gz"
    if not kept.exists():
        with kept_whole(kept) as part, gzip.open(part, "wt", encoding="utf-8") as out:
            json.dump(_records(traced(file, network, size, batch)), out)
    with gzip.open(kept, "rt", encoding="utf-8") as lines:
        return tuple(_kernel(record) for record in json.load(lines))


def traced(file: File, network: str, size: int, batch: int) -> Counter[Kernel]:
    """What a compiled network launches, counted; nothing where it cannot be traced whole."""
    workload = Workload(
        batch=batch,
        inputs=(InputSpec(shape=(3, size, size)),),
        backend=file.backend,
        precision=file.precision,
        compiled=True,
    )
    try:
        program = timm.read(network, workload)
    except WeighError:
        return Counter()
    return Counter(launch.kernel for launch in launches(program)) if program.complete else Counter()


NOTHING = asdict(Kernel(kind="other")) | {"kind": None}
"""What a record leaves out."""


def _records(found: Counter[Kernel]) -> list[dict[str, object]]:
    return [
        {"times": times}
        | {name: value for name, value in asdict(kernel).items() if value != NOTHING[name]}
        for kernel, times in found.items()
    ]


def _kernel(record: dict[str, object]) -> tuple[Kernel, int]:
    fields = dict(record)
    times = fields.pop("times")
    gemm = fields.pop("gemm", None)
    return Kernel(**fields, gemm=None if gemm is None else Gemm(**gemm)), times


# What is fitted.

Group = tuple[str, Sequence[KernelClass], float]
"""A name, the classes that share one number, and the share that is usual."""

LIGHT: Sequence[KernelClass] = tuple(
    kind for kind in KERNEL_CLASSES if kind not in CONTRACTIONS and kind not in ("update", "other")
)
PRODUCTS: Sequence[KernelClass] = (
    "matmul",
    "convolution 1x1",
    "convolution",
    "grouped convolution",
    "uneven grouped convolution",
)
DEPTHWISE: Sequence[KernelClass] = tuple(kind for kind in KERNEL_CLASSES if "depthwise" in kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """Which classes share a number: of the rate, of the bandwidth and of the launch; and what there is beside.

    Classes in no group of `compute` take no time to compute (what is pointwise waits for memory on a GPU).
    """

    overlaps: bool
    compute: Sequence[Group]
    memory: Sequence[Group]
    launch: Sequence[Group]
    half_rows: Sequence[KernelClass] = ()


ALL_CONTRACTIONS = tuple(kind for kind in KERNEL_CLASSES if kind in CONTRACTIONS)

FORMS: Mapping[str, Form] = {
    "rtx-4090": Form(
        overlaps=True,
        compute=[(kind, (kind,), 0.1 if "depthwise" in kind else 0.8) for kind in ALL_CONTRACTIONS],
        memory=[("contractions", ALL_CONTRACTIONS, 0.9), ("the others", LIGHT, 0.9)],
        launch=[("kernels", (*ALL_CONTRACTIONS, *LIGHT), 2e-6)],
    ),
    "i7-12700h": Form(
        overlaps=False,
        compute=[
            ("products", PRODUCTS, 0.3),
            ("attention", ("attention", "batched matmul"), 0.3),
            ("convolution stem", ("convolution stem",), 0.3),
            ("depthwise", DEPTHWISE, 0.1),
            ("recurrent", ("recurrent",), 0.1),
            ("transcendental", ("activation", "softmax"), 0.02),
            ("other arithmetic", [k for k in LIGHT if k not in ("activation", "softmax")], 0.1),
        ],
        memory=[("kernels", (*ALL_CONTRACTIONS, *LIGHT), 0.5)],
        launch=[("contractions", ALL_CONTRACTIONS, 20e-6), ("the others", LIGHT, 5e-6)],
        half_rows=PRODUCTS,
    ),
}

SORT = "inference, contiguous, compiled"
"""The sort of the steps, as intervals are told apart."""

HALF_ROWS, BEYOND = "half rows", "beyond the cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What came of a file: the device's efficiencies, and the seconds that they predict of each row that was traced."""

    efficiencies: Efficiencies
    rows: Sequence[Row]
    predicted: Sequence[float]
    extrapolating: Sequence[bool]
    constants: int


def perfect(file: File) -> Clock:
    """The clock of the file's device at its peaks."""
    ideal = Efficiency(compute=1.0, bandwidth=1.0, launch_s=0.0)
    found = Efficiencies(default=ideal, dispatch_s=0.0, low=1.0, high=1.0, basis="")
    return Clock(device=load(file.card), efficiencies=found)


def fit(file: File) -> Fit | None:
    """Fits a file's device to the families that are not held out; nothing where the shared data are not there."""
    found = [row for row in rows(file) if row.kernels]
    if not found:
        return None
    form = FORMS[file.card]
    steps = _steps(found, perfect(file), form)
    seen = np.array([not held_out(row.network) for row in found])
    logs = steps.fit(seen)
    numbers = {term.name: float(np.exp(log)) for term, log in zip(steps.terms, logs, strict=True)}
    predicted = steps.predicted(logs)
    ends = _intervals(found, steps, seen)
    efficiencies = _efficiencies(
        form,
        numbers,
        sizes=steps.sizes(logs, seen),
        intervals=ends,
        basis=f"timm's times of {int(seen.sum()):,} networks under torch.compile, PyTorch 2.4",
    )
    return Fit(
        efficiencies=efficiencies,
        rows=found,
        predicted=tuple(map(float, predicted)),
        extrapolating=tuple(map(bool, steps.outside(logs, seen) > SOME)),
        constants=len(steps.terms),
    )


def _intervals(
    found: Sequence[Row], steps: Steps, seen: NDArray[np.bool_]
) -> dict[str, tuple[float, float]]:
    """Between how many times its prediction a step takes."""
    networks = [row.network for row in found]
    ratio, outside = np.zeros(len(found)), np.zeros(len(found), dtype=bool)
    for here, others in left_out(networks, seen):
        logs = steps.fit(others)
        ratio[here] = (steps.seconds / steps.predicted(logs))[here]
        outside[here] = (steps.outside(logs, others) > SOME)[here]
    return intervals(ratio, networks, [SORT] * len(found), outside, seen)


def fit_all() -> Iterator[tuple[str, Efficiencies]]:
    """Of each file its card, and what its compiled programs reach."""
    for file in FILES:
        found = fit(file)
        if found is not None:
            yield file.card, found.efficiencies


def _steps(found: Sequence[Row], clock: Clock, form: Form) -> Steps:
    """The rows as sums of terms."""
    places = [(i, kernel, times) for i, row in enumerate(found) for kernel, times in row.kernels]
    step = np.array([place for place, _, _ in places])
    times = np.array([float(times) for _, _, times in places])
    kinds = np.array([KERNEL_CLASSES.index(kernel.kind) for _, kernel, _ in places])
    known: dict[Kernel, tuple[float, float]] = {}
    for _, kernel, _ in places:
        if kernel not in known:
            one = clock.time(kernel)
            known[kernel] = (one.compute_s, one.memory_s)
    ideal = np.array([known[kernel] for _, kernel, _ in places])
    launched = np.array([float(kernel.launches) for _, kernel, _ in places])
    rows_of = np.array(
        [float(kernel.gemm.rows) if kernel.gemm else np.inf for _, kernel, _ in places]
    )
    moved = np.array([float(kernel.traffic_bytes) for _, kernel, _ in places])
    terms: list[Term] = []

    def add(
        name: str,
        side: str,
        kinds_of: Sequence[KernelClass],
        values: np.ndarray,
        usual: float,
        spread: float,
    ) -> None:
        inside = np.isin(kinds, [KERNEL_CLASSES.index(kind) for kind in kinds_of])
        at = np.flatnonzero(inside & (values > 0))
        if len(at):
            terms.append(
                Term(
                    name=name,
                    side=side,
                    kernels=at,
                    values=(values * times)[at],
                    usual=usual,
                    spread=spread,
                )
            )

    for name, classes, share in form.compute:
        add(f"compute of {name}", "compute", classes, ideal[:, 0], 1 / share, 1.0)
    for name, classes, share in form.memory:
        add(f"bandwidth of {name}", "memory", classes, ideal[:, 1], 1 / share, 1.0)
    for name, classes, seconds in form.launch:
        add(f"launch of {name}", "beside", classes, launched, seconds, 1.0)
    if form.half_rows:
        add(HALF_ROWS, "compute", form.half_rows, ideal[:, 0] / rows_of, 100.0, 1.0)
    bandwidth = clock.device.bandwidth_bytes_per_s or 1.0
    beyond = np.maximum(moved - cached_bytes(clock.device), 0.0) / bandwidth
    add(BEYOND, "memory", KERNEL_CLASSES, beyond, 1 / 0.4, 1.0)
    return Steps(
        step=step,
        seconds=np.array([row.seconds for row in found]),
        terms=terms,
        overlaps=form.overlaps,
        kind=kinds,
        size=np.array([float(kernel.size) for _, kernel, _ in places]),
        kinds=len(KERNEL_CLASSES),
    )


def _efficiencies(
    form: Form,
    numbers: Mapping[str, float],
    *,
    sizes: Numbers,
    intervals: Mapping[str, tuple[float, float]],
    basis: str,
) -> Efficiencies:
    """Fitted numbers as the record of a device. A class that nothing told of takes what is usual for its group."""

    def of(kind: KernelClass, what: str, groups: Sequence[Group]) -> float:
        for name, classes, usual in groups:
            if kind in classes:
                number = numbers.get(f"{what} of {name}")
                if number is None:
                    return usual
                return number if what == "launch" else 1 / number
        return 1.0

    half = numbers.get(HALF_ROWS, 0.0)
    classes: dict[tuple[str, str], Efficiency] = {}
    for kind in (*ALL_CONTRACTIONS, *LIGHT):
        compute = of(kind, "compute", form.compute)
        least, most = map(float, sizes[KERNEL_CLASSES.index(kind)])
        classes[kind, "forward"] = Efficiency(
            compute=compute,
            bandwidth=of(kind, "bandwidth", form.memory),
            launch_s=of(kind, "launch", form.launch),
            half_rows=half * compute if kind in form.half_rows else 0.0,
            least=least,
            most=most,
        )
    beyond = numbers.get(BEYOND)
    lows, highs = zip(*intervals.values(), strict=True)
    return Efficiencies(
        default=replace(classes["elementwise", "forward"], half_rows=0.0),
        dispatch_s=0.0,
        low=min(lows),
        high=max(highs),
        basis=basis,
        intervals=intervals,
        classes=classes,
        overlap=inf if form.overlaps else 1.0,
        beyond_cache=None if beyond is None else 1 / beyond,
    )
