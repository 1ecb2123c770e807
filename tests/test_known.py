"""Known values: what follows from constants, examples and weights is told without data, and nothing else is."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from weighbridge.analyses.compute import compute  # noqa: E402
from weighbridge.frontends.torch import known, trace  # noqa: E402
from weighbridge.workload import InputSpec, Workload  # noqa: E402

pytestmark = pytest.mark.torch


class Net(nn.Module):
    """8 x 8 weights without a bias: n rows are 64 n multiply-accumulates."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 8, bias=False)
        self.register_buffer("table", torch.tensor([5, 0, 3]))
        self.scale = nn.Parameter(torch.tensor(2.0))


def rows_of(forward, *examples, **settings):
    """The rows that the layer multiplies, and the rung, of a network with that forward."""
    kind = type("Given", (Net,), {"forward": forward})
    work = Workload(inputs=(InputSpec(shape=(8,)),), batch=6, **settings)
    program = trace(
        kind(), work, network="net", source="test", examples=examples if examples else None
    )
    macs = compute(program).forward.macs
    assert macs % 64 == 0
    return macs // 64, program.rung


# -- what is known ------------------------------------------------------------------------------------


def test_a_table_among_the_examples():
    def forward(self, x, lengths):
        first, second = x.split(lengths.tolist())
        return self.layer(first).sum() + second.sum()

    # of 6 rows the first 4 are multiplied
    assert rows_of(forward, torch.randn(6, 8), torch.tensor([4, 2])) == (4, "meta")


def test_a_buffer_and_a_parameter_of_a_network_that_has_its_weights():
    def forward(self, x):
        if self.scale > 1:  # it is 2
            return self.layer(x[: int(self.table.max())])  # of 5, 0 and 3
        return self.layer(x)

    assert rows_of(forward) == (5, "meta")


def test_numbers_that_are_written_out_and_what_is_made_of_them():
    def forward(self, x):
        table = torch.tensor([3, 1]).to(x.device)
        places = torch.arange(table.sum(), device=x.device)  # 0, 1, 2, 3
        places[table[1:]] = 7  # 0, 7, 2, 3
        again = torch.tensor([0, places[1]], device=x.device)  # 0, 7
        ends = torch.where(again == 0, 2, again - 2).cumsum(0)  # 2, 2 + 5 = 7
        return self.layer(x[: ends.tolist()[0]])

    assert rows_of(forward) == (2, "meta")


def test_shapes_that_are_a_matter_of_values():
    def forward(self, x):
        counts = torch.tensor([1, 2], device=x.device)
        spread = torch.repeat_interleave(counts, counts)  # 1, 2, 2
        odd = (torch.arange(6, device=x.device) % 2 == 1).nonzero()  # 1, 3, 5
        twos = spread[spread == 2]  # 2, 2
        return self.layer(x[: spread.shape[0] + odd.shape[0] - twos.shape[0]])

    assert rows_of(forward) == (3 + 3 - 2, "meta")


def test_places_in_a_list():
    def forward(self, x):
        table = torch.arange(4, device=x.device)
        table[[0, 1]] = 5  # 5, 5, 2, 3
        return self.layer(x[: int(table[[3, 2]].sum())])

    assert rows_of(forward) == (3 + 2, "meta")


def test_unknown_values_picked_by_a_known_mask():
    def forward(self, x):
        mask = torch.arange(6, device=x.device) > 1
        return self.layer(x[mask])

    assert rows_of(forward) == (4, "meta")


def test_masks_among_the_inputs_let_everything_through():
    def forward(self, x, mask):
        return self.layer(x[mask.bool()])

    kind = type("Given", (Net,), {"forward": forward})
    inputs = (InputSpec(shape=(8,), name="x"), InputSpec(shape=(), dtype="int64", name="mask"))
    work = Workload(inputs=inputs, batch=6)
    program = trace(kind(), work, network="net", source="test")
    assert (compute(program).forward.macs, program.rung) == (6 * 64, "meta")


def test_a_question_with_a_yes_or_no():
    def forward(self, x):
        same = torch.equal(torch.tensor([5, 0, 3], device=x.device), self.table)
        return self.layer(x) if same else x

    assert rows_of(forward) == (6, "meta")


def test_a_training_step():
    def forward(self, x):
        return self.layer(x[: int(self.table[2])])

    assert rows_of(forward, mode="training") == (3, "meta")


# -- what is not --------------------------------------------------------------------------------------


def test_the_values_of_the_input():
    def forward(self, x):
        return self.layer(x) if x.sum() == x.sum() else x

    assert rows_of(forward) == (6, "real")


def test_random_numbers():
    def forward(self, x):
        return self.layer(x) if torch.rand(1, device=x.device) < 2 else x

    assert rows_of(forward) == (6, "real")


def test_a_constant_that_the_input_is_written_into():
    def forward(self, x):
        notes = torch.zeros(6, device=x.device)
        part = notes[:3]
        part.copy_(x[:3, 0] * 0 + 4)  # so are all that look at the same memory
        return self.layer(x[: int(notes.max())])

    assert rows_of(forward) == (4, "real")


def test_what_is_too_large_to_be_worked_out(monkeypatch):
    def forward(self, x):
        return self.layer(x[: int(torch.arange(5, device=x.device).max())])

    assert rows_of(forward) == (4, "meta")
    monkeypatch.setattr(known, "LIMIT", 4)
    assert rows_of(forward) == (4, "real")


# -- and nobody sees it worked out --------------------------------------------------------------------


def test_what_is_worked_out_counts_once():
    def forward(self, x):
        def ones(*shape):
            return torch.ones(shape, device=x.device)

        threes = torch.baddbmm(0 * ones(1, 2, 4), ones(1, 2, 3), ones(1, 3, 4))  # 24 products
        return self.layer(x[: int(threes.min())])  # 3 rows

    kind = type("Given", (Net,), {"forward": forward})
    work = Workload(inputs=(InputSpec(shape=(8,)),), batch=6)
    with FlopCounterMode(display=False) as counter:
        program = trace(kind(), work, network="net", source="test")
    assert program.rung == "meta"
    assert compute(program).forward.macs == 24 + 3 * 64
    # 2 FLOPs a product, on the first rung as far as the question, and on the second; matrices of weights take
    # a shortcut, and no counter sees them
    assert counter.get_total_flops() == 2 * 2 * 24
