"""Recurrent networks taken whole: sums by hand, and PyTorch's own run of them step by step."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils import rnn  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

import weighbridge  # noqa: E402
from by_hand import cost, run  # noqa: E402
from weighbridge.analyses.compute import compute  # noqa: E402
from weighbridge.frontends.torch import trace  # noqa: E402
from weighbridge.workload import InputSpec, Workload  # noqa: E402

pytestmark = pytest.mark.torch

KINDS = (nn.LSTM, nn.GRU, nn.RNN)
GATES = {nn.LSTM: 4, nn.GRU: 3, nn.RNN: 1}


def traced(model, *shapes, batch=2, train=False, input_gradient=None):
    workload = Workload(
        inputs=tuple(InputSpec(shape=shape) for shape in shapes), batch=batch, loss="mean",
        mode="training" if train else "inference",
        input_gradient=train if input_gradient is None else input_gradient,
    )  # fmt: skip
    program = trace(model, workload, network="net", source="test")
    assert compute(program).uncounted == ()
    return program


def flops(program):
    found = compute(program)
    return found.forward.flops, found.backward.flops


def step_by_step(net, *inputs):
    """Forward and backward FLOPs of PyTorch's own run, its library's one kernel switched off."""
    before = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        with FlopCounterMode(display=False) as forward:
            y = net(*inputs)
        with FlopCounterMode(display=False) as backward:
            y.mean().backward()
    finally:
        torch._C._set_mkldnn_enabled(before)
    return forward.get_total_flops(), backward.get_total_flops()


class First(nn.Module):
    """The first result of a recurrent network."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, *inputs):
        return self.inner(*inputs)[0]


# -- by hand ---------------------------------------------------------------------------------------


def test_two_layers_of_lstm():
    # 90 steps of 2 layers: four gates of 512, each from 512 inputs and 512 states
    net = nn.LSTM(512, 512, 2, device="meta")
    program = traced(net, (1, 512), batch=90)
    assert compute(program).forward.macs == 90 * 2 * 4 * 512 * (512 + 512) == 377_487_360
    assert [op.kind for op in program.ops] == ["fill", "fill", "lstm"]


def test_one_step_of_one_unit():
    # one input, one unit, one step: four gates of two products, joined by an addition, and two biases each
    lstm = cost(
        run(
            "lstm", (1, 1, 1), (1, 1, 1), (1, 1, 1), (4, 1), (4, 1), (4,), (4,), hidden=1, bias=True
        )
    )
    # f * c + i * g and o * tanh(c): 3 products and 1 sum; 3 sigmoids: exp, 1 +, 1 / each; 2 tanh
    assert (lstm.macs, lstm.multiplications) == (8, 8 + 3)
    assert lstm.additions == 4 * (1 + 2) + 1 + 3
    assert (lstm.divisions, lstm.transcendentals) == (3, 3 + 2)
    gru = cost(run("gru", (1, 1, 1), (1, 1, 1), (3, 1), (3, 1), hidden=1))
    # r * sum, z * (h - n) + n; 2 sigmoids and a tanh
    assert (gru.macs, gru.multiplications) == (6, 6 + 2)
    assert (gru.additions, gru.divisions, gru.transcendentals) == (3 + 2 + 2, 2, 3)
    settings = {"hidden": 1, "nonlinearity": "relu"}
    relu = cost(run("rnn", (1, 1, 1), (1, 1, 1), (1, 1), (1, 1), **settings))
    assert (relu.macs, relu.additions, relu.comparisons) == (2, 1, 1)


def test_a_projected_lstm():
    # gates from 6 inputs and 3 projected states; the projection of 5 to 3
    net = nn.LSTM(6, 5, proj_size=3, batch_first=True)
    assert compute(traced(net, (7, 6))).forward.macs == 2 * 7 * (4 * 5 * (6 + 3) + 5 * 3)


def test_what_is_kept_for_backward():
    net = nn.LSTM(6, 5, 2, batch_first=True, dropout=0.5)
    (op,) = [op for op in traced(net, (7, 6), train=True).ops if op.kind == "lstm"]
    # 2 * 7 rows: i, f, g, o and c of 5 units of 2 layers, the lower layer's 5 outputs, in 4 bytes each;
    # and a byte for each of those outputs that dropout may have zeroed
    assert op.outputs[-1].shape == (14 * (2 * 5 * 5 + 5) * 4 + 14 * 5,)
    assert (op.outputs[-1].role, op.outputs[0].role) == ("saved", "activation")
    assert [op.kind for op in traced(net, (7, 6)).ops if len(op.outputs) == 4] == []


# -- against PyTorch, step by step -----------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "settings",
    [
        {}, {"batch_first": True}, {"num_layers": 3, "bias": False}, {"bidirectional": True},
        {"num_layers": 2, "bidirectional": True, "batch_first": True},
    ],
    ids=str,
)  # fmt: skip
def test_products_forward_and_backward(kind, settings):
    net = First(kind(6, 5, **settings))
    x = torch.randn(4, 3, 6, requires_grad=True)
    assert flops(traced(net, (3, 6), batch=4, train=True)) == step_by_step(net, x)
    # where the input wants no gradient, the first layer's product for it is not made
    found = flops(traced(net, (3, 6), batch=4, train=True, input_gradient=False))
    assert found == step_by_step(net, x.detach())


