"""Repeated blocks on one row: what is merged, what is not, and that nothing is lost."""

from __future__ import annotations

import pytest

from weighbridge import layers as modules
from weighbridge.analyses.compute import op_costs
from weighbridge.analyses.layers import Layer, layers
from weighbridge.analyses.repetition import merged
from weighbridge.builder import Builder
from weighbridge.frontends import zoo
from weighbridge.ops import Cost
from weighbridge.ops.optimizers import optimizer
from weighbridge.program import PHASES, Program
from weighbridge.workload import Workload


def stack(widths: tuple[int, ...], names: tuple[str, ...] = ()) -> Program:
    """Blocks of a linear layer and a ReLU, of these widths, under `body`."""
    net = Builder(Workload())
    x = net.input((1, 8))
    with net.module("body", "Sequential"):
        for place, width in enumerate(widths):
            with net.module(names[place] if names else str(place), "Block"):
                x = modules.activation(net, modules.linear(net, x, "fc", width), "relu")
    return net.build(network="n", source="t", frontend="t", outputs=(x,))


def rows(program: Program, depth: int | None = None) -> dict[str, Layer]:
    found = merged(layers(program, op_costs(program), depth=depth))
    assert len({layer.scope for layer in found}) == len(found)
    return {layer.scope: layer for layer in found}


def test_equal_blocks_become_one_row_with_their_figures_added_up() -> None:
    found = rows(stack((8, 8, 8)))
    assert list(found) == ["", "body", "body.0-2", "body.0-2.fc", "body.0-2.relu"]
    assert (found["body.0-2"].copies, found["body.0-2"].kind) == (3, "Block")
    inner = found["body.0-2.fc"]
    # 8*8 weights and 8 biases, three times; 64 products three times
    assert (inner.copies, inner.params, inner.forward.macs) == (3, 3 * 72, 3 * 64)
    assert len(inner.ops) == 3 * 2  # a transpose and a product each


def test_folded_blocks_are_merged_too() -> None:
    found = rows(stack((8, 8, 8)), depth=2)
    assert list(found) == ["", "body", "body.0-2"]
    assert found["body.0-2"].params == 216


def test_a_block_that_differs_stays_on_its_own() -> None:
    # 8->8, 8->8, 8->4, 4->4, 4->4
    assert list(rows(stack((8, 8, 4, 4, 4)), depth=2)) == [
        "", "body", "body.0-1", "body.2", "body.3-4",
    ]  # fmt: skip


def test_names_must_count_on() -> None:
    assert list(rows(stack((8, 8, 8), ("a", "b", "c")), depth=2)) == [
        "",
        "body",
        "body.a",
        "body.b",
        "body.c",
    ]
    assert list(rows(stack((8, 8, 8), ("x1", "x2", "x4")), depth=2)) == [
        "",
        "body",
        "body.x1-2",
        "body.x4",
    ]
    assert list(rows(stack((8, 8), ("x1", "y2")), depth=2)) == ["", "body", "body.x1", "body.y2"]


def test_blocks_inside_blocks() -> None:
    net = Builder(Workload())
    x = net.input((1, 8))
    for outer in range(2):
        with net.module(f"stage{outer}", "Stage"):
            for inner in range(3):
                x = modules.linear(net, x, f"fc{inner}", 8)
    program = net.build(network="n", source="t", frontend="t", outputs=(x,))
    found = rows(program)
    assert list(found) == ["", "stage0-1", "stage0-1.fc0-2"]
    assert found["stage0-1.fc0-2"].copies == 6
    assert found["stage0-1.fc0-2"].forward.macs == 6 * 64


@pytest.mark.parametrize("name", ["resnet50", "densenet121", "gpt2", "vgg16", "googlenet"])
@pytest.mark.parametrize("depth", [1, 2, None])
def test_merged_rows_come_to_the_same_totals(name: str, depth: int | None) -> None:
    workload = Workload(mode="training", optimizer=optimizer("momentum"))
    program = zoo.read(name, workload)
    plain = layers(program, op_costs(program), depth=depth)
    found = merged(plain)
    assert len(found) <= len(plain)
    for phase in PHASES:
        assert Cost.total(getattr(row, phase) for row in found) == Cost.total(
            getattr(row, phase) for row in plain
        )
    for figure in ("params", "trainable_params", "activation_bytes", "operators", "uncounted"):
        assert sum(getattr(row, figure) for row in found) == sum(
            getattr(row, figure) for row in plain
        )
    assert sum(len(row.ops) for row in found) == len(program.ops)
