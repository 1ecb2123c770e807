"""torchvision: its networks by name, at the input size that their weights document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ..errors import UsageError, WeighError, nearest
from ..program import Program
from ..workload import InputSpec, Workload

if TYPE_CHECKING:
    from torch import nn

_UNINITIALISED: Mapping[str, Mapping[str, bool]] = {
    "googlenet": {"init_weights": False},
    "inception_v3": {"init_weights": False},
}
"""Networks that draw their weights one by one, for minutes, unless told not to."""

_BOXES = ("detection",)
"""Families whose networks choose boxes by their values."""


def installed() -> bool:
    """Whether torchvision can be imported; without importing it."""
    return find_spec("torchvision") is not None and find_spec("torch") is not None


def names() -> tuple[str, ...]:
    """Every network that torchvision has by name."""
    from torchvision.models import list_models

    return tuple(list_models())


def knows(name: str) -> bool:
    """Whether torchvision has a network of that name."""
    return name in names()


def read(name: str, workload: Workload) -> Program:
    """The network of that name; without given inputs, at the size its weights document.

    Raises:
        UsageError: torchvision is not installed or has no such network, or its input is not documented.
        WeighError: the network needs data to run.
    """
    if not installed():
        raise UsageError("torchvision is not installed", "try: pip install 'weighbridge[torch]'")
    if not knows(name):
        near = nearest(name, names())
        raise UsageError(
            f"torchvision has no network called {name!r}",
            *([f"nearest: {', '.join(near)}"] if near else []),
        )
    from .torch import trace
    from .torch.building import build

    family = _family(name)
    if family in _BOXES:
        raise WeighError(
            f"{name} needs data to run: it keeps boxes by their scores, and without data there are none",
            "its backbone can be weighed: torchvision:resnet50",
        )
    if not workload.inputs:
        workload = replace(workload, inputs=documented_inputs(name))
    settings: dict[str, bool | int | None] = dict(_UNINITIALISED.get(name, {}))
    if family == "vision_transformer":
        # It has a place for each patch, so that the image's size is part of the network.
        settings["image_size"] = workload.inputs[0].shape[-1]
    if family == "segmentation":
        settings["weights_backbone"] = None  # or it fetches some
    notes: tuple[str, ...] = ()
    if name == "googlenet" and not workload.training:
        # The published weights come without the heads, which only training uses.
        settings["aux_logits"] = False
        notes = ("without the auxiliary heads, which only training uses",)
    if family == "quantization":
        notes = ("weighed in floating point, as it is before quantisation",)
    model = build(partial(_make, name, settings), f"torchvision:{name}")
    program = trace(
        model, workload, network=name, source=f"torchvision:{name}", frontend="torchvision"
    )
    return replace(program, warnings=(*program.warnings, *notes))


def _make(name: str, settings: Mapping[str, Any]) -> nn.Module:
    from torchvision.models import get_model

    model: nn.Module = get_model(name, weights=None, **settings)
    return model


def _family(name: str) -> str:
    """'detection', 'segmentation', 'video', 'quantization', 'optical_flow', or a classifier's own."""
    from torchvision.models import get_model_builder

    return str(get_model_builder(name).__module__.split(".")[2])


def documented_inputs(name: str) -> tuple[InputSpec, ...]:
    """The inputs for which the network's published weights were evaluated, without the batch axis.

    Raises:
        UsageError: torchvision documents none.
    """
    from torchvision.models import get_model_weights

    weights = getattr(get_model_weights(name), "DEFAULT", None)
    transforms = getattr(weights, "transforms", None)
    settings: Mapping[str, Any] = getattr(transforms, "keywords", {})
    if "crop_size" in settings:
        image = _sides(settings["crop_size"])
        if _family(name) == "video":
            # A clip: channels, frames, height, width.
            frames = int(weights.meta.get("min_temporal_size", 16)) if weights is not None else 16
            return (InputSpec(shape=(3, frames, *image)),)
        return (InputSpec(shape=(3, *image)),)
    if _family(name) == "segmentation" and "resize_size" in settings:
        return (InputSpec(shape=(3, *_sides(settings["resize_size"]))),)
    if _family(name) == "optical_flow":
        frame = InputSpec(
            shape=(3, 520, 960)
        )  # as RAFT is evaluated: Teed and Deng 2020, section 4
        return (frame, frame)
    raise UsageError(
        f"torchvision documents no input size for {name}",
        "give one without the batch axis: --input 3,224,224",
    )


def _sides(size: Any) -> tuple[int, int]:
    """Height and width, where one number means a square."""
    sides = [size] if isinstance(size, int) else list(size)
    return (sides[0], sides[-1])
