"""Interception: the calls that must not reach PyTorch as they are when there is no data.

- Scaled dot-product attention is taken whole (`attention`), also from within multi-head attention.
- Dropout out of place runs as accelerators run it, with a mask of a byte an element.
- Tensors that the network makes, or moves to a device by name, stay on meta.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors

from .attention import attend, scaled_dot_product_attention
from .recording import Recorder

META = torch.device("meta")

_CONSTRUCTORS: frozenset[object] = frozenset(_device_constructors())
_MOVES: frozenset[object] = frozenset({Tensor.cuda, Tensor.cpu, Tensor.pin_memory})


class Interception(TorchFunctionMode):
    """Sees every call of a PyTorch function that the network's own code makes."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder
        self.attention_dropout = 0.0
        self._handlers: dict[object, Callable[..., object]] = {
            scaled_dot_product_attention: self._attend,
            functional.dropout: self._dropout,
            torch.dropout: lambda x, p, train: self._dropout(x, p, train),
            functional.multi_head_attention_forward: self._multi_head,
            Tensor.to: _stay,
        }

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        """Handles the call, or lets it pass."""
        kwargs = kwargs or {}
        if func in _CONSTRUCTORS:
            return func(*args, **{**kwargs, "device": META})
        if func in _MOVES:
            return args[0]
        handler = self._handlers.get(func)
        return func(*args, **kwargs) if handler is None else handler(*args, **kwargs)

    def _attend(self, *args: Any, **kwargs: Any) -> Tensor:
        rate = kwargs.get("dropout_p", args[4] if len(args) > 4 else 0.0)
        self.attention_dropout = max(self.attention_dropout, rate)
        return attend(self.recorder, *args, **kwargs)

    def _multi_head(self, *args: Any, **kwargs: Any) -> object:
        """Multi-head attention calls attention from inside PyTorch, where no mode looks."""
        with _replaced_attention(self._attend):
            return functional.multi_head_attention_forward(*args, **kwargs)

    def _dropout(
        self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        if not training or p == 0:
            return input
        if inplace or not 0 < p < 1:
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


def _stay(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """`tensor.to(...)` with any device read as meta: dtype and memory format still change."""
    if kwargs.get("device") is not None:
        kwargs = {**kwargs, "device": META}
    if args and (isinstance(args[0], str | torch.device) or type(args[0]) is int):
        args = (META, *args[1:])
    return tensor.to(*args, **kwargs)
