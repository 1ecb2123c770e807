"""Builds the cases and the networks of the speed comparison; runs in the workers only.

A single layer stands in an nn.Sequential, as it would in a network: thop gives a layer that is the whole
model no parameters, and that is not what these cases are about.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Built = tuple[nn.Module, tuple[Any, ...]]
"""A module and the positional arguments of its forward."""


class Attention(nn.Module):
    """Multi-head self-attention as people write it: (B, T, D) -> (B, T, D)."""

    def __init__(self, width: int, heads: int, *, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        b, t, d = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)  # (B, H, T, E)
        return self.out(y.transpose(1, 2).reshape(b, t, d))


class Scores(nn.Module):
    """A linear layer, and the product of its output with a second input."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(512, 512, bias=False)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.project(a) @ b


class HeadProjection(nn.Module):
    """Projects to heads with one einsum, as JAX people write it: (B, T, D) -> (B, H, T, E)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(8, 512, 64))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("btd,hde->bhte", x, self.weight)


class ExpertChoice(nn.Module):
    """Every expert takes the tokens that score highest with it (Zhou et al. 2022), through bmm."""

    def __init__(self, width: int, hidden: int, experts: int, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity
        self.router = nn.Linear(width, experts, bias=False)
        self.up = nn.Parameter(torch.zeros(experts, width, hidden))
        self.down = nn.Parameter(torch.zeros(experts, hidden, width))

    def forward(self, batch: Tensor) -> Tensor:  # (1, T, D)
        x = batch[0]
        gates, chosen = self.router(x).softmax(-1).T.topk(self.capacity)  # (E, C)
        y = torch.bmm(torch.bmm(x[chosen], self.up).relu(), self.down)  # (E, C, D)
        y = y * gates.unsqueeze(-1)
        return torch.zeros_like(x).index_add(0, chosen.flatten(), y.flatten(0, 1))[None]


class TokenChoice(nn.Module):
    """Every token takes its two best experts; tokens sorted by expert, through one grouped product."""

    def __init__(self, width: int, hidden: int, experts: int) -> None:
        super().__init__()
        self.experts = experts
        self.router = nn.Linear(width, experts, bias=False)
        self.up = nn.Parameter(torch.zeros(experts, width, hidden))
        self.down = nn.Parameter(torch.zeros(experts, hidden, width))

    def forward(self, batch: Tensor) -> Tensor:  # (1, T, D)
        x = batch[0]
        gates, chosen = self.router(x).softmax(-1).topk(2)  # (T, 2)
        order = chosen.flatten().argsort()
        held = chosen.flatten().unsqueeze(-1) == torch.arange(self.experts, device=x.device)
        ends = held.sum(0).cumsum(0, dtype=torch.int32)
        tokens = order // 2
        y = functional.grouped_mm(x[tokens], self.up, offs=ends).relu()
        y = functional.grouped_mm(y, self.down, offs=ends) * gates.flatten()[order].unsqueeze(-1)
        return torch.zeros_like(x).index_add(0, tokens, y)[None]


class PaddedConv(nn.Conv2d):
    """A convolution of one's own."""


class ScaledLinear(nn.Linear):
    """A linear layer of one's own."""


class Patches(nn.Module):
    """A convolution and a linear layer over its positions, both of classes of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = PaddedConv(3, 64, 3, padding=1)
        self.linear = ScaledLinear(64, 128)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.conv(x).flatten(2).transpose(1, 2))


class Language(nn.Module):
    """An embedding, and a head that shares its weight."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(1000, 64)
        self.head = nn.Linear(64, 1000, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.embed(ids))


class Uncalled(nn.Module):
    """A layer, a frozen one, one that nobody calls, and a parameter in no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 64)
        self.frozen = nn.Linear(64, 64).requires_grad_(False)
        self.spare = nn.Linear(64, 128)
        self.scale = nn.Parameter(torch.ones(64))

    def forward(self, x: Tensor) -> Tensor:
        return self.frozen(self.first(x)) * self.scale


class Dicts(nn.Module):
    """Takes a dict of tensors and returns one, as many training loops have it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 128)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        y = self.linear(batch["features"]) * batch["mask"]
        return {"logits": y, "mask": batch["mask"]}


def attention() -> Built:
    return Attention(512, 8, causal=False), (torch.zeros(1, 1024, 512),)


def causal_attention() -> Built:
    return Attention(512, 8, causal=True), (torch.zeros(1, 1024, 512),)


def encoder_layer() -> Built:
    layer = nn.TransformerEncoderLayer(512, 8, 2048, batch_first=True)
    return nn.Sequential(layer), (torch.zeros(1, 512, 512),)


def matmul() -> Built:
    return Scores(), (torch.zeros(1, 256, 512), torch.zeros(1, 512, 256))


def einsum() -> Built:
    return HeadProjection(), (torch.zeros(1, 1024, 512),)


def lstm() -> Built:
    layers = nn.LSTM(512, 512, num_layers=2, batch_first=True)
    return nn.Sequential(layers), (torch.zeros(1, 90, 512),)


