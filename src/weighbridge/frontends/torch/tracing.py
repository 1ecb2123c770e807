"""Tracing: one step of a network, run on meta and written down."""

from __future__ import annotations

import contextlib
import gc
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ...errors import UsageError, WeighError
from ...program import Module, Program
from ...program import Tensor as Record
from ...workload import Workload
from ..hf import full_sequences
from .failures import explain
from .inputs import DTYPES, Arguments, Examples, arguments
from .interception import Interception
from .loss import loss_of
from .optimizers import prepare
from .recording import DTYPE_NAMES, Recorder
from .scopes import Scopes
from .twin import Names, meta_twin, names_of

Network = Callable[..., object]


def trace_model(
    model: nn.Module | Network,
    workload: Workload,
    *,
    network: str,
    source: str,
    frontend: str,
    examples: Examples | None,
) -> Program:
    """See :func:`weighbridge.frontends.torch.trace`."""
    with _process_untouched(), full_sequences():
        twin = meta_twin(model) if isinstance(model, nn.Module) else model
        workload = _in_its_dtype(twin, workload)
        given = arguments(twin, workload, network, examples)
        if isinstance(twin, nn.Module):
            twin.train(workload.training)
            _materialise(twin, given)
        return _Step(twin, given).program(network=network, source=source, frontend=frontend)


class _Step:
    """One step of a network: forward, and in training loss, backward and update."""

    def __init__(self, model: nn.Module | Network, given: Arguments) -> None:
        self.model = model
        self.given = given
        self.workload = given.workload
        self.module = model if isinstance(model, nn.Module) else None
        self.scopes = Scopes(self.module)
        self.recorder = Recorder(self.scopes)
        self.interception = Interception(self.recorder, adopting=self.module is None)
        self.names = (
            names_of(self.module)
            if self.module is not None
            else Names(
                parameters=self.interception.parameters,
                buffers=self.interception.buffers,
                aliases={},
            )
        )
        self.targets: list[Tensor] = []
        self.doing = "forward"

    def program(self, *, network: str, source: str, frontend: str) -> Program:
        """Runs the step and returns it.

        Raises:
            WeighError: the network failed.
        """
        recorder = self.recorder
        self._declared()
        try:
            with self.scopes.watching():
                output = self._run()
                # What lives now outlives the step: it is described before anything lets go of it.
                outputs = tuple(
                    recorder.tensor(tensor) for tensor in _tensors(output) if _recorded(tensor)
                )
        except Exception as error:
            raise explain(
                error,
                doing=self.doing,
                scope=self._where(error),
                failed=recorder.failed_in(error),
                given=self.given.text,
            ) from error
        made_up = tuple(recorder.tensor(tensor) for tensor in self.targets)
        storages = recorder.storages()
        gradients = frozenset(
            recorder.tensor(tensor.grad).storage
            for tensor in self.names.parameters.values()
            if tensor.grad is not None
        )
        if gradients:
            recorder.becomes(gradients, "gradient")
        parameters, buffers, inputs = self._declared()
        return Program(
            network=network,
            source=source,
            frontend=frontend,
            rung="meta",
            workload=self.workload,
            ops=tuple(recorder.ops),
            storages=storages,
            modules=_modules(self.scopes.modules),
            parameters=parameters,
            buffers=buffers,
            inputs=(*inputs, *made_up),
            outputs=outputs,
            aliases=self.names.aliases,
            warnings=self._warnings(),
        )

    def _declared(self) -> tuple[tuple[Record, ...], tuple[Record, ...], tuple[Record, ...]]:
        """Parameters, buffers and inputs: what is there before the step begins."""
        declare = self.recorder.declare
        return (
            tuple(
                declare(tensor, "parameter", name=name, trainable=tensor.requires_grad)
                for name, tensor in self.names.parameters.items()
            ),
            tuple(
                declare(tensor, "buffer", name=name) for name, tensor in self.names.buffers.items()
            ),
            tuple(
                declare(tensor, "input", name=name, trainable=tensor.requires_grad)
                for name, tensor in self.given.tensors.items()
            ),
        )

    def _run(self) -> object:
        if not self.workload.training:
            with torch.no_grad(), self.recorder, self.interception:
                return self._forward()
        recorder = self.recorder
        with torch.enable_grad(), recorder:
            with self.interception:
                output = self._forward()
                self.doing = "the loss"
                with self.scopes.within("loss"):
                    loss = loss_of(output, self.workload.loss, self._targets)
            self._backward(loss)
            if self.workload.optimizer is not None:
                self.doing = "the optimizer's step"
                step = prepare(recorder, self.workload.optimizer, self.names.parameters)
                recorder.phase = "update"
                step()
        return output

    def _forward(self) -> object:
        return self.model(*self.given.positional, **self.given.named)

    def _targets(self, shape: tuple[int, ...]) -> Tensor:
        with self.recorder.muted():
            targets = torch.empty(shape, dtype=torch.int64, device="meta")
        self.targets.append(targets)
        self.recorder.declare(targets, "input", name="targets")
        return targets

    def _backward(self, loss: Tensor) -> None:
        if not loss.requires_grad:
            raise WeighError(
                "there is nothing to train: the network's output depends on no trainable parameter",
                "weigh it without --train",
            )
        self.doing = "backward"
        self.recorder.phase = "backward"
        with self.scopes.within("loss"):
            seed = torch.ones_like(loss)  # d loss / d loss
        loss.backward(seed)  # type: ignore[no-untyped-call]

    def _where(self, error: Exception) -> str:
        scope = self.scopes.raised_in(error)
        module = self.scopes.modules.get(scope)
        return scope if not scope or module is None else f"{scope} ({type(module).__name__})"

    def _warnings(self) -> tuple[str, ...]:
        rate = self.interception.attention_dropout
        if not rate:
            return ()
        return (
            f"attention drops out at rate {rate:g} inside its kernel: counted without the dropout",
        )


