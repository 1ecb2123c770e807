"""Changes: what a user may change in a step so that it takes less memory.

Each is a change of the workload: the network is then built again and weighed as any other. What a change does
to the training is said with it: some leave it as it is but for rounding, some give the optimizer another rule,
some train less of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from ...devices import Device
from ...ops import optimizers
from ...program import Program
from ...workload import Precision, Workload, within
from .checkpointing import repeated_blocks

Alters = Literal[0, 1, 2, 3]
"""What becomes of the training: 0 the same but for rounding, 1 the optimizer's states are kept coarser, 2 another
rule of update, 3 another part of the network is trained."""

KEEPING_TWO = frozenset({"adam", "adamw"})
"""Optimizers whose two states can be kept in 8 bits, or as sums of rows and columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Single:
    """One change: its key, what kind of thing it changes, how it is said, and the workload afterwards.

    Of one kind only one change is made at a time. `note` is what else it changes.
    """

    key: str
    kind: str
    text: str
    alters: Alters
    note: str
    apply: Callable[[Workload], Workload]


def singles(program: Program, device: Device) -> tuple[Single, ...]:
    """The changes that make sense for the step on the device, in the order in which they are thought of."""
    if not program.workload.training:
        return tuple(_precision(program.workload, device))
    found = (
        *_implementation(program.workload),
        *_precision(program.workload, device),
        *_checkpointing(program),
        *_optimizer(program.workload),
        *_head(program),
    )
    return tuple(found)


def _implementation(workload: Workload) -> Iterator[Single]:
    chosen = workload.optimizer
    if chosen is None or chosen.name not in optimizers.FUSED or workload.backend != "cuda":
        return
    if chosen.implementation in ("auto", "foreach"):
        yield Single(
            key="fused",
            kind="optimizer",
            text="--optimizer-implementation fused",
            alters=0,
            note="",
            apply=lambda old: replace(old, optimizer=replace(chosen, implementation="fused")),
        )


def _precision(workload: Workload, device: Device) -> Iterator[Single]:
    if workload.precision not in ("float32", "tf32") or workload.dtype != "float32":
        return
    unknown = device.peak_flop_per_s("float32") is None
    bfloat = unknown or device.peak_flop_per_s("bfloat16") is not None
    precision: Precision = "amp-bf16" if bfloat else "amp-fp16"
    yield Single(
        key=precision,
        kind="precision",
        text=f"--precision {precision}",
        alters=0,
        note="16-bit activations" if bfloat else "16-bit activations, scaled loss",
        apply=lambda old: replace(old, precision=precision),
    )


def _checkpointing(program: Program) -> Iterator[Single]:
    if program.workload.checkpointing == "none" and repeated_blocks(program):
        yield Single(
            key="checkpoint",
            kind="checkpointing",
            text="--checkpoint blocks",
            alters=0,
            note="",
            apply=lambda old: replace(old, checkpointing="blocks"),
        )


def _optimizer(workload: Workload) -> Iterator[Single]:
    chosen = workload.optimizer
    if chosen is None:
        return
    if chosen.name in KEEPING_TWO:
        yield _rule("adam8bit", 1, "8-bit states")
        yield _rule("adafactor", 2, "another rule")
    if optimizers.optimizer_states(chosen, (1,)):
        yield _rule("sgd", 2, "another rule")


def _rule(name: str, alters: Alters, note: str) -> Single:
    return Single(
        key=name,
        kind="optimizer",
        text=f"--train {name}",
        alters=alters,
        note=note,
        apply=lambda old: replace(old, optimizer=optimizers.optimizer(name)),
    )


def _head(program: Program) -> Iterator[Single]:
    scope = _last_module(program)
    if program.workload.trained or scope is None:
        return
    yield Single(
        key="head",
        kind="trained",
        text=f"--train-only {scope}",
        alters=3,
        note="the rest frozen",
        apply=lambda old: replace(old, trained=(scope,)),
    )


def _last_module(program: Program) -> str | None:
    """The last module with weights that forward runs; None where it is the only one, or shares its weights."""
    storages = {tensor.storage for tensor in program.parameters if tensor.trainable}
    readers: dict[int, set[str]] = {}
    last: str | None = None
    for op in program.phase("forward"):
        for tensor in op.inputs:
            if tensor.storage in storages:
                readers.setdefault(tensor.storage, set()).add(op.scope)
                last = op.scope
    if not last:
        return None
    own = [storage for storage, scopes in readers.items() if last in scopes]
    if len(own) == len(readers) or any(len(readers[storage]) > 1 for storage in own):
        return None
    named = any(within(tensor.name or "", last) for tensor in program.parameters)
    return last if named else None
