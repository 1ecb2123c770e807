"""Sustained: which share of its peak a device keeps up, from its card alone.

A peak is multiprocessors x cores x 2 x boost clock, and nothing runs at it for long. Two things are in the way,
and both are the same for all the networks that a device runs:

- **Power.** A multiprocessor in full use takes some `watts` a GHz, and its voltage falls with its clock down to
  where it can fall no further:

      P(s) = watts x multiprocessors x boost clock x s x max(s, FLOOR)^2        s: share of the boost clock

  What the card's TDP leaves for that settles s. Of an A100's 250 W 210 are left: 210 = 1.96 x 108 x 1.41 x s^3, so
  that s is 0.89. An L4 has 72 W for 60 multiprocessors of 2.04 GHz, half as many watts a multiprocessor as any before.
- **Issue.** A multiprocessor with 64 float32 cores and four schedulers has turns to spare for loads and addresses
  beside the multiplications; one with 128 has not. Matrix units wait for their operands, unless they are throttled: a
  GeForce card's accumulate in float32 at half of their rate, and the operands come in time.

Watts are what NeuSight's tables of float32 products on six GPUs leave for s (`python -m benchmarks truth
unseen` leaves each out in turn and prints the error); that an architecture which is not among them takes as
much as its neighbour on the same process is an assumption. Float32 products on 128 cores are from
KernelBench's times of 4096 x 4096 x 4096 (ScalingIntelligence/KernelBench, results/timing, torch 2.5): A10G 0.68
of its peak, L40S 0.51 to 0.58 at 350 W; RTX 3090 Ti 0.61 to 0.64 of 2048 x 2048 x 2048.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .device import Device

PRODUCTS = frozenset({"matmul", "batched matmul"})
"""The classes of kernels that the rule is of."""

FLOOR = 0.87
"""The share of its highest voltage below which a multiprocessor cannot go."""

ELSEWHERE, ELSEWHERE_W = 0.1, 15.0
"""What does not go to multiprocessors: a share of the TDP, and watts for memory and the board."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What the rule rests on.

    `watts` is what a multiprocessor takes at a GHz and full voltage, by architecture. The others are shares of the peak at its
    clock that a large matrix product reaches: `wide` with 64 float32 cores a multiprocessor, `dual` on Pascal, whose
    schedulers issue two instructions at once, `full` with 128 cores from Ampere on, `matrix` on matrix units, and
    `halved` on those that accumulate in float32 at half of their rate, whose peak that half is.
    """

    watts: Mapping[str, float]
    wide: float
    dual: float
    full: float
    matrix: float
    halved: float


RULE = Rule(
    watts={
        "pascal": 1.96,
        "volta": 1.96,
        "turing": 1.96,
        "ampere-a100": 1.96,
        "ampere": 1.96,
        "ada": 1.1,
        "hopper": 1.1,
        "blackwell": 1.1,
        "rtx-blackwell": 1.1,
    },
    wide=0.97,
    dual=0.8,
    full=0.62,
    matrix=0.78,
    halved=1.08,
)
"""One number of watts down to 7 nm, one from 5 nm on. `matrix` is from Vidur's float16 products, on A100 and A40 the same,
`halved` from timm's steps on an RTX 3090 and an RTX 4090, whose clocks are above what the data sheet calls boost."""


def clock_share(device: Device, rule: Rule = RULE) -> float:
    """The share of its boost clock that the device keeps up within its TDP; 1 where nothing says otherwise."""
    watts, tdp = rule.watts.get(device.architecture), device.tdp_w
    count, clock = device.multiprocessors, device.boost_clock_hz
    if watts is None or tdp is None or count is None or clock is None:
        return 1.0
    left = tdp * (1 - ELSEWHERE) - min(ELSEWHERE_W, 0.2 * tdp)
    power = left / (watts * count * clock / 1e9)
    share = power ** (1 / 3) if power > FLOOR**3 else power / FLOOR**2
    return min(1.0, share)


def reached(device: Device, dtype: str, rule: Rule = RULE) -> float:
    """The share of its peak in that dtype that the device keeps up in a large matrix product."""
    matrix = device.matrix_flop_per_s.get(dtype) is not None
    share = on_matrix_units(device, rule) if matrix else _on_cores(device, rule)
    return share * clock_share(device, rule)


def on_matrix_units(device: Device, rule: Rule = RULE) -> float:
    """What a product reaches of the matrix units' peak at their clock."""
    halved = device.matrix_flop_per_s.float16_accumulate_float16 is not None
    return rule.halved if halved else rule.matrix


def _on_cores(device: Device, rule: Rule) -> float:
    """What a float32 product reaches of the general cores' peak at their clock."""
    rate, clock = device.vector_flop_per_s.float32, device.boost_clock_hz
    if device.architecture == "pascal":
        return rule.dual
    if rate is None or clock is None or device.multiprocessors is None:
        return rule.full
    cores = rate / (2 * clock * device.multiprocessors)
    return rule.wide if cores < 96 else rule.full
