"""Times of single operators on GPUs, as kernels: NeuSight's tables and Vidur's.

NeuSight (Lee, Phanishayee and Mahajan, ASPLOS 2025) timed PyTorch 2.1's operators in float32 on six GPUs between two CUDA
events, the mean of the five fastest of 25 runs. Of `linear` and `bmm`, N is the depth and K the columns. Vidur
(Agrawal et al., MLSys 2024) timed a layer of Llama 2 7 B in float16 on A100 and A40; its products are taken.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from weighbridge.ops.kernel import Gemm, Kernel, KernelClass

LATENCY = Path(__file__).parents[3] / "shared" / "data" / "published" / "latency"

CARDS: Mapping[str, str] = {
    "Tesla P4": "p4",
    "Tesla P100-PCIE-16GB": "p100",
    "Tesla V100-PCIE-32GB": "v100-32gb-pcie",
    "Tesla T4": "t4",
    "NVIDIA A100-PCIE-40GB": "a100-40gb-pcie",
    "NVIDIA A100 80GB PCIe": "a100-80gb-pcie",
    "NVIDIA L4": "l4",
    "NVIDIA H100 80GB HBM3": "h100-sxm",
}
"""NeuSight's names of devices, and our cards."""

VIDUR: Mapping[str, str] = {"a100": "a100-80gb", "a40": "a40"}

POINTWISE: Mapping[str, tuple[KernelClass, int]] = {
    "add": ("elementwise", 2),
    "mul": ("elementwise", 2),
    "div": ("elementwise", 2),
    "pow": ("activation", 2),
    "addu": ("elementwise", 1),
    "mulu": ("elementwise", 1),
    "divu": ("elementwise", 1),
    "powu": ("activation", 1),
    "relu": ("elementwise", 1),
    "gelu": ("activation", 1),
    "tanh": ("activation", 1),
}
"""The class and the number of operands of NeuSight's operators on vectors; `addu` adds a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One operator, timed on one device."""

    card: str
    operator: str
    kernel: Kernel
    seconds: float


def samples() -> tuple[Sample, ...]:
    """All rows of all tables; none where the shared data are not there."""
    return (*neusight(), *vidur())


def neusight() -> Iterator[Sample]:
    """The rows of NeuSight's tables."""
    for table in ("linear", "bmm", "ln", "softmax", "vec"):
        for row in _rows(LATENCY / "neusight_ops" / f"{table}.csv"):
            name = row["OPName"]
            if table == "vec" and name not in POINTWISE:  # norms and softmaxes are there twice
                continue
            yield Sample(
                card=CARDS[row["Device"]],
                operator=table,
                kernel=neusight_kernel(name, row),
                seconds=float(row["Latency"]) / 1e3,
            )


def neusight_kernel(name: str, row: Mapping[str, str]) -> Kernel:
    """What a row of the tables ran."""
    if name in ("linear", "bmm"):
        batch, rows, depth, columns = (int(row[key]) for key in "BMNK")
        kind: KernelClass = "matmul" if name == "linear" else "batched matmul"
        return product(kind, batch, rows, columns, depth, itemsize=4)
    rows, length = int(row["B"]), int(row["H"])
    size = 4 * rows * length
    if name in ("ln", "softmax"):
        kind = "norm" if name == "ln" else "softmax"
        return Kernel(kind=kind, read_bytes=size, write_bytes=size, row_bytes=4 * length)
    kind, operands = POINTWISE[name]
    return Kernel(kind=kind, operations=rows * length, read_bytes=operands * size, write_bytes=size)


def vidur() -> Iterator[Sample]:
    """The products of Vidur's table, the median of rows that repeat."""
    found: dict[tuple[str, str, int, int], list[float]] = defaultdict(list)
    for row in _rows(LATENCY / "vidur_mlp_ops_fp16_a100_a40.csv"):
        tokens, ranks = int(row["num_tokens"]), int(row["num_tensor_parallel_workers"])
        for name in VIDUR_OPERATORS:
            seconds = float(row[f"{name}_median_ms"]) / 1e3
            found[VIDUR[row["device"]], name, tokens, ranks].append(seconds)
    for (card, name, tokens, ranks), times in found.items():
        if min(times) <= 0:  # below the clock's step of a microsecond
            continue
        kernel = VIDUR_OPERATORS[name](tokens, ranks)
        yield Sample(
            card=card,
            operator="linear, float16",
            kernel=kernel,
            seconds=sorted(times)[len(times) // 2],
        )


WIDTH, INNER = 4096, 11008
"""Llama 2 7 B."""


def _linear(columns: int, depth: int, tokens: int) -> Kernel:
    return product("matmul", 1, tokens, columns, depth, itemsize=2)


VIDUR_OPERATORS = {
    "attn_pre_proj": lambda tokens, ranks: _linear(3 * WIDTH // ranks, WIDTH, tokens),
    "attn_post_proj": lambda tokens, ranks: _linear(WIDTH, WIDTH // ranks, tokens),
    "mlp_up_proj": lambda tokens, ranks: _linear(2 * INNER // ranks, WIDTH, tokens),
    "mlp_down_proj": lambda tokens, ranks: _linear(WIDTH, INNER // ranks, tokens),
}
"""The products. Vidur's norm, activation and rotary embedding are kernels of vLLM's, not PyTorch's, and its additions
find in the cache what the run before has left there."""


def product(
    kind: KernelClass, batch: int, rows: int, columns: int, depth: int, *, itemsize: int
) -> Kernel:
    """A matrix product as a kernel; of a single one the second operand is a weight with a bias."""
    weight = batch * depth * columns
    return Kernel(
        kind=kind,
        dtype={2: "float16", 4: "float32"}[itemsize],
        macs=batch * rows * columns * depth,
        read_bytes=itemsize * (batch * rows * depth + weight),
        write_bytes=itemsize * batch * rows * columns,
        gemm=Gemm(batch=batch, rows=rows, columns=columns, depth=depth),
    )


def _rows(path: Path) -> Iterator[Mapping[str, str]]:
    if not path.exists():
        return
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)
