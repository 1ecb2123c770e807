"""What wraps a network's operators: compiled code, operators over functions, autocast, kernels of one's own."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch._higher_order_ops.associative_scan import associative_scan  # noqa: E402
from torch._higher_order_ops.map import map as map_rows  # noqa: E402
from torch._higher_order_ops.scan import scan  # noqa: E402
from torch._higher_order_ops.strict_mode import strict_mode  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

import weighbridge  # noqa: E402
from weighbridge.analyses.compute import compute  # noqa: E402
from weighbridge.errors import UsageError, WeighError  # noqa: E402
from weighbridge.frontends.torch import trace  # noqa: E402
from weighbridge.workload import InputSpec, Workload  # noqa: E402

pytestmark = pytest.mark.torch


class Net(nn.Module):
    """A linear layer of 4 to 4, and then a function."""

    def __init__(self, function):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.function = function

    def forward(self, x):
        return self.function(self.linear(x))


def traced(model, *shapes, train=False, batch=3):
    inputs = tuple(InputSpec(shape=shape) for shape in shapes)
    workload = Workload(mode="training" if train else "inference", batch=batch, inputs=inputs)
    return trace(model, workload, network="net", source="test")


def macs(program):
    found = compute(program)
    return found.forward.macs, found.backward.macs


def recorded(program):
    return [(op.phase, op.kind, op.scope) for op in program.ops]


LINEAR = 3 * 4 * 4  # 3 rows of 4 to 4: forward, and as many backward for the weights


def squared(x):
    return torch.relu(x) @ x.T


compiled_squared = torch.compile(squared)


@torch.compile(dynamic=True)
def decorated(x):
    return squared(x)


# -- compiled code ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [
        compiled_squared,
        decorated,
        lambda x: torch.compile(squared)(x),
        lambda x: torch.compile(dynamic=True)(squared)(x),
        torch.compile(squared, fullgraph=True, backend="inductor"),
    ],
    ids=["at the top", "decorated", "in forward", "with settings", "inductor"],
)
def test_compiled_functions_run_as_they_were(function, monkeypatch):
    def compiler(*_, **__):
        raise AssertionError("something was compiled")

    monkeypatch.setattr("torch._dynamo.convert_frame.convert_frame", compiler)
    plain = recorded(traced(Net(squared), (4,), train=True))
    assert recorded(traced(Net(function), (4,), train=True)) == plain


def test_modules_compiled_in_place_run_as_they_were():
    whole, part = Net(squared), Net(squared)
    whole.compile()
    part.linear.compile()
    plain = recorded(traced(Net(squared), (4,), train=True))
    assert recorded(traced(whole, (4,), train=True)) == plain
    assert recorded(traced(part, (4,), train=True)) == plain


def test_compiling_is_as_it_was_afterwards():
    def fails(x):
        raise RuntimeError("no")

    before = torch.compile
    with pytest.raises(WeighError, match="RuntimeError: no"):
        traced(Net(fails), (4,))
    assert torch.compile is before
    assert torch._dynamo.eval_frame._stance.stance == "default"


# -- operators over functions ----------------------------------------------------------------------


@pytest.mark.parametrize("swapped", [False, True])
def test_a_condition_without_a_value_takes_the_costlier_branch(swapped):
    branches = (lambda x: x @ x.T @ x, torch.sin)
    first, second = reversed(branches) if swapped else branches

    program = traced(Net(lambda x: torch.cond(x.sum() > 0, first, second, (x,))), (4,), train=True)
    assert program.rung == "meta"
    assert program.warnings == (
        "torch.cond asks for a value: the costlier of its branches is counted",
    )
    # 3*4*3 and 3*3*4; backward each twice, and the linear layer's weights
    assert macs(program) == (LINEAR + 72, LINEAR + 144)
    assert "transcendental" not in {op.kind for op in program.ops}


def test_a_condition_with_a_value_takes_its_branch():
    def forward(x):
        if x.sum() > 1e9:  # asks for a value, so that there are some
            return x
        return torch.cond(x.sum() > 1e9, lambda x: x @ x.T @ x, torch.sin, (x,))

    program = traced(Net(forward), (4,))
    assert program.rung == "real"
    assert macs(program) == (LINEAR, 0)


def test_branches_hold_modules_and_attention():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x):
            def attend(x):
                x = self.linear(x)
                return nn.functional.scaled_dot_product_attention(x, x, x)

            return torch.cond(x.sum() > 0, attend, torch.sin, (x,))

    program = traced(Branching(), (5, 4), batch=1)
    assert [(op.kind, op.scope) for op in program.ops if op.kind in ("matmul", "attention")] == [
        ("matmul", "linear"), ("attention", "")
    ]  # fmt: skip
    # 5 rows of 4 to 4, and 25 pairs of width 4 + 4
    assert macs(program) == (5 * 16 + 25 * 8, 0)


def test_a_loop_runs_as_often_as_its_condition_says():
    def forward(x):
        start = torch.zeros((), dtype=torch.int64)
        return torch.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x @ x.T @ x), (start, x))[
            1
        ]

    program = traced(Net(forward), (4,))
    # the counter follows from constants, which are known without data
    assert program.rung == "meta"
    assert macs(program) == (LINEAR + 3 * 72, 0)


def test_rows_one_by_one():
    def forward(x):
        return map_rows(lambda row, w: row @ w, x, torch.ones(4, 4, device=x.device))

    # 3 rows of 4 to 4 times a constant: one product backward
    assert macs(traced(Net(forward), (4,), train=True)) == (LINEAR + 48, LINEAR + 48)


def test_a_scan_row_by_row():
    def forward(x):
        return scan(lambda carried, row: (carried + row, carried * row), x[0], x)[1]

    program = traced(Net(forward), (4,))
    kinds = [op.kind for op in program.ops]
    assert (kinds.count("add"), kinds.count("mul")) == (3, 3)


@pytest.mark.parametrize("mode", ["pointwise", "generic"])
def test_an_associative_scan_by_pairs(mode):
    def forward(x):
        return associative_scan(lambda a, b: a + b, x, 0, combine_mode=mode)

    program = traced(Net(forward), (4,))
    # of 3 rows: the first two, and that with the third
    assert [op.kind for op in program.ops].count("add") == 2


def test_any_other_operator_over_functions_is_refused_by_name():
    with pytest.raises(
        WeighError, match="runs strict_mode, an operator over functions that is not looked into"
    ):
        traced(Net(lambda x: strict_mode(torch.sin, (x,))), (4,))


# -- functions of autograd's and of functions ------------------------------------------------------


class Squared(torch.autograd.Function):
    """x x^T, with a backward of its own."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x @ x.T

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return (dy + dy.T) @ x


