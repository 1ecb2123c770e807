"""Fusion: which kernels a compiler makes of small programs, with every byte worked out by hand.

float32 throughout: an image of 2 channels and 4 x 4 places is 32 numbers, 128 bytes.
"""

import pytest

from weighbridge.analyses.time.execution import channels_last, dispatches, launches
from weighbridge.analyses.time.fusion import fused
from weighbridge.builder import Builder
from weighbridge.workload import Workload

IMAGE = (1, 2, 4, 4)


def builder(**settings):
    return Builder(Workload(**{"backend": "cpu", "compiled": True, **settings}))


def built(b, *outputs):
    return b.build(outputs=outputs, network="", source="", frontend="test")


def kernels(program, *, order=False):
    """Class, bytes read and bytes written of each kernel."""
    found = fused(program, channels_last=order)
    return [(g.kernel.kind, g.kernel.read_bytes, g.kernel.write_bytes) for g in found]


def convolution(b, x, kernels, window, name="w", groups=1):
    w = b.parameter(name, (kernels, x.shape[1] // groups, window, window))
    pad = window // 2
    return b.op(
        "convolution", x, w, stride=(1, 1), padding=(pad, pad), dilation=(1, 1), groups=groups,
        transposed=False,
    )[0]  # fmt: skip


def test_a_chain_is_one_kernel_that_reads_its_start_and_writes_its_end():
    b = builder()
    (y,) = b.op("relu", b.input(IMAGE))
    (y,) = b.op("mul", y, y)
    (y,) = b.op("sigmoid", y)
    assert kernels(built(b, y)) == [("activation", 128, 128)]


def test_what_a_library_reads_and_makes_is_in_memory():
    b = builder()
    x = b.input((4, 8))
    w = b.parameter("w", (8, 8))
    (y,) = b.op("relu", x)
    (y,) = b.op("matmul", y, w)
    (y,) = b.op("relu", y)
    (y,) = b.op("add", y, x)
    # relu: x 128 bytes, and y. product: y 128 and w 256, and 128. relu and add: two of 128, and one
    assert kernels(built(b, y)) == [
        ("elementwise", 128, 128),
        ("matmul", 384, 128),
        ("elementwise", 256, 128),
    ]


@pytest.mark.parametrize(
    ("kind", "first"),
    # On a CPU exponentials are dear: what took them is written beside what is made of it.
    [("relu", ("elementwise", 128, 128)), ("sigmoid", ("activation", 128, 256))],
)
def test_a_cheap_result_of_two_readers_is_computed_twice_and_a_dear_one_kept(kind, first):
    b = builder()
    (shared,) = b.op(kind, b.input((4, 8)))
    (y,) = b.op("matmul", b.op("negative", shared)[0], b.parameter("w", (8, 8)))
    (y,) = b.op("add", shared, y)
    # the sum reads the product and either of input and result
    assert kernels(built(b, y)) == [first, ("matmul", 384, 128), ("elementwise", 256, 128)]


def test_a_normalisation_is_one_kernel_with_what_goes_in_and_what_comes_out():
    b = builder()
    x, y = b.input((4, 8)), b.input((4, 8), name="other")
    weight, bias = b.parameter("weight", (8,)), b.parameter("bias", (8,))
    (total,) = b.op("add", x, y)
    (normal, *_) = b.op("layer_norm", total, weight, bias, rank=1)
    (out,) = b.op("relu", normal)
    # two of 128 bytes, weight and bias of 32; what was added is recomputed and never written
    assert kernels(built(b, out)) == [("norm", 320, 128)]


def test_a_mean_over_places_is_another_loop_where_channels_lie_last():
    b = builder()
    y = convolution(b, b.input(IMAGE), 2, 1)
    (y,) = b.op("sigmoid", y)
    (m,) = b.op("mean", y, axes=(2, 3), keep=True)
    (out,) = b.op("mul", y, m)
    program = built(b, out)
    # channels first: sigmoid and mean in one loop over rows, and the product goes on in it
    assert kernels(program)[1:] == [("reduction", 128, 128)]
    # channels last: sigmoid; mean (8 bytes) of it; product of both
    assert [found for found in kernels(program, order=True) if found[0] != "copy"][1:] == [
        ("activation", 128, 128),
        ("reduction", 128, 8),
        ("elementwise", 136, 128),
    ]


def test_channels_last_reorders_what_was_given():
    b = builder()
    y = convolution(b, b.input(IMAGE), 4, 3, "first")
    y = convolution(b, y, 4, 3, "depthwise", groups=4)
    y = convolution(b, y, 2, 1, "last")
    found = kernels(built(b, y), order=True)
    # the image, 128 bytes, and the first kernels, 4 * 2 * 9 * 4 = 288; one channel or one place has one order
    assert [each for each in found if each[0] == "copy"] == [("copy", 128, 128), ("copy", 288, 288)]
    assert [each for each in kernels(built(b, y)) if each[0] == "copy"] == []


def test_a_concatenation_is_written_part_by_part():
    b = builder()
    x = b.input((4, 8))
    (one,) = b.op("relu", x)
    (two,) = b.op("matmul", x, b.parameter("v", (8, 8)))
    (both,) = b.op("concatenate", one, two, axis=1)
    (y,) = b.op("matmul", both, b.parameter("w", (16, 8)))
    # relu writes into its place, once it is asked for; the product's result is copied there
    assert kernels(built(b, y)) == [
        ("matmul", 384, 128),
        ("elementwise", 128, 128),
        ("copy", 128, 128),
        ("matmul", 256 + 512, 128),
    ]


def test_concatenated_for_what_is_pointwise_nothing_is_copied_on_cuda():
    b = builder(backend="cuda")
    x = b.input((4, 8))
    (both,) = b.op("concatenate", b.op("relu", x)[0], b.op("negative", x)[0], axis=1)
    (y,) = b.op("relu", both)
    assert kernels(built(b, y)) == [("elementwise", 128, 256)]


def test_nothing_joins_across_a_kernel_that_must_run_between():
    b = builder()
    x = b.input((4, 8))
    (a,) = b.op("sigmoid", x)
    (p,) = b.op("matmul", a, b.parameter("w", (8, 8)))
    (y,) = b.op("add", b.op("add", a, p)[0], x)
    # y shares x and a with the first kernel, but needs the product, which needs the first
    assert [kind for kind, _, _ in kernels(built(b, y))] == ["activation", "matmul", "elementwise"]


def test_windows_read_other_places_than_they_write():
    b = builder()
    (y,) = b.op("sigmoid", b.op("add", b.input(IMAGE), b.input(IMAGE, name="other"))[0])
    (y,) = b.op("max_pool", y, window=(3, 3), stride=(1, 1), padding=(1, 1), ceil_mode=False)[:1]
    (y,) = b.op("relu", y)
    assert kernels(built(b, y)) == [("activation", 256, 128), ("pooling", 128, 128)]


def test_a_view_is_read_as_far_as_it_reaches_and_once():
    b = builder()
    x = b.input((4, 8))
    (half,) = b.op("slice", x, axis=1, start=0, length=4)
    (y,) = b.op("mul", half, half)
    # half of 128 bytes
    assert kernels(built(b, y)) == [("elementwise", 64, 64)]
    b = builder()
    x = b.input((4, 8))
    (one,), (two,) = (b.op("reshape", x, shape=(32,)) for _ in range(2))
    (y,) = b.op("mul", one, two)
    assert kernels(built(b, y)) == [("elementwise", 128, 128)]


def test_halves_of_a_buffer_are_not_read_by_one_loop():
    b = builder()
    x = b.input((4, 8))
    (left,) = b.op("slice", x, axis=1, start=0, length=4)
    (right,) = b.op("slice", x, axis=1, start=4, length=4)
    program = built(b, b.op("relu", left)[0], b.op("negative", right)[0])
    assert kernels(program) == [("elementwise", 64, 64)] * 2


@pytest.mark.parametrize(
    ("precision", "size"),
    # the sum of five is kept in float32, which a gate computes in
    [("float32", 128), ("bf16", 64)],
)
def test_a_gate_finds_in_memory_what_takes_many_tensors(precision, size):
    b = builder(precision=precision)
    y = total(b, 5, IMAGE)
    (y,) = b.op("silu", y)
    (y,) = b.op("max_pool", y, window=(3, 3), stride=(1, 1), padding=(1, 1), ceil_mode=False)[:1]
    assert kernels(built(b, y)) == [("elementwise", 5 * size, 128), ("pooling", 128, size)]


def total(b, count, shape):
    """The sum of so many inputs."""
    found = b.input(shape)
    for number in range(1, count):
        (found,) = b.op("add", found, b.input(shape, name=f"x{number}"))
    return found


@pytest.mark.parametrize(
    ("count", "expected"),
    # a mean of columns is another loop than what it reads: of up to eight tensors it computes that itself
    [
        (5, [("reduction", 5 * 128, 32)]),
        (8, [("reduction", 8 * 128, 32)]),
        (9, [("elementwise", 9 * 128, 128), ("reduction", 128, 32)]),
    ],
)
def test_a_result_of_too_many_tensors_is_put_into_memory(count, expected):
    b = builder()
    (y,) = b.op("mean", total(b, count, (4, 8)), axes=(0,), keep=True)
    assert kernels(built(b, y)) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        # two tensors read again are cheaper than one written
        (2, [("elementwise", 256, 128), ("reduction", 256, 32)]),
        # five are not
        (5, [("elementwise", 640, 256), ("reduction", 128, 32)]),
    ],
)
def test_what_two_read_is_computed_twice_where_it_takes_few_tensors(count, expected):
    b = builder()
    y = total(b, count, (4, 8))
    program = built(b, b.op("relu", y)[0], b.op("mean", y, axes=(0,), keep=True)[0])
    assert sorted(kernels(program)) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # the product has the sum in memory, and the mean reads it there
        (2, [("elementwise", 256, 128), ("reduction", 128, 32)]),
        # of a row of eight that was spread over four it is cheaper to begin anew
        (1, [("elementwise", 32, 128), ("reduction", 32, 32)]),
    ],
)
def test_what_a_library_reads_too_is_in_memory_for_all_if_it_takes_two_tensors(given, expected):
    b = builder()
    if given == 2:
        y = total(b, 2, (4, 8))
    else:
        (y,) = b.op("relu", b.op("expand", b.input((1, 8)), shape=(4, 8))[0])
    (m,) = b.op("mean", y, axes=(0,), keep=True)
    (p,) = b.op("matmul", y, b.parameter("w", (8, 8)))
    assert sorted(kernels(built(b, m, p))) == sorted([*expected, ("matmul", 384, 128)])


