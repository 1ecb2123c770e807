"""Tracing PyTorch networks: CPU seconds beside the network's own forward and FlopCounterMode, all on meta.

Every network is built on meta beforehand and never run otherwise. The works take turns in one process,
in CPU seconds, with a collection before each; ours includes copying the module. Then the largest network
in a process of its own: time after the imports, and the most memory that the process ever held.
"""

from __future__ import annotations

import gc
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from weighbridge.ops.optimizers import optimizer
from weighbridge.workload import Workload

ROUNDS = 5
TORCHVISION = (
    "resnet18", "resnet50", "densenet121", "mobilenet_v3_large", "efficientnet_b0", "swin_t",
    "vit_b_16",
)  # fmt: skip
TRANSFORMERS: Mapping[str, tuple[str, dict[str, int], int]] = {
    "BERT-base": ("BertModel", {}, 512),
    "GPT-2 medium": ("GPT2LMHeadModel", {"n_embd": 1024, "n_layer": 24, "n_head": 16}, 1024),
    "Llama-3-8B": (
        "LlamaForCausalLM",
        {
            "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
            "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
        },
        2048,
    ),
    "Llama-3-405B": (
        "LlamaForCausalLM",
        {
            "hidden_size": 16384, "intermediate_size": 53248, "num_hidden_layers": 126,
            "num_attention_heads": 128, "num_key_value_heads": 8, "vocab_size": 128256,
        },
        8192,
    ),
}  # fmt: skip
"""The class, what its configuration says, and the tokens of one sequence."""

LARGEST = "Llama-3-405B"
ALONE = "from benchmarks.tracing import largest; largest()"


def main() -> None:
    """The tables: forward, a training step, and the largest network."""
    names = (*TORCHVISION, *(name for name in TRANSFORMERS if name != LARGEST))
    forward = _table("Forward on meta, CPU ms (x: to the network's own)", "FlopCounterMode")
    training = _table("A training step with Adam, CPU ms (x: to the network's own forward)")
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for name in progress.track(names):
            times = measured(name)
            plain = times["forward"]
            _row(forward, name, plain, times["ours"], times["FlopCounterMode"])
            _row(training, name, plain, times["ours, training"])
    console = Console()
    console.print(forward, training)
    done = subprocess.run([sys.executable, "-c", ALONE], check=True, capture_output=True, text=True)
    figures = json.loads(done.stdout)
    console.print(
        f"{LARGEST}, 8,192 tokens, a training step with SGD: {figures['seconds']:.2f} CPU s after the"
        f" imports, {figures['operators']:,} operators; the process held at most"
        f" {figures['bytes'] / 1e9:.2f} GB"
    )


def measured(name: str) -> dict[str, float]:
    """Median CPU seconds of a network's works."""
    works = _works(name)
    times: dict[str, list[float]] = {work: [] for work in works}
    for turn in range(ROUNDS + 1):
        for work, run in works.items():
            gc.collect()
            start = time.process_time()
            run()
            if turn:  # the first warms up
                times[work].append(time.process_time() - start)
    return {work: statistics.median(values) for work, values in times.items()}


def largest() -> None:
    """Prints as JSON what a training step of the largest network takes in this process."""
    import torch
    import transformers  # noqa: F401  # part of the imports, not of the step

    model, example = _built(LARGEST)
    from weighbridge.frontends.torch import trace

    workload = Workload(mode="training", optimizer=optimizer("sgd"))
    torch.empty(1, device="meta") + 1  # what PyTorch loads at its first operator on meta
    start = time.process_time()
    program = trace(model, workload, network="net", source="bench", examples=example)
    figures = {
        "seconds": time.process_time() - start,
        "operators": len(program.ops),
        "bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,  # Linux counts in KiB
    }
    print(json.dumps(figures))


def _works(name: str) -> dict[str, Callable[[], object]]:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from weighbridge.frontends.torch import trace

    model, example = _built(name)
    model.eval()

    def forward() -> None:
        with torch.no_grad():
            model(example)

    def peer() -> None:
        with torch.no_grad(), FlopCounterMode(display=False):
            model(example)

    ours = partial(trace, model, network="net", source="bench", examples=example)
    step = Workload(mode="training", optimizer=optimizer("adam"))
    return {
        "forward": forward,
        "ours": partial(ours, Workload()),
        "FlopCounterMode": peer,
        "ours, training": partial(ours, step),
    }


def _built(name: str) -> tuple[Any, Any]:
    """The network on meta, and one example for it."""
    import torch

    with torch.device("meta"):
        if name not in TRANSFORMERS:
            from torchvision import models

            return getattr(models, name)(), torch.empty(1, 3, 224, 224)
        import transformers

        kind, sizes, tokens = TRANSFORMERS[name]
        network = getattr(transformers, kind)
        return network(network.config_class(**sizes)), torch.empty(1, tokens, dtype=torch.int64)


def _table(title: str, *peers: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("network")
    table.add_column("its own forward", justify="right")
    for heading in ("weighbridge", *peers):
        table.add_column(heading, justify="right")
        table.add_column("x", justify="right")
    return table


def _row(table: Table, name: str, base: float, *others: float) -> None:
    cells = [cell for other in others for cell in (f"{other * 1e3:.0f}", f"{other / base:.2f}")]
    table.add_row(name, f"{base * 1e3:.0f}", *cells)
