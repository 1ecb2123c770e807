"""Allocations: every call of PyTorch's CPU allocator, read from the profiler.

`torch.profiler` with `profile_memory=True` notes each call with its bytes. Their running sum is what is allocated:
weights, states and whatever kernels ask of the allocator for scratch, none of it sampled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch.profiler import profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """A round of a loop: bytes before it, at its peak and after, and what allocated at the peak.

    `alive` are the bytes of every allocation that lives at the peak with the operators that asked for it,
    the outermost first.
    """

    before_bytes: int
    peak_bytes: int
    after_bytes: int
    at_peak: str
    alive: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    at_ns: int
    bytes: int  # negative where it is a free
    address: int
    path: str


def rounds_of(profiled: profile) -> tuple[Round, ...]:
    """The rounds that ran under the profiler, each in `record_function("round N")`."""
    assert profiled.profiler is not None
    results: Any = profiled.profiler.kineto_results
    events: list[_Event] = []
    rounds: dict[str, tuple[int, int]] = {}
    for root in results.experimental_event_tree():
        events += _events(root, "", rounds)
    events.sort(key=lambda event: event.at_ns)
    return tuple(_round(events, *rounds[f"round {index}"]) for index in range(len(rounds)))


def _events(node: Any, path: str, rounds: dict[str, tuple[int, int]]) -> Iterator[_Event]:
    """The allocations and frees below a node of the profiler's tree."""
    fields = node.extra_fields
    if node.name == "[memory]":
        if fields.device.type == "cpu":
            yield _Event(
                at_ns=node.start_time_ns, bytes=fields.alloc_size, address=fields.ptr, path=path
            )
        return
    if node.name.startswith("round "):
        rounds[node.name] = (node.start_time_ns, node.end_time_ns)
    inside = f"{path}/{node.name}" if path else node.name
    for child in node.children:
        yield from _events(child, inside, rounds)


def _round(events: list[_Event], start_ns: int, end_ns: int) -> Round:
    alive: dict[int, _Event] = {}
    live = before = peak = 0
    at_peak = ""
    most: dict[int, _Event] = {}
    fresh = False
    for event in events:
        if event.at_ns > end_ns:
            break
        if event.bytes < 0 and fresh:  # a peak is copied once it is passed, not at each step up
            most, fresh = dict(alive), False
        if event.bytes > 0:
            alive[event.address] = event
        elif alive.pop(event.address, None) is None:
            continue
        live += event.bytes
        if event.at_ns < start_ns:
            before = peak = live
        elif live > peak:
            peak, at_peak, fresh = live, event.path, True
    if fresh:
        most = dict(alive)
    return Round(
        before_bytes=before,
        peak_bytes=peak,
        after_bytes=live,
        at_peak=at_peak,
        alive=tuple(sorted(((e.bytes, e.path) for e in most.values()), reverse=True)),
    )
