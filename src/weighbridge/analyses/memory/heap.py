"""The heap: which pages of a step's tensors the system has to make on a CPU, as glibc's `malloc` gives memory back.

PyTorch keeps no cache of CPU memory: every tensor is a call of `posix_memalign`, every death one of `free`. Memory
that glibc gave back to the system comes again page by page, each page zeroed when it is first touched, and that
takes as long as computing on it. What is given back follows from sizes and order alone:

- A request beyond a threshold that no free chunk holds is mapped on its own, and unmapped when it dies. The
  threshold starts at 128 KiB and rises to the largest such chunk that has died, up to 32 MiB (M_MMAP_THRESHOLD).
- Everything else lies in one heap. Free neighbours merge; the smallest chunk that is large enough is taken; what
  lies at the top and has grown beyond twice the threshold is given back (M_TRIM_THRESHOLD).

Source: glibc 2.36, malloc/malloc.c (`sysmalloc`, `_int_malloc`, `_int_free`, `_int_memalign`, `systrim`). Left out: small
chunks, which wait in lists of their own, and what Python and the kernels' libraries take.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable

from .allocator import Allocate, Free

PAGE = 4096
SMALL = 1024
"""Requests below wait in caches of their own (tcache) and are never given back."""

ALIGNMENT = 64
HEADER = 16
LEAST = 32
"""Bytes of the smallest chunk (MINSIZE)."""

FIRST_THRESHOLD = 128 * 1024
LARGEST_THRESHOLD = 32 * 2**20
PAD = 128 * 1024
"""What the heap grows beyond need, and keeps when it shrinks (M_TOP_PAD)."""


def fresh_bytes(events: Iterable[Allocate | Free]) -> dict[int, int]:
    """Bytes of pages that are made for each allocation that needs any, by its id."""
    heap = Heap()
    found: dict[int, int] = {}
    for event in events:
        if isinstance(event, Free):
            heap.free(event.id)
        elif fresh := heap.allocate(event.id, event.bytes):
            found[event.id] = fresh
    return found


class Heap:
    """One heap that grows and shrinks at its top, and the chunks that are mapped on their own."""

    def __init__(self) -> None:
        self.threshold = FIRST_THRESHOLD
        self.trim = FIRST_THRESHOLD
        self._end = 0  # of the heap's memory
        self._top = 0  # where the last chunk that is used or free below the top ends
        self._touched = 0  # below it, every page is there
        self._used: dict[int, tuple[int, int]] = {}
        self._mapped: dict[int, int] = {}
        self._free: list[tuple[int, int]] = []  # (size, address), sorted
        self._size_at: dict[int, int] = {}
        self._begin_of: dict[int, int] = {}  # a free chunk's end -> its address

    def allocate(self, id: int, request: int) -> int:
        """Takes a chunk; the bytes of the pages that are made when it is written."""
        if request < SMALL:
            return 0
        size = -(-(request + HEADER) // HEADER) * HEADER
        searched = size + ALIGNMENT + LEAST
        place = bisect_left(self._free, (searched, -1))
        if place < len(self._free):
            found, address = self._free[place]
            self._take(found, address)
            self._keep(id, address, size)
            if found - size >= LEAST:
                self._put(found - size, address + size)
            return 0
        if self._end - self._top < searched + LEAST:
            if searched >= self.threshold:
                whole = -(-(searched + HEADER) // PAGE) * PAGE
                self._mapped[id] = whole
                return whole
            self._end = -(-(self._top + searched + PAD + LEAST) // PAGE) * PAGE
        address, self._top = self._top, self._top + size
        self._keep(id, address, size)
        end = -(-self._top // PAGE) * PAGE
        fresh = max(end - max(self._touched, address // PAGE * PAGE), 0)
        self._touched = max(self._touched, end)
        return fresh

    def free(self, id: int) -> None:
        """Gives a chunk back: to the system, to its neighbours or to the top."""
        whole = self._mapped.pop(id, None)
        if whole is not None:
            if self.threshold < whole <= LARGEST_THRESHOLD:
                self.threshold, self.trim = whole, 2 * whole
            return
        if id not in self._used:
            return
        address, size = self._used.pop(id)
        before = self._begin_of.get(address)
        if before is not None:
            size += self._size_at[before]
            address = before
            self._take(self._size_at[before], before)
        after = self._size_at.get(address + size)
        if after is not None:
            self._take(after, address + size)
            size += after
        if address + size < self._top:
            self._put(size, address)
            return
        self._top = address
        if self._end - self._top >= self.trim:
            self._end = -(-(self._top + PAD + LEAST) // PAGE) * PAGE
            self._touched = min(self._touched, self._end)

    def _keep(self, id: int, address: int, size: int) -> None:
        self._used[id] = (address, size)

    def _put(self, size: int, address: int) -> None:
        insort(self._free, (size, address))
        self._size_at[address] = size
        self._begin_of[address + size] = address

    def _take(self, size: int, address: int) -> None:
        del self._free[bisect_left(self._free, (size, address))]
        del self._size_at[address]
        del self._begin_of[address + size]
