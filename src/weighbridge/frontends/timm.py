"""timm: its networks by name, at the input size of their configuration."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ..errors import UsageError, nearest
from ..program import Program
from ..workload import InputSpec, Workload

if TYPE_CHECKING:
    from torch import nn


def installed() -> bool:
    """Whether timm can be imported; without importing it."""
    return find_spec("timm") is not None and find_spec("torch") is not None


def names() -> tuple[str, ...]:
    """Every network that timm has by name."""
    from timm import list_models

    return tuple(list_models())


def knows(name: str) -> bool:
    """Whether timm has a network of that name, with or without the tag of its weights."""
    from timm.models import is_model

    return bool(is_model(name))


def read(name: str, workload: Workload) -> Program:
    """The network of that name; without given inputs, at its configuration's size.

    Raises:
        UsageError: timm is not installed or has no such network.
        WeighError: the network needs data to run.
    """
    if not installed():
        raise UsageError("timm is not installed", "try: pip install 'weighbridge[timm]'")
    if not knows(name):
        near = nearest(name, names())
        raise UsageError(
            f"timm has no network called {name!r}",
            *([f"nearest: {', '.join(near)}"] if near else []),
        )
    from .torch import trace
    from .torch.building import build

    model = build(partial(_make, name), f"timm:{name}")
    if not workload.inputs:
        workload = replace(workload, inputs=_configured_inputs(name, model))
    return trace(model, workload, network=name, source=f"timm:{name}", frontend="timm")


def _make(name: str) -> nn.Module:
    from timm import create_model

    model: nn.Module = create_model(name, pretrained=False)
    return model


def _configured_inputs(name: str, model: nn.Module) -> tuple[InputSpec, ...]:
    """The input size of the network's configuration, without the batch axis.

    Raises:
        UsageError: its configuration has none.
    """
    config = getattr(model, "pretrained_cfg", None) or {}
    size = config.get("input_size")
    if size is None:
        raise UsageError(
            f"timm documents no input size for {name}",
            "give one without the batch axis: --input 3,224,224",
        )
    return (InputSpec(shape=tuple(int(side) for side in size)),)
