"""The heap: which pages a step makes anew, by glibc's rules, derived by hand."""

from __future__ import annotations

from weighbridge.analyses.memory.allocator import Allocate, Free
from weighbridge.analyses.memory.heap import LARGEST_THRESHOLD, PAGE, Heap, fresh_bytes

MIB = 2**20


def test_a_large_request_is_mapped_and_makes_every_page():
    # Beyond the largest threshold (32 MiB) every request is mapped, however often: 48 MiB and the page of its header.
    heap = Heap()
    for number in range(3):
        fresh = heap.allocate(number, 48 * MIB)
        assert 48 * MIB < fresh <= 48 * MIB + PAGE
        heap.free(number)
    assert heap.threshold < LARGEST_THRESHOLD


def test_the_threshold_rises_with_what_dies_so_that_the_next_comes_from_the_heap():
    heap = Heap()
    mapped = heap.allocate(0, MIB)  # 1 MiB is beyond 128 KiB: mapped
    assert mapped > MIB
    heap.free(0)
    assert heap.threshold == mapped
    assert heap.allocate(1, MIB) > 0  # now from the heap, whose pages are new once
    heap.free(1)  # less than twice the threshold lies at the top: it stays
    assert heap.allocate(2, MIB) == 0


def test_what_lies_at_the_top_beyond_twice_the_threshold_is_given_back():
    heap = Heap()
    heap.allocate(0, MIB)
    heap.free(0)  # the threshold is 1 MiB, and 2 MiB may stay at the top
    for number in (1, 2, 3):
        assert heap.allocate(number, 900 * 1024) > 0
    for number in (3, 2, 1):
        heap.free(number)
    # 2.6 MiB at the top were given back as the third went: all pages come anew
    assert heap.allocate(4, 900 * 1024) > 500 * 1024


def test_freed_neighbours_merge_into_one_chunk():
    heap = Heap()
    heap.allocate(0, 4 * MIB)
    heap.free(0)
    for number in (1, 2, 3):
        heap.allocate(number, MIB)
    heap.free(1)
    heap.free(2)
    assert heap.allocate(4, 3 * MIB // 2) == 0  # fits into both together, and into neither alone


def test_small_requests_are_left_out():
    assert fresh_bytes([Allocate(0, 100), Free(0), Allocate(1, 1000)]) == {}


def test_pages_are_told_by_allocation():
    found = fresh_bytes([Allocate(0, 40 * MIB), Allocate(1, 100), Free(0), Allocate(2, 40 * MIB)])
    assert set(found) == {0, 2}


def test_what_never_came_is_not_freed():
    Heap().free(7)
