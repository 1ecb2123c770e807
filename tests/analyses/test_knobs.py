"""Knobs: polynomials in the batch are exact, checked, and refused where there are none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from weighbridge import layers
from weighbridge.analyses import knobs
from weighbridge.analyses.memory.timeline import lifetimes
from weighbridge.analyses.sizes import resized
from weighbridge.analyses.time.execution import dispatches, launches
from weighbridge.analyses.weighing import Weighing
from weighbridge.builder import Builder
from weighbridge.errors import WeighError
from weighbridge.network import Network
from weighbridge.workload import Optimizer, Workload

TRAINING = Workload(mode="training", batch=4, optimizer=Optimizer(name="sgd"))


def perceptron(workload, *, outputs=3, name="fc"):
    net = Builder(workload)
    x = net.input((workload.batch, 5))
    x = layers.linear(net, x, name, outputs)
    return net.build(network="perceptron", source="test", frontend="builder", outputs=(x,))


def of(network, inputs=None, **settings):
    found = Network(network, inputs)
    return found.program(found.workload(settings)), found.program


def test_a_position_is_the_step_at_every_batch():
    program, build = of("resnet18", train="momentum", batch=3)
    found = knobs.position(build, program.workload)
    assert (found.smallest, found.largest, found.fixed) == (1, None, None)
    for batch in (1, 2, 50):
        other = build(replace(program.workload, batch=batch))
        assert found.bytes.at(batch) == tuple(life.bytes for life in lifetimes(other))
        counts = tuple(knobs.numbers(Weighing(program=other).counts()))
        assert found.figures.at(batch) == counts


@pytest.mark.parametrize(
    ("network", "settings", "sizes"),
    [
        ("resnet18", {"train": "momentum", "batch": 3}, (32, 96, 416)),  # a stride of 32 pixels
        ("(Conv)8c3w2s1p->(ReLU)->(GAP)->(fc)10", {"inputs": "3,16,16"}, (2, 30, 64)),
        ("vgg11", {"batch": 2}, (448, 672)),  # a classifier of 7 x 7: whole multiples alone
        ("gpt2", {"batch": 2, "precision": "bf16"}, (1, 700, 1023)),  # it holds 1,024 positions
        ("bert-base", {"train": "sgd", "batch": 2}, (1, 129, 512)),
    ],
    ids=["resnet18", "notation", "vgg11", "gpt2", "bert"],
)
def test_a_position_is_the_step_at_every_size(network, settings, sizes):
    program, build = of(network, **settings)
    found = knobs.position(build, program.workload)
    lattice = found.lattice
    assert lattice is not None
    for batch, size in zip((4, 7, 2), sizes, strict=False):
        steps, rest = divmod(size - lattice.own, lattice.stride)
        assert rest == 0
        assert lattice.least <= steps <= lattice.most
        other = build(resized(replace(program.workload, batch=batch), size))
        assert found.bytes.at(batch, steps) == tuple(life.bytes for life in lifetimes(other))
        counts = tuple(knobs.numbers(Weighing(program=other).counts()))
        assert found.figures.at(batch, steps) == counts


@pytest.mark.parametrize(
    ("network", "smallest", "sizes"),
    [("resnet18", 1, (32, 416)), ("gpt2", 2, (65, 700)), ("vgg11", 1, (448, 672))],
)
def test_the_kernels_of_a_position_are_those_of_the_step(network, smallest, sizes):
    settings = {"train": "adamw", "precision": "amp-bf16", "backend": "cuda"}
    program, build = of(network, batch=3, **settings)
    found = knobs.position(build, program.workload)
    assert found.kernels[0].smallest == smallest
    for batch, size in ((1, None), (50, None), (4, sizes[0]), (7, sizes[1])):
        asked = replace(program.workload, batch=batch)
        other = build(asked if size is None else resized(asked, size))
        steps = 0 if size is None else (size - found.lattice.own) // found.lattice.stride
        (grown,) = (
            each
            for each in found.kernels
            if each.smallest <= batch
            and (each.largest or batch) >= batch
            and (each.sizes or (0, 0))[0] <= steps <= (each.sizes or (0, 0))[1]
        )
        herds = [herd.at(batch, steps) for herd in grown.herds]
        expected = [
            (launch.kernel, tuple(other.ops.index(op) for op in launch.ops))
            for launch in launches(other)
        ]
        assert [(herds[herd], places) for herd, places in grown.launched] == expected
        assert grown.dispatches == dispatches(other, expected)


@pytest.mark.parametrize(
    ("network", "why"),
    [
        ("vit_b_16", "encoder.pos_embedding holds a position for each"),
        (
            "(Input)(3,8,8)->(GAP)",
            "the notation begins with the input (3,8,8), and the input given is",
        ),
        ("(Input)(3,8,9)->(GAP)", "its input is neither a square image nor sequences"),
    ],
)
def test_a_network_of_one_size_says_why(network, why):
    program, build = of(network, batch=2)
    found = knobs.position(build, program.workload)
    assert found.lattice is None
    assert why in (found.one_size or "")
    assert found.largest is None  # it has every batch


def test_another_update_is_not_solved_again_and_is_as_if_it_were():
    program, build = of("lenet5", train="sgd", batch=4)
    turned = knobs.knobs(build, program)
    for position in turned.positions:
        alone = knobs.position(build, position.workload)
        assert position.figures == alone.figures, knobs.key(position.workload)
        assert position.bytes == alone.bytes, knobs.key(position.workload)
        assert position.smallest == alone.smallest
        assert position.lattice == alone.lattice
        assert position.kernels == alone.kernels, knobs.key(position.workload)
    optimizers = {knobs.key(position.workload)[1] for position in turned.positions}
    assert {
        "",
        "sgd",
        "sgd momentum 0.9",
        "adam",
        "adamw weight_decay 0.01",
        "adam8bit",
    } <= optimizers


def test_the_position_that_was_asked_for_is_first_and_there_once():
    program, build = of("resnet18", train="adamw", precision="amp-bf16", batch=2)
    keys = [knobs.key(position.workload) for position in knobs.knobs(build, program).positions]
    assert keys[0] == ("amp-bf16", "adamw weight_decay 0.01", "none")
    assert len(keys) == len(set(keys))
    assert ("float32", "", "none") in keys
    assert ("bf16", "sgd", "blocks") in keys


def test_a_dtype_that_was_asked_for_stays():
    program, build = of("lenet5", dtype="float64")
    found = knobs.knobs(build, program)
    assert {knobs.key(position.workload)[0] for position in found.positions} == {
        program.workload.precision
    }


def test_what_the_network_cannot_take_is_refused_by_name():
    program, build = of("lenet5", train="sgd", batch=2)

    def no_mixed_precision(workload):
        if workload.autocast:
            raise WeighError("no autocast here")
        return build(workload)

    found = knobs.knobs(no_mixed_precision, program)
    assert {knobs.key(one.workload)[0] for one in found.refused} == {"amp-bf16"}
    assert {one.why for one in found.refused} == {"no autocast here"}


def with_one_more_module(workload):
    program = perceptron(workload)
    spare = replace(program.modules[-1], scope="spare")
    modules = (*program.modules, spare) if workload.batch == 5 else program.modules
    return replace(program, modules=modules)


def with_a_longer_life(workload):
    program = perceptron(workload)
    lasting = tuple(replace(storage, death=None) for storage in program.storages)
    return replace(program, storages=lasting) if workload.batch == 5 else program


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (lambda workload: perceptron(workload, outputs=workload.batch**3), "square of the batch"),
        (
            lambda workload: perceptron(workload, name=f"fc{workload.batch}"),
            "where it runs transpose in fc4 at one size, it runs transpose in fc5",
        ),
        (with_one_more_module, "its layers are others at one size than at another"),
        (with_a_longer_life, "lives longer at one size than at another"),
    ],
)
def test_a_step_without_polynomials_is_of_one_batch(build, why):
    program = build(TRAINING)
    found = knobs.position(build, TRAINING)
    assert (found.smallest, found.largest) == (4, 4)
    assert found.fixed is not None
    assert why in found.fixed
    assert found.bytes.at(4) == tuple(life.bytes for life in lifetimes(program))


def test_a_batch_of_one_that_runs_otherwise_is_left_out():
    def build(workload):
        return perceptron(workload, name="one" if workload.batch == 1 else "fc")

    assert knobs.position(build, TRAINING).smallest == 2
    alone = knobs.position(build, replace(TRAINING, batch=1))
    assert alone.fixed is not None
    assert (alone.smallest, alone.largest) == (1, 1)


def test_operators_are_sized_at_every_batch():
    program = perceptron(TRAINING)
    linear = next(op for op in program.ops if op.kind == "matmul")
    (found,) = knobs.sized(perceptron, program, (linear,))
    # B samples of 5 numbers to 3: 15 B multiply-accumulates
    assert found.operations.at(10) == (150,)
    assert dict(zip(found.names, found.sizes.at(10), strict=True))["B"] == 10


def test_an_operator_is_of_one_batch_where_it_cannot_be_built_again():
    program = perceptron(TRAINING)

    def build(workload):
        raise WeighError("one step as it ran")

    linear = next(op for op in program.ops if op.kind == "matmul")
    (found,) = knobs.sized(build, program, (linear,))
    assert found.operations.at(4) == found.operations.at(5) == (60,)


def test_axes_that_get_another_name_at_another_batch_are_of_one_batch():
    def build(workload):
        net = Builder(workload)
        x = net.input((workload.batch, workload.batch - 3))  # one column at 4, which has no name
        x = layers.activation(net, x, "relu")
        return net.build(network="narrow", source="test", frontend="builder", outputs=(x,))

    workload = Workload(batch=4)
    program = build(workload)
    (found,) = knobs.sized(build, program, (program.ops[0],))
    assert found.sizes.at(4) == found.sizes.at(5)


def test_a_traced_network_is_turned_one_thing_at_a_time():
    program, build = of("resnet18", train="adamw", batch=2)
    turned = knobs.knobs(build, replace(program, rung="meta"))
    asked, *others = (knobs.key(position.workload) for position in turned.positions)
    assert len(others) < 12
    for other in others:
        differing = [a != b for a, b in zip(asked, other, strict=True)]
        assert sum(differing) == 1, other
    assert ("float32", "", "none") in others
    assert ("amp-bf16", asked[1], "none") in others


def test_flash_rounds_lengths_up_and_sizes_lie_as_far_apart():
    torch = pytest.importorskip("torch")

    class Attends(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.words = torch.nn.Embedding(10, 64)

        def forward(self, tokens):
            x = self.words(tokens).view(*tokens.shape, 2, 32).transpose(1, 2)
            return torch.nn.functional.scaled_dot_product_attention(x, x, x).sum(2)

    program, build = of(
        Attends(), "256:int64", train="sgd", batch=2, precision="bf16", backend="cuda"
    )
    found = knobs.position(build, program.workload)
    assert found.lattice is not None
    assert found.lattice.stride == 128
    # sums of the queries' gradients: 2 x 2 heads, 3 x 128 rows, 32 wide and one more, 4 bytes each
    scratch = [life.category for life in found.lifetimes].index("workspace")
    assert found.bytes.at(2, 1)[scratch] == 2 * 2 * 384 * 33 * 4
