"""Kernels of a network's own, written in Triton and launched bare: named, and not run.

A kernel that `torch.library` wraps is an operator, which the dispatcher shows. One that is launched as
`kernel[grid](...)` passes it by, writes into tensors that it is given, and needs a device that is not
there. It is written down under its name: what it reads and writes are the tensors that it is given.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from .recording import Recorder
from .translation import tensors_in

_LAUNCHED = (("triton.runtime.jit", "JITFunction"), ("triton.runtime.autotuner", "Autotuner"))
"""Triton's classes whose `run` launches a kernel."""


@contextmanager
def named_kernels(recorder: Recorder) -> Iterator[None]:
    """Writes launches down while it lasts. Does nothing where Triton is not loaded."""
    with ExitStack() as exits:
        for module, name in _LAUNCHED:
            kind: Any = getattr(sys.modules.get(module), name, None)
            if kind is not None:
                exits.callback(setattr, kind, "run", kind.run)
                kind.run = _written_down(recorder)
        yield


def _written_down(recorder: Recorder) -> Callable[..., None]:
    def run(
        kernel: Any, *args: Any, grid: object = None, warmup: bool = False, **kwargs: Any
    ) -> None:
        # Inside an operator of `torch.library` the operator itself is written down.
        if not torch._C._len_torch_dispatch_stack():
            return
        given = {**dict(zip(kernel.arg_names, args, strict=False)), **kwargs}
        tensors = tensors_in(given.values())
        settings = {
            name: value for name, value in given.items() if isinstance(value, int | float | str)
        }
        name = f"triton.{getattr(kernel, 'base_fn', kernel).__name__}"
        recorder.emit(
            name, tensors, tensors, settings, name=name, results=len(tensors), in_place=True
        )

    return run
