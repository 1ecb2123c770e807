"""`with weighbridge.scale()`: any code is weighed as it runs, and nothing stays behind."""

import copy
import gc
from importlib import import_module

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

import weighbridge  # noqa: E402
from weighbridge.errors import UsageError  # noqa: E402

pytestmark = pytest.mark.torch

OPTIMIZERS = import_module("torch.optim.optimizer")  # the name in `torch.optim` is taken away

DEVICES = ("meta", "cpu")


def two_layers(device="cpu"):
    return nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)).to(device)


def left_behind():
    """Whatever a scale could leave: modes, hooks, the fast path."""
    hooks = (
        nn.modules.module._global_forward_hooks,
        nn.modules.module._global_forward_pre_hooks,
        OPTIMIZERS._global_optimizer_pre_hooks,
        OPTIMIZERS._global_optimizer_post_hooks,
    )
    return (
        *(len(kept) for kept in hooks),
        torch._C._len_torch_dispatch_stack(),
        torch._C._len_torch_function_stack(),
        torch.backends.mha.get_fastpath_enabled(),
        gc.isenabled(),
    )


@pytest.mark.parametrize("device", DEVICES)
def test_a_training_step_of_ones_own(device):
    net = two_layers(device)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, foreach=False)
    x = torch.ones(4, 8, device=device)
    y = torch.zeros(4, dtype=torch.int64, device=device)
    with weighbridge.scale("mine") as scale:
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
    report = scale.report()
    assert report.uncounted == ()
    assert (report.network, report.program.rung, report.program.complete) == ("mine", "scale", True)
    # 4 rows of 8 to 6 and of 6 to 3; backward the same for the weights, and 3 to 6 for what lies between
    assert report.compute.forward.macs == 4 * (8 * 6 + 6 * 3)
    assert report.compute.backward.macs == 4 * (8 * 6 + 6 * 3) + 4 * 3 * 6
    # the first step copies the gradient into the momentum; then p - rate * m
    n = 8 * 6 + 6 + 6 * 3 + 3
    assert report.parameters.total == n
    assert report.compute.update.additions == n
    assert report.space.gradient_bytes == 4 * n
    assert report.space.optimizer_state_bytes == 4 * n
    assert {op.scope for op in report.program.phase("forward") if op.kind == "matmul"} == {
        "sequential.0", "sequential.2"
    }  # fmt: skip
    assert {op.scope for op in report.program.phase("backward") if op.kind == "matmul"} == {
        "sequential.0", "sequential.2"
    }  # fmt: skip
    assert {op.scope for op in report.program.phase("update")} == {"sequential.0", "sequential.2"}
    assert report.workload.batch == 4
    assert "weighed as it ran" in str(report)
    assert "4 x 8" in str(report)


# operations an element: multiplications, additions, divisions, roots, comparisons
UPDATES = [
    ("SGD", {}, (1, 1, 0, 0, 0)),  # p - rate * g
    ("SGD", {"momentum": 0.9, "nesterov": True}, (3, 3, 0, 0, 0)),  # b = m*b + g; g + m*b
    ("Adagrad", {}, (2, 3, 1, 1, 0)),  # s + g*g; sqrt(s) + eps; p - rate * g / that
    ("Adam", {}, (5, 5, 2, 1, 0)),  # lerp 1 and 2; b2*v + (1-b2)*g*g 3 and 1; + eps; rate * m
    ("Adam", {"amsgrad": True}, (5, 5, 2, 1, 1)),  # and the largest v
    ("AdamW", {}, (6, 5, 2, 1, 0)),  # and p * (1 - rate * decay)
]