def test_on_cuda_an_activation_is_cheap_too():
    b = builder(backend="cuda")
    (shared,) = b.op("sigmoid", b.input((4, 8)))
    (y,) = b.op("matmul", b.op("negative", shared)[0], b.parameter("w", (8, 8)))
    (y,) = b.op("add", shared, y)
    assert kernels(built(b, y)) == [
        ("activation", 128, 128),
        ("matmul", 384, 128),
        ("activation", 256, 128),
    ]


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (8, [("copy", 8 * 128, 8 * 128)]),
        (9, [("elementwise", 128, 128)] * 9),
    ],
)
def test_many_parts_are_each_made_in_their_place(count, expected):
    b = builder(backend="cuda")
    parts = [b.op("relu", b.input((4, 8), name=f"x{number}"))[0] for number in range(count)]
    (y,) = b.op("concatenate", *parts, axis=1)
    found = kernels(built(b, y))
    assert [(size, made) for _, size, made in found] == [(size, made) for _, size, made in expected]


def test_a_part_made_in_its_place_is_read_there_by_others():
    b = builder()
    x = b.input((4, 8))
    (one,) = b.op("relu", x)
    (two,) = b.op("matmul", x, b.parameter("v", (8, 8)))
    (both,) = b.op("concatenate", one, two, axis=1)
    (y,) = b.op("matmul", both, b.parameter("w", (16, 8)))
    (z,) = b.op("matmul", one, b.parameter("u", (8, 8)))
    # relu's 128 bytes are written once, into their place
    assert ("elementwise", 128, 128) in kernels(built(b, y, z))


