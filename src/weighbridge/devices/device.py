"""A device as a record: what it holds and how fast it can be. None says that a number is not known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Literal

Kind = Literal["gpu", "accelerator", "apple", "jetson", "cpu", "board"]
"""`accelerator`: TPU, Gaudi, Trainium. `apple`: a Mac's chip. `board`: a single-board computer."""

Backend = Literal["cuda", "rocm", "xpu", "hpu", "mps", "xla", "cpu"]
"""What PyTorch calls the device, ROCm apart: PyTorch calls it cuda, its kernels are others."""

PCIE_BYTES_PER_S_A_LANE = {1: 0.25e9, 2: 0.5e9, 3: 0.985e9, 4: 1.969e9, 5: 3.938e9, 6: 7.563e9}
"""One lane, one direction, after line coding: 8 GT/s x 128/130 / 8 bits = 0.985e9 in generation 3, twice
that a generation later; 8b/10b before, FLITs of 242/256 in 6. PCI-SIG, PCI Express Base Specification."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A quantity that differs from program to program: what to expect, and between what it lies."""

    low: float
    typical: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """One number a dtype; None where the device has no such rate or nobody publishes it.

    `float16` accumulates in float32, as PyTorch does by default; `float16_accumulate_float16` is the
    faster rate that GeForce cards reach otherwise. `float8` likewise accumulates in float32. `int8` and
    `float4` count operations as the others do, two a multiply-accumulate.
    """

    float64: float | None = None
    float32: float | None = None
    tf32: float | None = None
    float16: float | None = None
    float16_accumulate_float16: float | None = None
    bfloat16: float | None = None
    float8: float | None = None
    int8: float | None = None
    float4: float | None = None

    def get(self, dtype: str) -> float | None:
        """The rate of a dtype by PyTorch's name for it: 'float8_e4m3fn' is float8."""
        name = "float8" if dtype.startswith("float8_") else dtype
        rate: float | None = getattr(self, name) if name in self.__slots__ else None
        return rate

    def items(self) -> Iterator[tuple[str, float]]:
        """The dtypes that have a rate, widest first."""
        for field in fields(self):
            rate: float | None = getattr(self, field.name)
            if rate is not None:
                yield field.name, rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where numbers are from: the document, the place in it, and the keys that it gives.

    `date` is the document's. `read` is the day on which it was read for the card; None where its
    figures are quoted from knowledge of it.
    """

    title: str
    url: str
    date: str
    gives: tuple[str, ...]
    at: str = ""
    read: str | None = None


NO_RATES = Rates()


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What is known of one device; only its name must be given.

    Memory has three sizes. `memory_bytes` is what its name promises, `driver_memory_bytes` what nvidia-smi
    shows as the total, and `usable_memory_bytes` what CUDA offers a process, PyTorch's `total_memory` and the
    "total capacity" of its out-of-memory message. `capacity_bytes` is the best known of them. Where the buyer
    chooses (`memory_options_bytes`, or any CPU) all three are None.

    Peaks are dense, at the boost clock: `vector_flop_per_s` of the general cores, `matrix_flop_per_s` of the
    tensor cores or their like. `matmul_efficiency` is what share of the peak large matrix products were
    measured to reach, which is mostly the clock that the power limit leaves.
    `bandwidth_bytes_per_s` is to device memory; `peer_bytes_per_s` between devices, both directions
    together, as vendors count NVLink. `l1_bytes` is one multiprocessor's or core's, with its shared memory;
    `l2_bytes` and `l3_bytes` are the device's. `l3_bytes` is the last level: AMD's Infinity Cache too.
    `launch_overhead_s` is the host's time for one operator of an eager program; `context_bytes` what a process
    takes before its first tensor, kernels included; `cublas_workspace_bytes` is one handle's, hipBLAS's on ROCm.
    `default_foreach` says whether PyTorch's optimizers update many tensors at once here unless told otherwise.
    `driver_name` is what the driver calls a GPU of this machine, and nothing on cards.
    """

    name: str
    key: str = ""
    aliases: tuple[str, ...] = ()
    vendor: str = ""
    kind: Kind = "gpu"
    architecture: str = ""
    backend: Backend | None = None
    compute_capability: tuple[int, int] | None = None
    year: int | None = None
    memory_bytes: int | None = None
    driver_memory_bytes: int | None = None
    usable_memory_bytes: int | None = None
    memory_options_bytes: tuple[int, ...] = ()
    bandwidth_bytes_per_s: float | None = None
    l1_bytes: int | None = None
    l2_bytes: int | None = None
    l3_bytes: int | None = None
    multiprocessors: int | None = None
    cores: int | None = None
    base_clock_hz: float | None = None
    boost_clock_hz: float | None = None
    vector_flop_per_s: Rates = NO_RATES
    matrix_flop_per_s: Rates = NO_RATES
    matmul_efficiency: Rates = NO_RATES
    launch_overhead_s: Range | None = None
    pcie_generation: int | None = None
    pcie_lanes: int | None = None
    peer_bytes_per_s: float | None = None
    tdp_w: float | None = None
    context_bytes: Range | None = None
    cublas_workspace_bytes: int | None = None
    default_foreach: bool | None = None
    driver_name: str = ""
    sources: tuple[Source, ...] = ()

    @property
    def capacity_bytes(self) -> int | None:
        """The memory that a process can count on, context included: the best known of the three sizes."""
        if self.usable_memory_bytes is not None:
            return self.usable_memory_bytes
        if self.driver_memory_bytes is not None:
            return self.driver_memory_bytes
        return self.memory_bytes

    @property
    def host_bytes_per_s(self) -> float | None:
        """To or from the host over PCIe, one direction."""
        if self.pcie_generation is None or self.pcie_lanes is None:
            return None
        return PCIE_BYTES_PER_S_A_LANE[self.pcie_generation] * self.pcie_lanes

    def peak_flop_per_s(self, dtype: str) -> float | None:
        """The dense peak of a matrix product in that dtype: its fastest unit's.

        'float32' is float32, never TF32; ask for 'tf32' where the program allows it.
        """
        rates = (self.matrix_flop_per_s.get(dtype), self.vector_flop_per_s.get(dtype))
        return max((rate for rate in rates if rate is not None), default=None)

    def peaks(self) -> Mapping[str, float]:
        """The dense peak of each dtype that it has one in, the highest first; float16 as PyTorch sums it, in float32."""
        dtypes = dict(self.vector_flop_per_s.items()) | dict(self.matrix_flop_per_s.items())
        dtypes.pop("float16_accumulate_float16", None)
        rates = {
            dtype: rate for dtype in dtypes if (rate := self.peak_flop_per_s(dtype)) is not None
        }
        return dict(sorted(rates.items(), key=lambda entry: -entry[1]))

    def ridge_flop_per_byte(self, dtype: str) -> float | None:
        """The arithmetic intensity above which a matrix product is bound by compute, not by memory."""
        peak = self.peak_flop_per_s(dtype)
        if peak is None or self.bandwidth_bytes_per_s is None:
            return None
        return peak / self.bandwidth_bytes_per_s

    def sources_of(self, key: str) -> tuple[Source, ...]:
        """Where a number is from: 'tdp_w', 'matrix_flop_per_s.float16'."""
        table = key.partition(".")[0]
        return tuple(s for s in self.sources if key in s.gives or table in s.gives)
