"""Memory of GPUs as others measured and published it, beside what is predicted for the same card.

The tables lie beside the checkout where they are there (`../shared/data/published/memory`, with their sources); each
row whose network can be built from its configuration, and whose workload its source states, is predicted whole:
traced without data, through the allocator of the card. Nothing is fitted.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from benchmarks.truth.tables import Errors, Sheet, mib, percent
from weighbridge.analyses.memory.resident import Resident, resident
from weighbridge.analyses.memory.timeline import in_round, lifetimes
from weighbridge.devices import load
from weighbridge.frontends.torch import trace
from weighbridge.program import Program
from weighbridge.workload import Optimizer, Workload

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "published" / "memory"

Metric = Literal["allocated", "reserved", "device", "after forward"]
CUBLAS_BYTES = 8_519_680
"""The workspace of a handle that PyTorch takes through its allocator, of most architectures (aten/src/ATen/cuda/CublasHandlePool.cpp)."""

MB = 10**6
MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A published figure and what is predicted of it."""

    source: str
    network: str
    metric: Metric
    published_bytes: int
    predicted_bytes: int

    @property
    def error(self) -> float:
        return self.predicted_bytes / self.published_bytes - 1


def sheet(only: str = "") -> Sheet | None:
    """Every row that can be predicted here; None where the tables are not there."""
    if not PUBLISHED.is_dir():
        return None
    found = [row for source in SOURCES for row in source() if only in f"{row.source} {row.network}"]
    return Sheet(
        heading="Memory on GPUs, against published figures",
        sentences=(
            "Networks are built from their configurations, the workload is the one that each source states, and the",
            "prediction is a traced step through PyTorch's allocator for the card. Nothing was fitted; where a figure is",
            "what the driver reports of a device (`device`), what that source itself saw beside PyTorch's memory is",
            "added. `python -m benchmarks truth published`.",
        ),
        columns=("source", "network", "metric", "published MiB", "predicted MiB", "error"),
        rows=[
            (
                row.source, row.network, row.metric, mib(row.published_bytes), mib(row.predicted_bytes),
                percent(row.error, signed=True),
            )
            for row in found
        ],
        errors=Errors(values=[row.error for row in found]),
        notes=NOTES,
    )  # fmt: skip


NOTES = (
    "- ColossalAI: 3 to 6 MiB are missing in most rows, for the GPU's kernels keep scratch that is not known here; which "
    "GPU it was the source does not say.",
    "- BERT-large: the gradients that PyTorch kept by default until 2.0 are counted. What is left is 1.6 GiB, of which "
    "the gradient norm's clipping and the fragments between steps of the Trainer are not followed.",
    "- Llama-2-7B: 64 MiB are missing in every row: transformers 4.35 kept tables of cosines and sines in each of 32 "
    "layers, 4096 x 128 x 2 numbers of 2 bytes. Its logits, held in float16 and in float32 at once, are as they were.",
    "- BGE-base: 80 MiB too many in the rows of one sample, where nearly all is the context: it is taken from Llama's "
    "table, of another PyTorch on the same kind of machine. The attention is transformers' of today, and not of 2023.",
)


