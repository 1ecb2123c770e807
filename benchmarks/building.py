"""Operators a second: building and weighing described networks, in one process."""

from __future__ import annotations

import statistics

from rich.console import Console

from benchmarks.timing import in_turns, show
from weighbridge.analyses.weighing import Weighing
from weighbridge.frontends import notation, zoo
from weighbridge.ops.optimizers import optimizer
from weighbridge.workload import Workload

NETWORKS = ("vgg16", "resnet50", "densenet201", "bert-base")
THOUSAND_LAYERS = "8,16,16" + "->add[(Conv)8c3w1p->(BN)->(ReLU)|]" * 250


def main() -> None:
    """Builds and weighs a training step of a few networks of the zoo."""
    workload = Workload(mode="training", batch=32, optimizer=optimizer("adam"))
    works = {}
    for name in NETWORKS:
        works[f"{name}: build"] = lambda name=name: zoo.read(name, workload)
        program = zoo.read(name, workload)
        works[f"{name}: weigh"] = lambda program=program: Weighing(program=program).to_dict()
    works["a notation of 1,000 layers: read"] = lambda: notation.read(THOUSAND_LAYERS, Workload())
    times = in_turns(works, rounds=9)
    show("A training step of described networks", times)
    for name in NETWORKS:
        operators = len(zoo.read(name, workload).ops)
        both = statistics.median(times[f"{name}: build"]) + statistics.median(
            times[f"{name}: weigh"]
        )
        Console().print(f"{name}: {operators:,} operators, {operators / both:,.0f} a second")
