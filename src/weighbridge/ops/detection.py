"""Detection: choosing among boxes, and reading images inside them.

How many boxes there are depends on values, so that these operators are seen where a network runs on data.
Their kinds are torchvision's names, and so are their attributes. Interpolation at a place is four weights
and, for each channel, a sum of four products.
"""

from __future__ import annotations

from typing import final

from ..dims import Shape, product
from ..program import Op
from .base import Cost, Operator, contraction, need, register
from .indexing import doublings

TAPS = 4
"""Pixels around a place."""


@final
class NonMaximumSuppression(Operator):
    """Boxes that no better box covers.

    Shapes: boxes (n, 4), scores (n) -> (n) int64 or fewer: places of the boxes that are kept
    Counts: boxes sorted by score; an area each (2 subtractions, 1 product); then for every pair the
            overlap (4 comparisons for its corners, 2 subtractions, 2 comparisons with nothing, 1 product),
            the union (2 additions), a division and a comparison. All pairs: the worst case, in which
            nothing is suppressed.
    Source: greedy suppression, Felzenszwalb et al. 2010, section 7.2; torchvision's CPU kernel.
    """

    kind = "torchvision.nms"
    family = "detection"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        boxes, scores = (tensor.shape for tensor in op.inputs[:2])
        need(boxes == (*scores, 4), f"boxes {boxes} with scores {scores}")
        return (scores,)

    def dtypes(self, op: Op) -> tuple[str, ...]:
        return ("int64",)

    def arithmetic(self, op: Op) -> Cost:
        boxes = op.inputs[0].shape[0]
        pairs = boxes * (boxes - 1) // 2
        return Cost(
            multiplications=boxes + pairs,
            additions=2 * boxes + 4 * pairs,
            comparisons=boxes * doublings(boxes) + 7 * pairs,
            divisions=pairs,
        )

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        # How often a row doubles is no polynomial of its length: sizes stay numbers.
        return tuple(tensor.shape for tensor in op.inputs)


@final
class RegionAlign(Operator):
    """An image read inside boxes, each a grid of bins, each bin the mean of a few samples.

    Shapes: x (B, c, M, N), boxes (K, 5) -> (K, c, pooled_height, pooled_width)
    Attributes: `sampling_ratio`: samples a side of a bin, s; below 1 as many as it has pixels, counted as 1.
    Counts: s^2 samples a bin. A sample: a product and a sum for each coordinate, 2 subtractions and 4
            products for its weights, and a sum of 4 products a channel; then a bin's samples are added up
            and divided. A box: 4 coordinates scaled, 2 sides, divided by the bins.
    Source: He et al. 2017 (Mask R-CNN), section 3.
    """

    kind = "torchvision.roi_align"
    family = "detection"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        x, boxes = (tensor.shape for tensor in op.inputs[:2])
        need(len(x) == 4 and len(boxes) == 2, f"an image {x} read inside boxes {boxes}")
        return ((boxes[0], x[1], op.integer("pooled_height"), op.integer("pooled_width")),)

    def arithmetic(self, op: Op) -> Cost:
        outputs, samples = product(op.outputs[0].shape), _samples(op)
        return _placing(op, op.inputs[1].shape[0]) + Cost(
            multiplications=outputs * samples * TAPS,
            additions=outputs * (samples * TAPS - 1),
            divisions=outputs,
        )

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        return (("B", "c", "M", "N"), ("K", 5))


@final
class RegionAlignBackward(Operator):
    """The gradient of an image read inside boxes: each bin's, weighted, on the pixels it came from.

    Shapes: dy (K, c, *bins), boxes (K, 5) -> (batch_size, channels, height, width)
    Counts: the places and weights again; a bin: a division, and 4 products a sample, each added.
    """

    kind = "torchvision._roi_align_backward"
    family = "detection"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        names = ("batch_size", "channels", "height", "width")
        return (tuple(op.integer(name) for name in names),)

    def arithmetic(self, op: Op) -> Cost:
        outputs, samples = op.inputs[0].elements, _samples(op)
        return _placing(op, op.inputs[1].shape[0]) + Cost(
            multiplications=outputs * samples * TAPS,
            additions=outputs * samples * TAPS,
            divisions=outputs,
        )

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        return (("K", "c", "P", "Q"), ("K", 5))


def _samples(op: Op) -> int:
    return max(op.integer("sampling_ratio"), 1) ** 2


def _placing(op: Op, boxes: int) -> Cost:
    """The boxes' sides, and the places and weights of their samples, which serve all channels."""
    samples = boxes * op.integer("pooled_height") * op.integer("pooled_width") * _samples(op)
    return Cost(
        multiplications=4 * boxes + 6 * samples,
        additions=2 * boxes + 4 * samples,
        divisions=2 * boxes,
    )


@final
class DeformableConvolution(Operator):
    """A convolution whose kernel reads at places that the network chooses, between pixels.

    Shapes: x (B, c, M, N), w (k, c/groups, h, w), offsets (B, 2 g h w, P, Q), mask, bias -> (B, k, P, Q)
    Attributes: `groups`; `use_mask`: what is read is multiplied by a mask.
    Counts: as a convolution; and what it multiplies is interpolated first: a place for each of g groups of
            channels (2 additions; 2 subtractions and 4 products for its weights) and a sum of 4 products.
    Source: Dai et al. 2017, equation 2; with a mask Zhu et al. 2019, equation 1.
    """

    kind = "torchvision.deform_conv2d"
    family = "detection"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        x, w, offsets = (tensor.shape for tensor in op.inputs[:3])
        need(len(x) == len(w) == len(offsets) == 4, f"an image {x} with a kernel {w} at {offsets}")
        return ((x[0], w[0], *offsets[2:]),)

    def arithmetic(self, op: Op) -> Cost:
        x, w, offsets = (tensor.shape for tensor in op.inputs[:3])
        outputs, places = product(op.outputs[0].shape), product(offsets) // 2
        read = product((x[0], x[1], *w[2:], *offsets[2:]))
        masked = read if op.flag("use_mask") else 0
        return contraction(outputs * product(w[1:]), outputs, addends=outputs) + Cost(
            multiplications=4 * places + TAPS * read + masked,
            additions=4 * places + (TAPS - 1) * read,
        )

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        # Half of the offsets' channels is no polynomial with whole coefficients: sizes stay numbers.
        return tuple(tensor.shape for tensor in op.inputs)


register(NonMaximumSuppression(), RegionAlign(), RegionAlignBackward(), DeformableConvolution())
