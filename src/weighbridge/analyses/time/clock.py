"""The clock: how long one kernel takes on a device (the roofline).

A kernel takes the longer of its arithmetic at the rate that its class reaches, and of its bytes at the bandwidth
that it reaches; and a launch, however little it does (Williams, Waterman and Patterson 2009, 'Roofline: an
insightful visual performance model'). Matrix products are made in tiles and take longer than their arithmetic
(`tiles`), at a rate that the device's power allows (`devices.sustained`); norms and softmaxes read their rows
again (`rows`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Literal

from ...devices import PRODUCTS, Device, Efficiencies, reached
from ...dims import bytes_of
from ...errors import UsageError
from ...ops.kernel import CONTRACTIONS, Kernel
from ...program import Phase, Program
from ...units import plural, unit
from ...workload import Mode, Workload
from .execution import Launch, dispatches
from .measured import Measured, Parts
from .pace import Caches, Pace, Products, together
from .rows import rows_of
from .tiles import CONVOLUTION, reach_of, tiling

Bound = Literal["compute", "memory", "overhead"]

AS_TF32 = frozenset(
    {"convolution 1x1", "convolution", "convolution stem", "grouped convolution", "uneven grouped convolution"}
)  # fmt: skip
"""float32 that PyTorch computes in TF32 unless told otherwise: cuDNN's convolutions (`torch.backends.cudnn.allow_tf32`
is true by default, `torch.backends.cuda.matmul.allow_tf32` is not)."""


IN_TILES = frozenset({"convolution 1x1", "convolution", "convolution stem"})
"""Convolutions that matrix units make in tiles; of their weights' gradients it is not known."""

WAIT_S = 0.25e-6
"""What a thread waits for memory, and for its address. Taken from EfficientFormerV2 on an RTX 4090."""