def test_a_function_of_autograds_runs_its_own_backward():
    program = traced(Net(Squared.apply), (4,), train=True)
    # 3*4*3 forward; backward one product of 3*3*4 where autograd's own would take two
    assert macs(program) == (LINEAR + 36, LINEAR + 36)


def test_vmap_in_forward():
    program = traced(Net(torch.vmap(lambda row: torch.outer(row, row) @ row)), (4,), train=True)
    # the outer products are multiplications; each matrix times its row is 4*4, and backward twice
    assert macs(program) == (LINEAR + 3 * 16, LINEAR + 2 * 3 * 16)


def test_vmap_over_a_function_of_autograds():
    def forward(x):
        return torch.vmap(Squared.apply)(x.reshape(2, 3, 4))

    assert macs(traced(Net(forward), (3, 4), batch=2)) == (2 * LINEAR + 2 * 36, 0)


@pytest.mark.parametrize(
    "gradient",
    [
        lambda x: torch.func.grad(lambda y: (y @ y.T).sum())(x),
        lambda x: torch.autograd.grad((x @ x.T).sum(), x, create_graph=True)[0],
    ],
    ids=["func", "autograd"],
)
def test_a_gradient_in_forward_and_its_own_gradient(gradient):
    program = traced(Net(gradient), (4,), train=True)
    # the product of 36; its two gradients, which are linear in x: two more backward, and the layer's
    assert sum(macs(program)) == LINEAR + 36 + 2 * 36 + 2 * 36 + LINEAR


