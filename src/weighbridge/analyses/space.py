"""Space: what the network takes on disk and in memory, as the lecture works it out on paper.

Model space is parameters times bytes a number (L3). Operational space is what one training step takes
while it runs (L4-L6): weights, activations (the input and what each layer hands on), and the gradients
of both. For a batch of B there are two accountings of the weight gradient:

- *per sample*: a gradient of the weights for each sample, W + B (W + 2A), as the lecture has it and
  as differentially private training pays it;
- *summed*: one gradient, into which the samples' are added, 2W + B (2A), as frameworks do it.

A is what one sample's activations take. What a framework holds over time is another analysis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..dims import bytes_of, product
from ..errors import UsageError
from ..ops.optimizers import SYNONYMS, UPDATES, optimizer, optimizer_states
from ..program import Program
from ..workload import LearningRule
from .layers import activation_storages

PRECISIONS: Mapping[str, tuple[str, ...]] = {
    "float64": ("float64",),
    "float32": ("float32",),
    "float16": ("float16",),
    "bfloat16": ("bfloat16",),
    "float8": ("float8_e4m3fn",),
    "int16": ("int16",),
    "int8": ("int8",),
    "int4": ("int4",),
    "mixed (bfloat16 + float32 master)": ("bfloat16", "float32"),
}
"""Precisions by the name users know, and the dtypes in which each weight is held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Textbook:
    """The lecture's operational space for one step, in bytes, by both accountings.

    `weights_bytes` is W, `activation_bytes` is B A: the network's inputs and every layer's output.
    """

    batch: int
    weights_bytes: int
    activation_bytes: int

    @property
    def per_sample_gradients_bytes(self) -> int:
        return self.weights_bytes * (1 + self.batch) + 2 * self.activation_bytes

    @property
    def summed_gradients_bytes(self) -> int:
        return 2 * self.weights_bytes + 2 * self.activation_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Bytes that the network takes, by what they are for.

    `gradient_bytes` and `optimizer_state_bytes` are zero where the workload does not train.
    `activation_bytes` are all that forward hands on; `saved_bytes` what backward still reads of
    forward's results, indices, masks and statistics included.
    """

    weights_bytes: int
    buffer_bytes: int
    gradient_bytes: int
    optimizer_state_bytes: int
    activation_bytes: int
    saved_bytes: int
    textbook: Textbook


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSpace:
    """A learning rule (L8) on a data set: how often weights are updated, and the space of a step."""

    rule: LearningRule
    samples_at_once: int
    updates_per_epoch: int
    per_sample_gradients_bytes: int
    summed_gradients_bytes: int


def space(program: Program) -> Space:
    """What the program's weights, gradients, optimizer state and activations take."""
    weights = sum(tensor.bytes for tensor in program.parameters)
    forward = tuple(program.phase("forward"))
    activations = sum(activation_storages(forward).values())
    inputs = sum(tensor.bytes for tensor in program.inputs if tensor.name != "targets")
    training = program.workload.training
    gradients = sum(tensor.bytes for tensor in program.parameters if tensor.trainable)
    states = {
        tensor.storage: tensor.bytes
        for op in program.phase("update")
        for tensor in op.outputs
        if tensor.role == "optimizer_state"
    }
    return Space(
        weights_bytes=weights,
        buffer_bytes=sum(tensor.bytes for tensor in program.buffers),
        gradient_bytes=gradients if training else 0,
        optimizer_state_bytes=sum(states.values()),
        activation_bytes=activations,
        saved_bytes=saved_bytes(program),
        textbook=Textbook(
            batch=program.workload.batch,
            weights_bytes=weights,
            activation_bytes=inputs + _layer_outputs(program),
        ),
    )


def _layer_outputs(program: Program) -> int:
    """Activations of the network proper: the loss is not a layer of it."""
    network = (op for op in program.phase("forward") if op.scope.partition(".")[0] != "loss")
    return sum(activation_storages(network).values())


def saved_bytes(program: Program) -> int:
    """Bytes of the storages that forward makes and backward reads."""
    made: dict[int, int] = {}
    for op in program.phase("forward"):
        read = {tensor.storage for tensor in op.inputs}
        for tensor in op.outputs:
            if tensor.storage not in read:
                made.setdefault(tensor.storage, tensor.bytes)
    used = {tensor.storage for op in program.phase("backward") for tensor in op.inputs}
    return sum(size for storage, size in made.items() if storage in used)


def model_space(params: int) -> Mapping[str, int]:
    """Bytes that so many parameters take in each precision (L3)."""
    return {
        name: sum(bytes_of(params, dtype) for dtype in dtypes)
        for name, dtypes in PRECISIONS.items()
    }


def optimizer_space(program: Program) -> Mapping[str, int]:
    """Bytes of state that each known optimizer would keep for the trainable parameters (L7)."""
    sizes = {}
    for name in (*UPDATES, *SYNONYMS):
        chosen = optimizer(name)
        sizes[name] = sum(
            bytes_of(product(state.shape), state.dtype)
            for tensor in program.parameters
            if tensor.trainable
            for state in optimizer_states(chosen, tensor.shape, tensor.dtype)
        )
    return sizes


def learning_rules(textbook: Textbook, dataset: int) -> tuple[RuleSpace, ...]:
    """The three learning rules of L8 on a data set of so many samples.

    Updating after every sample holds one sample at a time, after a batch the batch, after an epoch
    the whole data set, where nothing but the arithmetic of the lecture is assumed. (A framework that
    adds up gradients batch by batch updates once an epoch in the space of a batch.)

    Raises:
        UsageError: the data set is smaller than the batch.
    """
    if dataset < textbook.batch:
        raise UsageError(
            f"a data set of {dataset} samples has no batch of {textbook.batch}",
            "make the batch smaller or the data set larger",
        )
    sample = textbook.activation_bytes // textbook.batch
    at_once: Mapping[LearningRule, int] = {"sample": 1, "batch": textbook.batch, "epoch": dataset}
    rows = []
    for rule, samples in at_once.items():
        step = Textbook(
            batch=samples,
            weights_bytes=textbook.weights_bytes,
            activation_bytes=samples * sample,
        )
        rows.append(
            RuleSpace(
                rule=rule,
                samples_at_once=samples,
                updates_per_epoch=-(-dataset // samples),
                per_sample_gradients_bytes=step.per_sample_gradients_bytes,
                summed_gradients_bytes=step.summed_gradients_bytes,
            )
        )
    return tuple(rows)
