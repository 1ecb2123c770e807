"""Answers: what an operator returns, with as little of PyTorch's kernels as truth allows.

Three are asked, in this order: the shortcut, where there is one and the operands are plain; what the
kernel itself said earlier in this step to operands of the same shapes, strides and dtypes and to the same
numbers; the kernel. Networks repeat themselves, and on meta a kernel knows nothing but those: its second
answer is its first.

Only answers that are new tensors are remembered, of PyTorch's own operators that neither write into an
operand nor return a view of one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from .shortcuts import SHORTCUTS
from .translation import tensors_in, translation_of

_META = torch.device("meta")
_EXACT = frozenset(
    {type(None), int, str, torch.dtype, torch.device, torch.layout, torch.memory_format}
)
"""Types whose values tell each other apart: `1`, `1.0` and `True` are equal, and are not one number."""

Answer = Callable[[OpOverload, Sequence[type], tuple[Any, ...], dict[str, Any]], object]
"""What an operator returns, of itself, the types of tensors that are none of PyTorch's own, and its arguments."""

Shape = tuple[int, ...]
Made = tuple[Shape, Shape, torch.dtype] | None


class Answers:
    """Answers for the operators of one step."""

    def __init__(self) -> None:
        self._shortcuts: dict[int, Callable[..., object]] = {
            id(func): shortcut for func, shortcut in SHORTCUTS.items()
        }
        self._known: dict[Hashable, tuple[type, tuple[Made, ...]] | None] = {}

    def of(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> object:
        """What the operator returns."""
        if types:  # subclasses of tensors answer for themselves
            return func(*args, **kwargs)
        shortcut = self._shortcuts.get(id(func))
        if shortcut is not None:
            result = shortcut(*args, **kwargs)
            if result is not None:
                return result
        key = _key(func, args, kwargs) if translation_of(func).pure else None
        if key is None:
            return func(*args, **kwargs)
        if key not in self._known:
            result = func(*args, **kwargs)
            self._known[key] = _form(result, (*args, *kwargs.values()))
            return result
        known = self._known[key]
        return func(*args, **kwargs) if known is None else _made(*known)


def _key(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable | None:
    """All that a kernel on meta can go by, None where there may be more."""
    key: list[Hashable] = [id(func), torch.get_default_dtype()]
    if not _add(key, args):
        return None
    for name, value in kwargs.items():
        key.append(name)
        if not _add(key, (value,)):
            return None
    return tuple(key)


def _add(key: list[Hashable], values: Sequence[object]) -> bool:
    """Adds values to a key; no where one of them is more than the key can hold."""
    for value in values:
        if isinstance(value, Tensor):
            if not value.is_meta or value.is_sparse or value.dtype.is_complex:
                return False
            key += (value.shape, value.stride(), value.dtype)
        elif type(value) in _EXACT:
            key.append(value)
        elif isinstance(value, bool | float):
            key += (type(value).__name__, value)
        elif isinstance(value, list | tuple):
            key += (type(value).__name__, len(value))
            if not _add(key, value):
                return False
        else:
            return False
    return True


def _form(result: object, operands: Sequence[object]) -> tuple[type, tuple[Made, ...]] | None:
    """How to make the same again; None where it is more than new tensors."""
    several = result if isinstance(result, tuple | list) else (result,)
    held = {tensor.untyped_storage()._cdata for tensor in tensors_in(operands)}
    made: list[Made] = []
    for each in several:
        if each is None:
            made.append(None)
            continue
        if type(each) is not Tensor or not each.is_meta or each.is_sparse or each.dtype.is_complex:
            return None
        form = (tuple(each.shape), each.stride(), each.dtype)
        storage = each.untyped_storage()
        again = _new(form).untyped_storage()
        if each.storage_offset() or storage.nbytes() != again.nbytes() or storage._cdata in held:
            return None
        held.add(storage._cdata)
        made.append(form)
    return type(result), tuple(made)


def _new(form: tuple[Shape, Shape, torch.dtype]) -> Tensor:
    shape, strides, dtype = form
    return torch.empty_strided(shape, strides, dtype=dtype, device=_META)


def _made(kind: type, forms: tuple[Made, ...]) -> object:
    made = [None if form is None else _new(form) for form in forms]
    return made[0] if kind is Tensor else kind(made)
