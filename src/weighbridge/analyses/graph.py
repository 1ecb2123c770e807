"""The graph of a forward pass: which operator reads what which other made, and the calls of modules that hold them.

A module that is called twice is two calls, so that what is read was always made earlier: the graph has no circle at any
level. Calls that follow each other and are alike, operator by operator, are one with `copies`: the blocks of a
transformer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ..program import Op, Program

INPUT = -1
"""Stands in for the place of an operator where an input of the network is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A module while it runs: the operators from `begin` to before `end`, and what it runs inside, in order.

    Of `copies` that follow each other, `scope` and `inside` are the first one's, `last` the last one's scope.
    """

    scope: str
    last: str
    begin: int
    end: int
    copies: int
    inside: tuple[Part, ...]


Part = Call | int
"""What runs inside a call: another, or an operator of its own by its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """The operators of a forward pass, for each the places of those whose results it reads, and their calls."""

    ops: tuple[Op, ...]
    reads: tuple[tuple[int, ...], ...]
    inside: tuple[Part, ...]


def graph(program: Program) -> Graph:
    """The graph of a program's forward pass."""
    ops = tuple(op for op in program.ops if op.phase == "forward")
    reads = tuple(_reads(ops))
    return Graph(ops=ops, reads=reads, inside=_Calls(ops, reads).parts("", 0, len(ops)))


def _reads(ops: Sequence[Op]) -> Iterator[tuple[int, ...]]:
    made: dict[int, int] = {}
    for place, op in enumerate(ops):
        found = {
            made.get(tensor.id, INPUT if tensor.role == "input" else None) for tensor in op.inputs
        }
        yield tuple(sorted(each for each in found if each is not None))
        made |= {tensor.id: place for tensor in op.outputs}


class _Calls:
    def __init__(self, ops: Sequence[Op], reads: Sequence[tuple[int, ...]]) -> None:
        self.ops = ops
        self.reads = reads

    def parts(self, scope: str, begin: int, end: int) -> tuple[Part, ...]:
        """What runs in a module between two places: a call wherever a child begins, and its own operators."""
        found: list[Part] = []
        place = begin
        while place < end:
            child = _child(scope, self.ops[place].scope)
            if child is None:
                found.append(place)
                place += 1
                continue
            after = place + 1
            while after < end and _child(scope, self.ops[after].scope) == child:
                after += 1
            self._add(found, child, place, after)
            place = after
        return tuple(found)

    def _add(self, found: list[Part], scope: str, begin: int, end: int) -> None:
        """A call more, or a copy more of the call before it."""
        before = found[-1] if found else None
        if isinstance(before, Call) and before.end == begin:
            length = (before.end - before.begin) // before.copies
            first = before.begin + length
            if self._follows(before, length, begin, end) and (
                self._shape(scope, begin, end) == self._shape(before.scope, before.begin, first)
            ):
                found[-1] = replace(before, last=scope, end=end, copies=before.copies + 1)
                return
        inside = self.parts(scope, begin, end)
        found.append(Call(scope=scope, last=scope, begin=begin, end=end, copies=1, inside=inside))

    def _follows(self, before: Call, length: int, begin: int, end: int) -> bool:
        """Whether a call is as long as a copy of the one before it, and reads what the last copy made."""
        reads = (read for place in range(begin, end) for read in self.reads[place])
        return end - begin == length and any(begin - length <= read < begin for read in reads)

    def _shape(self, scope: str, begin: int, end: int) -> list[tuple[object, ...]]:
        """What the operators are and read of each other, whatever the module is called."""
        return [
            (
                op.kind,
                op.scope.removeprefix(scope),
                tuple(tensor.shape for tensor in op.outputs),
                tuple(max(read - begin, INPUT) for read in reads),
            )
            for op, reads in zip(self.ops[begin:end], self.reads[begin:end], strict=True)
        ]


def _child(scope: str, of: str) -> str | None:
    """The module directly below `scope` in which `of` lies; None for `scope` itself, and for what lies elsewhere."""
    prefix = f"{scope}." if scope else ""
    if of == scope or not of.startswith(prefix):
        return None
    return prefix + of[len(prefix) :].partition(".")[0]
