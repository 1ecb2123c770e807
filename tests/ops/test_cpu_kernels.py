"""Memory that a CPU's kernels take beside operands and results, by hand and as the allocator saw it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from by_hand import run
from weighbridge.ops import rule_of
from weighbridge.program import Op
from weighbridge.workload import Backend


def scratch(op: Op, backend: Backend = "cpu") -> int:
    rule = rule_of(op.kind)
    assert rule is not None
    return rule.scratch(op, backend).running


@pytest.mark.parametrize(
    ("steps", "batch", "inputs", "hidden", "workspace"),
    [  # bytes that PyTorch's CPU allocator gave out for the workspace of aten::mkldnn_rnn_layer
        (16, 32, 64, 64, 2_080_768),
        (16, 32, 128, 64, 2_916_352),
        (16, 32, 64, 128, 4_128_768),
        (64, 16, 256, 256, 16_429_056),
        (64, 32, 512, 512, 64_630_784),
        (2, 2, 16, 16, 28_672),
    ],
)
def test_onednns_lstm_keeps_its_workspace(
    steps: int, batch: int, inputs: int, hidden: int, workspace: int
) -> None:
    op = lstm(steps, batch, inputs, hidden)
    assert op.outputs[3].shape == (workspace,)


def lstm(steps: int, batch: int, inputs: int, hidden: int) -> Op:
    state = (1, batch, hidden)
    return run(
        "lstm", (steps, batch, inputs), state, state, (4 * hidden, inputs), (4 * hidden, hidden),
        hidden=hidden, bias=False, training=True, library="onednn",
    )  # fmt: skip


def test_onednns_lstm_copies_its_weights_and_makes_gates() -> None:
    # rows of 4 * 64 = 256 gates are padded to 272, or they would all begin in one line of the cache:
    # 512 rows of gates, and 64 + 64 rows of weights
    assert scratch(lstm(16, 32, 64, 64)) == 4 * (512 + 64 + 64) * 272
    assert scratch(replace(lstm(16, 32, 64, 64), attributes={"hidden": 64})) == 0  # cuDNN's


def test_a_cpu_casts_before_it_computes() -> None:
    # (4, 3) float32 times (4, 3) bool: the second as 12 float32 first
    op = run("mul", (4, 3), (4, 3))
    mixed = replace(op, inputs=(op.inputs[0], replace(op.inputs[1], dtype="bool")))
    assert scratch(op) == 0
    assert scratch(mixed) == 4 * 12
    assert scratch(mixed, "cuda") == 0
    number = replace(op, inputs=(op.inputs[0], replace(op.inputs[1], shape=(), dtype="int64")))
    assert scratch(number) == 0
    chosen = run("sigmoid", (4, 3))
    assert scratch(replace(chosen, inputs=(replace(chosen.inputs[0], dtype="bool"),))) == 0


def test_a_last_block_of_channels_is_filled_up() -> None:
    settings = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
    op = run(
        "convolution", (2, 8, 4, 4), (4, 8, 1, 1), transposed=False, output_padding=(0, 0), **settings
    )  # fmt: skip
    # x of 8 channels 1,024 bytes; kernels and y as if there were 8 of 4: 8*8*4 and 2*8*16*4
    assert scratch(op) == 1024 + 256 + 1024
    image = run(
        "convolution", (2, 8, 4, 4), (8, 3, 1, 1), transposed=True, output_padding=(0, 0), **settings
    )  # fmt: skip
    # three channels that a transposed convolution makes are written as they lie
    assert scratch(image) == 1024 + 8 * 3 * 4
