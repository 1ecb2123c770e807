"""What the allocator's replay says: figures by PyTorch's names, what ran out, and a picture of the memory.

All sizes are bytes. The names are those of `torch.cuda.memory_stats` and `torch.cuda.memory_snapshot`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ADVICE = (
    " If reserved but unallocated memory is large try setting"
    " PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation."
    "  See documentation for Memory Management  (https://docs.pytorch.org/docs/stable/notes/cuda.html"
    "#optimizing-memory-usage-with-pytorch-cuda-alloc-conf)"
)
"""What PyTorch adds to its message unless the advice has been taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """A figure now and at its own peak."""

    current: int
    peak: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceStats:
    """What `torch.cuda.memory_stats` holds, `all` pools together (c10/core/CachingDeviceAllocator.h).

    `splits` and `merges` are ours: how often a block was cut in two, and joined with a neighbour.

    PyTorch's `active` differs from `allocation` only by blocks that wait for another stream
    (`Tensor.record_stream`), of which the replay knows nothing. Its `segment` does not count expandable segments.
    """

    allocation: Stat
    segment: Stat
    inactive_split: Stat
    allocated_bytes: Stat
    requested_bytes: Stat
    reserved_bytes: Stat
    inactive_split_bytes: Stat
    num_alloc_retries: int
    num_ooms: int
    num_device_alloc: int
    num_device_free: int
    splits: int
    merges: int

    @property
    def memory_allocated(self) -> int:
        """`torch.cuda.memory_allocated()`: bytes of the blocks that are handed out."""
        return self.allocated_bytes.current

    @property
    def max_memory_allocated(self) -> int:
        """`torch.cuda.max_memory_allocated()`."""
        return self.allocated_bytes.peak

    @property
    def memory_reserved(self) -> int:
        """`torch.cuda.memory_reserved()`: bytes taken from the device, handed out or cached."""
        return self.reserved_bytes.current

    @property
    def max_memory_reserved(self) -> int:
        """`torch.cuda.max_memory_reserved()`."""
        return self.reserved_bytes.peak

    @property
    def active(self) -> Stat:
        """Blocks that cannot be reused yet: those handed out."""
        return self.allocation

    @property
    def active_bytes(self) -> Stat:
        """Bytes of the blocks that cannot be reused yet: those handed out."""
        return self.allocated_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The memory after one event; `event` is that event's place, from 0, and -1 before the first."""

    event: int
    allocated_bytes: int
    requested_bytes: int
    reserved_bytes: int
    inactive_split_bytes: int

    @property
    def fragmentation(self) -> float:
        """The share of reserved bytes that nothing uses, 0 to 1; 0 where nothing is reserved."""
        if not self.reserved_bytes:
            return 0.0
        return 1 - self.allocated_bytes / self.reserved_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockInfo:
    """A stretch of a segment: handed out, or cached."""

    address: int
    size: int
    requested_size: int
    state: Literal["active_allocated", "inactive"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentInfo:
    """Memory taken from the device in one piece, its blocks by address, without gaps.

    Of an expandable segment, a stretch that is mapped without a gap. Addresses count from zero and none is
    used twice; a device's own addresses differ, and only the order of blocks of one size hangs on them.
    """

    address: int
    total_size: int
    allocated_size: int
    requested_size: int
    stream: int
    pool: int
    segment_type: Literal["small", "large"]
    is_expandable: bool
    blocks: tuple[BlockInfo, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfMemory:
    """Where and why an allocation failed, after everything that could be given back was.

    `size` is the block that was needed, `segment_size` what the device was asked for, `free_bytes` what the
    device had left; `cached_bytes` lay unused in segments, the longest stretch of it `largest_free_block` bytes.
    """

    event: int
    id: int
    requested_bytes: int
    size: int
    segment_size: int
    capacity_bytes: int
    allowed_bytes: int | None
    outside_bytes: int
    free_bytes: int
    allocated_bytes: int
    reserved_bytes: int
    private_pool_bytes: int
    largest_free_block: int
    expandable_segments: bool

    @property
    def cached_bytes(self) -> int:
        """Bytes reserved and not handed out."""
        return self.reserved_bytes - self.allocated_bytes

    @property
    def message(self) -> str:
        """What PyTorch would print (DeviceCachingAllocator::malloc), for GPU 0 with no other process on it."""
        private = self.private_pool_bytes
        allowed = (
            "" if self.allowed_bytes is None else f"{_format_size(self.allowed_bytes)} allowed; "
        )
        in_pools = (
            f"with {_format_size(private)} allocated in private pools (e.g., CUDA Graphs), "
            if private
            else ""
        )
        return (
            f"CUDA out of memory. Tried to allocate {_format_size(self.segment_size)}."
            f" GPU 0 has a total capacity of {_format_size(self.capacity_bytes)}"
            f" of which {_format_size(self.free_bytes)} is free."
            " Including non-PyTorch memory, this process has"
            f" {_format_size(self.outside_bytes + self.reserved_bytes)} memory in use."
            f" {allowed}Of the allocated memory {_format_size(self.allocated_bytes + private)}"
            f" is allocated by PyTorch, {in_pools}and {_format_size(self.cached_bytes - private)}"
            f" is reserved by PyTorch but unallocated.{'' if self.expandable_segments else ADVICE}"
        )


def _format_size(size: int) -> str:
    """PyTorch's own spelling of a size, two digits behind the point (format_size, CUDACachingAllocator.cpp)."""
    if size <= 1 << 10:
        return f"{size} bytes"
    for unit, name in ((1 << 10, "KiB"), (1 << 20, "MiB")):
        if size <= unit << 10:
            return f"{size / unit:.2f} {name}"
    return f"{size / (1 << 30):.2f} GiB"