def test_a_softmax_of_columns_is_a_loop_for_the_largest_and_the_sums_and_one_for_the_rest():
    b = builder()
    (y,) = b.op("softmax", b.input((4, 8)), axis=0)
    # a number of 4 bytes for each of 8 columns; then x and those
    assert kernels(built(b, y)) == [("softmax", 128, 32), ("softmax", 160, 128)]


def test_two_convolutions_of_one_image_turn_it_once():
    b = builder()
    x = b.input(IMAGE)
    one, two = (convolution(b, x, 4, 3, name) for name in ("one", "two"))
    copies = [each for each in kernels(built(b, one, two), order=True) if each[0] == "copy"]
    assert sorted(copies) == [("copy", 128, 128), ("copy", 288, 288), ("copy", 288, 288)]


def test_a_pool_over_all_places_is_a_reduction():
    b = builder()
    y = convolution(b, b.input(IMAGE), 2, 1)
    (y,) = b.op("sigmoid", y)
    (m,) = b.op("average_pool", y, window=(4, 4), stride=(4, 4), padding=(0, 0), ceil_mode=False)
    (out,) = b.op("mul", y, m)
    # one loop over rows of 16 places, as for a mean
    assert [(size, made) for _, size, made in kernels(built(b, out))[1:]] == [(128, 128)]


def test_statistics_beside_a_result_make_a_reduction():
    b = builder(mode="training")
    (y, *_) = b.op("batch_norm", b.input((2, 2, 4, 4)), training=True, affine=False)
    first, second = [each for each in kernels(built(b, y)) if each[2]][:2]
    # of each of 2 channels one number is reckoned, 8 bytes; then x, 256 bytes, is read again with
    # them by the loss, which keeps a number for each of 2 x 16 softmaxes
    assert first == ("batch norm", 256, 8)
    assert second == ("softmax", 256 + 8, 128)


