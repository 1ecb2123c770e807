"""Blocks of memory and the pools that cached ones wait in: the allocator's moving parts.

These change as the replay goes on and stay inside it; what it hands out are the frozen records of `statistics`.
"""

from __future__ import annotations

from bisect import bisect_left, insort


class Block:
    """A stretch of a segment, with its neighbours (struct Block, CUDACachingAllocator.cpp).

    `mapped` is False for a stretch of an expandable segment's addresses that has no memory behind it.
    `age` is the pool's count of searches when the block came into it.
    """

    __slots__ = (
        "address", "age", "allocated", "cache", "expandable", "mapped", "next", "prev", "requested",
        "size",
    )  # fmt: skip

    def __init__(
        self, address: int, size: int, cache: Cache, expandable: ExpandableSegment | None = None
    ) -> None:
        self.address = address
        self.size = size
        self.cache = cache
        self.expandable = expandable
        self.requested = 0
        self.allocated = False
        self.mapped = True
        self.age = 0
        self.prev: Block | None = None
        self.next: Block | None = None

    @property
    def is_split(self) -> bool:
        """Whether it is only a part of its segment."""
        return self.prev is not None or self.next is not None

    def cut(self, size: int) -> Block:
        """Shrinks to `size` and returns the rest, a block of its own behind it."""
        rest = Block(self.address + size, self.size - size, self.cache, self.expandable)
        rest.mapped = self.mapped
        rest.prev = self
        following = rest.next = self.next
        if following is not None:
            following.prev = rest
        self.next = rest
        self.size = size
        return rest

    def absorb(self, following: Block) -> None:
        """Takes in the block behind it (try_merge_blocks); the inverse of `cut`."""
        self.size += following.size
        after = self.next = following.next
        if after is not None:
            after.prev = self


class ExpandableSegment:
    """A range of addresses that memory is mapped into page by page (struct ExpandableSegment).

    2 MiB pages for the small pool, 20 MiB pages (`large_segment_size_mb`) for the large one.
    """

    __slots__ = ("address", "page", "size")

    def __init__(self, address: int, size: int, page: int) -> None:
        self.address = address
        self.size = size
        self.page = page

    def covering(self, address: int, size: int) -> int:
        """Bytes of the pages that a stretch touches; it begins with a page."""
        last = -(-(address + size - self.address) // self.page)
        return self.address + last * self.page - address

    def within(self, address: int, size: int) -> tuple[int, int]:
        """Begin and end of the pages that lie whole in a stretch; an empty range if none does."""
        first = -(-(address - self.address) // self.page)
        last = (address + size - self.address) // self.page
        return self.address + first * self.page, self.address + max(first, last) * self.page


class Pool:
    """Small or large blocks, of the default pool or of a private one (struct BlockPool).

    Its blocks are kept apart by stream: one stream's cached block is of no use to another.
    """

    __slots__ = ("caches", "id", "is_small", "searches")

    def __init__(self, *, id: int, is_small: bool) -> None:
        self.id = id
        self.is_small = is_small
        self.caches: dict[int, Cache] = {}
        self.searches = 0

    def cache(self, stream: int) -> Cache:
        """The cached blocks of one stream."""
        if stream not in self.caches:
            self.caches[stream] = Cache(self, stream)
        return self.caches[stream]


class Cache:
    """The free blocks of one pool and stream.

    `free` is sorted by (size, address), so that the first one from a size on is the best fit; `unmapped`,
    by address. PyTorch's std::set is a sorted list here: a few hundred entries, found by bisection.
    """

    __slots__ = ("free", "pool", "stream", "unmapped")

    def __init__(self, pool: Pool, stream: int) -> None:
        self.pool = pool
        self.stream = stream
        self.free: list[tuple[int, int, Block]] = []
        self.unmapped: list[tuple[int, Block]] = []

    def put(self, block: Block) -> None:
        """Takes a free block in (insert_into_blocks)."""
        block.age = self.pool.searches
        insort(self.free, (block.size, block.address, block))

    def remove(self, block: Block) -> None:
        """Lets go of a free block."""
        free = self.free
        del free[bisect_left(free, (block.size, block.address))]

    def put_unmapped(self, block: Block) -> None:
        """Takes in a stretch of addresses without memory."""
        insort(self.unmapped, (block.address, block))

    def remove_unmapped(self, block: Block) -> None:
        """Lets go of a stretch of addresses without memory."""
        del self.unmapped[bisect_left(self.unmapped, (block.address,))]
