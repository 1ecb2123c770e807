"""Dimensions: broadcasting, bytes, and formulas that say what the count says."""

from __future__ import annotations

import pytest

from weighbridge import dims


@pytest.mark.parametrize(
    ("elements", "dtype", "expected"),
    [(10, "float32", 40), (10, "float64", 80), (10, "bfloat16", 20), (10, "bool", 10),
     (10, "int4", 5), (11, "int4", 6), (3, "int2", 1), (10, "complex64", 80)],
)  # fmt: skip
def test_bytes_round_up_to_whole_bytes(elements: int, dtype: str, expected: int) -> None:
    assert dims.bytes_of(elements, dtype) == expected


def test_broadcast_aligns_from_the_right() -> None:
    assert dims.broadcast(((2, 3, 4), (4,))) == (2, 3, 4)
    assert dims.broadcast(((5, 1), (1, 6))) == (5, 6)
    assert dims.broadcast(((0, 3), (1, 3))) == (0, 3)
    assert dims.broadcast(()) == ()
    with pytest.raises(ValueError, match=r"shapes \(2, 3\) and \(4,\) do not broadcast"):
        dims.broadcast(((2, 3), (4,)))


def test_halves_are_exact_for_numbers_and_symbols() -> None:
    from sympy import Symbol

    n = Symbol("n", integer=True, positive=True)
    assert dims.halved(10) == 5
    assert dims.halved(n * (n + 1)).subs({n: 4}) == 10


def test_a_formula_prints_as_on_the_board() -> None:
    ((c, w, m, k),) = dims.symbolic((("c", "w", "M", "k"),))
    text = dims.formula(2 * c * w * w * (m - w + 1) * k, {"c": 3, "w": 5, "M": 224, "k": 6})
    assert text.text == "2·c·w²·k·(M−w+1)"
    assert text.value == 2 * 3 * 5 * 5 * 220 * 6
    assert dict(text.values) == {"c": 3, "w": 5, "M": 224, "k": 6}


def test_a_formula_prints_floors_quotients_and_signs() -> None:
    ((m, k),) = dims.symbolic((("M", "k"),))
    values = {"M": 7, "k": 3}
    assert dims.formula((m - 3) // 2 + 1, values).text == "⌊(M−3)/2⌋+1"
    assert dims.formula(-m * k, values).text == "−M·k"
    assert dims.formula(12, values).text == "12"
    assert dims.formula(m / k, values).text == "M/k"
