"""The training configurations that are run for real: networks of every kind, small enough for a CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from benchmarks.truth import networks as own
from benchmarks.truth.libraries import of_torchvision, of_transformers

Loss = Literal["cross-entropy", "mean", "own"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """An input with its batch: of numbers, or of indices below `high`."""

    shape: tuple[int, ...]
    high: int | None = None

    def tensor(self, dtype: torch.dtype) -> Tensor:
        if self.high is None:
            return torch.zeros(self.shape, dtype=dtype)
        return torch.randint(self.high, self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An optimizer of `torch.optim` and its settings; a CPU runs it one parameter after the other."""

    name: Literal["sgd", "adam", "adamw", "rmsprop", "adagrad"]
    settings: Mapping[str, float | bool] = field(default_factory=dict)

    def make(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        made: torch.optim.Optimizer = getattr(torch.optim, _CLASSES[self.name])(
            parameters, lr=1e-4, **self.settings
        )
        return made


_CLASSES = {
    "sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop", "adagrad": "Adagrad",
}  # fmt: skip
SGD = Rule(name="sgd")
MOMENTUM = Rule(name="sgd", settings={"momentum": 0.9})
ADAM = Rule(name="adam")
ADAMW = Rule(name="adamw")
RMSPROP = Rule(name="rmsprop")
ADAGRAD = Rule(name="adagrad")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A training loop: a network, what goes in, and how it is trained."""

    name: str
    family: str
    build: Callable[[], nn.Module]
    given: Mapping[str, Given]
    optimizer: Rule = SGD
    loss: Loss = "cross-entropy"
    auxiliary: tuple[tuple[str, float], ...] = ()
    dtype: Literal["float32", "bfloat16"] = "float32"
    autocast: bool = False
    accumulation: int = 1

    def inputs(self) -> dict[str, Tensor]:
        dtype = getattr(torch, self.dtype)
        return {name: given.tensor(dtype) for name, given in self.given.items()}

    @property
    def batch(self) -> int:
        return next(iter(self.given.values())).shape[0]

    @property
    def settings(self) -> str:
        parts = [self.optimizer.name + (" momentum" if self.optimizer.settings else "")]
        parts += [self.dtype] if self.dtype != "float32" else []
        parts += ["autocast bf16"] if self.autocast else []
        parts += [f"{self.accumulation} micro-steps"] if self.accumulation > 1 else []
        return ", ".join(parts)


def _torchvision(
    name: str, batch: int, side: int, optimizer: Rule = SGD, *, family: str = "CNN", **more: Any
) -> Case:
    return Case(
        name=more.pop("called", name),
        family=family,
        build=of_torchvision(name, **more.pop("settings", {})),
        given={"x": Given(shape=(batch, 3, side, side))},
        optimizer=optimizer,
        **more,
    )


def _transformers(
    name: str,
    kind: str,
    configuration: dict[str, Any],
    batch: int,
    length: int,
    rule: Rule,
    **more: Any,
) -> Case:
    """A network of transformers' from a configuration; `kind` is the class of the network."""
    encoder_decoder = more.pop("encoder_decoder", False)
    build = of_transformers(kind, **configuration)
    high = configuration["vocab_size"]
    given = {"input_ids": Given(shape=(batch, length), high=high)}
    if encoder_decoder:
        given["decoder_input_ids"] = Given(shape=(batch, length // 2), high=high)
    return Case(name=name, family="transformer", build=build, given=given, optimizer=rule, **more)


def _own(
    name: str, build: Callable[[], nn.Module], shape: tuple[int, ...], rule: Rule, **more: Any
) -> Case:
    high = more.pop("high", None)
    argument = more.pop("argument", "x" if high is None else "tokens")
    return Case(
        name=name,
        family=more.pop("family", "own"),
        build=build,
        given={argument: Given(shape=shape, high=high)},
        optimizer=rule,
        **more,
    )


_BERT = {
    "vocab_size": 4000, "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4,
    "intermediate_size": 1024,
}  # fmt: skip
_GPT2 = {"vocab_size": 4000, "n_embd": 256, "n_layer": 4, "n_head": 4, "n_positions": 256}
_LLAMA = {
    "vocab_size": 4000, "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 8,
    "num_key_value_heads": 2, "intermediate_size": 768,
}  # fmt: skip
_T5 = {
    "vocab_size": 4000, "d_model": 256, "d_kv": 32, "d_ff": 1024, "num_layers": 3, "num_heads": 8,
}  # fmt: skip
_STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}

CASES: tuple[Case, ...] = (
    _torchvision("alexnet", 8, 128, ADAMW),
    _torchvision("vgg11", 4, 128, SGD),
    _torchvision("vgg11_bn", 2, 128, MOMENTUM),
    _torchvision("vgg16_bn", 2, 128, SGD),
    _torchvision("resnet18", 8, 128, SGD),
    _torchvision("resnet18", 16, 128, MOMENTUM, called="resnet18 momentum"),
    _torchvision("resnet18", 4, 128, ADAMW, called="resnet18 accumulated", accumulation=3),
    _torchvision("resnet34", 4, 128, ADAM),
    _torchvision("resnet50", 4, 128, ADAMW),
    _torchvision("resnet50", 4, 160, SGD, called="resnet50 sgd"),
    _torchvision("resnet50", 1, 224, MOMENTUM, called="resnet50 one image"),
    _torchvision("resnext50_32x4d", 2, 128, MOMENTUM),
    _torchvision("wide_resnet50_2", 2, 128, SGD),
    _torchvision("densenet121", 4, 128, SGD),
    _torchvision("densenet121", 2, 128, ADAMW, called="densenet121 adamw"),
    _torchvision("densenet169", 2, 128, MOMENTUM),
    _torchvision("mobilenet_v2", 8, 128, MOMENTUM),
    _torchvision("mobilenet_v3_large", 8, 128, ADAMW),
    _torchvision("mobilenet_v3_small", 16, 128, RMSPROP),
    _torchvision("mnasnet1_0", 8, 128, SGD),
    _torchvision("efficientnet_b0", 4, 128, ADAMW),
    _torchvision("efficientnet_v2_s", 2, 128, MOMENTUM),
    _torchvision("regnet_y_400mf", 8, 128, SGD),
    _torchvision("regnet_x_800mf", 4, 128, ADAMW),
    _torchvision("convnext_tiny", 4, 128, ADAMW),
    _torchvision("shufflenet_v2_x1_0", 16, 128, MOMENTUM),
    _torchvision("squeezenet1_1", 8, 128, ADAM),
    _torchvision(
        "googlenet", 4, 128, MOMENTUM, settings={"aux_logits": True, "init_weights": False},
        auxiliary=(("aux_logits1", 0.3), ("aux_logits2", 0.3)),
    ),
    _torchvision("inception_v3", 2, 171, SGD, settings={"aux_logits": False, "init_weights": False}),
    _torchvision("resnet18", 2, 128, MOMENTUM, called="resnet18 bf16", dtype="bfloat16"),
    _torchvision("vit_b_16", 8, 64, ADAMW, family="ViT", settings={"image_size": 64}),
    _torchvision("vit_b_32", 4, 128, SGD, family="ViT", settings={"image_size": 128}),
    _torchvision(
        "vit_b_16", 4, 64, ADAMW, family="ViT", settings={"image_size": 64}, called="vit_b_16 bf16", dtype="bfloat16"
    ),
    _torchvision("swin_t", 2, 128, ADAMW, family="Swin"),
    _torchvision("swin_v2_t", 2, 128, SGD, family="Swin"),
    _transformers("BERT", "BertForMaskedLM", _BERT, 8, 128, ADAMW),
    _transformers("BERT without dropout", "BertForMaskedLM", {**_BERT, **_STILL}, 8, 128, ADAMW),
    _transformers("BERT-base", "BertForMaskedLM", {"vocab_size": 30522}, 2, 64, SGD),
    _transformers("BERT classifier", "BertForSequenceClassification", _BERT, 16, 64, MOMENTUM),
    _transformers("DistilBERT", "DistilBertForMaskedLM", {"vocab_size": 4000, "dim": 256, "hidden_dim": 1024, "n_layers": 4, "n_heads": 4}, 8, 128, ADAMW),
    _transformers("GPT-2", "GPT2LMHeadModel", _GPT2, 8, 128, ADAMW),
    _transformers("GPT-2 long", "GPT2LMHeadModel", _GPT2, 2, 256, SGD),
    _transformers("GPT-2 small", "GPT2LMHeadModel", {"vocab_size": 50257}, 1, 64, SGD),
    _transformers("GPT-2 accumulated", "GPT2LMHeadModel", _GPT2, 4, 128, ADAMW, accumulation=2),
    _transformers("GPT-2 bf16", "GPT2LMHeadModel", _GPT2, 8, 64, ADAMW, dtype="bfloat16"),
    _transformers("Llama", "LlamaForCausalLM", _LLAMA, 8, 128, ADAMW),
    _transformers("Llama momentum", "LlamaForCausalLM", _LLAMA, 4, 256, MOMENTUM),
    _transformers("Llama bf16", "LlamaForCausalLM", _LLAMA, 8, 64, ADAMW, dtype="bfloat16"),
    _transformers("Qwen2", "Qwen2ForCausalLM", _LLAMA, 4, 128, ADAMW),
    _transformers("OPT", "OPTForCausalLM", {"vocab_size": 4000, "hidden_size": 256, "num_hidden_layers": 4, "ffn_dim": 1024, "num_attention_heads": 4, "word_embed_proj_dim": 256}, 8, 128, ADAMW),
    _transformers("GPT-NeoX", "GPTNeoXForCausalLM", {"vocab_size": 4000, "hidden_size": 256, "num_hidden_layers": 4, "intermediate_size": 1024, "num_attention_heads": 4}, 8, 128, ADAMW),
    _transformers("T5", "T5ForConditionalGeneration", _T5, 8, 64, ADAMW, encoder_decoder=True),
    _transformers("T5 sgd", "T5ForConditionalGeneration", {**_T5, "dropout_rate": 0.0}, 4, 128, SGD, encoder_decoder=True),
    _own("LSTM", lambda: own.Recurrent("LSTM"), (16, 64), ADAMW, high=2000, family="RNN"),
    _own("LSTM both ways", lambda: own.Recurrent("LSTM", both=True), (8, 64), SGD, high=2000, family="RNN"),
    _own("LSTM dropout", lambda: own.Recurrent("LSTM", rate=0.2), (16, 32), MOMENTUM, high=2000, family="RNN"),
    _own("GRU", lambda: own.Recurrent("GRU"), (16, 64), ADAMW, high=2000, family="RNN"),
    _own("GRU both ways", lambda: own.Recurrent("GRU", both=True, layers=1), (8, 64), ADAMW, high=2000, family="RNN"),
    _own("RNN", lambda: own.Recurrent("RNN"), (16, 64), SGD, high=2000, family="RNN"),
    _own("LSTM cells", own.Cells, (16, 48, 256), ADAMW, family="RNN"),
    _own("speech", own.Speech, (8, 1, 8000), ADAM, family="RNN"),
    _own("U-Net", own.UNet, (4, 3, 64, 64), ADAMW, family="U-Net", loss="mean"),
    _own("U-Net sgd", lambda: own.UNet(width=16), (8, 3, 96, 96), SGD, family="U-Net", loss="mean"),
    _own("U-Net accumulated", lambda: own.UNet(width=16), (4, 3, 96, 96), ADAM, family="U-Net", loss="mean", accumulation=2),
    _own("perceptron", own.Perceptron, (256, 2048), SGD),
    _own("perceptron adamw", own.Perceptron, (16, 2048), ADAMW),
    _own("perceptron dropout", lambda: own.Perceptron(width=1024, rate=0.5), (512, 1024), SGD),
    _own("perceptron bf16", own.Perceptron, (16, 2048), MOMENTUM, dtype="bfloat16"),
    _own(
        "perceptron autocast", lambda: own.Perceptron(width=1024), (64, 1024), ADAMW, autocast=True
    ),
    _own("branches", own.Branches, (8, 3, 64, 64), ADAM),
    _own("shared block", own.Shared, (16, 64, 512), ADAGRAD),
    _own("autoencoder", own.Autoencoder, (8, 3, 96, 96), ADAM, loss="mean"),
    _own("video", own.Video, (2, 3, 8, 48, 48), SGD),
    _own("decoder", own.Decoder, (8, 128), ADAMW, high=4000),
    _own("decoder explicit", lambda: own.Decoder(explicit=True), (8, 128), ADAMW, high=4000),
    _own("decoder explicit dropout", lambda: own.Decoder(explicit=True, rate=0.1), (8, 128), SGD, high=4000),
    _own("decoder checkpointed", lambda: own.Decoder(layers=8, recompute=True), (8, 128), ADAMW, high=4000),
    _own("decoder checkpointed dropout", lambda: own.Decoder(layers=8, recompute=True, explicit=True, rate=0.1), (4, 128), SGD, high=4000),
    _own("decoder accumulated", own.Decoder, (4, 128), MOMENTUM, high=4000, accumulation=4),
    _own("convolutions checkpointed", own.CheckpointedConvolutions, (8, 3, 64, 64), MOMENTUM),
    _own("convolutions checkpointed, accumulated", own.CheckpointedConvolutions, (4, 3, 64, 64), ADAMW, accumulation=2),
    _own("decoder autocast", own.Decoder, (2, 128), ADAMW, high=4000, autocast=True),
    _own("U-Net autocast", lambda: own.UNet(width=16), (1, 3, 96, 96), SGD, family="U-Net", loss="mean", autocast=True),
)  # fmt: skip
"""Every configuration, in the order of the table."""


def case_named(name: str) -> Case:
    """The case of that name.

    Raises:
        KeyError: there is none.
    """
    return {case.name: case for case in CASES}[name]
