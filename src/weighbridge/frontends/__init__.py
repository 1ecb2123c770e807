"""Frontends: whatever describes a network, read as a Program; and which of them reads what.

A frontend is one file or folder here, its name is its public name and its prefix: `zoo:resnet50`,
`torchvision:resnet50`, `timm:resnet50`, `hf:path/to/config.json`. Without a prefix a text is a line of
notation, a Python file, or a name, and of a name the first of the zoo, torchvision and timm that has it.
A frontend is imported only when it is asked, and its framework only when it answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from ..errors import UsageError, nearest
from ..program import Program
from ..workload import Workload

PACKAGES = {"zoo": None, "torchvision": "torchvision", "timm": "timm", "hf": "transformers"}
"""The frontends that know networks by name, and the package that each needs."""

BARE = ("zoo", "torchvision", "timm")
"""Where a name without a prefix is looked for, in this order."""


class ByName(Protocol):
    """A frontend that knows networks by name."""

    def names(self) -> tuple[str, ...]:
        """Every name it answers to."""

    def read(self, name: str, workload: Workload) -> Program:
        """The network of that name.

        Raises:
            UsageError: there is none.
        """


class Optional(ByName, Protocol):
    """A frontend by name whose package may not be installed."""

    def installed(self) -> bool:
        """Whether its package can be imported; without importing it."""

    def knows(self, name: str) -> bool:
        """Whether it has a network of that name."""


def read(source: str, workload: Workload) -> Program:
    """The network that the text names or writes, under the workload.

    Raises:
        UsageError: nothing is called so; the message says where it was looked for.
        NotationError: the notation cannot be read.
        WeighError: the network cannot be built or run.
    """
    prefix, _, name = source.partition(":")
    if prefix in PACKAGES:
        return _by_name(prefix).read(name, workload)
    if has("zoo", source):  # first, since most are, and the others take time to load
        return _by_name("zoo").read(source, workload)
    from . import notation

    if notation.is_notation(source):
        return notation.read(source, workload)
    from . import python_file

    if python_file.is_python_file(source):
        return python_file.read(source, workload)
    for frontend in BARE[1:]:
        if has(frontend, source):
            return _by_name(frontend).read(source, workload)
    raise _unknown(source)


def has(frontend: str, name: str) -> bool:
    """Whether the frontend is installed and has a network of that name."""
    if frontend == "zoo":
        from . import zoo

        return zoo.canonical(name) is not None
    found = _optional(frontend)
    return found.installed() and found.knows(name)


def installed(frontend: str) -> bool:
    """Whether the frontend's package can be imported; without importing it."""
    return PACKAGES[frontend] is None or _optional(frontend).installed()


def names(frontend: str) -> tuple[str, ...]:
    """The names that a frontend answers to; none where its package is not installed."""
    return _by_name(frontend).names() if installed(frontend) else ()


def _by_name(frontend: str) -> ByName:
    return cast(ByName, import_module(f".{frontend}", __name__))


def _optional(frontend: str) -> Optional:
    return cast(Optional, import_module(f".{frontend}", __name__))


def _unknown(name: str) -> UsageError:
    near = nearest(name, [known for frontend in BARE for known in names(frontend)])
    return UsageError(
        f"no network is called {name!r}",
        *_looked_in(),
        *([f"nearest: {', '.join(near)}"] if near else []),
        *_meant(name),
        "see all names: weigh networks",
    )


def _looked_in() -> Iterator[str]:
    """'looked in: zoo, torchvision, timm; transformers is not installed'."""
    missing = [str(PACKAGES[frontend]) for frontend in PACKAGES if not installed(frontend)]
    line = "looked in: " + ", ".join(frontend for frontend in BARE if installed(frontend))
    if missing:
        *most, last = missing
        named = f"{', '.join(most)} and {last} are" if most else f"{last} is"
        line += f"; {named} not installed"
    yield line


def _meant(name: str) -> Iterator[str]:
    if name and _exists(name):
        yield f"{name} is a file or a folder here: a module of one is file.py:Name, a config hf:{name}"
    elif len(name.split()) > 1:
        yield "notation has arrows between its layers: (Input)(3,224,224)->(Conv)6c5w1s0p"


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:  # too long to be one
        return False
