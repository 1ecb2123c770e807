"""Decoders as fine-tuning recipes run them: low-rank adapters beside frozen weights, and LitGPT's own network.

What a recipe keeps for backward hangs on how its author wrote a norm or an adapter, and not only on sizes. The
modules here do what LitGPT did in October 2023 and torchtune in spring 2024, operator by operator, in words of our own.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

# -- low-rank adapters -----------------------------------------------------------------------------------


class Adapted(nn.Module):
    """A frozen linear layer, and beside it a product of two narrow ones that is trained (Hu et al. 2021).

    The adapter may be wider than the layer (PEFT keeps it in float32): what comes in is then cast, and what goes out too.
    """

    def __init__(self, layer: nn.Linear, rank: int, *, wide: bool) -> None:
        super().__init__()
        self.layer = layer
        dtype = torch.float32 if wide else layer.weight.dtype
        self.down = nn.Linear(layer.in_features, rank, bias=False, device="meta", dtype=dtype)
        self.up = nn.Linear(rank, layer.out_features, bias=False, device="meta", dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        result = self.layer(x)
        narrow = self.down(x.to(self.down.weight.dtype))
        return (result + self.up(narrow) * 2.0).to(result.dtype)


def adapt(model: nn.Module, targets: Collection[str], rank: int, *, wide: bool = False) -> None:
    """Freezes the network and gives each linear layer of these names an adapter."""
    model.requires_grad_(False)
    for name, module in list(model.named_modules()):
        owner, _, last = name.rpartition(".")
        if last in targets and isinstance(module, nn.Linear):
            setattr(model.get_submodule(owner), last, Adapted(module, rank, wide=wide))


# -- LitGPT ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A network of LitGPT's: `rotary` is the share of a head that is turned, `longest` the longest sample of Alpaca."""

    name: str
    vocabulary: int
    width: int
    layers: int
    heads: int
    feedforward: int
    rotary: float
    longest: int
    llama: bool = False
    """RMSNorm, a gated feed-forward layer, no biases, one residual after the other."""
    one_norm: bool = False
    head_bias: bool = False


SHAPES = (
    Shape(
        name="phi-1.5", vocabulary=51200, width=2048, layers=24, heads=32, feedforward=8192, rotary=0.5, longest=1044,
        one_norm=True, head_bias=True,
    ),
    Shape(
        name="StableLM Alpha", vocabulary=50688, width=4096, layers=16, heads=32, feedforward=16384, rotary=0.25,
        longest=1034,
    ),
    Shape(
        name="Llama 2 7 B", vocabulary=32000, width=4096, layers=32, heads=32, feedforward=11008, rotary=1.0,
        longest=1304, llama=True,
    ),
    Shape(
        name="Llama 2 13 B", vocabulary=32000, width=5120, layers=40, heads=40, feedforward=13824, rotary=1.0,
        longest=1304, llama=True,
    ),
)  # fmt: skip

RANK, DROPOUT = 8, 0.05
"""LitGPT's defaults of that time: queries and values are adapted, nothing else."""

CHUNK = 128
"""Tokens that the head and the loss take at once."""


