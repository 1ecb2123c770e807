"""Failures: what went wrong while a network ran, in the user's terms.

The exception that PyTorch raises is low and long. What a person needs is the line of their own code,
the module that was running, the shapes that went in, and what to try.
"""

from __future__ import annotations

import linecache
import os
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor, nn
from torch._ops import OpOverload

from ...errors import WeighError, nearest
from .recording import DTYPE_NAMES, MemoryLimitError

_OURS = f"{Path(__file__).parents[2]}{os.sep}"
_PYTORCH = f"{Path(torch.__file__).parent}{os.sep}"  # torchvision stands beside it
_LIBRARIES = f"{Path(torch.__file__).parents[1]}{os.sep}"
_PYTHON = f"{Path(linecache.__file__).parent}{os.sep}"

_ON_META = re.compile(r"\bmeta\b|no fake impl|not find the fake impl", re.IGNORECASE)
"""What PyTorch's message mentions where a tensor without data was asked for some, or met one that has some,
or where an operator of the user's own works on data alone."""

_NO_DEVICE = re.compile(
    r"no NVIDIA driver|No (CUDA|HIP|XPU) (GPUs|devices)|not compiled with (CUDA|XPU)|not linked with support for"
    r"|invalid device ordinal|is_available\(\) is False|driver version is insufficient",
    re.IGNORECASE,
)
"""What PyTorch's messages say where a device is asked for that the machine has not."""

OWN_DATA = "it ran on random data; data of your own, in Python: weigh(model, (tensor,))"
"""What to try where random data made a network fail."""

_SPARSE = re.compile(r"storage of Sparse\w*Impl")
"""What PyTorch says where it is asked how many bytes a sparse tensor takes."""

_DTYPES_CLASH = re.compile(
    r"dtype|scalar type|data ?type|aten\.\S+ of (u?int|float|bool|bfloat)", re.IGNORECASE
)

_OF_INPUTS = (RuntimeError, ValueError, TypeError, LookupError, AssertionError, ArithmeticError)
_NOT_OF_INPUTS = (NotImplementedError, RecursionError)
"""Exceptions that another input may avoid; and those among them that none does."""

_DATA_TAGS = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)


class NeedsDataError(WeighError):
    """The network asked for values where there are none. `asked` says where, in one line."""

    def __init__(self, message: str, *hints: str, asked: str = "") -> None:
        super().__init__(message, *hints)
        self.asked = asked

    def with_hint(self, *hints: str) -> NeedsDataError:
        error = NeedsDataError(self.message, *self.hints, *hints, asked=self.asked)
        error.__cause__ = self.__cause__ or self
        return error


def explain(
    error: Exception,
    *,
    doing: str,
    scope: str,
    failed: OpOverload | None,
    given: str,
    with_data: bool,
) -> WeighError:
    """The exception as one message. `doing` is the phase, `scope` the module that was running."""
    result: WeighError
    if isinstance(error, WeighError):
        return error
    lines = user_lines(error.__traceback__)
    place = f" in {scope}" if scope else ""
    if isinstance(error, MemoryLimitError):
        result = WeighError(
            f"{doing} of the network was stopped{place}: {error}",
            *lines,
            "make the batch or the input smaller",
        )
    elif not with_data and needs_data(error, failed):
        result = NeedsDataError(
            f"the network needs data to run: {doing}{place} asks for values, and there are none",
            *lines,
            *([f"operator: {failed}"] if failed is not None else []),
            asked=f"{doing}{place}" + (f" at {lines[-1]}" if lines else ""),
        )
    elif _SPARSE.search(str(error)):
        result = WeighError(
            f"the network works on sparse tensors{place}, which are not weighed",
            *lines,
            "give it dense ones: .to_dense()",
        )
    elif "overflow" in str(error).lower():
        result = WeighError(
            f"{doing} of the network failed{place}: a tensor is larger than PyTorch can address",
            *lines,
            f"it was given: {given}",
            "make the batch or the input smaller",
        )
    else:
        result = WeighError(
            f"{doing} of the network failed{place}: {first_line(error)}",
            *lines,
            *(_met(error.__traceback__) if _of_inputs(error) else ()),
            f"it was given: {given}",
            *remedies(error),
            *(_other_input(error, with_data) if _of_inputs(error) else ()),
        )
    result.__cause__ = error
    return result


