"""Intervals and sizes of what was fitted, on cases that can be counted out."""

import numpy as np
import pytest
from benchmarks.fitting.intervals import ends, fold, intervals, left_out
from benchmarks.fitting.sizes import sizes


def test_the_ends_of_an_interval_are_percentiles_of_families():
    # 21 families of one step each, from 0 to 20: the middle of the second lies above 1.5 of 21 = 7.1 %, of the first above 2.4 %
    networks = [f"{letter}_x" for letter in "abcdefghijklmnopqrstu"]
    low, high = ends(np.arange(21.0), networks)
    assert (low, high) == pytest.approx((0.05 * 21 - 0.5, 20 - (0.05 * 21 - 0.5)))
    # a family counts once, in however many steps
    more = [*networks, *["u_y"] * 50]
    assert ends(np.array([*np.arange(21.0), *[20.0] * 50]), more)[0] == pytest.approx(low)


def test_each_family_is_left_out_once_and_whole():
    networks = ["resnet18", "resnet50", "vit_b", "vit_l", "swin_t", "nest_t", "gmixer_s", "pit_b"]
    seen = np.array([True] * 7 + [False])
    times = np.zeros(8)
    for here, others in left_out(networks, seen):
        assert not (here & others).any()
        assert (here | others)[:7].all()
        assert not (here | others)[7]
        times += here
        assert here[0] == here[1]
        assert here[2] == here[3]
    assert times.tolist() == [1] * 7 + [0]
    assert fold("resnet18") == fold("resnet50")


def test_steps_outside_of_what_was_measured_have_an_interval_of_their_own():
    ratios = np.array([1.0, 1.1, 0.5, 2.0, 7.0])
    networks, sorts = ["a_1", "b_1", "c_1", "d_1", "e_1"], ["x", "y", "x", "y", "x"]
    outside = np.array([False, False, True, True, False])
    seen = np.array([True] * 4 + [False])
    found = intervals(ratios, networks, sorts, outside, seen)
    assert found == {"x": (1.0, 1.0), "y": (1.1, 1.1), "extrapolating": (0.5, 2.0)}


def test_sizes_are_those_where_the_time_is():
    # of the first class sizes 10 to 30 take 99.2 % of the time, of the second there is one, of the third none
    place = np.array([0, 0, 0, 0, 1])
    size = np.array([30.0, 1.0, 10.0, 99.0, 5.0])
    part = np.array([0.4, 0.003, 0.6, 0.005, 0.2])
    found = sizes(place, size, part, 3)
    assert found.tolist() == [[10, 30], [5, 5], [np.inf, 0]]
