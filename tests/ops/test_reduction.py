"""Reductions and scans, counted by hand."""

from by_hand import run
from weighbridge.ops import rule_of


def cost(kind, shape, **attributes):
    op = run(kind, shape, **attributes)
    return rule_of(kind).cost(op)


def test_partial_sums_products_and_maxima_along_an_axis():
    # 2 * 4 rows of 3: two additions each
    assert cost("running_sum", (2, 3, 4), axis=1).additions == 2 * 4 * 2
    assert cost("running_product", (2, 3, 4), axis=1).multiplications == 2 * 4 * 2
    assert cost("running_extreme", (2, 3, 4), axis=1).comparisons == 2 * 4 * 2
    # a row of one is there already
    assert cost("running_sum", (5, 1), axis=1).additions == 0


def test_a_sum_over_some_axes():
    # 24 numbers to 8 results
    assert cost("sum", (2, 3, 4), axes=(1,)).additions == 24 - 8
