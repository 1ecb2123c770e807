"""A network as users name one: something that makes a Program under any workload.

A name, a line of notation, a file, a module or a callable is read again for each workload that is asked
about; a Program is one step under one workload and stays that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, final

from . import frontends
from .errors import UsageError
from .program import Program
from .settings import Inputs, Settings, examples, workload
from .workload import Workload

if TYPE_CHECKING:
    from torch.nn import Module

REMEMBERED = 12
"""Programs that are kept: those of the sizes that a question goes back and forth between."""


@final
class Network:
    """What `model` names, with the inputs that were given for it.

    `model` is a name ('resnet50', 'timm:resnet50'), a line of notation, 'file.py:Name' (which runs the file),
    a PyTorch module or a callable, or a Program.
    """

    def __init__(
        self, model: str | Program | Module | Callable[..., object], inputs: Inputs | None = None
    ) -> None:
        self._model = model
        self._arguments = None if isinstance(model, str | Program) else examples(inputs)
        self._inputs = inputs if self._arguments is None else None
        self._read: dict[str, Program] = {}

    @property
    def given(self) -> str | None:
        """The name that it was asked for by; None for an object."""
        return self._model if isinstance(self._model, str) else None

    @property
    def fixed(self) -> bool:
        """Whether this is a Program, which has one workload and no other."""
        return isinstance(self._model, Program)

    @property
    def inputs_given(self) -> bool:
        """Whether sizes of its inputs were asked for; else it has its own."""
        return self._inputs is not None

    def workload(self, settings: Settings) -> Workload:
        """The workload that the settings ask for, with the inputs that were given.

        Raises:
            UsageError: the settings make no sense.
        """
        return workload(self._inputs, settings)

    def program(self, asked: Workload) -> Program:
        """One step of the network under the workload.

        Raises:
            UsageError: the network is a Program under another workload, or no network at all.
            WeighError: it cannot be built, run or read.
        """
        model = self._model
        if isinstance(model, Program):
            if asked not in (Workload(), model.workload):
                raise UsageError(
                    "a Program has its workload already, and another one was asked for",
                    "give the settings where the Program is made",
                )
            return model
        plain = replace(asked, checkpointing="none")
        key = repr(plain)
        if key not in self._read:
            while len(self._read) >= REMEMBERED:
                del self._read[next(iter(self._read))]
            self._read[key] = (
                frontends.read(model, plain)
                if isinstance(model, str)
                else _traced(model, plain, None if asked.inputs else self._arguments)
            )
        program = self._read[key]
        if asked.checkpointing == "none":
            return program
        from .analyses.memory.checkpointing import blocks_checkpointed

        program = blocks_checkpointed(program)
        return replace(program, workload=replace(program.workload, checkpointing="blocks"))


def _traced(
    model: Module | Callable[..., object],
    asked: Workload,
    arguments: Mapping[str, object] | tuple[object, ...] | None,
) -> Program:
    if isinstance(model, type):
        raise UsageError(
            f"{model.__name__} is a class, and a network is wanted",
            f"make one: weigh({model.__name__}(...))",
        )
    if not callable(model):
        raise UsageError(
            f"an object of type {type(model).__name__} is not a network",
            "give a name, a line of notation, 'file.py:Name', a torch.nn.Module or a callable",
        )
    if find_spec("torch") is None:
        raise UsageError("PyTorch is not installed", "try: pip install 'weighbridge[torch]'")
    from .frontends import torch

    name = getattr(model, "__name__", type(model).__name__)
    return torch.trace(model, asked, network=name, source="python", examples=arguments)
