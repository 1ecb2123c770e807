"""Detection's operators, worked out by hand on tiny boxes."""

import pytest

from by_hand import run
from weighbridge.errors import ShapeError
from weighbridge.ops import Cost, rule_of


def arithmetic(op):
    return rule_of(op.kind).arithmetic(op)


def test_suppression_looks_at_every_pair():
    # 3 boxes: 3 pairs. An area is 2 subtractions and a product; a pair 1 product, 2 subtractions for the
    # overlap's sides and 2 additions for the union, 7 comparisons and a division. Sorting 3: 3 * 2.
    assert arithmetic(run("torchvision.nms", (3, 4), (3,))) == Cost(
        multiplications=3 + 3, additions=6 + 12, comparisons=6 + 21, divisions=3
    )


def test_boxes_are_read_sample_by_sample():
    # 1 box of 1 bin, 2 x 2 samples, 3 channels. The box: 4 products, 2 subtractions, 2 divisions. Samples:
    # 4 of 2 + 4 products and 2 + 2 additions. A channel: 16 products, 15 additions, 1 division.
    op = run("torchvision.roi_align", (1, 3, 8, 8), (1, 5),
             pooled_height=1, pooled_width=1, sampling_ratio=2)  # fmt: skip
    assert op.outputs[0].shape == (1, 3, 1, 1)
    assert arithmetic(op) == Cost(
        multiplications=4 + 4 * 6 + 3 * 16, additions=2 + 4 * 4 + 3 * 15, divisions=2 + 3
    )


def test_their_gradients_go_back_the_same_way():
    op = run("torchvision._roi_align_backward", (1, 3, 1, 1), (1, 5), pooled_height=1, pooled_width=1,
             sampling_ratio=2, batch_size=1, channels=3, height=8, width=8)  # fmt: skip
    assert op.outputs[0].shape == (1, 3, 8, 8)
    # Each of a bin's 16 products is added to its pixel.
    assert arithmetic(op) == Cost(
        multiplications=4 + 4 * 6 + 3 * 16, additions=2 + 4 * 4 + 3 * 16, divisions=2 + 3
    )


def test_a_deformable_convolution_is_one_and_an_interpolation():
    # 2 channels to 5, a kernel of 3 x 3, 4 x 4 outputs: 5 * 16 sums of 18 products, each with a bias.
    # 9 * 16 places with 4 additions and 4 products, and 2 * 9 * 16 numbers read, 4 products and 3 additions.
    image, kernel, offsets, mask = (1, 2, 4, 4), (5, 2, 3, 3), (1, 18, 4, 4), (1, 9, 4, 4)
    op = run(
        "torchvision.deform_conv2d", image, kernel, offsets, mask, (5,), groups=1, use_mask=False
    )
    assert op.outputs[0].shape == (1, 5, 4, 4)
    macs, places, read = 5 * 16 * 18, 9 * 16, 2 * 9 * 16
    assert arithmetic(op) == Cost(
        macs=macs,
        multiplications=macs + 4 * places + 4 * read,
        additions=macs + 4 * places + 3 * read,
    )
    masked = run(
        "torchvision.deform_conv2d", image, kernel, offsets, mask, (5,), groups=1, use_mask=True
    )
    assert arithmetic(masked).multiplications == arithmetic(op).multiplications + read


def test_a_deformable_convolution_backward():
    # As above: 5 * 16 * 18 = 1,440 products, twice; 144 places, 288 numbers read.
    image, kernel, offsets, mask = (1, 2, 4, 4), (5, 2, 3, 3), (1, 18, 4, 4), (1, 9, 4, 4)
    operands = ((1, 5, 4, 4), image, kernel, offsets, mask, (5,))
    op = run("torchvision._deform_conv2d_backward", *operands, groups=1, use_mask=False)
    assert [tensor.shape for tensor in op.outputs] == [image, kernel, offsets, mask, (5,)]
    macs, places, read = 1440, 144, 288
    # Each number: 4 products to interpolate it again, 4 to its pixels, 3 for the slope along each of two axes.
    # Sums: of products (90 kernel numbers, 288 columns), 3 + 4 a number, two slopes of 3 each, which add up 2
    # channels (1 sum a place and axis), and 80 gradients into 5 biases.
    assert arithmetic(op) == Cost(
        macs=2 * macs,
        multiplications=2 * macs + 4 * places + (4 + 4 + 6) * read,
        additions=(2 * macs - 90 - 288) + 4 * places + (3 + 4 + 6) * read + 2 * places + 75,
    )
    masked = arithmetic(
        run("torchvision._deform_conv2d_backward", *operands, groups=1, use_mask=True)
    )
    # by the mask again, c by the mask, the value by c; 2 channels of a place added up
    assert masked.multiplications == arithmetic(op).multiplications + 3 * read
    assert masked.additions == arithmetic(op).additions + places


def test_bins_of_boxes_as_large_as_the_image():
    # 2 boxes of 2 x 2 bins, 4 channels of 8 x 8 pixels each
    grid = {"pooled_height": 2, "pooled_width": 2}
    op = run("torchvision.roi_pool", (1, 4, 8, 8), (2, 5), **grid)
    assert [tensor.shape for tensor in op.outputs] == [(2, 4, 2, 2)] * 2
    assert arithmetic(op) == Cost(comparisons=2 * 4 * 64)
    # each bin of a channel of its own: 4 channels make 1
    op = run("torchvision.ps_roi_pool", (1, 4, 8, 8), (2, 5), **grid)
    assert [tensor.shape for tensor in op.outputs] == [(2, 1, 2, 2)] * 2
    assert arithmetic(op) == Cost(additions=2 * 64, divisions=2 * 4)
    back = {**grid, "batch_size": 1, "channels": 4, "height": 8, "width": 8}
    y = (2, 4, 2, 2)
    assert arithmetic(run("torchvision._roi_pool_backward", y, (2, 5), y, **back)) == Cost(
        additions=32
    )
    y = (2, 1, 2, 2)
    op = run("torchvision._ps_roi_pool_backward", y, (2, 5), y, **back)
    assert arithmetic(op) == Cost(additions=2 * 64, divisions=8)


def test_channels_that_do_not_share_out_among_bins():
    with pytest.raises(ShapeError, match="5 channels for 4 bins"):
        run(
            "torchvision.ps_roi_align",
            (1, 5, 8, 8),
            (2, 5),
            pooled_height=2,
            pooled_width=2,
            sampling_ratio=1,
        )
