"""Whole transformers: NeuSight's measured inference and training steps on six GPUs, float32 without TF32.

The networks are built from their published configurations as transformers builds them, attention written out, and
traced without data. Steps are timed as NeuSight timed them: inference without gradients, training as forward
and backward without an update; `fusion` is `torch.compile`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from torch import Tensor, nn

from benchmarks.fitting.neusight import fit_all, perfect, settle, shares_of_peak
from benchmarks.fitting.operators import CARDS, LATENCY
from benchmarks.truth.reading import of_transformers, tokens
from benchmarks.truth.tables import Errors, Sheet, percent
from weighbridge.analyses.time.clock import Clock
from weighbridge.analyses.time.step import StepTime, step_time
from weighbridge.devices import PRODUCTS, Device, Efficiencies, load, reached, taken_over
from weighbridge.frontends.torch import trace
from weighbridge.program import Program
from weighbridge.workload import Workload

TABLE = LATENCY / "neusight_model_e2e_pascal_volta_turing_a100_40.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A measured step: on which card, of what, in which way."""

    card: str
    network: str
    training: bool
    length: int
    batch: int
    compiled: bool
    seconds: float

    @property
    def name(self) -> str:
        way = "training" if self.training else "inference"
        compiled = ", compiled" if self.compiled else ""
        return f"{self.network}, {way}, {self.batch} x {self.length}{compiled}"


def rows() -> Iterator[Row]:
    """The rows of the table."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield Row(
                card=_card(row["device"]),
                network=row["model"],
                training=row["mode"] == "train",
                length=int(row["seq_len"]),
                batch=int(row["batch"]),
                compiled=row["variant"] == "fusion",
                seconds=float(row["e2e_latency_ms"]) / 1e3,
            )


def _card(device: str) -> str:
    named = {name.replace(" ", "_"): card for name, card in CARDS.items()}
    return named[device]


# -- the networks ----------------------------------------------------------------------------------------

GPT: Mapping[str, Any] = {
    "activation_function": "gelu_new",
    "vocab_size": 50257,
    "use_cache": False,
}
BERT: Mapping[str, Any] = {
    "hidden_size": 1024, "num_attention_heads": 16, "num_hidden_layers": 24, "intermediate_size": 4096,
    "vocab_size": 30522,
}  # fmt: skip
NETWORKS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "bert_large": ("BertForSequenceClassification", BERT),
    "bert_large training": ("BertForPreTraining", BERT),
    "gpt2_large": ("GPT2LMHeadModel", {**GPT, "n_embd": 1280, "n_head": 20, "n_layer": 36, "n_positions": 1024}),
    "gpt3_27": ("GPT2LMHeadModel", {**GPT, "n_embd": 2560, "n_head": 32, "n_layer": 32, "n_positions": 2048}),
    "gpt3_xl": ("GPT2LMHeadModel", {**GPT, "n_embd": 3072, "n_head": 24, "n_layer": 24, "n_positions": 2048}),
    "opt_13": (
        "OPTForCausalLM",
        {
            "hidden_size": 2048, "num_attention_heads": 32, "num_hidden_layers": 24, "ffn_dim": 8192,
            "vocab_size": 50272, "max_position_embeddings": 2048, "word_embed_proj_dim": 2048, "use_cache": False,
        },
    ),
    "switchxl4": (
        "SwitchTransformersForConditionalGeneration",
        {
            "d_model": 1024, "d_ff": 16384, "d_kv": 128, "num_heads": 32, "num_layers": 24, "num_decoder_layers": 24,
            "num_sparse_encoder_layers": 12, "num_sparse_decoder_layers": 12, "num_experts": 4, "expert_capacity": 64,
            "vocab_size": 32128, "use_cache": False,
        },
    ),
}  # fmt: skip
"""Class of transformers' and configuration, as NeuSight's repository has them (sitar-lab/NeuSight at 6945927,
scripts/asplos/data/DLmodel_configs). BERT is trained with its heads for pre-training and asked as a classifier."""

EXPERT_ROWS = 64
"""NeuSight runs each expert on this many rows a sample, whatever is routed to it."""


class Experts(nn.Module):
    """The experts of a switch layer, one after the other on as many rows as each has room for."""

    def __init__(self, experts: nn.Module, rows: int) -> None:
        super().__init__()
        self.experts = nn.ModuleList(experts.children())
        self.rows = rows

    def forward(self, states: Tensor, selected: Tensor, weights: Tensor) -> Tensor:
        kept = states.clone()
        room = kept[: self.rows]
        for expert in self.experts:
            room = expert(room)
        return kept * weights


@cache
def program(row: Row) -> Program | None:
    """The step that was measured, or None of a network whose sizes are not published."""
    name = f"{row.network} training" if row.training else row.network
    kind, settings = NETWORKS.get(name) or NETWORKS.get(row.network) or ("", {})
    if not kind:
        return None
    model = of_transformers(kind, settings)
    model.train(row.training)
    examples = {"input_ids": tokens(row.batch, row.length)}
    if row.network.startswith("switch"):
        examples["decoder_input_ids"] = tokens(row.batch, row.length)
        for module in model.modules():
            if hasattr(module, "router"):
                module.experts = Experts(module.experts, EXPERT_ROWS * row.batch)
    workload = Workload(
        mode="training" if row.training else "inference", batch=row.batch, compiled=row.compiled
    )
    return trace(model, workload, network=row.network, source="benchmark", examples=examples)


# -- the comparison --------------------------------------------------------------------------------------


def sheet(only: str) -> Sheet | None:
    """The comparison, or nothing where the shared data are not there."""
    if not TABLE.exists():
        return None
    known = fit_all()
    table, errors, left_out, plain, held, held_alone = [], [], [], [], 0, 0
    for row in sorted(rows(), key=lambda row: (row.card, row.name)):
        if only not in row.name and only not in row.card:
            continue
        # the card is not part of what was traced, so that six cards share a trace
        made = program(replace(row, card="", seconds=0.0))
        if made is None:
            table.append((row.card, row.name, _ms(row.seconds), *"----"))
            continue
        device = load(row.card)
        step = step_time(made, Clock(device=device, efficiencies=known[row.card]))
        alone = step_time(made, Clock(device=device, efficiencies=hidden(device, known)))
        found = [
            seconds / row.seconds - 1
            for seconds in (step.seconds.value, alone.seconds.value, roofline(step))
        ]
        table.append(
            (
                row.card,
                row.name,
                _ms(row.seconds),
                _ms(step.seconds.value),
                *(percent(e, signed=True) for e in found),
            )
        )
        held += step.seconds.low <= row.seconds <= step.seconds.high
        held_alone += alone.seconds.low <= row.seconds <= alone.seconds.high
        for values, error in zip((errors, left_out, plain), found, strict=True):
            values.append(error)
    return Sheet(
        heading="Transformers on six GPUs, inference and training",
        sentences=SENTENCES,
        columns=(
            "GPU", "step", "measured ms", "predicted ms", "error", "from the card alone", "plain roofline",
        ),
        rows=table,
        errors=Errors(values=errors),
        notes=(
            f"In the interval: {held} of {len(errors)}.",
            "",
            f"From the card alone, the GPU's own times hidden: {Errors(values=left_out).text}. In the wider interval: "
            f"{held_alone} of {len(errors)}.",
            "",
            f"Plain roofline, peaks of the data sheet: {Errors(values=plain).text}.",
            "",
            *PUBLISHED,
        ),
    )  # fmt: skip


def hidden(device: Device, known: Mapping[str, Efficiencies]) -> Efficiencies:
    """What is known of the device without its own times: the others' shares, and the rule settled anew on them."""
    others = {key: found for key, found in known.items() if key != device.key}
    shares = {key: share for key, share in shares_of_peak(known).items() if key != device.key}
    anew = reached(device, "float32", settle(shares)) / reached(device, "float32")
    found = taken_over(device, others)
    classes = {
        (kind, part): replace(share, compute=share.compute * anew) if kind in PRODUCTS else share
        for (kind, part), share in found.classes.items()
    }
    return replace(found, classes=classes)