SLOW_HOST_S: Mapping[Mode, float] = {"inference": 20e-6, "training": 50e-6}
"""A slow host's time for an operator of an eager program: that of the virtual machines whose H100 and H200 were measured
(docs/truth/time-cuda.md). No card tells which host a GPU is in, and steps that wait for it may take as long as there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelTime:
    """The seconds of one kernel, by what they go to; `seconds` is the time that it takes."""

    kernel: Kernel
    compute_s: float
    memory_s: float
    overhead_s: float
    overlap: float = inf

    @property
    def seconds(self) -> float:
        return together(self.compute_s, self.memory_s, self.overlap) + self.overhead_s

    @property
    def bound(self) -> Bound:
        """What takes longest."""
        if self.overhead_s >= max(self.compute_s, self.memory_s):
            return "overhead"
        return "compute" if self.compute_s >= self.memory_s else "memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """A device, how near it comes to its peaks, and whether float32 products may run in TF32.

    `measured` is what this very machine's calibration says, which then goes before shares of peaks; or `stale` why that
    does not hold.
    """

    device: Device
    efficiencies: Efficiencies
    tf32: bool = False
    measured: Measured | None = None
    stale: tuple[str, ...] = ()

    @property
    def on_host(self) -> bool:
        """Whether the host is the device."""
        return self.device.kind in ("cpu", "board")

    def time(self, kernel: Kernel, operator: str = "", phase: Phase = "forward") -> KernelTime:
        """How long the kernel takes; `operator` is what runs it (`calibration.operator_of`), in which phase.

        Raises:
            UsageError: the device has no rate for its dtype, or nobody says what its bandwidth is.
        """
        if self.measured is not None:
            parts = self.measured.parts(kernel, operator, phase, tf32=self.tf32)
            return _as_measured(kernel, parts)
        pace = self.pace(kernel)
        return KernelTime(
            kernel=kernel,
            compute_s=pace.compute_s(kernel),
            memory_s=pace.memory_s(kernel),
            overhead_s=pace.overhead_s(kernel),
            overlap=pace.overlap,
        )

    def pace(self, kernel: Kernel) -> Pace:
        """What kernels of this one's sort reach, by the device's shares of its peaks. Raises as :meth:`time` does."""
        found = self.efficiencies.of(kernel.kind, kernel.part, channels_last=kernel.channels_last)
        bandwidth = self.device.bandwidth_bytes_per_s
        if bandwidth is None:
            stale = f": its calibration is stale, {'; '.join(self.stale)}" if self.stale else ""
            raise UsageError(
                f"nobody says how fast {self.device.name.partition(',')[0]} is{stale}",
                "name a device with a card (weigh devices), or measure this machine: weigh calibrate",
            )
        peak = self.flop_per_s(kernel)
        return Pace(
            peak_flop_per_s=peak,
            flop_per_s=peak * found.compute,
            bytes_per_s=bandwidth * found.bandwidth,
            launch_s=found.launch_s,
            wait_s=WAIT_S if self.device.backend == "cuda" else 0.0,
            half_rows=found.half_rows,
            overlap=self.efficiencies.overlap,
            caches=self.caches,
            products=self._products(kernel),
            rows=rows_of(kernel.kind, kernel.part, self.device),
        )

    @property
    def caches(self) -> Caches:
        """What the device's last cache does."""
        share, bandwidth = self.efficiencies.beyond_cache, self.device.bandwidth_bytes_per_s
        return Caches(
            last_bytes=self.device.l2_bytes or 0,
            gain=self.efficiencies.cached,
            within=cached_bytes(self.device),
            beyond_bytes_per_s=None if share is None or bandwidth is None else bandwidth * share,
        )

    def running(self, workload: Workload) -> Clock:
        """The clock for a step: on its number of threads, and what compiled kernels reach, if it is compiled and that was measured.

        Raises:
            UsageError: a number of threads is asked for, and this is no machine that was calibrated.
        """
        if self.measured is not None:
            return replace(self, measured=self.measured.at(workload.threads))
        if workload.threads is not None:
            raise UsageError(
                f"nobody measured {self.device.name.partition(',')[0]} on {plural(workload.threads, 'thread')}",
                "threads are of a machine that was calibrated (weigh calibrate; --on here); leave --threads out",
            )
        compiled = self.efficiencies.compiled
        if not workload.compiled or compiled is None:
            return self
        return replace(self, efficiencies=compiled)

    def host_s(self, program: Program, launched: Sequence[Launch]) -> float:
        """How long the host takes to hand a program out, and on a CPU what it does beside kernels."""
        if self.measured is not None:
            return self.measured.host_s(program, launched)
        return dispatches(program, launched) * self.efficiencies.dispatch_s

    def slow_host_s(self, mode: Mode) -> float:
        """The host's time for an operator that a step may take on a slow host; 0 where the host is known or has nothing to do."""
        if self.on_host or self.measured is not None or not self.efficiencies.dispatch_s:
            return 0.0
        return max(SLOW_HOST_S[mode], self.efficiencies.dispatch_s)

    def _products(self, kernel: Kernel) -> Products | None:
        """How the device makes products of the kernel's sort; None for other kernels, and where nobody knows."""
        gpu = self.device
        if gpu.backend != "cuda" or gpu.multiprocessors is None:
            return None
        dtype = self.computed_in(kernel)
        matrix = gpu.matrix_flop_per_s.get(dtype) is not None
        if kernel.kind in IN_TILES and matrix and kernel.part != "weight gradient":
            return Products(
                share=1.0,
                tiling=CONVOLUTION,
                multiprocessors=gpu.multiprocessors,
                reach=None,
                itemsize=bytes_of(1, kernel.dtype),
            )
        if kernel.kind not in PRODUCTS:
            return None
        batched = kernel.kind == "batched matmul"
        return Products(
            share=reached(gpu, dtype),
            tiling=tiling(architecture=gpu.architecture, matrix=matrix, batched=batched),
            multiprocessors=gpu.multiprocessors,
            reach=None if batched else reach_of(gpu.architecture),
            itemsize=bytes_of(1, kernel.dtype),
        )

    def flop_per_s(self, kernel: Kernel) -> float:
        """The device's peak rate for what the kernel does: of its matrix units for contractions.

        Raises:
            UsageError: the device has none for the dtype.
        """
        dtype = self.computed_in(kernel)
        if kernel.kind in CONTRACTIONS:
            rate = self.device.peak_flop_per_s(dtype)
        else:
            rate = self._vector_flop_per_s(dtype)
        if rate is None:
            known = known_rates(self.device)
            if not known:
                raise UsageError(
                    f"nobody says how fast {self.device.name} computes",
                    "name a device whose peaks are known: weigh devices",
                )
            raise UsageError(
                f"{self.device.name} has no rate for {dtype}",
                *_instead(self.device, dtype),
                f"it has: {', '.join(known)}",
            )
        return rate

    def _vector_flop_per_s(self, dtype: str) -> float | None:
        """The rate of what is no contraction: half precision is computed in float32.

        Where nobody publishes that, as of TPUs, the rate of products stands for it: memory bounds such kernels anyway.
        """
        vectors, peak = self.device.vector_flop_per_s, self.device.peak_flop_per_s
        if dtype == "float64":
            return vectors.float64
        return vectors.float32 or peak("float32") or peak("bfloat16") or peak("float16")

    def computed_in(self, kernel: Kernel) -> str:
        """The dtype of its arithmetic on this device: TF32 in place of float32 where PyTorch takes it."""
        tf32 = self.device.matrix_flop_per_s.tf32 is not None
        if kernel.dtype == "float32" and tf32 and kernel.kind in CONTRACTIONS:
            return "tf32" if self.tf32 or kernel.kind in AS_TF32 else "float32"
        return kernel.dtype


def cached_bytes(device: Device) -> float:
    """What one kernel can move within a device: half of its last cache, the other half being what it moved before."""
    return max(device.l3_bytes or 0, device.l2_bytes or 0) / 2


def _as_measured(kernel: Kernel, parts: Parts) -> KernelTime:
    """A measured time, of which arithmetic and traffic are not told apart: the longer one takes the time of both."""
    both = parts.compute_s + parts.memory_s
    computing = parts.compute_s >= parts.memory_s
    return KernelTime(
        kernel=kernel,
        compute_s=both if computing else parts.compute_s,
        memory_s=parts.memory_s if computing else both,
        overhead_s=parts.overhead_s,
    )


def known_rates(device: Device) -> tuple[str, ...]:
    """The rates that a device has, with their figures, the highest first: 'float16 165 TFLOP/s'."""
    return tuple(f"{dtype} {unit(rate, 'FLOP/s')}" for dtype, rate in device.peaks().items())


def _instead(device: Device, dtype: str) -> tuple[str, ...]:
    """What a dtype without a rate would run as, and the precisions to choose in place of it."""
    halves = {"float16": "fp16 or amp-fp16", "bfloat16": "bf16 or amp-bf16"}
    known = [text for half, text in halves.items() if device.peak_flop_per_s(half) is not None]
    choose = f"choose --precision {' or '.join(known or ['float32'])}"
    if dtype not in halves or device.peak_flop_per_s("float32") is None:
        return (choose,)
    return (f"it would emulate {dtype} in float32", choose)
