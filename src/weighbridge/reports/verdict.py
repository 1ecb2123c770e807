"""The verdict: does the step fit on that device, between what does its memory lie, how large may it be, how long does it take?"""

from __future__ import annotations

from ..analyses.memory.largest import Binding, Largest, Placed
from ..analyses.memory.resident import Interval, Resident
from ..analyses.time.step import StepTime, Untimed
from ..analyses.weighing import Json
from ..units import integer, memory, percent
from .memory import NAMES
from .table import Line, Style, labelled, plain
from .time import grounds, sentence
from .time import record as time_record

SHORT_ANSWERS = {"fits": "fits", "too close to call": "too close", "does not fit": "no", None: "?"}


def verdict(
    placed: Placed, time: StepTime | Untimed | None = None, *, width: int | None = None
) -> tuple[Line, ...]:
    """A paragraph on one device: the answer, what it rests on, and what the figures are called elsewhere."""
    found = placed.resident
    lines = labelled(f"  {answer(found)}", headline(placed), width=width)
    if time is not None:
        lines = (*lines, *indented(sentence(time, found.device), width))
    below = [figures(found)]
    if found.retries and found.answer == "fits":
        below.append(
            "fits only as cached memory is given back, for which the allocator waits: it will be slower"
        )
    if found.leaves_none:
        below.append(
            f"what is taken beside tensors, {between(found.outside)}, is more than there is"
        )
    elif placed.largest is not None and placed.largest.binds is not None:
        below.append(f"at batch 1 {binding(placed.largest.binds)}")
    if placed.largest is not None and placed.largest.direct is not None:
        below.append(f"each batch was built, since {placed.largest.direct}")
    if found.out_of_memory is not None and found.answer == "does not fit":
        below.append(f"PyTorch would say: {found.out_of_memory.message.partition(' If ')[0]}")
    below.append(f"basis: {found.basis}")
    if isinstance(time, StepTime):
        below.append(f"basis of the time: {grounds(time, found.device)}")
    return (*lines, *(line for text in below for line in indented(text, width, style="dim")))


def sentences(placed: Placed, time: StepTime | Untimed | None = None) -> tuple[str, ...]:
    """The same as plain lines, for what stands below a table in a file."""
    return tuple("".join(span.text for span in line).strip() for line in verdict(placed, time))


def indented(text: str, width: int | None, *, style: Style = "") -> tuple[Line, ...]:
    """A paragraph that belongs to the verdict above it."""
    inner = None if width is None else max(width - 4, 20)
    return tuple((*plain("    "), *line) for line in labelled("", text, width=inner, style=style))


def answer(found: Resident) -> str:
    """'fits RTX 4090 (23.6 GiB)'; the device alone where nobody says how much memory it has."""
    if found.capacity_bytes is None:
        return f"on {found.device.name}"
    size = memory(found.capacity_bytes)
    name = found.device.name
    return f"{found.answer} {name}" if size in name else f"{found.answer} {name} ({size})"


def headline(placed: Placed) -> str:
    """'peak 6.73 GiB, between 6.22 GiB and 7.38 GiB; largest batch 213'."""
    parts = [f"peak {between(placed.resident.total)}"]
    if placed.largest is not None:
        parts.append(largest(placed.largest))
    if placed.resident.capacity_bytes is None:
        parts.append(f"for a verdict say its memory: --on {placed.resident.device.key}:32GiB")
    return "; ".join(parts)


def largest(found: Largest) -> str:
    """'largest batch 213', 'no batch fits'."""
    if not found.size:
        return f"no {found.axis} fits"
    return f"largest {found.axis} {integer(found.size)}"


def between(size: Interval) -> str:
    """'~6.73 GiB, between 6.22 GiB and 7.38 GiB'."""
    return f"~{memory(size.expected)}, between {memory(size.low)} and {memory(size.high)}"


def figures(found: Resident) -> str:
    """The total by the names that users know its parts by."""
    if not found.cached:
        return (
            f"tensors {memory(found.allocated.expected)}, the process beside them "
            f"~{memory(found.outside.expected)}"
        )
    return (
        f"max_memory_allocated ~{memory(found.allocated.expected)}, max_memory_reserved "
        f"~{memory(found.reserved.expected)} ({percent(found.unused_share)} of it in gaps and cache), "
        f"nvidia-smi ~{memory(found.total.expected)} with a context of ~{memory(found.outside.expected)}"
    )


def binding(binds: Binding) -> str:
    """'most memory goes to saved activations: 18.2 GiB, 58 % of the peak, most in layer1 (6.2 GiB)'."""
    where = f", most in {binds.scope} ({memory(binds.scope_bytes)})" if binds.scope else ""
    return f"most memory goes to {NAMES[binds.category]}: {memory(binds.bytes)}, {percent(binds.share)} of the peak{where}"


def record(placed: Placed, time: StepTime | Untimed | None = None) -> dict[str, Json]:
    """A device's verdict as plain data."""
    found = placed.resident
    return {
        "device": {"key": found.device.key, "name": found.device.name},
        "capacity_bytes": found.capacity_bytes,
        "answer": found.answer,
        "allocated_bytes": interval_record(found.allocated),
        "reserved_bytes": interval_record(found.reserved),
        "outside_bytes": interval_record(found.outside),
        "total_bytes": interval_record(found.total),
        "unused_share": found.unused_share,
        "out_of_memory": None if found.out_of_memory is None else found.out_of_memory.message,
        "retries": found.retries,
        "basis": found.basis,
        "largest_batch": None if placed.largest is None else largest_record(placed.largest),
        **({} if time is None else time_record(time)),
    }


def largest_record(found: Largest) -> dict[str, Json]:
    """A largest size as plain data."""
    return {
        "axis": found.axis,
        "size": found.size,
        "step": found.step,
        "direct": found.direct,
        "at": None if found.at is None else interval_record(found.at.total),
        "beyond": None if found.beyond is None else interval_record(found.beyond.total),
        "binds": None if found.binds is None else binding_record(found.binds),
    }


def binding_record(binds: Binding) -> dict[str, Json]:
    """What takes most, as plain data."""
    return {
        "category": binds.category,
        "bytes": binds.bytes,
        "scope": binds.scope,
        "scope_bytes": binds.scope_bytes,
        "peak_bytes": binds.peak_bytes,
    }


def interval_record(size: Interval) -> dict[str, Json]:
    """A prediction and between what it lies, as plain data."""
    return {"low": size.low, "expected": size.expected, "high": size.high}
