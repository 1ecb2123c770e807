"""Known values: of constants, of examples, and of what follows from them, though a step runs without data.

Many networks ask for values that have nothing to do with their input: how many patches the images of a batch have
(`grid_thw.tolist()`, in the vision parts of Qwen2-VL and its kin), the places of a window (`arange(...)[mask]`),
a rate out of `linspace(...)`. Where the first rung was asked for a value, the step runs again on this one: beside
each small tensor on meta whose values are known there is a copy on the CPU, every operator that reads such tensors
alone is worked out on the copies too, and whoever asks gets the answer. What depends on the input's values, or on
weights that nobody gave, stays unknown, and then only real data can tell.

Masks among the inputs let everything through, as they do on the last rung.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten
from torch.utils.weak import WeakTensorKeyDictionary

from .answers import Answer, Answers
from .rungs import Meta, is_mask
from .translation import tensors_in
from .twin import on_meta, twin_of

LIMIT = 1 << 17
"""Elements of the largest tensor whose values are kept: what follows from a table of sizes is small."""

_CPU = torch.device("cpu")

_WRITTEN_OUT: frozenset[object] = frozenset({torch.tensor, torch.as_tensor, torch.asarray})
"""Functions whose tensors never pass the dispatcher where they are made on meta."""

_BY_MASK = frozenset({torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default})
"""Operators whose indices may be masks: a tensor, and a list of indices."""


class Known(Meta):
    """Meta tensors, beside some of which there are values."""

    def __init__(self) -> None:
        self._values: MutableMapping[Tensor, Tensor] = WeakTensorKeyDictionary()
        # Copies written over with something unknown, by their storage, which is held so that no other takes its address.
        self._stale: dict[int, torch.UntypedStorage] = {}
        self._answer = Answers().of

    def twin(self, model: nn.Module) -> nn.Module:
        """A copy of the module on meta."""
        return twin_of(model, self.copied)

    def copied(self, tensor: Tensor) -> Tensor:
        """A tensor on meta, with the values of the original where it has some."""
        stand_in = super().copied(tensor)
        if not is_lazy(tensor) and tensor.device.type == "cpu" and tensor.numel() <= LIMIT:
            self._note(stand_in, tensor.detach().clone())
        return stand_in

    def made(self, shape: tuple[int, ...], dtype: torch.dtype, name: str) -> Tensor:
        """An input without data, unless it is a mask."""
        tensor = super().made(shape, dtype, name)
        if is_mask(dtype, name) and tensor.numel() <= LIMIT:
            self._note(tensor, torch.ones(shape, dtype=dtype))
        return tensor

    def constructed(
        self, make: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        """What one of PyTorch's functions makes for the network: numbers that are written out are known."""
        if make not in _WRITTEN_OUT:
            return super().constructed(make, args, kwargs)
        args = tree_map_only(Tensor, self._value_or_itself, args)
        value = make(*args, **{**kwargs, "device": _CPU})
        stand_in = on_meta(value)
        self._note(stand_in, value.detach())
        return stand_in

    def answers(self) -> Answer:
        """What operators return, for one run."""
        return self.answer

    def answer(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> object:
        """What an operator returns, and beside it the values where those of all that it reads are known."""
        leaves, form = tree_flatten((args, kwargs))
        if not any(_place(leaf) == "meta" for leaf in leaves):
            return self._answer(func, types, args, kwargs)
        values = [self._value(leaf) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        unknown = any(
            value is None and leaf is not None for value, leaf in zip(values, leaves, strict=True)
        )
        if unknown or torch.Tag.nondeterministic_seeded in func.tags:
            result = self._answer(func, types, self._without_masks(func, args), kwargs)
            self._forget(func, args, kwargs)
            return result
        known_args, known_kwargs = tree_unflatten(values, form)
        if _leaves_meta(func, kwargs):
            return _worked_out(func, known_args, known_kwargs)
        if torch.Tag.dynamic_output_shape in func.tags:
            worked_out = _worked_out(func, known_args, known_kwargs)
            result = tree_map_only(Tensor, on_meta, worked_out)
        else:
            result = self._answer(func, types, args, kwargs)
            if any(tensor.numel() > LIMIT for tensor in tensors_in((result,))):
                return result
            worked_out = _worked_out(func, known_args, known_kwargs)
        for tensor, value in zip(tensors_in((result,)), tensors_in((worked_out,)), strict=True):
            self._note(tensor, value)
        return result

    def _note(self, tensor: Tensor, value: Tensor) -> None:
        self._values[tensor] = value

    def _value(self, tensor: Tensor) -> Tensor | None:
        """The tensor's values; None where they are not known."""
        if tensor.device.type == "cpu":
            return tensor
        value = self._values.get(tensor)
        if value is None or value.untyped_storage()._cdata in self._stale:
            return None
        return value

    def _value_or_itself(self, tensor: Tensor) -> Tensor:
        value = self._value(tensor)
        return tensor if value is None else value

    def _forget(self, func: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """What an operator writes something unknown to is not known any more, in none of its views."""
        if not func._schema.is_mutable:
            return
        for place, argument in enumerate(func._schema.arguments):
            if argument.alias_info is None or not argument.alias_info.is_write:
                continue
            written = args[place] if place < len(args) else kwargs.get(argument.name)
            for tensor in tensors_in((written,)):
                value = self._values.get(tensor)
                if value is not None:
                    storage = value.untyped_storage()
                    self._stale[storage._cdata] = storage

    def _without_masks(self, func: OpOverload, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments of an operator that picks elements by a mask: with a known mask's places in its stead."""
        if func not in _BY_MASK:
            return args
        tensor, indices, *rest = args
        places: list[Tensor | None] = []
        for index in indices:
            mask = None if index is None or index.dtype != torch.bool else self._value(index)
            if mask is None:
                places.append(index)
                continue
            with _disable_current_modes():
                places.extend(on_meta(place) for place in mask.nonzero(as_tuple=True))
        return (tensor, places, *rest)


def _place(leaf: object) -> str:
    """Where an argument is, or says that the result shall be; empty where it says nothing."""
    if isinstance(leaf, Tensor):
        return leaf.device.type
    return leaf.type if isinstance(leaf, torch.device) else ""


def _worked_out(func: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> object:
    """The operator on the copies, seen by nobody; memory that nobody wrote to holds zeros."""
    here = {**kwargs, "device": _CPU} if kwargs.get("device") is not None else kwargs
    with _disable_current_modes():
        made = func(*args, **here)
        return made.zero_() if "empty" in func.__name__ else made


def _leaves_meta(func: OpOverload, kwargs: Mapping[str, Any]) -> bool:
    """Whether the result is a number, or a tensor on the CPU."""
    device = kwargs.get("device")
    numbers = not any("Tensor" in str(returned.type) for returned in func._schema.returns)
    return numbers or (device is not None and torch.device(device).type == "cpu")