@pytest.mark.parametrize("way", ["foreach", "fused"])
@pytest.mark.parametrize(("name", "settings", "expected"), UPDATES)
def test_an_optimizers_step_on_all_parameters_at_once(name, settings, expected, way):
    net = two_layers()
    optimizer = getattr(torch.optim, name)(net.parameters(), lr=0.1, **{way: True}, **settings)
    x = torch.ones(4, 8)

    def step():
        net(x).sum().backward()
        optimizer.step()

    step()  # the first step makes the state
    with weighbridge.scale() as scale:
        step()
    report = scale.report()
    assert report.uncounted == ()
    n = 8 * 6 + 6 + 6 * 3 + 3
    found = report.compute.update
    steps = 4 if name != "SGD" else 0  # each of four parameters counts its steps
    # One after the other, the rate is multiplied on first, and products and quotients meet factors of one.
    once_more = 2 * n if (name, way) == ("Adagrad", "foreach") else 0
    assert (
        found.multiplications, found.additions, found.divisions, found.transcendentals, found.comparisons
    ) == (expected[0] * n + once_more, expected[1] * n + steps, *(each * n for each in expected[2:]))  # fmt: skip
    scopes = {op.scope for op in report.program.phase("update") if "add" not in op.kind}
    if way == "fused":  # one operator for two layers belongs to neither
        assert scopes == {""}
    elif name != "SGD":  # lists are gone through tensor by tensor
        assert scopes == {"sequential.0", "sequential.2"}


def test_gradients_that_are_scaled_back_in_the_same_kernel():
    net = two_layers()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1, fused=True)
    net(torch.ones(4, 8)).sum().backward()
    optimizer.grad_scale, optimizer.found_inf = torch.full((), 2.0), torch.zeros(())
    with weighbridge.scale() as scale:
        optimizer.step()
    report = scale.report()
    assert report.uncounted == ()
    # 7 an element: 6 of AdamW's, one for the scale
    assert report.compute.update.multiplications == 7 * (8 * 6 + 6 + 6 * 3 + 3)


def test_the_figures_are_those_of_weigh():
    net, x = two_layers("meta"), torch.ones(4, 8, device="meta")
    with weighbridge.scale() as scale, torch.no_grad():
        net(x)
    whole = weighbridge.weigh(two_layers(), (8,), batch=4)
    assert scale.report().compute.forward == whole.compute.forward
    assert scale.report().compute.operators == whole.compute.operators


def test_numbers_are_what_they_would_have_been():
    torch.manual_seed(0)
    net = two_layers()
    same = copy.deepcopy(net)
    x = torch.randn(4, 8)
    with weighbridge.scale():
        loss = net(x).square().mean()
        loss.backward()
    expected = same(x).square().mean()
    expected.backward()
    assert torch.equal(loss, expected)
    for ours, theirs in zip(net.parameters(), same.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)


def test_several_models_at_once():
    first, second = two_layers(), nn.Linear(3, 5)
    third = two_layers()
    with weighbridge.scale() as scale, torch.no_grad():
        second(first(torch.ones(2, 8)))
        third(torch.ones(2, 8))
    report = scale.report()
    assert report.compute.forward.macs == 2 * (2 * (8 * 6 + 6 * 3) + 3 * 5)
    assert report.parameters.total == 2 * 75 + 20
    rows = {layer.scope: layer.forward.macs for layer in report.layers(1) if layer.forward.macs}
    assert list(rows.values()) == [132, 30, 132]
    assert len(rows) == 3


def test_parameters_that_nobody_calls_and_weights_of_no_module():
    net = two_layers()
    net.spare = nn.Linear(2, 2)
    net.forward = lambda x: net[0](x)
    weight = nn.Parameter(torch.ones(6, 2))
    with weighbridge.scale() as scale, torch.no_grad():
        net(torch.ones(1, 8)) @ weight
    # 8*6+6, 6*3+3, 2*2+2 and 6*2
    assert scale.report().parameters.total == 54 + 21 + 6 + 12


@pytest.mark.parametrize("device", DEVICES)
def test_attention_is_whole_on_either(device):
    q = torch.ones(2, 4, 16, 8, device=device)
    with weighbridge.scale() as scale:
        F.scaled_dot_product_attention(q, q, q)
    # 2 * 4 * 16 * 16 pairs of 8 and 8
    report = scale.report()
    assert report.uncounted == ()
    assert report.compute.forward.macs == 2 * 4 * 16 * 16 * 16
    assert "attention" in report.by_operator()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("causal", [False, True])
