"""Running: a network on real data, for the clock and the allocator.

The network is a copy with data, random where nobody gave any, as on the last rung of the ladder. It runs as a training
loop or an inference loop would run it: the model's call, the loss, backward, the optimizer's step, gradients let go of.
Times are taken first, by a stopwatch; then two more rounds of a copy run under PyTorch's profiler, which notes
each call of the allocator.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.profiler import record_function
from torch.profiler import ProfilerActivity, profile

from ...errors import UsageError
from ...ops.optimizers import implementation
from ...workload import Workload
from .allocations import Round, rounds_of
from .catching import Caught
from .inputs import DTYPES, Arguments, arguments
from .loss import loss_of, own_loss
from .optimizers import made
from .process import untouched
from .rungs import SEED, SHARE, Real, available_bytes
from .stopwatch import Sample, Stopwatch, stopwatch, threads, without_collector

WARM_UPS = 3
"""Steps that are not counted: the first one makes states, and the heap settles over the next."""

FEWEST, MOST = 5, 60
SECONDS = 8.0
"""Steps are repeated for so long, at least FEWEST and at most MOST times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What was measured: each step's sample in order, and the allocator's round, None where nobody reads it."""

    samples: tuple[Sample, ...]
    memory: Round | None


def run(
    network: Caught,
    *,
    warm_ups: int = WARM_UPS,
    seconds: float = SECONDS,
    memory: bool = True,
    watch: Stopwatch | None = None,
) -> Ran:
    """Runs a network's step for real on this machine's processor.

    Raises:
        UsageError: its optimizer is none that PyTorch has.
        WeighError: it would not fit into the memory that is free, or the run failed.
    """
    watch = watch or stopwatch("cpu")
    with untouched(), without_collector(), threads(network.workload.threads):
        torch.default_generator.manual_seed(SEED)
        step = _loop(network)
        for _ in range(warm_ups):
            step()
        samples: list[Sample] = []
        while len(samples) < FEWEST or (
            len(samples) < MOST and sum(sample.seconds for sample in samples) < seconds
        ):
            samples.append(watch.sample(step))
        del step
        found = _allocated(network) if memory and watch.name == "cpu" else None
    return Ran(samples=tuple(samples), memory=found)


def _allocated(network: Caught) -> Round | None:
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        step = _loop(network)
        for index in range(2):
            with record_function(f"round {index}"):
                step()
    return rounds_of(profiled)[-1]


def _loop(network: Caught) -> Callable[[], None]:
    """The body of the loop, on a copy of the network with data; it keeps the last output, as a loop's variables do."""
    workload = network.workload
    if workload.training and workload.optimizer is None:
        raise UsageError("a training step without an optimizer is not run", "name one: --train sgd")
    limit = available_bytes()
    rung = Real(network.model, int(SHARE * limit) if limit is not None else 2**62)
    model = network.model
    if isinstance(model, nn.Module):
        model = rung.twin(model)
        model.train(workload.training)
        if workload.dtype != "float32":
            model.to(DTYPES[workload.dtype])
        if workload.layout == "channels-last":
            model.to(memory_format=torch.channels_last)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(workload.trains(name))
    given = arguments(model, workload, network.network, network.examples, rung)
    if workload.compiled:
        model = torch.compile(model)
    return _training(model, given) if workload.training else _inference(model, given)


def _inference(model: Callable[..., object], given: Arguments) -> Callable[[], None]:
    held: list[object] = [None]

    def step() -> None:
        gradients = torch.no_grad() if given.workload.no_grad else nullcontext()
        with gradients, _precision(given.workload):
            held[0] = model(*given.positional, **given.named)

    return step


def _training(model: Callable[..., object], given: Arguments) -> Callable[[], None]:
    workload = given.workload
    assert workload.optimizer is not None
    parameters = model.parameters() if isinstance(model, nn.Module) else ()
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    optimizer = made(workload.optimizer, implementation(workload.optimizer, "cpu"), trained)
    held: list[object] = [None, None]

    def targets(shape: tuple[int, ...]) -> Tensor:
        return torch.zeros(shape, dtype=torch.int64)

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
            with _precision(workload):
                held[0] = model(*given.positional, **given.named)
                held[1] = value = loss(held[0])
            value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def _precision(workload: Workload) -> Any:
    if workload.autocast is None:
        return nullcontext()
    return torch.autocast("cpu", DTYPES[workload.autocast])
