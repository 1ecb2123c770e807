"""Quantised layers by hand: the plain ones' arithmetic, and what it takes to come and go."""

from by_hand import run
from weighbridge.ops import Cost, rule_of


def arithmetic(op):
    return rule_of(op.kind).arithmetic(op)


def test_there_and_back() -> None:
    there = run("quantise", (4, 5), dtype="quint8")
    assert (there.outputs[0].dtype, there.outputs[0].bytes) == ("quint8", 20)
    # 20 numbers: times 1/scale, plus the zero point, clamped from below and above
    assert arithmetic(there) == Cost(multiplications=20, additions=20, comparisons=40)
    # with the smallest and the largest of them
    observed = run("quantise", (4, 5), dtype="quint8", observed=True)
    assert arithmetic(observed) == Cost(multiplications=20, additions=20, comparisons=80)
    back = run("dequantise", (4, 5))
    assert back.outputs[0].dtype == "float32"
    assert arithmetic(back) == Cost(multiplications=20, additions=20)


def test_rounding_in_training_goes_there_and_back() -> None:
    op = run("fake_quantise", (4, 5), observed=True)
    assert [tensor.dtype for tensor in op.outputs] == ["float32", "bool"]
    assert arithmetic(op) == Cost(multiplications=40, additions=40, comparisons=80)


def test_a_linear_layer_in_whole_numbers() -> None:
    # 2 rows of 6 to 3: 36 products, 5 additions a sum and a bias; 6 sums made whole again
    op = run("quantised_linear", (2, 6), (3, 6), (3,))
    assert op.outputs[0].shape == (2, 3)
    assert arithmetic(op) == Cost(
        macs=36, multiplications=36 + 6, additions=36 + 6, comparisons=2 * 6
    )
    # Dynamically 12 inputs are observed and made whole, and 6 sums scaled.
    dynamic = run("quantised_linear", (2, 6), (3, 6), (3,), dynamic=True)
    assert arithmetic(dynamic) == Cost(
        macs=36, multiplications=36 + 12 + 6, additions=36 + 12, comparisons=4 * 12
    )


def test_a_convolution_in_whole_numbers() -> None:
    settings = {
        "stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1, "transposed": False,
    }  # fmt: skip
    # 4 kernels of 3 x 3 x 3 at 6 x 6 places of two images: 288 sums of 27 products and a bias
    operands = ((2, 3, 8, 8), (4, 3, 3, 3), (4,))
    op = run("quantised_convolution", *operands, **settings)
    macs = 288 * 27
    assert arithmetic(op) == Cost(
        macs=macs, multiplications=macs + 288, additions=macs + 288, comparisons=2 * 288
    )
    # onto an operand: its 288 numbers are made floating point (a product, a subtraction) and added
    onto = run("quantised_convolution", *operands, (2, 4, 6, 6), **settings, onto=True)
    assert arithmetic(onto) == arithmetic(op) + Cost(multiplications=288, additions=2 * 288)


def test_a_sum_of_whole_numbers_has_a_scale_of_its_own() -> None:
    # 20 additions; 40 operands made floating point, 20 sums made whole
    assert arithmetic(run("quantised_add", (4, 5), (4, 5))) == Cost(
        multiplications=40 + 20, additions=20 + 40 + 20, comparisons=40
    )
