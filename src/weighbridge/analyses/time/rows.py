"""Rows: a norm and a softmax go over their rows more than once, and what of them is still in the cache.

A block of threads takes a row, first for its mean or its maximum, then for its sum, then for the result. The
first time comes from memory. The second comes from the L2 cache while the rows that all blocks are working on fit
in there: 108 multiprocessors with 16 rows of 1024 float32 each are 6.75 MiB, which an A100 keeps (40 MiB) and a V100
does not (6 MiB). A batch norm that trains goes over a channel of all samples, which no cache keeps. A softmax of up to 1024 elements stays in registers; a longer one comes from the multiprocessor's own
cache where that keeps its rows, from Volta on.

The threads of a block and the number of times are PyTorch's (aten/src/ATen/native/cuda/layer_norm_kernel.cu,
SoftMax.cu, PersistentSoftmax.cuh); where a cache begins and ceases to help is fitted to NeuSight's tables.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...devices import Device

TIMES = {
    ("norm", "forward"): 2,
    ("norm", "backward"): 3,
    ("softmax", "forward"): 3,
    ("softmax", "backward"): 2,
    ("batch norm", "forward"): 2,
    ("batch norm", "backward"): 2,
}
"""How often a row is read. A batch norm in inference has none (`Kernel.row_bytes`)."""

IN_REGISTERS_BYTES = 4096
"""A row of a softmax that is read once: 1024 elements in float32."""

THREADS = {(7, 5): 1024, (8, 6): 1536, (8, 7): 1536, (8, 9): 1536, (12, 0): 1536}
"""How many threads a multiprocessor has at once, by compute capability; 2048 elsewhere (CUDA C++ Programming Guide)."""

KEPT, LOST = 0.3, 1.0
"""The share of a cache up to which all rows are found again, and that at which none is."""

HALF_BLOCK_BYTES = 8192
"""A softmax over more than 2048 elements takes 512 threads a row, below 256."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """How a device goes over the rows of a class of kernels: `times` over each, and what keeps it from one to the next.

    Rows of up to `in_registers_bytes` are read once. A multiprocessor works on `at_once` rows, the second number where
    they are longer than half a block. `caches` are those that may keep them, and how many multiprocessors share each.
    """

    times: int
    in_registers_bytes: int
    at_once: tuple[int, int]
    caches: tuple[tuple[int, int], ...]

    def reads(self, row_bytes: int) -> float:
        """How many times what a kernel reads comes from memory."""
        if row_bytes <= self.in_registers_bytes:
            return 1.0
        rows = self.at_once[row_bytes > HALF_BLOCK_BYTES]
        kept = [_kept(shared * rows * row_bytes, size) for size, shared in self.caches]
        return 1 + (self.times - 1) * (1 - max(kept, default=0.0))


def rows_of(kind: str, part: str, device: Device) -> Rows | None:
    """How the device goes over the rows of norms and softmaxes; None for all that is read once."""
    times = TIMES.get((kind, part), 1)
    if times == 1 or device.backend != "cuda":
        return None
    threads = THREADS.get(device.compute_capability or (0, 0), 2048)
    norm = kind != "softmax"
    caches = []
    if kind != "batch norm" and device.multiprocessors is not None and device.l2_bytes is not None:
        caches.append((device.l2_bytes, device.multiprocessors))
        own = device.l1_bytes if (device.compute_capability or (0, 0)) >= (7, 0) else None
        if not norm and own is not None:
            caches.append((own, 1))
    return Rows(
        times=times,
        in_registers_bytes=0 if norm else IN_REGISTERS_BYTES,
        at_once=(threads // 128,) * 2 if norm else (threads // 256, threads // 512),
        caches=tuple(caches),
    )


def _kept(at_once: int, cache_bytes: int) -> float:
    """The share of the bytes that are worked on at once which a cache still has the next time."""
    return min(max((LOST - at_once / cache_bytes) / (LOST - KEPT), 0.0), 1.0)
