"""Calibration: times the operators of networks on this machine, and what the host takes beside them.

Every probe is timed several times in a row, on operands that take turns where they would come from memory; probes come in an
order that mixes families and sizes, so that a machine that slows down slows all of them. At the end some
are timed once more: how far they are from what they took before is the calibration's own repeatability, and where that is
too far the machine is not used.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import cycle
from random import Random
from typing import cast

import torch
from torch import Tensor

from ....calibration import (
    TF32,
    Calibration,
    Conditions,
    Overheads,
    Point,
    Setting,
    operator_of,
)
from ....devices import processor
from ....dims import bytes_of
from ....errors import UsageError, WeighError
from ....ops import Operator, rule_of
from ....ops.kernel import Kernel
from ....program import Program
from ....units import percent
from ....workload import Backend, Workload
from .. import trace
from ..catching import Caught
from ..inputs import DTYPES
from ..process import untouched
from ..running import DeviceKind, run
from ..stopwatch import (
    QueuedStopwatch,
    Sample,
    Stopwatch,
    stopwatch,
    threads,
    typical,
    without_collector,
)
from .chains import chains
from .probes import GPU, PROCESSOR, Probe, probes

Progress = Callable[[int, int, str], None]
"""Is told of each probe: how many are done, how many there are, what comes next."""

FEWEST, MOST = 5, 24
"""Runs of a probe: at least, and at most as many as fit in its time."""

SECONDS_A_PROBE = {"cpu": 0.04, "mps": 0.04, "cuda": 0.01}
"""How long a probe is timed in a setting, at least; the queue of a GPU is not disturbed by who else is there."""

PATIENCE_S = 40.0
"""How long all probes together wait for runs that nobody disturbs."""

TRIED = 100
"""Probes after which a machine that others use is refused, without the rest."""

SPANNING = 0.1
"""Of the sizes: those that are timed in other settings too."""

SECONDS_A_CHAIN = 1.0

GPU_SECONDS = 120.0
"""After so long no more sizes are tried on a GPU: its libraries search, and compile, for each size that is new to them."""

COLD_BYTES = {"cpu": 64 * 2**20, "mps": 64 * 2**20, "cuda": 256 * 2**20}
"""Operands that are to come from memory take turns, together more than caches hold: those of GPUs up to 126 MiB."""

MOST_COPIES = 24

SLAB = {"cpu": 8_000_000, "mps": 8_000_000, "cuda": 100_000_000}
"""Random numbers that operands are copied from: more than the largest has."""

CHECKED = 40
"""Probes that are timed again at the end."""

NOISIEST = 0.15
"""The worst repeatability that is accepted: kernels 15 % from themselves."""

MOST_DISTURBED = 0.5

BESIDE = 0.05
"""What a probe may move beside its kernel, as a share of what that moves."""

PAGES_BYTES = 48 * 2**20
"""More than glibc keeps, so that the pages are made anew each time."""

PAGE = 4096
REPEATS = 15


def calibrate(
    device: DeviceKind = "cpu",
    *,
    others: Sequence[Setting] = (),
    share: float = 1.0,
    force: bool = False,
    progress: Progress | None = None,
    watch: Stopwatch | None = None,
) -> Calibration:
    """Measures this machine.

    Args:
        device: 'cpu', 'cuda' or 'mps'.
        others: settings in which some of the sizes are timed too.
        share: of the sizes that are tried.
        force: take what was measured on a noisy machine too.
        progress: is told how far it is.
        watch: what times the work; the device's own where it is left out.

    Raises:
        UsageError: there is no such device.
        WeighError: the machine is too noisy.
    """
    check_device(device)
    base = base_setting()
    gpu = device == "cuda"
    watch = watch or (QueuedStopwatch() if gpu else stopwatch(device))
    tell = progress or (lambda done, total, what: None)
    began = time.monotonic()
    every = list(probes(share, GPU if gpu else PROCESSOR))
    spanning = {probe.name for probe in probes(share * SPANNING)}
    Random(len(every)).shuffle(every)
    total = len(every) + CHECKED + 1
    with untouched(), torch.no_grad(), without_collector(), threads(), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="RNN module weights"
        )  # they are taken as they are
        tell(0, total, "the host")
        page_s = _page_s(watch)
        bench = _Bench(watch, page_s)
        points: dict[str, Point] = {}
        for number, probe in enumerate(every, 1):
            if gpu and time.monotonic() - began > GPU_SECONDS:
                break  # they come in no order: what is left out is some of each
            tell(number, total, probe.name)
            found = kernel_of(probe, "cuda" if gpu else "cpu")
            if found is not None:
                operator, kernel = found
                points[probe.name] = Point(
                    operator=operator,
                    kernel=kernel,
                    seconds=bench.seconds(probe, base),
                    others=bench.others(probe, others if gpu or probe.name in spanning else ()),
                )
            if number == TRIED and not force:
                check_undisturbed(bench.disturbed)
        apart = []
        timed = [probe for probe in every if probe.name in points]
        for number, probe in enumerate(_spread(timed, CHECKED), 1 + len(every)):
            tell(number, total, f"again: {probe.name}")
            apart.append(abs(bench.seconds(probe, base) / points[probe.name].seconds - 1))
    tell(total, total, "")
    calibration = Calibration(
        conditions=conditions(device),
        taken=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=time.monotonic() - began,
        repeatability=statistics.median(apart),
        disturbed=bench.disturbed,
        overheads=Overheads(page_s=page_s),
        points=tuple(points.values()),
    )
    if not force:
        check_undisturbed(calibration.disturbed)
        check_repeatable(calibration.repeatability)
    return calibration


def _spread(probes: Sequence[Probe], count: int) -> Sequence[Probe]:
    """So many of them, from everywhere among them; all, where there are no more."""
    return probes[:: -(-len(probes) // count)] if probes else ()


def base_setting() -> Setting:
    """What most kernels are timed in: float32, on the threads that PyTorch takes now."""
    return Setting(dtype="float32", threads=torch.get_num_threads())


def other_settings(threads: Sequence[int]) -> Iterator[Setting]:
    """What a processor is timed in beside: half precision that it has instructions for, and other numbers of threads."""
    base = base_setting()
    dtypes = [base.dtype]
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        dtypes.append("bfloat16")
    if torch.ops.mkldnn._is_mkldnn_fp16_supported():
        dtypes.append("float16")
    for dtype in dtypes:
        for count in dict.fromkeys((base.threads, *threads)):
            setting = Setting(dtype=dtype, threads=count)
            if setting != base:
                yield setting


def gpu_settings() -> Iterator[Setting]:
    """What a CUDA device is timed in beside float32."""
    base = base_setting()
    for dtype in (TF32, "bfloat16", "float16"):
        yield replace(base, dtype=dtype)


def check_device(device: str) -> None:
    """Refuses a kind of device that PyTorch has not here.

    Raises:
        UsageError: there is none.
    """
    if device == "cpu":
        return
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device, False):
        raise UsageError(
            f"PyTorch finds no {device!r} on this machine", "calibrate the processor: --device cpu"
        )


def check_undisturbed(disturbed: float) -> None:
    """Refuses a machine that others use.

    Raises:
        WeighError: the processor was taken away in too many runs.
    """
    if disturbed > MOST_DISTURBED:
        raise WeighError(
            f"this machine is too noisy to be measured: others took the processor away in {percent(disturbed)} of the runs, and "
            f"{percent(MOST_DISTURBED)} are accepted",
            "close what else runs, and try again; or take it as it is: --force",
        )


def check_repeatable(repeatability: float) -> None:
    """Refuses a machine whose speed changes.

    Raises:
        WeighError: kernels were too far from themselves.
    """
    if repeatability > NOISIEST:
        raise WeighError(
            f"this machine is too noisy to be measured: the same kernels were {percent(repeatability)} from themselves at the end, "
            f"and {percent(NOISIEST)} are accepted",
            "close what else runs, on a laptop plug it in, and try again; or take it as it is: --force",
        )


def conditions(device: DeviceKind = "cpu") -> Conditions:
    """Under which conditions this process would measure."""
    return Conditions(
        device=device,
        processor=torch.cuda.get_device_name() if device == "cuda" else processor.name(),
        cores=processor.cores(),
        threads=torch.get_num_threads(),
        torch=torch.__version__.partition("+")[0],
        system=platform.system(),
        malloc=malloc(),
    )


def malloc() -> str:
    """Whose allocator hands out memory: 'glibc', another that was loaded before it, or nothing that is known."""
    loaded = os.environ.get("LD_PRELOAD", "")
    for name in ("tcmalloc", "jemalloc", "mimalloc"):
        if name in loaded:
            return name
    return platform.libc_ver()[0]


def kernel_of(probe: Probe, backend: Backend = "cpu") -> tuple[str, Kernel] | None:
    """The one kernel that the probe runs, by the operators' rules, and what runs it; None where it is not one.

    Copies of a few numbers beside it, as of a recurrent network's last states, do not count.
    """
    whole = dict(probe.whole)
    operands = tuple(
        torch.empty(shape, dtype=torch.int64 if place in whole else torch.float32, device="meta")
        for place, shape in enumerate(probe.shapes)
    )
    workload = Workload(backend=backend)
    if probe.backward:
        workload = Workload(
            mode="training", loss="mean", input_gradient=True, batch=operands[0].shape[0], backend=backend
        )  # fmt: skip
    program = trace(probe.run, workload, network=probe.name, source="probe", examples=operands)
    found = [
        (operator_of(op), kernel)
        for op in program.ops
        for kernel in cast(Operator, rule_of(op.kind)).kernels(op)
        if not probe.backward or kernel.part == "backward"
    ]
    found.sort(key=lambda each: -each[1].traffic_bytes)
    beside = sum(kernel.traffic_bytes for _, kernel in found[1:])
    return found[0] if found and beside <= BESIDE * found[0][1].traffic_bytes else None


class _Bench:
    """Times probes, and keeps count of what disturbed them."""

    def __init__(self, watch: Stopwatch, page_s: float) -> None:
        self._watch = watch
        self._page_s = page_s
        self._seconds_a_probe = SECONDS_A_PROBE[watch.name]
        self._slab = torch.rand(SLAB[watch.name], device=watch.name)
        self._runs = self._disturbed = 0
        self._patience_s = PATIENCE_S

    @property
    def disturbed(self) -> float:
        """The share of all runs in which the processor was taken away."""
        return self._disturbed / max(self._runs, 1)

    def others(self, probe: Probe, settings: Sequence[Setting]) -> Mapping[Setting, float]:
        """The same in other settings; what PyTorch has no kernel for in one is left out."""
        found = {}
        for setting in settings:
            if setting.dtype == TF32 and not probe.product:
                continue
            with suppress(RuntimeError):
                found[setting] = self.seconds(probe, setting)
        return found

    def seconds(self, probe: Probe, setting: Setting) -> float:
        """The typical seconds of one run, without what the system took for new pages."""
        if torch.get_num_threads() != setting.threads:
            torch.set_num_threads(setting.threads)
        torch.set_float32_matmul_precision("high" if setting.dtype == TF32 else "highest")
        dtype = "float32" if setting.dtype == TF32 else setting.dtype
        operand = partial(self._operand, probe, dtype=DTYPES[dtype])
        places = range(len(probe.shapes))
        warm = [operand(place) for place in places[: probe.warm]]
        cold = places[probe.warm :]
        elements = sum(torch.Size(probe.shapes[place]).numel() for place in cold)
        bytes = bytes_of(elements, dtype)
        copies = min(MOST_COPIES, 1 + COLD_BYTES[self._watch.name] // bytes) if bytes else 1
        sets = [[operand(place) for place in cold] for _ in range(copies)]
        if probe.backward:
            turns = cycle([_gradients(probe, operands) for operands in sets])
        else:
            turns = cycle([partial(probe.run, *warm, *operands) for operands in sets])
        next(turns)()
        samples: list[Sample] = []
        began = time.monotonic()
        while self._more(samples, time.monotonic() - began):
            found = self._watch.sample(next(turns))
            without_pages = max(found.seconds - found.pages * self._page_s, found.seconds / 10)
            samples.append(replace(found, seconds=without_pages))
        self._patience_s -= max(time.monotonic() - began - self._seconds_a_probe, 0.0)
        self._runs += len(samples)
        self._disturbed += sum(not sample.undisturbed for sample in samples)
        return typical(samples)

    def _more(self, samples: Sequence[Sample], seconds: float) -> bool:
        """Whether a probe is run once more: as often as its time allows, and for longer where others come between."""
        if len(samples) < FEWEST:
            return True
        undisturbed = sum(sample.undisturbed for sample in samples)
        patient = undisturbed < FEWEST and seconds < self._seconds_a_probe + self._patience_s
        return len(samples) < MOST and (seconds < self._seconds_a_probe or patient)

    def _operand(self, probe: Probe, place: int, *, dtype: torch.dtype) -> Tensor:
        shape, whole = probe.shapes[place], dict(probe.whole)
        if place in whole:
            return torch.randint(0, whole[place], shape, device=self._watch.name)
        if place in probe.single:
            dtype = torch.float32
        count = torch.Size(shape).numel()
        if count > len(self._slab):
            return torch.ones(shape, device=self._watch.name, dtype=dtype)
        found = self._slab[:count].to(dtype, copy=True).view(shape)
        if probe.images and self._watch.name == "cuda" and dtype != torch.float32:
            return found.contiguous(memory_format=torch.channels_last)
        return found


def _gradients(probe: Probe, operands: list[Tensor]) -> partial[object]:
    """The gradients of a probe's result, as often as they are asked for."""
    with torch.enable_grad():
        given = tuple(operand.requires_grad_() for operand in operands)
        result = cast(Tensor, probe.run(*given))
    return partial(torch.autograd.grad, result, given, torch.rand_like(result), retain_graph=True)


