"""What renting costs: cloud instances with a price an hour, each with its date.

Prices change by the month, so they are kept apart from the cards, each with its date and where it was seen, and
a file of the user's own replaces or adds to them: `instances.toml` in weighbridge's configuration folder,
in the format of the one shipped. There, only provider, name, device and price_per_hour are needed.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path

from ..errors import UsageError
from .catalogue import documents, load
from .device import Source
from .reading import Bounds, Table, number, refuse_unknown, source, words

_NUMBERS: Mapping[str, Bounds] = {
    "count": Bounds(low=1, high=10_000, whole=True),
    "price_per_hour": Bounds(low=0, high=10_000, unit="an hour"),
    "vcpus": Bounds(low=1, high=10_000, whole=True),
    "memory_bytes": Bounds(low=2**28, high=2**46, unit="bytes", whole=True),
}
_KEYS = (
    "provider", "name", "device", "count", "price_per_hour", "currency", "date", "region", "terms",
    "vcpus", "memory_bytes", "document", "at",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A machine that can be rented: `count` devices (`device` is their card's key) at one price an hour.

    `date` is the day, month or year of the price. `terms` say how it is rented: 'on demand', 'community'. `own`
    says that it is from the user's file.
    """

    provider: str
    name: str
    device: str
    price_per_hour: float
    currency: str = "USD"
    count: int = 1
    date: str | None = None
    region: str | None = None
    terms: str = "on demand"
    vcpus: int | None = None
    memory_bytes: int | None = None
    source: Source | None = None
    own: bool = False

    @property
    def price_per_device_hour(self) -> float:
        """One device's part of the price."""
        return self.price_per_hour / self.count


def instances(*, own: Path | None = None) -> tuple[Instance, ...]:
    """The instances shipped, with the user's own in place of those of the same provider and name.

    `own` is the user's file; by default :func:`user_prices`, where there is one.

    Raises:
        UsageError: the user's file cannot be read, or has a key, a device or a number that cannot be.
    """
    shipped = _shipped()
    path = user_prices() if own is None else own
    if own is None and not path.is_file():
        return shipped
    merged = {(instance.provider, instance.name): instance for instance in shipped}
    for instance in _read(_text(path), where=str(path)):
        merged[instance.provider, instance.name] = replace(instance, own=True)
    return tuple(merged.values())


def cheapest(instances: Sequence[Instance], device: str) -> tuple[Instance, ...]:
    """The instance of the lowest price a device and hour, one for each currency there are prices in."""
    lowest: dict[str, Instance] = {}
    for instance in instances:
        if instance.device != device:
            continue
        best = lowest.get(instance.currency)
        if best is None or instance.price_per_device_hour < best.price_per_device_hour:
            lowest[instance.currency] = instance
    return tuple(lowest.values())


def user_prices() -> Path:
    """Where the user's own prices are looked for: `instances.toml` in the configuration folder."""
    if sys.platform == "win32":
        folder = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    elif sys.platform == "darwin":
        folder = Path.home() / "Library" / "Application Support"
    else:
        folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return folder / "weighbridge" / "instances.toml"


@cache
def _shipped() -> tuple[Instance, ...]:
    text = resources.files(__package__).joinpath("instances.toml").read_text(encoding="utf-8")
    return _read(text, where="devices/instances.toml")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: the prices cannot be read: {error}") from error


def _read(text: str, *, where: str) -> tuple[Instance, ...]:
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where}: not TOML: {error}") from error
    refuse_unknown(table, ("instances",), where=where)
    entries = table.get("instances", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UsageError(f"{where}: instances are not a list of tables", "write [[instances]]")
    return tuple(
        _instance(entry, where=f"{where}, instance {index}")
        for index, entry in enumerate(entries, start=1)
    )


def _instance(entry: Table, *, where: str) -> Instance:
    refuse_unknown(entry, _KEYS, where=where)
    for required in ("provider", "name", "device", "price_per_hour"):
        if required not in entry:
            raise UsageError(f"{where}: {required} is missing")
    texts = {
        key: words(key, value, where)
        for key, value in entry.items()
        if key not in (*_NUMBERS, "date")
    }
    numbers = {
        key: number(key, entry[key], bounds, where)
        for key, bounds in _NUMBERS.items()
        if key in entry
    }
    try:
        device = load(texts["device"]).key
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}", *error.hints[:1]) from error
    place: Table = {key: texts[key] for key in ("document", "at") if key in texts}
    return Instance(
        provider=texts["provider"],
        name=texts["name"],
        device=device,
        price_per_hour=numbers["price_per_hour"],
        currency=texts.get("currency", "USD"),
        count=int(numbers.get("count", 1)),
        date=str(entry["date"]) if "date" in entry else None,  # TOML has dates of its own
        region=texts.get("region"),
        terms=texts.get("terms", "on demand"),
        vcpus=int(numbers["vcpus"]) if "vcpus" in numbers else None,
        memory_bytes=int(numbers["memory_bytes"]) if "memory_bytes" in numbers else None,
        source=source(place, documents(), where=where) if "document" in place else None,
    )
