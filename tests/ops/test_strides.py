"""How tensors lie in memory: by hand, and as PyTorch has it."""

import pytest

from weighbridge.ops.strides import (
    are_channels_last,
    channels_last,
    dense,
    elements_read,
    in_order,
    lie_alike,
    made_dense,
    permuted,
    sliced,
    stretched,
    viewed,
)

IMAGE = (2, 3, 4, 5)
# 60 numbers a sample; channels last: a row has 5 * 3 of them, a place 3
FIRST, LAST = (60, 20, 5, 1), (60, 1, 15, 3)


def test_images_lie_with_their_channels_first_or_last():
    assert in_order(IMAGE) == FIRST
    assert channels_last(IMAGE) == LAST
    assert are_channels_last(IMAGE, LAST)
    assert not are_channels_last(IMAGE, FIRST)
    # a matrix has no channels
    assert channels_last((3, 4)) == (4, 1)
    assert not are_channels_last((3, 4), (4, 1))


def test_where_both_could_be_meant_the_strides_tell():
    # 1x1 kernels as they are made have their channels first, and converted last
    assert not are_channels_last((16, 32, 1, 1), (32, 1, 1, 1))
    assert are_channels_last((16, 32, 1, 1), (32, 1, 32, 32))
    assert not are_channels_last((2, 1, 4, 5), (20, 20, 5, 1))


def test_axes_of_one_element_lie_anywhere():
    assert lie_alike((2, 1, 4), (4, 4, 1), (4, 99, 1))
    assert not lie_alike((2, 2, 4), (8, 4, 1), (8, 99, 1))


def test_dense_tensors_have_no_gaps():
    assert dense(IMAGE, LAST)
    assert not dense((2, 3), (4, 1))  # every fourth element is left out
    # (4, 1) for (2, 3), made dense: three a row
    assert made_dense((2, 3), (4, 1)) == (3, 1)
    # the first axis walked first: a column of 2, then the next
    assert made_dense((2, 3), (1, 7)) == (1, 2)


def test_stretched_axes_are_read_once():
    # a bias of 5 over 4 rows: 20 elements are seen, 5 are there
    assert stretched((5,), (1,), (4, 5)) == (0, 1)
    assert elements_read((4, 5), (0, 1)) == 5


def test_views():
    assert permuted(FIRST, (0, 2, 3, 1)) == (60, 5, 1, 20)
    assert sliced((2, 3, 4), (12, 4, 1), (2, 4)) == (12, 1)
    assert viewed((2, 3, 4), (12, 4, 1), (6, 4)) == (4, 1)
    assert viewed((2, 3, 4), (12, 4, 1), (2, 12)) == (12, 1)
    # turned to (3, 2, 4): its first two axes are not one
    assert viewed((3, 2, 4), (4, 12, 1), (6, 4)) is None
    # heads cut out of features and put together again
    assert viewed((2, 7, 12), (84, 12, 1), (2, 7, 3, 4)) == (84, 12, 4, 1)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("shape", "order", "to"),
    [
        ((2, 3, 4, 5), (0, 2, 3, 1), (2, 20, 3)),
        ((2, 3, 4, 5), (0, 2, 3, 1), (40, 3)),
        ((2, 3, 4, 5), (0, 1, 3, 2), (2, 3, 20)),
        ((2, 6, 4), (0, 2, 1), (2, 4, 2, 3)),
        ((1, 6, 4), (1, 0, 2), (6, 4)),
        ((4, 1, 6), (2, 1, 0), (6, 2, 2)),
    ],
)
def test_views_are_pytorchs(shape, order, to):
    torch = pytest.importorskip("torch")
    tensor = torch.empty(shape, device="meta").permute(order)
    try:
        expected = tensor.view(to).stride()
    except RuntimeError:
        expected = None
    assert viewed(tuple(tensor.shape), tensor.stride(), to) == expected
