"""Packed inputs: samples laid end to end, and a table of values that says where each of them ends.

The vision part of Qwen2-VL and its many kin takes no image: it takes the patches into which images were cut
beforehand, all in one row, and a line for each image: frames, rows and columns of patches (`grid_thw`). What such a
network computes depends on the table's values, so that they are made up here with the patches that they speak of:
whole images of one size. Recordings of sound are packed in the same way (`feature_lens`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...dims import Shape
from ...errors import UsageError
from .configurations import found
from .sizes import IMAGE, Sizes

if TYPE_CHECKING:
    from torch import Tensor, nn

TABLES = (
    "grid_thw", "image_grid_thw", "target_sizes", "spatial_shapes", "pixel_position_ids", "feature_lens",
)  # fmt: skip
"""Arguments of forward whose values say how the others are packed."""

_MERGED = (
    "spatial_merge_size",
    "merge_size",
    "merge_kernel_size",
    "window_kernel_size",
    "pooling_kernel_size",
)
"""Fields that say how many patches a side are made one later on, so that rows and columns are multiples of it."""

_AS_PATCHES = frozenset({"kimi_k25_vision", "paddleocr_vl_vision"})
"""Types whose patches stay images (C, p, p), as their convolution takes them, and are not made rows."""

_IN_SQUARES = frozenset({"inkling2_vision"})
"""Types that take the patches that are made one as a square of pixels (m p, m p, C), of which the table counts."""

Packed = Mapping[str, "Tensor"]
"""Arguments of forward that are packed, by name."""


def packed(sizes: Sizes, names: tuple[str, ...], batch: int, dtype: str) -> Packed:
    """The arguments of forward that are packed, with values where those matter; none where nothing is.

    Tensors are as forward takes them, those that need no values on meta. A network that reads text leaves its images
    out, and takes no table, unless it compares the two.

    Raises:
        UsageError: the image that is asked for cannot be cut into whole patches.
    """
    import torch

    table = next((name for name in TABLES if name in names), None)
    reads = "input_ids" in names and not hasattr(sizes.model, "get_text_features")
    pixels = next((name for name in ("pixel_values", "hidden_states") if name in names), None)
    if table is None or reads or (pixels is None and table != "feature_lens"):
        return {}
    values = (
        _sounds(sizes, batch) if pixels is None else _images(sizes, names, pixels, table, batch)
    )
    return {
        name: value.to(getattr(torch, dtype)) if value.is_floating_point() else value
        for name, value in values.items()
    }


def _images(
    sizes: Sizes, names: tuple[str, ...], pixels: str, table: str, batch: int
) -> dict[str, Tensor]:
    """Patches of `batch` images, and the table that says how many rows and columns each has."""
    import torch

    rows, columns = _grid(sizes)
    count = rows * columns
    lines = {
        "target_sizes": [rows, columns],
        "spatial_shapes": [rows, columns],
        "pixel_position_ids": [[x, y] for y in range(rows) for x in range(columns)],
    }
    if sizes.config.model_type in _IN_SQUARES:
        merged = _merged(sizes)
        lines[table] = [1, rows // merged, columns // merged]
    values = {
        pixels: torch.empty(_patches(sizes, table, count, batch), device="meta"),
        table: torch.tensor([lines.get(table, [1, rows, columns])] * batch),
    }
    if "merge_sizes" in names:
        values["merge_sizes"] = torch.tensor([_merged(sizes)] * batch)
    if (
        table == "spatial_shapes"
    ):  # and samples are filled up to one length, which none of these needs
        values["pixel_attention_mask"] = torch.ones(batch, count, dtype=torch.int64)
    return values


def _patches(sizes: Sizes, table: str, count: int, batch: int) -> Shape:
    """The shape of `count` patches an image, (P, C t p p) where the type has no layout of its own."""
    weight = projection(sizes.model).weight
    one: Shape = tuple(weight.shape[1:])  # (in,), or (C, p, p), or (C, t, p, p)
    if (
        table == "target_sizes"
    ):  # the patches of all images side by side as one low image (1, C, p, P p)
        channels, side, _ = one
        return (1, channels, side, batch * count * side)
    if table == "pixel_position_ids" or table == "spatial_shapes":
        return (batch, count, *one)
    if sizes.config.model_type in _IN_SQUARES:  # (S, m p, m p, C)
        merged, side = _merged(sizes), sizes.width("patch_size")
        square = merged * side
        return (batch * count // merged**2, square, square, one[0] // side**2)
    if sizes.config.model_type in _AS_PATCHES:
        row = (batch * count, *one)
        return (1, *row) if sizes.config.model_type.startswith("paddle") else row
    return (batch * count, weight[0].numel())


def projection(model: nn.Module, *, within: str = "") -> Any:
    """The layer that comes first, whose weights know how many numbers a patch or a spectrum has; None without one.

    That is the first that embeds patches, else the first of all; `within` modules of that name alone.
    """
    from torch import nn

    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    layers = [
        (name, layer)
        for name, layer in model.named_modules()
        if isinstance(layer, kinds) and name.startswith(within)
    ]
    embedding = (layer for name, layer in layers if "patch_embed" in name)
    return next(embedding, layers[0][1] if layers else None)


def _merged(sizes: Sizes) -> int:
    """Patches a side of those that are made one."""
    merged = found(sizes.config, *_MERGED) or 1
    return int(merged if isinstance(merged, int) else merged[0])


def _grid(sizes: Sizes) -> tuple[int, int]:
    """Rows and columns of patches of an image."""
    merged = _merged(sizes)
    step = sizes.width("patch_size") * merged
    asked = sizes.asked_image()
    if asked is None:
        side = -(-IMAGE // step) * step
        sizes.remarks["image"] = (
            f"images of {side} x {side}; another size: --input image={2 * side}"
        )
        asked = (side, side)
    if any(side % step for side in asked):
        raise UsageError(
            f"an image of {asked[0]} x {asked[1]} is not cut into patches evenly: this network takes sides "
            f"that are multiples of {step}",
            f"try: --input image={-(-asked[0] // step) * step}",
        )
    patch = step // merged
    return asked[0] // patch, asked[1] // patch


def _sounds(sizes: Sizes, batch: int) -> Packed:
    """Spectra of `batch` sounds in one row (F, T), and how many each has."""
    import torch

    length = sizes.spectra()
    bins = sizes.width("num_mel_bins")
    return {
        "input_features": torch.empty(bins, batch * length, device="meta"),
        "feature_lens": torch.tensor([length] * batch),
    }
