"""Megatron's formulas for activations, from layers that are traced.

Korthikanti et al., "Reducing Activation Recomputation in Large Transformer Models" (2022), table 2: bytes that a
transformer layer keeps for backward, in 16-bit precision, with explicit attention and dropout masks of a byte. The
layer here is theirs, as one of t tensor-parallel ranks runs it; what a layer adds is what two layers keep more than one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from benchmarks.truth.tables import Errors, Sheet, mib, percent
from weighbridge.analyses.memory.timeline import lifetimes
from weighbridge.frontends.torch import trace
from weighbridge.workload import Optimizer, Workload

RATE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A model of the paper: hidden size, heads, sequence length, and the micro-batch that it ran with (table 3)."""

    name: str
    hidden: int
    heads: int
    batch: int
    length: int = 2048


SHAPES = (
    Shape(name="22B", hidden=6144, heads=64, batch=4),
    Shape(name="175B (GPT-3)", hidden=12288, heads=96, batch=1),
    Shape(name="530B (MT-NLG)", hidden=20480, heads=128, batch=1),
    Shape(name="1T", hidden=25600, heads=160, batch=1),
)

RANKS = 8
"""Tensor-parallel ranks of all four."""


def _plain(s: int, b: int, h: int, a: int, t: int) -> float:
    return s * b * h * (10 + 24 / t + 5 * a * s / (h * t))


def _selective(s: int, b: int, h: int, a: int, t: int) -> float:
    return s * b * h * (10 + 24 / t)


def _full(s: int, b: int, h: int, a: int, t: int) -> float:
    return 2 * s * b * h


Recompute = str
FORMULAS: Mapping[Recompute, Callable[[int, int, int, int, int], float]] = {
    "none": _plain,
    "selective": _selective,
    "full": _full,
}
"""What is computed again in backward, and what is then kept. With t = 1: sbh(34 + 5as/h), 34sbh, 2sbh."""


class Layer(nn.Module):
    """A rank's share of a transformer layer: its heads of attention and its part of the MLP, all of the rest."""

    def __init__(self, shape: Shape, ranks: int, recompute: Recompute) -> None:
        super().__init__()
        hidden, self.heads = shape.hidden, shape.heads // ranks
        own = hidden // ranks
        self.selective = recompute == "selective"
        self.norm_1, self.norm_2 = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.qkv, self.out = nn.Linear(hidden, 3 * own), nn.Linear(own, hidden)
        self.up, self.down = nn.Linear(hidden, 4 * own), nn.Linear(4 * own, hidden)

    def forward(self, x: Tensor, future: Tensor) -> Tensor:
        """x (s, b, h), and what lies in the future of each token (s, s)."""
        x = x + functional.dropout(self._attention(self.norm_1(x), future), RATE, self.training)
        y = self.down(functional.gelu(self.up(self.norm_2(x))))
        return x + functional.dropout(y, RATE, self.training)

    def _attention(self, x: Tensor, future: Tensor) -> Tensor:
        length, batch, _ = x.shape
        # A head's rows of q, k and v lie together: the three are views, and the products of views batched by head.
        parts = self.qkv(x).view(length, batch * self.heads, -1)
        q, k, v = parts.chunk(3, dim=-1)
        core = (q.transpose(0, 1), k.permute(1, 2, 0), v.transpose(0, 1), future)
        if self.selective:
            y = checkpoint(self._core, *core, use_reentrant=False)
        else:
            y = self._core(*core)
        return self.out(y.transpose(0, 1).reshape(length, batch, -1))

    def _core(self, q: Tensor, k: Tensor, v: Tensor, future: Tensor) -> Tensor:
        """q (b*a, s, d), k (b*a, d, s), v (b*a, s, d): what selective recomputation computes again."""
        scores = torch.baddbmm(
            q.new_empty(1, 1, 1), q, k, beta=0.0, alpha=1 / math.sqrt(q.shape[-1])
        )
        shares = scores.masked_fill(future, -10000.0).softmax(dim=-1)
        return functional.dropout(shares, RATE, self.training) @ v


class Stack(nn.Module):
    """Layers one after the other."""

    def __init__(self, shape: Shape, ranks: int, recompute: Recompute, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(shape, ranks, recompute) for _ in range(layers))
        self.full = recompute == "full"

    def forward(self, x: Tensor) -> Tensor:
        future = torch.ones(len(x), len(x), dtype=torch.bool, device=x.device).triu(1)
        for layer in self.layers:
            x = checkpoint(layer, x, future, use_reentrant=False) if self.full else layer(x, future)
        return x


def kept(shape: Shape, ranks: int, recompute: Recompute) -> int:
    """Bytes that a layer more keeps for backward."""
    return _kept(shape, ranks, recompute, 2) - _kept(shape, ranks, recompute, 1)


def _kept(shape: Shape, ranks: int, recompute: Recompute, layers: int) -> int:
    with torch.device("meta"):
        model = Stack(shape, ranks, recompute, layers)
    x = torch.empty(shape.length, shape.batch, shape.hidden, device="meta", dtype=torch.float16)
    program = trace(
        model,
        Workload(mode="training", batch=shape.length, dtype="float16", optimizer=Optimizer(name="sgd"), loss="mean"),
        network=shape.name,
        source="benchmark",
        examples=(x,),
    )  # fmt: skip
    backward = next(index for index, op in enumerate(program.ops) if op.phase == "backward")
    return sum(
        life.bytes
        for life in lifetimes(program)
        if life.category == "saved_activation"
        and life.birth < backward
        and (life.death is None or life.death >= backward)
    )


def sheet(only: str = "") -> Sheet:
    """Every model by what is computed again, on one rank and on each of eight."""
    rows, errors = [], []
    for shape in SHAPES:
        if only not in shape.name:
            continue
        for ranks in (1, RANKS):
            for recompute, formula in FORMULAS.items():
                ours = kept(shape, ranks, recompute)
                theirs = formula(shape.length, shape.batch, shape.hidden, shape.heads, ranks)
                errors.append(ours / theirs - 1)
                rows.append(
                    (shape.name, str(ranks), recompute, mib(round(theirs)), mib(ours), percent(errors[-1], signed=True))
                )  # fmt: skip
    return Sheet(
        heading="Activations of a transformer layer, against Megatron's formulas",
        sentences=(
            "Korthikanti et al. 2022, table 2: sbh(34 + 5as/h) bytes a layer, 34sbh with attention computed again, 2sbh",
            "with the layer computed again; of t tensor-parallel ranks sbh(10 + 24/t + 5as/(ht)), sbh(10 + 24/t) and 2sbh.",
            "Traced from layers written for the purpose, in float16 with explicit attention and dropout as a GPU runs",
            "them. Nothing was fitted. Sequence parallelism is left out. `python -m benchmarks truth megatron`.",
        ),
        columns=("model", "ranks", "computed again", "formula MiB", "traced MiB", "error"),
        rows=rows,
        errors=Errors(values=errors),
    )
