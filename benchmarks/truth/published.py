"""Memory of GPUs as others measured and published it, beside what is predicted for the same card.

The tables lie beside the checkout where they are there (`../shared/data/published/memory`, with their sources); each
row whose network can be built from its configuration, and whose workload its source states, is predicted whole:
traced without data, through the allocator of the card. Fine-tuning recipes are in `finetuning`,
detectors in `detectors`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache

import torch
from torch import Tensor, nn

from benchmarks.truth.detectors import NOTES as DETECTORS_NOTES
from benchmarks.truth.detectors import detection
from benchmarks.truth.finetuning import NOTES as FINETUNING_NOTES
from benchmarks.truth.finetuning import litgpt, peft, torchtune
from benchmarks.truth.reading import (
    MB,
    MIB,
    PUBLISHED,
    Metric,
    Row,
    around,
    exactly,
    of_transformers,
    on,
    read,
    tokens,
    traced,
)  # fmt: skip
from benchmarks.truth.tables import Errors, Sheet, mib, percent
from weighbridge.analyses.memory.resident import KERNELS, Interval
from weighbridge.analyses.memory.timeline import in_round, lifetimes
from weighbridge.program import Program
from weighbridge.workload import Optimizer, Workload

CUBLAS_BYTES = 8_519_680
"""The workspace of a handle that PyTorch takes through its allocator, of most architectures (aten/src/ATen/cuda/CublasHandlePool.cpp)."""


def sheet(only: str = "") -> Sheet | None:
    """Every row that can be predicted here; None where the tables are not there."""
    if not PUBLISHED.is_dir():
        return None
    found = [row for source in SOURCES for row in source() if only in f"{row.source} {row.network}"]
    return Sheet(
        heading="Memory on GPUs, against published figures",
        sentences=(
            "Networks are built from their configurations, the workload is the one that each source states, and the",
            "prediction is a traced step through PyTorch's allocator for the card. Where a figure is what the driver",
            "reports of a device (`device`), what that source itself saw beside PyTorch's memory is added. Fitted are two",
            "lengths of batches that PEFT's table does not state, to two of its rows, which are left out here. `interval`",
            "says of PyTorch's own figures where the published one lies, seen from the interval that a report shows.",
            "`python -m benchmarks truth published`.",
        ),
        columns=("source", "network", "metric", "published MiB", "predicted MiB", "error", "interval"),
        rows=[
            (
                row.source, row.network, row.metric, mib(row.published_bytes), mib(row.predicted.expected),
                percent(row.error, signed=True), row.place if row.of_tensors else "",
            )
            for row in found
        ],
        errors=Errors(values=[row.error for row in found]),
        notes=(*_summary(found), "", *NOTES, *FINETUNING_NOTES, *DETECTORS_NOTES),
    )  # fmt: skip


def _summary(found: Sequence[Row]) -> Iterator[str]:
    """The errors of each source, and how many of PyTorch's own figures the interval holds."""
    for source in dict.fromkeys(row.source for row in found):
        errors = Errors(values=[row.error for row in found if row.source == source])
        yield f"- {source}: {errors.text}."
    tensors = [row for row in found if row.of_tensors]
    if tensors:
        held = sum(row.place == "in" for row in tensors)
        fewer, more = KERNELS
        yield (
            f"- The interval around tensors, {percent(-fewer, signed=True)} to {percent(more, signed=True)}, holds {held} of "
            f"{len(tensors)} published figures of PyTorch's own: {_counted(tensors, 'below')} lie below it and "
            f"{_counted(tensors, 'above')} above."
        )


def _counted(rows: Sequence[Row], place: str) -> int:
    return sum(row.place == place for row in rows)


