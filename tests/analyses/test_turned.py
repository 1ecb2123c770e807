"""What a convolution takes on a GPU beside its operands: cuDNN's copies with channels last, worked out by hand."""

import pytest

from weighbridge.analyses.memory.timeline import lifetimes
from weighbridge.builder import Builder
from weighbridge.workload import Optimizer, Workload

MIB = 2**20
IMAGE = (64, 64, 56, 56)  # 12,845,056 numbers: 49 MiB in float32


def taken(shape, weight, *, groups=1, stride=1, **settings):
    """Bytes of the workspace of one convolution, or of each one's in a step that trains."""
    b = Builder(Workload(**{"backend": "cuda", "precision": "float32", **settings}))
    w = b.parameter("w", weight)
    x = b.input(shape)
    pad = tuple(size // 2 for size in weight[2:])
    (y,) = b.op(
        "convolution", x, w, stride=(stride, stride), padding=pad, dilation=(1, 1), groups=groups,
        transposed=False,
    )  # fmt: skip
    program = b.build(outputs=(y,), network="", source="", frontend="test")
    return [life.bytes for life in lifetimes(program) if life.category == "workspace"]


def test_image_result_and_weights_are_copied():
    # 49 MiB, as much again, and 64 x 64 x 3 x 3 weights of 4 bytes: measured on an H100 as 98 MiB
    assert taken(IMAGE, (64, 64, 3, 3)) == [2 * 49 * MIB + 147_456]


def test_half_precision_takes_half():
    assert taken(IMAGE, (64, 64, 3, 3), precision="bf16") == [49 * MIB + 73_728]


@pytest.mark.parametrize(("precision", "channels", "size"), [("float32", 4, 4), ("bf16", 8, 2)])
def test_a_stem_is_filled_up_to_what_a_matrix_unit_takes(precision, channels, size):
    # 3 channels become 4 of float32, 8 of bfloat16; 8 x 64 results of 112 x 112, 64 x 3 x 7 x 7 weights
    filled = 8 * channels * 224 * 224 + 8 * 64 * 112 * 112 + 64 * 3 * 7 * 7
    assert taken((8, 3, 224, 224), (64, 3, 7, 7), stride=2, precision=precision) == [size * filled]


@pytest.mark.parametrize(
    ("shape", "weight", "settings"),
    [
        (IMAGE, (64, 64, 3, 3), {"layout": "channels-last"}),
        (IMAGE, (64, 64, 1, 1), {}),
        (IMAGE, (64, 1, 3, 3), {"groups": 64}),
        ((8, 3, 224, 224), (64, 3, 3, 3), {}),
        (IMAGE, (64, 64, 3, 3), {"precision": "float64"}),
    ],
    ids=["channels last", "1x1", "depthwise", "a small stem", "float64"],
)
def test_what_takes_none(shape, weight, settings):
    assert taken(shape, weight, **settings) == []


def test_groups_are_turned_too():
    assert taken(IMAGE, (64, 2, 3, 3), groups=32) == [2 * 49 * MIB + 64 * 2 * 9 * 4]


def test_gradients_take_as_much_as_forward():
    each = 2 * 49 * MIB + 147_456
    training = {"mode": "training", "loss": "mean", "optimizer": Optimizer(name="sgd")}
    assert taken(IMAGE, (64, 64, 3, 3), **training) == [each, each]
