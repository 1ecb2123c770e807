"""Optimizers: PyTorch's own step where PyTorch has the rule, one operator of ours where it has not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from ...errors import UsageError
from ...ops.optimizers import UPDATES, optimizer_states, update
from ...workload import Optimizer
from .recording import Recorder

CLASSES: Mapping[str, str] = {
    "sgd": "SGD",
    "adagrad": "Adagrad",
    "rmsprop": "RMSprop",
    "adam": "Adam",
    "adamw": "AdamW",
    "adafactor": "Adafactor",
}
"""Rules that `torch.optim` has, by the class that runs them."""

RATE = 0.01
"""Any learning rate other than 0 and 1 runs the same operators."""


_ON_THE_HOST = frozenset({"step", "mu_product"})
"""State that PyTorch keeps on the host: how often a parameter was updated."""


def prepare(
    recorder: Recorder, chosen: Optimizer, parameters: Mapping[str, nn.Parameter]
) -> Callable[[], None]:
    """The optimizer's step, to be called when gradients are there; its state is as earlier steps left it.

    State is declared for every trainable parameter; an operator that reads it shows that it is used.

    Raises:
        UsageError: there is no such optimizer.
    """
    if chosen.name not in UPDATES:
        raise UsageError(f"no optimizer is called {chosen.name!r}")
    trained = {name: tensor for name, tensor in parameters.items() if tensor.requires_grad}
    if chosen.name not in CLASSES:
        return partial(_ours, recorder, chosen, trained)
    if not trained:
        return _nothing
    optimizer = _torch_optimizer(chosen, trained.values())
    with recorder.muted(), recorder.stepping():
        _take_first_step(optimizer, trained.values())
    for name, tensor in trained.items():
        owner = name.rpartition(".")[0]
        for key, state in optimizer.state[tensor].items():
            if not isinstance(state, Tensor) or state.device.type != recorder.home:
                continue
            if key in _ON_THE_HOST:
                recorder.leave_to_host(state)
            else:
                recorder.declare(state, "optimizer_state", name=f"{name}.{key}", owner=owner)
    return partial(_theirs, recorder, optimizer, trained)


def _torch_optimizer(chosen: Optimizer, trained: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    # One parameter after the other, as the rules count them and as CPUs run them.
    make = getattr(torch.optim, CLASSES[chosen.name])
    made: torch.optim.Optimizer = make(list(trained), lr=RATE, foreach=False, **chosen.settings)
    return made


def _take_first_step(optimizer: torch.optim.Optimizer, trained: Iterable[nn.Parameter]) -> None:
    """The first step makes the state and is like no other: it is taken before the one recorded."""
    held = [(tensor, tensor.grad) for tensor in trained]
    for tensor, _ in held:
        tensor.grad = torch.empty_like(tensor)
    optimizer.step()
    for tensor, gradient in held:
        tensor.grad = gradient


def _nothing() -> None:
    """The step of a network without trainable parameters."""


def _own_gradients(recorder: Recorder, trained: Mapping[str, nn.Parameter]) -> None:
    """Says whose gradient each is, so that what an update makes on the way has a module."""
    for name, tensor in trained.items():
        owner = name.rpartition(".")[0]
        recorder.own(tensor, owner)
        if tensor.grad is not None:
            recorder.own(tensor.grad, owner)


def _theirs(
    recorder: Recorder, optimizer: torch.optim.Optimizer, trained: Mapping[str, nn.Parameter]
) -> None:
    _own_gradients(recorder, trained)
    with recorder.stepping():
        optimizer.step()


def _ours(recorder: Recorder, chosen: Optimizer, trained: Mapping[str, nn.Parameter]) -> None:
    """Lion and 8-bit Adam, which PyTorch has not: one operator a parameter, as the rule has it."""
    for name, tensor in trained.items():
        if tensor.grad is None:
            continue
        parameter = recorder.tensor(tensor)
        states = tuple(
            recorder.declare_state(state.shape, state.dtype, name=f"{name}.{state.name}")
            for state in optimizer_states(chosen, parameter.shape, parameter.dtype)
        )
        recorder.ops.append(update(chosen, parameter, recorder.tensor(tensor.grad), states))
