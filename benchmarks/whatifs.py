"""What-ifs: 10,000 settings of batch, precision and device of one network, after it was read."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from functools import partial

from rich.console import Console
from rich.table import Table

from benchmarks.timing import seconds
from weighbridge.analyses.time.clock import Clock
from weighbridge.analyses.time.whatifs import Growth, growth
from weighbridge.network import Network
from weighbridge.rooms import clock, rooms
from weighbridge.sweeping import seconds_of

BATCHES = range(1, 501)
PRECISIONS = ("float32", "tf32", "amp-fp16", "amp-bf16")
DEVICES = "rtx-4090,a100-80gb,h100-sxm,l4,rtx-3090"
CASES = (("resnet50", None), ("resnet50", "sgd"), ("densenet121", "adamw"), ("gpt2", "adamw"))
REPEATS = 5


def ask(asked: Sequence[tuple[Growth, Clock]]) -> None:
    """Every batch of every network on every clock."""
    for grown, on in asked:
        seconds_of(grown, on, BATCHES)


def main() -> None:
    """Prints the seconds of each, the reading of the network apart."""
    places = rooms(DEVICES)
    table = Table(
        title=f"what-ifs: {len(BATCHES)} batches x {len(PRECISIONS)} precisions x {len(places)} devices",
        title_justify="left",
    )
    for heading in ("network", "what-ifs", "reading it s", "median s", "min s", "max s"):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    for name, train in CASES:
        network, settings = Network(name), {"train": train} if train else {}
        began = time.perf_counter()
        read = [
            (
                precision,
                growth(network.program, network.workload({**settings, "precision": precision})),
            )
            for precision in PRECISIONS
        ]
        reading = time.perf_counter() - began
        asked = [
            (grown, clock(room.device, precision)) for precision, grown in read for room in places
        ]
        times = [seconds(partial(ask, asked)) for _ in range(REPEATS)]
        count = len(BATCHES) * len(asked)
        figures = (reading, statistics.median(times), min(times), max(times))
        title = f"{name}, {train or 'inference'}"
        table.add_row(title, f"{count:,}", *(f"{figure:.2f}" for figure in figures))
    Console().print(table)
