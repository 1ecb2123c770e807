"""torchvision: its networks by name, at the input size that their weights document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

_FROZEN = frozenset(
    {"fasterrcnn_resnet50_fpn", "fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn_mobilenet_v3_large_320_fpn",
     "maskrcnn_resnet50_fpn", "keypointrcnn_resnet50_fpn", "retinanet_resnet50_fpn", "fcos_resnet50_fpn"}
)  # fmt: skip
"""Detectors whose published weights hold the backbone's batch normalisation fixed, as buffers."""

_SIDE = 512
"""Side of the random images on which torchvision worked out the operations that it documents.

`get_ops` in its test/common_extended_utils.py: detectors and optical flow take them as they are, the others
at the size to which their weights' transforms bring them.
"""

_FRAMES = 16
"""Frames of the clips there."""


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

    if is_detector(name) and workload.training:
        raise WeighError(
            f"a training step of {name} needs boxes to learn, and there are none to make up",
            "weigh it without --train, or a step of your own: weighbridge.weigh(step)",
        )
    if not workload.inputs:
        workload = replace(workload, inputs=documented_inputs(name))
    notes: tuple[str, ...] = ()
    if name == "googlenet" and not workload.training:
        notes = ("without the auxiliary heads, which only training uses",)
    if _family(name) == "quantization":
        notes = ("weighed in floating point, as it is before quantisation",)
    if is_detector(name):
        model, notes = detector(name)
    else:
        make = partial(made, name, workload.inputs, training=workload.training)
        model = build(make, f"torchvision:{name}")
    program = trace(
        model, workload, network=name, source=f"torchvision:{name}", frontend="torchvision"
    )
    return replace(program, warnings=(*program.warnings, *notes))


def published(name: str) -> tuple[str, float, float] | None:
    """Whose weights they are, and the top-1 and top-5 accuracy on ImageNet that they were published with, 0 to 1.

    Those of the first recipe, where there are several; None of networks that do not classify.
    """
    from torchvision.models import get_model_weights

    for weights in get_model_weights(name):
        found = weights.meta.get("_metrics", {}).get("ImageNet-1K", {})
        if "acc@1" in found:
            return str(weights), found["acc@1"] / 100, found["acc@5"] / 100
    return None


def made(name: str, inputs: Sequence[InputSpec], *, training: bool = False) -> nn.Module:
    """The network as its published weights have it, for these inputs; any but a detector."""
    settings: dict[str, bool | int | None] = dict(_UNINITIALISED.get(name, {}))
    if _family(name) == "vision_transformer":
        # It has a place for each patch, so that the image's size is part of the network.
        settings["image_size"] = inputs[0].shape[-1]
    if _family(name) == "segmentation":
        settings["weights_backbone"] = None  # or it fetches some
        # The published weights have the head that helps to train, which runs whenever it is there.
        settings["aux_loss"] = None if name.startswith("lraspp") else True
    if name == "googlenet" and not training:
        settings["aux_logits"] = False  # the published weights come without the heads
    return _make(name, settings)


def _make(name: str, settings: Mapping[str, Any]) -> nn.Module:
    from torchvision.models import get_model

    model: nn.Module = get_model(name, weights=None, **settings)
    return model


def is_detector(name: str) -> bool:
    """Whether the network finds boxes, and so is one for :func:`detector`."""
    return _family(name) == "detection"


def detector(name: str) -> tuple[nn.Module, tuple[str, ...]]:
    """A detector that takes a batch of images and keeps as many boxes as it may, and a note that says so.

    It is built with data, of which the anchors are a part. What is suppressed depends on the weights: here
    nothing is, so that proposals and boxes are as many as the network lets through.
    """
    import torch
    from torchvision.ops.misc import FrozenBatchNorm2d

    model: Any
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = _make(name, {"weights_backbone": None}).eval()
    if name in _FROZEN:
        for parent in tuple(model.backbone.modules()):
            for key, child in tuple(parent.named_children()):
                if isinstance(child, torch.nn.BatchNorm2d):
                    setattr(parent, key, FrozenBatchNorm2d(child.num_features, child.eps))
    model.register_forward_pre_hook(_one_by_one)
    if not hasattr(model, "rpn"):
        return model, ()
    model.rpn.nms_thresh = model.roi_heads.nms_thresh = 2.0  # boxes overlap by 1 at most
    for head in (model.rpn.head.bbox_pred, model.roi_heads.box_predictor.bbox_pred):
        torch.nn.init.zeros_(head.weight)  # boxes stay where they begin, inside the image
    model.rpn.score_thresh, model.roi_heads.score_thresh = 0.0, -1.0
    proposals, boxes = model.rpn.post_nms_top_n(), model.roi_heads.detections_per_img
    return model, (
        f"counted for as many boxes as it lets through: {proposals:,} proposals and {boxes:,} detections an image",
    )


def _one_by_one(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Images (B, 3, M, N) as the list that detectors take."""
    images, *rest = args
    return (list(images), *rest)


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
            return (InputSpec(shape=(3, _FRAMES, *image)),)
        return (InputSpec(shape=(3, *image)),)
    if _family(name) == "segmentation" and "resize_size" in settings:
        return (InputSpec(shape=(3, *_sides(settings["resize_size"]))),)
    images = {"detection": 1, "optical_flow": 2}.get(_family(name), 0)
    if images:
        return (InputSpec(shape=(3, _SIDE, _SIDE)),) * images
    raise UsageError(
        f"torchvision documents no input size for {name}",
        "give one without the batch axis: --input 3,224,224",
    )


def _sides(size: Any) -> tuple[int, int]:
    """Height and width, where one number means a square."""
    sides = [size] if isinstance(size, int) else list(size)
    return (sides[0], sides[-1])
