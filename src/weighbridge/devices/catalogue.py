"""Finding a device: by its key, by another name of it, or by nothing but a size of memory."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from functools import cache
from importlib import resources
from typing import cast

from ..errors import UsageError, nearest
from ..units import memory
from . import reading
from .device import Device

FAMILIES = ("nvidia", "geforce", "tesla", "amd", "radeon", "instinct", "intel", "apple", "google")
"""Words before a name that may be left out: 'NVIDIA GeForce RTX 4090' is rtx-4090."""

SIZES = {
    "mib": 2**20, "gib": 2**30, "tib": 2**40, "mb": 10**6, "gb": 10**9, "tb": 10**12,
}  # fmt: skip
"""Bytes of a unit. GB is 10**9 here as everywhere in the project; a card of '24 GB' holds 24 GiB."""


CPU = Device(name="CPU", key="cpu", kind="cpu", backend="cpu", default_foreach=False)
"""Any processor: what PyTorch does on a CPU is the same on all of them, and its memory is its buyer's choice."""


def load(name: str) -> Device:
    """The device of that name: its key or an alias, in any case, with blanks or hyphens.

    Raises:
        UsageError: there is none, or several that begin so; the nearest are named.
    """
    known = slug(name)
    if known in names():
        return _card(known)
    if known in _aliases():
        return _card(_aliases()[known])
    raise UsageError(
        f"no device is called {name!r}",
        *_near(known),
        "see all names: weigh devices; a size of memory is enough too, as in 24GiB",
    )


def load_all() -> tuple[Device, ...]:
    """Every device there is a card of, by key."""
    return tuple(map(_card, names()))


@cache
def names() -> tuple[str, ...]:
    """The keys of all devices: the files of `cards`."""
    entries = resources.files(__package__).joinpath("cards").iterdir()
    return tuple(sorted(e.name.removesuffix(".toml") for e in entries if e.name.endswith(".toml")))


def parse(text: str) -> Device:
    """What a person writes for a device: a name, a size of memory, or a name and the size it was bought with.

        rtx-4090    24GiB    m2-max:64GiB    ryzen-9-7950x:32GiB    cpu    cpu:32GiB

    Raises:
        UsageError: there is no such device, or the size is none.
    """
    name, colon, size = text.partition(":")
    device = CPU if slug(name) == CPU.key else None
    if colon:
        return with_memory(device or load(name), size_of(size))
    if device is not None:
        return device
    if re.fullmatch(rf"[\d.]+ *({'|'.join(SIZES)})", text.strip().lower()) is None:
        return load(text)
    return Device(name=memory(size_of(text)), memory_bytes=size_of(text))


def with_memory(device: Device, size: int) -> Device:
    """The device as it was bought: with so much memory."""
    return replace(
        device,
        name=f"{device.name}, {memory(size)}",
        memory_bytes=size,
        driver_memory_bytes=None,
        usable_memory_bytes=None,
        memory_options_bytes=(),
    )


def slug(name: str) -> str:
    """A name as keys are written: 'NVIDIA GeForce RTX 4090' is 'rtx-4090'."""
    parts = re.findall(r"[a-z0-9.+]+", re.sub(r"\((r|tm)\)", " ", name.lower()))
    while len(parts) > 1 and parts[0] in FAMILIES:
        parts = parts[1:]
    return "-".join(parts)


def size_of(text: str) -> int:
    """A size of memory in bytes: '24GiB'.

    Raises:
        UsageError: it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *([a-z]+)", text.strip().lower())
    if found is None or found[2] not in SIZES or not float(found[1]):
        raise UsageError(
            f"{text.strip()!r} is no size of memory",
            "write a number and MiB, GiB or TiB, as in 24GiB (GB is 10**9 bytes)",
        )
    return int(float(found[1]) * SIZES[found[2]])


def _near(name: str) -> tuple[str, ...]:
    """A line that names the nearest devices: those that begin so, else those that are spelled like it."""
    begin = [key for key in names() if key.startswith(f"{name}-")]
    near = begin or list(nearest(name, {**dict.fromkeys(names()), **dict.fromkeys(_aliases())}))
    keys = dict.fromkeys(_aliases().get(key, key) for key in near)
    return (f"nearest: {', '.join(keys)}",) if keys else ()


@cache
def _card(key: str) -> Device:
    where = f"devices/cards/{key}.toml"
    card = _toml(f"cards/{key}.toml")
    reading.check_sources(card, documents(), where=where)
    return reading.device(card, _architecture(card, where), documents(), where=where, key=key)


def _architecture(card: reading.Table, where: str) -> reading.Table:
    name = card.get("architecture", "")
    common = _toml("architectures.toml").get(str(name))
    if not isinstance(common, dict):
        near = nearest(str(name), _toml("architectures.toml"))
        raise UsageError(
            f"{where}: architectures.toml has no architecture {name!r}",
            *([f"nearest: {', '.join(near)}"] if near else []),
        )
    reading.check_sources(common, documents(), where=f"devices/architectures.toml, {name}")
    return common


@cache
def _aliases() -> dict[str, str]:
    """Every other name of a device, as keys are written, and its key."""
    found: dict[str, str] = {}
    for device in load_all():
        for alias in {slug(device.name), *map(slug, device.aliases)} - {device.key}:
            if alias in found or alias in names():
                raise UsageError(f"{alias!r} names both {device.key} and {found.get(alias, alias)}")
            found[alias] = device.key
    return found


def documents() -> reading.Table:
    """The documents that cards and prices are from."""
    return _toml("documents.toml")


@cache
def _toml(path: str) -> reading.Table:
    text = resources.files(__package__).joinpath(path).read_text(encoding="utf-8")
    return cast(reading.Table, tomllib.loads(text))
