"""The allocator's replay under random events: what must hold after every one of them, whatever it was."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.analyses.memory import (
    Allocate,
    AllocatorSettings,
    CachingAllocator,
    Free,
    OutOfMemoryError,
    replay,
)

MIB = 1 << 20
SIZES = st.one_of(
    st.integers(0, 4096),
    st.integers(1, 2 * MIB),
    st.integers(1, 64 * MIB),
    st.sampled_from([512, MIB, MIB + 1, 10 * MIB, 11 * MIB, 20 * MIB]),
)
SETTINGS = st.builds(
    AllocatorSettings,
    expandable_segments=st.booleans(),
    max_split_bytes=st.sampled_from([20 * MIB, 40 * MIB, 1 << 62]),
    roundup_power2_divisions=st.sampled_from([(0,) * 16, (4,) * 16, (8, 2) * 8]),
    garbage_collection_threshold=st.sampled_from([0.0, 0.4]),
    per_process_memory_fraction=st.sampled_from([1.0, 0.7]),
)
CAPACITIES = st.sampled_from([None, 60 * MIB, 150 * MIB, 1000 * MIB])


@st.composite
def events(draw, *, streams=(0, 7)):
    """Allocations, and frees of what is alive, in any order."""
    alive, found = [], []
    for id in range(draw(st.integers(1, 40))):
        if alive and draw(st.booleans()):
            found.append(Free(alive.pop(draw(st.integers(0, len(alive) - 1)))))
            continue
        found.append(Allocate(id, draw(SIZES), draw(st.sampled_from(streams)), 0))
        alive.append(id)
    return found


def play(allocator, found, emptied=()):
    """After each event: (event, whether it failed); what ran out of memory is not freed later.

    Before the events at the places `emptied` the cache is given back.
    """
    failed = set()
    for place, event in enumerate(found):
        if place in emptied:
            allocator.empty_cache()
        if isinstance(event, Free):
            if event.id not in failed:
                allocator.free(event.id)
            yield event, event.id in failed
            continue
        try:
            allocator.allocate(*event)
        except OutOfMemoryError:
            failed.add(event.id)
        yield event, event.id in failed


@given(events(), SETTINGS, CAPACITIES, st.sets(st.integers(0, 40), max_size=4))
@settings(max_examples=150, deadline=None)
def test_bytes_are_conserved_and_blocks_do_not_overlap(found, configuration, capacity, emptied):
    allocator = CachingAllocator(capacity_bytes=capacity, settings=configuration)
    alive = {}
    for event, failed in play(allocator, found, emptied):
        if isinstance(event, Free):
            alive.pop(event.id, None)
        elif not failed and event.bytes:
            alive[event.id] = event.bytes
        check(allocator, alive, capacity)
        check_sizes(allocator, configuration)


def check_sizes(allocator, configuration):
    """Each block is in the pool of its size, and not much larger than it has to be."""
    for segment in allocator.snapshot():
        for block in segment.blocks:
            if block.state == "inactive":
                continue
            needed = configuration.round_size(block.requested_size)
            assert (segment.segment_type == "small") == (needed <= MIB)
            if configuration.expandable_segments or segment.segment_type == "small":
                assert block.size == needed
            elif configuration.max_split_bytes > 1 << 50:
                assert needed <= block.size <= needed + MIB
            else:
                assert needed <= block.size < needed + 20 * MIB


def check(allocator, alive, capacity):
    stats, snapshot = allocator.stats(), allocator.snapshot()
    end = 0
    for segment in snapshot:
        assert segment.address >= end  # segments lie one behind the other
        end = segment.address
        for block in segment.blocks:
            assert block.address == end  # blocks fill them
            assert block.address % 512 == block.size % 512 == 0
            assert block.size > 0
            assert block.requested_size <= block.size
            end += block.size
        assert end - segment.address == segment.total_size
        states = [block.state for block in segment.blocks]
        assert ("inactive", "inactive") not in pairwise(states)  # all joined
    used = [
        block.requested_size
        for segment in snapshot
        for block in segment.blocks
        if block.state == "active_allocated"
    ]
    assert sorted(used) == sorted(alive.values())  # each in a block of its own
    assert stats.requested_bytes.current == sum(alive.values())
    assert stats.memory_allocated == sum(each.allocated_size for each in snapshot)
    assert stats.memory_reserved == sum(each.total_size for each in snapshot)
    assert stats.requested_bytes.current <= stats.memory_allocated <= stats.memory_reserved
    assert stats.max_memory_allocated <= stats.max_memory_reserved <= (capacity or 1 << 62)


@given(events(), SETTINGS, CAPACITIES)
@settings(max_examples=100, deadline=None)
def test_what_is_all_freed_is_whole_again(found, configuration, capacity):
    allocator = CachingAllocator(capacity_bytes=capacity, settings=configuration)
    alive = set()
    for event, failed in play(allocator, found):
        if isinstance(event, Free):
            alive.discard(event.id)
        elif not failed:
            alive.add(event.id)
    for id in sorted(alive):
        allocator.free(id)
    stats = allocator.stats()
    assert stats.memory_allocated == stats.requested_bytes.current == 0
    assert stats.inactive_split_bytes.current == stats.inactive_split.current == 0
    assert all(len(segment.blocks) == 1 for segment in allocator.snapshot())
    if not configuration.expandable_segments:
        assert stats.merges == stats.splits  # each cut was undone
    allocator.empty_cache()
    assert allocator.snapshot() == ()
    assert allocator.stats().memory_reserved == 0


@given(events(), SETTINGS, CAPACITIES)
@settings(max_examples=50, deadline=None)
def test_the_same_events_have_the_same_end(found, configuration, capacity):
    assert replay(found, capacity_bytes=capacity, settings=configuration) == replay(
        found, capacity_bytes=capacity, settings=configuration
    )


@given(events(streams=(0,)))
@settings(max_examples=100, deadline=None)
def test_an_expandable_segment_reserves_whole_pages_and_no_more_than_asked_for(found):
    # Every request is a block of its own size, and what is mapped for it is at most that and the rest of a page.
    configuration = AllocatorSettings(expandable_segments=True)
    result = replay(found, settings=configuration)
    sizes = [
        configuration.round_size(event.bytes)
        for event in found
        if isinstance(event, Allocate) and event.bytes
    ]
    small = sum(size for size in sizes if size <= MIB)
    large = sum(size for size in sizes if size > MIB)
    pages = -(-small // (2 * MIB)) * 2 * MIB + -(-large // (20 * MIB)) * 20 * MIB
    assert result.stats.max_memory_reserved <= pages
    for segment in result.segments:
        assert segment.total_size % (2 * MIB if segment.segment_type == "small" else 20 * MIB) == 0


@given(events())
@settings(max_examples=50, deadline=None)
def test_a_device_that_holds_the_peak_changes_nothing(found):
    free = replay(found)
    peak = free.stats.max_memory_reserved
    if peak:
        assert replay(found, capacity_bytes=peak) == free


@given(events())
@settings(max_examples=50, deadline=None)
def test_pools_of_two_streams_do_not_meet(found):
    # Each stream alone reserves what it does beside the other: nothing passes between them.
    def only(stream):
        ids = {each.id for each in found if isinstance(each, Allocate) and each.stream == stream}
        return replay([event for event in found if event.id in ids]).stats.memory_reserved

    assert replay(found).stats.memory_reserved == only(0) + only(7)
