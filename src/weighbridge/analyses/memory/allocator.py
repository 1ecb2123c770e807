"""PyTorch's CUDA caching allocator, replayed.

The question: a training step allocates and frees; how much memory does PyTorch take from the device for it, and
where does it run out? Live bytes alone say too little: blocks are rounded, cut out of segments, and segments
are kept.

The model is the allocator itself, rule by rule (`c10/cuda/CUDACachingAllocator.cpp` of torch 2.14, struct
DeviceCachingAllocator; each function here names its own there):

- A request is rounded up to 512 bytes. At most 1 MiB goes to the small pool, more to the large one.
- The smallest free block of the pool and stream that holds it is taken, the lowest address among equals.
- On a miss a segment is taken from the device: 2 MiB, 20 MiB for requests below 10 MiB, else the request
  rounded up to 2 MiB.
- The rest of the block is cut off if it is at least 512 bytes (small) or more than 1 MiB (large). A rest that
  is not cut off counts as allocated.
- A freed block is joined with free neighbours at once. Segments stay.
- Where the device has no more, cached segments are given back and the request is tried again, then it fails.
- `expandable_segments` takes one range of addresses a pool and stream, and maps pages into it as needed.

Left out: `Tensor.record_stream` (a block in use on two streams is freed later, when the GPU is done: a matter
of time), memory pools of the user's own (`torch.cuda.MemPool`), and giving a private pool back. The device is a number of
bytes: it serves every request that fits into what is left, wherever it lies.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ...errors import UsageError, WeighError
from .blocks import Block, Cache, ExpandableSegment, Pool
from .settings import (
    MIN_BLOCK_BYTES,
    ROUND_LARGE_BYTES,
    SMALL_BYTES,
    SMALL_SEGMENT_BYTES,
    UNLIMITED_BYTES,
    AllocatorSettings,
)
from .statistics import BlockInfo, DeviceStats, Moment, OutOfMemory, SegmentInfo, Stat

UNBOUNDED_BYTES = 1 << 40
"""Stands for the device's memory where an expandable segment's addresses are reserved and no capacity is given."""


class Allocate(NamedTuple):
    """`id` comes to life with `bytes` bytes. A tuple, since a replay reads a million of them."""

    id: int
    bytes: int
    stream: int = 0
    pool: int = 0


class Free(NamedTuple):
    """`id` dies."""

    id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What came of a stream of events.

    `events` were replayed in full; where `out_of_memory` is set, the event after them failed and the replay
    ended. `at_peak_allocated` and `at_peak_reserved` are the first moments of the two peaks, `snapshots` are
    those asked for, and `segments` is the memory at the end.
    """

    events: int
    stats: DeviceStats
    at_peak_allocated: Moment
    at_peak_reserved: Moment
    out_of_memory: OutOfMemory | None
    segments: tuple[SegmentInfo, ...]
    snapshots: tuple[tuple[SegmentInfo, ...], ...]


class OutOfMemoryError(WeighError):
    """The device has no memory left for an allocation; `report` says what was asked and what was left."""

    def __init__(self, report: OutOfMemory, *hints: str) -> None:
        super().__init__(report.message, *hints)
        self.report = report

    def with_hint(self, *hints: str) -> OutOfMemoryError:
        error = OutOfMemoryError(self.report, *self.hints, *hints)
        error.__cause__ = self.__cause__ or self
        return error


def replay(
    events: Iterable[Allocate | Free],
    *,
    capacity_bytes: int | None = None,
    outside_bytes: int = 0,
    settings: AllocatorSettings | None = None,
    snapshots_after: Collection[int] = (),
) -> Replay:
    """Plays allocations and frees through PyTorch's allocator on a device of `capacity_bytes`.

    `outside_bytes` of it are taken by others: the CUDA context, other processes. Without a capacity nothing runs
    out, and a fraction of it means nothing. `snapshots_after` are places of events, from 0; a snapshot is taken after each of them that comes to
    pass. Running out of memory ends the replay and is no error; an event that makes no sense is a UsageError.
    """
    allocator = CachingAllocator(
        capacity_bytes=capacity_bytes, outside_bytes=outside_bytes, settings=settings
    )
    failure: OutOfMemory | None = None
    snapshots: list[tuple[SegmentInfo, ...]] = []
    try:
        for place, event in enumerate(events):
            if type(event) is Free:
                allocator.free(event.id)
            else:
                allocator.allocate(*event)
            if place in snapshots_after:
                snapshots.append(allocator.snapshot())
    except OutOfMemoryError as error:
        failure = error.report
    return Replay(
        events=allocator.events,
        stats=allocator.stats(),
        at_peak_allocated=allocator.at_peak_allocated,
        at_peak_reserved=allocator.at_peak_reserved,
        out_of_memory=failure,
        segments=allocator.snapshot(),
        snapshots=tuple(snapshots),
    )