@pytest.mark.parametrize("nested", [False, True])
def test_encoder_layers_in_eval_mode_are_not_one_kernel(nested):
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    net = nn.TransformerEncoder(layer, 1, enable_nested_tensor=nested).eval()
    program = traced(net, (5, 8), batch=1)
    # 4 projections of 8 to 8, two layers of 8 and 16; 25 pairs, 2 heads of width 4 + 4
    assert macs(program) == (5 * (4 * 64 + 2 * 128) + 25 * 2 * 8, 0)
    assert compute(program).uncounted == ()


@pytest.mark.parametrize(
    "forward",
    [
        lambda x: torch.nested.nested_tensor([x[0], x[1, :2]]),
        lambda x: torch.nested.as_nested_tensor([x[0], x[1]], layout=torch.jagged).sum(),
        lambda x: torch.nested.nested_tensor_from_jagged(x[0], torch.tensor([0, 1, 3])),
        lambda x: torch._nested_view_from_jagged(x[0], torch.tensor([0, 1, 3]), x[0]),
    ],
    ids=["strided", "jagged", "from jagged", "inside"],
)
def test_nested_tensors_are_refused(forward):
    before = torch.nested.nested_tensor
    with pytest.raises(WeighError, match="nested tensors, whose rows have lengths that are data"):
        traced(Net(forward), (3, 4), batch=2)
    assert torch.nested.nested_tensor is before


# -- checkpoints -----------------------------------------------------------------------------------


@pytest.mark.parametrize("reentrant", [False, True])
def test_what_a_checkpoint_computes_again_belongs_to_its_module(reentrant):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = Net(squared), nn.Linear(3, 4)

        def forward(self, x):
            return checkpoint(self.inner, x, use_reentrant=reentrant)

        def inner(self, x):
            return self.second(self.first(x))

    net = nn.Sequential(nn.Linear(4, 4), Block())
    program = traced(net, (4,), train=True)
    again = [op.scope for op in program.phase("backward") if op.kind == "relu"]
    assert again == ["1.first"]
    # forward 48 + 36 + 36, after a layer of 48; again without the last layer, or with it; then two products
    # for each but the first layer's input
    forward = 48 + 48 + 36 + 36
    recomputed = 48 + 36 + (36 if reentrant else 0)
    assert macs(program) == (forward, recomputed + 48 + 2 * (48 + 36 + 36))


# -- autocast --------------------------------------------------------------------------------------


def autocast_state():
    return [(torch.is_autocast_enabled(each), torch.get_autocast_dtype(each)) for each in ("cpu", "cuda")]  # fmt: skip


def test_autocast_left_on_is_put_back():
    def leaves_it_on(x):
        torch.set_autocast_enabled("cpu", True)
        torch.set_autocast_dtype("cpu", torch.float16)
        torch.autocast("cpu", torch.bfloat16).__enter__()
        return x

    def fails(x):
        leaves_it_on(x)
        raise RuntimeError("no")

    before = autocast_state()
    traced(Net(leaves_it_on), (4,))
    assert autocast_state() == before
    with pytest.raises(WeighError, match="RuntimeError: no"):
        traced(Net(fails), (4,))
    assert autocast_state() == before


def test_autocast_in_forward_is_followed_and_ends():
    def forward(x):
        with torch.autocast("cuda", torch.bfloat16):
            y = x @ x.T
        with torch.autocast("cuda", enabled=False):
            return y + 1

    make = torch.autocast.__init__
    program = traced(Net(forward), (4,))
    assert program.warnings == ()
    (product,) = [op for op in program.ops if op.kind == "matmul" and op.scope == ""]
    assert product.outputs[0].dtype == "bfloat16"
    assert macs(program) == (LINEAR + 36, 0)
    assert torch.autocast.__init__ is make


