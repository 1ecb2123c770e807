"""What asking costs: ten networks, every tool, turns taken in rounds, beside the network's own forward.

Each tool runs on meta tensors where it can, since that is the cheapest way to ask it, and on the CPU with
real data where it cannot; there it is asked in one round at the end, since it is no contender. The yardstick is
the network's own forward on meta, which whatever runs the whole network cannot undercut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.progress import track

from benchmarks.peers.asking import Answer, Workers, workers
from benchmarks.peers.report import Times
from benchmarks.peers.tools import FORWARD, TOOLS, Tool

REPEATS = 4
"""Calls in one process; the first loads what is loaded late, and is not in the median."""

REPEATS_ON_DATA = 2


TIMEOUT = 60
"""CPU seconds for one tool on one network, building included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What to build for one row of the comparison."""

    name: str
    build: str


NETWORKS = (
    Network(name="ResNet-18", build="torchvision:resnet18"),
    Network(name="ResNet-50", build="torchvision:resnet50"),
    Network(name="DenseNet-121", build="torchvision:densenet121"),
    Network(name="MobileNetV3 large", build="torchvision:mobilenet_v3_large"),
    Network(name="EfficientNet-B0", build="torchvision:efficientnet_b0"),
    Network(name="Swin-T", build="torchvision:swin_t"),
    Network(name="ViT-B/16", build="torchvision:vit_b_16"),
    Network(name="BERT base, T = 512", build="bert_512"),
    Network(name="GPT-2 medium, T = 1024", build="gpt2_medium"),
    Network(name="Llama 3 8B, T = 2048", build="llama_8b"),
)


def compare(
    console: Console,
    *,
    rounds: int,
    tools: Sequence[Tool] = TOOLS,
    kept: Callable[[Times], None] = lambda _: None,
) -> Times:
    """Every tool on every network, once a round; `kept` is called as answers come in."""
    asked = (FORWARD, *(tool for tool in tools if "CPU" not in tool.name))
    times: dict[str, dict[str, list[Answer]]] = {
        network.name: {tool.name: [] for tool in asked} for network in NETWORKS
    }
    devices = (*("meta" for _ in range(rounds)), "cpu")
    turns = [
        (device, network, tool) for device in devices for network in NETWORKS for tool in asked
    ]  # fmt: skip
    with workers() as asking:
        for device, network, tool in track(turns, console=console, description="networks"):
            before = times[network.name][tool.name]
            needs_data = not tool.meta or any(answer.error is not None for answer in before)
            if needs_data and device == "cpu":
                before.clear()
            if needs_data == (device == "cpu"):
                before.append(_ask(asking, tool, network, device))
                kept(times)
    return times


def _ask(asking: Workers, tool: Tool, network: Network, device: str) -> Answer:
    return asking.ask(
        tool.name,
        network.build,
        device=device,
        repeats=REPEATS if device == "meta" else REPEATS_ON_DATA,
        timeout=TIMEOUT,
    )
