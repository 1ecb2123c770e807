"""LSTM, GRU and RNN, taken whole: one operator forward and one backward, as a device's library runs them.

On meta, and on a CPU whose library is off, PyTorch runs them step by step: a thousand steps of two layers are
thirty thousand small operators. What they compute is known from the sizes alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional

from ...ops import rule_of
from ...program import AttributeValue, Op
from ...workload import Backend
from .recording import Recorder

NETWORKS: dict[Callable[..., object], tuple[str, str]] = {
    torch.lstm: ("lstm", ""),
    torch.gru: ("gru", ""),
    torch.rnn_tanh: ("rnn", "tanh"),
    torch.rnn_relu: ("rnn", "relu"),
}
"""PyTorch's functions, which the modules call: our kind, and an RNN's nonlinearity."""

Context: TypeAlias = Any  # what autograd hands to forward and backward, untyped in PyTorch


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """One call: its operands (x, the first states, the weights), its attributes, and how to work it out."""

    kind: str
    name: str
    operands: tuple[Tensor, ...]
    states: int
    attributes: dict[str, AttributeValue]
    values: Callable[[], tuple[Tensor, ...]]


class _Network(Function):
    """A recurrent network as autograd sees it: results of the right size, without data nothing in them."""

    @staticmethod
    def forward(
        ctx: Context, recorder: Recorder, call: _Call, *operands: Tensor
    ) -> tuple[Tensor, ...]:
        """x, the first states and the weights -> y and the last states."""
        made = _results(recorder, call, operands)
        kept = _kept(recorder, call, operands) if call.attributes["training"] else ()
        recorder.emit(
            call.kind, operands, (*made, *kept), call.attributes, name=call.name, results=len(made)
        )
        # Only what is saved may outlive the call: autograd lets go of that when it has been used.
        ctx.recorder, ctx.count = recorder, len(call.operands)
        ctx.call = replace(call, operands=(), values=tuple)
        ctx.save_for_backward(*operands, made[0], *kept)
        ctx.set_materialize_grads(False)
        return made

    @staticmethod
    def backward(ctx: Context, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """The gradients of the operands that want one."""
        call: _Call = ctx.call
        operands = ctx.saved_tensors[: ctx.count]
        mask = tuple(ctx.needs_input_grad[2:])
        with ctx.recorder.muted():
            # No step looks at a gradient's values: none are worked out.
            made = tuple(
                torch.zeros_like(tensor) if want else None
                for tensor, want in zip(operands, mask, strict=True)
            )
        given = [gradient for gradient in gradients if gradient is not None]
        ctx.recorder.emit(
            f"{call.kind}_backward",
            (*ctx.saved_tensors, *given),
            [tensor for tensor in made if tensor is not None],
            {**call.attributes, "mask": mask},
            name=f"{call.name}_backward",
            results=len(operands),
        )
        return (None, None, *made)


def run_whole(
    recorder: Recorder,
    backend: Backend,
    function: Callable[..., object],
    *args: Any,
    **kwargs: Any,
) -> object:
    """Stands in for `torch.lstm`, `gru`, `rnn_tanh` and `rnn_relu`, with their parameters.

    Operands that do not fit go to PyTorch's own. So does what a CPU has no library for: it has oneDNN's LSTM for
        whole batches in float32 without a projection.
    """
    call = _read(function, args) if len(args) == 9 and not kwargs else None
    if call is None or not _fits(call):
        return in_the_open(function, *args, **kwargs)
    if backend == "cpu":
        if _runs_on_onednn(call):
            return _cell_by_cell(recorder, *args)
        stepped = call.kind != "lstm" and not isinstance(args[3], list | tuple)
        return _step_by_step(function, *args) if stepped else in_the_open(function, *args)
    return _Network.apply(recorder, call, *call.operands)


def _cell_by_cell(
    recorder: Recorder,
    x: Tensor,
    states: Sequence[Tensor],
    weights: Sequence[Tensor],
    bias: bool,
    layers: int,
    rate: float,
    train: bool,
    both: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """oneDNN's LSTM: each layer and direction a call of its own, what is between them PyTorch's operators.

    `mkldnn_rnn` in aten/src/ATen/native/mkldnn/RNN.cpp. The reverse direction reads as it lies.
    """
    count = 4 if bias else 2
    x = (x.transpose(0, 1) if batch_first else x).contiguous()
    hidden, cell = (state.contiguous() for state in states)
    last: list[tuple[Tensor, Tensor]] = []
    for layer in range(layers):
        outputs = []
        for _ in range(2 if both else 1):
            place = len(last)
            own = weights[place * count : (place + 1) * count]
            start = (hidden[place : place + 1], cell[place : place + 1])
            call = _read(torch.lstm, (x, start, own, bias, 1, 0.0, train, False, False))
            call.attributes["library"] = "onednn"
            y, h, c = _Network.apply(recorder, call, *call.operands)
            outputs.append(y)
            last.append((h[0], c[0]))
        x = torch.cat(outputs, -1) if both else outputs[0]
        if rate and train and layer < layers - 1:
            x = torch.dropout(x, rate, True)
    ends = [torch.stack(state) for state in zip(*last, strict=True)]
    return (x.transpose(0, 1) if batch_first else x, ends[0], ends[1])


def _step_by_step(
    function: Callable[..., object],
    x: Tensor,
    states: Tensor,
    weights: Sequence[Tensor],
    bias: bool,
    layers: int,
    rate: float,
    train: bool,
    both: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor]:
    """A GRU or RNN as PyTorch runs it on a CPU, and on no other device: the products with x first, all at once.

    `FullLayer` and the cells in aten/src/ATen/native/RNN.cpp.
    """
    cell = _CELLS[function]
    count = 4 if bias else 2
    x = x.transpose(0, 1) if batch_first else x
    starts = states.unbind(0)
    last: list[Tensor] = []
    for layer in range(layers):
        outputs = []
        for direction in range(2 if both else 1):
            place = len(last)
            own = weights[place * count : (place + 1) * count]
            biases = own[2:] or (None, None)
            order = -1 if direction else 1
            state, made = starts[place], []
            for step in _linear(x, own[0], biases[0]).unbind(0)[::order]:
                state = cell(step, state, own[1], biases[1])
                made.append(state)
            outputs.append(torch.stack(made[::order]))
            last.append(state)
        x = torch.cat(outputs, -1) if both else outputs[0]
        if rate and train and layer < layers - 1:
            x = torch.dropout(x, rate, True)
    return x.transpose(0, 1) if batch_first else x, torch.stack(last)


_linear: Callable[[Tensor, Tensor, Tensor | None], Tensor] = functional.linear


def _gru_cell(step: Tensor, state: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
    from_x, from_state = step.unsafe_chunk(3, 1), _linear(state, w, b).unsafe_chunk(3, 1)
    r = from_state[0].add_(from_x[0]).sigmoid_()
    z = from_state[1].add_(from_x[1]).sigmoid_()
    n = from_x[2].add(from_state[2].mul_(r)).tanh_()
    return (state - n).mul_(z).add_(n)


def _tanh_cell(step: Tensor, state: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
    return _linear(state, w, b).add_(step).tanh()


def _relu_cell(step: Tensor, state: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
    return _linear(state, w, b).add_(step).relu()


_CELLS: dict[Callable[..., object], Callable[..., Tensor]] = {
    torch.gru: _gru_cell,
    torch.rnn_tanh: _tanh_cell,
    torch.rnn_relu: _relu_cell,
}


def _read(function: Callable[..., object], args: tuple[Any, ...]) -> _Call:
    """The call of a whole batch (x, states, weights, ...), or of packed rows (rows, how many a step, ...)."""
    kind, nonlinearity = NETWORKS[function]
    packed = isinstance(args[3], list | tuple)
    x, given, weights, bias, layers, rate, train, both, *rest = (
        (args[0], *args[2:]) if packed else args
    )
    states = tuple(given) if isinstance(given, list | tuple) else (given,)
    outputs, hidden = states[0].shape[-1], states[-1].shape[-1]  # of an LSTM h and c
    attributes: dict[str, AttributeValue] = {
        "hidden": hidden,
        "layers": layers,
        "directions": 2 if both else 1,
        "bias": bias,
        "projection": outputs if outputs != hidden else 0,
        "batch_first": bool(rest and rest[0]),
        "dropout": bool(train and rate),
        "training": torch.is_grad_enabled()
        and any(t.requires_grad for t in (x, *states, *weights)),
    }
    if nonlinearity:
        attributes["nonlinearity"] = nonlinearity
    return _Call(
        kind=kind,
        name=f"aten.{function.__name__}",
        operands=(x, *states, *weights),
        states=len(states),
        attributes=attributes,
        values=lambda: function(*args),  # type: ignore[arg-type, return-value]
    )


def _fits(call: _Call) -> bool:
    """Whether PyTorch would take the operands: x of 2 or 3 axes, first weights as wide, one dtype."""
    x, *rest = call.operands
    w = rest[call.states]
    one_dtype = all(tensor.dtype == x.dtype for tensor in rest)
    return x.dim() in (2, 3) and x.shape[-1] == w.shape[-1] and one_dtype


def _runs_on_onednn(call: _Call) -> bool:
    """`use_mkldnn` in aten/src/ATen/native/RNN.cpp, without a CPU's instructions for bfloat16."""
    x = call.operands[0]
    whole = x.dim() == 3 and x.dtype == torch.float32
    return call.kind == "lstm" and whole and not call.attributes["projection"]


