"""Memory of fine-tuning that others published: networks rebuilt from their recipes, a few rows by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("torchvision")
pytest.importorskip("transformers")
pytest.importorskip("benchmarks.truth", reason="run from the checkout: python -m pytest")

import torch
from benchmarks.truth.decoders import SHAPES, LitGPT, adapt, chunked_loss
from benchmarks.truth.detectors import detector
from benchmarks.truth.finetuning import LLAMA_32_3B, decoded
from benchmarks.truth.published import CUBLAS_BYTES, after_forward
from benchmarks.truth.reading import of_transformers, tokens, traced

from weighbridge.workload import Optimizer, Workload

pytestmark = pytest.mark.torch

SHAPE = {shape.name: shape for shape in SHAPES}
LLAMA = SHAPE["Llama 2 7 B"]


def of(shape) -> LitGPT:
    with torch.device("meta"):
        return LitGPT(shape, adapted=True)


def trained(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_adapters_are_as_many_as_litgpt_printed(published) -> None:
    rows = published("memory/litgpt_lora_and_inference_a100_40gb.csv")
    counts = {
        name: int(row["trainable_params"])
        for row in rows
        for name in (row["model"], f"{row['model']} {row['size']}")
        if row["trainable_params"]
    }
    assert {name: trained(of(shape)) for name, shape in SHAPE.items()} == {
        name: counts[name] for name in SHAPE
    }


@pytest.mark.parametrize(
    ("experiment", "targets", "rank"),
    [
        ("lora--llama-3.2-3B-rank32", ("q_proj", "v_proj"), 32),
        ("lora--llama-3.2-3B-rank10-target-mlp", ("gate_proj", "up_proj", "down_proj"), 10),
    ],
)
def test_adapters_are_as_many_as_peft_printed(published, experiment, targets, rank) -> None:
    rows = published("memory/peft_method_comparison_metamath.csv")
    (row,) = (each for each in rows if each["experiment"] == experiment)
    model = of_transformers("LlamaForCausalLM", LLAMA_32_3B)
    adapt(model, targets, rank, wide=True)
    assert trained(model) == int(row["num_trainable_params"])
    assert sum(p.numel() for p in model.parameters()) == int(row["num_total_params"])


def test_a_layer_of_litgpts_llama_keeps_what_its_operators_save() -> None:
    """Of bfloat16 numbers of the layer's width: the input of each norm (2), queries, keys and values as one (3), queries and
    keys turned (2), what attention gives (1), the adapter's dropped-out input (1) with a mask of bytes (1/2), and the two
    widths that are copied into zeros (2): 11.5. Of the feed-forward width: the gate, its SiLU, and what it is multiplied
    with: 3. Frozen weights save nothing of their inputs.
    """
    width, inner, length = 4096, 11008, LLAMA.longest
    kept = (11.5 * width + 3 * inner) * 2 * length
    weights = (4 * width**2 + 3 * width * inner + 2 * width) * 2 + (2 * 8 * 2 * width) * 2
    workload = Workload(
        mode="training", batch=1, optimizer=Optimizer(name="adamw"), own_loss=chunked_loss
    )
    two, three = (
        after_forward(
            traced(of(replace(LLAMA, layers=layers)), workload, {"tokens": tokens(1, length)})
        )
        for layers in (2, 3)
    )
    assert three - two == pytest.approx(weights + kept, rel=0.002)


def test_decoding_takes_weights_and_a_cache() -> None:
    """phi-1.5: 24 blocks of 12 widths squared, 13 of width in biases and norm; two embeddings, a bias of the head's, the last
    norm; keys and values of 55 tokens; cuBLAS' workspace; tables and what one block makes are below 1 MiB.
    """
    width, vocabulary = 2048, 51200
    block = 12 * width**2 + (3 + 1 + 4 + 1) * width + 2 * width
    weights = (24 * block + 2 * vocabulary * width + vocabulary + 2 * width) * 2
    cache = 24 * 2 * 55 * width * 2
    found = decoded(SHAPE["phi-1.5"]).allocated.expected
    assert found == pytest.approx(weights + cache + CUBLAS_BYTES, abs=1.5 * 2**20)


def test_decoding_is_as_published(published) -> None:
    rows = published("memory/litgpt_lora_and_inference_a100_40gb.csv")
    (row,) = (
        each
        for each in rows
        if each["section"] == "Single-GPU Inference"
        and (each["model"], each["size"], each["quantization"]) == ("Llama 2", "7 B", "None")
    )
    assert decoded(LLAMA).allocated.expected == pytest.approx(
        float(row["max_gpu_ram_gb"]) * 1e9, rel=0.001
    )


def test_what_detectors_train() -> None:
    """41,755,286 parameters as torchvision documents Faster R-CNN, whose norms are buffers, less the stem's 7 x 7 x 3 x 64
    and the first stage's: three 1 x 1 of 64 x 64 or 256 x 64 in, three 3 x 3 of 64 x 64, three 1 x 1 out, one beside. Norms
    that are trained add two numbers a channel: 128, 128, 512 in each block of the second stage, and so on.
    """
    first = 64 * 64 + 2 * 256 * 64 + 3 * 9 * 64 * 64 + 3 * 64 * 256 + 64 * 256
    trained_convolutions = 41_755_286 - 9_408 - first
    assert trained(detector(50, frozen=True)) == trained_convolutions
    blocks = {128: 4, 256: 6, 512: 3}
    norms = sum(count * 6 * width + 4 * width for width, count in blocks.items())
    assert trained(detector(50, frozen=False)) == trained_convolutions + 2 * norms
