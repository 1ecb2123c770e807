"""Sustained: what power leaves of the clock, against clocks worked out from what was measured."""

import pytest

from weighbridge.devices import clock_share, load, reached
from weighbridge.devices.device import Device, Rates


def test_power_settles_the_clock():
    # 250 W: 250 * 0.9 - 15 = 210 of 1.96 * 108 * 1.41 = 298.5 W: the cube root of 0.7036
    assert clock_share(load("a100-40gb-pcie")) == pytest.approx(0.7036 ** (1 / 3), rel=1e-3)
    # 70 W: 63 less 14 (a fifth of the TDP, less than 15 W) of 1.96 * 40 * 1.59 = 124.7 W: 49 / 124.7 = 0.393,
    # below 0.87^3: the voltage is at its floor, and the clock is 0.393 / 0.87^2
    assert clock_share(load("t4")) == pytest.approx(49 / 124.7 / 0.87**2, rel=1e-3)
    # 400 W are more than it takes
    assert clock_share(load("a100-80gb")) == 1


def test_a_card_without_power_or_of_another_make_keeps_its_clock():
    assert clock_share(Device(name="a card", architecture="ampere")) == 1
    assert clock_share(load("mi300x")) == 1


@pytest.mark.parametrize(
    ("card", "measured"),
    [("v100-32gb-pcie", 0.97), ("a100-40gb-pcie", 0.81), ("t4", 0.48), ("l4", 0.29), ("p4", 0.80)],
)
def test_the_rule_is_near_what_large_float32_products_reached(card, measured):
    # medians of NeuSight's linear table above 5 ms; P4's where its rows lie close enough to be addressed (depth 2048)
    assert reached(load(card), "float32") == pytest.approx(measured, rel=0.07)


def test_units():
    # 128 cores a multiprocessor share four schedulers; matrix units are others
    assert reached(load("h100-sxm"), "float32") == pytest.approx(0.62)
    assert reached(load("h100-sxm"), "float16") == pytest.approx(0.78)
    # a GeForce card accumulates at half rate: 450 W are less than 1.1 * 128 * 2.52 = 355 of 390 that are left
    assert reached(load("rtx-4090"), "float16") == pytest.approx(1.08)
    assert reached(Device(name="a card", vector_flop_per_s=Rates(float32=1e12)), "float32") == 0.62
