"""Autocast: automatic mixed precision, which a network may switch on in the midst of forward."""

from __future__ import annotations

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
    """Remarks on autocast that has no effect: it acts on one kind of device, and tensors are on another."""
    kind: Any = torch.amp.autocast_mode.autocast
    enter = kind.__enter__

    def noticed(self: Any) -> object:
        if self._enabled and self.device != device:
            dtype = str(self.fast_dtype).removeprefix("torch.")
            remark(
                f"autocast to {dtype} is not followed: what it casts is counted in the network's own "
                "dtype, which changes bytes and no arithmetic"
            )
        entered: object = enter(self)
        return entered

    kind.__enter__ = noticed
    try:
        yield
    finally:
        kind.__enter__ = enter
