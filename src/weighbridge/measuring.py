"""Measuring: this machine calibrated, and a network run on it for real, beside what was predicted.

    >>> import weighbridge
    >>> weighbridge.calibrate()
    >>> print(weighbridge.measure("torchvision:resnet18", batch=4))

Both run PyTorch on this machine, and take their time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, Unpack, final

from . import frontends
from .analyses.memory.resident import Resident, caches, resident
from .analyses.memory.timeline import lifetimes, timeline
from .analyses.time.measured import Measured, fitted
from .analyses.time.step import StepTime, Untimed, step_time_or_why
from .analyses.weighing import Json
from .calibration import Calibration, Setting, path, write
from .devices import Device
from .errors import UsageError
from .network import Network
from .program import Program
from .reports import json
from .reports import machine as drawn
from .rooms import clock, gpus_by_torch, here
from .settings import Inputs, Settings
from .workload import check_dimension

if TYPE_CHECKING:
    from torch.nn import Module

    from .frontends.torch.catching import Caught
    from .frontends.torch.running import Ran

Progress = Callable[[int, int, str], None]


def calibrate(
    device: Literal["cpu", "cuda", "mps"] = "cpu",
    *,
    threads: Sequence[int] | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Calibration:
    """Measures this machine, one to three minutes, and keeps what it found for `on="here"`.

    Args:
        device: the processor, or a GPU of NVIDIA's or of Apple's.
        threads: numbers of threads of the processor to measure beside the one that PyTorch takes. [one]
        force: keep it although the machine is noisy.
        progress: is called with how many kernels are timed, of how many, and which comes next.

    Raises:
        UsageError: PyTorch is not installed, or has no such device; or threads of a GPU.
        WeighError: the machine is too noisy.
    """
    _need_torch("calibration")
    from .frontends.torch.calibration import calibrate as measured
    from .frontends.torch.calibration import gpu_settings, other_settings, whole_steps

    if device != "cpu" and threads is not None:
        raise UsageError(
            f"threads are of the processor, and {device!r} is measured", "leave --threads out"
        )
    for count in threads or ():
        check_dimension(count, "the number of threads")
    others: tuple[Setting, ...] = ()
    if device == "cpu":
        others = tuple(other_settings(threads or (1,)))
    elif device == "cuda":
        others = tuple(gpu_settings())
    found = fitted(measured(device, others=others, force=force, progress=progress))
    if device != "mps":
        overheads = Measured(found).settled(whole_steps(device, progress=progress))
        found = replace(found, overheads=overheads)
    write(found, path(device))
    return found


def measure(
    model: str | Module | Callable[..., object],
    inputs: Inputs | None = None,
    *,
    device: Literal["cpu", "cuda"] | None = None,
    memory: bool = True,
    **settings: Unpack[Settings],
) -> MeasureReport:
    """Runs a network's step on this machine, and puts clock and allocator beside the prediction.

    Args:
        model, inputs, settings: as of :func:`weighbridge.weigh`; a network that PyTorch can run. A network of the zoo is
            run as torchvision's of the same name.
        device: 'cuda' is the first GPU that PyTorch finds, 'cpu' the processor; a GPU where there is one.
        memory: whether the allocator is read too, in two more steps.

    Raises:
        UsageError: PyTorch is not installed or has no such device, or the network is none that it runs.
        WeighError: the network cannot be built or run, or does not fit.
    """
    _need_torch("measurement")
    gpus = gpus_by_torch()
    kind = device or ("cuda" if gpus else "cpu")
    if kind == "cuda" and not gpus:
        raise UsageError(
            "PyTorch finds no 'cuda' on this machine", "run it on the processor: --device cpu"
        )
    if settings.get("backend", kind) != kind:
        raise UsageError(
            f"a measurement on {kind!r} runs its kernels, and the backend is {settings['backend']!r}",
            "leave --backend out",
        )
    if settings.get("checkpointing", "none") != "none":
        raise UsageError(
            "a measurement runs the network as it is, and checkpointing is a what-if",
            "leave --checkpoint out",
        )
    settings["backend"] = kind
    network = Network(_runnable(model), inputs)
    from .frontends.torch.catching import catching
    from .frontends.torch.running import run

    with catching() as caught:
        program = network.program(network.workload(settings))
    if not caught:
        raise UsageError(
            f"{program.network} is described, and PyTorch has nothing to run",
            *_alternatives(program),
        )
    ran = run(_used(caught[-1], program), device=kind, memory=memory)
    return MeasureReport(program, ran, gpus[0] if kind == "cuda" else here()[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What was measured: seconds of a step, the spread of its middle half, and bytes.

    `reserved_bytes` is what a GPU's allocator held for its peak.
    """

    seconds: float
    low_s: float
    high_s: float
    steps: int
    undisturbed: int
    peak_bytes: int | None
    reserved_bytes: int | None


