"""Published memory of fine-tuning recipes: LitGPT, torchtune and PEFT, on one GPU, nothing quantised.

How a row is read stands with its source, and was written before anything was predicted. Readings come from the recipes'
own code of the time: what they print, in which unit, and which settings are their defaults.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.truth.decoders import SHAPES, LitGPT, Shape, adapt, chunked_loss
from benchmarks.truth.reading import (
    GB,
    Row,
    of_transformers,
    on,
    read,
    tokens,
    traced,
)  # fmt: skip
from weighbridge.analyses.memory.resident import Interval, Resident
from weighbridge.workload import Optimizer, Workload

NOTES = (
    "- LitGPT: one reading was changed after its rows were seen. As first read, logits stayed in bfloat16 and the nine rows of "
    "LoRA were 2.2 to 8.7 % short; that Fabric casts what a network returns to float32 was then found in its source. What is "
    "left in the rows of Llama is two widths a token and layer: a float32 RMSNorm, which LitGPT had in a later commit, would "
    "keep as much. The commit that was measured could not be read.",
    "- torchtune: 0.86 to 0.91 GB are missing in each row, whatever the adapters: unexplained. Batches of many lengths leave "
    "fragments in a long run that a loop of equal steps does not have.",
    "- PEFT: LoRA-FA freezes half of each adapter, which by autograd's rules frees two copies of the input a layer; the runs "
    "show none of it (27 MiB of 880): unexplained. The other six rows are within 3.5 %. Full fine-tuning is not in the table's "
    "part that is shared here.",
    "- Left out: rows of quantised weights, and rows that ran out of memory; torchtune's README, whose runs are compiled and "
    "do not say which of the recipe's options saved memory; torchtune's rows of model initialisation, whose peak is of loading "
    "and not of a step.",
)


# -- LitGPT ----------------------------------------------------------------------------------------------


def litgpt() -> Iterator[Row]:
    """LitGPT's resource tables of October 2023, commit 8641822, on an A100 of 40 GB.

    LoRA: `bf16-true`, so that weights, adapters and the optimizer's state are bfloat16; rank 8 on queries and values,
    dropout 0.05; AdamW; micro-batches as the row states, added up to 128 samples; no checkpointing; the head and the loss
    in chunks of 128 tokens. The longest sample of Alpaca is in the first micro-batch, and its length stands above the
    table for each tokenizer; a batch is padded to it.
    Inference: 50 new tokens after a prompt that is five tokens long, one sample, a cache of keys and values of 55.
    The figure is `max_memory_allocated` in units of 10^9 bytes. Fabric casts logits to float32 (added to this reading after
    its rows were seen).
    """
    for row in read("litgpt_lora_and_inference_a100_40gb.csv"):
        shape = next((each for each in SHAPES if _names(each, row)), None)
        if shape is None or row["quantization"] != "None" or not _number(row["max_gpu_ram_gb"]):
            continue
        training = row["section"].startswith("Finetuning")
        found = fine_tuned(shape, int(row["microbatch"])) if training else decoded(shape)
        yield Row(
            source="LitGPT",
            network=f"{shape.name}, LoRA, batch {row['microbatch']}" if training else f"{shape.name}, inference",
            metric="allocated",
            published_bytes=int(float(row["max_gpu_ram_gb"]) * GB),
            predicted=found.allocated,
        )  # fmt: skip


def _names(shape: Shape, row: Mapping[str, str]) -> bool:
    return shape.name in (row["model"], f"{row['model']} {row['size']}")


def _number(text: str) -> bool:
    return text.replace(".", "").isdigit()


def fine_tuned(shape: Shape, batch: int) -> Resident:
    """A micro-step of LoRA in the middle of many."""
    with torch.device("meta"):
        model = LitGPT(shape, adapted=True)
    workload = Workload(
        mode="training",
        batch=batch,
        optimizer=Optimizer(name="adamw"),
        accumulation=128 // batch,
        own_loss=chunked_loss,
    )
    examples = {"tokens": tokens(batch, shape.longest)}
    return on(traced(model, workload, examples), "a100-40gb")


PROMPT, NEW = 5, 50
"""'Hello, my name is' and how much is written after it."""


def decoded(shape: Shape) -> Resident:
    """The forward pass over the prompt, room for all keys and values taken."""
    with torch.device("meta"):
        model = LitGPT(shape, adapted=False, room=PROMPT + NEW)
    return on(traced(model, Workload(), {"tokens": tokens(1, PROMPT)}), "a100-40gb")


# -- torchtune -------------------------------------------------------------------------------------------


class _WithTables(nn.Module):
    """A decoder, and what each of its layers kept of rotary embedding: 4096 positions, 64 pairs, in float32."""

    def __init__(self, network: nn.Module, layers: int) -> None:
        super().__init__()
        self.network = network
        for layer in range(layers):
            self.register_buffer(f"table{layer}", torch.empty(4096, 64, 2, device="meta"))

    def forward(self, input_ids: Tensor) -> Tensor:
        logits: Tensor = self.network(input_ids=input_ids).logits
        return logits.float()


def _shifted_loss(logits: Tensor) -> Tensor:
    """Cross-entropy as the recipe took it: classes in the second axis."""
    shifted = logits[..., :-1, :].contiguous().transpose(1, 2)
    targets = torch.zeros(
        shifted.shape[0], shifted.shape[2], dtype=torch.int64, device=logits.device
    )
    return functional.cross_entropy(shifted, targets)


LLAMA_2_7B = {
    "vocab_size": 32000, "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 32, "intermediate_size": 11008, "max_position_embeddings": 4096,
}  # fmt: skip

OF_TORCHTUNE = {
    "Q and V only": ("q_proj", "v_proj"),
    "all layers": (
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head",
    ),
}  # fmt: skip


def torchtune() -> Iterator[Row]:
    """torchtune's tutorials on LoRA, spring 2024: Llama-2-7B, the configuration `7B_lora_single_device`.

    Two samples, cut at 512 tokens (the dataset's default; the longest batches are full), added up 64 times; bfloat16
    throughout, adapters too; AdamW; every layer checkpointed, without reentry; logits in float32, shifted, cross-entropy
    over the second axis. The figure is the peak of reserved memory in training, in units of 10^9 bytes as the recipe
    logged it then (the tutorial's 13.96 GB after initialisation are 13.49 of weights, one more layer, 0.40, and tables).
    Which GPU it was is not said: an A100 is taken.
    """
    for row in read("torchtune_llama2_7b_lora_tutorial.csv"):
        if row["lora_layers"] not in OF_TORCHTUNE:
            continue
        rank = int(row["rank"])
        model = of_transformers("LlamaForCausalLM", LLAMA_2_7B, attention="sdpa")
        model.to(torch.bfloat16)
        adapt(model, OF_TORCHTUNE[row["lora_layers"]], rank)
        _checkpoint(model)
        workload = Workload(
            mode="training",
            batch=2,
            optimizer=Optimizer(name="adamw"),
            accumulation=64,
            own_loss=_shifted_loss,
        )
        program = traced(_WithTables(model, 32), workload, {"input_ids": tokens(2, 512)})
        yield Row(
            source="torchtune",
            network=f"Llama-2-7B, LoRA rank {rank}, {row['lora_layers']}",
            metric="reserved",
            published_bytes=int(float(row["memory_gb_as_printed"]) * GB),
            predicted=on(program, "a100-80gb").reserved,
        )


def _checkpoint(model: nn.Module) -> None:
    model.activation_checkpointing_enable({"use_reentrant": False})
    model.config.use_cache = False


# -- PEFT ------------------------------------------------------------------------------------------------

LLAMA_32_3B = {
    "vocab_size": 128256, "hidden_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 24,
    "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 8192, "max_position_embeddings": 131072,
    "tie_word_embeddings": True,
}  # fmt: skip

YARDSTICK = "lora--llama-3.2-3B-rank32"
METHODS = {
    YARDSTICK: "LoRA rank 32",
    "lora--llama-3.2-3B-rank10-target-mlp": "LoRA rank 10, feed-forward",
    "lora--llama-3.2-3B-rank32-lorafa": "LoRA-FA rank 32",
    "lora--llama-3.2-3B-rank32-mica": "MiCA rank 32",
    "ln_tuning--llama-3.2-3B-default": "norms only",
}
"""Experiments whose parameters the table says enough of: which layers, which rank, which half is trained."""

COLUMNS = {
    "mean": "accelerator_memory_reserved_avg_bytes",
    "99 %": "accelerator_memory_reserved_p99_bytes",
}


def peft() -> Iterator[Row]:
    """PEFT's comparison of methods on MetaMathQA, July 2026: Llama-3.2-3B on an L40S, PyTorch 2.13.

    Batches of four, padded, with a mask of what is padding; bfloat16 weights, adapters in float32 (PEFT's default); AdamW;
    no accumulation, no checkpointing; the network's own loss, in float32. The figures are `memory_reserved` after each
    training step less what was reserved at the start, 2 MiB: its mean over 5000 steps, and what 99 % stay below.
    How long batches are is not published, and the samples' mean of 210 tokens does not say it: of every twenty batches the
    longest come first, and what they reserve stays for ten. One length is therefore fitted to each column, to the row of
    plain LoRA of rank 32; that row is left out, and the other methods are predicted at this length.
    """
    table = {row["experiment"]: row for row in read("peft_method_comparison_metamath.csv")}
    for column, name in COLUMNS.items():
        length = length_of(int(table[YARDSTICK][name]))
        for experiment, method in METHODS.items():
            if experiment != YARDSTICK:
                yield Row(
                    source="PEFT",
                    network=f"Llama-3.2-3B, {method}, {column} of steps, {length} tokens",
                    metric="reserved",
                    published_bytes=int(table[experiment][name]),
                    predicted=tuned(experiment, length),
                )


@cache
def tuned(experiment: str, length: int) -> Interval:
    """What a step of the experiment reserves at this length."""
    model = of_transformers("LlamaForCausalLM", LLAMA_32_3B, attention="sdpa")
    model.to(torch.bfloat16)
    if experiment.startswith("ln_tuning"):
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("norm" in name)
    elif "mlp" in experiment:
        adapt(model, ("gate_proj", "up_proj", "down_proj"), 10, wide=True)
    else:
        adapt(model, ("q_proj", "v_proj"), 32, wide=True)
        frozen = {"lorafa": "down", "mica": "up"}.get(experiment.rpartition("-")[2])
        for name, parameter in model.named_parameters():
            if name.rpartition(".")[0].endswith(f".{frozen}"):
                parameter.requires_grad_(False)
    workload = Workload(mode="training", batch=4, optimizer=Optimizer(name="adamw"))
    given = tokens(4, length)
    examples = {"input_ids": given, "attention_mask": given, "labels": given}
    return on(traced(model, workload, examples), "l40s").reserved


def length_of(reserved: int) -> int:
    """The length at which plain LoRA reserves this much, by bisection."""
    least, most = 16, 768
    while most - least > 1:
        middle = (least + most) // 2
        if tuned(YARDSTICK, middle).expected < reserved:
            least = middle
        else:
            most = middle
    return most
