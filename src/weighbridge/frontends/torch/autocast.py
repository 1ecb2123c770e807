"""Autocast: automatic mixed precision, which a network may switch on in the midst of forward."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

_DEVICES = ("cpu", "cuda")


@contextmanager
def autocast_restored() -> Iterator[None]:
    """Leaves autocast as it was, whatever a network does to it and however it ends."""
    before = [
        (device, torch.is_autocast_enabled(device), torch.get_autocast_dtype(device))
        for device in _DEVICES
    ]
    caching = torch.is_autocast_cache_enabled()
    try:
        yield
    finally:
        for device, enabled, dtype in before:
            torch.set_autocast_enabled(device, enabled)
            torch.set_autocast_dtype(device, dtype)
        torch.set_autocast_cache_enabled(caching)
        torch.clear_autocast_cache()


@contextmanager
def noticing_autocast(device: str, remark: Callable[[str], None]) -> Iterator[None]:
    """Remarks on autocast that has no effect: it acts on one kind of device, and tensors are on another.

    PyTorch's own warning, that the device is not there, says nothing to who only weighs.
    """
    kind: Any = torch.amp.autocast_mode.autocast
    make = kind.__init__

    def noticed(
        self: Any,
        device_type: str,
        dtype: Any = None,
        enabled: bool = True,
        *more: Any,
        **named: Any,
    ) -> None:
        if enabled and device_type != device:
            name = str(dtype or torch.get_autocast_dtype(device_type)).removeprefix("torch.")
            remark(
                f"autocast to {name} is not followed: what it casts is counted in the network's own "
                "dtype, which changes bytes and no arithmetic"
            )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*Disabling autocast")
            make(self, device_type, dtype, enabled, *more, **named)

    kind.__init__ = noticed
    try:
        yield
    finally:
        kind.__init__ = make
