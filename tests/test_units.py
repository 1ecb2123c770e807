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


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 us"),
        (7e-6, "7.00 us"),
        (0.0009996, "1.00 ms"),  # 999.6 us would print as 1000
        (0.0143, "14.3 ms"),
        (59.97, "1.00 min"),  # and 59.97 s as 60.0
        (90, "1.50 min"),  # the lecture's minute and a half
        (2.4 * 3600, "2.40 h"),
        (24 * 3600, "24.0 h"),
        (48 * 3600, "2.00 days"),
        (400 * 86400, "400 days"),
    ],
)
def test_times_are_told_in_the_unit_that_a_person_would_choose(seconds: float, text: str) -> None:
    assert units.duration(seconds) == text


def test_energy_is_told_in_watt_hours_and_money_with_its_currency() -> None:
    assert units.energy(450 * 3600) == "450 Wh"
    assert units.energy(450 * 3600 * 9) == "4.05 kWh"
    assert units.money(4.0499, "USD") == "4.05 USD"
    assert units.money(0.00213, "USD") == "0.00213 USD"
    assert units.money(1234.5, "EUR") == "1234 EUR"


def test_between_two_times() -> None:
    assert units.durations(0.0604, 0.0846) == "60.4 to 84.6 ms"
    assert units.durations(0.9, 1.2) == "900 ms to 1.20 s"


def test_whole_percent() -> None:
    assert units.whole_percent(0.614) == "61 %"
    assert units.whole_percent(0.001) == "<1 %"
    assert units.whole_percent(0) == "0 %"
