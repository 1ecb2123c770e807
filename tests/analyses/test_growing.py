"""Growing: polynomials in the batch and a size, by hand."""

from math import comb

import pytest

from weighbridge.analyses.growing import choose, solved, solved_over_sizes
from weighbridge.analyses.memory.scaling import UnscalableError


def test_a_straight_line_and_a_parabola_by_hand():
    # 7 + 2 b, and 1 + b + 3 b^2: 5, 15, 31 at 1, 2, 3
    found = solved(lambda b: (7 + 2 * b, 1 + b + 3 * b * b), 2)
    assert found.zero == (7, 1)
    assert dict(found.terms) == {(1, 0): (2, 4), (2, 0): (0, 6)}  # from 1 at 0 to 5 at 1
    assert found.at(1) == (9, 5)
    assert found.at(1000) == (2007, 3001001)


def test_a_cube_is_refused():
    with pytest.raises(UnscalableError, match="grows faster than with the square of the batch"):
        solved(lambda b: (b**3,), 2)


def test_choosing_by_hand():
    assert [choose(n, 2) for n in range(6)] == [comb(n, 2) for n in range(6)]
    assert choose(-3, 2) == 6  # (-3)(-4) / 2
    assert choose(-1, 3) == -1


def image(batch, steps):
    """Constants, a side of 7 + steps, a sample's square of it, and ten a sample for each edge."""
    side = 7 + steps
    return (0.001, side, batch * side * side, 100 + 10 * batch * side)


def test_images_by_hand():
    asked = []
    found = solved_over_sizes(lambda *at: (asked.append(at), image(*at))[1], 4, 21, degree=4)
    # (7 + k)^2 = 49 + 15 k + 2 (k choose 2)
    assert found.zero == (0.001, 7, 0, 100)
    assert dict(found.terms) == {
        (1, 0): (0, 0, 49, 70), (0, 1): (0, 1, 0, 0), (1, 1): (0, 0, 15, 10), (1, 2): (0, 0, 2, 0),
    }  # fmt: skip
    assert found.at(9, -5) == image(9, -5)
    assert found.at(1, 30) == image(1, 30)
    assert sorted(asked) == [(4, 0), (4, 1), (4, 2), (5, 0), (256, 21)]


def test_what_grows_with_the_size_alone():
    """Positions, which every sample shares, and the scores of each patch for each other, (7 + k)^4."""

    def row(batch, steps):
        side = 7 + steps
        return (3 * side * side, batch * side**4, batch * side + side)

    found = solved_over_sizes(row, 2, 9, degree=4)
    assert found.at(37, -6) == row(37, -6)
    assert found.at(37, 100) == row(37, 100)


@pytest.mark.parametrize(
    "number",
    [lambda b, k: b * (1024 + k + 31) // 32, lambda b, k: k**5, lambda b, k: b * b * k],
    ids=["rounded up", "fifth power", "all samples against all"],
)
def test_other_growth_is_refused(number):
    with pytest.raises(UnscalableError, match="grows with the size in a way that no polynomial"):
        solved_over_sizes(lambda b, k: (number(b, k),), 2, 1000, degree=4)


def test_places_are_chosen_and_cut():
    found = solved_over_sizes(image, 2, 21, degree=2)
    assert found.chosen([2, 0]).at(3, 1) == (3 * 64, 0.001)
    first, second = found.cut(1, 3)
    assert first.terms == ()
    assert second.at(3, 1) == image(3, 1)[1:]
