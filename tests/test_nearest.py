"""What a device that nobody measured takes over, and what was measured as it is read and written."""

import tomllib
from dataclasses import replace
from math import inf

import pytest
from benchmarks.fitting.neusight import plain_rule, settle, with_ada
from benchmarks.fitting.writing import text

from weighbridge.api import weigh
from weighbridge.devices import (
    UNMEASURED,
    Efficiencies,
    Efficiency,
    efficiencies,
    load,
    measured,
    reached,
    taken_over,
)
from weighbridge.devices.measured import fitted


def shares(bandwidth, compute=0.9, kinds=("matmul", "norm")):
    share = Efficiency(compute=compute, bandwidth=bandwidth, launch_s=3e-6)
    return Efficiencies(
        default=share,
        dispatch_s=7e-6,
        low=0.8,
        high=1.5,
        basis="timed",
        classes={(kind, "forward"): share for kind in kinds},
    )


KNOWN = {
    "a100-40gb-pcie": shares(0.91),
    "v100-32gb-pcie": shares(0.92),
    "t4": shares(0.75),
    "rtx-4090": shares(0.85, kinds=("matmul", "norm", "convolution")),
}


def test_a_device_takes_over_from_the_nearest_and_says_so():
    # Hopper's neighbour in age is Ada, but its memory is stacked, as the A100's and the V100's: the younger of them
    found = taken_over(load("h100-sxm"), KNOWN)
    assert found.of("norm", "forward").bandwidth == 0.91
    assert found.basis.startswith(
        "scaled from A100 PCIe 40GB and RTX 4090, as H100 SXM5 80GB was not measured"
    )
    # all that it takes is borrowed: the ends of 0.8 to 1.5 move out by 10 and 15 %
    assert all(share.borrowed for share in found.classes.values())
    assert found.interval("", borrowed=1.0) == pytest.approx((0.8 * 0.9, 1.5 * 1.15))
    # a class that only a farther device has comes from there
    assert found.of("convolution", "forward").bandwidth == 0.85


def test_what_products_reached_carries_over_to_the_like_only():
    assert taken_over(load("a100-80gb-pcie"), KNOWN).of("matmul", "forward").compute == 0.9
    assert taken_over(load("h100-sxm"), KNOWN).of("matmul", "forward").compute == 1.0
    assert taken_over(load("h100-sxm"), KNOWN).of("norm", "forward").compute == 0.9
    # one GeForce card after another
    assert taken_over(load("rtx-3090"), KNOWN).of("matmul", "forward").compute == 0.9


def test_what_reads_again_waits_for_multiprocessors():
    # additions reach 0.9 of the RTX 4090's bandwidth, convolutions of 1x1 half of it: they wait 1 / 0.5 - 1 / 0.9 = 0.889 of a
    # byte's time. It has 1008e9 / (128 * 2.52e9) = 3.125 bytes a cycle, the RTX 3090 936.2e9 / (82 * 1.695e9) = 6.736
    def known(card, convolutions):
        share = Efficiency(compute=0.9, bandwidth=0.9, launch_s=3e-6)
        classes = {
            ("elementwise", "forward"): share,
            ("norm", "forward"): replace(share, bandwidth=0.95),
        }
        classes["convolution 1x1", "forward"] = replace(share, bandwidth=convolutions)
        return {card: replace(shares(0.9), classes=classes)}

    there = 1 / (1 / 0.9 + (1 / 0.5 - 1 / 0.9) * 6.736 / 3.125)
    found = taken_over(load("rtx-3090"), known("rtx-4090", 0.5))
    assert found.of("convolution 1x1", "forward").bandwidth == pytest.approx(there, rel=1e-3)
    assert found.of("elementwise", "forward").bandwidth == pytest.approx(0.9)
    assert found.of("norm", "forward").bandwidth == pytest.approx(0.95)
    back = taken_over(load("rtx-4090"), known("rtx-3090", there))
    assert back.of("convolution 1x1", "forward").bandwidth == pytest.approx(0.5, rel=1e-3)
    # nobody says how many multiprocessors
    unknown = replace(load("rtx-3090"), multiprocessors=None)
    assert taken_over(unknown, known("rtx-4090", 0.5)).of(
        "convolution 1x1", "forward"
    ).bandwidth == pytest.approx(0.5)


def test_units_that_wait_for_operands_reach_less_of_their_peak():
    # a GeForce card accumulates at half rate and reaches 1.08 of that where an A100 reaches 0.78 of its own: 0.722
    assert taken_over(load("rtx-3090"), KNOWN).of("convolution", "forward").compute == 0.9
    found = taken_over(load("h100-sxm"), KNOWN).of("convolution", "forward")
    assert found.compute == pytest.approx(0.9 * 0.722, rel=1e-3)


