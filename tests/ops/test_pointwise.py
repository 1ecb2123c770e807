"""Elementwise operators, reductions, softmax, losses, embeddings and movement against sums by hand."""

from __future__ import annotations

import pytest

from by_hand import cost, run
from weighbridge.errors import ShapeError
from weighbridge.ops import rule_of


def test_one_operation_an_element() -> None:
    assert cost(run("relu", (2, 3, 4))).comparisons == 24
    assert cost(run("add", (2, 3), (3,))).additions == 6
    assert cost(run("mul", (2, 3), (2, 1))).multiplications == 6


def test_alpha_scales_the_second_operand() -> None:
    found = cost(run("add", (10,), (10,), alpha=-0.1))
    assert (found.additions, found.multiplications) == (10, 10)
    assert cost(run("add", (10,), (10,), alpha=1)).multiplications == 0


def test_a_sigmoid_is_an_exponential_an_addition_and_a_division() -> None:
    found = cost(run("sigmoid", (7,)))
    assert (found.transcendentals, found.additions, found.divisions, found.macs) == (7, 7, 7, 0)
    assert found.other == 14
    assert found.operations == 21


def test_shapes_that_do_not_broadcast() -> None:
    with pytest.raises(ShapeError, match=r"add: shapes \(2, 3\) and \(4,\) do not broadcast"):
        run("add", (2, 3), (4,))


def test_reductions_take_one_addition_less_than_elements() -> None:
    assert cost(run("sum", (4, 5), axes=(0,))).additions == 15
    found = cost(run("mean", (4, 5)))
    assert (found.additions, found.divisions) == (19, 1)
    assert run("sum", (4, 5), axes=(0,), keep=True).outputs[0].shape == (1, 5)
    assert cost(run("extreme", (4, 5), axes=(1,))).comparisons == 16
    # variance of 10: mean 9 additions 1 division; 10 subtractions, 10 squares, 9 additions, 1 division
    found = cost(run("variance", (10,)))
    assert (found.multiplications, found.additions, found.divisions) == (10, 28, 2)


def test_reductions_without_a_gradient_say_so() -> None:
    rule = rule_of("extreme")
    assert rule is not None
    op = run("extreme", (4, 5))
    with pytest.raises(ShapeError, match="operator 'extreme' has no backward rule"):
        rule.backward(op, (op.outputs[0],), (True,), lambda kind, *inputs, **attributes: ())


def test_softmax_rows() -> None:
    # 3 rows of 5: maximum 4, subtractions 5, exponentials 5, sum 4, divisions 5 a row
    found = cost(run("softmax", (3, 5), axis=-1))
    assert (found.comparisons, found.additions) == (12, 15 + 12)
    assert (found.transcendentals, found.divisions) == (15, 15)
    logarithm = cost(run("log_softmax", (3, 5), axis=1))
    assert (logarithm.transcendentals, logarithm.divisions) == (15 + 3, 0)


def test_the_likelihood_reads_only_what_it_picks() -> None:
    op = run("nll_loss", (8, 1000), (8,))
    found = cost(op)
    assert (found.additions, found.divisions) == (7, 1)
    assert found.read_bytes == 8 * 4 + 8 * 4  # 8 scores, 8 targets (float32 stand-ins here)
    with pytest.raises(ShapeError, match=r"targets \(7,\) for log-probabilities \(8, 1000\)"):
        run("nll_loss", (8, 1000), (7,))


def test_an_embedding_moves_rows_and_computes_nothing() -> None:
    found = cost(run("embedding", (30522, 768), (2, 16)))
    assert found.operations == 0
    assert found.write_bytes == 2 * 16 * 768 * 4
    assert found.read_bytes == 2 * 16 * 768 * 4 + 2 * 16 * 4
    backward = cost(run("embedding_backward", (2, 16, 768), (2, 16), rows=30522))
    assert backward.additions == 2 * 16 * 768
    assert backward.write_bytes == 30522 * 768 * 4


def test_views_are_free_and_copies_are_traffic() -> None:
    view = cost(run("reshape", (2, 3, 4), shape=(2, 12)))
    assert (view.operations, view.traffic_bytes) == (0, 0)
    copy = cost(run("clone", (2, 3, 4)))
    assert (copy.operations, copy.read_bytes, copy.write_bytes) == (0, 96, 96)
    joined = run("concatenate", (2, 3, 4), (2, 5, 4), axis=1)
    assert joined.outputs[0].shape == (2, 8, 4)
    assert cost(joined).traffic_bytes == 2 * 2 * 8 * 4 * 4


def test_movement_that_does_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"shape \(2, 3\) has no view of shape \(7,\)"):
        run("reshape", (2, 3), shape=(7,))
    with pytest.raises(ShapeError, match=r"shapes \(2, 3\) and \(4, 3\) do not join along axis 1"):
        run("concatenate", (2, 3), (4, 3), axis=1)


def test_dropout_keeps_a_byte_an_element() -> None:
    op = run("dropout", (4, 5), rate=0.5)
    assert [(t.dtype, t.bytes) for t in op.outputs] == [("float32", 80), ("bool", 20)]
    assert (cost(op).multiplications, cost(op).comparisons) == (20, 20)