def remedies(error: BaseException) -> tuple[str, ...]:
    """What to try against an exception in the user's code; nothing where only its author can tell."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        return () if package in sys.modules else (f"install the package that brings {package}",)
    if isinstance(error, NotImplementedError) and '"forward"' in str(error):
        return ("give its class a forward, or put the layers into nn.Sequential, which has one",)
    if isinstance(error, RecursionError):
        return ("it calls itself, and nothing ends that",)
    if isinstance(error, FileNotFoundError):
        return ("a path counts from the folder in which this runs; weights need not be loaded",)
    if isinstance(error, AttributeError):
        return _nearest_attribute(error)
    if _NO_DEVICE.search(str(error)):
        return (
            "no device is needed to weigh a network: leave out .cuda() and device='cuda', "
            "or move the network where it is used",
        )
    return ()


def _nearest_attribute(error: AttributeError) -> tuple[str, ...]:
    """'nearest: fc', where a module has no part of the name that is asked for."""
    if not isinstance(error.obj, nn.Module) or not error.name:
        return ()
    own = (*vars(error.obj), *(name for name, _ in error.obj.named_children()))
    tensors = (*error.obj._parameters, *error.obj._buffers)
    public = [name for name in (*own, *tensors) if not name.startswith("_")]
    near = nearest(error.name, public)
    return (f"nearest: {', '.join(near)}",) if near else ()


def _of_inputs(error: Exception) -> bool:
    """Whether another input may help."""
    if not isinstance(error, _OF_INPUTS) or isinstance(error, _NOT_OF_INPUTS):
        return False
    return not _NO_DEVICE.search(str(error))


def _other_input(error: Exception, with_data: bool) -> Iterator[str]:
    """What to give instead."""
    if _DTYPES_CLASH.search(str(error)):
        yield "another dtype, behind a colon: --input 512:int64, --input 3,224,224:float16"
    else:
        yield "another input: --input 3,224,224 (shape without the batch axis)"
    if with_data:
        yield OWN_DATA


def _met(trace: TracebackType | None) -> Iterator[str]:
    """What the innermost module was given, where it is not the network itself: 'Linear(8, 2) got ...'."""
    calls = [
        frame
        for frame, _ in traceback.walk_tb(trace)
        if frame.f_code.co_name == "_call_impl" and frame.f_code.co_filename.startswith(_PYTORCH)
    ]
    if len(calls) < 2:
        return
    local = calls[-1].f_locals
    tensors = [
        value
        for value in (*local.get("args", ()), *local.get("kwargs", {}).values())
        if isinstance(value, Tensor)
    ]
    if tensors:
        got = ", ".join(f"{tuple(each.shape)} {DTYPE_NAMES[each.dtype]}" for each in tensors)
        yield f"{_brief(local['self'])} got {got}"


def _brief(module: nn.Module) -> str:
    """'Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))', without what is inside."""
    try:
        detail = " ".join(module.extra_repr().split())
    except Exception:  # a broken repr is not what went wrong
        detail = ""
    return f"{type(module).__name__}({detail})"


def ends_the_program(error: SystemExit, what: str) -> WeighError:
    """What to say of code that ends the whole program: 'net.py ends the program: sys.exit(3)'."""
    code = error.code
    if code is None or isinstance(code, int):
        text = f"sys.exit({code or 0})"
    else:
        text = f"sys.exit, saying {' '.join(str(code).split())}"
    return WeighError(f"{what} ends the program: {text}", *user_lines(error.__traceback__))


def no_tree(model: object) -> WeighError | None:
    """Why PyTorch cannot walk over a network's modules; None where it can."""
    if not isinstance(model, nn.Module):
        return None
    seen: set[int] = set()
    walk: list[tuple[str, nn.Module, tuple[int, ...]]] = [("", model, ())]
    while walk:
        name, module, above = walk.pop()
        kind = type(module)
        if id(module) in above:
            return WeighError(
                f"{name} ({kind.__name__}) lies inside itself, and PyTorch walks over modules without end",
                "keep the reference where PyTorch does not look: in a tuple, self.parent = (module,)",
            )
        if getattr(kind, "__hash__", None) is None:
            return WeighError(
                f"{kind.__name__} cannot be hashed, and PyTorch does so with every module",
                "a dataclass is hashed as any module is with @dataclass(eq=False)",
            )
        if id(module) not in seen:
            seen.add(id(module))
            inside = (*above, id(module))
            walk += [
                (f"{name}.{key}".lstrip("."), child, inside)
                for key, child in module._modules.items()
                if child is not None
            ]
    return None


def needs_data(error: Exception, failed: OpOverload | None) -> bool:
    """Whether the failure is that a value was asked for where there are none."""
    if failed is not None and any(tag in failed.tags for tag in _DATA_TAGS):
        return True
    return isinstance(error, RuntimeError | TypeError | NotImplementedError | ValueError) and bool(
        _ON_META.search(str(error))
    )


def user_lines(trace: TracebackType | None) -> tuple[str, ...]:
    """The deepest line that the user wrote, and the deepest of a library other than PyTorch below it."""
    own: str | None = None
    below: str | None = None
    for frame, number in traceback.walk_tb(trace):
        path = frame.f_code.co_filename
        if path.startswith((_OURS, _PYTORCH, "<")):
            continue
        line = f"{_short(path)}:{number}: {linecache.getline(path, number).strip()}"
        if path.startswith(_LIBRARIES):
            below = line
        elif not path.startswith(_PYTHON):
            own, below = line, None
    return tuple(line for line in (own, below) if line is not None)


def _short(path: str) -> str:
    """The path from here where it lies below; a library's from its package."""
    location = Path(path)
    if "site-packages" in location.parts:
        return "/".join(location.parts[location.parts.index("site-packages") + 1 :])
    here = Path.cwd()
    return str(location.relative_to(here)) if location.is_relative_to(here) else path


def first_line(error: BaseException) -> str:
    """'ValueError: no luck': the exception's class and the first line of what it says."""
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