def test_memory_counts_before_architecture_and_architecture_before_age():
    known = {**KNOWN, "p100": shares(0.74), "rtx-2080-ti": shares(0.87)}

    def bandwidth(card):
        return taken_over(load(card), known).of("norm", "forward").bandwidth

    assert bandwidth("rtx-4070") == 0.85
    assert (
        bandwidth("l4") == 0.75
    )  # the T4's: memory with check bits, though the RTX 4090 is of its architecture
    assert bandwidth("p4") == 0.74  # Pascal's
    assert bandwidth("rtx-2060") == 0.87


def test_a_measured_device_keeps_its_own_and_borrows_what_it_lacks():
    found = taken_over(load("t4"), KNOWN)
    assert found.basis == "timed"
    assert found.interval("") == (0.8, 1.5)
    # a step that spends 40 % of its time in convolutions, which are another device's
    borrowed = {kind for (kind, _), share in found.classes.items() if share.borrowed}
    assert borrowed == {"convolution"}
    assert found.interval("", borrowed=0.4) == pytest.approx((0.8 * 0.96, 1.5 * 1.06))
    assert found.of("norm", "forward").bandwidth == 0.75
    assert found.of("convolution", "forward").bandwidth == 0.85


def test_without_a_device_like_it_nothing_is_taken_over():
    assert taken_over(load("mi300x"), KNOWN) is UNMEASURED


def test_every_file_is_of_a_card_and_in_bounds():
    assert {"v100-32gb-pcie", "a100-40gb-pcie", "l4", "a40"} <= set(measured())
    for key, found in measured().items():
        assert load(key).key == key
        assert found.low < 1 < found.high
        for share in (found.default, *found.classes.values()):
            assert 0.01 <= share.bandwidth <= 1  # wide depthwise convolutions come to 1 %
            assert 0.004 <= share.compute <= 1.5  # wide depthwise convolutions come to 0.5 %
            assert share.least <= share.most
        assert efficiencies(load(key)).basis == found.basis


def test_what_is_written_is_read_again():
    share = Efficiency(compute=0.5, bandwidth=0.7, launch_s=2e-6, half_rows=44, least=3e7, most=4e9)
    found = replace(
        shares(0.9),
        high=1.25,
        overlap=3.3,
        cached=0.6,
        beyond_cache=0.2,
        classes={("norm", "forward"): share, ("norm", "backward"): replace(share, most=inf)},
        intervals={"training, channels-last": (0.9, 1.2), "extrapolating": (0.7, 1.4)},
    )
    for written in (found, shares(0.9)):
        assert fitted(tomllib.loads(text("t4", written))) == written


def test_a_step_that_extrapolates_has_the_wider_of_two_intervals():
    found = replace(shares(0.9), intervals={"training": (0.9, 1.2), "extrapolating": (0.7, 1.1)})
    assert found.interval("training") == (0.9, 1.2)
    assert found.interval("training", extrapolating=True) == (0.7, 1.2)
    # where nobody said of such steps, that of all stays: 0.8 to 1.5
    assert shares(0.9).interval("training", extrapolating=True) == (0.8, 1.5)


def test_the_rule_is_found_again_in_what_it_says():
    # six shares that a rule of 1.8 watts, 0.95 and 0.8 of the peak, and of 1.26 watts on Ada would leave
    rule = with_ada(replace(plain_rule(1.8, 0.95), dual=0.8), 1.26)
    cards = ("v100-32gb-pcie", "t4", "a100-40gb-pcie", "p4", "p100", "l4")
    found = settle({card: reached(load(card), "float32", rule) for card in cards})
    assert found.watts["turing"] == pytest.approx(1.8)
    assert found.watts["ada"] == pytest.approx(1.26)
    assert (found.wide, found.dual) == pytest.approx((0.95, 0.8))


def test_eager_steps_take_over_what_compiled_ones_of_a_processor_reach():
    found = efficiencies(load("i7-12700h"))
    assert found.compiled is not None
    share = found.compiled.of("convolution", "forward")
    assert found.of("convolution", "forward") == replace(share, borrowed=True)
    assert found.dispatch_s == UNMEASURED.dispatch_s  # eager PyTorch hands out operators
    assert "which eager steps take over" in found.basis
    low, high = found.interval("inference, contiguous", borrowed=1.0)
    assert low < found.compiled.low < found.compiled.high < high


def test_an_eager_vgg16_on_a_laptop_is_near_its_published_compiled_time():
    # timm's benchmark-infer-fp32-nchw-pt240-cpu-i7_12700h-dynamo.csv: 196.881 ms at batch 1, where most of the
    # time is convolutions, which a compiler leaves to the same library; 60 % of the peak would be 49.5 ms
    step = weigh("vgg16", backend="cpu").time("i7-12700h")
    assert step.seconds.value == pytest.approx(0.196881, rel=0.35)
