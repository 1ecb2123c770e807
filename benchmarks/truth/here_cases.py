"""The networks that this machine's clock is tried on: none of them was looked at while the calibration was made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.truth.libraries import Build, of_timm, of_torchvision, of_transformers, with_logits
from weighbridge.frontends.torch.catching import Caught
from weighbridge.frontends.torch.inputs import Examples
from weighbridge.workload import InputSpec, Optimizer, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network, the shape of a sample, and at which batches it is used: twice in inference, once in training."""

    name: str
    kind: str
    build: Build
    shape: tuple[int, ...]
    batches: tuple[int, int, int]
    words: int = 0  # of the vocabulary, where a sample is text


@dataclass(frozen=True, slots=True, kw_only=True)
class HereCase:
    """A network in one use."""

    network: Network
    batch: int
    training: bool

    @property
    def key(self) -> str:
        return f"{self.network.name} {'training' if self.training else 'inference'} {self.batch}"

    @property
    def workload(self) -> Workload:
        text = self.network.words > 0
        return Workload(
            mode="training" if self.training else "inference",
            batch=self.batch,
            inputs=(InputSpec(shape=self.network.shape, dtype="int64" if text else None),),
            optimizer=Optimizer(name="adamw" if text else "sgd") if self.training else None,
            backend="cpu",
        )

    def caught(self) -> Caught:
        torch.manual_seed(0)
        return Caught(
            model=self.network.build(),
            workload=self.workload,
            network=self.network.name,
            examples=self._examples(),
        )

    def _examples(self) -> Examples | None:
        if not self.network.words:
            return None
        words = torch.randint(0, self.network.words, (self.batch, *self.network.shape))
        return (words,)


class _Recurrent(nn.Module):
    """A language model of two LSTM layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(8000, 256)
        self.lstm = nn.LSTM(256, 256, num_layers=2, batch_first=True)
        self.head = nn.Linear(256, 8000)

    def forward(self, words: Tensor) -> Tensor:
        y, _ = self.lstm(self.embedding(words))
        return self.head(y).flatten(0, 1)


class _Encoder(nn.Module):
    """nn.TransformerEncoder, four layers, normalised first, over embedded words."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(8000, 384)
        layer = nn.TransformerEncoderLayer(384, 6, 1536, 0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.head = nn.Linear(384, 100)

    def forward(self, words: Tensor) -> Tensor:
        return self.head(self.layers(self.embedding(words)).mean(1))


_IMAGE = (3, 224, 224)

_CNNS: tuple[tuple[str, tuple[int, int, int]], ...] = (
    ("alexnet", (1, 16, 16)),
    ("vgg11_bn", (1, 4, 2)),
    ("resnet18", (1, 8, 8)),
    ("resnet34", (1, 4, 4)),
    ("resnext50_32x4d", (1, 4, 2)),
    ("densenet121", (1, 4, 2)),
    ("googlenet", (1, 8, 4)),
    ("squeezenet1_1", (1, 16, 8)),
    ("shufflenet_v2_x1_0", (1, 16, 16)),
    ("mobilenet_v3_large", (1, 8, 8)),
    ("mnasnet1_0", (1, 8, 4)),
    ("efficientnet_b0", (1, 4, 4)),
    ("regnet_y_400mf", (1, 8, 8)),
    ("regnet_x_800mf", (1, 16, 4)),
    ("convnext_tiny", (1, 4, 2)),
)
_ATTENDING: tuple[tuple[str, tuple[int, int, int]], ...] = (
    ("swin_t", (1, 4, 2)),
    ("vit_b_32", (1, 8, 4)),
)
_OF_TIMM: tuple[tuple[str, str, tuple[int, int, int]], ...] = (
    ("deit_tiny_patch16_224", "transformer", (1, 16, 8)),
    ("deit_small_patch16_224", "transformer", (1, 8, 4)),
    ("mixer_s32_224", "transformer", (1, 16, 8)),
    ("resmlp_12_224", "transformer", (1, 8, 4)),
    ("poolformer_s12", "CNN", (1, 8, 4)),
    ("ghostnet_100", "CNN", (1, 16, 8)),
    ("dla34", "CNN", (1, 8, 4)),
    ("repvgg_a0", "CNN", (1, 8, 4)),
)
_GPT = with_logits(
    of_transformers(
        "GPT2LMHeadModel", n_layer=4, n_head=8, n_embd=256, vocab_size=8000, n_positions=128
    ),
    use_cache=False,
)
_BERT = with_logits(
    of_transformers(
        "BertForMaskedLM", num_hidden_layers=4, num_attention_heads=8, hidden_size=256,
        intermediate_size=1024, vocab_size=8000,
    )
)  # fmt: skip
_TEXT: tuple[tuple[str, str, Build, int, tuple[int, int, int]], ...] = (
    ("gpt, 4 layers of 256", "transformer", _GPT, 128, (1, 8, 4)),
    ("bert, 4 layers of 256", "transformer", _BERT, 128, (1, 8, 4)),
    ("lstm, 2 layers of 256", "recurrent", _Recurrent, 64, (1, 16, 8)),
    ("encoder, 4 layers of 384", "transformer", _Encoder, 128, (1, 16, 8)),
)


def networks() -> Iterator[Network]:
    """All thirty."""
    for kind, table in (("CNN", _CNNS), ("transformer", _ATTENDING)):
        for name, batches in table:
            yield Network(
                name=name, kind=kind, build=of_torchvision(name), shape=_IMAGE, batches=batches
            )
    yield Network(
        name="inception_v3",
        kind="CNN",
        build=of_torchvision("inception_v3"),
        shape=(3, 299, 299),
        batches=(1, 4, 2),
    )
    for name, kind, batches in _OF_TIMM:
        yield Network(name=name, kind=kind, build=of_timm(name), shape=_IMAGE, batches=batches)
    for name, kind, build, length, batches in _TEXT:
        yield Network(
            name=name, kind=kind, build=build, shape=(length,), batches=batches, words=8000
        )


def here_cases() -> tuple[HereCase, ...]:
    """Every network at two batches in inference and one in training."""
    return tuple(
        HereCase(network=network, batch=batch, training=training)
        for network in networks()
        for batch, training in zip(network.batches, (False, False, True), strict=True)
    )
