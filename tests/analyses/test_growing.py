"""Growing: polynomials in the batch, by hand."""

import pytest

from weighbridge.analyses.growing import solved
from weighbridge.analyses.memory.scaling import UnscalableError


def test_a_straight_line_and_a_parabola_by_hand():
    # 7 + 2 b, and 1 + b + 3 b^2: 5, 15, 31 at 1, 2, 3
    found = solved(lambda b: (7 + 2 * b, 1 + b + 3 * b * b), 2)
    assert found.zero == (7, 1)
    assert found.first == (2, 4)  # from 1 at 0 to 5 at 1
    assert found.second == (0, 6)
    assert found.at(1) == (9, 5)
    assert found.at(1000) == (2007, 3001001)


def test_a_cube_is_refused():
    with pytest.raises(UnscalableError, match="grows faster than with the square of the batch"):
        solved(lambda b: (b**3,), 2)
