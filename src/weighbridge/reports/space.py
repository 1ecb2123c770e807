"""Space, as the lecture works it out: on disk, in memory, while it trains, by every optimizer and rule."""

from __future__ import annotations

from collections.abc import Iterable

from ..analyses.space import learning_rules, model_space, optimizer_space
from ..analyses.weighing import Weighing
from ..units import integer, memory
from .sheet import Column, Row, Sheet
from .table import Line, labelled, render

PER_SAMPLE = (
    "gradients per sample, W + B·(W + 2A): every sample has a gradient of the weights of its own, as the "
    "lecture has it and as differentially private training pays it"
)
SUMMED = (
    "gradients summed, 2W + B·2A: the samples' gradients of the weights are added up into one copy, as "
    "frameworks do it"
)


def space(weighing: Weighing, *, width: int | None = None) -> tuple[Line, ...]:
    """Model space, operational space by both accountings, optimizer state, and learning rules.

    Learning rules need the size of the data set (`Workload.dataset`).
    """
    dataset = weighing.program.workload.dataset
    blocks = [
        _block("model space: parameters times bytes a number", model_sheet(weighing), width),
        _operational(weighing, width),
        _block("optimizer state, were it trained with", optimizer_sheet(weighing), width),
    ]
    if dataset is not None:
        title = f"learning rules on a data set of {integer(dataset)} samples: textbook space with gradients"
        blocks.append(_block(title, learning_rule_sheet(weighing, dataset), width))
    blank: Line = ()
    return tuple(line for block in blocks for line in (*block, blank))[:-1]


def model_sheet(weighing: Weighing) -> Sheet:
    """What the parameters take in each precision (L3)."""
    return _bytes_sheet("precision", model_space(weighing.parameters.total).items())


def optimizer_sheet(weighing: Weighing) -> Sheet:
    """The state that each optimizer keeps for the trainable parameters (L7)."""
    return _bytes_sheet("optimizer", optimizer_space(weighing.program).items())


def textbook_sheet(weighing: Weighing) -> Sheet:
    """Operational space by both accountings (L4-L6)."""
    book = weighing.space.textbook
    return _bytes_sheet(
        "textbook",
        (
            ("W, the weights", book.weights_bytes),
            ("B·A, activations of the batch", book.activation_bytes),
            ("gradients per sample", book.per_sample_gradients_bytes),
            ("gradients summed", book.summed_gradients_bytes),
        ),
    )


def learning_rule_sheet(weighing: Weighing, dataset: int) -> Sheet:
    """Updates an epoch and space of a step, by learning rule (L8).

    Raises:
        UsageError: the data set is smaller than the batch.
    """
    return Sheet(
        subject="update after every",
        columns=(
            Column(key="samples", title="samples at once"),
            Column(key="updates", title="updates an epoch"),
            Column(key="per-sample", title="per sample", unit="bytes"),
            Column(key="summed", title="summed", unit="bytes"),
        ),
        rows=tuple(
            Row(
                path=row.rule,
                name=row.rule,
                cells=(
                    row.samples_at_once,
                    row.updates_per_epoch,
                    row.per_sample_gradients_bytes,
                    row.summed_gradients_bytes,
                ),
            )
            for row in learning_rules(weighing.space.textbook, dataset)
        ),
    )


def _operational(weighing: Weighing, width: int | None) -> tuple[Line, ...]:
    batch = integer(weighing.program.workload.batch)
    title = f"operational space of one training step, by the book, batch B = {batch}"
    return (
        *_block(title, textbook_sheet(weighing), width),
        *labelled("", PER_SAMPLE, width=width),
        *labelled("", SUMMED, width=width),
    )


def _block(title: str, sheet: Sheet, width: int | None) -> tuple[Line, ...]:
    return (*labelled(title, "", width=width), *render(sheet, width=width))


def _bytes_sheet(subject: str, sizes: Iterable[tuple[str, int]]) -> Sheet:
    return Sheet(
        subject=subject,
        columns=(
            Column(key="bytes", title="bytes"),
            Column(key="size", title="size", rank=1),
        ),
        rows=tuple(Row(path=name, name=name, cells=(size, memory(size))) for name, size in sizes),
    )
