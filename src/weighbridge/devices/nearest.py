"""Nearest: what a device that nobody measured takes over from one that somebody did.

Shares of peaks and of bandwidth carry over where memories and chips are alike. So a class of kernels
is taken from the measured device that is nearest, and that is first one with the same kind of memory, then one
of the same architecture, then the one fewest generations away. Of products only a chip of the same compute capability
tells more than the rule does, and of one GeForce card another. What differs within all that, power and the number of
multiprocessors, is in the card and in `sustained`.

One thing does not carry over as it is. What streams through a device (an addition) is as fast as its memory. What reads
its operands again, or in another order (a convolution, a pooling), waits for the multiprocessors and their caches besides,
and that takes so many of their cycles a byte, whatever the memory: beside a faster memory it is a larger part.

    1 / share = 1 / (share of what streams) + waiting x (bandwidth / (multiprocessors x clock))

An RTX 4090's convolutions of 1x1 reach 0.66 of its bandwidth, its additions 0.92: they wait for 1 / 0.66 - 1 / 0.92 = 0.43 of
a byte's time. An RTX 3090 has 2.2 times as many bytes a cycle, so that there 1 / (1 / 0.92 + 2.2 x 0.43) = 0.50 is expected; 0.47
was measured.

A step is further off than where it was measured, and its interval is wider by what leaving a device out costs
(`python -m benchmarks truth unseen`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .catalogue import load
from .device import Device
from .efficiency import UNMEASURED, Efficiencies, Efficiency
from .measured import measured, measured_compiled
from .sustained import PRODUCTS, on_matrix_units

Class = tuple[str, str]
"""A class of kernels and which way, as `Efficiencies` tells them apart."""

GENERATIONS = {
    "maxwell": 0,
    "pascal": 1,
    "volta": 2,
    "turing": 3,
    "ampere-a100": 4,
    "ampere": 4,
    "ada": 5,
    "hopper": 5,
    "blackwell": 6,
    "rtx-blackwell": 6,
}
"""NVIDIA's architectures in the order in which they came."""

STACKED = frozenset({"volta", "ampere-a100", "hopper", "blackwell"})
"""Architectures whose cards have stacked memory (HBM2 and later), which comes near to its nominal bandwidth."""

ON_MATRIX_UNITS = ("convolution", "grouped convolution", "uneven grouped", "attention")
"""How classes begin that matrix units work on, products apart."""

UNCHECKED = ("RTX", "GTX", "Quadro", "Titan")
"""How cards are called whose memory keeps no check bits, or not unless told to. The others' take part of the bandwidth:
GDDR memory has no room of its own for them (NVIDIA, T4 and L4: 75 to 79 % of it is left)."""


def efficiencies(device: Device) -> Efficiencies:
    """What is known of how near a device comes to its peaks, eagerly and compiled.

    Where only compiled steps of its like were measured, eager ones take those shares, in a wider interval.
    """
    eager = taken_over(device, measured())
    known = measured_compiled()
    if not any(load(key).backend == device.backend for key in known):
        return eager
    compiled = taken_over(device, known)
    if eager is UNMEASURED:
        eager = replace(
            compiled,
            dispatch_s=UNMEASURED.dispatch_s,
            basis=f"{compiled.basis}, which eager steps take over; interval widened",
            classes=_borrowed(compiled.classes),
        )
    return replace(eager, compiled=compiled)


def taken_over(device: Device, known: Mapping[str, Efficiencies]) -> Efficiencies:
    """What was measured of the device, and of other classes what was of the nearest; `known` is by the device's key."""
    own = known.get(device.key)
    others = {
        key: found
        for key, found in known.items()
        if key != device.key and load(key).backend == device.backend
    }
    order = sorted(others, key=lambda key: distance(device, load(key), others[key]))
    classes: dict[Class, Efficiency] = {}
    givers: dict[Class, str] = {}
    for key in reversed(order):
        found = _carried(others[key], load(key), device)
        classes |= found
        givers |= dict.fromkeys(found, key)
    if own is not None:
        missing = {at: share for at, share in classes.items() if not own.fitted(at[0])}
        return replace(own, classes={**_borrowed(missing), **own.classes})
    if not order:
        return UNMEASURED
    given = list(givers.values())
    names = " and ".join(load(key).name for key in order if key in given)
    return replace(
        others[max(order, key=given.count)],  # what is no class's is that of most classes
        basis=f"scaled from {names}, as {device.name} was not measured; interval widened",
        classes=_borrowed(classes),
    )


def _borrowed(classes: Mapping[Class, Efficiency]) -> dict[Class, Efficiency]:
    return {at: replace(share, borrowed=True) for at, share in classes.items()}


def _carried(known: Efficiencies, other: Device, device: Device) -> dict[Class, Efficiency]:
    """The classes of another device as they are expected on this one."""
    streamed = known.of("elementwise", "forward").bandwidth
    here, there = _bytes_a_cycle(device), _bytes_a_cycle(other)
    longer = here / there if here and there else 1.0
    alike = other.compute_capability == device.compute_capability
    alike = alike or _memory(other) == _memory(device) == "unchecked"
    units = on_matrix_units(device) / on_matrix_units(other)
    found = {}
    for (kind, part), share in known.classes.items():
        waiting = max(1 / share.bandwidth - 1 / streamed, 0.0)
        slower = 1 + share.bandwidth * waiting * (longer - 1)
        share = replace(share, bandwidth=share.bandwidth / slower)
        if kind in PRODUCTS and not alike:  # nothing remains but the rule of `sustained`
            share = replace(share, compute=1.0)
        elif kind.startswith(ON_MATRIX_UNITS):
            share = replace(share, compute=share.compute * units)
        found[kind, part] = share
    return found


def _bytes_a_cycle(device: Device) -> float | None:
    """How many bytes memory has for each cycle of a multiprocessor; None where nobody says."""
    count, clock, bandwidth = (
        device.multiprocessors,
        device.boost_clock_hz,
        device.bandwidth_bytes_per_s,
    )
    if count is None or clock is None or bandwidth is None:
        return None
    return bandwidth / (count * clock)


def distance(
    device: Device, other: Device, found: Efficiencies
) -> tuple[bool, bool, int, int, float]:
    """How unlike a measured device is, what counts most in front; of two alike the one that more was measured of."""
    generations = abs(
        GENERATIONS.get(device.architecture, 0) - GENERATIONS.get(other.architecture, 0)
    )
    bandwidth = device.bandwidth_bytes_per_s or 0.0
    return (
        _memory(device) != _memory(other),
        device.architecture != other.architecture,
        generations,
        -len(found.classes),
        abs(bandwidth - (other.bandwidth_bytes_per_s or 0.0)),
    )


def _memory(device: Device) -> str:
    if device.architecture in STACKED:
        return "stacked"
    return "unchecked" if device.name.startswith(UNCHECKED) else "checked"
