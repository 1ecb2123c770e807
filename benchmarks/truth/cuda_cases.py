"""The networks that a GPU is measured with, each in the uses that it is measured in.

A use is written as on the command line: `train adamw, amp-bf16, channels-last, batch 64`. All networks are built from their
configuration; nothing of them was used in fitting anything, for no figure of this GPU was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.truth.libraries import Build, of_timm, of_torchvision, of_transformers, with_logits
from weighbridge.frontends.torch.catching import Caught
from weighbridge.workload import InputSpec, Optimizer, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network: how it is built, and the shape of a sample (of words, where `words` says how many there are)."""

    name: str
    kind: str
    build: Build
    shape: tuple[int, ...]
    words: int = 0
    large: bool = False  # built without data: weights are drawn on the device


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaCase:
    """A network in one use."""

    network: Network
    use: str

    @property
    def key(self) -> str:
        return f"{self.network.name}, {self.use}"

    @property
    def workload(self) -> Workload:
        """What the use says."""
        settings: dict[str, Any] = {"mode": "inference", "backend": "cuda"}
        for word in self.use.split(", "):
            name, _, value = word.partition(" ")
            if name == "batch":
                settings["batch"] = int(value)
            elif name == "train":
                optimizer, *how = value.split()
                settings["mode"] = "training"
                settings["optimizer"] = Optimizer(
                    name=optimizer, **({"implementation": how[0]} if how else {})
                )
            elif name == "channels-last":
                settings["layout"] = name
            elif name == "compiled":
                settings["compiled"] = True
            else:
                settings["precision"] = name
        spec = InputSpec(shape=self.network.shape, dtype="int64" if self.network.words else None)
        return Workload(inputs=(spec,), **settings)

    def caught(self, device: str = "cpu") -> Caught:
        """The network with its workload; built on the device that is named, meta for none."""
        torch.manual_seed(0)
        with torch.device("meta" if self.network.large else device):
            model = self.network.build()
        return Caught(model=model, workload=self.workload, network=self.network.name, examples=None)


def _words(kind: str, **configuration: Any) -> Build:
    """A network of transformers' over words; what decodes keeps nothing for the next word."""
    decodes = "ForCausalLM" in kind or "LMHead" in kind or "ForConditional" in kind
    given = {"use_cache": False} if decodes else {}
    return with_logits(of_transformers(kind, **configuration), **given)


_LLAMA: Mapping[str, Any] = {
    "vocab_size": 128_256, "hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32,
    "num_key_value_heads": 8, "intermediate_size": 8192, "tie_word_embeddings": True,
}  # fmt: skip
_LLAMA_8B: Mapping[str, Any] = {
    "vocab_size": 128_256, "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "intermediate_size": 14_336,
}  # fmt: skip
_QWEN: Mapping[str, Any] = {
    "vocab_size": 151_936, "hidden_size": 896, "num_hidden_layers": 24, "num_attention_heads": 14,
    "num_key_value_heads": 2, "intermediate_size": 4864, "tie_word_embeddings": True,
}  # fmt: skip
_PYTHIA: Mapping[str, Any] = {
    "vocab_size": 50_304, "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
    "intermediate_size": 4096,
}  # fmt: skip
_BERT_LARGE: Mapping[str, Any] = {
    "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
}  # fmt: skip
_GPT2_MEDIUM: Mapping[str, Any] = {"n_embd": 1024, "n_layer": 24, "n_head": 16}
_T5_BASE: Mapping[str, Any] = {
    "d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12, "num_heads": 12,
}  # fmt: skip

