"""Optimizers: PyTorch's own step where PyTorch has the rule, one operator of ours where it has not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import UsageError
from ...ops.optimizers import implementation, optimizer_states, update
from ...workload import Backend, Implementation, Optimizer
from .failures import first_line, user_lines
from .recording import Recorder

CLASSES: Mapping[str, str] = {
    "sgd": "SGD",
    "adagrad": "Adagrad",
    "rmsprop": "RMSprop",
    "adam": "Adam",
    "adamw": "AdamW",
    "nadam": "NAdam",
    "radam": "RAdam",
    "adamax": "Adamax",
    "adadelta": "Adadelta",
    "rprop": "Rprop",
    "asgd": "ASGD",
    "adafactor": "Adafactor",
}
"""Rules that `torch.optim` has, by the class that runs them."""

RATE = 0.01
"""Any learning rate other than 0 and 1 runs the same operators."""


STEPS = 1000.0
"""How many steps were taken before the one that is recorded: RAdam's first ones are unlike the others."""

_ON_THE_HOST = frozenset({"step", "mu_product"})
"""State that PyTorch keeps on the host: how often a parameter was updated. A fused kernel reads it."""


def prepare(
    recorder: Recorder,
    chosen: Optimizer,
    parameters: Mapping[str, nn.Parameter],
    backend: Backend,
) -> Callable[[], None]:
    """The optimizer's step, to be called when gradients are there; its state is as earlier steps left it.

    State is declared for every trainable parameter; an operator that reads it shows that it is used.

    Raises:
        UsageError: there is no such optimizer, or it is not implemented so.
    """
    trained = {name: tensor for name, tensor in parameters.items() if tensor.requires_grad}
    if chosen.make is None:
        how = implementation(chosen, backend)
        if chosen.name not in CLASSES:
            return partial(_ours, recorder, chosen, trained)
        make = partial(_torch_optimizer, chosen, how)
    else:
        make = partial(_own_optimizer, chosen.name, chosen.make)
    if not trained:
        return _nothing
    kernels = _kernels_on(recorder.home, backend)
    with recorder.muted(), recorder.stepping(), kernels:
        optimizer = make(list(trained.values()))
        _take_first_step(optimizer, trained.values(), alike=chosen.make is None)
    fused = any(group.get("fused") for group in optimizer.param_groups)
    on_the_host = frozenset() if fused else _ON_THE_HOST
    for name, tensor in trained.items():
        owner = name.rpartition(".")[0]
        for key, state in optimizer.state[tensor].items():
            if not isinstance(state, Tensor) or state.device.type != recorder.home:
                continue
            if key in on_the_host:
                recorder.leave_to_host(state)
            else:
                recorder.declare(state, "optimizer_state", name=f"{name}.{key}", owner=owner)
    return partial(_theirs, recorder, optimizer, trained, backend)


def made(
    chosen: Optimizer, how: Implementation, trained: list[nn.Parameter]
) -> torch.optim.Optimizer:
    """PyTorch's optimizer, or the user's own.

    Raises:
        UsageError: PyTorch has none of that name.
    """
    if chosen.make is not None:
        return _own_optimizer(chosen.name, chosen.make, trained)
    if chosen.name not in CLASSES:
        raise UsageError(
            f"PyTorch has no optimizer {chosen.name!r} that could be run here",
            f"it has: {', '.join(CLASSES)}",
        )
    return _torch_optimizer(chosen, how, trained)


def _torch_optimizer(
    chosen: Optimizer, how: Implementation, trained: list[nn.Parameter]
) -> torch.optim.Optimizer:
    kind = getattr(torch.optim, CLASSES[chosen.name])
    given = {"fused": True} if how == "fused" else {"foreach": how == "foreach"}
    made: torch.optim.Optimizer = kind(trained, lr=RATE, **given, **chosen.settings)
    return made


def _own_optimizer(
    name: str, make: Callable[..., object], trained: list[nn.Parameter]
) -> torch.optim.Optimizer:
    """What the user makes of the parameters, which chooses its implementation as on the backend.

    Raises:
        UsageError: it rejects its arguments, or is no optimizer.
    """
    try:
        made = make(trained)
    except Exception as error:
        raise UsageError(
            f"{name} makes no optimizer of {len(trained)} parameters: {first_line(error)}",
            *user_lines(error.__traceback__),
        ) from error
    if not isinstance(made, torch.optim.Optimizer):
        raise UsageError(
            f"{name} makes {type(made).__name__} of parameters, and a torch.optim.Optimizer is wanted",
            "give a function of the parameters: train=lambda params: torch.optim.SGD(params, lr=0.1)",
        )
    return made


@contextmanager
def _kernels_on(device: str, backend: Backend) -> Iterator[None]:
    """Lets PyTorch's optimizers choose on a device without kernels as they do on the backend."""
    module: Any = import_module("torch.optim.optimizer")
    fused = module._get_fused_kernels_supported_devices
    foreach = module._get_foreach_kernels_supported_devices
    module._get_fused_kernels_supported_devices = lambda: [*fused(), device]
    if backend == "cuda":
        module._get_foreach_kernels_supported_devices = lambda: [*foreach(), device]
    try:
        yield
    finally:
        module._get_fused_kernels_supported_devices = fused
        module._get_foreach_kernels_supported_devices = foreach


def _take_first_step(
    optimizer: torch.optim.Optimizer, trained: Iterable[nn.Parameter], *, alike: bool
) -> None:
    """The first step makes the state and is like no other: it is taken before the one recorded.

    Where the rule treats all parameters `alike`, those of the same shape, strides and dtype have the same
    state, so that one of them steps for all. A user's own rule may not: its groups have settings of their own.
    """
    held = [(tensor, tensor.grad) for tensor in trained]
    first: dict[object, nn.Parameter] = {}
    for tensor, _ in held:
        tensor.grad = None
        first.setdefault(_layout(tensor) if alike else id(tensor), tensor)
    for tensor in first.values():
        tensor.grad = torch.empty_like(tensor)
    optimizer.step()
    for tensor, gradient in held:
        tensor.grad = gradient
        example = first[_layout(tensor) if alike else id(tensor)]
        if tensor is not example:
            optimizer.state[tensor] = {
                key: state.clone() if isinstance(state, Tensor) else state
                for key, state in optimizer.state[example].items()
            }
        count = optimizer.state[tensor].get("step")
        if isinstance(count, Tensor) and not count.is_meta:
            count.fill_(STEPS)


def _layout(tensor: Tensor) -> tuple[object, ...]:
    return tensor.shape, tensor.stride(), tensor.dtype


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
    recorder: Recorder,
    optimizer: torch.optim.Optimizer,
    trained: Mapping[str, nn.Parameter],
    backend: Backend,
) -> None:
    _own_gradients(recorder, trained)
    with recorder.stepping(), _kernels_on(recorder.home, backend):
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
