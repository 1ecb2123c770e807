"""Two ways, one answer: memory of networks described in our layers, and of the same networks traced by PyTorch.

Lifetimes of the first follow from liveness and from the operators' rules, those of the second are what PyTorch did.
Nothing is shared but the timeline. The highest points of forward, backward and update agree.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")
pytest.importorskip("transformers")
pytest.importorskip("benchmarks.truth", reason="run from the checkout: python -m pytest")

from benchmarks.truth import two_ways  # noqa: E402

from weighbridge import layers  # noqa: E402
from weighbridge.builder import Builder  # noqa: E402
from weighbridge.frontends import zoo  # noqa: E402
from weighbridge.frontends.torch import trace  # noqa: E402
from weighbridge.ops import rule_of  # noqa: E402
from weighbridge.ops.base import Cost  # noqa: E402
from weighbridge.ops.optimizers import FUSED, optimizer  # noqa: E402
from weighbridge.program import Program  # noqa: E402
from weighbridge.workload import Implementation, InputSpec, Precision, Workload  # noqa: E402

pytestmark = pytest.mark.torch

CLOSE = 0.001
"""As a share of the traced peak. Most are equal to the byte."""


def training(name: str, batch: int) -> Workload:
    return Workload(mode="training", batch=batch, optimizer=optimizer(name))


QUICK = [
    ("alexnet", training("adamw", 1)),  # the update is the peak
    ("vgg11", Workload(batch=8)),
    ("vgg11-bn", training("sgd", 2)),
    ("googlenet-bn-aux", training("momentum", 8)),
    ("googlenet-bn", Workload(batch=1)),
    ("resnet18", training("momentum", 2)),
    ("resnet50", training("adamw", 8)),
    ("densenet121", Workload(batch=2)),
    ("densenet121", training("sgd", 1)),
    ("mobilenet_v2", training("adamw", 8)),
    ("vit_b_16", training("sgd", 1)),  # one image needs no turning round
    ("vit_b_16", training("adamw", 8)),
    ("bert-base", training("adamw", 2)),
    ("gpt2", training("sgd", 2)),
]


def told(case: tuple[str, Workload]) -> str:
    name, workload = case
    what = workload.optimizer.text if workload.optimizer else "inference"
    return f"{name} {what} {workload.batch}"


def agrees(name: str, workload: Workload) -> None:
    pair = two_ways.compare(name, workload)
    assert set(pair.described) == set(pair.traced)
    assert abs(pair.error) <= CLOSE, pair.peaks
    assert abs(pair.worst_error) <= CLOSE, (pair.described, pair.traced)


@pytest.mark.parametrize("case", QUICK, ids=told)
def test_peaks_agree(case: tuple[str, Workload]) -> None:
    agrees(*case)


HALF = [
    ("resnet18", replace(training("adamw", 8), precision="amp-bf16")),
    ("resnet50", replace(training("sgd", 8), precision="amp-fp16")),
    ("densenet121", replace(Workload(batch=2), precision="amp-bf16")),
    ("vit_b_16", replace(training("adamw", 2), precision="amp-bf16")),
    ("bert-base", replace(training("adamw", 2), precision="amp-fp16")),
    ("gpt2", replace(training("adamw", 2), precision="amp-bf16")),
]


@pytest.mark.parametrize(
    ("name", "workload"), HALF, ids=[f"{told(case)} {case[1].precision}" for case in HALF]
)
def test_peaks_agree_under_autocast(name: str, workload: Workload) -> None:
    agrees(name, workload)


@pytest.mark.parametrize("name", ["resnet18", "vit_b_16", "bert-base"])
@pytest.mark.parametrize("precision", ["float32", "amp-bf16"])
def test_peaks_agree_with_autograd_on(name: str, precision: Precision) -> None:
    """Inference whose outputs hold what a backward would read."""
    agrees(name, Workload(batch=2, no_grad=False, precision=precision))


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_updates_of_scaled_gradients_do_the_same_arithmetic(name: str) -> None:
    """One operator a parameter and PyTorch's over lists, with gradients scaled back first."""
    workload = replace(training(name, 2), precision="amp-fp16")

    def updated(program: Program) -> Cost:
        rules = [(op, rule_of(op.kind)) for op in program.phase("update")]
        assert rules[0][0].kind == "unscale"
        return sum((rule.arithmetic(op) for op, rule in rules if rule is not None), start=Cost())

    assert updated(zoo.read("resnet18", workload)) == updated(two_ways.traced("resnet18", workload))


@pytest.mark.slow
@pytest.mark.parametrize(
    "workload",
    [workload for _, workload in two_ways.workloads()],
    ids=[f"{kind} {workload.batch}" for kind, workload in two_ways.workloads()],
)
def test_peaks_of_all_agree(workload: Workload) -> None:
    for name in two_ways.names(workload):
        agrees(name, workload)


WIDTHS = (96, 128, 10)
UPDATES = [
    ("sgd", {}),
    ("sgd", {"weight_decay": 0.1}),
    ("sgd", {"momentum": 0.9}),
    ("sgd", {"momentum": 0.9, "nesterov": True}),
    ("sgd", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("adagrad", {}),
    ("adagrad", {"weight_decay": 0.1}),
    ("rmsprop", {}),
    ("rmsprop", {"momentum": 0.9, "centered": True, "weight_decay": 0.1}),
    ("adam", {}),
    ("adam", {"amsgrad": True, "weight_decay": 0.1}),
    ("adamw", {}),
    ("nadam", {"weight_decay": 0.1}),
    ("radam", {}),
    ("adamax", {}),
    ("adadelta", {"weight_decay": 0.1}),
    ("asgd", {}),
    ("adafactor", {}),
]


@pytest.mark.parametrize(
    ("name", "settings", "how"),
    [
        (name, settings, how)
        for name, settings in UPDATES
        for how in ("single", "foreach", "fused")
        if how != "fused" or name in FUSED
    ],
)
def test_what_an_update_makes_on_the_way(
    name: str, settings: dict[str, float], how: Implementation
) -> None:
    """Parameter by parameter, over lists of all, and in one kernel: temporaries and state."""
    workload = Workload(
        mode="training",
        inputs=(InputSpec(shape=(64,)),),
        optimizer=replace(optimizer(name, **settings), implementation=how),
    )
    net = Builder(workload)
    x = net.input((1, 64))
    for index, width in enumerate(WIDTHS):
        x = layers.linear(net, x, f"{index}", width)
    ours = net.build(network="n", source="t", frontend="t", outputs=(x,))
    model = torch.nn.Sequential(
        *(torch.nn.Linear(a, b) for a, b in zip((64, *WIDTHS), WIDTHS, strict=False))
    )
    theirs = trace(model, workload, network="n", source="t", frontend="t")
    described, traced = (two_ways.highest(program)["update"].bytes for program in (ours, theirs))
    # Adafactor's factors and means, a row or a column each, are left out
    assert described == pytest.approx(traced, rel=0.007 if name == "adafactor" else 0.0025)


def test_there_are_enough_pairs() -> None:
    assert len(two_ways.names(Workload())) >= 22