_IMAGES: tuple[tuple[str, str, Callable[[str], Build], int, str], ...] = (
    ("resnet50", "CNN", of_torchvision, 224,
     "batch 1; batch 32; batch 256; tf32, batch 64; amp-bf16, batch 64; bf16, channels-last, batch 256;"
     " train sgd, batch 32; train sgd, batch 128; train adamw, amp-bf16, channels-last, batch 128;"
     " train sgd, channels-last, batch 64; train adamw, amp-fp16, batch 64; compiled, batch 64;"
     " train sgd, amp-bf16, channels-last, compiled, batch 128"),
    ("resnet18", "CNN", of_torchvision, 224, "batch 8; bf16, batch 256; train adamw, batch 64; train sgd, batch 4"),
    ("vgg16", "CNN", of_torchvision, 224, "batch 1; batch 64; train sgd, batch 32; train adamw, amp-bf16, batch 64"),
    ("alexnet", "CNN", of_torchvision, 224, "batch 128; train adamw, batch 128"),
    ("densenet121", "CNN", of_torchvision, 224, "batch 64; train sgd, batch 32; amp-bf16, channels-last, batch 128"),
    ("googlenet", "CNN", of_torchvision, 224, "batch 64; train sgd, batch 64"),
    ("inception_v3", "CNN", of_torchvision, 299, "batch 32; train sgd, amp-bf16, batch 64"),
    ("mobilenet_v2", "depthwise CNN", of_torchvision, 224, "batch 1; batch 128; bf16, channels-last, batch 128; train sgd, batch 64"),
    ("mobilenet_v3_large", "depthwise CNN", of_torchvision, 224, "batch 64; train adamw, amp-bf16, channels-last, batch 128"),
    ("efficientnet_b0", "depthwise CNN", of_torchvision, 224, "batch 64; train sgd, batch 64; amp-bf16, channels-last, batch 128"),
    ("shufflenet_v2_x1_0", "depthwise CNN", of_torchvision, 224, "batch 128; train sgd, batch 16"),
    ("squeezenet1_1", "CNN", of_torchvision, 224, "batch 128; train sgd, batch 128"),
    ("resnext50_32x4d", "CNN", of_torchvision, 224, "batch 64; train sgd, amp-bf16, channels-last, batch 64"),
    ("regnet_y_8gf", "CNN", of_torchvision, 224, "batch 64; train sgd, batch 64"),
    ("convnext_tiny", "CNN", of_torchvision, 224, "batch 64; train adamw, amp-bf16, batch 64; bf16, channels-last, batch 128"),
    ("vit_b_16", "transformer", of_torchvision, 224, "batch 1; batch 64; tf32, batch 64; train adamw, batch 32; amp-bf16, batch 64"),
    ("swin_t", "transformer", of_torchvision, 224, "batch 64; train adamw, amp-bf16, batch 64"),
    ("vit_small_patch16_224", "transformer", of_timm, 224,
     "batch 128; bf16, batch 256; train adamw, amp-bf16, batch 128; train adamw fused, amp-bf16, batch 128; compiled, bf16, batch 128"),
    ("vit_large_patch16_224", "transformer", of_timm, 224, "batch 16; bf16, batch 64; train adamw, amp-bf16, batch 32"),
    ("mixer_b16_224", "transformer", of_timm, 224, "batch 64; tf32, batch 64; train sgd, amp-bf16, batch 64"),
    ("beit_base_patch16_224", "transformer", of_timm, 224, "batch 32; train adamw, bf16, batch 32"),
    ("maxvit_tiny_tf_224", "transformer", of_timm, 224, "batch 32; train adamw, amp-bf16, batch 32"),
    ("poolformer_s24", "transformer", of_timm, 224, "batch 64; train adamw, amp-bf16, batch 64"),
    ("levit_256", "transformer", of_timm, 224, "batch 128; train adamw, batch 128"),
    ("convnext_base", "CNN", of_timm, 224, "tf32, channels-last, batch 64; train adamw, amp-bf16, channels-last, batch 64"),
    ("tf_efficientnetv2_s", "depthwise CNN", of_timm, 300, "batch 32; train adamw, amp-bf16, channels-last, batch 64"),
    ("hrnet_w18", "CNN", of_timm, 224, "batch 64; train sgd, batch 16"),
    ("cspdarknet53", "CNN", of_timm, 256, "batch 64; amp-fp16, channels-last, batch 128"),
    ("repvgg_b1", "CNN", of_timm, 224, "batch 64; train sgd, amp-bf16, channels-last, batch 64"),
    ("resmlp_24_224", "transformer", of_timm, 224, "batch 64; train sgd, tf32, batch 32"),
    ("mobilevit_s", "depthwise CNN", of_timm, 256, "batch 64; train adamw, amp-bf16, batch 64"),
    ("dm_nfnet_f0", "CNN", of_timm, 256, "batch 32; train sgd, amp-bf16, batch 32"),
)  # fmt: skip