def _in_its_dtype(model: nn.Module | Network, workload: Workload) -> Workload:
    """Casts the network to the workload's dtype; float32, the default, leaves it as its author made it.

    Raises:
        UsageError: the dtype is none that PyTorch computes in.
    """
    dtype = DTYPES.get(workload.dtype)
    if dtype is None or not dtype.is_floating_point or dtype.itemsize < 2:
        raise UsageError(
            f"PyTorch does not run networks in {workload.dtype}",
            "it runs in: float64, float32, bfloat16, float16",
            "what the weights take in every precision is shown without running in it",
        )
    if not isinstance(model, nn.Module):
        return workload
    if workload.dtype != "float32":
        model.to(dtype)
        return workload
    own = next((p.dtype for p in model.parameters() if p.is_floating_point()), dtype)
    return replace(workload, dtype=DTYPE_NAMES[own])


def _materialise(model: nn.Module, given: Arguments) -> None:
    """Lazy modules learn their shapes from a first forward, which is not written down."""
    if not any(is_lazy(tensor) for tensor in (*model.parameters(), *model.buffers())):
        return
    scopes = Scopes(model)
    recorder = Recorder(scopes)
    try:
        with torch.no_grad(), scopes.watching(), recorder, Interception(recorder):
            model(*given.positional, **given.named)
    except Exception as error:
        raise explain(
            error,
            doing="forward",
            scope=scopes.raised_in(error),
            failed=recorder.failed_in(error),
            given=given.text,
        ) from error


def _modules(modules: Mapping[str, nn.Module]) -> tuple[Module, ...]:
    return tuple(
        Module(scope=name, kind=type(module).__name__, detail=_detail(module))
        for name, module in modules.items()
    )


def _detail(module: nn.Module) -> str:
    try:
        return module.extra_repr()
    except Exception:  # a broken repr is no reason not to weigh
        return ""


def _tensors(output: Any) -> Iterator[Tensor]:
    """The tensors in what a network returned."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, dict):
        for value in output.values():
            yield from _tensors(value)
    elif isinstance(output, list | tuple):
        for value in output:
            yield from _tensors(value)


def _recorded(tensor: Tensor) -> bool:
    return tensor.device.type == "meta"


@contextlib.contextmanager
def _process_untouched() -> Iterator[None]:
    """Leaves random numbers, modes, the default dtype and the collector as they were.

    The collector is off while tracing: it would free storages at moments of its own.
    """
    collecting = gc.isenabled()
    generator, chance = torch.get_rng_state(), random.getstate()
    dtype = torch.get_default_dtype()
    fast_path = torch.backends.mha.get_fastpath_enabled()
    gc.disable()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.inference_mode(False):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        torch.set_default_dtype(dtype)
        torch.set_rng_state(generator)
        random.setstate(chance)
        if collecting:
            gc.enable()
