"""Growth: the kernels of a step at any batch, from one that was traced.

What comes from the inputs grows with the batch, what comes from parameters alone does not; nor does a gradient of a
parameter, an optimizer's state, or an update. So a network is traced once, and its kernels at 1024 samples are those at
eight with their sizes multiplied: `tests/test_fitting_timm.py` compares that with a trace at another batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from weighbridge.analyses.time.execution import dispatches, launches
from weighbridge.ops.kernel import Gemm, Kernel
from weighbridge.program import Op, Program, Tensor

CONSTANT = frozenset({"gradient", "optimizer_state", "parameter"})
"""Roles of what is as large whatever the batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """So many kernels that are the same. `fixed_read` and `fixed_write` are the bytes that do not grow with the batch.

    `by_product` says of a batch of products that there are more of them in a larger batch, and not larger ones.
    """

    kernel: Kernel
    grows: bool
    by_product: bool
    fixed_read: int
    fixed_write: int
    times: int = 1

    def at(self, factor: float) -> Kernel:
        """The kernel at so many times the batch."""
        kernel = self.kernel
        if not self.grows or factor == 1:
            return kernel
        gemm = None if kernel.gemm is None else self._grown(kernel.gemm, factor)
        return replace(
            kernel,
            macs=round(kernel.macs * factor),
            operations=round(kernel.operations * factor),
            read_bytes=self.fixed_read + round((kernel.read_bytes - self.fixed_read) * factor),
            write_bytes=self.fixed_write + round((kernel.write_bytes - self.fixed_write) * factor),
            image_bytes=round(kernel.image_bytes * factor),
            largest_bytes=round(kernel.largest_bytes * factor),
            padded_bytes=round(kernel.padded_bytes * factor),
            waits=round(kernel.waits * factor),
            gemm=gemm,
        )

    def _grown(self, gemm: Gemm, factor: float) -> Gemm:
        """A product with more samples: more products of a batch, else more rows, and of a weight's gradient more depth."""
        if self.kernel.part == "weight gradient":
            return replace(gemm, depth=round(gemm.depth * factor))
        if self.by_product:
            return replace(gemm, batch=round(gemm.batch * factor))
        return replace(gemm, rows=round(gemm.rows * factor))


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step in pieces: what a fit needs of a program.

    `batch` is that of the trace, `params` the number of parameters, `dispatches` what the host hands out.
    """

    pieces: tuple[Piece, ...]
    batch: int
    params: int
    dispatches: int
    uncounted: int


def step_of(program: Program) -> Step:
    """The pieces of a program, the same ones together."""
    launched = tuple(launches(program))
    told = _Told(
        batch=program.workload.batch,
        growing=frozenset(_growing(program)),
        stored={storage.id: storage.bytes for storage in program.storages},
    )
    counted = Counter(told.piece(launch.kernel, launch.ops) for launch in launched)
    return Step(
        pieces=tuple(replace(piece, times=times) for piece, times in counted.items()),
        batch=program.workload.batch,
        params=sum(tensor.elements for tensor in program.parameters),
        dispatches=dispatches(program, launched),
        uncounted=0,
    )


def _growing(program: Program) -> Iterator[int]:
    """The storages of what comes from the inputs."""
    found = {tensor.storage for tensor in program.inputs}
    for op in program.ops:
        if any(tensor.storage in found for tensor in op.inputs):
            found.update(tensor.storage for tensor in op.outputs if tensor.role not in CONSTANT)
    return iter(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What a program says of growth: the storages that grow, and the bytes of every storage."""

    batch: int
    growing: frozenset[int]
    stored: Mapping[int, int]

    def piece(self, kernel: Kernel, ops: tuple[Op, ...]) -> Piece:
        inputs = [tensor for op in ops for tensor in op.inputs]
        outputs = [tensor for op in ops for tensor in op.outputs]
        fixed_read = sum(self._there(t) for t in inputs if t.storage not in self.growing)
        fixed_write = sum(tensor.bytes for tensor in outputs if tensor.role in CONSTANT)
        if kernel.kind in ("strided copy", "transposition"):
            fixed_read = fixed_write = 0
        elif kernel.part == "weight gradient":
            fixed_read, fixed_write = 0, kernel.write_bytes
        return Piece(
            kernel=kernel,
            grows=any(tensor.storage in self.growing for tensor in inputs),
            by_product=self._by_product(kernel, inputs),
            fixed_read=min(fixed_read, kernel.read_bytes),
            fixed_write=min(fixed_write, kernel.write_bytes),
        )

    def _there(self, tensor: Tensor) -> int:
        """The bytes that there are of a tensor, which may be stretched over an axis."""
        return min(tensor.bytes, self.stored[tensor.storage])

    def _by_product(self, kernel: Kernel, inputs: Sequence[Tensor]) -> bool:
        """Whether it is a batch of products, of samples: with a weight, of samples where only their number fits."""
        if kernel.kind != "batched matmul" or kernel.gemm is None:
            return False
        if all(tensor.storage in self.growing for tensor in inputs[:2]):
            return True
        return kernel.gemm.batch % self.batch == 0
