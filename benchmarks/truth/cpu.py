"""Memory on the CPU: the peak of a training step as predicted, beside PyTorch's own allocator's.

Each configuration is built and trained for two rounds in a process of its own (`measuring`), and traced without data.
The figure is the peak of the second round. What was measured is kept under build/: it changes with PyTorch and the
machine only, not with this project.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from benchmarks.truth.cases import CASES, Case
from benchmarks.truth.measuring import THREADS
from benchmarks.truth.tables import Errors, Sheet, mib, percent
from weighbridge.analyses.memory.timeline import Timeline, timeline
from weighbridge.frontends.torch import trace
from weighbridge.frontends.torch.allocations import Round
from weighbridge.program import Program
from weighbridge.workload import Optimizer, Workload

KEPT = Path("build/truth/cpu.jsonl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A configuration's peak: predicted and measured."""

    case: Case
    predicted_bytes: int
    measured_bytes: int
    place: str
    at_peak: str

    @property
    def error(self) -> float:
        """How much more was predicted than measured, as a share of what was measured."""
        return self.predicted_bytes / self.measured_bytes - 1


def compare(case: Case, measured: Round) -> Compared:
    """The prediction beside a measured round."""
    peak = predicted(program_of(case)).peak
    return Compared(
        case=case,
        predicted_bytes=peak.bytes,
        measured_bytes=measured.peak_bytes,
        place=f"{peak.name} of {peak.scope or 'the network'}",
        at_peak=measured.at_peak,
    )


def program_of(case: Case) -> Program:
    """The case's step, traced without data for a CPU."""
    workload = Workload(
        mode="training",
        batch=case.batch,
        dtype=case.dtype,
        optimizer=Optimizer(name=case.optimizer.name, settings=case.optimizer.settings),
        loss="auto" if case.loss == "own" else case.loss,
        accumulation=case.accumulation,
        backend="cpu",
        precision="amp-bf16" if case.autocast else "float32",
    )
    return trace(
        case.build(), workload, network=case.name, source="benchmark", examples=case.inputs()
    )


REASONS: Mapping[str, str] = {
    "vit_b_32": (
        "oneDNN has no kernel of its own for the gradient of a 32x32 patch embedding, and adds it up by matrix "
        "products in a table of 4 copies of the weights a thread: 2 x 4 x 9.4 MB, and it grows with the threads"
    ),
    "convnext_tiny": (
        "its convolutions are handed permuted tensors and run channels-last: weights are copied into that layout once more"
    ),
}
"""Why a row is off by more than a percent."""


def sheet(only: str = "") -> Sheet:
    """Every case, measured where it was not yet, beside its prediction."""
    cases = [case for case in CASES if only in case.name]
    with Progress(console=Console(stderr=True)) as progress:
        found = [compare(case, measured_rounds(case)[-1]) for case in progress.track(cases)]
    rows = [
        (
            row.case.name, row.case.family, str(row.case.batch), row.case.settings, mib(row.measured_bytes),
            mib(row.predicted_bytes), percent(row.error, signed=True), row.place,
        )
        for row in found
    ]  # fmt: skip
    notes = [
        f"- {row.case.name}: {REASONS[row.case.name]}."
        for row in found
        if row.case.name in REASONS and abs(row.error) > 0.01
    ]
    return Sheet(
        heading="Memory on the CPU, against PyTorch's own allocator",
        sentences=(
            "Each network is trained for two rounds in a process of its own, every allocation and free of PyTorch's CPU",
            "allocator read from `torch.profiler`; the figure is the peak of the second round, kernels' scratch included.",
            "The prediction is the traced Program's timeline for the CPU backend. Nothing was fitted.",
            f"PyTorch {torch.__version__}, {THREADS} threads, a CPU with AVX2. `python -m benchmarks truth cpu`.",
        ),
        columns=(
            "network", "family", "batch", "trained with", "measured MiB", "predicted MiB", "error", "predicted peak",
        ),
        rows=rows,
        errors=Errors(values=[row.error for row in found]),
        notes=notes,
    )  # fmt: skip


def predicted(program: Program) -> Timeline:
    """The round of the loop that is compared."""
    return timeline(program, "later")


def measured_rounds(case: Case, *, fresh: bool = False) -> tuple[Round, ...]:
    """What was measured of a case: kept from before, or measured now in a process of its own.

    Raises:
        RuntimeError: the process failed; its last lines are the message.
    """
    known = _kept()
    if not fresh and _key(case) in known:
        return _read(known[_key(case)])
    command = (sys.executable, "-m", "benchmarks.truth.measuring", case.name)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{case.name}: {done.stderr.strip()[-2000:]}")
    rounds = json.loads(done.stdout)
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    with KEPT.open("a") as lines:
        lines.write(json.dumps({"key": _key(case), "name": case.name, "rounds": rounds}) + "\n")
    return _read(rounds)


def _kept() -> Mapping[str, Any]:
    lines = KEPT.read_text().splitlines() if KEPT.exists() else []
    records = (json.loads(line) for line in lines)
    return {record["key"]: record["rounds"] for record in records}


def _read(rounds: Iterable[Mapping[str, Any]]) -> tuple[Round, ...]:
    return tuple(
        Round(**{**round, "alive": tuple((size, path) for size, path in round["alive"])})
        for round in rounds
    )


def _key(case: Case) -> str:
    """What a measurement depends on: the case as written, the network's code, PyTorch."""
    parts = [
        torch.__version__,
        str(THREADS),
        case.name,
        repr(case.given),
        repr(case.optimizer),
        case.loss,
    ]
    parts += [case.dtype, str(case.autocast), str(case.accumulation)]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def explanation(case: Case, measured: Round) -> Iterator[str]:
    """What is alive at the measured peak and not at the predicted one, and the other way round, by size."""
    program = program_of(case)
    peak = predicted(program).peak
    ours: Counter[int] = Counter(life.bytes for life in peak.alive)
    theirs: Counter[int] = Counter(size for size, _ in measured.alive)
    yield f"predicted {peak.bytes:,} at {peak.operator} {peak.phase} {peak.name} of {peak.scope!r}"
    yield f"measured  {measured.peak_bytes:,} at {measured.at_peak}"
    yield "only measured:"
    paths: dict[int, Counter[str]] = {}
    for size, path in measured.alive:
        paths.setdefault(size, Counter())[path] += 1
    for size, count in sorted((theirs - ours).items(), key=lambda item: -item[0] * item[1])[:12]:
        where = "; ".join(f"{n} {path}" for path, n in paths[size].most_common(3))
        yield f"  {count} x {size:,}  of {where}"
    yield "only predicted:"
    for size, count in sorted((ours - theirs).items(), key=lambda item: -item[0] * item[1])[:12]:
        who = Counter(
            f"{life.category} {life.maker} of {life.scope}"
            for life in peak.alive
            if life.bytes == size
        )
        where = "; ".join(f"{n} {what}" for what, n in who.most_common(3))
        yield f"  {count} x {size:,}  {where}"
