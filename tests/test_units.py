"""Numbers as text: three significant digits, decimal counts, binary memory."""

from __future__ import annotations

import pytest

from weighbridge import units


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (7, "7"),
        (999, "999"),
        (1000, "1.00 k"),
        (999_499, "999 k"),
        (999_500, "1.00 M"),  # 999.5 k would round to 1000 k
        (1_814_073_344, "1.81 G"),
        (43_560_000, "43.6 M"),
        (10**30, "1.00 Q"),
        (10**33, "1000 Q"),
        (-2_000, "-2.00 k"),
    ],
)
def test_counts_are_decimal(value: int, text: str) -> None:
    assert units.count(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (102_228_128, "97.5 MiB"),  # ResNet-50 in float32: 25,557,032 * 4 / 2**20 = 97.49
        (24 * 2**30, "24.0 GiB"),
    ],
)
def test_memory_is_binary(value: int, text: str) -> None:
    assert units.memory(value) == text


def test_units_stand_behind_their_prefix() -> None:
    assert units.macs(4_089_184_256) == "4.09 GMACs"
    assert units.flops(2 * 4_089_184_256) == "8.18 GFLOPs"
    assert units.unit(12, "MACs") == "12 MACs"
    assert units.integer(25_557_032) == "25,557,032"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (9.999, "10.0"),
        (0.1234, "0.123"),
        (0.001234, "0.00123"),
        (123.4, "123"),
        (99.96, "100"),
    ],
)
def test_three_significant_digits(value: float, text: str) -> None:
    assert units.significant(value) == text


def test_shares_and_plurals() -> None:
    assert units.percent(0.0289) == "2.9 %"
    assert units.percent(0) == "0.0 %"
    assert units.percent(0.0001) == "<0.1 %"
    assert units.plural(1, "operator") == "1 operator"
    assert units.plural(1750, "operator") == "1,750 operators"