@final
class MeasureReport:
    """A step as it ran here, beside its prediction. Printed, it is the screen of `weigh measure`."""

    def __init__(self, program: Program, ran: Ran, device: Device) -> None:
        self.program = program
        self.ran = ran
        self.device = device

    @cached_property
    def measured(self) -> Measurement:
        """The figures of the clock and of the allocator."""
        from .frontends.torch.stopwatch import typical

        seconds = sorted(sample.seconds for sample in self.ran.samples)
        memory = self.ran.memory
        return Measurement(
            seconds=typical(self.ran.samples),
            low_s=seconds[len(seconds) // 4],
            high_s=seconds[3 * len(seconds) // 4],
            steps=len(seconds),
            undisturbed=sum(sample.undisturbed for sample in self.ran.samples),
            peak_bytes=None if memory is None else memory.peak_bytes,
            reserved_bytes=None if memory is None else memory.reserved_bytes,
        )

    @cached_property
    def predicted(self) -> StepTime | Untimed:
        """The predicted time, or why there is none."""
        return step_time_or_why(self.program, clock(self.device, self.program.workload.precision))

    @cached_property
    def predicted_bytes(self) -> int:
        """The predicted peak of the allocator."""
        if caches(self.device):
            return self._resident.allocated.expected
        return timeline(self.program, "later").peak.bytes

    @cached_property
    def predicted_reserved_bytes(self) -> int | None:
        """What a GPU's allocator is predicted to hold for that; None on a processor, which has no cache."""
        return self._resident.reserved.expected if caches(self.device) else None

    @cached_property
    def _resident(self) -> Resident:
        return resident(lifetimes(self.program), self.device)

    def screen(self, *, width: int | None = None, color: bool = False) -> str:
        """What `weigh measure` prints."""
        return drawn.measured(
            self.program,
            self.measured,
            self.predicted,
            self.predicted_bytes,
            self.predicted_reserved_bytes,
            width=width,
            color=color,
        )

    def __str__(self) -> str:
        return self.screen()

    def to_dict(self) -> dict[str, Json]:
        """The figures as plain data."""
        found, time = self.measured, self.predicted
        record: dict[str, Json] = {
            "network": self.program.network,
            "source": self.program.source,
            "mode": self.program.workload.mode,
            "batch": self.program.workload.batch,
            "measured": {
                "seconds": found.seconds,
                "low_s": found.low_s,
                "high_s": found.high_s,
                "steps": found.steps,
                "undisturbed": found.undisturbed,
                "peak_bytes": found.peak_bytes,
                "reserved_bytes": found.reserved_bytes,
            },
            "predicted_peak_bytes": self.predicted_bytes,
            "predicted_reserved_bytes": self.predicted_reserved_bytes,
        }
        if isinstance(time, StepTime):
            seconds = time.seconds
            record["predicted"] = {
                "seconds": seconds.value,
                "low_s": seconds.low,
                "high_s": seconds.high,
                "basis": seconds.basis,
            }
        return record

    def to_json(self) -> str:
        """The figures as JSON."""
        return json.render(self.to_dict())


def _need_torch(what: str) -> None:
    if find_spec("torch") is None:
        raise UsageError(
            f"a {what} runs kernels of PyTorch, which is not installed",
            "try: pip install 'weighbridge[torch]'",
        )


def _runnable(
    model: str | Module | Callable[..., object],
) -> str | Module | Callable[..., object]:
    """A network of the zoo as torchvision has it: the zoo only describes."""
    if isinstance(model, Program):
        raise UsageError(
            "a Program is a description, and PyTorch has nothing to run",
            "give what it was made from: a name, a module or file.py:Name",
        )
    if not isinstance(model, str):
        return model
    name = model.removeprefix("zoo:")
    if not frontends.has("zoo", name):
        return model
    for frontend in ("torchvision", "timm"):
        if frontends.has(frontend, name):
            return f"{frontend}:{name}"
    return model


def _alternatives(program: Program) -> tuple[str, ...]:
    if program.frontend == "zoo":
        return (
            "neither torchvision nor timm has a network of that name",
            "write it as a module and give file.py:Name",
        )
    return ("write it as a torch.nn.Module and give file.py:Name",)


def _used(caught: Caught, program: Program) -> Caught:
    """The network with the inputs that were used."""
    workload = caught.workload
    inputs = workload.inputs or program.workload.inputs
    return replace(caught, workload=replace(workload, inputs=inputs))
