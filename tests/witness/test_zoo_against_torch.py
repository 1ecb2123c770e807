"""Two witnesses: the zoo's networks in our own layers, and the same networks traced by PyTorch.

The zoo knows no PyTorch and derives backward from our rules; the trace runs PyTorch's autograd and
derives nothing. Parameters, and multiply-accumulates forward and backward, agree module by module. The
other operations agree too, but for training, where PyTorch counts the batches that batch norm has seen, one addition a layer. What the networks
take in memory over a step is compared in test_two_ways.
"""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")

from weighbridge.analyses.compute import compute, op_costs  # noqa: E402
from weighbridge.frontends import hf, zoo  # noqa: E402
from weighbridge.frontends import torchvision as tv  # noqa: E402
from weighbridge.ops import Cost  # noqa: E402
from weighbridge.ops.optimizers import optimizer  # noqa: E402
from weighbridge.workload import Workload  # noqa: E402

pytestmark = pytest.mark.torch

TORCHVISION = {
    "alexnet": "alexnet", "vgg16": "vgg16", "vgg11-bn": "vgg11_bn",
    "googlenet-bn-aux": "googlenet", "resnet18": "resnet18", "resnet50": "resnet50",
    "densenet121": "densenet121", "mobilenet_v2": "mobilenet_v2",
    "vit_b_16": "vit_b_16",
}  # fmt: skip
DEEPER = {
    "vgg11": "vgg11", "vgg13": "vgg13", "vgg19": "vgg19", "vgg13-bn": "vgg13_bn",
    "vgg16-bn": "vgg16_bn", "densenet161": "densenet161", "vgg19-bn": "vgg19_bn", "resnet34": "resnet34", "resnet101": "resnet101",
    "resnet152": "resnet152", "densenet169": "densenet169", "densenet201": "densenet201",
}  # fmt: skip

INFERENCE = Workload()
TRAINING = Workload(mode="training", batch=2, optimizer=optimizer("momentum"))


def by_scope(program, phase, measure=lambda cost: cost.macs):
    """What the modules do in a phase, those that do nothing left out."""
    totals = {}
    for op, cost in zip(program.ops, op_costs(program), strict=True):
        if op.phase == phase:
            totals[op.scope] = totals.get(op.scope, Cost()) + cost
    return {scope: measure(cost) for scope, cost in totals.items() if measure(cost)}


def same_network(ours, theirs):
    assert {t.name: t.shape for t in ours.parameters} == {
        t.name: t.shape for t in theirs.parameters
    }
    assert {t.name: t.shape for t in ours.buffers} == {t.name: t.shape for t in theirs.buffers}
    assert compute(theirs).uncounted == ()
    for phase in ("forward", "backward"):
        assert by_scope(ours, phase) == by_scope(theirs, phase), phase


def both(name, workload):
    return zoo.read(name, workload), tv.read({**TORCHVISION, **DEEPER}[name], workload)


@pytest.mark.parametrize("name", TORCHVISION)
def test_a_training_step(name):
    same_network(*both(name, TRAINING))


@pytest.mark.parametrize("name", ["alexnet", "resnet50", "densenet121", "vit_b_16"])
def test_inference_to_the_last_operation(name):
    """Every kind of operation and every byte read and written, module by module."""
    ours, theirs = both(name, INFERENCE)
    same_network(ours, theirs)
    assert by_scope(ours, "forward", lambda c: c) == by_scope(theirs, "forward", lambda c: c)


@pytest.mark.slow
@pytest.mark.parametrize("name", DEEPER)
def test_a_training_step_of_deeper_members(name):
    same_network(*both(name, TRAINING))


def test_the_gradient_of_the_input():
    same_network(*both("resnet18", replace(TRAINING, input_gradient=True)))


def arithmetic(cost):
    return replace(cost, read_bytes=0, write_bytes=0)


def total(program, phase):
    return arithmetic(getattr(compute(program), phase))


def test_all_of_a_training_step_but_for_counters():
    ours, theirs = both("resnet18", TRAINING)
    counters = 20  # batch norm layers, one addition each
    assert total(theirs, "forward") == total(ours, "forward") + Cost(additions=counters)
    assert total(theirs, "backward") == total(ours, "backward")
    assert total(theirs, "update") == total(ours, "update")


def test_all_of_a_training_step_of_a_vision_transformer():
    ours, theirs = both("vit_b_16", replace(TRAINING, batch=1))
    for phase in ("forward", "backward", "update"):
        assert total(theirs, phase) == total(ours, phase), phase


def transformer(tmp_path, config, architecture, name, workload):
    config.architectures = [architecture]
    config.save_pretrained(tmp_path)
    ours = zoo.read(name, workload)
    return ours, hf.read(str(tmp_path), replace(workload, inputs=ours.workload.inputs))


def test_gpt2(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config()
    ours, theirs = transformer(tmp_path, config, "GPT2LMHeadModel", "gpt2", TRAINING)
    same_network(ours, theirs)
    positions = 1024  # transformers counts them on from where its cache ends
    assert total(theirs, "forward") == total(ours, "forward") + Cost(additions=positions)
    assert total(theirs, "backward") == total(ours, "backward")
    assert total(theirs, "update") == total(ours, "update")


def test_bert(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig()
    for workload in (INFERENCE, TRAINING):
        ours, theirs = transformer(tmp_path, config, "BertModel", "bert-base", workload)
        same_network(ours, theirs)
        for phase in ("forward", "backward", "update"):
            assert total(theirs, phase) == total(ours, phase), phase
