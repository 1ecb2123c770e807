"""Normalisations against sums by hand."""

from __future__ import annotations

import pytest

from by_hand import cost, run
from weighbridge.errors import ShapeError
from weighbridge.ops import rule_of


def test_batch_norm_in_inference_is_a_multiplication_and_an_addition_an_element() -> None:
    # 2*3*4*4 = 96 elements, 3 channels. scale = weight / sqrt(var + eps): 1 addition, 1 root, 1 division,
    # 1 multiplication; shift = bias - mean * scale: 1 multiplication, 1 addition; then 1 and 1 an element
    found = cost(
        run("batch_norm", (2, 3, 4, 4), (3,), (3,), (3,), (3,), affine=True, training=False)
    )
    assert (found.multiplications, found.additions) == (96 + 3 * 2, 96 + 3 * 2)
    assert (found.transcendentals, found.divisions, found.macs) == (3, 3, 0)


def test_batch_norm_in_training_adds_statistics_and_running_means() -> None:
    op = run("batch_norm", (2, 3, 4, 4), (3,), (3,), (3,), (3,), affine=True, training=True)
    assert [tensor.shape for tensor in op.outputs] == [(2, 3, 4, 4), (3,), (3,)]
    found = cost(op)
    # on top of inference: a square an element, and 5 multiplications a channel for the two running
    # means (1-m)*r + m*x, the variance once more by n/(n-1)
    assert found.multiplications == 102 + 96 + 5 * 3
    # mean 96-3, subtraction 96, sum of squares 96-3, running means 2 a channel
    assert found.additions == 102 + 93 + 96 + 93 + 2 * 3
    assert found.divisions == 3 + 2 * 3


def test_batch_norm_without_weights_or_running_means() -> None:
    found = cost(run("batch_norm", (2, 3, 4, 4), affine=False, training=True))
    assert found.multiplications == 96 + 3 + 96


def test_a_batch_norm_that_trains_goes_over_each_channel_again() -> None:
    def row_bytes(kind, *shapes, training):
        op = run(kind, *shapes, affine=True, training=training)
        (kernel,) = rule_of(kind).kernels(op)
        return kernel.row_bytes

    # 4*4 float32, of one sample
    image = (2, 3, 4, 4)
    assert row_bytes("batch_norm", image, (3,), (3,), (3,), (3,), training=True) == 64
    assert row_bytes("batch_norm", image, (3,), (3,), (3,), (3,), training=False) == 0
    assert row_bytes("batch_norm_backward", image, image, (3,), (3,), (3,), training=True) == 64


def test_batch_norm_needs_a_number_a_channel() -> None:
    with pytest.raises(ShapeError, match=r"batch norm of 3 channels with \(4,\)"):
        run("batch_norm", (2, 3, 4, 4), (4,), (4,), affine=True)


def test_batch_norm_backward() -> None:
    # xhat 1 subtraction, 1 multiplication; sums of dy and dy*xhat 2 additions less one a channel each, 1
    # multiplication; dx two multiplications and two subtractions an element, weight*inv a channel
    op = run(
        "batch_norm_backward",
        (2, 3, 4, 4),
        (2, 3, 4, 4),
        (3,),
        (3,),
        (3,),
        affine=True,
        training=True,
    )
    found = cost(op)
    assert found.multiplications == 4 * 96 + 3
    assert found.additions == 5 * 96 - 2 * 3


def test_layer_norm_counts_rows() -> None:
    # 2*5 rows of 8: mean 10*7 additions; squares 80 multiplications, 80 subtractions, 10*7 additions; eps 10;
    # scaled 80; affine 80 and 80
    op = run("layer_norm", (2, 5, 8), (8,), (8,), rank=1)
    assert [tensor.shape for tensor in op.outputs] == [(2, 5, 8), (2, 5, 1), (2, 5, 1)]
    found = cost(op)
    assert found.multiplications == 80 + 80 + 80
    assert found.additions == 70 + 80 + 70 + 10 + 80
    assert found.transcendentals == 10
    with pytest.raises(ShapeError, match=r"layer norm of \(2, 5, 8\) with \(5,\)"):
        run("layer_norm", (2, 5, 8), (5,), rank=1)


def test_group_norm_has_a_row_a_group() -> None:
    op = run("group_norm", (2, 6, 4, 4), (6,), (6,), groups=3)
    assert op.outputs[1].shape == (2, 3)
    # 192 elements in 6 rows: mean 186, subtraction 192, sum of squares 186, eps 6, shift 192
    assert cost(op).additions == 186 + 192 + 186 + 6 + 192


def test_local_response_norm() -> None:
    # 1*4*2*2 = 16 elements, 5 neighbours: square and alpha*sum; 4 sums and k+; a power and a division
    found = cost(run("local_response_norm", (1, 4, 2, 2), size=5))
    assert (found.multiplications, found.additions) == (32, 80)
    assert (found.transcendentals, found.divisions) == (16, 16)