def roofline(step: StepTime) -> float:
    """The step's seconds at the peaks of the data sheet, each operator once."""
    clock = perfect(step.device.key)
    bandwidth = clock.device.bandwidth_bytes_per_s
    assert bandwidth is not None
    kernels = (timed.launch.kernel for timed in step.kernels)
    return sum(
        max(kernel.flops / clock.flop_per_s(kernel), kernel.traffic_bytes / bandwidth)
        for kernel in kernels
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:,.1f}"


SENTENCES = (
    "NeuSight's labels (Lee, Phanishayee and Mahajan, ASPLOS 2025, scripts/asplos/label at 6945927): float32 without",
    "tensor cores, PyTorch 2.1, the five fastest of 25 steps. No step was used in fitting: what a GPU reaches is from",
    "single operators (`python -m benchmarks fit`), and in the column 'from the card alone' from other GPUs'.",
    "Programs are traced from transformers' networks with attention written out, backward as autograd runs it;",
    "'compiled' is torch.compile. The sizes of switch4 are published nowhere. `python -m benchmarks truth neusight`.",
)

PUBLISHED = (
    "What others report of themselves: NeuSight 8.9 % mean, 6.2 % median, 65 % worst over 80 configurations on NVIDIA's",
    "GPUs, H100 and A100 80 GB among them, of which no labels are here; Habitat (ATC 2021) 11.8 % mean from one GPU",
    "to another, on networks of its own.",
)
