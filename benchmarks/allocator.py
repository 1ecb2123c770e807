"""Events a second: PyTorch's allocator replayed, a million allocations and frees."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import islice

from rich.console import Console

from benchmarks.timing import show
from weighbridge.analyses.memory import Allocate, AllocatorSettings, Free, replay

EVENTS = 1_000_000
LAYERS = 100


def training_steps(seed: int = 0) -> Iterator[Allocate | Free]:
    """Training steps without end, as a network of 100 layers allocates: weights, then activations that live until
    the backward pass, a temporary beside each, and gradients."""
    sizes = random.Random(seed)
    activations = [sizes.randrange(1 << 10, 64 << 20) for _ in range(LAYERS)]
    weights = [sizes.randrange(1 << 8, 16 << 20) for _ in range(LAYERS)]
    for layer, size in enumerate(weights):
        yield Allocate(layer, size)
    id = LAYERS
    while True:
        saved = []
        for size in activations:
            yield Allocate(id, size)
            yield Allocate(id + 1, size // 2)
            yield Free(id + 1)
            saved.append(id)
            id += 2
        gradients = []
        for layer in reversed(range(LAYERS)):
            yield Allocate(id, activations[layer])
            yield Allocate(id + 1, weights[layer])
            yield Free(saved[layer])
            yield Free(id)
            gradients.append(id + 1)
            id += 2
        for gradient in gradients:
            yield Free(gradient)


def scattered(seed: int = 0) -> Iterator[Allocate | Free]:
    """Sizes and lifetimes at random, 2,000 alive at a time: what splits and merges most."""
    numbers = random.Random(seed)
    alive: list[int] = []
    id = 0
    while True:
        if len(alive) >= 2000:
            place = numbers.randrange(len(alive))
            alive[place], alive[-1] = alive[-1], alive[place]
            yield Free(alive.pop())
        yield Allocate(id, int(2 ** numbers.uniform(9, 26)))
        alive.append(id)
        id += 1


def cpu_seconds(work: Callable[[], object]) -> float:
    """Processor time of one call: other programs on the machine do not count."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Replays a million events of each kind."""
    streams = {
        "training steps": list(islice(training_steps(), EVENTS)),
        "scattered": list(islice(scattered(), EVENTS)),
    }
    expandable = AllocatorSettings(expandable_segments=True)
    works = {}
    for name, events in streams.items():
        works[name] = lambda events=events: replay(events)
        works[f"{name}, expandable"] = lambda events=events: replay(events, settings=expandable)
    times = {name: [cpu_seconds(work) for _ in range(3)] for name, work in works.items()}
    show(f"PyTorch's caching allocator, {EVENTS:,} events, CPU seconds", times, unit="s")
    for name, values in times.items():
        Console().print(f"{name}: {EVENTS / statistics.median(values):,.0f} events a second")
