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


def seen(i: int, j: int, causal: bool, window: int, chunk: int) -> bool:
    """Whether query i sees key j, as the rule's docstring says it."""
    if causal and j > i:
        return False
    if window and abs(i - j) >= window:
        return False
    return not chunk or i // chunk == j // chunk


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("queries", [1, 4, 7])
@pytest.mark.parametrize("keys", [1, 4, 7])
@pytest.mark.parametrize("window", [1, 2, 4, 6, 9])
def test_pairs_in_a_window_one_by_one(causal: bool, queries: int, keys: int, window: int) -> None:
    one_by_one = sum(seen(i, j, causal, window, 0) for i in range(queries) for j in range(keys))
    assert attended_pairs(queries, keys, causal=causal, window=window) == one_by_one


@pytest.mark.parametrize("length", [1, 4, 6, 7])
@pytest.mark.parametrize("chunk", [1, 3, 8])
def test_pairs_in_chunks_one_by_one(length: int, chunk: int) -> None:
    one_by_one = sum(seen(i, j, True, 0, chunk) for i in range(length) for j in range(length))
    assert attended_pairs(length, length, causal=True, chunk=chunk) == one_by_one


def test_a_windows_figures_by_hand() -> None:
    # 1 head of width 4, 5 queries of 5 keys, the last two of which are seen: 1 + 2 + 2 + 2 + 2 = 9 pairs
    shape = (1, 1, 5, 4)
    found = cost(run("attention", shape, shape, shape, causal=True, window=2))
    assert (found.macs, found.masked_macs) == (9 * 8, (25 - 9) * 8)
    back = cost(run("attention_backward", shape, *(shape,) * 4, (1, 1, 5), causal=True, window=2))
    assert (back.macs, back.masked_macs) == (9 * 20, (25 - 9) * 20)


def test_windows_have_a_formula_in_the_width_alone() -> None:
    rule = rule_of("attention")
    assert rule is not None
    op = run("attention", (2, 3, 5, 4), (2, 3, 5, 4), (2, 3, 5, 4), causal=True, window=2)
    assert rule.formulas(op)["macs"].text == "18·B·H·E"  # 9 pairs, twice


def test_pairs_said_by_a_table_of_blocks() -> None:
    shape = (2, 3, 8, 4)
    op = run("attention", shape, shape, shape, pairs=100)
    # 6 squares of 64 pairs, of which 100 in all are scored
    assert (cost(op).macs, cost(op).masked_macs) == (100 * 8, (6 * 64 - 100) * 8)
    rule = rule_of("attention")
    assert rule is not None
    assert rule.formulas(op)["macs"].text == "200·E"


def test_dropout_compares_and_multiplies_once_a_pair_and_twice_backward() -> None:
    shape = (1, 2, 6, 4)  # 2 * 36 pairs
    plain, dropped = (cost(run("attention", shape, shape, shape, rate=rate)) for rate in (0.0, 0.1))
    assert dropped.comparisons - plain.comparisons == 72
    assert dropped.multiplications - plain.multiplications == 72
    plain, dropped = (
        cost(run("attention_backward", shape, *(shape,) * 4, (1, 2, 6), rate=rate))
        for rate in (0.0, 0.1)
    )
    assert dropped.comparisons - plain.comparisons == 72
    assert dropped.multiplications - plain.multiplications == 2 * 72


def test_what_is_done_to_each_score_counts_again_backward() -> None:
    shape = (1, 2, 6, 4)
    settings = {"score": (1, 2, 0, 0, 3), "score_backward": (4, 0, 0, 0, 0)}
    plain, own = (cost(run("attention", shape, shape, shape, **more)) for more in ({}, settings))
    assert own.multiplications - plain.multiplications == 72
    assert own.additions - plain.additions == 2 * 72
    assert own.transcendentals - plain.transcendentals == 3 * 72
    plain, own = (
        cost(run("attention_backward", shape, *(shape,) * 4, (1, 2, 6), **more))
        for more in ({}, settings)
    )
    assert own.multiplications - plain.multiplications == (1 + 4) * 72
    assert own.transcendentals - plain.transcendentals == 3 * 72
