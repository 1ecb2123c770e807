"""A module in the user's own Python file: `net.py:Net`, a class, a function that builds one, or one built.

This is the only place where a user's file is executed, and it is executed as `python net.py` would
execute it, with everything that it does on the way. No other file is ever run or unpickled.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from ..errors import UsageError, WeighError, nearest
from ..program import Program
from ..workload import Workload

if TYPE_CHECKING:
    from torch import nn


def is_python_file(text: str) -> bool:
    """Whether the text names a Python file, or something in one."""
    path, _, _ = text.rpartition(":")
    return text.endswith(".py") or path.endswith(".py")


def read(source: str, workload: Workload) -> Program:
    """Runs the file and weighs what it calls by the name: `path.py:Name`.

    A class and a function without required parameters are called; what is then a module, or was one, is
    traced. A function that takes parameters is traced itself, as the network's forward.

    Raises:
        UsageError: there is no such file, it is not Python, it has no such name, or PyTorch is missing.
        WeighError: the file or the network raises; the message names the line.
    """
    path, name = _parts(source)
    _check(path)
    if find_spec("torch") is None:
        raise UsageError("PyTorch is not installed", "try: pip install 'weighbridge[torch]'")
    module = _run(path)
    if not name:
        raise UsageError(
            f"{path} is a file: which of its networks?",
            f"name one: {path}:{_suggestion(module)}",
        )
    model = _network(path, name, _found(path, name, module))
    from .torch import trace

    return trace(model, workload, network=name, source=source, frontend="python")


def _parts(source: str) -> tuple[Path, str]:
    """'net.py:Net' -> net.py, Net; a path without a name has an empty one."""
    path, _, name = source.rpartition(":")
    return (Path(source), "") if source.endswith(".py") else (Path(path), name)


def _check(path: Path) -> None:
    if path.is_dir():
        raise UsageError(f"{path} is a directory", "give a Python file: net.py:Net")
    if not path.exists():
        beside = sorted(str(other) for other in path.parent.glob("*.py"))[:200]
        near = nearest(str(path), beside)
        raise UsageError(
            f"there is no file {path}", *([f"nearest: {', '.join(near)}"] if near else [])
        )
    if not path.read_bytes().strip():
        raise UsageError(f"{path} is empty", "it should define a network: a class or a function")


def _run(path: Path) -> ModuleType:
    """Executes the file, with its folder on the path as when Python runs it."""
    name = f"weighed_{path.stem}"
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    # Pickling, dataclasses and inspect look a class's module up here.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        line = (error.text or "").strip()
        raise UsageError(
            f"{path} is not Python: {error.msg}", f"{path}:{error.lineno}: {line}"
        ) from error
    except (UnicodeDecodeError, ValueError) as error:
        raise _raised(path, error, f"{path} cannot be run") from error
    except Exception as error:
        raise _raised(path, error, f"{path} cannot be run") from error
    except SystemExit as error:
        raise WeighError(
            f"{path} ends the program while it is loaded (exit code {error.code})",
            "put what runs only as a script under: if __name__ == '__main__':",
        ) from error
    finally:
        sys.path.remove(folder)
    return module


def _raised(path: Path, error: Exception, doing: str) -> WeighError:
    """An exception in the user's file, with the line of theirs that it comes from."""
    from .torch.failures import user_line

    where = user_line(error.__traceback__, within=path)
    text = str(error).strip().partition("\n")[0]
    return WeighError(
        f"{doing}: {type(error).__name__}: {text}", *([where] if where is not None else [])
    )


def _found(path: Path, name: str, module: ModuleType) -> object:
    value: object = module
    for part in name.split("."):
        if not hasattr(value, part):
            near = nearest(part, _networks(module) or _own(module))
            raise UsageError(
                f"{path} has no {name!r}",
                *([f"nearest: {', '.join(near)}"] if near else []),
                *([f"it defines: {', '.join(_own(module))}"] if _own(module) else []),
            )
        value = getattr(value, part)
    return value


def _network(path: Path, name: str, value: object) -> nn.Module | Callable[..., object]:
    """The module or function to trace: what is called without arguments where that makes one."""
    from torch import nn

    if isinstance(value, nn.Module):
        return value
    if not callable(value):
        raise UsageError(
            f"{path}:{name} is {type(value).__name__}, which is no network",
            "give a class, a function that builds a network, or a module",
        )
    needed = _required(value)
    if isinstance(value, type):
        if needed:
            raise UsageError(
                f"{path}:{name} cannot be built without arguments: it needs {', '.join(needed)}",
                "write a function that builds it, and name that: "
                f"def build(): return {name}({', '.join(f'{each}=...' for each in needed)})",
            )
    elif needed:
        return value  # a forward: it takes tensors
    try:
        built = value()
    except Exception as error:
        raise _raised(path, error, f"{path}:{name} cannot be built") from error
    if isinstance(built, nn.Module):
        return built
    raise UsageError(
        f"{path}:{name}() makes {type(built).__name__}, which is no torch.nn.Module",
        "give a class, a function that builds a network, or a module",
    )


def _required(value: Callable[..., object]) -> tuple[str, ...]:
    """The parameters that have no default."""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return ()
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return tuple(
        name
        for name, each in signature.parameters.items()
        if each.default is inspect.Parameter.empty and each.kind not in variadic
    )


def _own(module: ModuleType) -> list[str]:
    """The public names that the file itself defines."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not isinstance(value, ModuleType)
        and getattr(value, "__module__", module.__name__) == module.__name__
    ]


def _networks(module: ModuleType) -> list[str]:
    """The names of its modules, and of its classes of them."""
    from torch import nn

    return [
        name
        for name, value in vars(module).items()
        if isinstance(value, nn.Module)
        or (
            isinstance(value, type)
            and issubclass(value, nn.Module)
            and value.__module__ == module.__name__
        )
    ]


def _suggestion(module: ModuleType) -> str:
    """The name of a network in the file, as an example."""
    return next(iter([*reversed(_networks(module)), *_own(module)]), "Net")
