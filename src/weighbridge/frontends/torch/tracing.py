"""Tracing: one step of a network, run and written down, on the lowest rung of the ladder that carries it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import _engine_run_backward
from torch.nn.parameter import is_lazy

from ...accumulation import as_the_loop_has_it
from ...errors import UsageError, WeighError
from ...program import Module, Program
from ...program import Tensor as Record
from ...units import memory, percent
from ...workload import Workload
from .autocast import Autocast, autocast_restored
from .compiled import uncompiled
from .failures import OWN_DATA, NeedsDataError, explain
from .flex import on_any_device
from .inputs import DTYPES, Arguments, Examples, arguments
from .interception import Interception
from .kernels import named_kernels
from .known import Known
from .loss import loss_of, own_loss
from .nested import without_nested_tensors
from .optimizers import prepare
from .own_rules import check_rules
from .process import untouched
from .recording import DTYPE_NAMES, Recorder
from .rungs import META, SEED, SHARE, Real, Rung, available_bytes, peak
from .scaler import Scaler
from .scopes import Scopes
from .sequences import full_sequences
from .translation.quantisation import unpacked_once
from .twin import Names, names_of

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
    asked_for = _Asked(
        model=model,
        workload=workload,
        network=network,
        source=source,
        frontend=frontend,
        examples=examples,
    )
    check_rules()
    with (
        untouched(),
        autocast_restored(),
        full_sequences(),
        uncompiled(),
        on_any_device(),
        without_nested_tensors(),
        unpacked_once(),
    ):
        for rung in (META, Known()):
            step: _Step | None = None
            try:
                step = asked_for.step(rung)
                return step.program(asked_for)
            except NeedsDataError as error:
                refusal = error
        needed = 0 if step is None else step.bytes_seen
        real = Real(model, _limit(needed, refusal))
        return _on_real_data(asked_for, real, refusal)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What was asked for: the network, how it is used and what it is called."""

    model: nn.Module | Network
    workload: Workload
    network: str
    source: str
    frontend: str
    examples: Examples | None

    def step(self, rung: Rung) -> _Step:
        """The step on a rung, ready to run."""
        model = self.model
        twin = rung.twin(model) if isinstance(model, nn.Module) else model
        workload = _in_its_dtype(twin, self.workload)
        given = arguments(twin, workload, self.network, self.examples, rung)
        if isinstance(twin, nn.Module):
            twin.train(workload.training)
            _materialise(twin, given, rung)
            _freeze(twin, workload)
        return _Step(twin, given, rung)


def _on_real_data(asked_for: _Asked, rung: Real, refusal: NeedsDataError) -> Program:
    """The step on the last rung.

    Raises:
        WeighError: it failed before anything ran.
    """
    torch.default_generator.manual_seed(SEED)  # put back as it was by who called
    program = asked_for.step(rung).program(asked_for)
    why = (
        f"{refusal.asked} asks for values: run on data, random where none was given, "
        "and what is counted depends on them"
    )
    return replace(program, warnings=(why, *program.warnings))


def _limit(needed: int, refusal: NeedsDataError) -> int:
    """Bytes that real data may take.

    Raises:
        WeighError: what is needed is more.
    """
    free = available_bytes()
    if free is None:
        return sys.maxsize
    limit = int(SHARE * free)
    if needed > limit:
        raise refusal.with_hint(
            f"with data it would take at least {memory(needed)}, and it may take {memory(limit)}: "
            f"{percent(SHARE)} of the memory that is free",
            "make the batch or the input smaller",
        )
    return limit


