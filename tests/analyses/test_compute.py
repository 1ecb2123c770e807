"""Compute: totals by phase and convention, and what has no rule is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from weighbridge import layers
from weighbridge.analyses.compute import Convention, compute, counted_by, op_costs
from weighbridge.analyses.layers import depth_of, folded
from weighbridge.analyses.layers import layers as rows
from weighbridge.analyses.weighing import Weighing
from weighbridge.builder import Builder
from weighbridge.errors import StrictError
from weighbridge.ops import Cost
from weighbridge.ops.optimizers import optimizer
from weighbridge.program import PHASES, Program
from weighbridge.workload import Workload


def network(workload: Workload | None = None) -> Program:
    """conv 3 -> 4 of 3x3 without bias on 8x8, ReLU, fc 144 -> 10 with bias, in nested modules."""
    net = Builder(workload or Workload())
    x = net.input((net.workload.batch, 3, 8, 8))
    with net.module("body", "Sequential"):
        x = layers.convolution(net, x, "conv", 4, 3, bias=False)
        x = layers.activation(net, x, "relu")
    x = layers.linear(net, layers.flatten(net, x), "fc", 10)
    return net.build(network="net", source="test", frontend="test", outputs=(x,))


# conv: 4*6*6 = 144 sums of 27 products, 3888; relu 144 comparisons; fc 1440 products, 10 sums and 10 biases
@pytest.mark.parametrize(
    ("convention", "expected"),
    [
        ("macs", 3888 + 1440),
        ("paper", 3888 + 1440),
        ("lecture", (3888 + 3888 - 144) + (1440 + 1440)),
        ("exact", (3888 + 3888 - 144) + 144 + (1440 + 1440)),
    ],
)
def test_conventions(convention: Convention, expected: int) -> None:
    weighing = Weighing(program=network(), convention=convention)
    assert weighing.total("forward") == expected


def test_without_macs_the_lecture_counts_nothing() -> None:
    assert counted_by("lecture", (Cost(additions=5), Cost(comparisons=7))) == 0
    assert counted_by("exact", (Cost(additions=5), Cost(comparisons=7))) == 12


def test_twice_the_batch_is_twice_the_macs() -> None:
    one, two = (compute(network(Workload(batch=batch))) for batch in (1, 2))
    assert two.forward.macs == 2 * one.forward.macs


def with_stranger(program: Program) -> Program:
    """The program with its ReLU replaced by an operator that has no rule."""
    ops = tuple(
        replace(op, kind="mylib.scan", name="mylib.scan") if op.kind == "relu" else op
        for op in program.ops
    )
    return replace(program, ops=ops)


def test_an_operator_without_a_rule_is_named_with_its_count_and_bytes() -> None:
    found = compute(with_stranger(network()))
    (missed,) = found.uncounted
    # 144 numbers in and out, 4 bytes each
    assert (missed.op, missed.count, missed.bytes) == ("mylib.scan", 1, 2 * 144 * 4)
    assert found.counted == found.operators - 1
    assert found.uncounted_share == pytest.approx(1152 / (1152 + found.traffic_bytes))
    assert compute(network()).uncounted_share == 0


def test_strict_refuses_what_is_not_whole() -> None:
    Weighing(program=network()).check_strict()
    with pytest.raises(StrictError, match=r"1 operator not counted: mylib\.scan \(1 time\)"):
        Weighing(program=with_stranger(network())).check_strict()
    half = replace(network(), complete=False, warnings=("stopped at layer3",))
    with pytest.raises(StrictError, match="the network stopped half-way") as caught:
        Weighing(program=half).check_strict()
    assert caught.value.hints == ("stopped at layer3",)


@pytest.mark.parametrize("depth", [0, 1, 2, None])
def test_rows_at_every_depth_add_up_to_the_totals(depth: int | None) -> None:
    program = network(Workload(mode="training", batch=2, optimizer=optimizer("adam")))
    costs = op_costs(program)
    found = rows(program, costs, depth=depth)
    whole = compute(program, costs)
    for phase in PHASES:
        assert Cost.total(getattr(row, phase) for row in found) == whole.phase(phase)
    assert sum(row.params for row in found) == 4 * 27 + 1450
    assert sum(row.operators for row in found) == len(program.ops)


def test_rows_fold_into_their_ancestors() -> None:
    program = network()
    scopes = [row.scope for row in rows(program, op_costs(program), depth=1)]
    assert scopes == ["", "body", "fc"]
    assert [row.scope for row in rows(program, op_costs(program))] == [
        "", "body", "body.conv", "body.relu", "fc",
    ]  # fmt: skip
    assert [depth_of(scope) for scope in ("", "a", "a.b")] == [0, 1, 2]
    assert [folded("a.b.c", depth) for depth in (0, 1, 2, 3, None)] == [
        "",
        "a",
        "a.b",
        "a.b.c",
        "a.b.c",
    ]


def test_by_operator_adds_up() -> None:
    weighing = Weighing(program=network())
    groups = weighing.by_operator("forward")
    assert groups["convolution"][0] == 1
    assert groups["convolution"][1].macs == 3888
    assert next(iter(groups)) == "convolution"  # dearest first
    assert Cost.total(cost for _, cost in groups.values()) == weighing.compute.forward


def test_huge_sizes_are_exact() -> None:
    # 10^12 inputs to 10^12 outputs on a batch of 10^6: 10^30 products
    net = Builder(Workload(batch=10**6))
    x = layers.linear(net, net.input((10**6, 10**12)), "fc", 10**12)
    program = net.build(network="n", source="t", frontend="t", outputs=(x,))
    assert compute(program).forward.macs == 10**30
