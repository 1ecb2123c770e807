"""Measuring: a training loop run for real on this CPU, every allocation and free of PyTorch's allocator read.

`torch.profiler` with `profile_memory=True` notes each call of the CPU allocator with its bytes. Their running sum is
what is allocated: weights, states and whatever kernels ask of the allocator for scratch, none of it sampled. Two
rounds of the loop are run; the first makes the optimizer's state, so that the second is the one to compare.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.profiler import record_function
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from benchmarks.truth.cases import Case, case_named

ROUNDS = 2

THREADS = 2
"""Threads that kernels work with: some take scratch for each, and for one PyTorch takes other kernels than for more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A round of the loop: bytes before it, at its peak and after, and what allocated at the peak.

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


def measure(case: Case) -> tuple[Measured, ...]:
    """Each round of the case's loop."""
    torch.manual_seed(0)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        _loop(case)
    assert profiled.profiler is not None
    results: Any = profiled.profiler.kineto_results
    events: list[_Event] = []
    rounds: dict[str, tuple[int, int]] = {}
    for root in results.experimental_event_tree():
        events += _events(root, "", rounds)
    events.sort(key=lambda event: event.at_ns)
    return tuple(_round(events, *rounds[f"round {index}"]) for index in range(ROUNDS))


def _loop(case: Case) -> None:
    model = case.build()
    if case.dtype != "float32":
        model.to(getattr(torch, case.dtype))
    model.train()
    optimizer = case.optimizer.make([p for p in model.parameters() if p.requires_grad])
    output = loss = None
    for index in range(ROUNDS):
        given = case.inputs()
        with record_function(f"round {index}"):
            optimizer.zero_grad(set_to_none=True)
            for _ in range(case.accumulation):
                with torch.autocast("cpu", dtype=torch.bfloat16, enabled=case.autocast):
                    output = model(**given) if isinstance(given, dict) else model(*given)
                    loss = case_loss(case, output)
                loss.backward()
            optimizer.step()


def case_loss(case: Case, output: Any) -> Tensor:
    """The loss that the case names, as its user would write it: labels are made here, and are an input."""
    if case.loss == "own":
        return output.loss
    if case.loss == "mean":
        return _logits(output).mean()
    logits = _logits(output)
    if logits.dim() == 3:
        logits = logits.flatten(0, 1)
    loss = functional.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64))
    for head, weight in case.auxiliary:
        extra = getattr(output, head)
        labels = torch.zeros(len(extra), dtype=torch.int64)
        loss = loss + weight * functional.cross_entropy(extra, labels)
    return loss


def _logits(output: Any) -> Tensor:
    while not isinstance(output, Tensor):
        output = output.logits if hasattr(output, "logits") else next(iter(output.values()))
    return output


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


def _round(events: list[_Event], start_ns: int, end_ns: int) -> Measured:
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
    return Measured(
        before_bytes=before,
        peak_bytes=peak,
        after_bytes=live,
        at_peak=at_peak,
        alive=tuple(sorted(((e.bytes, e.path) for e in most.values()), reverse=True)),
    )


def main(name: str) -> None:
    """Measures one case and prints it; the process ends with it."""
    torch.set_num_threads(THREADS)
    print(json.dumps([asdict(round) for round in measure(case_named(name))]))


if __name__ == "__main__":
    main(sys.argv[1])
