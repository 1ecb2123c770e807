"""What the sources of published memory share: their tables, a traced step, and a row of the comparison."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from weighbridge.analyses.memory.resident import KERNELS, Interval, Resident, resident
from weighbridge.analyses.memory.timeline import lifetimes
from weighbridge.devices import load
from weighbridge.frontends.torch import trace
from weighbridge.program import Program
from weighbridge.workload import Workload

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "published" / "memory"

Metric = Literal["allocated", "reserved", "device", "after forward"]

GB = 10**9
MB = 10**6
MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A published figure and what is predicted of it, with the interval that a report would show."""

    source: str
    network: str
    metric: Metric
    published_bytes: int
    predicted: Interval

    @property
    def error(self) -> float:
        return self.predicted.expected / self.published_bytes - 1

    @property
    def of_tensors(self) -> bool:
        """Whether it is PyTorch's own figure and not the driver's, which has a context in it."""
        return self.metric != "device"

    @property
    def place(self) -> str:
        """Where the published figure lies, seen from the interval."""
        if self.published_bytes < self.predicted.low:
            return "below"
        return "above" if self.published_bytes > self.predicted.high else "in"


def around(size: int) -> Interval:
    """What reports show around the tensors of a step."""
    fewer, more = KERNELS
    return Interval(low=int(size * (1 - fewer)), expected=size, high=int(size * (1 + more)))


def exactly(size: int) -> Interval:
    """A figure that its source measured itself."""
    return Interval(low=size, expected=size, high=size)


def read(name: str) -> list[dict[str, str]]:
    """The rows of a table."""
    with (PUBLISHED / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def traced(model: nn.Module, workload: Workload, examples: Mapping[str, Tensor]) -> Program:
    """A step of the network, without data."""
    return trace(model, workload, network="published", source="benchmark", examples=examples)


def on(program: Program, card: str) -> Resident:
    """What the step takes of a card."""
    lives = lifetimes(program)
    if (
        not program.workload.training
    ):  # a single pass is measured: no outputs are held of one before
        lives = tuple(life for life in lives if life.category != "held")
    return resident(lives, load(card))


def tokens(batch: int, length: int) -> Tensor:
    """Token numbers, without memory."""
    return torch.empty(batch, length, dtype=torch.int64, device="meta")


def of_transformers(
    kind: str, configuration: Mapping[str, Any], attention: str = "eager"
) -> nn.Module:
    """A network of transformers' without memory for its weights; eager, its attention is as it was before 2024."""
    import transformers

    network = getattr(transformers, kind)
    settings = network.config_class(**configuration)
    settings._attn_implementation = attention
    with torch.device("meta"):
        made: nn.Module = network(settings)
    return made
