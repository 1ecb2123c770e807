"""Calibration: what was measured of one machine, under which conditions, and the file that keeps it.

Each point is a kernel, as the operators' rules describe it, and its seconds: what a prediction is made from and what was
measured are the same record. Most points are in float32 with as many threads as PyTorch takes here, which is the
calibration's `base`; some were timed in other settings too (a dtype, a number of threads), one right after the
other, so that their ratio is not touched by a machine that slows down. What was fitted to the points is kept
beside them. The file is JSON in the user's data folder, one a kind of device, and written in
one go: an interrupted calibration leaves the former one as it was.

A calibration holds for the machine that it was taken on: the same processor or GPU, the same PyTorch. Under other
conditions it is named as stale and not used. A dtype or a number of threads that it lacks is named as well.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from math import isfinite
from pathlib import Path
from typing import Any

from .errors import UsageError
from .ops.kernel import CONTRACTIONS, KERNEL_CLASSES, PARTS, Gemm, Kernel
from .program import Op

SCHEMA = 4
AGAIN = "measure this machine again: weigh calibrate"

TF32 = "tf32"
"""The setting in which products of float32 run on a GPU's matrix units."""

BASE_RATES = 9
"""Of a curve: a call, multiply-accumulates, other arithmetic, weights, bytes read and written, and beyond
two levels of caches, and multiply-accumulates under wide depthwise kernels."""

REORDERING = frozenset({"strided copy", "transposition"})

