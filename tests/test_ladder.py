"""The ladder: networks that ask for values run on some, and what both rungs carry comes out the same."""

import random

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import weighbridge  # noqa: E402
from weighbridge.analyses.compute import compute, op_costs  # noqa: E402
from weighbridge.errors import StrictError, WeighError  # noqa: E402
from weighbridge.frontends.torch import rungs, trace, tracing  # noqa: E402
from weighbridge.ops.optimizers import optimizer  # noqa: E402
from weighbridge.program import Storage  # noqa: E402
from weighbridge.workload import InputSpec, Workload  # noqa: E402

pytestmark = pytest.mark.torch

TRAINING = {"mode": "training", "optimizer": optimizer("adam")}


def workload(*shape, batch=1, **settings):
    return Workload(inputs=(InputSpec(shape=shape),), batch=batch, **settings)


def traced(model, *shape, **settings):
    return trace(model, workload(*shape, **settings), network="net", source="test")


# -- the same on both rungs --------------------------------------------------------------------------


def on_both(model, work, monkeypatch):
    """The program of the first rung, and that of the last, which is climbed to by a refusal of those without data.

    Between the two is the rung with known values: where none are asked for, it is as the first.
    """
    first = trace(model, work, network="net", source="test")
    started = tracing._Step._run

    def from_rung(refuses):
        def run(step):
            if refuses(step.rung):
                raise tracing.NeedsDataError("the network needs data to run", asked="the test")
            return started(step)

        monkeypatch.setattr(tracing._Step, "_run", run)
        return trace(model, work, network="net", source="test")

    between = from_rung(lambda rung: rung is rungs.META)
    last = from_rung(lambda rung: not rung.with_data)
    assert (first.rung, between.rung, last.rung) == ("meta", "meta", "real")
    assert between.ops == first.ops
    assert between.storages == first.storages
    return first, last


def resnet():
    return pytest.importorskip("torchvision").models.resnet18(), workload(3, 64, 64, batch=2)


def vit():
    timm = pytest.importorskip("timm")
    return timm.create_model("vit_tiny_patch16_224"), workload(3, 224, 224, batch=2)


def encoder():
    return nn.TransformerEncoderLayer(32, 4, batch_first=True), workload(7, 32, batch=2)


def bert():
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, vocab_size=99
    )  # fmt: skip
    tokens = tuple(
        InputSpec(shape=(16,), dtype="int64", name=name)
        for name in ("input_ids", "attention_mask", "token_type_ids")
    )
    return transformers.BertForSequenceClassification(config), Workload(inputs=tokens, batch=2)


def by_scope(program):
    found = {}
    for op, cost in zip(program.ops, op_costs(program), strict=True):
        key = (op.scope, op.phase)
        found[key] = found.get(key, 0) + cost.macs
    return {key: macs for key, macs in found.items() if macs}


@pytest.mark.parametrize("mode", [{}, TRAINING], ids=["inference", "training"])
@pytest.mark.parametrize("make", [resnet, vit, encoder, bert])
def test_data_change_nothing_in_a_network_that_needs_none(make, mode, monkeypatch):
    model, work = make()
    work = Workload(inputs=work.inputs, batch=work.batch, **mode)
    meta, real = on_both(model, work, monkeypatch)
    assert real.complete
    assert real.parameters == meta.parameters
    assert real.ops == meta.ops
    assert real.storages == meta.storages
    assert compute(real).forward.macs > 0


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(8, 16, 2, batch_first=True)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


@pytest.mark.parametrize("mode", [{}, TRAINING], ids=["inference", "training"])
def test_an_lstm_on_a_cpu_multiplies_as_much_in_fewer_steps(mode, monkeypatch):
    """PyTorch multiplies all inputs of a sequence at once on a CPU, and one after the other elsewhere."""
    meta, real = on_both(Recurrent(), workload(5, 8, batch=2, **mode), monkeypatch)
    assert by_scope(real) == by_scope(meta)
    # layer 1: 4 gates x 16 x (8 + 16); layer 2: 4 x 16 x (16 + 16); 5 tokens, 2 samples; head 16 x 4
    assert compute(real).forward.macs == 2 * (5 * (4 * 16 * 24 + 4 * 16 * 32) + 16 * 4)


# -- what only data answer ----------------------------------------------------------------------------


class Routed(nn.Module):
    """Each sample to one of two experts, by its own scores."""

    def __init__(self):
        super().__init__()
        self.router = nn.Linear(8, 2, bias=False)
        self.experts = nn.ModuleList([nn.Linear(8, 8, bias=False) for _ in range(2)])

    def forward(self, x):
        chosen = self.router(x).argmax(-1)
        y = torch.zeros_like(x)
        for index, expert in enumerate(self.experts):
            rows = (chosen == index).nonzero().squeeze(1)
            y[rows] = expert(x[rows])
        return y


@pytest.mark.parametrize("mode", [{}, TRAINING], ids=["inference", "training"])
def test_routing_by_value(mode):
    program = traced(Routed(), 8, batch=16, **mode)
    assert program.rung == "real"
    assert program.complete
    # 16 rows meet the router (8 x 2) and one expert each (8 x 8), whichever that is
    assert compute(program).forward.macs == 16 * (8 * 2 + 8 * 8)
    assert "test_ladder.py" in program.warnings[0]
    assert ".nonzero()" in program.warnings[0]


def test_the_same_network_gives_the_same_figures():
    model = Routed()
    torch.manual_seed(1)
    first = traced(model, 8, batch=16)
    torch.manual_seed(2)
    assert traced(model, 8, batch=16) == first


