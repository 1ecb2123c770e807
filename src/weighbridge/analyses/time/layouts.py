"""Layouts: how the tensors of a program lie in memory, operator by operator.

A program says what is computed and not where the elements lie, and kernels care: one that wants its rows in order
copies what lies otherwise, and a convolution runs on images whose channels come first or last. What a network is given
follows from the workload, each operator's rule says how its results then lie (`Operator.strides`), and permuting axes
turns first into last: a ConvNeXt asked for channels first runs most of its convolutions with channels last.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...ops import rule_of
from ...ops.strides import Strides, channels_last, in_order
from ...program import Op, Program

IMAGES = frozenset({"parameter", "input"})
"""Roles whose tensors of four axes `.to(memory_format=torch.channels_last)` turns."""


def laid_out(program: Program) -> Iterator[tuple[Op, tuple[Strides, ...]]]:
    """Every operator, and how its operands lie when it runs."""
    last = program.workload.layout == "channels-last"
    found: dict[int, Strides] = {
        tensor.id: channels_last(tensor.shape)
        if last and tensor.role in IMAGES
        else in_order(tensor.shape)
        for tensor in (*program.parameters, *program.buffers, *program.inputs)
    }
    for op in program.ops:
        given = tuple([found.get(t.id) or in_order(t.shape) for t in op.inputs])
        yield op, given
        rule = rule_of(op.kind)
        if rule is not None:
            made = rule.strides(op, given)
            found.update(zip((tensor.id for tensor in op.outputs), made, strict=False))
