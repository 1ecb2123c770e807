"""Growth: what a step weighs as its batch, its images or its sequences grow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from ..errors import UsageError, WeighError
from ..program import Program
from ..workload import Workload
from .sizes import resized, size_of
from .time.step import Estimate
from .weighing import Weighing

Axis = Literal["batch", "size"]
What = Literal["batch", "image size", "sequence length"]

BATCHES = (1, 2, 4, 8, 16, 32, 64)
QUARTERS = (1, 2, 3, 4, 6, 8)
"""Sizes are these quarters of the network's own: from a quarter of it to twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    """A step at a size: `macs` are of all its phases, `seconds` None where no device was named."""

    size: int
    params: int
    macs: int
    peak_bytes: int
    seconds: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """A network's step at growing sizes; `refused` says at which sizes there is none, and why."""

    what: What
    first: Program
    steps: tuple[Grown, ...]
    refused: tuple[tuple[int, str], ...]


def growth(
    build: Callable[[Workload], Program],
    asked: Workload,
    axis: Axis,
    *,
    timed: Callable[[Program], Estimate] | None = None,
) -> Growth:
    """The step that was asked for at other batches, or at other sizes of its input.

    Raises:
        UsageError: the input has no size that could grow.
        WeighError: the network cannot be built as it was asked for, or at no size at all.
    """
    first = build(asked)
    what: What = "batch"
    sizes: tuple[int, ...] = BATCHES
    if axis == "size":
        what, own = _size(first)
        sizes = tuple(sorted({max(own * quarters // 4, 1) for quarters in QUARTERS}))
    steps: list[Grown] = []
    refused: list[tuple[int, str]] = []
    for size in sizes:
        try:
            program = build(_at(first.workload, what, size))
        except WeighError as error:
            refused.append((size, error.message))
            continue
        weighing = Weighing(program=program)
        steps.append(
            Grown(
                size=size,
                params=weighing.parameters.total,
                macs=weighing.compute.total.macs,
                peak_bytes=weighing.memory.peak_bytes,
                seconds=None if timed is None else timed(program),
            )
        )
    if not steps:
        raise WeighError(
            f"{first.network} runs at no {what} of {', '.join(map(str, sizes))}", refused[0][1]
        )
    return Growth(what=what, first=first, steps=tuple(steps), refused=tuple(refused))


def _size(program: Program) -> tuple[What, int]:
    """What its input's size is called, and how large it is."""
    size = size_of(program.workload)
    if size is not None:
        return size.what, size.own
    shapes = [spec.shape for spec in program.workload.inputs]
    raise UsageError(
        f"{program.network} takes {' and '.join(map(str, shapes)) or 'inputs of its own'}, which is neither one "
        "square image nor sequences of one length",
        "draw its growth with the batch: leave out --over size",
    )


def _at(workload: Workload, what: What, size: int) -> Workload:
    return replace(workload, batch=size) if what == "batch" else resized(workload, size)
