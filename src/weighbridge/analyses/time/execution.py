"""Execution: which kernels a device runs for a program.

Eager PyTorch runs each operator's kernels as they come. Another memory format and a compiler make another program
of the same network, not the same one faster.

A compiler (torch.compile's inductor) makes one kernel of several operators (:mod:`.fusion`), and lays images out with
their channels last where it expects convolutions to gain by that: on a CPU always, on CUDA by a rule of thumb.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ...ops import rule_of
from ...ops.kernel import FOREACH, Kernel
from ...program import Op, Program
from .fusion import fused

Way = Literal["grouped", "small", "narrowing", "other"]

CHANNELS_LAST: Mapping[Way, float] = {
    "grouped": 1.358,
    "small": 0.783,
    "narrowing": 0.725,
    "other": 0.823,
}
"""Time of a convolution with channels last over that with channels first, as inductor supposes it.

For inference; a program that trains has channels last unless one of its convolutions is grouped or narrowing, or
all are small. Source: `decide_layout_opt` in torch/_inductor/graph.py, PyTorch 2.1 to 2.14."""

SMALL_CHANNELS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A kernel, and the operators that it runs: one, or several that were fused."""

    kernel: Kernel
    ops: tuple[Op, ...]


def launches(program: Program) -> Iterator[Launch]:
    """The kernels of a program in the order in which they run; none of operators without a rule."""
    if program.workload.compiled:
        for group in fused(program, channels_last=channels_last(program)):
            yield Launch(kernel=group.kernel, ops=group.ops)
        return
    for op in program.ops:
        rule = rule_of(op.kind)
        if rule is not None:
            for kernel in rule.kernels(op):
                yield Launch(kernel=kernel, ops=(op,))


def dispatches(program: Program, launched: Sequence[Launch]) -> int:
    """How much the host hands to the device, one after the other: operators (those of a list are one), or, of a
    compiled program, kernels."""
    if program.workload.compiled:
        return len(launched)
    return sum(
        (rule is None or not rule.view) and not op.flag(FOREACH)
        for op, rule in ((op, rule_of(op.kind)) for op in program.ops)
    )


def channels_last(program: Program) -> bool:
    """Whether a compiled program has its images' channels last.

    Left out: programs of more than 300 nodes a convolution stay as they are, which moves one kernel of a transformer.
    """
    macs: dict[Way, int] = defaultdict(int)
    for op in program.phase("forward"):
        rule = rule_of(op.kind)
        for kernel in () if rule is None else rule.kernels(op):
            if kernel.image_bytes:
                macs[_way(op)] += kernel.macs
    if not macs:
        return False
    if program.workload.layout == "channels-last" or program.workload.backend == "cpu":
        return True
    if program.workload.training:
        return not macs.keys() & {"grouped", "narrowing"} and macs.keys() != {"small"}
    return sum(CHANNELS_LAST[way] * count for way, count in macs.items()) <= sum(macs.values())


def _way(op: Op) -> Way:
    """Which of inductor's four ways a convolution goes: by groups, then by its numbers of channels."""
    kernels, channels, *window = op.inputs[1].shape
    if op.integer("groups", 1) > 1 and channels > 1:
        return "grouped"
    if kernels <= SMALL_CHANNELS and channels <= SMALL_CHANNELS:
        return "small"
    return "narrowing" if 2 * kernels <= channels and window[0] > 1 else "other"
