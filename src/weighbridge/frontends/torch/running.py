"""Running: a network on real data, for the clock and the allocator.

The network is a copy with data, random where nobody gave any, as on the last rung of the ladder. It runs as a training
loop or an inference loop would run it: the model's call, the loss, backward, the optimizer's step, gradients let go of.
Times are taken by a stopwatch. On a GPU PyTorch's allocator keeps its own peaks meanwhile; on the processor two more
rounds of a copy run under PyTorch's profiler, which notes each call of the allocator.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.profiler import record_function
from torch.profiler import ProfilerActivity, profile

from ...errors import UsageError
from ...ops.optimizers import implementation
from ...workload import Backend, Workload
from . import cuda_memory
from .allocations import rounds_of
from .catching import Caught
from .inputs import DTYPES, Arguments, arguments
from .loss import loss_of, own_loss
from .optimizers import made
from .process import untouched
from .rungs import SEED, SHARE, Real, available_bytes
from .stopwatch import Sample, Stopwatch, stopwatch, threads, without_collector

DeviceKind = Literal["cpu", "cuda", "mps"]
"""What PyTorch calls the kinds of devices that a network is run on."""

WARM_UPS = 3
"""Steps that are not counted: the first one makes states, and the heap settles over the next."""

FEWEST, MOST = 5, 60
SECONDS = 8.0
"""Steps are repeated for so long, at least FEWEST and at most MOST times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The allocator's peak, and on a GPU what it held of the device for that."""

    peak_bytes: int
    reserved_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What was measured: each step's sample in order, and the memory, None where nobody reads it."""

    samples: tuple[Sample, ...]
    memory: Held | None


def run(
    network: Caught,
    *,
    device: DeviceKind = "cpu",
    warm_ups: int = WARM_UPS,
    seconds: float = SECONDS,
    memory: bool = True,
    watch: Stopwatch | None = None,
) -> Ran:
    """Runs a network's step for real on this machine's processor, or on its first GPU.

    Raises:
        UsageError: its optimizer is none that PyTorch has.
        WeighError: it would not fit into the memory that is free, or the run failed.
    """
    watch = watch or stopwatch(device)
    with untouched(), without_collector(), threads(network.workload.threads):
        torch.default_generator.manual_seed(SEED)
        if device == "cuda":
            cuda_memory.forget()
        step = step_of(network, device)
        for _ in range(warm_ups):
            step()
        samples: list[Sample] = []
        while len(samples) < FEWEST or (
            len(samples) < MOST and sum(sample.seconds for sample in samples) < seconds
        ):
            samples.append(watch.sample(step))
        found = _held(network, device) if memory else None
        del step
    return Ran(samples=tuple(samples), memory=found)


def _held(network: Caught, device: DeviceKind) -> Held | None:
    if device == "cuda":
        seen = cuda_memory.seen()
        return Held(peak_bytes=seen.allocated_bytes, reserved_bytes=seen.reserved_bytes)
    return Held(peak_bytes=_allocated(network)) if device == "cpu" else None


def _allocated(network: Caught) -> int:
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        step = step_of(network)
        for index in range(2):
            with record_function(f"round {index}"):
                step()
    return rounds_of(profiled)[-1].peak_bytes


def step_of(network: Caught, device: DeviceKind = "cpu") -> Callable[[], None]:
    """The body of the loop, on a copy of the network with data; it keeps the last output, as a loop's variables do.

    Raises:
        UsageError: it trains, and nobody says by which rule, or by one that PyTorch has not.
    """
    workload = network.workload
    if workload.training and workload.optimizer is None:
        raise UsageError("a training step without an optimizer is not run", "name one: --train sgd")
    if workload.precision == "tf32":
        torch.set_float32_matmul_precision("high")  # whoever calls puts it back: `untouched`
    limit = available_bytes()
    dtype = None if workload.dtype == "float32" else DTYPES[workload.dtype]
    rung = Real(network.model, int(SHARE * limit) if limit is not None else 2**62, device, dtype)
    model = network.model
    if isinstance(model, nn.Module):
        model = rung.twin(model)
        model.train(workload.training)
        if dtype is not None:
            model.to(dtype)  # what is neither parameter nor buffer
        if workload.layout == "channels-last":
            model.to(memory_format=torch.channels_last)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(workload.trains(name))
    given = arguments(model, workload, network.network, network.examples, rung)
    if workload.compiled:
        model = torch.compile(model)
    return (
        _training(model, given, device) if workload.training else _inference(model, given, device)
    )


def _inference(
    model: Callable[..., object], given: Arguments, device: DeviceKind
) -> Callable[[], None]:
    held: list[object] = [None]

    def step() -> None:
        gradients = torch.no_grad() if given.workload.no_grad else nullcontext()
        with gradients, _precision(given.workload, device):
            held[0] = model(*given.positional, **given.named)

    return step


def _training(
    model: Callable[..., object], given: Arguments, device: DeviceKind
) -> Callable[[], None]:
    workload = given.workload
    assert workload.optimizer is not None
    parameters = model.parameters() if isinstance(model, nn.Module) else ()
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    backend: Backend = "cpu" if device == "cpu" else "cuda"
    optimizer = made(workload.optimizer, implementation(workload.optimizer, backend), trained)
    scaler = torch.amp.GradScaler(device, enabled=workload.autocast == "float16")
    held: list[object] = [None, None]

    def targets(shape: tuple[int, ...]) -> Tensor:
        return torch.zeros(shape, dtype=torch.int64, device=device)

    def like(output: Tensor, classes: bool) -> Tensor:
        if classes:
            return targets((output.shape[0], *output.shape[2:]))
        return torch.zeros_like(output, requires_grad=False)

    def loss(output: object) -> Tensor:
        if workload.own_loss is None:
            return loss_of(output, workload.loss, targets)
        return own_loss(workload.own_loss, output, like)

    def step() -> None:
        optimizer.zero_grad(set_to_none=workload.set_to_none)
        for _ in range(workload.accumulation):
            with _precision(workload, device):
                held[0] = model(*given.positional, **given.named)
                held[1] = value = loss(held[0])
            scaler.scale(value).backward()  # type: ignore[no-untyped-call]
        scaler.step(optimizer)
        scaler.update()

    return step


def _precision(workload: Workload, device: DeviceKind) -> Any:
    if workload.autocast is None:
        return nullcontext()
    return torch.autocast(device, DTYPES[workload.autocast])