def _page_s(watch: Stopwatch) -> float:
    """Seconds of a page that the system makes anew: what filling new memory takes longer than filling old."""
    if watch.name != "cpu" or malloc() != "glibc":
        return 0.0
    old = torch.ones(PAGES_BYTES // 4)
    anew, over = [], []
    for _ in range(REPEATS):
        over.append(watch.sample(lambda: old.fill_(1)))
        anew.append(watch.sample(lambda: torch.empty(PAGES_BYTES // 4).fill_(1)))
    return max(typical(anew) - typical(over), 0.0) * PAGE / PAGES_BYTES


def whole_steps(
    device: DeviceKind = "cpu",
    *,
    share: float = 1.0,
    progress: Progress | None = None,
    watch: Stopwatch | None = None,
) -> tuple[tuple[Program, float], ...]:
    """Small networks run whole: their programs, and the typical seconds of a step."""
    tell = progress or (lambda done, total, what: None)
    every = tuple(chains(share))
    found = []
    for number, chain in enumerate(every):
        tell(number, len(every), chain.name)
        workload = replace(chain.workload, backend="cpu" if device == "cpu" else "cuda")
        caught = Caught(model=chain.build(), workload=workload, network=chain.name, examples=None)
        ran = run(caught, device=device, seconds=SECONDS_A_CHAIN, memory=False, watch=watch)
        program = trace(caught.model, caught.workload, network=chain.name, source="chain")
        found.append((program, typical(ran.samples)))
    return tuple(found)
