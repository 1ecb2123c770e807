"""Interception: the calls that must not reach PyTorch as they are when there is no data.

- Scaled dot-product attention is taken whole (`attention`), also from within multi-head attention.
- So are the grouped products of a mixture of experts (`experts`), and LSTM, GRU and RNN (`recurrent`).
- Operators over functions are looked through (`higher_order`).
- Dropout out of place runs as accelerators run it, with a mask of a byte an element, unless for the CPU, whose
  mask has the input's dtype.
- Tensors that the network makes, or moves to a device by name, stay where the network is.
- Where a function is the network, the weights that it reaches for are replaced by twins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from types import BuiltinFunctionType, FunctionType, MethodDescriptorType, MethodWrapperType
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch._ops import HigherOrderOperator
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors
from torch.utils._pytree import tree_map_only

from ...program import Role
from ...workload import Backend
from .attention import attend, scaled_dot_product_attention
from .experts import expectation, grouped_mm, multiply_grouped
from .higher_order import HigherOrder
from .known import Known
from .nested import FROM_JAGGED, refused
from .recording import Recorder
from .recurrent import NETWORKS, run_whole
from .rungs import META, Rung

_CONSTRUCTORS: frozenset[object] = frozenset(_device_constructors())
_PLAIN = frozenset({FunctionType, BuiltinFunctionType, MethodDescriptorType, MethodWrapperType})
"""What most calls are: asking whether such a one is an operator over functions takes longer."""

_MOVES: frozenset[object] = frozenset({Tensor.cuda, Tensor.cpu, Tensor.pin_memory})

Handler = Callable[..., object]
"""Answers a call: takes the interception that saw it, then what the call was given."""

Lowered = Callable[[tuple[Any, ...]], tuple[Any, ...]]
"""What autocast makes of the operands of a call that it would cast, where it is on."""


def _as_they_are(operands: tuple[Any, ...]) -> tuple[Any, ...]:
    return operands


class Interception(TorchFunctionMode):
    """Sees every call of a PyTorch function that the network's own code makes.

    With `adopting`, tensors that were there before are replaced: `parameters` and `buffers` then hold
    their twins by name.
    """

    def __init__(
        self,
        recorder: Recorder,
        *,
        rung: Rung = META,
        adopting: bool = False,
        backend: Backend = "cuda",
        lowered: Lowered = _as_they_are,
    ) -> None:
        super().__init__()
        self.backend = backend
        self.recorder = recorder
        self.lowered = lowered
        self.rung = rung
        self.adopting = adopting
        self.parameters: dict[str, nn.Parameter] = {}
        self.buffers: dict[str, Tensor] = {}
        self._twins: dict[int, tuple[Tensor, Tensor]] = {}
        self.remarks: dict[str, None] = {}  # in the order in which they came up, each once
        self._handlers: Mapping[object, Handler] = {
            **_HANDLERS,
            **({} if rung.with_data else {grouped_mm: Interception._experts}),
            **(_with_known_places(rung) if isinstance(rung, Known) else {}),
        }

    @cached_property
    def _higher_order(self) -> HigherOrder:
        """Made when first needed: it refers back to this, and what is in a circle lives until a collection."""
        return HigherOrder(
            self.recorder, again=lambda: self, beside=self._beside, remark=self.remark
        )

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        """Handles the call, or lets it pass."""
        kwargs = kwargs or {}
        if self.adopting:
            args, kwargs = tree_map_only(Tensor, self._adopted, (args, kwargs))
        if func in _CONSTRUCTORS:
            made = self.rung.constructed(func, args, kwargs)
            if self.adopting and isinstance(made, Tensor):
                self.recorder.tensor(made)  # or it would be taken for one that was there before
            return made
        if func in _MOVES:
            return args[0]
        handler = self._handlers.get(func)
        if handler is not None:
            return handler(self, *args, **kwargs)
        if type(func) not in _PLAIN and isinstance(func, HigherOrderOperator):
            return self._higher_order.run(func, *args, **kwargs)
        return func(*args, **kwargs)

    def _adopted(self, tensor: Tensor) -> Tensor:
        """The tensor's twin; itself where it is the step's own."""
        if tensor.device.type == "meta" or is_functorch_wrapped_tensor(tensor):
            return tensor
        if self.recorder.knows(tensor):
            return tensor
        if id(tensor) not in self._twins:
            # Outside of any transform (`torch.func`) that runs now, in which it would be part of that.
            with self.recorder.muted(), temporarily_clear_interpreter_stack():
                twin = self.rung.copied(tensor)
            # The original is held too, or another tensor could take its id.
            self._twins[id(tensor)] = (tensor, twin)
            names = self.recorder.scopes.tensor_names
            name = names.get(id(tensor), f"tensor_{len(self._twins) - 1}")
            role: Role = "buffer"
            if isinstance(twin, nn.Parameter):
                self.parameters[name] = twin
                role = "parameter"
            else:
                self.buffers[name] = twin
            self.recorder.declare(twin, role, name=name, trainable=twin.requires_grad)
        return self._twins[id(tensor)][1]

    def remark(self, text: str) -> None:
        """Says what of the network is not counted as it would run."""
        self.remarks[text] = None

    @contextmanager
    def _beside(self, recorder: Recorder) -> Iterator[None]:
        beside = Interception(
            recorder,
            rung=self.rung,
            adopting=self.adopting,
            backend=self.backend,
            lowered=self.lowered,
        )
        with recorder, beside:
            yield

    def _attend(self, *args: Any, **kwargs: Any) -> Tensor:
        mask = kwargs.get("attn_mask")
        if mask is not None:
            kwargs = {**kwargs, "attn_mask": self.lowered((mask,))[0]}
        return attend(self.recorder, self.backend, *self.lowered(args), **kwargs)

    def _recurrent(self, function: Callable[..., object], *args: Any, **kwargs: Any) -> object:
        return run_whole(self.recorder, self.backend, function, *self.lowered(args), **kwargs)

    def _stay(self, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """`tensor.to(...)` with any device read as the network's: dtype and memory format still change."""
        place = self.rung.device
        if kwargs.get("device") is not None:
            kwargs = {**kwargs, "device": place}
        if args and (isinstance(args[0], str | torch.device) or type(args[0]) is int):
            args = (place, *args[1:])
        return tensor.to(*args, **kwargs)

    def _multi_head(self, *args: Any, **kwargs: Any) -> object:
        """Multi-head attention calls attention from inside PyTorch, where no mode looks."""
        with _replaced_attention(self._attend):
            return functional.multi_head_attention_forward(*args, **kwargs)

    def _experts(self, *args: Any, **kwargs: Any) -> Tensor:
        expected = expectation(*args, **kwargs)
        if expected:
            self.remark(expected)
        return multiply_grouped(self.recorder, *args, **kwargs)

    def _dropout(
        self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        if not training or p == 0:
            return input
        if inplace or not 0 < p < 1 or self.backend == "cpu":
            return functional.dropout(input, p, training, inplace)
        return torch.native_dropout(input, p, True)[0]


@contextmanager
def _replaced_attention(attention: Callable[..., Tensor]) -> Iterator[None]:
    before = functional.scaled_dot_product_attention
    functional.scaled_dot_product_attention = attention
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = before


def _recurrent(function: Callable[..., object]) -> Handler:
    def run(interception: Interception, *args: Any, **kwargs: Any) -> object:
        return interception._recurrent(function, *args, **kwargs)

    return run


_HANDLERS: Mapping[object, Handler] = {
    scaled_dot_product_attention: Interception._attend,
    functional.dropout: Interception._dropout,
    torch.dropout: lambda interception, x, p, train: interception._dropout(x, p, train),
    functional.multi_head_attention_forward: Interception._multi_head,
    Tensor.to: Interception._stay,
    FROM_JAGGED: lambda _, *args, **kwargs: refused(*args, **kwargs),
    **{each: _recurrent(each) for each in NETWORKS},
}
"""What answers a call in PyTorch's place, with data or without."""


def _with_known_places(rung: Known) -> Mapping[object, Handler]:
    """Indexing with lists, of which PyTorch makes tensors that pass by the dispatcher."""

    def place(index: object) -> object:
        if isinstance(index, tuple):
            return tuple(place(each) for each in index)
        return rung.constructed(torch.tensor, (index,), {}) if isinstance(index, list) else index

    def read(_: Interception, tensor: Tensor, index: object) -> Tensor:
        return tensor[place(index)]  # type: ignore[index]

    def write(_: Interception, tensor: Tensor, index: object, value: Any) -> None:
        tensor[place(index)] = value  # type: ignore[index]

    return {Tensor.__getitem__: read, Tensor.__setitem__: write}
