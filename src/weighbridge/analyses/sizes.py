"""Sizes: the one size that a network's input has (of a square image, of its sequences), and the step at another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from ..program import Program
from ..workload import InputSpec, Workload

What = Literal["image size", "sequence length"]

DEGREES: Mapping[What, int] = {"image size": 4, "sequence length": 2}
"""The highest power of a size: of the scores of each for each other, of which an image has the square of its size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What the size of an input is called, and how large it is."""

    what: What
    own: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """Sizes evenly spaced about the one that was asked for: `own + steps * stride`, from `least` to `most` steps.

    A `stride` below zero leads to smaller sizes. `degree` is the highest power of the size in anything that grows.
    """

    own: int
    stride: int
    least: int
    most: int
    degree: int

    def size(self, steps: int) -> int:
        return self.own + steps * self.stride


def size_of(workload: Workload) -> Size | None:
    """The size of one square image, or of sequences of one length; None where the inputs are neither."""
    shapes = [spec.shape for spec in workload.inputs]
    if len(shapes) == 1 and len(shapes[0]) == 3 and shapes[0][1] == shapes[0][2]:
        return Size(what="image size", own=shapes[0][1])
    if shapes and all(len(shape) == 1 and shape == shapes[0] for shape in shapes):
        return Size(what="sequence length", own=shapes[0][0])
    return None


def resized(workload: Workload, size: int) -> Workload:
    """The workload with its images or sequences of another size."""
    return replace(workload, inputs=tuple(_resized(spec, size) for spec in workload.inputs))


def _resized(spec: InputSpec, size: int) -> InputSpec:
    shape = (size,) if len(spec.shape) == 1 else (spec.shape[0], size, size)
    return replace(spec, shape=shape)


def strides(program: Program, size: Size) -> Iterator[int]:
    """How far apart the sizes may lie on which everything grows evenly, the likeliest first.

    Convolutions and pools leave out what does not fill a stride; kernels of attention round lengths up to 32, and in
    half precision to 128. Where a network holds a place for each position, there are only smaller sizes.
    """
    if size.what == "sequence length":
        yield from (1, 32, 128, -1, -32, -128)
        return
    stride = _stride(program, size.own)
    yield stride
    if stride != size.own:
        yield size.own


def _stride(program: Program, own: int) -> int:
    """How far apart, on the image, the pixels of the coarsest picture lie that the network makes of it."""
    heights = {
        tensor.shape[-1]
        for op in program.ops
        for tensor in op.outputs
        if tensor.role == "activation"
        and len(tensor.shape) == 4
        and tensor.shape[0] == program.workload.batch
        and 1 < tensor.shape[-1] == tensor.shape[-2] <= own
    }
    coarsest = min(heights, default=own)
    if own % coarsest == 0:
        return own // coarsest
    return 1 << round(own / coarsest).bit_length() - 1


def lattices(size: Size, stride: int) -> Iterator[Lattice]:
    """The sizes that far apart: up to four times the own one, or down to 1, or to a quarter."""
    degree = DEGREES[size.what]
    if stride > 0:
        most = max(3 * size.own // stride, 2 * degree)
        least = -((size.own - 1) // stride)
        yield Lattice(own=size.own, stride=stride, least=least, most=most, degree=degree)
        return
    down = (size.own - 1) // -stride
    for most in dict.fromkeys((down, 3 * down // 4)):
        if most > degree:
            yield Lattice(own=size.own, stride=stride, least=0, most=most, degree=degree)
