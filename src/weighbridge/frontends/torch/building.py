"""Building a library's network without memory for its weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import torch
from torch.overrides import TorchFunctionMode

from ...errors import WeighError
from .failures import ends_the_program, first_line, remedies, user_lines

Made = TypeVar("Made")

_MEMORY = frozenset({torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn})


class _WeightsOnMeta(TorchFunctionMode):
    """Puts what layers make for their weights on meta, and leaves small sums (`linspace`) be."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        if func in _MEMORY:
            return func(*args, **{**(kwargs or {}), "device": "meta"})
        return func(*args, **(kwargs or {}))


def build(make: Callable[[], Made], network: str, *, keeping_constants: bool = False) -> Made:
    """Calls `make` with new tensors on meta; in part, or not at all, where it computes with them.

    Some networks work out their widths with tensors while they are built, and need those values. With
    `keeping_constants` the small tensors that they write out (strides, offsets) have their values also
    where the network could be built without: it may ask for them when it runs on data.

    Raises:
        WeighError: the network cannot be built; the message names the line.
    """
    last: Exception | None = None
    places: list[Callable[[], AbstractContextManager[object]]] = [
        lambda: torch.device("meta"),
        _WeightsOnMeta,
        lambda: torch.device("cpu"),
    ]
    if keeping_constants:
        places.insert(0, places.pop(1))
    for place in places:
        try:
            with warnings.catch_warnings():
                # They are about initial weights, and there are none here.
                warnings.simplefilter("ignore")
                with place():
                    return make()
        except SystemExit as error:
            raise ends_the_program(error, network) from error
        except Exception as error:
            same = repr(error) == repr(last)
            last = error
            if same:  # it has nothing to do with where tensors lie, and the next place has a cost
                break
    assert last is not None
    if isinstance(last, ImportError) and not isinstance(last, ModuleNotFoundError):
        # A library's own, with what it needs and how to get it in as many lines as it likes.
        raise WeighError(f"{network} cannot be built: {' '.join(str(last).split())}") from last
    raise WeighError(
        f"{network} cannot be built: {first_line(last)}",
        *user_lines(last.__traceback__),
        *remedies(last),
    ) from last