def test_attention_forward_and_backward(device, causal):
    q = torch.ones(2, 4, 16, 8, device=device, requires_grad=True)
    with weighbridge.scale() as scale:
        F.scaled_dot_product_attention(q, q, q, is_causal=causal).sum().backward()
    compute = scale.report().compute
    pairs = 2 * 4 * (16 * 17 // 2 if causal else 16 * 16)
    assert (compute.forward.macs, compute.backward.macs) == (pairs * 16, pairs * 5 * 8)


@pytest.mark.parametrize("device", DEVICES)
def test_an_encoder_layer_in_evaluation(device):
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).to(device).eval()
    with weighbridge.scale() as scale, torch.no_grad():
        layer(torch.ones(2, 5, 8, device=device))
    # a sample: 5 tokens by 8*24, 8*8, 8*16, 16*8; 25 pairs in 2 heads, 4 and 4 wide
    expected = 2 * (5 * (8 * 24 + 8 * 8 + 2 * 8 * 16) + 25 * 2 * 8)
    assert scale.report().uncounted == ()
    assert scale.report().compute.forward.macs == expected


def test_nothing_is_left_behind():
    before = left_behind()
    with weighbridge.scale():
        assert left_behind() != before
        two_layers()(torch.ones(1, 8))
    assert left_behind() == before


def test_after_an_exception_it_says_what_it_saw():
    before = left_behind()
    net = two_layers()

    def twice():
        net(torch.ones(1, 8))
        net(torch.ones(1, 9))

    scale = weighbridge.scale()
    with pytest.raises(RuntimeError, match="cannot be multiplied"), scale:
        twice()
    assert left_behind() == before
    report = scale.report()
    assert not report.program.complete
    assert report.warnings[0].startswith("stopped by RuntimeError")
    assert report.compute.forward.macs == 8 * 6 + 6 * 3
    with weighbridge.scale() as after:  # and it can be done again
        net(torch.ones(1, 8))
    assert after.report().compute.forward.macs == 66


def test_a_scale_on_a_scale_is_refused():
    before = left_behind()
    outer, inner = weighbridge.scale(), weighbridge.scale()
    with outer:
        with pytest.raises(UsageError, match="a scale is weighing already"):
            inner.__enter__()
        two_layers()(torch.ones(1, 8))
    assert left_behind() == before
    assert outer.report().compute.forward.macs == 66


def test_a_scale_weighs_once():
    with weighbridge.scale() as scale:
        pass
    assert scale.report().compute.operators == 0
    with pytest.raises(UsageError, match="this scale has weighed already"):
        scale.__enter__()


def test_a_report_before_its_time():
    scale = weighbridge.scale()
    with pytest.raises(UsageError, match="nothing has been weighed yet"):
        scale.report()
    with scale, pytest.raises(UsageError, match="nothing has been weighed yet"):
        scale.report()
    with pytest.raises(UsageError, match="no convention is called 'mac'"):
        scale.report(convention="mac")


def test_the_contract_holds(tmp_path):
    with weighbridge.scale() as scale:
        two_layers()(torch.ones(4, 8)).sum().backward()
    record = scale.report().to_dict()
    assert record["network"]["rung"] == "scale"
    assert record["compute"]["forward"]["macs"] == 264
    scale.report().save(tmp_path / "code.json")


def test_a_recurrent_network_is_seen_step_by_step():
    net = nn.LSTM(8, 6, batch_first=True)
    with weighbridge.scale() as scale, torch.no_grad():
        net(torch.ones(2, 5, 8))
    report = scale.report()
    assert report.uncounted == ()
    # 2 samples of 5 steps: four gates of 6, from 8 inputs and 6 states
    assert report.compute.forward.macs == 2 * 5 * 4 * 6 * (8 + 6)


@pytest.mark.parametrize("device", DEVICES)
def test_batch_norm_in_evaluation_is_counted_on_either(device):
    norm = nn.BatchNorm2d(3).to(device).eval()
    with weighbridge.scale() as scale, torch.no_grad():
        norm(torch.ones(2, 3, 4, 4, device=device))
    assert scale.report().uncounted == ()
    assert "batch_norm" in scale.report().by_operator()
