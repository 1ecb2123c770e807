"""The builder: scopes, the backward pass that follows from the rules, gradients that meet, updates."""

from __future__ import annotations

import pytest

from weighbridge import layers
from weighbridge.analyses.compute import compute
from weighbridge.builder import Builder
from weighbridge.errors import ShapeError
from weighbridge.ops.optimizers import optimizer
from weighbridge.program import Program, Tensor
from weighbridge.workload import Optimizer, Workload


def training(name: str = "sgd", **settings: float) -> Workload:
    return Workload(mode="training", batch=2, optimizer=optimizer(name, **settings))


def two_layers(workload: Workload) -> Program:
    """fc 8 -> 5, ReLU, fc 5 -> 3, without biases."""
    net = Builder(workload)
    x = net.input((workload.batch, 8))
    x = layers.linear(net, x, "one", 5, bias=False)
    x = layers.activation(net, x, "relu")
    x = layers.linear(net, x, "two", 3, bias=False)
    return net.build(network="two", source="test", frontend="test", outputs=(x,))


def kinds(program: Program, phase: str) -> list[tuple[str, str]]:
    return [
        (op.scope, op.kind) for op in program.ops if op.phase == phase and op.kind != "transpose"
    ]


def test_backward_runs_in_reverse_in_the_scopes_of_forward() -> None:
    program = two_layers(training())
    assert kinds(program, "backward") == [
        ("loss", "fill"),
        ("loss", "nll_loss_backward"),
        ("loss", "log_softmax_backward"),
        ("two", "matmul"),  # dX
        ("two", "matmul"),  # dW
        ("relu", "threshold_backward"),
        ("one", "matmul"),  # dW alone: nobody wants the gradient of the input
    ]
    assert kinds(program, "update") == [("one", "sgd_update"), ("two", "sgd_update")]


def test_backward_costs_twice_forward_less_the_input_gradient() -> None:
    # forward: 2*8*5 + 2*5*3 = 80 + 30 MACs. Backward: dW of both 110, dX of the second 30.
    assert compute(two_layers(training())).backward.macs == 140
    wanted = Workload(mode="training", batch=2, optimizer=optimizer("sgd"), input_gradient=True)
    assert compute(two_layers(wanted)).backward.macs == 220


def test_inference_has_no_backward_and_no_loss() -> None:
    program = two_layers(Workload(batch=2))
    assert {op.phase for op in program.ops} == {"forward"}
    assert not any(op.scope == "loss" for op in program.ops)


def test_what_backward_does_not_reach_is_not_computed() -> None:
    # A frozen first layer: neither its weights nor anything before it wants a gradient.
    net = Builder(training())
    x = net.input((2, 8))
    with net.module("frozen", "Linear"):
        x = layers.multiply(net, x, net.parameter("weight", (5, 8), trainable=False))
    x = layers.linear(net, x, "head", 3, bias=False)
    program = net.build(network="n", source="t", frontend="t", outputs=(x,))
    assert [scope for scope, kind in kinds(program, "backward") if kind == "matmul"] == ["head"]
    assert [scope for scope, _ in kinds(program, "update")] == ["head"]


def test_gradients_that_meet_are_added() -> None:
    # y = x W + x W: x W is made once and read twice, so its gradient is a sum.
    net = Builder(training())
    x = layers.linear(net, net.input((2, 4)), "fc", 4, bias=False)
    x = layers.add(net, x, x)
    program = net.build(network="n", source="t", frontend="t", outputs=(x,))
    assert [kind for _, kind in kinds(program, "backward")].count("add") == 1


def test_a_weight_used_twice_is_updated_once() -> None:
    net = Builder(training())
    x = net.input((2, 4))
    with net.module("shared", "Linear"):
        weight = net.parameter("weight", (4, 4))
        x = layers.multiply(net, layers.multiply(net, x, weight), weight)
    program = net.build(network="n", source="t", frontend="t", outputs=(x,))
    assert len(kinds(program, "update")) == 1
    # forward 2 * 32 MACs; backward: dX and dW of the second, dW of the first: 3 * 32
    assert compute(program).backward.macs == 96


@pytest.mark.parametrize(
    ("shape", "folded"), [((2, 7), (2, 7)), ((2, 5, 7), (10, 7))], ids=["logits", "tokens"]
)
def test_cross_entropy_folds_tokens_into_rows(
    shape: tuple[int, ...], folded: tuple[int, ...]
) -> None:
    net = Builder(training())
    x = layers.linear(net, net.input((*shape[:-1], 3)), "fc", shape[-1])
    program = net.build(network="n", source="t", frontend="t", outputs=(x,))
    (scores,) = [op for op in program.ops if op.kind == "log_softmax"]
    assert scores.inputs[0].shape == folded


def test_several_losses_are_weighted_and_added() -> None:
    net = Builder(training())
    x = net.input((2, 4))
    heads: tuple[Tensor, ...] = tuple(layers.linear(net, x, f"head{i}", 3) for i in range(3))
    program = net.build(
        network="n", source="t", frontend="t", outputs=heads, loss_weights=(1, 0.3, 0.3)
    )
    loss = [op.kind for op in program.ops if op.scope == "loss" and op.phase == "forward"]
    assert loss.count("nll_loss") == 3
    assert loss.count("mul") == 2
    assert loss.count("add") == 2


def test_parameter_gradients_have_that_role() -> None:
    program = two_layers(training())
    gradients = {
        tensor.id for op in program.ops for tensor in op.outputs if tensor.role == "gradient"
    }
    read = {op.inputs[1].id for op in program.ops if op.phase == "update"}
    assert gradients == read


def test_a_shape_that_does_not_fit_names_the_module_and_the_shape() -> None:
    net = Builder(Workload())
    x = net.input((1, 3, 4, 4))
    with pytest.raises(
        ShapeError, match=r"conv \(convolution\) does not take an input of shape \(1, 3, 4, 4\)"
    ) as caught:
        layers.convolution(net, x, "conv", 8, 5)
    assert caught.value.hints == ("the kernel covers 5, and the input (1, 3, 4, 4) is 4 wide",)


def test_layers_that_need_an_image_say_so() -> None:
    net = Builder(Workload())
    flat = net.input((1, 10))
    for build in (
        lambda: layers.convolution(net, flat, "conv", 8, 3),
        lambda: layers.pool(net, flat, "pool", "max_pool", 2),
        lambda: layers.global_average_pool(net, flat, "gap"),
    ):
        with pytest.raises(ShapeError, match=r"needs an image, and its input has shape \(1, 10\)"):
            build()


def test_groups_must_divide_the_channels() -> None:
    net = Builder(Workload())
    x = net.input((1, 6, 4, 4))
    with pytest.raises(
        ShapeError, match="6 input and 8 output channels do not split into 4 groups"
    ):
        layers.convolution(net, x, "conv", 8, 3, groups=4)


def test_unknown_operators_and_optimizers_are_refused() -> None:
    net = Builder(Workload(mode="training", optimizer=Optimizer(name="sdg")))
    x = net.input((1, 4))
    with pytest.raises(KeyError, match="no operator 'rleu'"):
        net.op("rleu", x)
    x = layers.linear(net, x, "fc", 2)
    with pytest.raises(Exception, match="no optimizer is called 'sdg'"):
        net.build(network="n", source="t", frontend="t", outputs=(x,))
