"""Two ways, one answer: a network described layer by layer and the same network traced by PyTorch.

The zoo knows no PyTorch: lifetimes follow from liveness, backward from the operators' rules. The trace runs
PyTorch's own autograd and derives nothing: it sees storages come and go. Their curves of memory over a step are
compared by their highest points in forward, backward and update.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from rich.console import Console
from rich.table import Table

from weighbridge.analyses.memory.timeline import timeline
from weighbridge.frontends import zoo
from weighbridge.ops.optimizers import optimizer
from weighbridge.program import Phase, Program
from weighbridge.workload import Workload

TORCHVISION: Mapping[str, str] = {
    "alexnet": "alexnet", "vgg11": "vgg11", "vgg13": "vgg13", "vgg16": "vgg16", "vgg19": "vgg19",
    "vgg11-bn": "vgg11_bn", "vgg13-bn": "vgg13_bn", "vgg16-bn": "vgg16_bn", "vgg19-bn": "vgg19_bn",
    "googlenet-bn-aux": "googlenet", "googlenet-bn": "googlenet",
    "resnet18": "resnet18", "resnet34": "resnet34", "resnet50": "resnet50",
    "resnet101": "resnet101", "resnet152": "resnet152",
    "densenet121": "densenet121", "densenet161": "densenet161",
    "densenet169": "densenet169", "densenet201": "densenet201",
    "mobilenet_v2": "mobilenet_v2", "vit_b_16": "vit_b_16",
}  # fmt: skip
"""The zoo's networks that torchvision has, by its names. Its GoogLeNet has auxiliary heads in training only."""

TRANSFORMERS: Mapping[str, tuple[str, str]] = {
    "gpt2": ("GPT2Config", "GPT2LMHeadModel"),
    "bert-base": ("BertConfig", "BertModel"),
}
"""Those that transformers has: the class of the configuration, whose defaults they are, and the network's."""

WITHOUT_HEADS, WITH_HEADS = "googlenet-bn", "googlenet-bn-aux"


@dataclass(frozen=True, slots=True, kw_only=True)
class Highest:
    """The most that a curve reaches in a phase: bytes, and the operator and module at which it does."""

    bytes: int
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A network under a workload in both ways: the highest points of either by phase."""

    name: str
    workload: Workload
    described: Mapping[Phase, Highest]
    traced: Mapping[Phase, Highest]

    @property
    def peaks(self) -> tuple[Highest, Highest]:
        """The highest of all, described and traced."""
        return _top(self.described), _top(self.traced)

    @property
    def error(self) -> float:
        """By how much the described peak is above the traced one, as a share of that."""
        described, traced = self.peaks
        return described.bytes / traced.bytes - 1

    @property
    def worst_error(self) -> float:
        """The phase that is furthest off, likewise."""
        return max(
            (self.described[phase].bytes / most.bytes - 1 for phase, most in self.traced.items()),
            key=abs,
        )


def _top(highest: Mapping[Phase, Highest]) -> Highest:
    return max(highest.values(), key=lambda most: most.bytes)


def names(workload: Workload) -> tuple[str, ...]:
    """The networks that both ways have under this workload."""
    absent = WITHOUT_HEADS if workload.training else WITH_HEADS
    return tuple(name for name in (*TORCHVISION, *TRANSFORMERS) if name != absent)


def traced(name: str, workload: Workload) -> Program:
    """The network of that name as PyTorch runs it."""
    from weighbridge.frontends import hf, torchvision

    if name in TORCHVISION:
        return torchvision.read(TORCHVISION[name], workload)
    import transformers

    configuration, architecture = TRANSFORMERS[name]
    config = getattr(transformers, configuration)(architectures=[architecture])
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        return hf.read(folder, replace(workload, inputs=zoo.describe(name).inputs))


def highest(program: Program) -> Mapping[Phase, Highest]:
    """The highest point of the later round of a loop, phase by phase."""
    allocated = timeline(program).allocated
    found: dict[Phase, Highest] = {}
    for size, op in zip(allocated, program.ops, strict=True):
        if op.phase not in found or size > found[op.phase].bytes:
            found[op.phase] = Highest(bytes=size, place=f"{op.kind} of {op.scope or 'the network'}")
    return found


def compare(
    name: str, workload: Workload, rewritten: Callable[[Program], Program] = lambda p: p
) -> Pair:
    """The network in both ways, either rewritten before it is looked at."""
    return Pair(
        name=name,
        workload=workload,
        described=highest(rewritten(zoo.read(name, workload))),
        traced=highest(rewritten(traced(name, workload))),
    )


BATCHES = (1, 2, 8)
TRAINED = ("sgd", "momentum", "adamw")


def workloads() -> Iterator[tuple[str, Workload]]:
    """What the table has a section for, with its heading."""
    for batch in BATCHES:
        yield f"inference, batch {batch}", Workload(batch=batch)
        for name in TRAINED:
            chosen = optimizer(name)
            yield (
                f"training with {chosen.text}, batch {batch}",
                Workload(mode="training", batch=batch, optimizer=chosen),
            )


def show(pairs: Iterable[Pair], heading: str, console: Console) -> None:
    """A table of pairs as they come."""
    table = Table(title=heading, title_justify="left")
    for column in ("network", "described", "traced", "peak", "worst phase", "peak at"):
        table.add_column(column, justify="left" if column in ("network", "peak at") else "right")
    for pair in pairs:
        described, other = pair.peaks
        table.add_row(
            pair.name,
            f"{described.bytes:,}",
            f"{other.bytes:,}",
            f"{pair.error:+.3%}",
            f"{pair.worst_error:+.3%}",
            described.place,
        )
    console.print(table)


def main() -> None:
    """Prints the peaks of every network in both ways, in bytes."""
    console = Console(width=140)
    worst = 0.0
    for heading, workload in workloads():
        pairs = [compare(name, workload) for name in names(workload)]
        worst = max(worst, *(abs(pair.error) for pair in pairs))
        show(pairs, heading, console)
    console.print(f"worst difference of a peak: {worst:.3%}")
