"""Rungs: what a network's tensors become before it runs, on the ladder from no data to some.

`META` is the first rung: shapes and no data. Where a network asks for values the step runs again, first with
those that follow from constants and examples (`known`), and where they do not answer, on the `Real` rung: a
copy on the CPU, weights and inputs included, drawn at random where nobody gave any. Fake tensors, which
could stand between the two, are left out: they go on after `nonzero` or a mask with a size that is a symbol,
so that no number comes out, and stop at `if x.sum() > 0` as meta does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ...program import Storage
from .answers import Answer, Answers
from .twin import on_meta, twin_of
from .wrapped import is_wrapped, rewrapped

SHARE = 0.6
"""How much of the memory that is free a step on real data may take."""

SEED = 0
"""Where random data start, so that the same network gives the same figures."""

DEVIATION = 0.02
"""Spread of weights that nobody initialised: transformers' own (`initializer_range`)."""


class Rung(Protocol):
    """How tensors are made: copies of a network's, and the inputs that go in.

    `name` is Program.rung, `device` where tensors live, `with_data` whether they hold any, `limit` the bytes that
    they may take together.
    """

    name: str
    device: torch.device
    with_data: bool
    limit: int | None

    def twin(self, model: nn.Module) -> nn.Module:
        """A copy of the module, the only one that is run."""

    def copied(self, tensor: Tensor) -> Tensor:
        """What stands for a tensor of the network's, or for an example's."""

    def made(self, shape: tuple[int, ...], dtype: torch.dtype, name: str) -> Tensor:
        """An input of that shape, for the argument of that name."""

    def constructed(
        self, make: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        """What one of PyTorch's functions makes for the network (`zeros`), wherever that asked for it."""

    def answers(self) -> Answer:
        """What operators return, for one run."""


class Meta:
    """Shapes and no data."""

    name = "meta"
    device = torch.device("meta")
    with_data = False
    limit: int | None = None

    def twin(self, model: nn.Module) -> nn.Module:
        """A copy of the module on meta."""
        return twin_of(model, on_meta)

    def copied(self, tensor: Tensor) -> Tensor:
        """A tensor of the same shape, dtype and strides on meta."""
        return on_meta(tensor)

    def made(self, shape: tuple[int, ...], dtype: torch.dtype, name: str) -> Tensor:
        """An input without data."""
        return torch.empty(shape, dtype=dtype, device="meta")

    def constructed(
        self, make: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        """What one of PyTorch's functions makes for the network."""
        return make(*args, **{**kwargs, "device": self.device})

    def answers(self) -> Answer:
        """What operators return, for one run."""
        return Answers().of


META = Meta()


class Real:
    """Data on the CPU, or on another device: the network's own where it has some, random where it has none.

    A network's numbers with a fraction are in the dtype that is given, else each in its own.

    Floating-point inputs are normal, masks let everything through, whole numbers stay below the smallest
    table of embeddings that the network looks them up in.
    """

    name = "real"
    with_data = True

    def __init__(
        self, model: object, limit: int, device: str = "cpu", dtype: torch.dtype | None = None
    ) -> None:
        self.limit: int | None = limit
        self.device = torch.device(device)
        self._dtype = dtype
        self._generator = torch.Generator(self.device).manual_seed(SEED)
        self._rows = _smallest_table(model)

    def twin(self, model: nn.Module) -> nn.Module:
        """A copy of the module with data; parts that were built without are initialised."""
        empty = [module for module in model.modules() if _without_data(module)]
        twin = twin_of(model, self._cast)
        if empty:
            twins = dict(twin.named_modules(remove_duplicate=False))
            for name, module in model.named_modules():
                reset = getattr(twins.get(name), "reset_parameters", None)
                if module in empty and callable(reset):
                    reset()
        return twin

    def copied(self, tensor: Tensor) -> Tensor:
        """A copy of the tensor; of one without data, small random numbers, and zeros for whole ones."""
        return self._copied(tensor, tensor.dtype)

    def _cast(self, tensor: Tensor) -> Tensor:
        """A copy in the network's dtype."""
        dtype = self._dtype if tensor.is_floating_point() else None
        return self._copied(tensor, dtype or tensor.dtype)

    def _copied(self, tensor: Tensor, dtype: torch.dtype) -> Tensor:
        if is_wrapped(tensor):
            return rewrapped(tensor, self.copied)
        if is_lazy(tensor):
            return tensor.__deepcopy__({})  # type: ignore[no-any-return, no-untyped-call]
        data = torch.empty_strided(tensor.shape, tensor.stride(), dtype=dtype, device=self.device)
        if tensor.device.type != "meta":
            data.copy_(tensor.detach())
        elif tensor.is_floating_point():
            data.normal_(0, DEVIATION, generator=self._generator)
        else:
            data.zero_()
        if isinstance(tensor, nn.Parameter):
            return nn.Parameter(data, requires_grad=tensor.requires_grad)
        return data.requires_grad_(tensor.requires_grad)

    def made(self, shape: tuple[int, ...], dtype: torch.dtype, name: str) -> Tensor:
        """An input with data."""
        if dtype.is_floating_point or dtype.is_complex:
            wide = torch.promote_types(dtype, torch.float32)
            return torch.randn(shape, dtype=wide, generator=self._generator, device=self.device).to(
                dtype
            )
        if is_mask(dtype, name):
            return torch.ones(shape, dtype=dtype, device=self.device)
        return torch.randint(
            0, self._rows, shape, generator=self._generator, device=self.device
        ).to(dtype)

    def constructed(
        self, make: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        """What one of PyTorch's functions makes for the network."""
        return make(*args, **{**kwargs, "device": self.device})

    def answers(self) -> Answer:
        """What operators return, for one run."""
        return Answers().of


def is_mask(dtype: torch.dtype, name: str) -> bool:
    """Whether an input says what counts: all of it, where nobody says otherwise."""
    return dtype == torch.bool or (name.endswith("mask") and not dtype.is_floating_point)


def _without_data(module: nn.Module) -> bool:
    own = (*module.parameters(recurse=False), *module.buffers(recurse=False))
    return any(tensor.device.type == "meta" for tensor in own)


def _smallest_table(model: object) -> int:
    """Rows of the smallest embedding; 2 where there is none, so that whole numbers are 0 and 1."""
    modules = model.modules() if isinstance(model, nn.Module) else ()
    rows = [each.num_embeddings for each in modules if isinstance(each, nn.Embedding)]
    return min(rows, default=2)


def available_bytes() -> int | None:
    """Memory that a process may still take on this machine; None where the system does not say."""
    found = [
        amount for amount in (_free_on_the_machine(), _free_in_the_group()) if amount is not None
    ]
    return min(found, default=None)


def _free_on_the_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    entries = dict(line.split(":", 1) for line in lines)
    return int(entries["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in entries else None


def _free_in_the_group() -> int | None:
    """What a container's limit leaves (control groups, version 2)."""
    group = Path("/sys/fs/cgroup")
    try:
        most, used = (group / "memory.max").read_text(), (group / "memory.current").read_text()
    except OSError:
        return None
    return None if most.strip() == "max" else max(int(most) - int(used), 0)


def peak(storages: Iterable[Storage]) -> int:
    """The most bytes that lived at once."""
    changes: list[tuple[int, int]] = []
    for storage in storages:
        changes.append((storage.birth, storage.bytes))
        if storage.death is not None:
            changes.append((storage.death + 1, -storage.bytes))
    most = now = 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most
