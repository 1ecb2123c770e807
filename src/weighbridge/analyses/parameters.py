"""Parameters: how many numbers the network has learnt, and what they take in memory.

Each parameter is counted once, however many modules hold it and whether or not an operator reads it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..program import Program


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Counts of numbers, and bytes as the network holds them.

    `shared` are those that more than one module holds (they are in `total` once). `buffers` are
    numbers that are kept but not trained, such as running means; `bytes` is of the parameters alone.
    """

    total: int
    trainable: int
    shared: int
    buffers: int
    bytes: int
    buffer_bytes: int

    @property
    def frozen(self) -> int:
        return self.total - self.trainable


def parameters(program: Program) -> Parameters:
    """The parameters and buffers of the network."""
    tied = set(program.aliases.values())
    return Parameters(
        total=sum(tensor.elements for tensor in program.parameters),
        trainable=sum(tensor.elements for tensor in program.parameters if tensor.trainable),
        shared=sum(tensor.elements for tensor in program.parameters if tensor.name in tied),
        buffers=sum(tensor.elements for tensor in program.buffers),
        bytes=sum(tensor.bytes for tensor in program.parameters),
        buffer_bytes=sum(tensor.bytes for tensor in program.buffers),
    )
