"""Wrapped tensors: those of a class of their own, made of others that hold the numbers.

A library that quantises weights (torchao) gives a network parameters of such a class: whole numbers, their
scales and zero points inside, floating point to whoever looks from outside. What takes memory and what
operators work on is inside, and so it is there that tensors are copied, named and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass, transform_subclass


def is_wrapped(tensor: Tensor) -> bool:
    """Whether the tensor is made of others."""
    return is_traceable_wrapper_subclass(tensor)


def rewrapped(tensor: Tensor, copied: Callable[[Tensor], Tensor]) -> Tensor:
    """The same kind of tensor around what `copied` makes of those inside; a parameter stays one."""
    made: Tensor = transform_subclass(tensor, lambda _, inside: copied(inside))  # type: ignore[no-untyped-call]
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(made, requires_grad=tensor.requires_grad)
    return made.requires_grad_(tensor.requires_grad)


def inside(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """What a tensor is made of: first what holds its numbers, under its name, then the rest by theirs.

    A plain tensor is made of itself.
    """
    if not is_wrapped(tensor):
        yield name, tensor
        return
    wrapper: Any = tensor
    held = {key: getattr(tensor, key) for key in wrapper.__tensor_flatten__()[0]}
    largest = max(held, key=lambda key: held[key].numel())
    yield from inside(name, held.pop(largest))
    for key, part in held.items():
        yield from inside(f"{name}.{key}", part)