class _Step:
    """One step of a network: forward, and in training loss, backward and update."""

    def __init__(self, model: nn.Module | Network, given: Arguments, rung: Rung) -> None:
        self.model = model
        self.given = given
        self.workload = given.workload
        self.module = model if isinstance(model, nn.Module) else None
        self.scopes = Scopes(self.module)
        self.rung = rung
        self.recorder = _recorder(self.scopes, rung)
        self.autocast = Autocast(self.workload.backend, rung.device.type)
        self.interception = Interception(
            self.recorder,
            rung=rung,
            adopting=self.module is None,
            backend=self.workload.backend,
            lowered=self.autocast.lowered,
        )
        self.names = (
            names_of(self.module)
            if self.module is not None
            else Names(
                parameters=self.interception.parameters,
                buffers=self.interception.buffers,
                aliases={},
                weights={},
            )
        )
        self.targets: list[Tensor] = []
        self.doing = "forward"

    @property
    def bytes_seen(self) -> int:
        """The most that lived at once in a step that stopped, and the gradients that it had not come to."""
        trained = self.names.parameters.values() if self.workload.training else ()
        gradients = sum(p.nbytes for p in trained if p.requires_grad and p.grad is None)
        return peak(self.recorder.storages()) + gradients

    def program(self, asked_for: _Asked) -> Program:
        """Runs the step and returns it; with data, as far as it came.

        Raises:
            WeighError: the network failed: without data anywhere, with data before anything ran.
        """
        recorder = self.recorder
        self._declared()
        outputs: tuple[Record, ...] = ()
        stopped: tuple[str, ...] = ()
        try:
            with self.scopes.watching(), self.autocast.followed(), named_kernels(recorder):
                output = self._run()
                # What lives now outlives the step: it is described before anything lets go of it.
                outputs = tuple(
                    recorder.tensor(tensor)
                    for tensor in _tensors(output)
                    if tensor.device == self.rung.device
                )
        except Exception as error:
            failure = explain(
                error,
                doing=self.doing,
                scope=self._where(error),
                failed=recorder.failed_in(error),
                given=self.given.text,
                with_data=self.rung.with_data,
            )
            if not self.rung.with_data or not recorder.ops:
                raise failure from error
            told = ": ".join((failure.message, *failure.hints[:1]))
            stopped = (told, *(hint for hint in failure.hints if hint == OWN_DATA))
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
        program = Program(
            network=asked_for.network,
            source=asked_for.source,
            frontend=asked_for.frontend,
            rung=self.rung.name,
            workload=self.workload,
            ops=tuple(recorder.ops),
            storages=storages,
            modules=_modules(self.scopes.modules),
            parameters=parameters,
            buffers=buffers,
            inputs=(*inputs, *made_up),
            outputs=outputs,
            aliases=self.names.aliases,
            warnings=(*stopped, *self.interception.remarks),
            complete=not stopped,
        )
        return as_the_loop_has_it(program)

    def _declared(self) -> tuple[tuple[Record, ...], tuple[Record, ...], tuple[Record, ...]]:
        """Parameters, buffers and inputs: what is there before the step begins."""
        declare = self.recorder.declare
        return (
            tuple(
                declare(tensor, "parameter", name=name, trainable=tensor.requires_grad)
                for name, tensor in (*self.names.parameters.items(), *self.names.weights.items())
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
            graph = torch.set_grad_enabled(not self.workload.no_grad)
            with graph, self.recorder, self.interception, self._precision():
                return self._forward()
        recorder = self.recorder
        with torch.enable_grad(), recorder:
            with self.interception:
                with self._precision():
                    output = self._forward()
                    self.doing = "the loss"
                    with self.scopes.within("loss"):
                        loss = self._loss(output)
                scaler = self._scaler()
                if scaler is not None:
                    with self.scopes.within("loss"):
                        loss = scaler.scaled(loss)
                self._backward(loss)  # which may run parts of forward again
            if scaler is not None:
                self.doing = "the scaler's step"
                recorder.phase = "update"
                scaler.unscale(self.names.parameters)
            if self.workload.optimizer is not None:
                self.doing = "the optimizer's step"
                step = prepare(
                    recorder,
                    self.workload.optimizer,
                    self.names.parameters,
                    self.workload.backend,
                )
                recorder.phase = "update"
                step()
        return output

    def _precision(self) -> AbstractContextManager[object]:
        """The region of autocast that forward and loss run in, as PyTorch's recipe has it."""
        if self.workload.autocast is None:
            return nullcontext()
        return torch.autocast(self.workload.backend, DTYPES[self.workload.autocast])

    def _scaler(self) -> Scaler | None:
        scaled = self.workload.autocast == "float16"
        return Scaler(self.recorder, self.rung.device) if scaled else None

    def _loss(self, output: object) -> Tensor:
        if self.workload.own_loss is None:
            return loss_of(output, self.workload.loss, self._targets)
        return own_loss(self.workload.own_loss, output, self._like)

    def _like(self, output: Tensor, classes: bool) -> Tensor:
        """Targets for a function of the user's: class numbers, or as many numbers as the output has."""
        if classes:
            return self._targets((output.shape[0], *output.shape[2:]))
        with self.recorder.muted():
            targets = torch.zeros_like(output, requires_grad=False)
        self.targets.append(targets)
        self.recorder.declare(targets, "input", name="targets")
        return targets

    def _forward(self) -> object:
        return self.model(*self.given.positional, **self.given.named)

    def _targets(self, shape: tuple[int, ...]) -> Tensor:
        with self.recorder.muted():
            # The first class, which there is whatever the number of classes.
            targets = torch.zeros(shape, dtype=torch.int64, device=self.rung.device)
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
        # `loss.backward()` would be intercepted itself, and then nothing of what runs in it.
        _engine_run_backward(
            (loss,), (seed,), False, False, (), allow_unreachable=True, accumulate_grad=True
        )

    def _where(self, error: Exception) -> str:
        scope = self.scopes.raised_in(error)
        module = self.scopes.modules.get(scope)
        return scope if not scope or module is None else f"{scope} ({type(module).__name__})"


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


def _freeze(model: nn.Module, workload: Workload) -> None:
    """Leaves only those parameters trainable that the workload trains.

    Raises:
        UsageError: it names none of the network's.
    """
    if not workload.training:
        return
    workload.check_trained(names_of(model).parameters)
    for name, parameter in names_of(model).parameters.items():
        if not workload.trains(name):
            parameter.requires_grad_(False)


def _materialise(model: nn.Module, given: Arguments, rung: Rung) -> None:
    """Lazy modules learn their shapes from a first forward, which is not written down."""
    if not any(is_lazy(tensor) for tensor in (*model.parameters(), *model.buffers())):
        return
    scopes = Scopes(model)
    recorder = _recorder(scopes, rung)
    try:
        with torch.no_grad(), scopes.watching(), recorder, Interception(recorder, rung=rung):
            model(*given.positional, **given.named)
    except Exception as error:
        raise explain(
            error,
            doing="forward",
            scope=scopes.raised_in(error),
            failed=recorder.failed_in(error),
            given=given.text,
            with_data=rung.with_data,
        ) from error


def _recorder(scopes: Scopes, rung: Rung) -> Recorder:
    return Recorder(scopes, home=rung.device.type, limit=rung.limit, answer=rung.answers())


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