@pytest.mark.parametrize("pool_first", [False, True])
def test_a_window_and_what_reads_the_same_are_one_loop(pool_first):
    b = builder()
    x = b.input(IMAGE)

    def pool():
        return b.op("max_pool", x, window=(3, 3), stride=(1, 1), padding=(1, 1), ceil_mode=False)[0]

    made = [pool(), b.op("relu", x)[0]] if pool_first else [b.op("relu", x)[0], pool()]
    assert kernels(built(b, *made)) == [("pooling", 128, 256)]


def test_a_window_of_what_a_kernel_makes_is_another_whatever_they_share():
    b = builder()
    x = b.input(IMAGE)
    (a,) = b.op("sigmoid", b.op("add", x, b.input(IMAGE, name="other"))[0])
    (y,) = b.op("max_pool", a, window=(3, 3), stride=(1, 1), padding=(1, 1), ceil_mode=False)[:1]
    (y,) = b.op("add", y, x)
    assert kernels(built(b, y)) == [("activation", 256, 128), ("pooling", 256, 128)]


def test_a_kernel_holds_sixty_four_of_those_found():
    b = builder()
    x = b.input((4, 8))
    program = built(b, *(b.op("relu", x)[0] for _ in range(70)))
    assert kernels(program) == [("elementwise", 128, 64 * 128), ("elementwise", 128, 6 * 128)]


@pytest.mark.parametrize(("between", "expected"), [(63, 64), (64, 66)])
def test_kernels_far_apart_do_not_become_one_for_what_they_both_read(between, expected):
    b = builder()
    x = b.input((4, 8))
    # outputs are computed in order
    apart = [b.op("relu", b.input((4, 8), name=f"x{number}"))[0] for number in range(between)]
    program = built(b, b.op("relu", x)[0], *apart, b.op("negative", x)[0])
    assert len(kernels(program)) == expected


@pytest.mark.parametrize(
    ("groups", "kernels", "channels", "expected"),
    # 0.823 of the time where nothing is special, 1.358 where grouped
    [(1, 128, 128, True), (2, 128, 128, False), (128, 128, 128, True)],
)
def test_images_have_their_channels_last_where_convolutions_gain(
    groups, kernels, channels, expected
):
    b = builder(backend="cuda")
    y = convolution(b, b.input((1, channels, 4, 4)), kernels, 3, groups=groups)
    assert channels_last(built(b, y)) is expected


def test_a_cpu_has_channels_last_and_no_convolution_leaves_the_order():
    b = builder()
    assert channels_last(built(b, convolution(b, b.input(IMAGE), 2, 3, groups=1)))
    b = builder()
    assert not channels_last(built(b, b.op("relu", b.input(IMAGE))[0]))


def test_training_is_shy_of_grouped_narrowing_and_small_convolutions():
    for groups, width, kernel_count, expected in (
        (1, 128, 128, True),
        (2, 128, 128, False),
        (1, 128, 64, False),
        (1, 32, 32, False),
    ):
        b = builder(backend="cuda", mode="training")
        y = convolution(b, b.input((1, width, 4, 4)), kernel_count, 3, groups=groups)
        assert channels_last(built(b, y)) is expected


def test_a_compiled_program_hands_out_kernels_and_an_eager_one_operators():
    for compiled, count in ((True, 1), (False, 3)):
        b = builder(compiled=compiled)
        (y,) = b.op("relu", b.input(IMAGE))
        (y,) = b.op("negative", y)
        (y,) = b.op("relu", y)
        program = built(b, y)
        launched = tuple(launches(program))
        assert len(launched) == dispatches(program, launched) == count
        assert {id(op) for launch in launched for op in launch.ops} == {
            id(op) for op in program.ops
        }


def test_what_is_made_of_a_rows_result_is_made_where_the_row_is():
    b = builder()
    (y,) = b.op("sum", b.input((4, 8)), axes=(1,), keepdim=False)
    (y,) = b.op("relu", y)
    # x, 4 x 8 numbers, is read, and 4 are written: the sums themselves never are
    assert kernels(built(b, y)) == [("reduction", 128, 16)]


def test_a_loop_that_joined_a_later_one_lies_as_late():
    b = builder()
    x, v, w = b.input((4, 8)), b.parameter("v", (8, 8)), b.parameter("w", (8, 8))
    (early,) = b.op("relu", x)
    (product,) = b.op("matmul", x, v)
    (late,) = b.op("add", product, x)
    (after,) = b.op("matmul", early, w)
    (last,) = b.op("add", after, x)
    # early and late are one loop over x, after the first product and before the second; last, which
    # reads x too, comes after that
    assert kernels(built(b, late, last)) == [
        ("matmul", 128 + 256, 128),
        ("elementwise", 2 * 128, 2 * 128),
        ("matmul", 128 + 256, 128),
        ("elementwise", 2 * 128, 128),
    ]
