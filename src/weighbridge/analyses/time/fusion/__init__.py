"""Fusion: the kernels that a compiler (torch.compile's inductor) makes of a program's operators.

Operators are of four kinds for it, by their class of kernel. *Extern* ones (products, convolutions, attention) stay
the library's kernels, as they come. *Pointwise* ones are not computed where they stand: they are written into what
reads them, and become a kernel only where their result must be in memory: read by an extern operator, handed on by
the network, or read so often that computing it again costs more than reading it. *Windows* (pooling,
resampling, gathering) are pointwise, but read other places than they write. *Reductions* are kernels, with what
they read written into them; softmax and normalisation are a reduction and, over as many elements as went in, something pointwise.

Of the kernels so found, those become one that run over the same elements and share what they read or make, as
long as nothing else must run between them. Such a kernel reads each tensor once, and what only it reads it
does not write.

Source: torch/_inductor of PyTorch 2.4 to 2.14: ir.py (`StorageBox.should_realize_on_reuse`, `has_exceeded_max_reads`,
`ConcatKernel`), lowering.py (`cat`, `make_reduction`), scheduler.py and codegen/simd.py (`can_fuse`).
Left out: how loops are tiled, which now and then keeps two kernels apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from ....ops.kernel import Kernel, KernelClass
from ....program import Op, Program
from .lowering import Lowering, Node
from .scheduling import Schedule

_HEAVIEST: tuple[KernelClass, ...] = (
    "copy",
    "transposition",
    "elementwise",
    "batch norm",
    "activation",
    "gather",
    "resampling",
    "pooling",
    "reduction",
    "softmax",
    "norm",
    "group norm",
)
"""What a kernel of several classes counts as: the last of them here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What runs as one: its kernel, and the operators that it computes."""

    kernel: Kernel
    ops: tuple[Op, ...]
    fused: bool


def fused(program: Program, *, channels_last: bool) -> Iterator[Group]:
    """The kernels of a program that was compiled, in the order in which they run.

    `channels_last` has convolutions read images and weights whose channels lie last, and what lies otherwise is
    put into that order first.
    """
    lowering = Lowering(program, channels_last)
    lowering.run()
    yield from _scheduled(lowering)


def _scheduled(lowering: Lowering) -> Iterator[Group]:
    """Nodes that share elements as one kernel each, in an order in which they can run."""
    nodes = lowering.nodes
    schedule = Schedule(nodes, lowering.buffers)
    for members in schedule.order():
        first = nodes[members[0]]
        if first.kind == "extern":
            for kernel in first.kernels:
                yield Group(kernel=kernel, ops=first.ops, fused=False)
            continue
        yield _one_kernel([nodes[index] for index in members], members, schedule, lowering)


def _one_kernel(
    nodes: list[Node], members: list[int], schedule: Schedule, lowering: Lowering
) -> Group:
    """What nodes read and make as one kernel: each buffer once, and nothing that stays among them."""
    inside = set(members)
    reads: dict[int, int] = defaultdict(int)
    writes: dict[int, int] = defaultdict(int)
    for node in nodes:
        for buffer, size in node.reads.items():
            reads[buffer] = min(reads[buffer] + size, lowering.buffers[buffer])
        for buffer, size in node.writes.items():
            writes[buffer] += size
    made_here = {buffer for buffer in writes if all(w in inside for w in schedule.writers[buffer])}
    read = sum(size for buffer, size in reads.items() if buffer not in made_here)
    written = sum(
        size
        for buffer, size in writes.items()
        if buffer in lowering.kept or any(r not in inside for r in schedule.readers[buffer])
    )
    kernels = {id(kernel): kernel for node in nodes for kernel in node.kernels}.values()
    heaviest = max(kernels, key=lambda kernel: _HEAVIEST.index(kernel.kind))
    return Group(
        kernel=Kernel(
            kind=heaviest.kind,
            part=heaviest.part,
            dtype=heaviest.dtype,
            operations=sum(kernel.operations for kernel in kernels),
            read_bytes=read,
            write_bytes=written,
        ),
        ops=tuple({id(op): op for node in nodes for op in node.ops}.values()),
        fused=True,
    )
