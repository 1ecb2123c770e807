"""Rules of one's own, entered by a decorator."""

import pytest

import weighbridge
from weighbridge import Cost, forget_rule, rule
from weighbridge.errors import UsageError, WeighError
from weighbridge.ops import rule_of
from weighbridge.program import Op, Tensor

NAME = "weighbridge_test::scan"


@pytest.fixture
def clean():
    yield
    for name in (NAME, f"{NAME}_backward"):
        if rule_of(name.replace("::", ".")) is not None:
            forget_rule(name)


pytestmark = pytest.mark.usefixtures("clean")


def ran(*shapes, **attributes):
    inputs = tuple(
        Tensor(id=i, shape=shape, dtype="float32", role="activation", storage=i)
        for i, shape in enumerate(shapes)
    )
    kind = "weighbridge_test.scan"
    return Op(
        kind=kind, name=kind, scope="", phase="forward", inputs=inputs, outputs=inputs[:1],
        attributes=attributes,
    )  # fmt: skip


def counted(op):
    found = rule_of(op.kind)
    assert found is not None
    return found.cost(op)


# -- without PyTorch -------------------------------------------------------------------------------


def test_a_mapping_of_counts():
    @rule(NAME)
    def scan(op):
        """A scan over states."""
        return {"macs": 3 * op.inputs[0].elements, "transcendentals": 5}

    cost = counted(ran((2, 4), (7,)))
    # macs alone are as many multiplications and additions; 8 and 7 numbers read, 8 written, 4 bytes each
    assert cost == Cost(
        macs=24, multiplications=24, additions=24, transcendentals=5, read_bytes=60, write_bytes=32
    )
    assert rule_of("weighbridge_test.scan").summary == "A scan over states."
    assert rule_of("weighbridge_test.scan").formulas(ran((2, 4))) == {}


def test_a_cost_and_bytes_of_ones_own():
    rule(NAME)(lambda op: Cost(macs=1, multiplications=2, additions=3))
    assert counted(ran((2, 4))) == Cost(
        macs=1, multiplications=2, additions=3, read_bytes=32, write_bytes=32
    )
    forget_rule(NAME)
    rule(NAME)(lambda op: {"additions": 3, "read_bytes": 7})
    assert counted(ran((2, 4))) == Cost(additions=3, read_bytes=7, write_bytes=32)
    forget_rule(NAME)
    rule(NAME)(lambda op: Cost(write_bytes=9))
    assert counted(ran((2, 4))) == Cost(write_bytes=9)


def test_two_rules_for_one_operator_are_refused():
    @rule(NAME)
    def one(op):
        return {}

    with pytest.raises(UsageError, match="there is a rule for weighbridge_test::scan already") as e:

        @rule(NAME)
        def two(op):
            return {}

    assert "one at " in str(e.value)
    assert "test_rule.py" in str(e.value)
    assert "forget_rule('weighbridge_test::scan')" in str(e.value)


def test_the_same_definition_again_takes_the_place_of_the_first():
    for number in (1, 2):

        @rule(NAME)
        def scan(op, number=number):
            return {"additions": number}

    assert counted(ran((1,))).additions == 2


@pytest.mark.parametrize(
    "name", ["scan", "a:b", "::scan", "a::", "a::b::c", "a::b.default", "a b::c"]
)
def test_names_that_are_no_operators(name):
    with pytest.raises(UsageError, match="is no operator's name"):
        rule(name)


def test_a_decorator_without_a_name():
    with pytest.raises(UsageError, match="without an operator's name"):

        @rule
        def scan(op):
            return {}


def test_an_operator_that_has_a_rule_here_keeps_it():
    with pytest.raises(UsageError, match="aten::mm has a rule already: it is counted as 'matmul'"):
        rule("aten::mm")


def test_taking_out_what_is_not_there():
    with pytest.raises(UsageError, match="there is no rule for weighbridge_test::scan"):
        forget_rule(NAME)
    with pytest.raises(UsageError, match="there is no rule for aten::mm"):
        forget_rule("aten::mm")


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (7, "returned 7"),
        (None, "returned None"),
        ({"mac": 1}, "counts 'mac', and no count is called so"),
        ({"macs": -1}, "counts -1 macs"),
        ({"macs": 1.5}, "counts 1.5 macs"),
        ({"macs": True}, "counts True macs"),
    ],
)
def test_what_is_no_count_is_refused(returned, message):
    rule(NAME)(lambda op: returned)
    with pytest.raises(WeighError, match=message) as e:
        counted(ran((2,)))
    assert "test_rule.py" in str(e.value)


def test_a_rule_that_raises():
    rule(NAME)(lambda op: 1 // 0)
    with pytest.raises(WeighError, match="failed on inputs \\(2, 3\\): ZeroDivisionError"):
        counted(ran((2, 3)))


# -- with PyTorch ----------------------------------------------------------------------------------

FILE = """
import torch
import weighbridge

@torch.library.custom_op("weighbridge_test::scan", mutates_args=())
def scan(x: torch.Tensor, states: int) -> torch.Tensor:
    return x * states

scan.register_fake(lambda x, states: torch.empty_like(x))

@torch.library.custom_op("weighbridge_test::scan_backward", mutates_args=())
def scan_backward(dy: torch.Tensor) -> torch.Tensor:
    return dy.clone()

scan_backward.register_fake(lambda dy: torch.empty_like(dy))
scan.register_autograd(lambda ctx, dy: (scan_backward(dy), None))

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.before = torch.nn.Linear(4, 6)

    def forward(self, x):
        return torch.ops.weighbridge_test.scan(self.before(x), 16)
"""

RULES = """
@weighbridge.rule("weighbridge_test::scan")
def cost_of_scan(op):
    return {"macs": op.inputs[0].elements * op.attributes["states"]}

@weighbridge.rule("weighbridge_test::scan_backward")
def cost_of_scan_backward(op):
    return {"macs": 5}
"""


@pytest.mark.torch
def test_an_operator_of_ones_own_in_ones_own_file(tmp_path):
    pytest.importorskip("torch")
    plain, ruled = tmp_path / "plain.py", tmp_path / "ruled.py"
    plain.write_text(FILE)
    ruled.write_text(FILE + RULES)

    def weighed(path):
        return weighbridge.weigh(f"{path}:Net", (4,), batch=2, train="sgd", loss="mean")

    before = weighed(plain)
    assert [entry.op for entry in before.uncounted] == [
        "weighbridge_test.scan", "weighbridge_test.scan_backward"
    ]  # fmt: skip
    for _ in range(2):  # the file is run each time
        after = weighed(ruled)
        assert after.uncounted == ()
        # 2 rows of 4 to 6, then 12 numbers of 16 states
        assert after.compute.forward.macs == 2 * 4 * 6 + 12 * 16
        # the gradient of the weights, and the scan's own
        assert after.compute.backward.macs == 2 * 4 * 6 + 5
    (scan,) = [op for op in after.program.ops if op.kind == "weighbridge_test.scan"]
    assert scan.outputs[0].role == "activation"
