"""Reading a card strictly: unknown keys, absurd numbers and numbers without a source are refused.

A card that is nearly right is worse than none, as nobody looks at it again. So every number has bounds,
wide enough for any device there is and narrow enough to catch a slip of the unit, and every number has to
be named by one of the card's sources.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, cast, get_args

from ..errors import UsageError, nearest
from .device import Backend, Device, Kind, Range, Rates, Source

Table = Mapping[str, object]
"""A TOML table as it was parsed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a number must be: between two others, in a unit, and a whole number or any."""

    low: float
    high: float
    unit: str = ""
    whole: bool = False

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        unit = f" {self.unit}" if self.unit else ""
        return f"{kind} from {self.low:g} to {self.high:g}{unit}"


_MEMORY = Bounds(low=2**28, high=2**41, unit="bytes", whole=True)
_CLOCK = Bounds(low=1e8, high=1e10, unit="hertz")
_FLOP_PER_S = Bounds(low=1e9, high=1e17, unit="FLOP/s")

NUMBERS: Mapping[str, Bounds] = {
    "year": Bounds(low=2010, high=2035, whole=True),
    "memory_bytes": _MEMORY,
    "driver_memory_bytes": _MEMORY,
    "usable_memory_bytes": _MEMORY,
    "bandwidth_bytes_per_s": Bounds(low=1e9, high=1e14, unit="bytes/s"),
    "l1_bytes": Bounds(low=2**12, high=2**21, unit="bytes", whole=True),
    "l2_bytes": Bounds(low=2**16, high=2**31, unit="bytes", whole=True),
    "l3_bytes": Bounds(low=2**20, high=2**32, unit="bytes", whole=True),
    "multiprocessors": Bounds(low=1, high=10_000, whole=True),
    "cores": Bounds(low=1, high=1024, whole=True),
    "base_clock_hz": _CLOCK,
    "boost_clock_hz": _CLOCK,
    "pcie_generation": Bounds(low=1, high=6, whole=True),
    "pcie_lanes": Bounds(low=1, high=16, whole=True),
    "peer_bytes_per_s": Bounds(low=1e9, high=1e13, unit="bytes/s"),
    "tdp_w": Bounds(low=0.5, high=5000, unit="watts"),
    "cublas_workspace_bytes": Bounds(low=2**10, high=2**30, unit="bytes", whole=True),
}
"""The keys that are one number."""

RATES: Mapping[str, Bounds] = {
    "vector_flop_per_s": _FLOP_PER_S,
    "matrix_flop_per_s": _FLOP_PER_S,
    "matmul_efficiency": Bounds(low=0.05, high=1, unit="of the peak"),
}
"""The keys that are a table of one number a dtype."""

RANGES: Mapping[str, Bounds] = {
    "context_bytes": Bounds(low=2**20, high=2**34, unit="bytes"),
    "launch_overhead_s": Bounds(low=1e-7, high=1e-3, unit="seconds"),
}
"""The keys that are a range: low, typical, high."""

WORDS: Mapping[str, tuple[str, ...]] = {
    "name": (),
    "vendor": (),
    "architecture": (),
    "kind": get_args(Kind),
    "backend": get_args(Backend),
}
"""The keys that are a text, with the texts that they may be where those are few."""

REQUIRED = ("name", "vendor", "kind", "architecture")
"""What no card can be without; everything else may be unknown."""

FACTS = ("compute_capability", "memory_options_bytes", "default_foreach")
"""Keys of another form that need a source too."""

KEYS = (*WORDS, *NUMBERS, *RATES, *RANGES, *FACTS, "aliases", "sources")
_DTYPES = tuple(field.name for field in fields(Rates))


def device(card: Table, common: Table, documents: Table, *, where: str, key: str) -> Device:
    """The device of a card, with what is common to its architecture where the card does not say otherwise.

    `where` is the file, for messages. `documents` are the documents that sources may name.

    Raises:
        UsageError: a key is unknown, missing, out of bounds or without a source.
    """
    refuse_unknown(card, KEYS, where=where)
    for required in REQUIRED:
        if required not in card:
            raise UsageError(
                f"{where}: a card needs {required}", f"it needs: {', '.join(REQUIRED)}"
            )
    own = _sources(card, documents, where=where)
    inherited = {name: value for name, value in common.items() if name not in card}
    shared = tuple(
        source
        for source in _sources(common, documents, where="architectures.toml")
        if set(source.gives) & set(inherited)
    )
    values = {name: _value(name, value, where) for name, value in {**inherited, **card}.items()}
    values |= {"key": key, "sources": (*own, *shared)}
    return Device(**cast(dict[str, Any], values))


def check_sources(table: Table, documents: Table, *, where: str) -> None:
    """Every number of the table is given by one of its sources, and nothing else is.

    Raises:
        UsageError: a number has no source, or a source gives what is not there.
    """
    given = [name for source in _sources(table, documents, where=where) for name in source.gives]
    numbers = set(_numbers(table))
    for name in sorted(numbers):
        if name not in given and name.partition(".")[0] not in given:
            raise UsageError(
                f"{where}: {name} has no source",
                f'name it in the gives of a [[sources]], as in gives = ["{name}"]',
            )
    for name in given:
        if name not in numbers and not any(n.startswith(f"{name}.") for n in numbers):
            raise UsageError(f"{where}: a source gives {name!r}, which the card does not have")


def refuse_unknown(names: Iterable[str], known: Sequence[str], *, where: str) -> None:
    """Every name has to be one of the known ones.

    Raises:
        UsageError: one is not; the nearest is named.
    """
    for name in names:
        if name not in known:
            near = nearest(name, known, 1)
            meant = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
            raise UsageError(f"{where}: no key is called {name!r}", meant)


def number(name: str, value: object, bounds: Bounds, where: str) -> int | float:
    """The value, once it is known to be a number within its bounds.

    Raises:
        UsageError: it is not.
    """
    fits = isinstance(value, int if bounds.whole else int | float) and not isinstance(value, bool)
    if not fits or not bounds.low <= cast(float, value) <= bounds.high:
        raise UsageError(f"{where}: {name} is {value!r}", f"expected {bounds}")
    return cast(float, value)


def words(name: str, value: object, where: str) -> str:
    """The value, once it is known to be a text that is not empty.

    Raises:
        UsageError: it is not.
    """
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{where}: {name} is {value!r}", "expected a text")
    return value


def source(entry: Table, documents: Table, *, where: str) -> Source:
    """A source: a document of `documents.toml`, the place in it, the keys that it gives.

    A url with `{at}` in it is completed by the place.

    Raises:
        UsageError: there is no such document, or the entry has keys of its own.
    """
    refuse_unknown(entry, ("document", "at", "gives"), where=where)
    name = words("document", entry.get("document"), where)
    document = documents.get(name)
    if not isinstance(document, Mapping):
        near = nearest(name, documents)
        raise UsageError(
            f"{where}: documents.toml has no document {name!r}",
            *([f"nearest: {', '.join(near)}"] if near else []),
        )
    title, url, date = (
        words(key, document.get(key), f"documents.toml, {name}") for key in ("title", "url", "date")
    )
    place = str(entry.get("at", ""))
    return Source(
        title=title,
        url=url.replace("{at}", place),
        date=date,
        read=str(document["read"]) if "read" in document else None,
        at="" if "{at}" in url else place,
        gives=_texts("gives", entry.get("gives", []), where),
    )


def _sources(table: Table, documents: Table, *, where: str) -> tuple[Source, ...]:
    entries = table.get("sources", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UsageError(f"{where}: sources are not a list of tables", "write [[sources]]")
    return tuple(source(entry, documents, where=where) for entry in entries)


def _numbers(table: Table) -> Iterable[str]:
    """The keys of a table that need a source, those of a dtype as 'table.dtype'."""
    for name, value in table.items():
        if name in RATES and isinstance(value, Mapping):
            yield from (f"{name}.{dtype}" for dtype in value)
        elif name in (*NUMBERS, *RANGES, *FACTS):
            yield name


def _value(name: str, value: object, where: str) -> object:
    if name in NUMBERS:
        return number(name, value, NUMBERS[name], where)
    if name in WORDS:
        return _word(name, value, where)
    if name in RATES:
        return Rates(**_dtypes(name, value, where))
    if name in RANGES:
        return _range(name, value, where)
    if name == "aliases":
        return _texts(name, value, where)
    if name == "compute_capability":
        return _capability(value, where)
    if name == "memory_options_bytes":
        options = value if isinstance(value, list) else [value]
        return tuple(number(name, option, _MEMORY, where) for option in options)
    if name == "default_foreach" and not isinstance(value, bool):
        raise UsageError(f"{where}: {name} is {value!r}", "expected true or false")
    return value


def _word(name: str, value: object, where: str) -> str:
    text, choices = words(name, value, where), WORDS[name]
    if choices and text not in choices:
        raise UsageError(f"{where}: {name} is {text!r}", f"expected one of: {', '.join(choices)}")
    return text


def _dtypes(name: str, value: object, where: str) -> dict[str, float]:
    if not isinstance(value, Mapping):
        raise UsageError(f"{where}: {name} is {value!r}", "expected a table of numbers by dtype")
    refuse_unknown(value, _DTYPES, where=f"{where}, {name}")
    return {
        dtype: number(f"{name}.{dtype}", rate, RATES[name], where) for dtype, rate in value.items()
    }


def _range(name: str, value: object, where: str) -> Range:
    expected = ("low", "typical", "high")
    if not isinstance(value, Mapping) or set(value) != set(expected):
        raise UsageError(f"{where}: {name} is {value!r}", f"expected: {', '.join(expected)}")
    low, typical, high = (
        number(f"{name}.{end}", value[end], RANGES[name], where) for end in expected
    )
    if not low <= typical <= high:
        raise UsageError(f"{where}: {name} is not in order: {low:g}, {typical:g}, {high:g}")
    return Range(low=low, typical=typical, high=high)


def _capability(value: object, where: str) -> tuple[int, int]:
    if not isinstance(value, str) or re.fullmatch(r"\d+\.\d", value) is None:
        raise UsageError(f"{where}: compute_capability is {value!r}", 'expected a text as "8.9"')
    major, _, minor = value.partition(".")
    return int(major), int(minor)


def _texts(name: str, value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise UsageError(f"{where}: {name} is {value!r}", "expected a list of texts")
    return tuple(words(name, text, where) for text in value)
