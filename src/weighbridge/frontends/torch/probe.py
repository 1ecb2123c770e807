"""The probe: what a process takes of this machine's GPU beside its tensors, measured.

Three things stand outside the stream of a step's allocations. The context: what the GPU has less of once CUDA
runs, and after kernels of the common libraries were loaded. The workspaces of cuBLAS, taken through the allocator
by each handle, one in the main thread and one in autograd's. And what cuDNN takes while a convolution runs.

What is asked of the device goes through a :class:`Bench`, so that a test can stand in for a GPU.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch.nn import functional

from ...devices import Device, gpus_by_driver
from ...devices.machine import used_by_driver
from ...devices.probing import Probe, Workspace
from ...errors import WeighError
from .machine import gpus

SIZE = 512
"""Rows and columns of the matrices: larger than any tile, a mebibyte each in float32."""

BATCH = 8
CONVOLUTIONS = ((3, 64, 112, 7), (64, 64, 56, 3), (256, 64, 56, 1), (512, 512, 7, 3))
"""Channels in and out, height and width, kernel: layers of ResNets."""

CONFIGURATIONS = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
"""Where PyTorch reads the allocator's settings, the newer name first."""


class Bench(Protocol):
    """A device that counts its memory."""

    device: str

    def used(self) -> int:
        """Bytes of the device that anybody holds."""

    def total(self) -> int:
        """Bytes of the device."""

    def reserved(self) -> int:
        """Bytes that this process' allocator holds."""

    def allocated(self) -> int:
        """Bytes of this process' tensors and workspaces."""

    def peak(self) -> int:
        """The most of them since :meth:`forget`."""

    def forget(self) -> None:
        """Begins a new peak."""


class CudaBench:
    """The current CUDA device."""

    device = "cuda"

    def used(self) -> int:
        torch.cuda.synchronize()
        free, total = torch.cuda.mem_get_info()
        return total - free

    def total(self) -> int:
        return torch.cuda.mem_get_info()[1]

    def reserved(self) -> int:
        return torch.cuda.memory_reserved()

    def allocated(self) -> int:
        return torch.cuda.memory_allocated()

    def peak(self) -> int:
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated()

    def forget(self) -> None:
        torch.cuda.reset_peak_memory_stats()


def probe() -> Probe:
    """Measures the first GPU that PyTorch finds.

    Raises:
        WeighError: there is none.
    """
    found = gpus()
    if not found:
        listed = gpus_by_driver()
        raise WeighError(
            "there is no GPU here that PyTorch can use, and nothing to probe",
            f"the driver lists {listed[0].name}: is this PyTorch built for it? "
            "python -c 'import torch; print(torch.version.cuda)'"
            if listed
            else "without one, weigh uses what the devices' cards say: weigh devices rtx-4090",
        )
    return measured(CudaBench(), found[0], used_by_driver())


def measured(bench: Bench, device: Device, before: int | None) -> Probe:
    """What the bench measures; `before` is what was taken of it before this process ran anything on it."""
    taken_before = before or 0
    one = torch.zeros(1, device=bench.device)
    context = bench.used() - taken_before - bench.reserved()
    main = _kept(bench, lambda: _product(bench))
    autograd = _kept(bench, lambda: _backward(bench))
    workspaces = tuple(_convolutions(bench))
    _others(bench)
    loaded = bench.used() - taken_before - bench.reserved()
    del one
    return Probe(
        device=device,
        total_bytes=bench.total(),
        before_bytes=before,
        context_bytes=context,
        loaded_bytes=loaded,
        cublas_bytes=main,
        autograd_cublas_bytes=autograd,
        cudnn=workspaces,
        allocator=torch.cuda.get_allocator_backend() if bench.device == "cuda" else "none",
        alloc_conf=next(filter(None, map(os.environ.get, CONFIGURATIONS)), ""),
        torch_version=torch.__version__,
        cuda_version=torch.version.cuda or "",
    )


def _kept(bench: Bench, run: Callable[[], None]) -> int:
    """Bytes that stay allocated when what ran has let go of its own tensors."""
    before = bench.allocated()
    run()
    return bench.allocated() - before


def _product(bench: Bench) -> None:
    one = torch.zeros(SIZE, SIZE, device=bench.device)
    (one @ one).sum().item()


def _backward(bench: Bench) -> None:
    one = torch.zeros(SIZE, SIZE, device=bench.device, requires_grad=True)
    torch.autograd.backward((one @ one).sum())


def _convolutions(bench: Bench) -> Iterator[Workspace]:
    for channels, filters, extent, kernel in CONVOLUTIONS:
        x = torch.zeros(BATCH, channels, extent, extent, device=bench.device, requires_grad=True)
        w = torch.zeros(filters, channels, kernel, kernel, device=bench.device, requires_grad=True)
        what = f"convolution {kernel} x {kernel}, {channels} to {filters} channels, {extent} x {extent}"
        with _taken(bench) as forward:
            y = functional.conv2d(x, w, padding=kernel // 2)
            forward.append(y.numel() * y.element_size())
        yield Workspace(what=f"{what}, forward", bytes=forward[-1])
        seed = torch.zeros_like(y)
        with _taken(bench) as backward:
            gradients = torch.autograd.grad(y, (x, w), seed)
            backward.append(sum(g.numel() * g.element_size() for g in gradients))
        yield Workspace(what=f"{what}, backward", bytes=backward[-1])
        del x, w, y, seed, gradients


@contextmanager
def _taken(bench: Bench) -> Iterator[list[int]]:
    """Replaces the bytes of the results, which the block appends, by what was taken beside them."""
    results: list[int] = []
    before = bench.allocated()
    bench.forget()
    yield results
    results.append(max(bench.peak() - before - results[0], 0))


def _others(bench: Bench) -> None:
    """Kernels of the kinds that networks use, so that they are loaded."""
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.zeros(BATCH, 64, 16, 16, device=bench.device, dtype=dtype, requires_grad=True)
        scale = torch.ones(64, device=bench.device, dtype=dtype, requires_grad=True)
        y = functional.relu(functional.batch_norm(x, None, None, scale, scale, training=True))
        y = functional.max_pool2d(y, 2).flatten(2)
        y = functional.gelu(functional.layer_norm(y, (64,)))
        q = y.reshape(BATCH, 4, 16, 64)
        y = functional.scaled_dot_product_attention(q, q, q).softmax(-1)
        torch.autograd.backward(y.float().sum())
