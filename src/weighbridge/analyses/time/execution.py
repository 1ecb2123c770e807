"""Execution: which kernels a device runs for a program.

Eager PyTorch runs each operator's kernels as they come. Another memory format and a compiler make another program
of the same network, not the same one faster.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...ops import rule_of
from ...ops.kernel import FOREACH, Kernel
from ...program import Op, Program


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A kernel, and the operators that it runs: one, or several that were fused."""

    kernel: Kernel
    ops: tuple[Op, ...]


def launches(program: Program) -> Iterator[Launch]:
    """The kernels of a program in the order in which they run; none of operators without a rule."""
    for op in program.ops:
        rule = rule_of(op.kind)
        if rule is not None:
            for kernel in rule.kernels(op):
                yield Launch(kernel=kernel, ops=(op,))


def dispatches(program: Program) -> int:
    """How many operators the host hands to the device, one after the other; those of a list are one."""
    return sum(
        (rule is None or not rule.view) and not op.flag(FOREACH)
        for op, rule in ((op, rule_of(op.kind)) for op in program.ops)
    )