# -- operators and kernels of one's own ------------------------------------------------------------


@torch.library.custom_op("weighbridge_test::scaled", mutates_args=())
def scaled(x: torch.Tensor, factor: int) -> torch.Tensor:
    return x * factor


@scaled.register_fake
def _(x, factor):
    return torch.empty_like(x)


@torch.library.custom_op("weighbridge_test::scaled_backward", mutates_args=())
def scaled_backward(dy: torch.Tensor, factor: int) -> torch.Tensor:
    return dy * factor


@scaled_backward.register_fake
def _(dy, factor):
    return torch.empty_like(dy)


scaled.register_autograd(
    lambda ctx, dy: (scaled_backward(dy, ctx.factor), None),
    setup_context=lambda ctx, inputs, output: setattr(ctx, "factor", inputs[1]),
)


@torch.library.custom_op("weighbridge_test::only_real", mutates_args=())
def only_real(x: torch.Tensor) -> torch.Tensor:
    return x * 2


def test_operators_of_ones_own_are_named_forward_and_backward():
    program = traced(Net(lambda x: scaled(x, 3)), (4,), train=True)
    missing = [(each.op, each.count) for each in compute(program).uncounted]
    assert missing == [
        ("weighbridge_test.scaled", 1), ("weighbridge_test.scaled_backward", 1)
    ]  # fmt: skip


@pytest.mark.parametrize("held", [only_real, torch.ops.weighbridge_test.only_real])
def test_an_operator_that_a_module_holds_and_that_has_no_shapes_runs_on_data(held):
    program = traced(Net(held), (4,))
    assert program.rung == "real"
    assert [each.op for each in compute(program).uncounted] == ["weighbridge_test.only_real"]


def test_a_rule_for_one_of_pytorchs_operators_that_nobody_counts():
    @weighbridge.rule("aten::linalg_qr")
    def qr(op):
        return {"macs": 7}

    try:
        program = traced(Net(lambda x: torch.linalg.qr(x)[1]), (4,))
        assert macs(program) == (LINEAR + 7, 0)
    finally:
        weighbridge.forget_rule("aten::linalg_qr")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("aten::convolution", "the operator is counted already"),
        ("aten::add_", "the operator is counted already"),
        ("aten::linear", "PyTorch takes it apart into other operators before any runs"),
        ("aten::convolute", "PyTorch has no operator of that name"),
    ],
)
def test_a_rule_without_effect_is_refused(name, reason):
    weighbridge.rule(name)(lambda op: {"macs": 1})
    try:
        with pytest.raises(UsageError, match=f"the rule for {name} has no effect: {reason}"):
            traced(Net(torch.relu), (4,))
    finally:
        weighbridge.forget_rule(name)


def test_triton_kernels_are_named_and_not_run():
    triton = pytest.importorskip("triton")

    @triton.jit
    def doubled(x, y, n, SIZE):  # what it does is nobody's business: it is not run
        pass

    def launch(x: torch.Tensor) -> torch.Tensor:
        y = torch.empty_like(x)
        doubled[(1,)](x, y, x.numel(), SIZE=16)
        return y

    wrapped = torch.library.triton_op("weighbridge_test::doubled", launch, mutates_args=())
    run = triton.JITFunction.run
    bare = traced(Net(launch), (4,))
    (op,) = [op for op in bare.ops if op.kind.startswith("triton")]
    assert (op.kind, op.attributes) == ("triton.doubled", {"n": 12, "SIZE": 16})
    assert [each.op for each in compute(bare).uncounted] == ["triton.doubled"]
    assert [each.op for each in compute(traced(Net(wrapped), (4,))).uncounted] == [
        "weighbridge_test.doubled"
    ]
    assert triton.JITFunction.run is run