def _results(recorder: Recorder, call: _Call, operands: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """y and the last states: worked out where there are data, else of the same shapes and layout."""
    with recorder.muted():
        if recorder.home != "meta":  # the network may ask for values
            return call.values()
        x, *rest = operands
        states = tuple(torch.empty_like(state) for state in rest[: call.states])
        directions = call.attributes["directions"]
        assert isinstance(directions, int)
        wide = directions * states[0].shape[-1]
        if call.attributes["batch_first"]:  # PyTorch runs step after step, and turns the result
            return (x.new_empty((x.shape[1], x.shape[0], wide)).transpose(0, 1), *states)
        return (x.new_empty((*x.shape[:-1], wide)), *states)


def _kept(recorder: Recorder, call: _Call, operands: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The bytes that backward needs beside the results, as many as the rule says."""
    rule = rule_of(call.kind)
    assert rule is not None
    draft = Op(
        kind=call.kind,
        name=call.name,
        scope="",
        phase="forward",
        inputs=tuple(recorder.tensor(tensor) for tensor in operands),
        outputs=(),
        attributes=call.attributes,
    )
    size = rule.shapes(draft)[-1]
    with recorder.muted():
        return (operands[0].new_empty(size, dtype=torch.uint8),)


def in_the_open(function: Callable[..., object], *args: Any, **kwargs: Any) -> object:
    """Runs it step by step: a CPU's library would run it as one kernel, whose work nobody sees."""
    before = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        return function(*args, **kwargs)
    finally:
        torch._C._set_mkldnn_enabled(before)
