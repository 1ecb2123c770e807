"""Standing: what a network reaches beside what it costs, and which networks no other beats in both.

The lecture compares networks by validation error over parameters and over operations (L18, DenseNet's figure 3),
and by depth over what a network weighs (L20). The same figures answer what a network costs in memory and time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .comparison import weight_layers
from .pareto import Measure, unbeaten
from .time.step import Estimate
from .weighing import Weighing


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One network: `top1` is a share of a data set's images, by whom `origin` says; None where nobody does.

    `macs` are of a forward pass of the whole batch; `depth` counts weight layers along the longest path.
    `seconds` is a step on a device, None where none was named.
    """

    network: str
    source: str
    batch: int
    depth: int
    params: int
    macs: int
    peak_bytes: int
    seconds: Estimate | None = None
    top1: float | None = None
    origin: str = ""

    @property
    def family(self) -> str:
        """The letters with which the name begins: 'resnet' of resnet50-v1."""
        found = re.match(r"[A-Za-z]+", self.network)
        return found[0].lower() if found else self.network

    @property
    def error(self) -> float | None:
        """The share of images that it gets wrong."""
        return None if self.top1 is None else 1 - self.top1

    @property
    def flops(self) -> int:
        """Two for each multiply-accumulate."""
        return 2 * self.macs

    def cost(self, measure: Measure) -> float | None:
        """What it takes by a measure: a count, bytes, or seconds."""
        if measure == "time":
            return None if self.seconds is None else self.seconds.value
        return {"params": self.params, "macs": self.macs, "memory": self.peak_bytes}[measure]


def standing(
    weighing: Weighing,
    *,
    seconds: Estimate | None = None,
    top1: float | None = None,
    origin: str = "",
) -> Standing:
    """What a network weighs and reaches."""
    program = weighing.program
    return Standing(
        network=program.network,
        source=program.source,
        batch=program.workload.batch,
        depth=weight_layers(weighing),
        params=weighing.parameters.total,
        macs=weighing.compute.forward.macs,
        peak_bytes=weighing.memory.peak_bytes,
        seconds=seconds,
        top1=top1,
        origin=origin,
    )


def pareto(standings: Sequence[Standing], measure: Measure) -> tuple[Standing, ...]:
    """The networks that no other beats by a measure, the cheapest first."""
    return unbeaten(standings, lambda one: one.cost(measure))
