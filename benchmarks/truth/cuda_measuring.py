"""Measuring on a GPU: the clock, the allocator and the kernels of a step, a row a case, written as they come.

    python -m benchmarks.truth.cuda_measuring FOLDER --seconds 400

A step is timed as a loop runs it: several one after the other, and the clock read when the GPU is done with all; that is done
in rounds, whose median is the step's and whose spread is the noise. `alone_s` is a step that the GPU waits for, by its
own events. The kernels are what PyTorch's profiler saw of one more step. Peaks are the allocator's, from an empty one to
the third step.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from subprocess import run
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.truth.cuda_cases import CudaCase, cuda_cases
from weighbridge.frontends.torch import cuda_memory
from weighbridge.frontends.torch.process import untouched
from weighbridge.frontends.torch.running import step_of
from weighbridge.frontends.torch.stopwatch import stopwatch, without_collector

WARM_UPS = 3
WARM_S = 0.15
ROUNDS = 7
ROUND_S = 0.07
ALONE = 9

COPIES = ("Memcpy", "Memset")
"""How the profiler's names begin of what is no kernel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A case as it ran. `noise` is how far the middle half of the rounds lies apart, as a share of their median.

    `device_s` is what the kernels of a step took together, `launches` how many there were. `left_bytes` were still
    allocated when the case began; `clock_hz` and `power_w` are what the driver said while it ran.
    """

    network: str
    use: str
    params: int
    step_s: float
    noise: float
    alone_s: float
    device_s: float
    launches: int
    allocated_bytes: int
    reserved_bytes: int
    outside_bytes: int
    left_bytes: int
    clock_hz: float
    power_w: float
    taken: str
    gpu: str
    driver: str
    torch: str
    libraries: str

    @property
    def key(self) -> str:
        return f"{self.network}, {self.use}"


def measure(case: CudaCase, told: Mapping[str, str]) -> tuple[Measured, dict[str, list[float]]]:
    """One case, and its kernels by name: how many, and their seconds together."""
    with untouched(), without_collector():
        caught = case.caught()
        parameters = sum(p.numel() for p in caught.model.parameters())  # type: ignore[union-attr]
        cuda_memory.forget()
        left = torch.cuda.memory_allocated()
        step = step_of(caught, "cuda")
        for _ in range(WARM_UPS):
            step()
        held = cuda_memory.seen()
        rounds, clock_hz, power_w = _rounds(step)
        watch = stopwatch("cuda")
        alone = statistics.median(watch.sample(step).seconds for _ in range(ALONE))
        kernels = _kernels(step)
    low, _, high = statistics.quantiles(rounds, n=4)
    middle = statistics.median(rounds)
    found = Measured(
        network=case.network.name,
        use=case.use,
        params=parameters,
        step_s=middle,
        noise=(high - low) / middle,
        alone_s=alone,
        device_s=sum(seconds for _, seconds in kernels.values()),
        launches=sum(
            int(count) for name, (count, _) in kernels.items() if not name.startswith(COPIES)
        ),
        allocated_bytes=held.allocated_bytes,
        reserved_bytes=held.reserved_bytes,
        outside_bytes=held.outside_bytes,
        left_bytes=left,
        clock_hz=clock_hz,
        power_w=power_w,
        taken=datetime.now(UTC).isoformat(timespec="seconds"),
        **told,
    )
    return found, kernels


def _rounds(step: Callable[[], None]) -> tuple[list[float], float, float]:
    """Seconds of a step in each round, and the driver's figures while the last one ran."""
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < WARM_S or steps < 2:
        step()
        torch.cuda.synchronize()
        steps += 1
    once = (time.perf_counter() - began) / steps
    count = max(1, min(300, round(ROUND_S / once)))
    found = []
    clock_hz = power_w = 0.0
    for number in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(count):
            step()
        if number == ROUNDS - 1:
            with suppress(Exception):  # the driver's library may be missing: no figure then
                clock_hz = torch.cuda.clock_rate() * 1e6
                power_w = torch.cuda.power_draw() / 1e3
            torch.cuda.synchronize()
            break
        torch.cuda.synchronize()
        found.append((time.perf_counter() - began) / count)
    return found, clock_hz, power_w


def _kernels(step: Callable[[], None]) -> dict[str, list[float]]:
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        step()
        torch.cuda.synchronize()
    assert profiled.profiler is not None
    found: dict[str, list[float]] = {}
    results: Any = profiled.profiler.kineto_results
    for event in results.events():
        if event.device_type() == DeviceType.CUDA and "Synchronize" not in event.name():
            entry = found.setdefault(event.name(), [0, 0.0])
            entry[0] += 1
            entry[1] += event.duration_ns() / 1e9
    return found


def conditions() -> dict[str, str]:
    """What every row says of the machine."""
    asked = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    driver = run(asked, capture_output=True, text=True, check=True).stdout.strip()
    return {
        "gpu": torch.cuda.get_device_name(),
        "driver": driver,
        "torch": torch.__version__,
        "libraries": " ".join(
            f"{name} {version(name)}" for name in ("torchvision", "timm", "transformers")
        ),
    }


def written(path: Path) -> tuple[Measured, ...]:
    """The rows of a file, none where there is no file."""
    if not path.exists():
        return ()
    kinds = {
        field.name: {"int": int, "float": float}.get(str(field.type), str)
        for field in fields(Measured)
    }
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(
            Measured(**{name: kinds[name](value) for name, value in row.items()})  # type: ignore[arg-type]
            for row in csv.DictReader(file)
        )


def _left(cases: Iterator[CudaCase], known: set[str], only: str) -> Iterator[CudaCase]:
    return (case for case in cases if only in case.key and case.key not in known)


def main() -> None:
    """Measures the cases that were not measured yet, as long as there is time."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.truth.cuda_measuring")
    parser.add_argument("folder", type=Path, help="where measured.csv and kernels.jsonl go")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--known", type=Path, help="a file of rows that need not be measured again")
    chosen = parser.parse_args()
    began = time.monotonic()
    told = conditions()
    known = {row.key for row in written(chosen.known)} if chosen.known else set()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    with (
        (chosen.folder / "measured.csv").open("w", newline="", encoding="utf-8") as table,
        (chosen.folder / "kernels.jsonl").open("w", encoding="utf-8") as lines,
    ):
        writer = csv.DictWriter(table, [field.name for field in fields(Measured)])
        writer.writeheader()
        for case in _left(iter(cuda_cases()), known, chosen.only):
            if time.monotonic() - began > chosen.seconds:
                print("no time is left")
                break
            at = time.monotonic()
            try:
                found, kernels = measure(case, told)
            except Exception as error:  # one that fails is named, and the others go on
                print(f"{case.key}: {type(error).__name__}: {str(error)[:300]}", flush=True)
                continue
            finally:
                torch.compiler.reset()
            writer.writerow(asdict(found))
            table.flush()
            lines.write(json.dumps({"key": case.key, "kernels": kernels}) + "\n")
            lines.flush()
            print(
                f"{case.key}: {found.step_s * 1e3:.2f} ms, noise {found.noise:.1%}, kernels {found.device_s * 1e3:.2f} ms, "
                f"{found.launches} launches, {found.reserved_bytes / 2**20:,.0f} MiB, in {time.monotonic() - at:.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
