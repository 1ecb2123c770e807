"""Autocast: automatic mixed precision, followed where no kernel of the device's is at hand.

PyTorch's autocast is a layer of its dispatcher above autograd: for the operators in its lists
(`autocast_lists`) it casts the operands and calls the operator again below itself, from wherever that was
called, Python or C++. Tensors without data pass by that layer, which is one for every kind of device. Here a
spare one of them, that of a device nobody has, is given kernels of our own with the lists of the
device that is asked for, and is switched on for all tensors while a network has autocast on: casts happen
where they happen there, are recorded as operators, and autograd keeps what it keeps.

As there, the low-precision copy of a parameter is made once and lasts until the outermost region ends.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.library import Library, fallthrough_kernel
from torch.utils import checkpoint

from ...workload import Backend
from .autocast_lists import POLICIES, Policy

_DEVICES = ("cpu", "cuda")

_LAYER = "AutocastPrivateUse1"
_KEY = getattr(torch._C.DispatchKey, _LAYER)

_HALF = (torch.float16, torch.bfloat16)

Kernel = Callable[..., object]


@contextmanager
def autocast_restored() -> Iterator[None]:
    """Leaves autocast as it was, whatever a network does to it and however it ends."""
    before = [
        (device, torch.is_autocast_enabled(device), torch.get_autocast_dtype(device))
        for device in _DEVICES
    ]
    caching = torch.is_autocast_cache_enabled()
    try:
        yield
    finally:
        for device, enabled, dtype in before:
            torch.set_autocast_enabled(device, enabled)
            torch.set_autocast_dtype(device, dtype)
        torch.set_autocast_cache_enabled(caching)
        torch.clear_autocast_cache()


class Autocast:
    """Autocast as `backend` has it, for tensors on the device `home`."""

    def __init__(self, backend: Backend, home: str) -> None:
        self.backend = backend
        self.home = home
        self._depth = 0
        self._copies: dict[int, tuple[Tensor, Tensor]] = {}
        """Low-precision copies by the id of the parameter, which is held so that no other takes the id."""

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Follows every region that a network opens while it lasts."""
        with self._layer(), self._regions():
            try:
                yield
            finally:
                self._depth = 0
                self._copies.clear()
                _switch(on=False)

    @property
    def on(self) -> bool:
        return torch.is_autocast_enabled(self.backend)

    def lowered(self, operands: tuple[Any, ...]) -> tuple[Any, ...]:
        """The operands in the low precision, where autocast is on; for calls that are not let through."""
        return self._cast(operands, torch.get_autocast_dtype(self.backend)) if self.on else operands

    # -- the layer -------------------------------------------------------------------------------

    @contextmanager
    def _layer(self) -> Iterator[None]:
        """Gives the spare layer of the dispatcher our kernels."""
        library: Any = Library  # untyped in PyTorch
        rest, listed = library("_", "IMPL", _LAYER), library("aten", "IMPL", _LAYER)
        try:
            rest.fallback(fallthrough_kernel)
            for name, policy in POLICIES[self.backend].items():
                operator = _operator(name)
                if operator is not None:
                    listed.impl(operator, self._kernel(operator, policy))
            yield
        finally:
            listed._destroy()
            rest._destroy()

    def _kernel(self, operator: OpOverload, policy: Policy) -> Kernel:
        prepare: Mapping[Policy, Callable[..., tuple[OpOverload, Any, Any]]] = {
            "lower": self._lower,
            "float32": self._float32,
            "float32_result": self._float32_result,
            "float32_norm": self._float32_norm,
            "widest": self._widest,
            "banned": self._banned,
        }
        prepared = prepare[policy]
        below = torch._C.DispatchKeySet(_KEY)

        def kernel(*args: Any, **kwargs: Any) -> object:
            with torch._C._ExcludeDispatchKeyGuard(below):
                chosen, args, kwargs = prepared(operator, args, kwargs)
                return chosen(*args, **kwargs)

        return kernel

    # -- policies --------------------------------------------------------------------------------

    def _lower(self, operator: OpOverload, args: Any, kwargs: Any) -> tuple[OpOverload, Any, Any]:
        return operator, *self._both(args, kwargs, torch.get_autocast_dtype(self.backend))

    def _float32(self, operator: OpOverload, args: Any, kwargs: Any) -> tuple[OpOverload, Any, Any]:
        return operator, *self._both(args, kwargs, torch.float32)

    def _float32_result(
        self, operator: OpOverload, args: Any, kwargs: Any
    ) -> tuple[OpOverload, Any, Any]:
        names = [argument.name for argument in operator._schema.arguments]
        place = names.index("dtype")
        given = args[place] if place < len(args) else kwargs.get("dtype")
        if given is not None or not self._eligible(args[0]):
            return operator, args, kwargs
        fused = _WIDENING.get(operator)
        if fused is not None and self.backend == "cuda" and _is_single_kernel(args[0]):
            return fused, (args[0], args[1], True), {}
        return operator, args[:place], {**kwargs, "dtype": torch.float32}

    def _float32_norm(
        self, operator: OpOverload, args: Any, kwargs: Any
    ) -> tuple[OpOverload, Any, Any]:
        with_dtype = torch.ops.aten.norm.ScalarOpt_dtype
        if operator is torch.ops.aten.norm.ScalarOpt_dim:
            with_dtype = torch.ops.aten.norm.ScalarOpt_dim_dtype
        dtype = torch.float32 if self._eligible(args[0]) else args[0].dtype
        defaults = operator._schema.arguments[len(args) :]
        filled = [kwargs.get(argument.name, argument.default_value) for argument in defaults]
        return with_dtype, (*args, *filled), {"dtype": dtype}

    def _widest(self, operator: OpOverload, args: Any, kwargs: Any) -> tuple[OpOverload, Any, Any]:
        tensors = [*_flat(args), *_flat(tuple(kwargs.values()))]
        single = any(self._eligible(x) and x.dtype == torch.float32 for x in tensors)
        dtype = torch.float32 if single else torch.get_autocast_dtype(self.backend)
        return operator, *self._both(args, kwargs, dtype)

    def _banned(self, operator: OpOverload, args: Any, kwargs: Any) -> tuple[OpOverload, Any, Any]:
        raise RuntimeError(
            "binary_cross_entropy under autocast, which PyTorch refuses on CUDA; "
            "binary_cross_entropy_with_logits is what it takes"
        )

    # -- casting ---------------------------------------------------------------------------------

    def _eligible(self, value: object) -> bool:
        return (
            isinstance(value, Tensor)
            and value.device.type == self.home
            and value.is_floating_point()
            and value.dtype != torch.float64
        )

    def _both(self, args: Any, kwargs: Any, dtype: torch.dtype) -> tuple[Any, Any]:
        named = {key: self._cast((value,), dtype)[0] for key, value in kwargs.items()}
        return self._cast(args, dtype), named

    def _cast(self, values: Any, dtype: torch.dtype) -> Any:
        """The values with their tensors cast: the last argument first, as C++ compilers have it."""
        made: list[Any] = []
        for value in reversed(values):
            if isinstance(value, Tensor):
                made.append(self._cast_one(value, dtype))
            elif isinstance(value, list | tuple) and any(isinstance(x, Tensor) for x in value):
                made.append([self._cast_one(x, dtype) for x in value])
            else:
                made.append(value)
        return tuple(reversed(made))

    def _cast_one(self, tensor: Any, dtype: torch.dtype) -> Any:
        if not self._eligible(tensor) or tensor.dtype == dtype:
            return tensor
        lasting = (
            dtype == torch.get_autocast_dtype(self.backend)
            and tensor.dtype == torch.float32
            and tensor.requires_grad
            and tensor.is_leaf
            and not tensor._is_view()
            and torch.is_autocast_cache_enabled()
        )
        if not lasting:
            return _to(tensor, dtype)
        if id(tensor) not in self._copies:
            self._copies[id(tensor)] = (tensor, _to(tensor, dtype))
        return self._copies[id(tensor)][1]

    # -- regions ---------------------------------------------------------------------------------

    @contextmanager
    def _regions(self) -> Iterator[None]:
        """Makes PyTorch's `autocast` open regions of ours, and checkpoints open theirs again."""
        kind: Any = torch.amp.autocast_mode.autocast
        make, enter, leave = kind.__init__, kind.__enter__, kind.__exit__
        infer = checkpoint._infer_device_type

        def made(
            region: Any,
            device_type: str,
            dtype: Any = None,
            enabled: bool = True,
            *more: Any,
            **named: Any,
        ) -> None:
            device = self.backend if device_type == "meta" else device_type
            # PyTorch's own is told that it is off: it would look for the device.
            make(region, device, dtype, False, *more, **named)
            if enabled and device == self.backend and region.fast_dtype not in _HALF:
                name = str(region.fast_dtype).removeprefix("torch.")
                warnings.warn(f"autocast has no effect: it does not run in {name}", stacklevel=2)
                return
            region._enabled = enabled and device == self.backend

        def entered(region: Any) -> Any:
            self._depth += 1
            result = enter(region)
            _switch(on=self.on)
            return result

        def left(region: Any, *error: Any) -> Any:
            self._depth -= 1
            result = leave(region, *error)
            if self._depth == 0:
                self._copies.clear()
            _switch(on=self.on)
            return result

        kind.__init__, kind.__enter__, kind.__exit__ = made, entered, left
        checkpoint._infer_device_type = lambda *args: "cuda"  # it asks for the CPU's beside it
        try:
            yield
        finally:
            kind.__init__, kind.__enter__, kind.__exit__ = make, enter, leave
            checkpoint._infer_device_type = infer


def _switch(*, on: bool) -> None:
    torch._C._dispatch_tls_set_dispatch_key_excluded(_KEY, not on)
    torch._C._dispatch_tls_set_dispatch_key_included(_KEY, on)


def _operator(name: str) -> OpOverload | None:
    """The operator of `aten`; None where the installed PyTorch has none of that name."""
    plain, _, overload = name.partition(".")
    packet = getattr(torch.ops.aten, plain, None)
    found: OpOverload | None = getattr(packet, overload or "default", None)
    return found


def _to(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    cast: Tensor = torch.ops.aten.to.dtype(tensor, dtype)
    return cast


def _flat(values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from value
        else:
            yield value


_WIDENING: Mapping[OpOverload, OpOverload] = {
    torch.ops.aten.softmax.int: torch.ops.aten._softmax.default,
    torch.ops.aten.log_softmax.int: torch.ops.aten._log_softmax.default,
}
"""Kernels of CUDA's that read float16 and write float32, where other devices cast first (SoftMax.cpp)."""


def _is_single_kernel(x: Tensor) -> bool:
    return x.dtype == torch.float16 and x.is_meta
