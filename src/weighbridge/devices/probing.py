"""What a probe measured on a GPU, beside what the card of such a GPU says."""

from __future__ import annotations

from dataclasses import dataclass

from .device import Device


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """What a kernel's library took beside operands and result while it ran; `what` says which kernel."""

    what: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The memory of one GPU beside tensors, as it was measured.

    `device` is the GPU with what its card knows. `before_bytes` is what was taken of it before this process came, None
    where nobody could tell. `context_bytes` is the context with nothing but one tensor, `loaded_bytes` the
    context after kernels of the common libraries ran. `cublas_bytes` is the workspace of one handle,
    `autograd_cublas_bytes` what autograd's thread took for its own. `alloc_conf` is the allocator's setting
    in the environment, '' where there is none.
    """

    device: Device
    total_bytes: int
    before_bytes: int | None
    context_bytes: int
    loaded_bytes: int
    cublas_bytes: int
    autograd_cublas_bytes: int
    cudnn: tuple[Workspace, ...]
    allocator: str
    alloc_conf: str
    torch_version: str
    cuda_version: str

    @property
    def options(self) -> tuple[str, ...]:
        """The options that make a prediction use what was measured."""
        named = ("--on", self.device.key) if self.device.key else ("--here",)
        context = ("--context", f"{-(-self.loaded_bytes // 2**20)}MiB")
        settings = ("--alloc-conf", self.alloc_conf) if self.alloc_conf else ()
        return (*named, *context, *settings)
