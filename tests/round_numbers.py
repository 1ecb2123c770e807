"""A device of round numbers, for tests that do the sum beside the call."""

from __future__ import annotations

from weighbridge.devices import Device, Efficiencies, Efficiency, Rates

CARD = Device(
    name="Card",
    key="card",
    memory_bytes=2 * 2**30,
    bandwidth_bytes_per_s=10e9,
    vector_flop_per_s=Rates(float32=100e9),
    matrix_flop_per_s=Rates(float16=1e12),
)
"""100 GFLOP/s of vectors, 1 TFLOP/s of float16 matrices, 10 GB/s: ridges at 10 and 100 FLOP a byte."""

PERFECT = Efficiencies(
    default=Efficiency(compute=1.0, bandwidth=1.0, launch_s=0.0),
    dispatch_s=0.0,
    low=0.9,
    high=1.2,
    basis="by definition",
)
"""Every peak is reached, and the host takes no time."""
