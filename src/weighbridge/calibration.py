"""Calibration: what was measured of one machine, under which conditions, and the file that keeps it.

Each point is a kernel, as the operators' rules describe it, and its seconds: what a prediction is made from and what was
measured are the same record. The file is JSON in the user's data folder, one a kind of device, and written in
one go: an interrupted calibration leaves the former one as it was.

A calibration holds for the machine that it was taken on: the same processor or GPU, the same PyTorch, as
many threads. Under other conditions it is named as stale and not used.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from .errors import UsageError
from .ops.kernel import KERNEL_CLASSES, PARTS, Gemm, Kernel
from .program import Op

SCHEMA = 1
AGAIN = "measure this machine again: weigh calibrate"

LONGEST_S = 60.0
"""Of a kernel: longer ones are a slip of the unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a calibration holds for: the device, and what runs on it.

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
            if (was := getattr(self, field.name)) != (is_now := getattr(now, field.name))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A kernel that was timed: the typical seconds of one run.

    `operator` is what ran it, as `operator_of` names that.
    """

    operator: str
    kernel: Kernel
    seconds: float


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
class Calibration:
    """What was measured of one machine.

    `repeatability` is how far the same kernel was from itself, typically, at the beginning and at the end:
    0.03 is 3 %. `disturbed` is the share of runs in which the processor was taken away.
    """

    conditions: Conditions
    taken: str
    seconds: float
    repeatability: float
    disturbed: float
    overheads: Overheads
    points: tuple[Point, ...]

    def to_json(self) -> str:
        """The text of the file."""
        record = {
            "schema": SCHEMA,
            "taken": self.taken,
            "seconds": self.seconds,
            "repeatability": self.repeatability,
            "disturbed": self.disturbed,
            "conditions": asdict(self.conditions),
            "overheads": asdict(self.overheads),
            "points": [_written(point) for point in self.points],
        }
        return json.dumps(record, indent=1)


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
        points = table.get("points")
        if not isinstance(points, list) or not points:
            raise UsageError(f"{self.where}: points is no list with entries", AGAIN)
        return Calibration(
            conditions=self.conditions(self.table(table.get("conditions"), "conditions")),
            taken=self.word(table, "taken", "the file"),
            seconds=self.number(table, "seconds", "the file", 0, 1e6),
            repeatability=self.number(table, "repeatability", "the file", 0, 10),
            disturbed=self.number(table, "disturbed", "the file", 0, 1),
            overheads=self.overheads(self.table(table.get("overheads"), "overheads")),
            points=tuple(
                self.point(self.table(entry, f"points, entry {number}"), number)
                for number, entry in enumerate(points, 1)
            ),
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

    def point(self, table: Mapping[str, object], number: int) -> Point:
        place = f"points, entry {number}"
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
        )

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


def _written(point: Point) -> dict[str, object]:
    kernel, gemm = point.kernel, point.kernel.gemm
    found: dict[str, object] = {
        "operator": point.operator,
        "kind": kernel.kind,
        "part": kernel.part,
        "dtype": kernel.dtype,
        **{name: getattr(kernel, name) for name in _COUNTS},
        "seconds": float(f"{point.seconds:.4g}"),
    }
    if gemm is not None:
        found["gemm"] = [gemm.batch, gemm.rows, gemm.columns, gemm.depth]
    return found