def test_a_function_and_the_weights_that_it_reaches_for():
    layer = nn.Linear(4, 3)
    before = layer.weight.clone()

    def forward(x):
        with torch.no_grad():
            layer.weight.add_(1)
        return layer(x) if x.sum() > -1e9 else x

    program = traced(forward, 4, batch=2)
    assert program.rung == "real"
    assert {tensor.name for tensor in program.parameters} == {"linear.weight", "linear.bias"} or (
        len(program.parameters) == 2
    )
    assert compute(program).forward.macs == 2 * 4 * 3
    assert torch.equal(layer.weight, before)


def test_the_values_of_examples_are_used():
    def forward(x, steps):
        for _ in range(int(steps)):
            x = x @ x
        return x

    examples = {"x": torch.zeros(4, 4), "steps": torch.tensor(3)}
    program = trace(forward, Workload(), network="n", source="s", examples=examples)
    assert compute(program).forward.macs == 3 * 4**3  # three products of 4 x 4 matrices


def test_weights_that_were_built_without_data_are_initialised():
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), Routed.__new__(Routed))
    model = model[:2]

    class Finite(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = model

        def forward(self, x):
            y = self.body(x)
            assert bool(torch.isfinite(y).all())
            assert float(self.body[1].running_var.min()) == 1.0  # as batch norm begins
            assert float(self.body[0].weight.abs().max()) > 0
            return y

    program = traced(Finite(), 4, batch=2)
    assert (program.rung, program.complete) == ("real", True)
    assert all(tensor.device.type == "meta" for tensor in model.parameters())


def test_indices_stay_within_the_smallest_table():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(100, 4)
            self.kinds = nn.Embedding(3, 4)

        def forward(self, ids, mask):
            assert int(ids.max()) <= 2
            assert bool(mask.all())
            return self.words(ids) + self.kinds(ids)

    specs = tuple(InputSpec(shape=(50,), dtype="int64", name=name) for name in ("ids", "mask"))
    program = trace(Model(), Workload(inputs=specs), network="n", source="s")
    assert (program.rung, program.complete) == ("real", True)


# -- half-way -----------------------------------------------------------------------------------------


class Stops(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        y = self.layer(x)
        if y.sum() < 1e9:
            raise ValueError("no luck")
        return y


def test_a_network_that_stops_half_way_shows_what_ran():
    report = weighbridge.weigh(Stops(), (4,), batch=2)
    program = report.weighing.program
    assert (program.rung, program.complete) == ("real", False)
    assert compute(program).forward.macs == 2 * 4 * 3
    assert any("ValueError: no luck" in warning for warning in program.warnings)
    screen = str(report)
    assert "the network stopped half-way" in screen
    assert "lower bound" in screen
    assert 'raise ValueError("no luck")' in screen


def test_strict_refuses_what_stopped_half_way():
    with pytest.raises(StrictError, match="the network stopped half-way"):
        weighbridge.weigh(Stops(), (4,), strict=True)


def test_a_network_that_fails_before_anything_ran_is_refused():
    def forward(x):
        raise RuntimeError("this wants no meta tensor, nor any other")

    with pytest.raises(WeighError, match="forward of the network failed: RuntimeError: this wants"):
        traced(forward, 4)


# -- memory -------------------------------------------------------------------------------------------


def test_too_large_for_the_machine_is_refused_before_anything_is_taken(monkeypatch):
    monkeypatch.setattr(tracing, "available_bytes", lambda: 1000)
    monkeypatch.setattr(rungs.Real, "twin", lambda *_: pytest.fail("data were taken"))
    with pytest.raises(WeighError, match="the network needs data to run") as caught:
        traced(Routed(), 8, batch=16)
    text = str(caught.value)
    # the router 2 x 8, two experts 8 x 8, 16 inputs of 8: 272 numbers of 4 bytes, and what was computed
    assert "and it may take 600 B" in text
    assert "make the batch or the input smaller" in text


def test_a_network_that_grows_is_stopped_at_the_limit(monkeypatch):
    """Without data nobody can tell how often it doubles."""

    def forward(x):
        while x.sum() < 1e30:
            x = torch.cat((x, x), -1)
        return x

    monkeypatch.setattr(tracing, "available_bytes", lambda: 10_000)
    program = traced(forward, 8)
    assert not program.complete
    assert any("its tensors take" in warning for warning in program.warnings)
    # 8 numbers doubled: each copy lives beside the one before it, within 6,000 bytes
    assert max(storage.bytes for storage in program.storages) <= 4096


def test_a_system_that_does_not_say_what_is_free_sets_no_limit(monkeypatch):
    monkeypatch.setattr(tracing, "available_bytes", lambda: None)
    assert traced(Routed(), 8).rung == "real"


def test_what_is_free_is_a_number_of_bytes():
    free = rungs.available_bytes()
    assert free is None or 2**20 < free < 2**50


def test_the_peak_is_what_lived_at_once():
    storages = (
        Storage(id=0, bytes=10),  # before and after
        Storage(id=1, bytes=5, birth=0, death=1),
        Storage(id=2, bytes=7, birth=1, death=2),
        Storage(id=3, bytes=6, birth=2),  # its neighbour died before it was born
    )
    assert rungs.peak(storages) == 10 + 7 + 6


# -- nothing is left behind ---------------------------------------------------------------------------


def test_random_numbers_go_on_where_they_were():
    def forward(x):
        return torch.rand_like(x) * random.random() if x.sum() > -1e9 else x

    torch.manual_seed(3)
    random.seed(3)
    before = torch.get_rng_state(), random.getstate()
    assert traced(forward, 4).rung == "real"
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
