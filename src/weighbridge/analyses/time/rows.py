"""Rows: a norm and a softmax go over their rows more than once, and what of them is still in the cache.

A block of threads takes a row, first for its mean or its maximum, then for its sum, then for the result. The
first time comes from memory. The second comes from the L2 cache while the rows that all blocks are working on fit
in there: 108 multiprocessors with 16 rows of 1024 float32 each are 6.75 MiB, which an A100 keeps (40 MiB) and a V100
does not (6 MiB). A softmax of up to 1024 elements stays in registers; a longer one comes from the multiprocessor's own
cache where that keeps its rows, from Volta on.

The threads of a block and the number of times are PyTorch's (aten/src/ATen/native/cuda/layer_norm_kernel.cu,
SoftMax.cu, PersistentSoftmax.cuh); where a cache begins and ceases to help is fitted to NeuSight's tables.
"""

from __future__ import annotations

from ...devices import Device
from ...ops.kernel import Kernel

TIMES = {
    ("norm", "forward"): 2,
    ("norm", "backward"): 3,
    ("softmax", "forward"): 3,
    ("softmax", "backward"): 2,
}
"""How often a row is read."""

IN_REGISTERS_BYTES = 4096
"""A row of a softmax that is read once: 1024 elements in float32."""

THREADS = {(7, 5): 1024, (8, 6): 1536, (8, 7): 1536, (8, 9): 1536, (12, 0): 1536}
"""How many threads a multiprocessor has at once, by compute capability; 2048 elsewhere (CUDA C++ Programming Guide)."""

KEPT, LOST = 0.3, 1.0
"""The share of a cache up to which all rows are found again, and that at which none is."""

HALF_BLOCK_BYTES = 8192
"""A softmax over more than 2048 elements takes 512 threads a row, below 256."""


def reads(kernel: Kernel, device: Device) -> float:
    """How many times what the kernel reads comes from memory: once for all but norms and softmax."""
    times = TIMES.get((kernel.kind, kernel.part), 1)
    in_registers = kernel.kind == "softmax" and kernel.row_bytes <= IN_REGISTERS_BYTES
    if times == 1 or not kernel.row_bytes or in_registers or device.backend != "cuda":
        return 1.0
    if device.multiprocessors is None or device.l2_bytes is None:
        return float(times)
    rows = _rows_at_once(kernel, device)
    kept = _kept(device.multiprocessors * rows * kernel.row_bytes, device.l2_bytes)
    own_cache = device.l1_bytes if (device.compute_capability or (0, 0)) >= (7, 0) else None
    if kernel.kind == "softmax" and own_cache is not None:
        kept = max(kept, _kept(rows * kernel.row_bytes, own_cache))
    return 1 + (times - 1) * (1 - kept)


def _kept(at_once: int, cache_bytes: int) -> float:
    """The share of the bytes that are worked on at once which a cache still has the next time."""
    return min(max((LOST - at_once / cache_bytes) / (LOST - KEPT), 0.0), 1.0)


def _rows_at_once(kernel: Kernel, device: Device) -> int:
    """The rows that a multiprocessor works on, one a block."""
    threads = THREADS.get(device.compute_capability or (0, 0), 2048)
    if kernel.kind == "norm":
        return threads // 128
    return threads // (256 if kernel.row_bytes <= HALF_BLOCK_BYTES else 512)
