"""Rooms: the devices that a user names, as a training loop meets them.

'rtx-4090', 'rtx-4090,a100-80gb', '24GiB', 'cpu:32GiB', 'here': the memory of this machine and of its GPUs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec

from . import devices
from .analyses.memory.largest import Room
from .analyses.memory.resident import caches
from .analyses.memory.settings import AllocatorSettings
from .analyses.time.clock import Clock
from .devices import Device, Range
from .devices.probing import Probe
from .errors import UsageError
from .machine import calibrated_here, measured_clock
from .workload import Backend, Precision

On = str | Device | Sequence[str | Device]
"""A device, or several: names with commas between them, or a sequence."""

HERE = "here"


def rooms(
    on: On, *, context: str | int | None = None, alloc_conf: str | None = None
) -> tuple[Room, ...]:
    """The devices, each with the allocator's settings and what a process takes beside its tensors.

    Args:
        on: the devices.
        context: bytes taken beside tensors, or '512MiB', in place of what the card says.
        alloc_conf: a value of PYTORCH_CUDA_ALLOC_CONF, 'expandable_segments:True'.

    Raises:
        UsageError: there is no such device or setting, or none for the devices that were named.
    """
    settings = None if alloc_conf is None else AllocatorSettings.parse(alloc_conf)
    found = [_with_context(device, context) for device in _devices(on)]
    if not found:
        raise UsageError("no device was named", "name one, as in --on rtx-4090; all: weigh devices")
    if settings is not None and not any(map(caches, found)):
        raise UsageError(
            f"the allocator has settings, and {found[0].name} has no such allocator",
            "PYTORCH_CUDA_ALLOC_CONF is of CUDA devices: leave --alloc-conf out",
        )
    return tuple(
        Room(device=device, settings=settings if caches(device) else None) for device in found
    )


def here() -> tuple[Device, ...]:
    """This machine: its memory, and its GPUs as PyTorch sees them, else as the driver lists them."""
    return (*gpus_here(), devices.here())


def gpus_here() -> tuple[Device, ...]:
    """The GPUs of this machine; none where there is none. PyTorch takes seconds to load, and is asked where one may be."""
    return (gpus_by_torch() or devices.gpus_by_driver()) if devices.may_have_gpus() else ()


def gpus_by_torch() -> tuple[Device, ...]:
    """The GPUs of this machine that PyTorch runs on; none where it is not installed."""
    if find_spec("torch") is None:
        return ()
    from .frontends.torch.machine import gpus

    return gpus()


def probe() -> Probe:
    """Measures what a process takes of this machine's GPU beside its tensors.

    Raises:
        UsageError: PyTorch is not installed.
        WeighError: there is no GPU that it can use.
    """
    if find_spec("torch") is None:
        raise UsageError(
            "a probe runs kernels of PyTorch, which is not installed",
            "try: pip install 'weighbridge[torch]'",
        )
    from .frontends.torch.probe import probe as measure

    return measure()


def backend(device: Device) -> Backend:
    """Whose kernels run on the device, as far as they are told apart."""
    return "cpu" if device.backend == "cpu" or device.kind in ("cpu", "board") else "cuda"


def clock(device: Device, precision: Precision) -> Clock:
    """The clock of a device, or of the one that stands for it, with what is known of how near it comes to its peaks.

    What was measured of this machine's own device goes first; its processor, once it is calibrated, stands for any.
    """
    found = calibrated_here(device)
    if found is not None and not found.stale:
        own = device if device.driver_name else None
        return measured_clock(found.calibration, own, tf32=precision == "tf32")
    rated = devices.rated(device)
    return Clock(
        device=rated,
        efficiencies=devices.efficiencies(rated),
        tf32=precision == "tf32",
        stale=() if found is None else found.stale,
    )


def _devices(on: On) -> Iterator[Device]:
    if isinstance(on, Device):
        yield on
        return
    for entry in on.split(",") if isinstance(on, str) else on:
        if isinstance(entry, Device):
            yield entry
        elif entry.strip() == HERE:
            yield from here()
        elif entry.strip():
            yield devices.parse(entry.strip())


def _with_context(device: Device, context: str | int | None) -> Device:
    if context is None:
        return device
    size = devices.size_of(context) if isinstance(context, str) else context
    if size < 0:
        raise UsageError(f"a context of {size} bytes; expected none or more")
    return replace(device, context_bytes=Range(low=size, typical=size, high=size))