LONGEST_S = 60.0
"""Of a kernel: longer ones are a slip of the unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a calibration holds for: the device, and what runs on it; and on how many threads most of it was taken.

    `device` is what PyTorch calls its kind ('cpu', 'cuda', 'mps'), `processor` its own name. `malloc` says
    whose allocator hands out a CPU's memory, as far as that is known.
    """

    device: str
    processor: str
    cores: int
    threads: int
    torch: str
    system: str
    malloc: str = ""

    def differences(self, now: Conditions) -> tuple[str, ...]:
        """Why what was measured under these does not hold under others: 'torch 2.13.0, and 2.14.1 now'."""
        return tuple(
            f"{field.name} {was}, and {is_now} now"
            for field in fields(self)
            if field.name != "threads"
            and (was := getattr(self, field.name)) != (is_now := getattr(now, field.name))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How a kernel was run: in which dtype, on how many threads of a processor."""

    dtype: str
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A kernel that was timed: the typical seconds of one run in the base setting, and in others.

    `operator` is what ran it, as `operator_of` names that. `kernel` is the base's, in float32: of half
    the bytes it stands for in bfloat16.
    """

    operator: str
    kernel: Kernel
    seconds: float
    others: Mapping[Setting, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overheads:
    """What whole steps take beyond the kernels that were timed alone.

    `forward` and `backward` are how many times as long kernels take between others, `forward_s` and
    `backward_s` the host's seconds for an operator (also one that runs no kernel; updates count as backward), `page_s`
    the time for a page of memory that the system makes anew.
    """

    forward: float = 1.0
    backward: float = 1.0
    forward_s: float = 0.0
    backward_s: float = 0.0
    page_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What was fitted to the points of one class of kernels: rates of what they take time for, and each point's share in
    what these leave out (`analyses.time.measured`); no shares, where nothing is interpolated.

    In another setting than the base there is one rate, the logarithm of how many times as long kernels take, unless
    most of them were timed there too.
    """

    rates: tuple[float, ...]
    shares: tuple[float, ...]


Class = tuple[str, ...]
"""What is fitted together: a class of kernels or an operator, and which part of it; a class as a whole; or everything."""

ALL: Class = ()


def classes_of(kernel: Kernel, operator: str) -> Iterator[Class]:
    """What a kernel is timed by, the most like it first: its operator, unless that is a contraction, and its class.

    What brings an operator's operands into another order is no kernel of that operator's own.
    """
    if kernel.kind in REORDERING:
        yield "copy", kernel.part
    elif kernel.kind not in CONTRACTIONS:
        yield operator, kernel.part
    yield kernel.kind, kernel.part
    yield (kernel.kind,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What was measured of one machine.

    `repeatability` is how far the same kernel was from itself, typically, at the beginning and at the end:
    0.03 is 3 %. `disturbed` is the share of runs in which the processor was taken away. `fits` are of
    the points in the base setting, or with a setting of what that takes times as long.
    """

    conditions: Conditions
    taken: str
    seconds: float
    repeatability: float
    disturbed: float
    overheads: Overheads
    points: tuple[Point, ...]
    fits: Mapping[tuple[Class, Setting], Fit] = field(default_factory=dict)

    @property
    def base(self) -> Setting:
        """The setting of every point."""
        return Setting(dtype="float32", threads=self.conditions.threads)

    @property
    def settings(self) -> tuple[Setting, ...]:
        """All settings, the base first."""
        others = {setting: None for point in self.points for setting in point.others}
        return (self.base, *others)

    def classes(self, setting: Setting) -> Mapping[Class, Sequence[Point]]:
        """The points that were timed in a setting, by all classes that they belong to."""
        found: dict[Class, list[Point]] = {}
        every = setting == self.base
        for point in self.points:
            if every or setting in point.others:
                for of in dict.fromkeys((*classes_of(point.kernel, point.operator), ALL)):
                    found.setdefault(of, []).append(point)
        return found

    def to_json(self) -> str:
        """The text of the file."""
        settings = self.settings
        record = {
            "schema": SCHEMA,
            "taken": self.taken,
            "seconds": self.seconds,
            "repeatability": self.repeatability,
            "disturbed": self.disturbed,
            "conditions": asdict(self.conditions),
            "overheads": asdict(self.overheads),
            "settings": [asdict(setting) for setting in settings],
            "points": [_written(point, settings) for point in self.points],
            "fits": [
                {
                    "class": list(of),
                    "setting": settings.index(setting),
                    "rates": [_rounded(rate) for rate in fit.rates],
                    "shares": [_rounded(share) for share in fit.shares],
                }
                for (of, setting), fit in self.fits.items()
            ],
        }
        return json.dumps(record, separators=(",", ":"))


def operator_of(op: Op) -> str:
    """An operator's kind, and whether it writes over what it reads: that spares memory of its own."""
    read = {tensor.storage for tensor in op.inputs}
    return f"{op.kind} in place" if any(t.storage in read for t in op.outputs) else op.kind


def path(device: str = "cpu") -> Path:
    """Where the calibration of a kind of device is kept: in the user's data folder."""
    if sys.platform == "win32":
        folder = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        folder = Path.home() / "Library" / "Application Support"
    else:
        folder = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return folder / "weighbridge" / f"calibration-{device}.json"


def write(calibration: Calibration, where: Path) -> None:
    """Writes the file in one go: whoever reads finds the old one or the new one, whole.

    Raises:
        UsageError: the folder cannot be written.
    """
    try:
        where.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=where.parent, prefix=where.name, suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(calibration.to_json())
            os.replace(name, where)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(
            f"{where}: the calibration cannot be written: {error.strerror}",
            "XDG_DATA_HOME names another folder for it",
        ) from error


def read(where: Path) -> Calibration | None:
    """The calibration in a file; None where there is no file.

    Raises:
        UsageError: it cannot be read, or something in it is missing or absurd.
    """
    try:
        text = where.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{where}: the calibration cannot be read: {error}", AGAIN) from error
    try:
        record = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{where}: not JSON: {error}", AGAIN) from error
    return _Reader(where).calibration(record)


class _Reader:
    """Takes a record apart, and says of what does not fit where it stands."""

    def __init__(self, where: Path) -> None:
        self.where = where

    def calibration(self, record: object) -> Calibration:
        table = self.table(record, "the file")
        if table.get("schema") != SCHEMA:
            raise UsageError(
                f"{self.where}: schema is {table.get('schema')!r}, and this version reads {SCHEMA}",
                AGAIN,
            )
        conditions = self.conditions(self.table(table.get("conditions"), "conditions"))
        settings = [self.setting(*each) for each in self.entries(table, "settings")]
        base = Setting(dtype="float32", threads=conditions.threads)
        if settings[0] != base:
            raise UsageError(
                f"{self.where}: settings, entry 1 is {settings[0].dtype} on {settings[0].threads} threads, and the base is "
                f"{base.dtype} on {base.threads}",
                AGAIN,
            )
        found = Calibration(
            conditions=conditions,
            taken=self.word(table, "taken", "the file"),
            seconds=self.number(table, "seconds", "the file", 0, 1e6),
            repeatability=self.number(table, "repeatability", "the file", 0, 10),
            disturbed=self.number(table, "disturbed", "the file", 0, 1),
            overheads=self.overheads(self.table(table.get("overheads"), "overheads")),
            points=tuple(self.point(*each, settings) for each in self.entries(table, "points")),
            fits=dict(self.fit(*each, settings) for each in self.entries(table, "fits")),
        )
        self.check_fits(found)
        return found

    def check_fits(self, found: Calibration) -> None:
        """Refuses fits that are not of the points that are there."""
        for setting in found.settings:
            classes = found.classes(setting)
            for (of, own), fit in found.fits.items():
                if own != setting:
                    continue
                count = len(classes.get(of, ()))
                rates = (BASE_RATES,) if own == found.base else (1, BASE_RATES)
                if len(fit.shares) not in (0, count) or len(fit.rates) not in rates:
                    raise UsageError(
                        f"{self.where}: fits of {' '.join(of) or 'all'} have {len(fit.rates)} rates and {len(fit.shares)} shares, and "
                        f"{' or '.join(map(str, rates))} and {count} are expected",
                        AGAIN,
                    )
        if (ALL, found.base) not in found.fits:
            raise UsageError(f"{self.where}: fits have none of all kernels", AGAIN)

    def entries(
        self, table: Mapping[str, object], name: str
    ) -> Iterator[tuple[Mapping[str, object], str]]:
        """The tables of a list, each with where it stands."""
        found = table.get(name)
        if not isinstance(found, list) or not found:
            raise UsageError(f"{self.where}: {name} is no list with entries", AGAIN)
        for number, entry in enumerate(found, 1):
            place = f"{name}, entry {number}"
            yield self.table(entry, place), place

    def setting(self, table: Mapping[str, object], place: str) -> Setting:
        return Setting(
            dtype=self.word(table, "dtype", place),
            threads=int(self.number(table, "threads", place, 1, 10_000, whole=True)),
        )

    def fit(
        self, table: Mapping[str, object], place: str, settings: Sequence[Setting]
    ) -> tuple[tuple[Class, Setting], Fit]:
        of = table.get("class")
        if not isinstance(of, list) or not all(isinstance(word, str) for word in of):
            raise UsageError(
                f"{self.where}: {place}: class is {of!r}, and texts are expected", AGAIN
            )
        number = self.number(table, "setting", place, 0, len(settings) - 1, whole=True)
        return (tuple(of), settings[int(number)]), Fit(
            rates=self.numbers(table, "rates", place), shares=self.numbers(table, "shares", place)
        )

    def conditions(self, table: Mapping[str, object]) -> Conditions:
        whole = {
            name: int(self.number(table, name, "conditions", 1, 10_000, whole=True))
            for name in ("cores", "threads")
        }
        words = {
            name: self.word(table, name, "conditions", empty=name == "malloc")
            for name in ("device", "processor", "torch", "system", "malloc")
        }
        return Conditions(
            device=words["device"],
            processor=words["processor"],
            torch=words["torch"],
            system=words["system"],
            malloc=words["malloc"],
            cores=whole["cores"],
            threads=whole["threads"],
        )

    def overheads(self, table: Mapping[str, object]) -> Overheads:
        return Overheads(
            **{
                field.name: self.number(table, field.name, "overheads", 0, 10)
                for field in fields(Overheads)
            }
        )

    def point(self, table: Mapping[str, object], place: str, settings: Sequence[Setting]) -> Point:
        kind, part = self.word(table, "kind", place), self.word(table, "part", place)
        if kind not in KERNEL_CLASSES or part not in PARTS:
            raise UsageError(
                f"{self.where}: {place}: no kernel is of class {kind!r}, {part!r}", AGAIN
            )
        counts = {
            name: int(self.number(table, name, place, 0, 10**15, whole=True)) for name in _COUNTS
        }
        gemm = table.get("gemm")
        if gemm is not None and not (
            isinstance(gemm, list) and len(gemm) == 4 and all(isinstance(n, int) for n in gemm)
        ):
            raise UsageError(f"{self.where}: {place}: gemm is {gemm!r}", AGAIN)
        fitting: dict[str, Any] = {"kind": kind, "part": part, **counts}
        return Point(
            operator=self.word(table, "operator", place),
            kernel=Kernel(
                **fitting,
                dtype=self.word(table, "dtype", place),
                gemm=None
                if gemm is None
                else Gemm(batch=gemm[0], rows=gemm[1], columns=gemm[2], depth=gemm[3]),
            ),
            seconds=self.number(table, "seconds", place, 1e-9, LONGEST_S),
            others=self.others(table, place, settings),
        )

    def others(
        self, table: Mapping[str, object], place: str, settings: Sequence[Setting]
    ) -> Mapping[Setting, float]:
        if "others" not in table:
            return {}
        seconds = self.numbers(table, "others", place)
        if len(seconds) != len(settings) - 1 or not all(0 <= s <= LONGEST_S for s in seconds):
            raise UsageError(
                f"{self.where}: {place}: others is {list(seconds)!r}, and seconds in {len(settings) - 1} settings are expected",
                AGAIN,
            )
        return {setting: each for setting, each in zip(settings[1:], seconds, strict=True) if each}

    def table(self, value: object, place: str) -> Mapping[str, object]:
        if not isinstance(value, dict):
            raise UsageError(f"{self.where}: {place} is {value!r}, not a table", AGAIN)
        return value

    def word(
        self, table: Mapping[str, object], name: str, place: str, *, empty: bool = False
    ) -> str:
        value = table.get(name)
        if not isinstance(value, str) or not (value or empty):
            raise UsageError(
                f"{self.where}: {place}: {name} is {value!r}, and a text is expected", AGAIN
            )
        return value

    def numbers(self, table: Mapping[str, object], name: str, place: str) -> tuple[float, ...]:
        value = table.get(name)
        if not isinstance(value, list) or not all(
            isinstance(each, int | float) and isfinite(each) for each in value
        ):
            raise UsageError(
                f"{self.where}: {place}: {name} is {value!r}, and numbers are expected", AGAIN
            )
        return tuple(value)

    def number(
        self,
        table: Mapping[str, object],
        name: str,
        place: str,
        low: float,
        high: float,
        *,
        whole: bool = False,
    ) -> float:
        value = table.get(name)
        fits = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not fits or not low <= value <= high:  # type: ignore[operator]  # it is a number
            kind = "a whole number" if whole else "a number"
            raise UsageError(
                f"{self.where}: {place}: {name} is {value!r}, and {kind} from {low:g} to {high:g} is expected",
                AGAIN,
            )
        return value  # type: ignore[return-value]


_COUNTS = ("macs", "operations", "read_bytes", "write_bytes", "image_bytes")


def _written(point: Point, settings: Sequence[Setting]) -> dict[str, object]:
    kernel, gemm = point.kernel, point.kernel.gemm
    found: dict[str, object] = {
        "operator": point.operator,
        "kind": kernel.kind,
        "part": kernel.part,
        "dtype": kernel.dtype,
        **{name: getattr(kernel, name) for name in _COUNTS},
        "seconds": _rounded(point.seconds),
    }
    if gemm is not None:
        found["gemm"] = [gemm.batch, gemm.rows, gemm.columns, gemm.depth]
    if point.others:  # 0 where there was no kernel
        found["others"] = [_rounded(point.others.get(setting, 0.0)) for setting in settings[1:]]
    return found


def _rounded(value: float) -> float:
    """Five significant digits: more than any clock tells."""
    return float(f"{value:.5g}")