_TEXTS: tuple[tuple[str, str, Build, int, int, bool, str], ...] = (
    ("gpt2", "decoder", _words("GPT2LMHeadModel"), 512, 50_257, False,
     "batch 1; batch 8; bf16, batch 16; train adamw, batch 4; train adamw, amp-bf16, batch 8; train adamw, tf32, batch 4; compiled, bf16, batch 16"),
    ("gpt2-medium", "decoder", _words("GPT2LMHeadModel", **_GPT2_MEDIUM), 1024, 50_257, False,
     "bf16, batch 4; train adamw, amp-bf16, batch 4"),
    ("bert-base", "encoder", _words("BertForMaskedLM"), 128, 30_522, False,
     "batch 1; batch 32; amp-bf16, batch 64; train adamw, batch 16; train adamw, amp-bf16, batch 64"),
    ("bert-large", "encoder", _words("BertForMaskedLM", **_BERT_LARGE), 512, 30_522, False,
     "tf32, batch 8; train adamw, bf16, batch 8"),
    ("distilbert", "encoder", _words("DistilBertForMaskedLM"), 256, 30_522, False, "batch 16; train sgd, amp-fp16, batch 32"),
    ("t5-base", "encoder-decoder", _words("T5ForConditionalGeneration", **_T5_BASE), 256, 32_128, False,
     "batch 8; train adamw, amp-bf16, batch 8"),
    ("opt-125m", "decoder", _words("OPTForCausalLM"), 512, 50_272, False, "batch 4; train adamw, amp-bf16, batch 8"),
    ("pythia-410m", "decoder", _words("GPTNeoXForCausalLM", **_PYTHIA), 512, 50_304, False, "bf16, batch 8; train adamw, bf16, batch 4"),
    ("qwen2.5-0.5b", "decoder", _words("Qwen2ForCausalLM", **_QWEN), 512, 151_936, True, "bf16, batch 4; train adamw, amp-bf16, batch 4"),
    ("llama-3.2-1b", "decoder", _words("LlamaForCausalLM", **_LLAMA), 1024, 128_256, True,
     "bf16, batch 1; bf16, batch 8; train adamw, bf16, batch 2; train sgd, amp-bf16, batch 1"),
    ("llama-3-8b", "decoder", _words("LlamaForCausalLM", **_LLAMA_8B), 2048, 128_256, True, "bf16, batch 1; bf16, batch 4; train sgd, bf16, batch 1"),
)  # fmt: skip


def networks() -> Iterator[tuple[Network, str]]:
    """Every network, with the uses that it is measured in."""
    for name, kind, of, side, uses in _IMAGES:
        yield Network(name=name, kind=kind, build=of(name), shape=(3, side, side)), uses
    for name, kind, build, length, words, large, uses in _TEXTS:
        network = Network(
            name=name, kind=kind, build=build, shape=(length,), words=words, large=large
        )
        yield network, uses


def cuda_cases() -> tuple[CudaCase, ...]:
    """Every network in each of its uses: the first use of all, the second of all, and so on."""
    rows = [
        [CudaCase(network=network, use=use) for use in uses.split("; ")]
        for network, uses in networks()
    ]
    longest = max(map(len, rows))
    return tuple(row[turn] for turn in range(longest) for row in rows if turn < len(row))
