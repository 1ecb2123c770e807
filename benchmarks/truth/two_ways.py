"""Two ways, one answer: a network described layer by layer and the same network traced by PyTorch.

The zoo knows no PyTorch: lifetimes follow from liveness, backward from the operators' rules. The trace runs
PyTorch's own autograd and derives nothing: it sees storages come and go. Their curves of memory over a step are
compared by their highest points in forward, backward and update.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.truth.tables import Errors, Sheet
from weighbridge.analyses.memory.timeline import timeline
from weighbridge.frontends import zoo
from weighbridge.ops.optimizers import optimizer
from weighbridge.program import Phase, Program
from weighbridge.workload import Precision, Workload

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


def _training(name: str, precision: Precision = "float32") -> Workload:
    return Workload(mode="training", optimizer=optimizer(name), precision=precision)


KINDS: Mapping[str, Workload] = {
    "inference": Workload(),
    "autograd on": Workload(no_grad=False),
    "sgd": _training("sgd"),
    "momentum": _training("momentum"),
    "adamw": _training("adamw"),
    "inference amp-bf16": Workload(precision="amp-bf16"),
    "adamw amp-bf16": _training("adamw", "amp-bf16"),
    "sgd amp-fp16": _training("sgd", "amp-fp16"),
}
"""What is done with each network, at every batch: a column of the table."""

EXPLAINED = 0.001
"""A difference beyond this share of the traced figure has its reason in `REASONS`."""

REASONS: Mapping[str, str] = {}
"""Why a network's two ways differ: at present none does beyond that."""


def workloads() -> Iterator[tuple[str, Workload]]:
    """Every kind at every batch."""
    for kind, workload in KINDS.items():
        for batch in BATCHES:
            yield kind, replace(workload, batch=batch)


def sheet(only: str) -> Sheet | None:
    """Every network whose name contains `only` in both ways, under every workload; None where none does."""
    found: dict[str, dict[str, list[Pair]]] = {}
    for kind, workload in workloads():
        for name in names(workload):
            if only in name:
                of_kind = found.setdefault(name, {}).setdefault(kind, [])
                of_kind.append(compare(name, workload))
    if not found:
        return None
    pairs = [pair for kinds in found.values() for several in kinds.values() for pair in several]
    same = sum(pair.peaks[0].bytes == pair.peaks[1].bytes for pair in pairs)
    return Sheet(
        heading="Memory two ways: described layer by layer, and traced",
        sentences=(
            "Networks that both the zoo and PyTorch's libraries have. The zoo runs no PyTorch: lifetimes follow from liveness,",
            "backward from the operators' rules. The trace derives nothing: it is PyTorch's autograd, watched. The figure is by",
            "how much the described peak of a later step is above the traced one, as a share of that: of batches of "
            f"{', '.join(map(str, BATCHES))}",
            f"the furthest off, `0` where all are equal to the byte. {same} of {len(pairs)} pairs are. The last column is the",
            "phase that is furthest off, the highest points of forward, backward and update compared one by one.",
            "`python -m benchmarks truth two-ways`.",
        ),
        columns=("network", *KINDS, "any phase"),
        rows=[_row(name, kinds) for name, kinds in found.items()],
        errors=Errors(values=[pair.error for pair in pairs]),
        notes=tuple(_notes(pairs)),
    )


def _row(name: str, kinds: Mapping[str, Sequence[Pair]]) -> tuple[str, ...]:
    every = [pair.worst_error for pairs in kinds.values() for pair in pairs]
    cells = [[pair.error for pair in kinds.get(kind, ())] for kind in KINDS]
    return (name, *map(_furthest, cells), _furthest(every))


def _furthest(errors: Sequence[float]) -> str:
    if not errors:
        return ""
    worst = max(errors, key=abs)
    return f"{worst:+.4%}".replace("%", " %") if worst else "0"


def _notes(pairs: Iterable[Pair]) -> Iterator[str]:
    """The reasons of networks beyond `EXPLAINED`, and those that have none."""
    beyond = {pair.name for pair in pairs if abs(pair.worst_error) > EXPLAINED}
    for name in sorted(beyond):
        yield f"- {name}: {REASONS.get(name, 'not explained')}."
