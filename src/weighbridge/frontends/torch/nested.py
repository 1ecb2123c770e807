"""Nested tensors: batches of rows of different lengths, refused.

How long each row is stands in a tensor, so that shapes depend on data, and a padded batch says more about
what a step costs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NoReturn

import torch

from ...errors import WeighError

FROM_JAGGED = torch._nested_view_from_jagged
"""The function that every nested tensor of layout `torch.jagged` comes from."""

_MAKERS = ("nested_tensor", "as_nested_tensor", "nested_tensor_from_jagged", "narrow")


def refused(*_: object, **__: object) -> NoReturn:
    """Stands in for whatever makes a nested tensor.

    Raises:
        WeighError: always.
    """
    raise WeighError(
        "the network makes nested tensors, whose rows have lengths that are data",
        "weigh it on padded batches: rows of one length and a mask",
    )


@contextmanager
def without_nested_tensors() -> Iterator[None]:
    """Refuses nested tensors while it lasts."""
    module: Any = torch.nested
    with ExitStack() as exits:
        for name in _MAKERS:
            exits.callback(setattr, module, name, getattr(module, name))
            setattr(module, name, _refused_by_another_name())
        yield


def _refused_by_another_name() -> Callable[..., NoReturn]:
    """PyTorch's compiler, where it is loaded meanwhile, wants a function for every name."""

    def refuse(*_: object, **__: object) -> NoReturn:
        refused()

    return refuse
