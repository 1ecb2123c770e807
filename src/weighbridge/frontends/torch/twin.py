"""The twin: a copy of a module's structure, its tensors replaced, as a rule by ones on meta.

The user's module is read and never run. `copy.deepcopy` copies the structure as the module's author
meant it to be copied, references between its parts included; its memo is told beforehand what each
parameter and buffer becomes, and a function mode answers for tensors that are neither, so that no data
is ever copied.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch._library.custom_ops import CustomOpDef
from torch._ops import OpOverload, OpOverloadPacket
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from ...errors import WeighError
from .translation.quantisation import packed_weights
from .wrapped import inside, is_wrapped, rewrapped


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """A module's tensors by name, each once, and the further names of those that are tied.

    `weights` are those that are no parameters of their own, all trained already: what a library keeps packed for
    quantised layers, and what parameters that are made of other tensors hold. Such parameters are not among
    `parameters`; their scales are among `buffers`.
    """

    parameters: dict[str, nn.Parameter]
    buffers: dict[str, Tensor]
    aliases: dict[str, str]
    weights: dict[str, Tensor]


def twin_of(model: nn.Module, copied: Callable[[Tensor], Tensor]) -> nn.Module:
    """A copy of `model` with each tensor as `copied` returns it, in the same mode, with its hooks.

    Compiled modules are taken as they were before: the operators are the same, and nothing is compiled.

    Raises:
        WeighError: a part of the module cannot be copied, or is TorchScript.
    """
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise WeighError(
                f"{name or 'the network'} is TorchScript, which keeps its weights out of reach",
                "give the module that it was made from",
            )
    memo: dict[int, Any] = _answers(model)
    for tensor in (*model.parameters(), *model.buffers()):
        memo[id(tensor)] = copied(tensor)
    try:
        with _Copying(copied):
            return _uncompiled(copy.deepcopy(model, memo))
    except Exception as error:
        raise WeighError(
            f"{type(model).__name__} cannot be copied, and only a copy of a module is ever run",
            f"{type(error).__name__}: {error}",
            "give a function that builds it, or leave out what cannot be copied",
        ) from error


def _answers(model: nn.Module) -> dict[int, Any]:
    """What modules hold and `copy.deepcopy` need not or cannot copy, by what becomes of it.

    Nobody can copy operators, the user's own among them. A module holds a dozen tables of hooks, nearly all
    of them empty, and each takes ten times as long to copy as to make.
    """
    becomes: dict[int, Any] = {}
    for module in model.modules():
        for value in vars(module).values():
            if type(value) is OrderedDict and not value:
                becomes[id(value)] = OrderedDict()
            elif isinstance(value, OpOverload | OpOverloadPacket | CustomOpDef):
                becomes[id(value)] = value
    return becomes


def _uncompiled(model: nn.Module) -> nn.Module:
    for module in tuple(model.modules()):
        for name, child in tuple(module.named_children()):
            if _is_compiled(child):
                setattr(module, name, child._orig_mod)
    return cast(nn.Module, model._orig_mod) if _is_compiled(model) else model


def _is_compiled(module: nn.Module) -> bool:
    # By name: its class is in a part of PyTorch that takes a second to load.
    return type(module).__name__ == "OptimizedModule"


def on_meta(tensor: Tensor) -> Tensor:
    """A tensor of the same shape, dtype and strides on meta; a parameter stays one."""
    if is_wrapped(tensor):
        return rewrapped(tensor, on_meta)
    if is_lazy(tensor):  # no shape yet: the first forward gives it one
        lazy: Any = type(tensor)
        return cast(Tensor, lazy(tensor.requires_grad, device="meta", dtype=tensor.dtype))
    data = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(data, requires_grad=tensor.requires_grad)
    return data.requires_grad_(tensor.requires_grad)


class _Copying(TorchFunctionMode):
    """Answers `copy.deepcopy` of any tensor with what `copied` makes of it."""

    def __init__(self, copied: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.copied = copied

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        if func is not Tensor.__deepcopy__:
            return func(*args, **(kwargs or {}))
        tensor, memo = args
        if id(tensor) not in memo:
            memo[id(tensor)] = self.copied(tensor)
        return memo[id(tensor)]


def names_of(model: nn.Module) -> Names:
    """What the module's tensors are called; a tied one goes by its first name."""
    aliases: dict[str, str] = {}
    parameters = _first_names(model.named_parameters(remove_duplicate=False), aliases)
    buffers = _first_names(model.named_buffers(remove_duplicate=False), aliases)
    weights = packed_weights(model)
    for name in [name for name, tensor in parameters.items() if is_wrapped(tensor)]:
        (_, numbers), *rest = inside(name, parameters.pop(name))
        weights[name] = numbers
        buffers.update(rest)
    return Names(parameters=parameters, buffers=buffers, aliases=aliases, weights=weights)


Named = TypeVar("Named", bound=Tensor)


def _first_names(named: Iterable[tuple[str, Named]], aliases: dict[str, str]) -> dict[str, Named]:
    first: dict[int, str] = {}
    tensors: dict[str, Named] = {}
    for name, tensor in named:
        if id(tensor) in first:
            aliases[name] = first[id(tensor)]
        else:
            first[id(tensor)] = name
            tensors[name] = tensor
    return tensors
