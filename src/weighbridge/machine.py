"""This machine: what it is, what was measured of it, and the clock that follows.

A calibration is used while it holds: the same processor, the same PyTorch. Otherwise it is named as
stale, and the machine is timed by the nearest device's card as if there were none.
"""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version

from . import devices
from .analyses.time.clock import Clock
from .analyses.time.measured import Measured
from .calibration import Calibration, Conditions, path, read
from .devices import Device, Efficiencies, Efficiency, Rates, processor

SPREAD = {"cpu": (0.82, 1.33), "cuda": (0.72, 2.48)}
"""Between what a step takes on a calibrated processor or GPU, as multiples of its prediction, in nine cases of ten: of networks that
were not calibrated with, each family counting once. Intervals set by four fifths of the families held 91 and 90 % of the others
(docs/truth/time-here.md, docs/truth/time-cuda-calibrated.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """The calibration of this machine; `stale` says why it does not hold now, `lacking` which number of threads it lacks
    that PyTorch takes now.
    """

    calibration: Calibration
    stale: tuple[str, ...]
    lacking: str | None


def calibrated(device: str = "cpu") -> Calibrated | None:
    """What was measured of this machine, and whether it still holds; None where nothing was.

    Raises:
        UsageError: the file cannot be read.
    """
    found = read(path(device))
    if found is None:
        return None
    now = conditions(found.conditions)
    return Calibrated(
        calibration=found,
        stale=found.conditions.differences(now),
        lacking=Measured(found).at(now.threads).lacks(found.base.dtype),
    )


def calibrated_here(device: Device) -> Calibrated | None:
    """What was measured of a device of this machine; None of every other one. The processor's stands for any processor.

    Raises:
        UsageError: the file cannot be read.
    """
    if device.driver_name:
        found = calibrated("cuda")
        other = found is not None and found.calibration.conditions.processor != device.driver_name
        return None if other else found
    return calibrated() if device.key in ("here", devices.CPU.key) else None


def conditions(recorded: Conditions) -> Conditions:
    """The conditions now, without loading PyTorch: what only that knows is as it was recorded."""
    if recorded.device == "cpu":
        name = processor.name()
    else:
        gpus = [gpu.driver_name for gpu in devices.gpus_by_driver()]
        name = recorded.processor if not gpus or recorded.processor in gpus else gpus[0]
    return Conditions(
        device=recorded.device,
        processor=name,
        cores=processor.cores(),
        threads=threads(recorded.threads),
        torch=torch_version() or recorded.torch,
        system=platform.system(),
        malloc=recorded.malloc,
    )


def torch_version() -> str:
    """PyTorch's version without the build's suffix; nothing where it is not installed."""
    try:
        return version("torch").partition("+")[0]
    except PackageNotFoundError:
        return ""


def measured_clock(
    calibration: Calibration, device: Device | None = None, *, tf32: bool = False
) -> Clock:
    """The clock of a calibrated machine: of its processor, where no device is given."""
    measured = Measured(calibration).at(threads(calibration.base.threads))
    overheads = calibration.overheads
    default = Efficiency(compute=1.0, bandwidth=1.0, launch_s=0.0)
    low, high = SPREAD.get(calibration.conditions.device, SPREAD["cuda"])
    return Clock(
        device=_rated(device or devices.here(), calibration, measured),
        tf32=tf32,
        efficiencies=Efficiencies(
            default=default,
            dispatch_s=overheads.forward_s,
            low=low,
            high=high,
            basis=f"calibrated on {calibration.taken[:10]}, PyTorch {calibration.conditions.torch}",
            classes={(kind, "forward"): default for kind in measured.kinds},
        ),
        measured=measured,
    )


def _rated(device: Device, calibration: Calibration, measured: Measured) -> Device:
    """The device with the rates that the calibration saw; a GPU's are on its card."""
    if device.driver_name:
        return device
    rates, bandwidth = measured.fastest()
    return replace(
        device,
        name=calibration.conditions.processor,
        cores=calibration.conditions.cores,
        bandwidth_bytes_per_s=bandwidth,
        vector_flop_per_s=Rates(**rates),
    )


def threads(recorded: int) -> int:
    """Threads that PyTorch works with: its own answer where it is loaded, else what the environment asks for."""
    torch = sys.modules.get("torch")
    if torch is not None:
        return int(torch.get_num_threads())
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() and int(asked) else recorded
