"""Scheduling: of the kernels that were found, those that become one, and the order in which they run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from heapq import heapify, heappop, heappush

from .lowering import Node

FARTHEST = 64
"""Kernels that share no more than what they read become one where no more others than this stand between them."""

MOST = 64
"""A kernel holds at most so many of those that were found."""


class Schedule:
    """Kernels that become one: each as it is found joins those before it with which it shares most."""

    def __init__(self, nodes: list[Node], sizes: Mapping[int, int]) -> None:
        self.nodes = nodes
        self.sizes = sizes  # of buffers
        self.group: list[int] = []  # of a node
        self.members: dict[int, list[int]] = {}
        self.needs: dict[int, set[int]] = {}  # groups that must run before
        self.needed: dict[int, set[int]] = {}
        self.depth: dict[int, int] = {}  # groups on the longest way there
        self.writers: dict[int, list[int]] = defaultdict(list)
        self.readers: dict[int, list[int]] = defaultdict(list)
        for index in range(len(nodes)):
            self._enter(index)

    def _enter(self, index: int) -> None:
        node = self.nodes[index]
        needs = {self.group[other] for buffer in node.reads for other in self.writers[buffer]}
        self.group.append(index)
        self.members[index] = [index]
        self.needs[index] = needs
        self.needed[index] = set()
        self.depth[index] = 1 + max((self.depth[other] for other in needs), default=0)
        for other in needs:
            self.needed[other].add(index)
        if node.kind != "extern":
            for other in self._candidates(index):
                here = self.group[index]
                if other in self.members and other != here and self._may_join(other, here):
                    self._join(other, here)
        for buffer in node.writes:
            self.writers[buffer].append(index)
        for buffer in node.reads:
            self.readers[buffer].append(index)

    def _candidates(self, index: int) -> list[int]:
        """Groups that a node shares bytes with, most first; parts of a buffer are likely other parts."""
        node = self.nodes[index]
        shared: dict[int, int] = defaultdict(int)
        for buffer, size in node.reads.items():
            if size < self.sizes[buffer]:
                continue
            near = [
                other
                for other in self.readers[buffer]
                if index - other <= FARTHEST and self.nodes[other].reads[buffer] == size
            ]
            for group in {self.group[other] for other in (*self.writers[buffer], *near)}:
                if self.nodes[group].kind != "extern":
                    shared[group] += size
        return sorted(shared, key=lambda group: (-shared[group], -group))

    def _may_join(self, one: int, other: int) -> bool:
        mine, yours = self.members[one], self.members[other]
        return (
            len(mine) + len(yours) <= MOST
            and _alike(self._loop(one), self._loop(other))
            and not self._reads_elsewhere(mine, yours)
            and not self._leads(one, other)
            and not self._leads(other, one)
        )

    def _loop(self, group: int) -> Node:
        """The node that the others of a group go by: a reduction, if there is one."""
        return max(
            (self.nodes[index] for index in self.members[group]), key=lambda node: node.space[1]
        )

    def _reads_elsewhere(self, mine: list[int], yours: list[int]) -> bool:
        """Whether one reads what the other makes at other places than it is made at."""
        for some, others in ((mine, yours), (yours, mine)):
            made = {buffer for index in others for buffer in self.nodes[index].writes}
            if any(made & self.nodes[index].elsewhere for index in some):
                return True
        return False

    def _leads(self, first: int, last: int) -> bool:
        """Whether something else must run after `first` and before `last`."""
        seen: set[int] = set()
        stack = [group for group in self.needs[last] if group != first]
        while stack:
            group = stack.pop()
            if group == first:
                return True
            if group in seen or self.depth[group] <= self.depth[first]:
                continue
            seen.add(group)
            stack += self.needs[group]
        return False

    def _join(self, one: int, other: int) -> None:
        for index in self.members[other]:
            self.group[index] = one
        self.members[one] += self.members.pop(other)
        pair = {one, other}
        needs = (self.needs[one] | self.needs.pop(other)) - pair
        needed = (self.needed[one] | self.needed.pop(other)) - pair
        for group in needs:
            self.needed[group] = (self.needed[group] - pair) | {one}
        for group in needed:
            self.needs[group] = (self.needs[group] - pair) | {one}
        self.needs[one], self.needed[one] = needs, needed
        self.depth[one] = max(self.depth[one], self.depth.pop(other))
        self._deepen(one)

    def _deepen(self, group: int) -> None:
        stack = [group]
        while stack:
            here = stack.pop()
            depth = 1 + max((self.depth[other] for other in self.needs[here]), default=0)
            if depth > self.depth[here] or here == group:
                self.depth[here] = max(depth, self.depth[here])
                stack += (
                    other for other in self.needed[here] if self.depth[other] <= self.depth[here]
                )

    def order(self) -> Iterator[list[int]]:
        """The groups as they can run: the earliest first."""
        waits = {group: len(needs) for group, needs in self.needs.items()}
        ready = [group for group, count in waits.items() if count == 0]
        heapify(ready)
        while ready:
            group = heappop(ready)
            yield sorted(self.members[group])
            for other in self.needed[group]:
                waits[other] -= 1
                if waits[other] == 0:
                    heappush(ready, other)


def _alike(one: Node, other: Node) -> bool:
    """Whether one loop runs over both: over the same elements, or one over the results of the other's reductions."""
    if one.space == other.space:
        return True
    if one.kind == other.kind:
        return False
    reducing, plain = (one, other) if one.kind == "reduction" else (other, one)
    (results, each), (elements, _) = reducing.space, plain.space
    return elements == results or (reducing.in_order and elements == results * each)
