"""Nearest: what a device that nobody measured takes over from one that somebody did.

Shares of peaks and of bandwidth carry over where memories and chips are alike. So a class of kernels
is taken from the measured device that is nearest, and that is first one with the same kind of memory, then one
of the same architecture, then the one fewest generations away. Of products only a chip of the same compute capability
tells more than the rule does, and of one GeForce card another. What differs within all that, power and the number of multiprocessors, is in
the card and in `sustained`. A step is then further off than where it was measured, and its interval is wider
by what leaving a device out costs (`python -m benchmarks truth unseen`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .catalogue import load
from .device import Device
from .efficiency import UNMEASURED, Efficiencies, Efficiency
from .measured import measured, measured_compiled
from .sustained import PRODUCTS

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

ON_MATRIX_UNITS = ("convolution", "grouped convolution", "attention")
"""How classes begin that matrix units work on, products apart."""

WAITING = 0.72
"""GeForce cards accumulate in float32 at half of their units' rate, and so do not wait for operands; others wait. Vidur's
products reach 0.78 of the peak of an A100 and an A40, timm's 1.08 of an RTX 3090's and an RTX 4090's (their clocks
are above the data sheet's)."""

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
        found = _carried(others[key].classes, load(key), device)
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


def _carried(
    classes: Mapping[Class, Efficiency], other: Device, device: Device
) -> dict[Class, Efficiency]:
    """The classes of another device as they are expected on this one."""
    alike = other.compute_capability == device.compute_capability
    alike = alike or _memory(other) == _memory(device) == "unchecked"
    slower = _units(device) / _units(other)
    found = {}
    for (kind, part), share in classes.items():
        if kind in PRODUCTS and not alike:  # nothing remains but the rule of `sustained`
            share = replace(share, compute=1.0)
        elif kind.startswith(ON_MATRIX_UNITS):
            share = replace(share, compute=share.compute * slower)
        found[kind, part] = share
    return found


def _units(device: Device) -> float:
    """How near to their peak matrix units come."""
    return 1.0 if device.matrix_flop_per_s.float16_accumulate_float16 else WAITING


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
