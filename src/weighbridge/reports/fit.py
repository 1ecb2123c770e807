"""Fit: whether a step fits, what takes the memory, how large it may be, and what would make it smaller."""

from __future__ import annotations

from collections.abc import Iterator

from ..analyses.memory.fit import Change, Fit
from ..analyses.memory.largest import Largest, Placed
from ..analyses.memory.usage import Memory
from ..analyses.weighing import Json, Weighing
from ..units import change, integer, memory
from .memory import place, role_sheet
from .sheet import Column, Row, Sheet, Size
from .table import Line, labelled, plain, render
from .verdict import (
    SHORT_ANSWERS,
    between,
    binding,
    binding_record,
    indented,
    interval_record,
    largest_record,
    record,
    verdict,
)


def screen(found: Fit, *, width: int | None) -> tuple[Line, ...]:
    """What `weigh fit` prints below the heading."""
    blank: Line = ()
    usage = Memory(program=found.program)
    lines = [
        *verdict(Placed(resident=found.resident, largest=found.batch), width=width),
        *(line for text in sizes(found) for line in indented(text, width)),
        blank,
        *labelled("at the peak", place(found.peak), width=width),
        *render(role_sheet(usage), width=width),
        blank,
        *labelled(heading(found), "", width=width),
    ]
    if found.changes:
        lines.extend(render(change_sheet(found), width=width))
    else:
        lines.append(plain("nothing that is known here"))
    for refused in found.refused:
        lines.extend(
            labelled("", f"not weighed: {refused.text}: {refused.why}", width=width, style="dim")
        )
    return tuple(lines)


def heading(found: Fit) -> str:
    """What the changes are for."""
    if found.resident.answer == "fits":
        return "what would leave more room"
    return "what would make it fit, what leaves the training as it is first"


def sizes(found: Fit) -> Iterator[str]:
    """How the largest batch is known, what binds, and the largest image or sequence."""
    batch = found.batch
    if batch.at is not None:
        yield f"built at batch {integer(batch.size)}: {_at(batch)}"
        yield binding(found.binds)
    if found.size is not None and found.size.size:
        size = integer(found.size.size)
        shape = f"{size} x {size}" if found.size.axis == "image size" else size
        at = integer(found.program.workload.batch)
        yield f"largest {found.size.axis} at batch {at}: {shape}, in steps of {found.size.step}"
    elif found.size is not None:
        yield f"at batch {integer(found.program.workload.batch)} no {found.size.axis} fits"


def _at(found: Largest) -> str:
    """'~23.4 GiB, between ...; at 261 ~23.6 GiB, too close to call'."""
    assert found.at is not None
    here = between(found.at.total)
    if found.beyond is None:
        return here
    after = integer(found.size + found.step)
    return f"{here}; at {after}: ~{memory(found.beyond.total.expected)}, {found.beyond.answer}"


def change_sheet(found: Fit) -> Sheet:
    """The changes in the order of advice."""
    return Sheet(
        subject="change",
        columns=(
            Column(key="answer", title="fits?", align="left"),
            Column(key="peak", title="peak"),
            Column(key="batch", title="largest batch"),
            Column(key="operations", title="operations", rank=1),
            Column(key="note", title="what else", align="left", rank=2),
        ),
        rows=tuple(_row(entry) for entry in found.changes),
    )


def _row(entry: Change) -> Row:
    return Row(
        path=entry.text,
        name=entry.text,
        cells=(
            SHORT_ANSWERS[entry.resident.answer],
            Size(bytes=entry.resident.total.expected),
            entry.largest_batch,
            change(entry.operations),
            entry.note,
        ),
    )


def to_dict(found: Fit, weighing: Weighing) -> dict[str, Json]:
    """The weighing, the step on the device, and the changes, as plain data."""
    placed = Placed(resident=found.resident, largest=found.batch)
    return {
        **weighing.to_dict(),
        "devices": [record(placed)],
        "fit": {
            "binds": binding_record(found.binds),
            "largest_size": None if found.size is None else largest_record(found.size),
            "changes": [
                {
                    "parts": list(entry.parts),
                    "text": entry.text,
                    "answer": entry.resident.answer,
                    "total_bytes": interval_record(entry.resident.total),
                    "largest_batch": entry.largest_batch,
                    "operations": entry.operations,
                    "alters": entry.alters,
                    "note": entry.note,
                }
                for entry in found.changes
            ],
            "refused": [{"text": entry.text, "why": entry.why} for entry in found.refused],
        },
    }