def experts_bmm() -> Built:
    return ExpertChoice(512, 1024, 8, 64), (torch.zeros(1, 256, 512),)


def experts_grouped() -> Built:
    # PyTorch's meta function of grouped_mm takes nothing but half precisions.
    module = TokenChoice(512, 1024, 8).to(torch.bfloat16)
    return module, (torch.zeros(1, 256, 512, dtype=torch.bfloat16),)


def conv_transposed() -> Built:
    layer = nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1)
    return nn.Sequential(layer), (torch.zeros(1, 64, 32, 32),)


def subclasses() -> Built:
    return Patches(), (torch.zeros(1, 3, 64, 64),)


def linear_sequence() -> Built:
    return nn.Sequential(nn.Linear(512, 512)), (torch.zeros(4, 1024, 512),)


def conv1d() -> Built:
    from transformers.pytorch_utils import Conv1D

    return nn.Sequential(Conv1D(3072, 768), nn.GELU(), Conv1D(768, 3072)), (
        torch.zeros(1, 1024, 768),
    )


def gpt2() -> Built:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config()), (torch.zeros(1, 128, dtype=torch.int64),)


def llama_small() -> Built:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=512, intermediate_size=1408, num_hidden_layers=2, num_attention_heads=8,
        num_key_value_heads=2, vocab_size=1000,
    )  # fmt: skip
    return LlamaForCausalLM(config), (torch.zeros(1, 128, dtype=torch.int64),)


def mixtral() -> Built:
    """With transformers' own choice of how to run experts, which is the grouped product."""
    from transformers import MixtralConfig, MixtralForCausalLM

    config = MixtralConfig(
        hidden_size=512, intermediate_size=1024, num_hidden_layers=1, num_attention_heads=8,
        num_key_value_heads=2, vocab_size=1000, num_local_experts=8, num_experts_per_tok=2,
    )  # fmt: skip
    return MixtralForCausalLM(config), (torch.zeros(1, 256, dtype=torch.int64),)


def tied() -> Built:
    return Language(), (torch.zeros(1, 32, dtype=torch.int64),)


def uncalled() -> Built:
    return Uncalled(), (torch.zeros(1, 16, 64),)


def dicts() -> Built:
    return Dicts(), ({"features": torch.zeros(1, 16, 64), "mask": torch.ones(1, 16, 1)},)


def depthwise() -> Built:
    convolutions = nn.Sequential(
        nn.Conv2d(64, 64, 3, padding=1, groups=64), nn.Conv2d(64, 128, 3, padding=1, groups=4)
    )
    return convolutions, (torch.zeros(1, 64, 56, 56),)


def torchvision_network(name: str) -> Built:
    """As its published weights have it, with a batch of one of the inputs that they document.

    Detectors find as many boxes as they let through, which is what the published figures count.
    """
    from weighbridge.frontends import torchvision

    inputs = torchvision.documented_inputs(name)
    if torchvision.is_detector(name):
        module, _ = torchvision.detector(name)
    else:
        module = torchvision.made(name, inputs)
    return module, tuple(torch.zeros(1, *each.shape) for each in inputs)


def zoo_network(name: str) -> Built:
    from benchmarks.peers.described import module

    network, shape = module(name)
    return network, (torch.zeros(shape),)


def bert(tokens: int = 128) -> Built:
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig()), (torch.zeros(1, tokens, dtype=torch.int64),)


def bert_512() -> Built:
    return bert(512)


def gpt2_medium() -> Built:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(n_embd=1024, n_layer=24, n_head=16)
    return GPT2LMHeadModel(config), (torch.zeros(1, 1024, dtype=torch.int64),)


def llama_8b() -> Built:
    """Llama 3 8B by its published configuration, 2,048 tokens."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=8, vocab_size=128256, max_position_embeddings=8192,
    )  # fmt: skip
    return LlamaForCausalLM(config), (torch.zeros(1, 2048, dtype=torch.int64),)


def load() -> None:
    """Imports what networks are made of, so that processes forked afterwards need not."""
    import torchvision  # noqa: F401
    from transformers import BertModel, GPT2LMHeadModel, LlamaForCausalLM, MixtralForCausalLM

    del (
        BertModel,
        GPT2LMHeadModel,
        LlamaForCausalLM,
        MixtralForCausalLM,
    )  # loaded when they are named


LIBRARIES = {"torchvision": torchvision_network, "zoo": zoo_network}


def built(build: str, *, device: str) -> Built:
    """What a function of this module builds, or 'torchvision:NAME' or 'zoo:NAME', in eval mode on a device.

    On 'meta', without data, also what can only be built with data.
    """
    library, _, name = build.rpartition(":")
    make = partial(LIBRARIES[library], name) if library else globals()[build]
    try:
        with torch.device(device):
            module, arguments = make()
    except Exception:
        if device != "meta":
            raise
        module, arguments = make()
        module, arguments = module.to(device), tuple(each.to(device) for each in arguments)
    return module.eval(), arguments