class LitGPT(nn.Module):
    """The decoder. In training it returns the logits of each chunk; with `room` it decodes, and keeps keys and values.

    What a network returns is cast to float32 by Fabric, all of it at the end (its HalfPrecision's `convert_output`).
    """

    def __init__(self, shape: Shape, *, adapted: bool, room: int = 0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList(
            _Block(shape, adapted=adapted, room=room) for _ in range(shape.layers)
        )
        self.norm = _norm(shape)
        self.head = nn.Linear(shape.width, shape.vocabulary, bias=shape.head_bias)
        self.to(torch.bfloat16)
        length = room or shape.longest
        turned = int(shape.rotary * shape.width // shape.heads)
        self.register_buffer("cos", torch.empty(length, turned, dtype=torch.float32))
        self.register_buffer("sin", torch.empty(length, turned, dtype=torch.float32))
        if adapted:
            for name, parameter in self.named_parameters():
                parameter.requires_grad_("adapter" in name)

    def forward(self, tokens: Tensor) -> list[Tensor] | Tensor:
        x = self.embedding(tokens)
        length = tokens.shape[1]
        for block in self.blocks:
            x = block(x, self.cos[:length], self.sin[:length])
        x = self.norm(x)
        if self.training:
            return [part.float() for part in [self.head(each) for each in x.split(CHUNK, dim=1)]]
        return self.head(x).float()


def chunked_loss(logits: list[Tensor]) -> Tensor:
    """Cross-entropy of each chunk, the last token of all without a successor."""
    parts = [*logits[:-1], logits[-1][..., :-1, :]]
    losses = []
    for part in parts:
        flat = part.reshape(-1, part.shape[-1])
        targets = torch.zeros(len(flat), dtype=torch.int64, device=flat.device)
        losses.append(functional.cross_entropy(flat, targets, reduction="none"))
    return torch.cat(losses).mean()


class _RMSNorm(nn.Module):
    """In the input's own dtype."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * (x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-5))


def _norm(shape: Shape) -> nn.Module:
    return _RMSNorm(shape.width) if shape.llama else nn.LayerNorm(shape.width)


class _Block(nn.Module):
    def __init__(self, shape: Shape, *, adapted: bool, room: int) -> None:
        super().__init__()
        self.shape = shape
        self.first = _norm(shape)
        self.attention = _Attention(shape, adapted=adapted, room=room)
        self.second = None if shape.one_norm else _norm(shape)
        self.feedforward = _Gated(shape) if shape.llama else _Plain(shape)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        normed = self.first(x)
        attended = self.attention(normed, cos, sin)
        if self.shape.llama:
            x = attended + x
            return self.feedforward(self.second(x)) + x
        other = normed if self.second is None else self.second(x)
        return self.feedforward(other) + attended + x


class _Gated(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate = nn.Linear(shape.width, shape.feedforward, bias=False)
        self.up = nn.Linear(shape.width, shape.feedforward, bias=False)
        self.down = nn.Linear(shape.feedforward, shape.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate(x), self.up(x)
        return self.down(functional.silu(gate) * up)


class _Plain(nn.Sequential):
    def __init__(self, shape: Shape) -> None:
        super().__init__(
            nn.Linear(shape.width, shape.feedforward),
            nn.GELU(approximate="tanh" if shape.one_norm else "none"),
            nn.Linear(shape.feedforward, shape.width),
        )


class _Adapter(nn.Module):
    """Queries' and values' adapters at once: one product down, a grouped convolution up, zeros where keys are."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.width = shape.width
        self.dropout = nn.Dropout(DROPOUT)
        self.down = nn.Parameter(torch.empty(2 * RANK, shape.width))
        self.up = nn.Parameter(torch.empty(2 * shape.width, RANK))

    def forward(self, x: Tensor) -> Tensor:
        narrow = functional.linear(self.dropout(x), self.down)
        wide = functional.conv1d(narrow.transpose(-2, -1), self.up.unsqueeze(-1), groups=2)
        wide = wide.transpose(-2, -1).transpose(0, 1)
        padded = x.new_zeros((*wide.shape[:-1], 3 * self.width)).view(-1, 3 * self.width)
        places = torch.zeros(2 * self.width, dtype=torch.int64, device=x.device)
        padded = padded.index_copy(1, places, wide.reshape(-1, 2 * self.width))
        return padded.view(*wide.shape[:-1], 3 * self.width).transpose(0, 1) * 2.0


class _Attention(nn.Module):
    def __init__(self, shape: Shape, *, adapted: bool, room: int) -> None:
        super().__init__()
        self.heads = shape.heads
        self.qkv = nn.Linear(shape.width, 3 * shape.width, bias=not shape.llama)
        self.adapter = _Adapter(shape) if adapted else None
        self.output = nn.Linear(shape.width, shape.width, bias=not shape.llama)
        self.room = room
        if room:
            kept = (1, shape.heads, room, shape.width // shape.heads)
            self.register_buffer("keys", torch.empty(kept))
            self.register_buffer("values", torch.empty(kept))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(x)
        if self.adapter is not None:
            qkv = qkv + self.adapter(x)
        parts = qkv.view(batch, length, self.heads, 3, -1).permute(0, 2, 3, 1, 4)
        q, k, v = (
            part.reshape(batch, self.heads, length, -1) for part in parts.split((1, 1, 1), 2)
        )
        q, k = _turned(q, cos, sin), _turned(k, cos, sin)
        mask = None
        if self.room:
            places = torch.zeros(length, dtype=torch.int64, device=x.device)
            k, v = self.keys.index_copy_(2, places, k), self.values.index_copy_(2, places, v)
            mask = torch.ones(length, self.room, dtype=torch.bool, device=x.device)
        scale = 1 / math.sqrt(width // self.heads)
        y = functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None, scale=scale
        )
        return self.output(y.transpose(1, 2).reshape(batch, length, width))


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of the first part of a head, by tables of float32."""
    size = cos.shape[-1]
    part = x[..., :size]
    halves = torch.cat((-part[..., size // 2 :], part[..., : size // 2]), dim=-1)
    turned = (part * cos + halves * sin).to(x.dtype)
    return torch.cat((turned, x[..., size:]), dim=-1)
