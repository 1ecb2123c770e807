"""The comparison of GPUs left out, on steps that can be added up."""

from dataclasses import replace

import pytest
from benchmarks.fitting.growth import Piece, Step
from benchmarks.fitting.throughputs import FILES, Row
from benchmarks.truth import unseen

from weighbridge.devices import Efficiencies, Efficiency
from weighbridge.ops.kernel import Kernel


def row(network, seconds, *, batch=4):
    """Three additions of 100 MB at a batch of 4, on an RTX 4090."""
    piece = Piece(
        kernel=Kernel(kind="elementwise", read_bytes=50 * 10**6, write_bytes=50 * 10**6),
        grows=True,
        by_product=False,
        fixed_read=0,
        fixed_write=0,
        times=3,
    )
    return Row(
        file=FILES[0],
        network=network,
        side=224,
        batch=batch,
        seconds=seconds,
        params_m=1.0,
        gmacs=1.0,
        macts=1.0,
        step=Step(pieces=(piece,), batch=4, params=10**6, dispatches=1, uncounted=0),
    )


def shares(bandwidth):
    share = Efficiency(compute=1.0, bandwidth=bandwidth, launch_s=0.0)
    return Efficiencies(
        default=share,
        dispatch_s=0.0,
        low=0.8,
        high=1.1,
        basis="by definition",
        classes={("elementwise", "forward"): share},
    )


def test_a_gpu_left_out_has_the_shares_of_the_other(monkeypatch):
    # 2 * 3 * 100 MB at half of 1008 GB/s, the other GPU's share, are 1.190 ms, at its own 0.8 of it 0.744 ms
    held_out = [row("nest_a", 1.0e-3, batch=8), row("nest_b", 0.9e-3, batch=8)]
    monkeypatch.setattr(unseen, "everything", lambda: (*held_out, replace(held_out[0], step=None)))
    monkeypatch.setattr(
        unseen, "measured", lambda: {"rtx-3090": shares(0.5), "rtx-4090": shares(0.8)}
    )
    assert all(one.held_out for one in held_out)
    (group,), held = unseen.steps("")
    assert (group.card, group.sort) == ("rtx-4090", "steps, inference, contiguous")
    assert group.left_out == pytest.approx([0.1905, 0.3228], abs=1e-3)
    assert group.own == pytest.approx([0.744 / 1.0 - 1, 0.744 / 0.9 - 1], abs=1e-3)
    assert group.plain == pytest.approx([0.595 / 1.0 - 1, 0.595 / 0.9 - 1], abs=1e-3)
    # 1 / 1.19 = 0.84 and 1 / 1.32 = 0.756 of the prediction; the interval begins at 0.8 * 0.9
    assert held == [True, True]
    assert group.line[:5] == ("rtx-4090", "steps, inference, contiguous", "2", "25.7 %", "32.3 %")
    assert unseen.steps("rtx-3090") == ([], [])
