"""Execution: which kernels a device runs for a program.

Eager PyTorch runs each operator's kernels as they come, and before one what brings its operands into the order that it
takes them in (:mod:`.layouts`). Matrix units take images with their channels last, eight at a time: where they lie first,
cuDNN turns them, and the result back, and where they lie last it fills them up. Another memory format and a compiler make another program of the same network, not the same
one faster.

A compiler (torch.compile's inductor) makes one kernel of several operators (:mod:`.fusion`), and lays images out with
their channels last where it expects convolutions to gain by that: on a CPU always, on CUDA by a rule of thumb.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sized
from dataclasses import dataclass, replace
from typing import Literal

from ...ops import rule_of
from ...ops.kernel import FOREACH, TURNED, Kernel, KernelClass
from ...ops.strides import Strides, are_channels_last, elements_read
from ...program import Op, Phase, Program, Tensor
from .fusion import fused
from .layouts import laid_out

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

HALF = frozenset({"float16", "bfloat16"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A kernel, and the operators that it runs: one, or several that were fused.

    `operands_bytes` are the bytes of what it reads and writes, where they are known one by one.
    """

    kernel: Kernel
    ops: tuple[Op, ...]
    operands_bytes: tuple[int, ...] = ()


def launches(program: Program, phase: Phase | None = None) -> Iterator[Launch]:
    """The kernels of a program, or of one phase, in the order in which they run; none of operators without a rule."""
    if program.workload.compiled:
        for group in fused(program, channels_last=channels_last(program)):
            if phase in (None, group.ops[0].phase):
                yield Launch(kernel=group.kernel, ops=group.ops)
        return
    turning = program.workload.backend == "cuda"
    known: dict[object, tuple[_Run, ...]] = {}
    for op, given in laid_out(program):
        if phase not in (None, op.phase):
            continue
        key = (op.signature, given)
        if key not in known:
            known[key] = tuple(_eager(op, given, turning=turning))
        for kernel, operands in known[key]:
            yield Launch(kernel=kernel, ops=(op,), operands_bytes=operands)


_Run = tuple[Kernel, tuple[int, ...]]
"""A kernel, and the bytes of what it reads and writes, one by one."""


def _eager(op: Op, given: tuple[Strides, ...], *, turning: bool) -> Iterator[_Run]:
    """The kernels of an operator whose operands lie so; `turning` says that matrix units take channels last."""
    rule = rule_of(op.kind)
    if rule is None or not rule.moves(op, given):
        return
    for tensor in rule.copied(op, given):
        yield _turned("strided copy", tensor.dtype, tensor.bytes)
    twice = sum(map(_read_twice, op.inputs, given))
    operands = tuple(tensor.bytes for tensor in (*op.inputs, *op.outputs))
    largest = max(operands, default=0)
    made = rule.strides(op, given)
    last = any(
        are_channels_last(tensor.shape, strides)
        for tensor, strides in zip((*op.outputs, *op.inputs[:2]), (*made, *given[:2]), strict=False)
    )
    for kernel in rule.kernels(op):
        image = kernel.image_bytes > 0
        if image and turning and kernel.dtype in HALF:
            turned = kernel.image_bytes if kernel.kind in TURNED else 0
            copied = kernel.padded_bytes if last else turned
            if copied:
                yield _turned("transposition", kernel.dtype, copied)
        found = replace(
            kernel,
            read_bytes=max(kernel.read_bytes - twice, 0),
            channels_last=image and last,
            largest_bytes=largest,
            waits=0 if last else kernel.waits,
        )
        yield found, operands


def _turned(kind: KernelClass, dtype: str, size: int) -> _Run:
    """So many bytes read in one order and written in another."""
    kernel = Kernel(kind=kind, dtype=dtype, read_bytes=size, write_bytes=size, largest_bytes=size)
    return kernel, (size,)


def _read_twice(tensor: Tensor, strides: Strides) -> int:
    """Bytes that a tensor which was stretched over an axis has more than there are in memory."""
    if 0 not in strides or not tensor.elements:
        return 0
    there = elements_read(tensor.shape, strides)
    return tensor.bytes - tensor.bytes * there // tensor.elements


def dispatches(program: Program, launched: Sized) -> int:
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
