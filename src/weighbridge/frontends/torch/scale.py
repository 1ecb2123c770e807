"""The scale: whatever PyTorch code runs while it is entered, written down as it runs.

Unlike tracing, nothing is copied and nothing is replaced: the code runs as it would anyway, on tensors
with data or without, and every operator is noted as it passes the dispatcher. What a tensor is *for* is seen
as it turns up: a parameter is an `nn.Parameter`, a module's buffer has a name, what was there before and is
neither is an input. An optimizer's step is known by PyTorch's own hooks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor as Values
from torch import nn
from torch.nn import functional
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.overrides import TorchFunctionMode

from ...program import Module, Program, Tensor
from ...workload import Workload
from .attention import attend, scaled_dot_product_attention
from .experts import grouped_mm, multiply_grouped
from .interception import _replaced_attention
from .recording import Recorder
from .recurrent import NETWORKS, in_the_open, run_whole
from .scopes import Scopes
from .translation.quantisation import unpacked_once
from .wrapped import is_wrapped


class Loaded:
    """What is on the scale: enter it, run anything, leave it, ask for the program.

    Nothing of it stays behind, whether it is left by the end of the block or by an exception.
    """

    def __init__(self) -> None:
        self.recorder = _Watcher(Scopes(None))
        self._stopped = ""
        self._exits = contextlib.ExitStack()

    def enter(self) -> None:
        """Begins to write down what runs."""
        with contextlib.ExitStack() as exits:
            fast_path = torch.backends.mha.get_fastpath_enabled()
            exits.callback(torch.backends.mha.set_fastpath_enabled, fast_path)
            torch.backends.mha.set_fastpath_enabled(False)  # one kernel, whose work nobody sees
            exits.enter_context(unpacked_once())
            exits.enter_context(self.recorder.scopes.watching())
            for handle in (
                register_optimizer_step_pre_hook(self._before_step),
                register_optimizer_step_post_hook(self._after_step),
            ):
                exits.callback(handle.remove)
            exits.enter_context(self.recorder)
            exits.enter_context(_Whole(self.recorder))
            self._exits = exits.pop_all()

    def leave(self, error: BaseException | None) -> None:
        """Stops; `error` is what the block was left by."""
        self._exits.close()
        if error is not None:
            self._stopped = f"stopped by {type(error).__name__}: {error}"

    def _before_step(self, optimizer: Optimizer, *_: object) -> None:
        self.recorder.phase = "update"
        self.recorder.state_of(optimizer)

    def _after_step(self, optimizer: Optimizer, *_: object) -> None:
        self.recorder.state_of(optimizer)
        self.recorder.phase = "forward"

    def program(self, network: str) -> Program:
        """Everything that ran, as one program."""
        recorder = self.recorder
        recorder.take_in_modules()
        for role in ("gradient", "optimizer_state"):
            storages = frozenset(recorder.held[role])
            if storages:
                recorder.becomes(storages, role)
        inputs = tuple(recorder.inputs)
        lead = next((tensor.shape[0] for tensor in inputs if tensor.shape and tensor.shape[0]), 1)
        trains = any(op.phase != "forward" for op in recorder.ops)
        return Program(
            network=network,
            source="python",
            frontend="torch",
            rung="scale",
            workload=Workload(mode="training" if trains else "inference", batch=lead),
            ops=tuple(recorder.ops),
            storages=recorder.storages(),
            modules=tuple(
                Module(scope=name, kind=type(module).__name__, detail=_detail(module))
                for name, module in recorder.scopes.modules.items()
            ),
            parameters=tuple(recorder.parameters.values()),
            buffers=tuple(recorder.buffers.values()),
            inputs=inputs,
            warnings=(self._stopped,) if self._stopped else (),
            complete=not self._stopped,
        )


class _Watcher(Recorder):  # type: ignore[no-untyped-call]
    """Writes down operators on whatever device, and names tensors as they turn up."""

    def __init__(self, scopes: Scopes) -> None:
        super().__init__(scopes)
        self.parameters: dict[int, Tensor] = {}
        self.buffers: dict[int, Tensor] = {}
        self.inputs: list[Tensor] = []
        self.held: dict[str, set[int]] = {"gradient": set(), "optimizer_state": set()}

    def _record(
        self, how: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: object
    ) -> None:
        # The network lives wherever this operator's tensors do: all of them are weighed.
        self.home = _device(result) or _device(args) or self.home
        super()._record(how, args, kwargs, result)

    def tensor(self, values: Values) -> Tensor:
        """The record of a tensor that an operator reads; one that was there before is given a name."""
        return super().tensor(values) if self.knows(values) else self._met(values)

    def _met(self, values: Values) -> Tensor:
        name = self.scopes.tensor_names.get(id(values), "")
        if isinstance(values, nn.Parameter) or id(values) in self.scopes.weights:
            return self._parameter(values, name or f"parameter_{len(self.parameters)}")
        if name:
            record = self.declare(values, "buffer", name=name)
            self.buffers[record.id] = record
            return record
        record = self.declare(values, "input", name=f"input_{len(self.inputs)}")
        self.inputs.append(record)
        return record

    def _parameter(self, values: Values, name: str) -> Tensor:
        record = self.declare(
            values, "parameter", name=name, trainable=values.requires_grad, owner=_owner(name)
        )
        self.parameters[record.id] = record
        return record

    def take_in_modules(self) -> None:
        """Counts what the modules that ran hold and no operator has read."""
        for scope, module in self.scopes.modules.items():
            prefix = f"{scope}." if scope else ""
            for name, values in module.named_parameters(recurse=False):
                if is_wrapped(values):
                    continue  # what it is made of is seen when it is used
                if not self.knows(values):
                    self._parameter(values, prefix + name)
                if values.grad is not None:
                    self._hold("gradient", values.grad)
            for name, buffer in module.named_buffers(recurse=False):
                if not self.knows(buffer):
                    record = self.declare(buffer, "buffer", name=prefix + name)
                    self.buffers[record.id] = record

    def state_of(self, optimizer: Optimizer) -> None:
        """What an optimizer reads and keeps: whose gradients and states they are."""
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                owner = _owner(self.tensor(parameter).name or "")
                self.own(parameter, owner)
                if parameter.grad is not None:
                    self._hold("gradient", parameter.grad)
                    self.own(parameter.grad, owner)
                for state in optimizer.state.get(parameter, {}).values():
                    if isinstance(state, Values):
                        self._hold("optimizer_state", state)
                        self.own(state, owner)

    def _hold(self, role: str, values: Values) -> None:
        storage = self.storage(values)
        if storage is None:  # it was there before
            record = self.declare(values, "optimizer_state", name=role)
            storage = record.storage
        self.held[role].add(storage)


class _Whole(TorchFunctionMode):
    """Takes whole, on tensors without data, what PyTorch would take apart there."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        """Handles the call, or lets it pass."""
        kwargs = kwargs or {}
        if _device((args, tuple(kwargs.values()))) != "meta":
            recurrent = func in NETWORKS  # with data they are computed, forward and backward
            return in_the_open(func, *args, **kwargs) if recurrent else func(*args, **kwargs)
        if func in NETWORKS:
            return run_whole(self.recorder, "cuda", func, *args, **kwargs)
        if func is scaled_dot_product_attention:
            return attend(self.recorder, "cuda", *args, **kwargs)
        if func is grouped_mm:
            return multiply_grouped(self.recorder, *args, **kwargs)
        if func is functional.multi_head_attention_forward:
            with _replaced_attention(lambda *a, **k: attend(self.recorder, "cuda", *a, **k)):
                return func(*args, **kwargs)
        return func(*args, **kwargs)


def _device(values: object) -> str:
    """The kind of device of the first tensor among the values, '' where there is none."""
    if isinstance(values, Values):
        return values.device.type
    if isinstance(values, list | tuple):
        return next((found for value in values if (found := _device(value))), "")
    return ""


def _owner(name: str) -> str:
    return name.rpartition(".")[0]


def _detail(module: nn.Module) -> str:
    try:
        return module.extra_repr()
    except Exception:  # a broken repr is no reason not to weigh
        return ""
