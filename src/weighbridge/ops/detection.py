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

    Shapes: x (B, c, M, N), boxes (K, 5) -> (K, c, pooled_height, pooled_width); by position each bin reads
            channels of its own, and c is fewer by as many as there are bins: -> the same, and which were read
    Attributes: `sampling_ratio`: samples a side of a bin, s; below 1 as many as it has pixels, counted as 1.
    Counts: s^2 samples a bin. A sample: a product and a sum for each coordinate, 2 subtractions and 4
            products for its weights, and a sum of 4 products a channel; then a bin's samples are added up
            and divided. A box: 4 coordinates scaled, 2 sides, divided by the bins.
    Source: He et al. 2017 (Mask R-CNN), section 3; by position Li et al. 2017 (Light-Head R-CNN).
    """

    family = "detection"
    kernel_class = "gather"

    def __init__(self, kind: str, *, by_position: bool = False) -> None:
        self.kind = kind
        self.by_position = by_position

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return _pooled(op, by_position=self.by_position)

    def dtypes(self, op: Op) -> tuple[str, ...]:
        return (op.inputs[0].dtype, "int32")[: 1 + self.by_position]

    def arithmetic(self, op: Op) -> Cost:
        outputs, samples = product(op.outputs[0].shape), _samples(op)
        return _placing(op, op.inputs[1].shape[0]) + Cost(
            multiplications=outputs * samples * TAPS,
            additions=outputs * (samples * TAPS - 1),
            divisions=outputs,
        )

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        # A share of the channels is no polynomial of them.
        channels = op.inputs[0].shape[1] if self.by_position else "c"
        return (("B", channels, "M", "N"), ("K", 5))


@final
class RegionAlignBackward(Operator):
    """The gradient of an image read inside boxes: each bin's, weighted, on the pixels it came from.

    Shapes: dy (K, c, *bins), boxes (K, 5) -> (batch_size, channels, height, width)
    Counts: the places and weights again; a bin: a division, and 4 products a sample, each added.
    """

    family = "detection"
    kernel_class = "gather"
    kernel_part = "backward"

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return (_image(op),)

    def arithmetic(self, op: Op) -> Cost:
        outputs, samples = op.inputs[0].elements, _samples(op)
        return _placing(op, op.inputs[1].shape[0]) + Cost(
            multiplications=outputs * samples * TAPS,
            additions=outputs * samples * TAPS,
            divisions=outputs,
        )

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        which = (("K", "c", "P", "Q"),) if len(op.inputs) == 3 else ()
        return (("K", "c", "P", "Q"), ("K", 5), *which)


@final
class RegionPool(Operator):
    """An image read inside boxes, each a grid of bins, each bin the largest or the mean of its pixels.

    Shapes: x (B, c, M, N), boxes (K, 5) -> (K, c, pooled_height, pooled_width) twice, values and which were
            read; by position each bin reads channels of its own, and c is fewer by as many as there are bins
    Counts: a comparison or an addition a pixel and channel, for boxes as large as the image: the worst case,
            since how large they are is in their values. Of means a division a bin.
    Source: Girshick 2015 (Fast R-CNN), section 2.1; by position Dai et al. 2016 (R-FCN), equation 1.
    """

    family = "detection"
    kernel_class = "gather"

    def __init__(self, kind: str, *, by_position: bool) -> None:
        self.kind = kind
        self.by_position = by_position

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return _pooled(op, by_position=self.by_position) * (1 if self.by_position else 2)

    def dtypes(self, op: Op) -> tuple[str, ...]:
        return (op.inputs[0].dtype, "int32")

    def arithmetic(self, op: Op) -> Cost:
        boxes, channels = op.outputs[0].shape[:2]
        read = boxes * channels * product(op.inputs[0].shape[2:])
        if self.by_position:
            return Cost(additions=read, divisions=product(op.outputs[0].shape))
        return Cost(comparisons=read)

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        return (("B", op.inputs[0].shape[1], "M", "N"), ("K", 5))


@final
class RegionPoolBackward(Operator):
    """The gradient of an image read inside boxes: each bin's on the pixel that it was, or on all of its own.

    Shapes: dy (K, c, *bins), boxes (K, 5), which -> (batch_size, channels, height, width)
    Counts: of the largest an addition a bin; of means a division a bin, and an addition a pixel and channel
            for boxes as large as the image.
    """

    family = "detection"
    kernel_class = "gather"
    kernel_part = "backward"

    def __init__(self, kind: str, *, by_position: bool) -> None:
        self.kind = kind
        self.by_position = by_position

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return (_image(op),)

    def arithmetic(self, op: Op) -> Cost:
        dy = op.inputs[0]
        if not self.by_position:
            return Cost(additions=dy.elements)
        written = product(dy.shape[:2]) * product(_image(op)[2:])
        return Cost(additions=written, divisions=dy.elements)

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        return (("K", "c", "P", "Q"), ("K", 5), ("K", "c", "P", "Q"))


def _pooled(op: Op, *, by_position: bool) -> tuple[Shape, ...]:
    """What is read inside boxes; by position with the channels that were read."""
    x, boxes = (tensor.shape for tensor in op.inputs[:2])
    need(len(x) == 4 and len(boxes) == 2, f"an image {x} read inside boxes {boxes}")
    bins = (op.integer("pooled_height"), op.integer("pooled_width"))
    if not by_position:
        return ((boxes[0], x[1], *bins),)
    need(x[1] % product(bins) == 0, f"{x[1]} channels for {product(bins)} bins")
    return ((boxes[0], x[1] // product(bins), *bins),) * 2


def _image(op: Op) -> Shape:
    """The image whose gradient it is."""
    return tuple(op.integer(name) for name in ("batch_size", "channels", "height", "width"))


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
        outputs = product(op.outputs[0].shape)
        places, read, masked = _reads(x, w, offsets, masked=op.flag("use_mask"))
        return contraction(outputs * product(w[1:]), outputs, addends=outputs) + Cost(
            multiplications=4 * places + TAPS * read + masked,
            additions=4 * places + (TAPS - 1) * read,
        )

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        # Half of the offsets' channels is no polynomial with whole coefficients: sizes stay numbers.
        return tuple(tensor.shape for tensor in op.inputs)


@final
class DeformableConvolutionBackward(Operator):
    """The gradients of a deformable convolution: of image, kernel, places, mask and bias.

    Shapes: dy (B, k, P, Q), x, w, offsets, mask, bias -> one of the shape of each after dy
    Counts: two products of forward's size: dY with W, a number c for each that forward read, and dY with
            what forward read, which is interpolated again. Then, of each number read: c by its four
            weights, added to four pixels; c by the slopes along both axes (2 subtractions, 2 products, an
            addition each), added up over a place's channels; with a mask, c by the mask, and the value
            interpolated, by c, added up over channels. The bias' is the sum of dY.
    Source: Dai et al. 2017, equations 6 and 7; with a mask Zhu et al. 2019, equation 1.
    """

    kind = "torchvision._deform_conv2d_backward"
    family = "detection"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return tuple(tensor.shape for tensor in op.inputs[1:6])

    def arithmetic(self, op: Op) -> Cost:
        dy, x, w, offsets, _, bias = (tensor.shape for tensor in op.inputs[:6])
        macs = product(dy) * product(w[1:])
        with_mask = op.flag("use_mask")
        places, read, masked = _reads(x, w, offsets, masked=with_mask)
        to_weight = contraction(macs, product(w))
        to_columns = contraction(macs, read)
        again = Cost(
            multiplications=4 * places + TAPS * read + masked,
            additions=4 * places + (TAPS - 1) * read,
        )
        to_pixels = Cost(multiplications=TAPS * read + masked, additions=TAPS * read)
        # 2 axes: 2 products of a difference and their sum, times c, summed over channels
        to_places = Cost(multiplications=6 * read, additions=6 * read + 2 * (read - places))
        to_mask = Cost(multiplications=masked, additions=read - places if with_mask else 0)
        to_bias = Cost(additions=product(dy) - product(bias))
        return Cost.total((to_weight, to_columns, again, to_pixels, to_places, to_mask, to_bias))

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        return tuple(tensor.shape for tensor in op.inputs)


def _reads(x: Shape, w: Shape, offsets: Shape, *, masked: bool) -> tuple[int, int, int]:
    """Places between pixels, the numbers that are interpolated there, and those that a mask multiplies."""
    read = product((x[0], x[1], *w[2:], *offsets[2:]))
    return product(offsets) // 2, read, read if masked else 0


register(
    NonMaximumSuppression(),
    RegionAlign("torchvision.roi_align"),
    RegionAlign("torchvision.ps_roi_align", by_position=True),
    RegionAlignBackward("torchvision._roi_align_backward"),
    RegionAlignBackward("torchvision._ps_roi_align_backward"),
    RegionPool("torchvision.roi_pool", by_position=False),
    RegionPool("torchvision.ps_roi_pool", by_position=True),
    RegionPoolBackward("torchvision._roi_pool_backward", by_position=False),
    RegionPoolBackward("torchvision._ps_roi_pool_backward", by_position=True),
    DeformableConvolution(),
    DeformableConvolutionBackward(),
)
