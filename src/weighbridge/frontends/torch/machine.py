"""The GPUs of this machine, as PyTorch sees them: without a context, so that nothing is taken of them."""

from __future__ import annotations

from typing import Literal

import torch

from ...devices import Device, gpu


def gpus() -> tuple[Device, ...]:
    """A device for each GPU; none where PyTorch finds none or was built without."""
    if not torch.cuda.is_available():
        return ()
    backend: Literal["cuda", "rocm"] = "cuda" if torch.version.hip is None else "rocm"
    found = []
    for index in range(torch.cuda.device_count()):
        seen = torch.cuda.get_device_properties(index)
        found.append(
            gpu(
                seen.name,
                usable_bytes=int(seen.total_memory),
                capability=(int(seen.major), int(seen.minor)),
                backend=backend,
            )
        )
    return tuple(found)
