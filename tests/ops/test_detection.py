"""Detection's operators, worked out by hand on tiny boxes."""

from by_hand import run
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
