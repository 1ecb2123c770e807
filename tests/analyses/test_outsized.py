"""Layers that take a share of the time out of all proportion (L13), by hand on a device of round numbers."""

from dataclasses import replace

import pytest

from weighbridge.analyses.time.clock import Clock
from weighbridge.analyses.time.outsized import outsized, share_of
from weighbridge.analyses.time.step import step_time
from weighbridge.devices import Device, Efficiencies, Efficiency, Rates
from weighbridge.errors import WeighError
from weighbridge.network import Network
from weighbridge.workload import Optimizer, Workload

# 100 GFLOP/s, 10 GB/s: a ridge at 10 FLOPs a byte
CARD = Device(name="a card", bandwidth_bytes_per_s=10e9, vector_flop_per_s=Rates(float32=100e9))
PERFECT = Efficiencies(
    default=Efficiency(compute=1.0, bandwidth=1.0, launch_s=0.0),
    dispatch_s=0.0,
    low=1.0,
    high=1.0,
    basis="by definition",
)
CLOCK = Clock(device=CARD, efficiencies=PERFECT)

# conv: 64 kernels of 64 x 3 x 3 over 32 x 32 places are 37,748,736 MACs, 754.97 us; its 672 kB are 67 us.
# pool: reads 64 x 32 x 32 numbers and writes 64, 26.2 us. fc: 64 x 10,000 weights, 640,000 MACs are 12.8 us,
# its (64 + 640,000 + 10,000 + 10,000) * 4 bytes 264.0 us
NET = Network("(Input)(64,32,32)->(Conv)64c3w1s1p->(MaxPool)32w32s->(fc)10000")


def step(batch=1, clock=CLOCK, **settings):
    return step_time(NET.program(Workload(batch=batch, **settings)), clock)


def test_at_batch_1_a_layer_waits_for_its_weights():
    found = outsized(step())
    assert found is not None
    assert found.scopes == ("fc1",)
    assert found.operations_share == pytest.approx(640_000 / 38_388_736)  # 1.7 % of the MACs
    assert found.time_share == pytest.approx(264.03 / 1045.24, rel=1e-4)  # 25 % of the time
    # a weight or bias of fc takes part in 1,280,000 / 650,000 operations, one of conv in 75,497,472 / 36,928
    assert found.operations_each == pytest.approx(1.969, rel=1e-3)
    assert found.others_each == pytest.approx(2044.5, rel=1e-4)
    assert (found.larger, found.larger_share) == (None, None)


def test_with_the_batch_that_goes_away():
    # at 64 fc computes 819 us and moves 518, of 64 * 755 us + 819 us + 64 * 26.2 us
    found = outsized(step(), NET.program)
    assert found is not None
    assert found.larger == 64
    assert found.larger_share == pytest.approx(819.2 / 50_816.6, rel=1e-4)
    assert outsized(step(batch=64)) is None


def test_a_batch_of_some_is_compared_with_one_that_is_larger_still():
    # at 8 fc moves 295 us, which are 4.5 % of the step on this card; with half the bandwidth more
    slower = replace(CLOCK, device=replace(CARD, bandwidth_bytes_per_s=2e9))
    found = outsized(step(batch=8, clock=slower), NET.program)
    assert found is not None
    assert found.larger == 128


def test_gradients_and_the_optimizers_state_count_with_the_weights():
    sgd = Optimizer(name="sgd", settings={"momentum": 0.9})
    found = outsized(step(mode="training", optimizer=sgd))
    assert found is not None
    assert found.scopes == ("fc1",)
    assert found.operations_each == pytest.approx(3 * 1.969, rel=1e-3)  # forward and two gradients


def test_a_network_that_has_no_larger_batch_says_nothing_of_one():
    def refuses(workload):
        raise WeighError("takes one sample")

    found = outsized(step(), refuses)
    assert found is not None
    assert found.larger is None


def test_a_layer_that_waits_for_its_launch_does_not_wait_for_weights():
    slow = replace(PERFECT, default=replace(PERFECT.default, launch_s=1.0))
    assert outsized(step(clock=replace(CLOCK, efficiencies=slow))) is None


def test_layers_without_weights_or_all_alike_are_not_outsized():
    assert outsized(step_time(Network("100 -> (fc)10").program(Workload()), CLOCK)) is None
    pool = Network("(Input)(3,8,8)->(MaxPool)2w2s").program(Workload())
    assert outsized(step_time(pool, CLOCK)) is None
    assert share_of(step(), ["nothing"]) == 0
