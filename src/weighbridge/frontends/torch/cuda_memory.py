"""What PyTorch's allocator takes of a GPU, from nothing to the peak, and what is taken beside it.

A process keeps what an earlier network left: cached blocks, and the workspaces of cuBLAS, which its handles take of the
allocator once and keep. To see what one network takes, both are let go of first.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Bytes since :func:`forget`: the peaks of tensors and of what the allocator held for them.

    `outside_bytes` is what anybody holds of the device beside this allocator now: the context, its kernels, other processes.
    """

    allocated_bytes: int
    reserved_bytes: int
    outside_bytes: int


def forget() -> None:
    """Lets go of what no tensor holds, and begins new peaks."""
    gc.collect()
    torch._C._cuda_clearCublasWorkspaces()
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


def seen() -> Seen:
    """The peaks, when all that was asked of the device is done."""
    torch.cuda.synchronize()
    free, total = torch.cuda.mem_get_info()
    return Seen(
        allocated_bytes=torch.cuda.max_memory_allocated(),
        reserved_bytes=torch.cuda.max_memory_reserved(),
        outside_bytes=total - free - torch.cuda.memory_reserved(),
    )