def _read(name: str) -> list[dict[str, str]]:
    with (PUBLISHED / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _traced(model: nn.Module, workload: Workload, examples: Mapping[str, Tensor]) -> Program:
    return trace(model, workload, network="published", source="benchmark", examples=examples)


def _on(program: Program, card: str) -> Resident:
    lives = lifetimes(program)
    if (
        not program.workload.training
    ):  # a single pass is measured: no outputs are held of one before
        lives = tuple(life for life in lives if life.category != "held")
    return resident(lives, load(card))


# -- ColossalAI: what is allocated after a forward pass ----------------------------------------------


def colossalai() -> Iterator[Row]:
    """Pull request 1587: torchvision's networks in training mode, float32, four images of 224 pixels.

    Its `real` figures are called the memory of forward. They are what is allocated after forward, the weights
    included: read so, all seven agree, and read as what forward adds none does.
    """
    from torchvision import models

    for row in _read("colossalai_pr1587_forward_activation_memory.csv"):
        name, batch = row["torchvision_model"], int(row["batch_inferred_from_flops"])
        with torch.device("meta"):
            model = models.get_model(name, weights=None)
        workload = Workload(mode="training", batch=batch, optimizer=Optimizer(name="sgd"))
        examples = {"x": torch.empty(batch, 3, 224, 224, device="meta")}
        yield Row(
            source="ColossalAI",
            network=f"{name}, batch {batch}",
            metric="after forward",
            published_bytes=int(float(row["real_fwd_mem_mb"]) * MIB),
            predicted_bytes=after_forward(_traced(model, workload, examples)),
        )


def after_forward(program: Program) -> int:
    """What the allocator has given out when forward is over, in whole blocks of 512 bytes, cuBLAS' workspace with it."""
    ends = next(
        index
        for index, op in enumerate(program.ops)
        if op.phase == "backward" or op.scope.partition(".")[0] == "loss"
    )
    sizes = (
        life.bytes
        for life in in_round(lifetimes(program), "first")
        if life.birth < ends and (life.death is None or life.death >= ends)
    )
    return sum(-(-size // 512) * 512 for size in sizes) + CUBLAS_BYTES


# -- transformers: BERT-large ----------------------------------------------------------------------------


def bert_large() -> Iterator[Row]:
    """Model training anatomy: batch 4, 512 tokens, float32, transformers' own AdamW, on a V100 seen by NVML."""
    stages = {
        row["stage"].partition(" ")[0]: int(row["gpu_memory_mb_nvml"])
        for row in _read("hf_bert_large_anatomy_v100.csv")
    }
    context, trained = stages["CUDA"], stages["after"]
    workload = Workload(
        mode="training",
        batch=4,
        optimizer=Optimizer(name="adamw", implementation="single"),
        set_to_none=False,  # the default of PyTorch until 2.0
    )
    configuration = {
        "vocab_size": 30522, "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
        "intermediate_size": 4096,
    }  # fmt: skip
    model = _transformers("BertForSequenceClassification", configuration)
    found = _on(_traced(model, workload, {"input_ids": _tokens(4, 512)}), "v100-16gb")
    yield Row(
        source="transformers",
        network="BERT-large, batch 4, AdamW",
        metric="device",
        published_bytes=trained * MIB,
        predicted_bytes=found.reserved.expected + context * MIB,
    )


def _tokens(batch: int, length: int) -> Tensor:
    return torch.empty(batch, length, dtype=torch.int64, device="meta")


def _transformers(kind: str, configuration: Mapping[str, Any]) -> nn.Module:
    """A network of transformers' without memory for its weights, its attention written out as it was before 2024."""
    import transformers

    network = getattr(transformers, kind)
    settings = network.config_class(**configuration)
    settings._attn_implementation = "eager"
    with torch.device("meta"):
        made: nn.Module = network(settings)
    return made


# -- optimum-benchmark: inference ------------------------------------------------------------------------


class _AsIn2023(nn.Module):
    """Llama as transformers 4.35 ran it: logits of every token, in float32 too, and the keys and values of all."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: Tensor) -> tuple[object, ...]:
        found = self.network(input_ids=input_ids, use_cache=True)
        layers = found.past_key_values.layers
        return (found.logits.float(), *((layer.keys, layer.values) for layer in layers))


def llama_7b() -> Iterator[Row]:
    """Llama-2-7B in float16, a forward pass over prompts of 256 tokens, on an A100 of 80 GB."""
    configuration = {
        "vocab_size": 32000, "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 32, "intermediate_size": 11008, "max_position_embeddings": 4096,
    }  # fmt: skip
    model = _AsIn2023(_transformers("LlamaForCausalLM", configuration))
    for row in _read("optimum_benchmark_llama7b_inference_a100.csv"):
        if row["experiment_name"] != "fp16":
            continue
        batch = int(row["benchmark.input_shapes.batch_size"])
        workload = Workload(batch=batch, dtype="float16")
        found = _on(_traced(model, workload, {"input_ids": _tokens(batch, 256)}), "a100-80gb")
        metrics: Mapping[Metric, int] = {
            "allocated": found.allocated.expected,
            "reserved": found.reserved.expected,
        }
        for metric, predicted in metrics.items():
            yield Row(
                source="optimum-benchmark",
                network=f"Llama-2-7B fp16, batch {batch}",
                metric=metric,
                published_bytes=int(row[f"forward.max_memory_{metric}(MB)"]) * MB,
                predicted_bytes=predicted,
            )


def bge_base() -> Iterator[Row]:
    """BGE-base, a BERT-base in float32, over batches and lengths; what the driver reports of an A100 of 80 GB."""
    context = outside_of_llama()
    configuration = {"vocab_size": 30522}
    model = _transformers("BertModel", configuration)
    seen = set()
    for row in _read("optimum_benchmark_bge_base_batch_seq_sweep.csv"):
        batch = int(row["benchmark.input_shapes.batch_size"])
        length = int(row["benchmark.input_shapes.sequence_length"])
        if row["backend.name"] != "pytorch" or (batch, length) in seen:
            continue
        seen.add((batch, length))
        program = _traced(model, Workload(batch=batch), {"input_ids": _tokens(batch, length)})
        yield Row(
            source="optimum-benchmark",
            network=f"BGE-base, batch {batch}, {length} tokens",
            metric="device",
            published_bytes=int(row["forward.peak_memory(MB)"]) * MB,
            predicted_bytes=_on(program, "a100-80gb").reserved.expected + context,
        )


@cache
def outside_of_llama() -> int:
    """What the driver reported on the same machine beside PyTorch's memory: the same in every row of Llama's table."""
    row = _read("optimum_benchmark_llama7b_inference_a100.csv")[0]
    used, reserved = (
        int(row[f"forward.max_memory_{name}(MB)"]) * MB for name in ("used", "reserved")
    )
    return used - reserved


SOURCES: tuple[Callable[[], Iterator[Row]], ...] = (colossalai, bert_large, llama_7b, bge_base)
