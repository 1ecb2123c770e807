"""Normalisations, under the many names of batch norm's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from ....program import AttributeValue
from .reading import Reading, present


def _batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_variance: Tensor | None,
    training: bool,
    *_: object,
    **__: object,
) -> Reading:
    operands = present(x, weight, bias, running_mean, running_variance)
    attributes = {"training": training, "affine": weight is not None}
    # Without batch statistics there is nothing to save: what stands in their place is empty.
    return Reading("batch_norm", operands, attributes, (True,) * (3 if training else 1))


def _batch_norm_with_or_without_running(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, *rest: Any
) -> Reading:
    """Without running statistics `training` stands in their place."""
    if isinstance(rest[0], bool):
        return _batch_norm(x, weight, bias, None, None, rest[0])
    return _batch_norm(x, weight, bias, *rest)


def _batch_norm_of_training(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_variance: Tensor,
    *_: object,
) -> Reading:
    return _batch_norm(x, weight, bias, running_mean, running_variance, True)


def _batch_norm_of_evaluation(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_variance: Tensor,
    *_: object,
) -> Reading:
    return _batch_norm(x, weight, bias, running_mean, running_variance, False)


def _batch_norm_backward(
    dy: Tensor,
    x: Tensor,
    weight: Tensor | None,
    running_mean: Tensor | None,
    running_variance: Tensor | None,
    mean: Tensor | None,
    deviation: Tensor | None,
    training: bool,
    eps: float,
    output_mask: Sequence[bool],
    *_: object,
) -> Reading:
    statistics = (mean, deviation) if training else (running_mean, running_variance)
    mask = tuple(output_mask)
    attributes: dict[str, AttributeValue] = {
        "training": training,
        "affine": weight is not None,
        "mask": mask,
    }
    # Without data PyTorch makes the gradient of the input, wanted or not.
    operands = present(dy, x, weight, *statistics)
    return Reading("batch_norm_backward", operands, attributes, mask)


def _layer_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, *_: object
) -> Reading:
    return Reading("layer_norm", present(x, weight, bias), {"rank": len(shape)})


def _layer_norm_backward(
    dy: Tensor,
    x: Tensor,
    shape: Sequence[int],
    mean: Tensor,
    deviation: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    output_mask: Sequence[bool],
) -> Reading:
    operands, mask = present(dy, x, mean, deviation, weight, bias), tuple(output_mask)
    return Reading("layer_norm_backward", operands, {"rank": len(shape), "mask": mask}, mask)


def _group_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    batch: int,
    channels: int,
    pixels: int,
    groups: int,
    *_: object,
) -> Reading:
    return Reading("group_norm", present(x, weight, bias), {"groups": groups})


def _group_norm_backward(
    dy: Tensor,
    x: Tensor,
    mean: Tensor,
    deviation: Tensor,
    weight: Tensor | None,
    batch: int,
    channels: int,
    pixels: int,
    groups: int,
    output_mask: Sequence[bool],
) -> Reading:
    operands, mask = present(dy, x, mean, deviation, weight), tuple(output_mask)
    return Reading("group_norm_backward", operands, {"groups": groups, "mask": mask}, mask)


READINGS: dict[str, Callable[..., Reading]] = {
    "native_batch_norm": _batch_norm,
    "cudnn_batch_norm": _batch_norm,
    "_native_batch_norm_legit": _batch_norm_with_or_without_running,
    "_native_batch_norm_legit_functional": _batch_norm,
    "_native_batch_norm_legit_no_training": _batch_norm_of_evaluation,
    "_batch_norm_no_update": _batch_norm_of_evaluation,
    "_batch_norm_with_update": _batch_norm_of_training,
    "native_batch_norm_backward": _batch_norm_backward,
    "batch_norm_backward": _batch_norm_backward,
    "native_layer_norm": _layer_norm,
    "native_layer_norm_backward": _layer_norm_backward,
    "native_group_norm": _group_norm,
    "native_group_norm_backward": _group_norm_backward,
}