def test_a_projected_lstm_backward():
    net = First(nn.LSTM(6, 5, 2, proj_size=3, bidirectional=True))
    x = torch.randn(4, 3, 6, requires_grad=True)
    assert flops(traced(net, (3, 6), batch=4, train=True)) == step_by_step(net, x)


class Given(First):
    """An LSTM whose first states are inputs, or learnt."""

    def forward(self, x, h, c):
        return self.inner(x, (h.transpose(0, 1).contiguous(), c.transpose(0, 1).contiguous()))[0]


def test_first_states_that_want_a_gradient():
    net = Given(nn.LSTM(6, 5, 2, batch_first=True))
    inputs = [torch.randn(4, *shape, requires_grad=True) for shape in ((3, 6), (2, 5), (2, 5))]
    found = flops(traced(net, (3, 6), (2, 5), (2, 5), batch=4, train=True))
    assert found == step_by_step(net, *inputs)


@pytest.mark.parametrize("frozen", ["weight_ih_l0", "weight_hh_l0", "weight_hh_l1", "l0"])
def test_frozen_weights(frozen):
    """A lower layer that is frozen altogether ends the way back."""
    net = First(nn.GRU(6, 5, 2))
    for name, parameter in net.inner.named_parameters():
        parameter.requires_grad_(not name.endswith(frozen))
    found = flops(traced(net, (3, 6), batch=4, train=True, input_gradient=False))
    assert found == step_by_step(net, torch.randn(4, 3, 6))


class Packed(nn.Module):
    """Sequences of 5, 4 and 2 steps."""

    def __init__(self, kind):
        super().__init__()
        self.inner = kind(6, 5, 2, batch_first=True, bidirectional=True)

    def forward(self, x):
        packed = rnn.pack_padded_sequence(x, torch.tensor([5, 4, 2]), batch_first=True)
        return rnn.pad_packed_sequence(self.inner(packed)[0], batch_first=True)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_packed_sequences_count_the_steps_that_they_have(kind):
    net = Packed(kind)
    program = traced(net, (5, 6), batch=3, train=True)
    # 11 rows, each way: the second layer reads both ways of the first
    forward = 11 * 2 * GATES[kind] * 5 * ((6 + 5) + (10 + 5))
    assert program.rung == "real"
    assert flops(program)[0] == 2 * forward
    # Going back, two sequences begin later than the longest. PyTorch's steps have a product for the gradients of
    # their first states too, 2 rows of each layer, which nobody wants.
    unwanted = 2 * 2 * 2 * GATES[kind] * 5 * 5
    own = step_by_step(net, torch.randn(3, 5, 6, requires_grad=True))
    assert flops(program) == (own[0], own[1] - unwanted)


class Asks(First):
    """Reads a value, so that it runs on data."""

    def forward(self, x):
        y = self.inner(x)[0]
        return y if y.abs().sum().item() < 1e9 else -y


@pytest.mark.parametrize("kind", KINDS)
def test_with_data_the_same_and_the_values_are_pytorchs(kind):
    net = Asks(kind(6, 5, 2, bidirectional=True))
    program = traced(net, (3, 6), batch=4, train=True)
    assert program.rung == "real"
    assert flops(program) == step_by_step(net, torch.randn(4, 3, 6, requires_grad=True))


def test_a_network_that_does_not_fit_is_refused_in_pytorchs_words():
    with pytest.raises(Exception, match=r"input.size\(-1\) must be equal to input_size"):
        traced(nn.LSTM(6, 5), (3, 7))


def test_the_library_switch_is_as_it_was():
    before = torch._C._get_mkldnn_enabled()
    traced(Asks(nn.LSTM(6, 5)), (3, 6))
    assert torch._C._get_mkldnn_enabled() == before


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_on_the_scale_gradients_are_pytorchs(device):
    net = nn.LSTM(6, 5, device=device)
    x = torch.ones(3, 2, 6, device=device)
    with weighbridge.scale() as scale:
        net(x)[0].mean().backward()
    found = scale.report().compute
    # 3 steps of 2 rows; no gradient of x nor of the first states
    forward = 2 * 3 * 4 * 5 * (6 + 5)
    assert found.uncounted == ()
    assert (found.forward.macs, found.backward.macs) == (forward, forward + 2 * 2 * 4 * 5 * 5)
    weighed = [p.grad for p in net.parameters()]
    net.zero_grad()
    net(x)[0].mean().backward()
    if device == "cpu":
        for before, after in zip(weighed, (p.grad for p in net.parameters()), strict=True):
            torch.testing.assert_close(before, after)


@pytest.mark.parametrize(("cell", "gates"), [(nn.LSTMCell, 4), (nn.GRUCell, 3), (nn.RNNCell, 1)])
def test_a_single_cell(cell, gates):
    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = cell(6, 5)

        def forward(self, x):
            made = self.cell(x)
            return made[0] if isinstance(made, tuple) else made

    found = flops(traced(Step(), (6,), train=True))
    assert found[0] == 2 * 2 * gates * 5 * (6 + 5)
    assert found == step_by_step(Step(), torch.randn(2, 6, requires_grad=True))
