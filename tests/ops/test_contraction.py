"""Matrix products and convolutions against sums by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from by_hand import cost, run
from weighbridge.errors import ShapeError
from weighbridge.ops import rule_of
from weighbridge.program import AttributeValue, Op, Tensor
from weighbridge.workload import Backend


def convolve(
    x: tuple[int, ...], w: tuple[int, ...], *bias: tuple[int, ...], **changes: AttributeValue
) -> Op:
    rank = len(x) - 2
    settings: dict[str, AttributeValue] = {
        "stride": (1,) * rank, "padding": (0,) * rank, "dilation": (1,) * rank,
        "groups": 1, "transposed": False, "output_padding": (0,) * rank,
    }  # fmt: skip
    return run("convolution", x, w, *bias, **{**settings, **changes})


def gradients(
    x: tuple[int, ...],
    w: tuple[int, ...],
    y: tuple[int, ...],
    mask: tuple[bool, bool, bool] = (True, True, False),
) -> Op:
    settings: dict[str, AttributeValue] = {"stride": (1, 1), "padding": (1, 1), "groups": 1}
    return run("convolution_backward", y, x, w, mask=mask, **settings)


def scratch(op: Op, backend: Backend) -> int:
    rule = rule_of(op.kind)
    assert rule is not None
    return rule.scratch(op, backend).running


def narrowed(op: Op) -> Op:
    def half(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(replace(tensor, dtype="bfloat16") for tensor in tensors)

    return replace(op, inputs=half(op.inputs), outputs=half(op.outputs))


def test_a_neuron_multiplies_n_times_and_adds_n_times_with_its_bias() -> None:
    # L9, L10: 100 inputs, 10 neurons: 1000 multiplications, 10*99 + 10 additions = 2000 operations
    with_bias = cost(run("matmul", (1, 100), (100, 10), (10,)))
    assert (with_bias.macs, with_bias.multiplications, with_bias.additions) == (1000, 1000, 1000)
    without = cost(run("matmul", (1, 100), (100, 10)))
    assert (without.multiplications, without.additions) == (1000, 990)
    # 1*100 + 100*10 + 10 numbers read, 10 written, 4 bytes each
    assert (with_bias.read_bytes, with_bias.write_bytes) == (4 * 1110, 40)


def test_batched_products_multiply_over_the_leading_axes() -> None:
    op = run("matmul", (2, 3, 4, 5), (2, 3, 5, 6))
    assert op.outputs[0].shape == (2, 3, 4, 6)
    assert cost(op).macs == 2 * 3 * 4 * 6 * 5
    assert run("matmul", (7, 4, 5), (5, 6)).outputs[0].shape == (7, 4, 6)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 3), (4, 5)), r"needs 3 rows on the right, and \(4, 5\) has 4"),
        (((3,), (3, 5)), r"a matrix product of shapes \(3,\) and \(3, 5\)"),
    ],
)
def test_products_that_do_not_fit(shapes: tuple[tuple[int, ...], ...], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        run("matmul", *shapes)


@pytest.mark.parametrize(
    ("kernels", "width", "operations"),
    [(6, 5, 43_560_000), (16, 3, 42_581_376)],  # L12: 2*3*5*5*220*220*6, 2*3*3*3*222*222*16
)
def test_the_lectures_convolutions(kernels: int, width: int, operations: int) -> None:
    found = cost(convolve((1, 3, 224, 224), (kernels, 3, width, width), (kernels,)))
    assert found.multiplications + found.additions == operations
    assert found.flops == operations


def test_stride_padding_and_dilation_set_the_output() -> None:
    # ResNet's stem: (224 + 2*3 - 7)//2 + 1 = 112
    assert convolve(
        (1, 3, 224, 224), (64, 3, 7, 7), stride=(2, 2), padding=(3, 3)
    ).outputs[0].shape == (1, 64, 112, 112)  # fmt: skip
    # a dilated kernel of 3 reaches 2*2 + 1 = 5: 10 - 5 + 1 = 6
    assert convolve((1, 1, 10), (1, 1, 3), dilation=(2,)).outputs[0].shape == (1, 1, 6)


def test_groups_divide_the_products() -> None:
    # 8 channels in 4 groups of 2; each of 12 kernels sees 2*3*3 weights over 8*8 places
    grouped = cost(convolve((1, 8, 10, 10), (12, 2, 3, 3), groups=4))
    assert grouped.macs == 12 * 8 * 8 * 2 * 9
    depthwise = cost(convolve((1, 8, 10, 10), (8, 1, 3, 3), groups=8))
    assert depthwise.macs == 8 * 8 * 8 * 9


def test_a_transposed_convolution_counts_from_its_input() -> None:
    # 5x5 inputs, each multiplied with a 3x3 kernel for 4 outputs of 2 channels: 2*4*9*25
    op = convolve((1, 2, 5, 5), (2, 4, 3, 3), transposed=True, stride=(2, 2))
    assert op.outputs[0].shape == (1, 4, 11, 11)  # (5-1)*2 + 3
    found = cost(op)
    assert (found.macs, found.additions) == (1800, 1800)


def test_one_and_three_dimensions() -> None:
    assert cost(convolve((2, 3, 10), (4, 3, 3))).macs == 2 * 4 * 8 * 3 * 3
    assert cost(convolve((1, 2, 4, 5, 6), (3, 2, 3, 3, 3))).macs == 3 * (2 * 3 * 4) * 2 * 27


def test_convolutions_that_do_not_fit() -> None:
    with pytest.raises(
        ShapeError, match=r"the kernel takes 4 channels, and the input \(1, 3, 8, 8\) has 3"
    ):
        convolve((1, 3, 8, 8), (6, 4, 3, 3))
    with pytest.raises(
        ShapeError, match=r"the kernel covers 5, and the input \(1, 3, 4, 4\) is 4 wide"
    ):
        convolve((1, 3, 4, 4), (6, 3, 5, 5))
    with pytest.raises(
        ShapeError, match=r"a convolution of an input \(3, 8, 8\) with a kernel \(6, 3, 3, 3\)"
    ):
        run("convolution", (3, 8, 8), (6, 3, 3, 3), stride=(1, 1), padding=(0, 0), dilation=(1, 1))


@pytest.mark.parametrize(
    ("mask", "macs", "additions"),
    [
        # y is 2*4*6*6 = 288 numbers, each of 3*3*3 = 27 products: 7776
        ((True, False, False), 7776, 7776),  # gathered into zeros
        ((False, True, False), 7776, 7776 - 4 * 27),  # one sum a weight
        ((False, False, True), 0, 288 - 4),  # one sum a bias
        ((True, True, True), 15552, 7776 + 7776 - 108 + 284),
    ],
)
def test_the_gradients_of_a_convolution(
    mask: tuple[bool, bool, bool], macs: int, additions: int
) -> None:
    op = run("convolution_backward", (2, 4, 6, 6), (2, 3, 8, 8), (4, 3, 3, 3), mask=mask)
    assert len(op.outputs) == sum(mask)
    found = cost(op)
    assert (found.macs, found.additions) == (macs, additions)


def test_a_mask_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ShapeError, match="needs a mask of three"):
        run("convolution_backward", (2, 4, 6, 6), (2, 3, 8, 8), (4, 3, 3, 3), mask=(True,))


def test_formulas_are_the_lectures() -> None:
    rule = rule_of("convolution")
    assert rule is not None
    formulas = rule.formulas(convolve((1, 3, 224, 224), (6, 3, 5, 5), (6,)))
    assert formulas["flops"].text == "2·B·c·k·w·h·(M−w+1)·(N−h+1)"
    assert formulas["flops"].value == 43_560_000
    rule = rule_of("matmul")
    assert rule is not None
    assert rule.formulas(run("matmul", (1, 100), (100, 10), (10,)))["flops"].text == "2·B·n·k"


def test_a_cpus_convolution_is_copied_into_blocks_of_channels() -> None:
    # x (2,8,4,4), 16 kernels (8,3,3), y (2,16,4,4): 1,024, 4,608 and 2,048 bytes, each copied once
    op = convolve((2, 8, 4, 4), (16, 8, 3, 3), padding=(1, 1))
    assert scratch(op, "cpu") == 1024 + 4608 + 2048
    assert scratch(op, "cuda") == 0  # cuDNN chooses, and does not say
    # three channels are read as they lie, groups of channels need no copies
    assert scratch(convolve((2, 3, 4, 4), (16, 3, 3, 3), padding=(1, 1)), "cpu") == 1728 + 2048
    assert scratch(convolve((2, 8, 4, 4), (8, 2, 3, 3), padding=(1, 1), groups=4), "cpu") == 0
    # each channel its own: 8 kernels of 3x3
    depthwise = convolve((2, 8, 4, 4), (8, 1, 3, 3), padding=(1, 1), groups=8)
    assert scratch(depthwise, "cpu") == 1024 + 288 + 1024


def test_a_cpus_gradients_of_a_convolution_are_made_in_blocks_and_copied_out() -> None:
    # As above, dx first: with copies of dy and weight, and dx itself in blocks. Then, beside dx, copies of x and dy
    # and the kernels' gradient in blocks: 1,024 + (1,024 + 2,048 + 4,608). Then, x and dy let go of, that gradient
    # twice: 1,024 + 2 * 4,608 = 10,240, the most. The results themselves are 1,024 + 4,608.
    assert scratch(gradients((2, 8, 4, 4), (16, 8, 3, 3), (2, 16, 4, 4)), "cpu") == 10240 - 5632
    # On a larger image the copies count more: x and dy are 16,384 and 32,768
    assert scratch(gradients((2, 8, 16, 16), (16, 8, 3, 3), (2, 16, 16, 16)), "cpu") == 49152
    # Of the kernels alone: the copies 1,024 + 2,048, or the gradient once more
    kernels = gradients((2, 8, 4, 4), (16, 8, 3, 3), (2, 16, 4, 4), mask=(False, True, False))
    assert scratch(kernels, "cpu") == 4608
    # Of the input alone: copies of dy and weight
    image = gradients((2, 8, 4, 4), (16, 8, 3, 3), (2, 16, 4, 4), mask=(True, False, False))
    assert scratch(image, "cpu") == 2048 + 4608
    assert scratch(image, "cuda") == 0


def test_a_cpu_lays_out_small_convolutions_in_a_table() -> None:
    # One image of 8 channels by a 3x3 kernel: 72 numbers for each of 16 places
    assert scratch(convolve((1, 8, 4, 4), (16, 8, 3, 3), padding=(1, 1)), "cpu") == 72 * 16 * 4
    back = gradients((1, 8, 4, 4), (16, 8, 3, 3), (1, 16, 4, 4))
    assert scratch(back, "cpu") == 72 * 16 * 4
    # A point is there already, unless places are skipped: 8 numbers for each of 4
    assert scratch(convolve((1, 8, 4, 4), (16, 8, 1, 1)), "cpu") == 0
    assert scratch(convolve((1, 8, 4, 4), (16, 8, 1, 1), stride=(2, 2)), "cpu") == 8 * 4 * 4
    # 8 groups of one channel each: a table for one of them, and what they made until it is joined
    grouped = convolve((2, 8, 4, 4), (8, 1, 3, 3), padding=(1, 1), groups=8)
    assert scratch(narrowed(grouped), "cpu") == 2 * 9 * 16 * 2 + 2 * 8 * 16 * 2
    # Transposed: the table has what every input spreads, 16 * 4 numbers of each of 16 places
    spread = convolve((1, 8, 4, 4), (8, 16, 2, 2), stride=(2, 2), transposed=True)
    assert scratch(spread, "cpu") == 64 * 16 * 4
