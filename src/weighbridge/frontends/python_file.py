"""A module in the user's own Python file: `net.py:Net`, a class, a function that builds one, or one built.

This is the only place where a user's file is executed, and it is executed as `python net.py` would
execute it, with everything that it does on the way: its folder is on the path while it is weighed, and
`sys.argv` holds its path alone. A file with relative imports is run as the part of its package that it
is, as `python -m package.net` would. No other file is ever run or unpickled by us.

What the file builds is built without memory for its weights where that can be: a network need not fit
this machine. One that then asks for values is built again with the weights that its author gives it.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from ..errors import UsageError, WeighError, nearest
from ..program import Program
from ..workload import Workload

if TYPE_CHECKING:
    from torch import nn

NETWORKS_SHOWN = 12
"""How many of a file's networks are named in a question; the rest is counted."""


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
    # Before the file's folder is on the path: a random.py beside the file would be taken for Python's.
    from .torch import trace, tracing  # noqa: F401

    with _as_script(path):
        module = _run(path)
        if not name:
            raise UsageError(
                f"{path} is a file: which of its networks?",
                f"it has: {_listed(_networks(module) or _own(module))}",
                f"name one: {path}:{_suggestion(module)}",
            )
        found = _Found(path=path, name=name, value=_value(path, name, module))
        model, built = found.network()
        program = trace(model, workload, network=name, source=source, frontend="python")
        if not built or program.rung == "meta" or not _fits(model):
            return program
        return trace(found.with_weights(), workload, network=name, source=source, frontend="python")


def function(source: str) -> Callable[..., object]:
    """Runs the file and returns the function that it calls by the name: a loss, or what makes an optimizer.

    Raises:
        UsageError: there is no such file, it is not Python, or it has no function of that name.
        WeighError: the file raises; the message names the line.
    """
    path, name = _parts(source)
    _check(path)
    with _as_script(path):
        module = _run(path)
        if not name:
            raise UsageError(f"{path} is a file: which of its functions?", f"name one: {path}:name")
        value = _value(path, name, module)
    if not callable(value):
        raise UsageError(f"{path}:{name} is {type(value).__name__}, and a function is wanted")
    return value


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


@contextmanager
def _as_script(path: Path) -> Iterator[None]:
    """Paths and arguments as a script has them; nothing is left behind, no compiled file either."""
    places, arguments, silent = list(sys.path), list(sys.argv), sys.dont_write_bytecode
    sys.path.insert(0, str(path.resolve().parent))
    sys.argv[:] = [str(path)]
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.path[:] = places
        sys.argv[:] = arguments
        sys.dont_write_bytecode = silent


def _run(path: Path) -> ModuleType:
    """Executes the file: alone, or as a part of its package where it imports from that."""
    from .torch.failures import ends_the_program, first_line, remedies, user_lines

    try:
        return _executed(path)
    except UsageError:
        raise
    except SyntaxError as error:
        line = (error.text or "").strip()
        raise UsageError(
            f"{path if error.filename is None else error.filename} is not Python: {error.msg}",
            f"{error.filename or path}:{error.lineno}: {line}",
        ) from error
    except SystemExit as error:
        raise ends_the_program(error, f"{path}, while it is loaded,").with_hint(
            "put what runs only as a script under: if __name__ == '__main__':"
        ) from error
    except Exception as error:
        raise WeighError(
            f"{path} cannot be run: {first_line(error)}",
            *user_lines(error.__traceback__),
            *remedies(error),
        ) from error


def _executed(path: Path) -> ModuleType:
    levels = _relative_levels(path)
    name = _name_in_package(path, levels) if levels else f"weighed_{path.stem}"
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    # Pickling, dataclasses and inspect look a class's module up here.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _relative_levels(path: Path) -> int:
    """The most dots in front of a relative import in the file; 0 without any."""
    tree = ast.parse(path.read_bytes(), filename=str(path))
    return max((n.level for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)), default=0)


def _name_in_package(path: Path, levels: int) -> str:
    """'package.net': as many folders up as the imports reach, and as there are `__init__.py`.

    Raises:
        UsageError: another package of that name is loaded already.
    """
    folder = path.resolve().parent
    names = [path.stem]
    while levels > 0 or (folder / "__init__.py").exists():
        names.insert(0, folder.name)
        folder, levels = folder.parent, levels - 1
    sys.path.insert(0, str(folder))
    package = import_module(".".join(names[:-1]))
    if path.resolve().parent not in [Path(place).resolve() for place in package.__path__]:
        raise UsageError(
            f"{path} imports from its package {package.__name__}, and another one of that name is "
            f"loaded: {next(iter(package.__path__))}",
            "rename the folder, or import without the dots",
        )
    return ".".join(names)


def _value(path: Path, name: str, module: ModuleType) -> object:
    value: object = module
    for part in name.split("."):
        if not hasattr(value, part):
            near = nearest(part, _networks(module) or _own(module))
            raise UsageError(
                f"{path} has no {name!r}",
                *([f"nearest: {', '.join(near)}"] if near else []),
                *([f"it defines: {_listed(_own(module))}"] if _own(module) else []),
            )
        value = getattr(value, part)
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What a file calls by a name: a module, a class or a function."""

    path: Path
    name: str
    value: object

    def network(self) -> tuple[nn.Module | Callable[..., object], bool]:
        """What to trace, and whether it was built here, without memory for its weights."""
        from torch import nn

        from .torch.building import build

        if isinstance(self.value, nn.Module):
            return self.value, False
        make = self._maker()
        if make is None:
            assert callable(self.value)
            return self.value, False  # a forward: it takes tensors
        return self._checked(build(make, f"{self.path}:{self.name}", keeping_constants=True)), True

    def with_weights(self) -> nn.Module:
        """The network built again, as its author initialises it."""
        make = self._maker()
        assert make is not None
        return self._checked(make())

    def _maker(self) -> Callable[[], object] | None:
        """What builds the network; None for a function that takes tensors.

        Raises:
            UsageError: it cannot be called, or is a class that needs arguments.
        """
        if not callable(self.value):
            raise UsageError(
                f"{self.path}:{self.name} is {type(self.value).__name__}, which is no network",
                "give a class, a function that builds a network, or a module",
            )
        needed = _required(self.value)
        if not needed:
            return self.value
        if not isinstance(self.value, type):
            return None
        settings = ", ".join(f"{each}=..." for each in needed)
        raise UsageError(
            f"{self.path}:{self.name} cannot be built without arguments: it needs {', '.join(needed)}",
            "write a function that builds it, and name that: "
            f"def build(): return {self.name}({settings})",
        )

    def _checked(self, built: object) -> nn.Module:
        from torch import nn

        if isinstance(built, nn.Module):
            return built
        raise UsageError(
            f"{self.path}:{self.name}() makes {type(built).__name__}, which is no torch.nn.Module",
            "give a class, a function that builds a network, or a module",
        )


def _fits(model: object) -> bool:
    """Whether the network's weights take little enough of the memory that is free."""
    from torch import nn

    from .torch.rungs import SHARE, available_bytes

    free = available_bytes()
    if free is None or not isinstance(model, nn.Module):
        return free is None
    return sum(each.nbytes for each in (*model.parameters(), *model.buffers())) < SHARE * free


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


def _listed(names: list[str]) -> str:
    """'Net, Head, build and 3 more'."""
    more = len(names) - NETWORKS_SHOWN
    return ", ".join(names[:NETWORKS_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _suggestion(module: ModuleType) -> str:
    """The name of a network in the file, as an example."""
    return next(iter([*reversed(_networks(module)), *_own(module)]), "Net")