NOTES = (
    "- ColossalAI: 3 to 6 MiB are missing in most rows, for the GPU's kernels keep scratch that is not known here; which "
    "GPU it was the source does not say.",
    "- BERT-large: the gradients that PyTorch kept by default until 2.0 are counted. What is left is 1.6 GiB, of which "
    "the gradient norm's clipping and the fragments between steps of the Trainer are not followed.",
    "- Llama-2-7B: 64 MiB are missing in every row: transformers 4.35 kept tables of cosines and sines in each of 32 "
    "layers, 4096 x 128 x 2 numbers of 2 bytes. Its logits, held in float16 and in float32 at once, are as they were.",
    "- BGE-base: 80 MiB too many in the rows of one sample, where nearly all is the context: it is taken from Llama's "
    "table, of another PyTorch on the same kind of machine. The attention is transformers' of today, and not of 2023. At batch 512 two "
    "more activations of 384 MiB are counted than the figure has room for, which makes 10.7 %; at 1024 and 2048 the same "
    "number of bytes is too many, and its share is smaller.",
)


# -- ColossalAI: what is allocated after a forward pass ----------------------------------------------


def colossalai() -> Iterator[Row]:
    """Pull request 1587: torchvision's networks in training mode, float32, four images of 224 pixels.

    Its `real` figures are called the memory of forward. They are what is allocated after forward, the weights
    included: read so, all seven agree, and read as what forward adds none does.
    """
    from torchvision import models

    for row in read("colossalai_pr1587_forward_activation_memory.csv"):
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
            predicted=around(after_forward(traced(model, workload, examples))),
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
        for row in read("hf_bert_large_anatomy_v100.csv")
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
    model = of_transformers("BertForSequenceClassification", configuration)
    found = on(traced(model, workload, {"input_ids": tokens(4, 512)}), "v100-16gb")
    yield Row(
        source="transformers",
        network="BERT-large, batch 4, AdamW",
        metric="device",
        published_bytes=trained * MIB,
        predicted=found.reserved + exactly(context * MIB),
    )


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
    model = _AsIn2023(of_transformers("LlamaForCausalLM", configuration))
    for row in read("optimum_benchmark_llama7b_inference_a100.csv"):
        if row["experiment_name"] != "fp16":
            continue
        batch = int(row["benchmark.input_shapes.batch_size"])
        workload = Workload(batch=batch, dtype="float16")
        found = on(traced(model, workload, {"input_ids": tokens(batch, 256)}), "a100-80gb")
        metrics: Mapping[Metric, Interval] = {
            "allocated": found.allocated,
            "reserved": found.reserved,
        }
        for metric, predicted in metrics.items():
            yield Row(
                source="optimum-benchmark",
                network=f"Llama-2-7B fp16, batch {batch}",
                metric=metric,
                published_bytes=int(row[f"forward.max_memory_{metric}(MB)"]) * MB,
                predicted=predicted,
            )


def bge_base() -> Iterator[Row]:
    """BGE-base, a BERT-base in float32, over batches and lengths; what the driver reports of an A100 of 80 GB."""
    context = outside_of_llama()
    configuration = {"vocab_size": 30522}
    model = of_transformers("BertModel", configuration)
    seen = set()
    for row in read("optimum_benchmark_bge_base_batch_seq_sweep.csv"):
        batch = int(row["benchmark.input_shapes.batch_size"])
        length = int(row["benchmark.input_shapes.sequence_length"])
        if row["backend.name"] != "pytorch" or (batch, length) in seen:
            continue
        seen.add((batch, length))
        program = traced(model, Workload(batch=batch), {"input_ids": tokens(batch, length)})
        yield Row(
            source="optimum-benchmark",
            network=f"BGE-base, batch {batch}, {length} tokens",
            metric="device",
            published_bytes=int(row["forward.peak_memory(MB)"]) * MB,
            predicted=on(program, "a100-80gb").reserved + exactly(context),
        )


@cache
def outside_of_llama() -> int:
    """What the driver reported on the same machine beside PyTorch's memory: the same in every row of Llama's table."""
    row = read("optimum_benchmark_llama7b_inference_a100.csv")[0]
    used, reserved = (
        int(row[f"forward.max_memory_{name}(MB)"]) * MB for name in ("used", "reserved")
    )
    return used - reserved


SOURCES: tuple[Callable[[], Iterator[Row]], ...] = (
    colossalai, bert_large, llama_7b, bge_base, litgpt, torchtune, peft, detection,
)  # fmt: skip
