"""The process: what a network could change in it while it runs, and what is put back afterwards."""

from __future__ import annotations

import contextlib
import gc
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch

SWITCHES: tuple[tuple[Callable[[], Any], Callable[[Any], object]], ...] = (
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_num_threads, torch.set_num_threads),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    (torch.backends.mha.get_fastpath_enabled, torch.backends.mha.set_fastpath_enabled),
)
"""Settings of PyTorch that hold for a whole process: how to read and how to write each."""


@contextlib.contextmanager
def untouched() -> Iterator[None]:
    """Leaves random numbers, numpy's too, modes, PyTorch's settings and the collector as they were.

    The collector is off inside: it would free storages at moments of its own.
    """
    collecting = gc.isenabled()
    generator, chance = torch.get_rng_state(), random.getstate()
    settings = [read() for read, _ in SWITCHES]
    strict = torch.are_deterministic_algorithms_enabled()
    lenient = torch.is_deterministic_algorithms_warn_only_enabled()
    numpy = sys.modules.get("numpy")  # if nobody has loaded it, nobody draws from it
    arrays = None if numpy is None else numpy.random.get_state()
    gc.disable()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.inference_mode(False):
            yield
    finally:
        for (read, write), before in zip(SWITCHES, settings, strict=True):
            if read() != before:
                write(before)
        torch.set_rng_state(generator)
        random.setstate(chance)
        torch._C._set_deterministic_algorithms(strict, warn_only=lenient)
        if numpy is not None:
            numpy.random.set_state(arrays)
        if collecting:
            gc.enable()