class CachingAllocator:
    """The allocator of one device, event by event.

    `events` counts those that succeeded. After an OutOfMemoryError it can be used on: what was cached has been
    given back and nothing was allocated.
    """

    def __init__(
        self,
        *,
        capacity_bytes: int | None = None,
        outside_bytes: int = 0,
        settings: AllocatorSettings | None = None,
    ) -> None:
        if capacity_bytes is not None and capacity_bytes <= 0:
            raise UsageError(f"a device of {capacity_bytes} bytes; expected more than none")
        if outside_bytes < 0:
            raise UsageError(f"{outside_bytes} bytes outside the allocator; expected none or more")
        self._settings = settings or AllocatorSettings()
        self._capacity = capacity_bytes
        self._outside = outside_bytes
        self._allowed = self._allowed_memory_maximum()
        # PyTorch collects garbage only where a fraction of the device is allowed (malloc, get_free_block).
        self._collects = self._allowed is not None and bool(
            self._settings.garbage_collection_threshold
        )
        self._expandable = self._settings.expandable_segments
        self._max_split = self._settings.max_split_bytes
        self._next_address = 0
        self._live: dict[int, Block | None] = {}
        self._sizes: dict[int, int] = {}
        self._pools: dict[tuple[int, bool], Pool] = {}
        self._caches: dict[tuple[int, int, bool], Cache] = {}
        self._start_counting()

    def _allowed_memory_maximum(self) -> int | None:
        """Source: setMemoryFraction: a fraction of the whole device, and none where all of it is allowed."""
        fraction = self._settings.per_process_memory_fraction
        if fraction == 1 or self._capacity is None:
            return None
        return int(fraction * self._capacity)

    def _start_counting(self) -> None:
        self.events = 0
        self._allocation = self._allocation_peak = 0
        self._allocated = self._allocated_peak = 0
        self._requested = self._requested_peak = 0
        self._reserved = self._reserved_peak = 0
        self._segment = self._segment_peak = 0
        self._inactive_split = self._inactive_split_peak = 0
        self._inactive = self._inactive_peak = 0
        self._retries = self._ooms = 0
        self._device_allocs = self._device_frees = 0
        self._splits = self._merges = 0
        # A new peak comes with nearly every event on the way up: plain numbers, made a Moment when asked for.
        self._at_peak_allocated = self._at_peak_reserved = (-1, 0, 0, 0, 0)

    # -- what users call ---------------------------------------------------------------------------

    def allocate(self, id: int, bytes: int, stream: int = 0, pool: int = 0) -> None:
        """Hands out a block of at least `bytes` bytes as `id` (malloc).

        `pool` 0 is the default one; another number is a private pool, as a CUDA graph under capture has it.
        Nothing is handed out for no bytes. Raises OutOfMemoryError, and UsageError for an id that is alive.
        """
        if id in self._live:
            raise UsageError(f"event {self.events} allocates {id}, which is alive already")
        if bytes <= 0:
            self._allocate_nothing(id, bytes)
            return
        size = self._sizes.get(bytes)
        if size is None:
            size = self._sizes[bytes] = self._settings.round_size(bytes)
        cache = self._caches.get((stream, pool, size <= SMALL_BYTES))
        if cache is None:
            cache = self._new_cache(stream, pool, size <= SMALL_BYTES)
        block = self._best_fit(cache, size) or self._new_block(cache, size, id, bytes)
        self._hand_out(block, size)
        block.requested = bytes
        self._live[id] = block

        # The figures are counted here and not in a function: this runs a million times.
        self._allocation += 1
        if self._allocation > self._allocation_peak:
            self._allocation_peak = self._allocation
        self._requested += bytes
        if self._requested > self._requested_peak:
            self._requested_peak = self._requested
        allocated = self._allocated = self._allocated + block.size
        if allocated > self._allocated_peak:
            self._allocated_peak = allocated
            self._at_peak_allocated = self._now()
        if self._reserved > self._at_peak_reserved[3]:
            self._at_peak_reserved = self._now()
        self.events += 1

    def free(self, id: int) -> None:
        """Takes the block of `id` back and joins it with free neighbours (free_block).

        Raises UsageError for an id that is not alive.
        """
        try:
            block = self._live.pop(id)
        except KeyError:
            raise UsageError(f"event {self.events} frees {id}, which is not alive") from None
        self.events += 1
        if block is None:
            return
        self._allocation -= 1
        self._allocated -= block.size
        self._requested -= block.requested
        block.allocated = False

        cache = block.cache
        inactive_split = inactive = 0
        before, after = block.prev, block.next
        if before is not None and before.mapped and not before.allocated:
            cache.remove(before)
            inactive_split, inactive = -1, -before.size
            before.absorb(block)
            block = before
            self._merges += 1
        if after is not None and after.mapped and not after.allocated:
            cache.remove(after)
            inactive_split, inactive = inactive_split - 1, inactive - after.size
            block.absorb(after)
            self._merges += 1
        cache.put(block)
        if block.expandable is not None:
            return  # its whole pages can always be given back: not counted as inactive
        if block.prev is not None or block.next is not None:
            inactive_split, inactive = inactive_split + 1, inactive + block.size
        self._count_inactive(inactive_split, inactive)

    def empty_cache(self) -> None:
        """`torch.cuda.empty_cache()`: gives back every segment that is free as a whole (release_cached_blocks)."""
        for small in (False, True):
            if pool := self._pools.get((0, small)):
                self._release_blocks(pool)

    def stats(self) -> DeviceStats:
        """The figures so far."""
        return DeviceStats(
            allocation=Stat(current=self._allocation, peak=self._allocation_peak),
            segment=Stat(current=self._segment, peak=self._segment_peak),
            inactive_split=Stat(current=self._inactive_split, peak=self._inactive_split_peak),
            allocated_bytes=Stat(current=self._allocated, peak=self._allocated_peak),
            requested_bytes=Stat(current=self._requested, peak=self._requested_peak),
            reserved_bytes=Stat(current=self._reserved, peak=self._reserved_peak),
            inactive_split_bytes=Stat(current=self._inactive, peak=self._inactive_peak),
            num_alloc_retries=self._retries,
            num_ooms=self._ooms,
            num_device_alloc=self._device_allocs,
            num_device_free=self._device_frees,
            splits=self._splits,
            merges=self._merges,
        )

    @property
    def at_peak_allocated(self) -> Moment:
        """The first moment at which as much was allocated as ever."""
        return _moment(self._at_peak_allocated)

    @property
    def at_peak_reserved(self) -> Moment:
        """The first moment after an event at which as much was reserved as ever after one."""
        return _moment(self._at_peak_reserved)

    def snapshot(self) -> tuple[SegmentInfo, ...]:
        """The segments and their blocks now, by address (snapshot)."""
        blocks = [block for block in self._live.values() if block is not None]
        blocks += [block for cache in self._caches.values() for _, _, block in cache.free]
        heads = [block for block in blocks if block.prev is None or not block.prev.mapped]
        return tuple(map(_segment_info, sorted(heads, key=lambda block: block.address)))

    # -- from the cache ------------------------------------------------------------------------------

    def _allocate_nothing(self, id: int, bytes: int) -> None:
        if bytes < 0:
            raise UsageError(f"event {self.events} allocates {bytes} bytes; expected none or more")
        self._live[id] = None
        self.events += 1

    def _new_cache(self, stream: int, pool: int, is_small: bool) -> Cache:
        """Source: get_pool."""
        if (pool, is_small) not in self._pools:
            self._pools[pool, is_small] = Pool(id=pool, is_small=is_small)
        cache = self._pools[pool, is_small].cache(stream)
        self._caches[stream, pool, is_small] = cache
        return cache

    def _best_fit(self, cache: Cache, size: int) -> Block | None:
        """The smallest free block that holds `size` bytes, taken out of the cache (get_free_block)."""
        if self._collects:
            cache.pool.searches += 1
        free = cache.free
        place = bisect_left(free, (size,))
        if place == len(free):
            return None
        if self._expandable:
            place = _smallest_to_expand(free, place)
        found = free[place][2]
        if self._max_split != UNLIMITED_BYTES and not self._suits(found.size, size):
            return None
        del free[place]
        return found

    def _suits(self, found: int, size: int) -> bool:
        """A block of `max_split_size` or more is not for smaller requests, nor for much smaller ones of its kind."""
        if size < self._max_split:
            return found < self._max_split
        return found < size + self._settings.max_non_split_rounding_bytes

    def _hand_out(self, block: Block, size: int) -> None:
        """Marks a block as used and puts what is left of it into the cache (alloc_found_block)."""
        block.allocated = True
        was_split = block.prev is not None or block.next is not None
        counted = block.expandable is None
        if self._should_split(block, size):
            rest = block.cut(size)
            block.cache.put(rest)
            self._splits += 1
            if counted and was_split:
                self._inactive -= size
            elif counted:
                self._count_inactive(1, rest.size)
        elif counted and was_split:
            self._inactive_split -= 1
            self._inactive -= block.size

    def _should_split(self, block: Block, size: int) -> bool:
        """Source: should_split."""
        rest = block.size - size
        if block.cache.pool.is_small or self._expandable:
            return rest >= MIN_BLOCK_BYTES
        return rest > SMALL_BYTES and size < self._max_split

    def _count_inactive(self, blocks: int, bytes: int) -> None:
        self._inactive_split += blocks
        if self._inactive_split > self._inactive_split_peak:
            self._inactive_split_peak = self._inactive_split
        self._inactive += bytes
        if self._inactive > self._inactive_peak:
            self._inactive_peak = self._inactive

    def _now(self) -> tuple[int, int, int, int, int]:
        return (self.events, self._allocated, self._requested, self._reserved, self._inactive)

    # -- from the device -----------------------------------------------------------------------------

    def _new_block(self, cache: Cache, size: int, id: int, requested_bytes: int) -> Block:
        """A block of new memory, after giving cached memory back if there is no other way (malloc)."""
        segment_size = self._settings.segment_size(size)
        if self._collects:
            self._garbage_collect_cached_blocks()
        block = self._alloc_block(cache, size, segment_size)
        if block is None and self._release_available_cached_blocks(cache, size):
            block = self._alloc_block(cache, size, segment_size)
        if block is None and cache.pool.id == 0:  # while a graph is captured nothing may be freed
            self.empty_cache()
            self._retries += 1
            block = self._alloc_block(cache, size, segment_size)
        if block is None:
            self._ooms += 1
            raise OutOfMemoryError(self._out_of_memory(id, requested_bytes, size, segment_size))
        return block

    def _alloc_block(self, cache: Cache, size: int, segment_size: int) -> Block | None:
        """A new segment, or an expandable one's next pages; None if there is no room (alloc_block)."""
        if self._allowed is not None and self._reserved + segment_size > self._allowed:
            return None
        if self._expandable:
            return self._try_allocate_expandable_block(cache, size)
        if not self._has(segment_size):
            return None
        self._reserve(segment_size)
        self._segment += 1
        if self._segment > self._segment_peak:
            self._segment_peak = self._segment
        return Block(self._new_address(segment_size), segment_size, cache)

    def _has(self, bytes: int) -> bool:
        """Whether the device has so much left."""
        return self._capacity is None or self._reserved + self._outside + bytes <= self._capacity

    def _reserve(self, bytes: int) -> None:
        self._device_allocs += 1
        self._reserved += bytes
        if self._reserved > self._reserved_peak:
            self._reserved_peak = self._reserved

    def _give_back(self, bytes: int) -> None:
        self._device_frees += 1
        self._reserved -= bytes

    def _new_address(self, size: int) -> int:
        """The next address that was never used, a multiple of 2 MiB."""
        address = self._next_address
        self._next_address += -(-size // ROUND_LARGE_BYTES) * ROUND_LARGE_BYTES
        return address

    def _release_block(self, block: Block) -> None:
        """Gives a segment back to the device (release_block)."""
        self._give_back(block.size)
        self._segment -= 1
        block.cache.remove(block)

    def _release_blocks(self, pool: Pool) -> None:
        """Gives back what is free as a whole: segments, and pages of expandable ones (release_blocks)."""
        blocks = [block for cache in pool.caches.values() for _, _, block in cache.free]
        for block in blocks:
            if block.expandable is not None:
                self._unmap_block(block)
            elif not block.is_split:
                self._release_block(block)

    def _release_available_cached_blocks(self, cache: Cache, size: int) -> bool:
        """Under `max_split_size`, gives back oversize blocks until they add up to what is needed.

        The smallest that is large enough by itself, else from the largest down. Says whether it was enough.
        Source: release_available_cached_blocks.
        """
        if self._max_split == UNLIMITED_BYTES:
            return False
        needed = max(size, self._max_split)
        place = bisect_left(cache.free, (needed,))
        if place < len(cache.free) and cache.free[place][2].expandable is None:
            self._release_block(cache.free[place][2])
            return True
        released = 0
        for _, _, block in reversed(cache.free[:place]):
            if released >= needed or block.size < self._max_split:
                break
            if block.expandable is None:
                released += block.size
                self._release_block(block)
        return released >= needed

    def _garbage_collect_cached_blocks(self) -> None:
        """Gives back the free segments that have waited longest, while more than the threshold is reserved.

        Age is the number of searches in the pool since a block came into it. Those of at least the mean age go
        first, all of them; then again, until enough is given back.
        Source: garbage_collect_cached_blocks.
        """
        allowed, pool = self._allowed, self._pools.get((0, False))
        if allowed is None or pool is None:
            return
        threshold = int(self._settings.garbage_collection_threshold * allowed)
        target = self._reserved - threshold
        blocks = [
            block
            for cache in pool.caches.values()
            for _, _, block in cache.free
            if not block.is_split
        ]
        while target > 0 and blocks:
            ages = {id(block): pool.searches - block.age for block in blocks}
            mean = sum(ages.values()) / len(blocks)
            for block in blocks:
                if ages[id(block)] >= mean:
                    target -= block.size
                    self._release_block(block)
            blocks = [block for block in blocks if ages[id(block)] < mean]

    # -- expandable segments -------------------------------------------------------------------------

    def _try_allocate_expandable_block(self, cache: Cache, size: int) -> Block | None:
        """Maps pages until a free block holds `size` bytes; None if the device has too few.

        Source: try_allocate_expandable_block. Pages mapped before the failure stay, as free blocks.
        """
        block: Block | None = self._find_expandable_block(cache, size)
        assert block is not None
        if not block.mapped:
            block = self._map_block(block, min(block.size, size))
        while block is not None and block.size < size:
            following = block.next
            assert following is not None, "room for the whole size was looked for"
            block = self._map_block(following, min(following.size, size - block.size))
        if block is not None:
            cache.remove(block)
        return block

    def _find_expandable_block(self, cache: Cache, size: int) -> Block:
        """The lowest stretch of free and unmapped addresses that has room (find_expandable_block)."""
        for _, unmapped in cache.unmapped:
            before = unmapped.prev
            start = unmapped if before is None or before.allocated else before
            if _has_room(start, size):
                return start
        return self._new_expandable_segment(cache)

    def _new_expandable_segment(self, cache: Cache) -> Block:
        """Addresses for 1 1/8 of the device's memory, nothing mapped yet (struct ExpandableSegment)."""
        small = cache.pool.is_small
        page = SMALL_SEGMENT_BYTES if small else self._settings.large_segment_bytes
        total = UNBOUNDED_BYTES if self._capacity is None else self._capacity
        size = -(-(total + total // 8) // page) * page
        segment = ExpandableSegment(self._new_address(size), size, page)
        block = Block(segment.address, size, cache, segment)
        block.mapped = False
        cache.put_unmapped(block)
        return block

    def _map_block(self, block: Block, size: int) -> Block | None:
        """Puts memory behind the first `size` bytes, in whole pages; None if there is not enough (map_block).

        Returns the free block that these pages are now part of.
        """
        assert block.expandable is not None
        mapped = block.expandable.covering(block.address, size)
        if not self._has(mapped):
            return None
        cache = block.cache
        cache.remove_unmapped(block)
        if mapped < block.size:
            cache.put_unmapped(block.cut(mapped))
        block.mapped = True
        before, after = block.prev, block.next
        if before is not None and before.mapped and not before.allocated:
            cache.remove(before)
            before.absorb(block)
            block = before
        if after is not None and after.mapped and not after.allocated:
            cache.remove(after)
            block.absorb(after)
        cache.put(block)
        self._reserve(mapped)
        return block

    def _unmap_block(self, block: Block) -> None:
        """Gives the pages back that lie whole in a free block (unmap_block)."""
        assert block.expandable is not None
        begin, end = block.expandable.within(block.address, block.size)
        if begin == end:
            return
        cache = block.cache
        cache.remove(block)
        if begin > block.address:
            front, block = block, block.cut(begin - block.address)
            cache.put(front)
        if end < block.address + block.size:
            cache.put(block.cut(end - begin))
        block.mapped = False
        before, after = block.prev, block.next
        if before is not None and not before.mapped:
            cache.remove_unmapped(before)
            before.absorb(block)
            block = before
        if after is not None and not after.mapped:
            cache.remove_unmapped(after)
            block.absorb(after)
        if block.is_split:  # else the whole segment is empty, and its addresses are given up
            cache.put_unmapped(block)
        self._give_back(end - begin)

    # -- when it fails -------------------------------------------------------------------------------

    def _out_of_memory(self, id: int, requested: int, size: int, segment_size: int) -> OutOfMemory:
        assert self._capacity is not None, "nothing runs out without a capacity"
        caches = self._caches.values()
        return OutOfMemory(
            event=self.events,
            id=id,
            requested_bytes=requested,
            size=size,
            segment_size=segment_size,
            capacity_bytes=self._capacity,
            allowed_bytes=self._allowed,
            outside_bytes=self._outside,
            free_bytes=max(self._capacity - self._outside - self._reserved, 0),
            allocated_bytes=self._allocated,
            reserved_bytes=self._reserved,
            private_pool_bytes=sum(
                size for cache in caches if cache.pool.id for size, _, _ in cache.free
            ),
            largest_free_block=max(
                (cache.free[-1][0] for cache in caches if cache.free), default=0
            ),
            expandable_segments=self._expandable,
        )


def _smallest_to_expand(free: Sequence[tuple[int, int, Block]], place: int) -> int:
    """From the best fit on, the block that could grow to the smallest size, while that size falls.

    A block before unmapped addresses can grow into them, and counts as large as that (get_free_block).
    """
    while place + 1 < len(free) and _could_be(free[place + 1][2]) < _could_be(free[place][2]):
        place += 1
    return place


def _could_be(block: Block) -> int:
    following = block.next
    return block.size + (following.size if following is not None and not following.mapped else 0)


def _has_room(block: Block | None, size: int) -> bool:
    found = 0
    while found < size and block is not None and not block.allocated:
        found += block.size
        block = block.next
    return found >= size


def _moment(figures: tuple[int, int, int, int, int]) -> Moment:
    event, allocated, requested, reserved, inactive_split = figures
    return Moment(
        event=event,
        allocated_bytes=allocated,
        requested_bytes=requested,
        reserved_bytes=reserved,
        inactive_split_bytes=inactive_split,
    )


def _mapped_from(head: Block) -> Iterator[Block]:
    block: Block | None = head
    while block is not None and block.mapped:
        yield block
        block = block.next


def _segment_info(head: Block) -> SegmentInfo:
    blocks = tuple(
        BlockInfo(
            address=block.address,
            size=block.size,
            requested_size=block.requested if block.allocated else 0,
            state="active_allocated" if block.allocated else "inactive",
        )
        for block in _mapped_from(head)
    )
    handed_out = [block for block in blocks if block.state == "active_allocated"]
    return SegmentInfo(
        address=head.address,
        total_size=sum(block.size for block in blocks),
        allocated_size=sum(block.size for block in handed_out),
        requested_size=sum(block.requested_size for block in handed_out),
        stream=head.cache.stream,
        pool=head.cache.pool.id,
        segment_type="small" if head.cache.pool.is_small else "large",
        is_expandable=head.expandable is not None,
        blocks=blocks,
    )
