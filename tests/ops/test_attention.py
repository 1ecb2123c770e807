"""Attention against sums by hand."""

from __future__ import annotations

import pytest

from by_hand import cost, run
from weighbridge.errors import ShapeError
from weighbridge.ops import rule_of
from weighbridge.ops.attention import attended_pairs


@pytest.mark.parametrize(
    ("queries", "keys", "causal", "pairs"),
    [
        (4, 4, False, 16),
        (4, 4, True, 10),
        (2, 4, True, 3),
        (4, 2, True, 1 + 2 + 2 + 2),
        (1, 9, False, 9),
    ],
)
def test_pairs(queries: int, keys: int, causal: bool, pairs: int) -> None:
    # by enumeration: key j is seen by query i where j <= i
    assert pairs == sum(not causal or j <= i for i in range(queries) for j in range(keys))
    assert attended_pairs(queries, keys, causal=causal) == pairs


def test_scores_and_values() -> None:
    # 2 samples, 3 heads, 5 queries, 7 keys, width 4: 2*3*35*(4+4) products
    op = run("attention", (2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 4))
    assert [t.shape for t in op.outputs] == [(2, 3, 5, 4), (2, 3, 5)]
    found = cost(op)
    assert found.macs == 2 * 3 * 35 * 8
    # a scale a score on top of the products
    assert found.multiplications == found.macs + 210
    # scores: 3 of 4 products added; less the maximum: 1; their sum: 6 of 7 a row; values: 6 of 7 a row and
    # column; log-sum-exp: 1 a row. 210 scores in 30 rows.
    assert found.additions == 210 * 3 + 210 + 30 * 6 + 30 * 4 * 6 + 30
    assert found.comparisons == 30 * 6
    assert found.transcendentals == 210 + 30
    assert found.divisions == 30 * 4


def test_a_causal_mask_leaves_half_and_the_diagonal() -> None:
    full = cost(run("attention", (1, 8, 64, 32), (1, 8, 64, 32), (1, 8, 64, 32)))
    half = cost(run("attention", (1, 8, 64, 32), (1, 8, 64, 32), (1, 8, 64, 32), causal=True))
    assert half.macs * 2 * 64 == full.macs * 65  # (S+1)/2S of it
    assert (full.masked_macs, half.masked_macs) == (0, full.macs - half.macs)


def test_backward_is_five_products_where_forward_was_two() -> None:
    shapes = ((1, 2, 6, 4), (1, 2, 6, 4), (1, 2, 6, 4))
    forward = cost(run("attention", *shapes))
    backward = run("attention_backward", (1, 2, 6, 4), *shapes, (1, 2, 6, 4), (1, 2, 6))
    assert [t.shape for t in backward.outputs] == list(shapes)
    assert cost(backward).macs * 2 == forward.macs * 5


def test_formulas_name_heads_queries_and_keys() -> None:
    rule = rule_of("attention")
    assert rule is not None
    own = rule.formulas(run("attention", (2, 3, 5, 4), (2, 3, 5, 4), (2, 3, 5, 4)))
    assert own["macs"].text == "2·B·H·S²·E"
    causal = rule.formulas(run("attention", (2, 3, 5, 4), (2, 3, 5, 4), (2, 3, 5, 4), causal=True))
    assert causal["macs"].text == "B·H·S·E·(S+1)"
    cross = rule.formulas(run("attention", (2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 4)))
    assert cross["macs"].text == "2·B·H·S·E·T"


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(
        ShapeError, match=r"attention of queries \(1, 1, 5, 4\) over keys \(1, 1, 7, 8\)"
    ):
        run("attention", (1, 1, 5, 4), (1, 1, 7, 8), (1, 1, 7, 8))
    with pytest.raises(
        ShapeError, match=r"attention over keys \(1, 1, 7, 4\) with values \(1, 1, 6, 4\)"
    ):
        run("attention", (1, 1, 5, 4), (1, 1, 7, 4), (1, 1, 6, 4))
