"""Kernels: the matrix product that a contraction amounts to, its parts backward, and the classes."""

import pytest

from weighbridge.ops import rule_of, rules
from weighbridge.ops.kernel import CONTRACTIONS, KERNEL_CLASSES, PARTS, Gemm
from weighbridge.program import Op, Tensor


def tensor(*shape, dtype="float32", role="activation"):
    tensor.id += 1
    return Tensor(id=tensor.id, shape=shape, dtype=dtype, role=role, storage=tensor.id)


tensor.id = 0


def op(kind, inputs, outputs, **attributes):
    return Op(
        kind=kind,
        name=kind,
        scope="",
        phase="forward",
        inputs=inputs,
        outputs=outputs,
        attributes=attributes,
    )


def kernels(op):
    return rule_of(op.kind).kernels(op)


WINDOW = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)}


def convolution(channels, kernels_, width, *, image=8, groups=1, batch=2):
    out = image - width + 1
    x, w = (
        tensor(batch, channels, image, image),
        tensor(kernels_, channels // groups, width, width),
    )
    y = tensor(batch, kernels_, out, out)
    return op("convolution", (x, w), (y,), groups=groups, **WINDOW)


def test_a_convolution_is_a_matrix_product_over_its_places():
    (kernel,) = kernels(convolution(16, 32, 3))
    # 2 images of 6 x 6 places, 32 kernels, each a sum over 16 * 3 * 3
    assert kernel.gemm == Gemm(batch=1, rows=72, columns=32, depth=144)
    assert kernel.macs == 72 * 32 * 144
    # images 2*16*8*8 and 2*32*6*6 numbers, kernels 32*144, 4 bytes each
    assert kernel.image_bytes == 4 * (2048 + 2304)
    assert kernel.traffic_bytes == 4 * (2048 + 2304 + 4608)


@pytest.mark.parametrize(
    ("channels", "made", "width", "groups", "kind"),
    [
        (3, 64, 7, 1, "convolution stem"),
        (16, 32, 3, 1, "convolution"),
        (16, 32, 1, 1, "convolution 1x1"),
        (16, 16, 5, 16, "depthwise convolution"),
        (16, 16, 6, 16, "large depthwise convolution"),
        (16, 16, 8, 16, "wide depthwise convolution"),
        (16, 16, 3, 4, "grouped convolution"),
        (16, 32, 3, 4, "uneven grouped convolution"),
        (24, 24, 3, 4, "uneven grouped convolution"),
    ],
)
def test_convolutions_fall_into_classes(channels, made, width, groups, kind):
    (kernel,) = kernels(convolution(channels, made, width, groups=groups))
    assert kernel.kind == kind
    assert kernel.gemm.batch == groups
    assert kernel.gemm.macs == kernel.macs


def test_a_convolution_backward_is_two_products_and_a_sum():
    x, w, dy = tensor(2, 16, 8, 8), tensor(32, 16, 3, 3), tensor(2, 32, 6, 6)
    made = (tensor(2, 16, 8, 8), tensor(32, 16, 3, 3), tensor(32))
    backward = op(
        "convolution_backward", (dy, x, w), made, mask=(True, True, True), groups=1, **WINDOW
    )
    of_input, of_weight, of_bias = kernels(backward)
    assert of_input.part == "input gradient"
    assert of_weight.part == "weight gradient"
    # the same products: 72 places, 32 kernels, 144 weights each
    assert of_input.macs == of_weight.macs == 72 * 32 * 144
    # the input's sums over 32 kernels of 3 x 3 places, the weights' over the places
    assert of_input.gemm == Gemm(batch=1, rows=72, columns=16, depth=288)
    assert of_weight.gemm == Gemm(batch=1, rows=32, columns=144, depth=72)
    # dx reads dy (2304) and w (4608) and writes x (2048)
    assert (of_input.read_bytes, of_input.write_bytes) == (4 * 6912, 4 * 2048)
    assert (of_bias.kind, of_bias.write_bytes) == ("reduction", 4 * 32)


@pytest.mark.parametrize(
    ("channels", "groups", "kind"),
    [
        (128, 32, "grouped convolution"),
        (48, 12, "uneven grouped convolution"),  # 12 groups
        (512, 8, "uneven grouped convolution"),  # of 64 channels
    ],
)
def test_gradients_of_groups_are_even_by_eights(channels, groups, kind):
    forward = convolution(channels, channels, 3, groups=groups)
    assert [kernel.kind for kernel in kernels(forward)] == ["grouped convolution"]
    (x, w), (y,) = forward.inputs, forward.outputs
    backward = op(
        "convolution_backward", (y, x, w), (x, w), mask=(True, True, False), groups=groups, **WINDOW
    )
    assert [kernel.kind for kernel in kernels(backward)] == [kind, kind]


def test_only_the_gradients_that_are_wanted_are_made():
    x, w, dy = tensor(2, 16, 8, 8), tensor(32, 16, 3, 3), tensor(2, 32, 6, 6)
    backward = op(
        "convolution_backward", (dy, x, w), (tensor(32, 16, 3, 3),),
        mask=(False, True, False), groups=1, **WINDOW,
    )  # fmt: skip
    (kernel,) = kernels(backward)
    assert kernel.part == "weight gradient"
    assert kernel.write_bytes == 4 * 4608


def test_a_matrix_product_folds_leading_axes_into_rows():
    (kernel,) = kernels(op("matmul", (tensor(4, 10, 64), tensor(64, 32)), (tensor(4, 10, 32),)))
    assert kernel.kind == "matmul"
    assert kernel.gemm == Gemm(batch=1, rows=40, columns=32, depth=64)


def test_a_batch_of_matrix_products_stays_one():
    (kernel,) = kernels(op("matmul", (tensor(4, 10, 64), tensor(4, 64, 32)), (tensor(4, 10, 32),)))
    assert kernel.kind == "batched matmul"
    assert kernel.gemm == Gemm(batch=4, rows=10, columns=32, depth=64)


def test_views_run_nothing():
    assert kernels(op("reshape", (tensor(4, 6),), (tensor(24),), shape=(24,))) == ()


def test_arithmetic_is_in_the_dtype_of_numbers():
    indices = tensor(5, dtype="int64")
    (kernel,) = kernels(
        op("embedding", (tensor(9, 3, dtype="float16"), indices), (tensor(5, 3, dtype="float16"),))
    )
    assert (kernel.kind, kernel.dtype) == ("gather", "float16")


def test_every_rule_is_of_a_known_class():
    for rule in rules():
        assert rule.kernel_class in KERNEL_CLASSES
        assert rule.kernel_part in PARTS
    assert set(KERNEL_CLASSES) >= CONTRACTIONS


def test_operators_of_a_list_share_one_launch():
    torch = pytest.importorskip("torch")
    from weighbridge import weigh

    net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    report = weigh(net, (4,), train="sgd", momentum=0.9)
    update = [kernel for op in report.program.phase("update") for kernel in kernels(op)]
    # four parameters; the buffer times momentum, plus the gradient, and the parameter: three lists
    assert [kernel.launches for kernel in update] == 3 * [1, 0, 0, 0]
