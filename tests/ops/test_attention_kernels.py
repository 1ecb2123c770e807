"""Which kernel runs attention, and what it keeps: PyTorch's rules on cases worked out by hand."""

from __future__ import annotations

import pytest

from weighbridge.ops.attention_kernels import (
    AttentionCall,
    attention_kernel,
    keeps,
    log_sum_exp_rows,
    scratch_bytes,
)


def call(
    *, width=64, values=None, heads=8, groups=None, queries=128, keys=None, dtype="float32", **how
):
    q = (2, heads, queries, width)
    k = (2, groups or heads, keys or queries, width)
    return AttentionCall(q=q, k=k, v=(*k[:-1], values or width), dtype=dtype, **how)


@pytest.mark.parametrize(
    ("how", "kernel"),
    [
        # flash: half precision, no mask, widths alike and up to 256
        ({"dtype": "bfloat16"}, "flash"),
        ({"dtype": "float16", "dropout": True}, "flash"),
        ({"dtype": "bfloat16", "causal": True}, "flash"),
        ({"dtype": "bfloat16", "groups": 2}, "flash"),
        ({"dtype": "bfloat16", "width": 256}, "flash"),
        ({"dtype": "bfloat16", "width": 60}, "flash"),  # padded by the caller
        # else efficient: 16 bytes are 8 numbers in half precision and 4 in single
        ({"dtype": "bfloat16", "masked": True}, "efficient"),
        ({"dtype": "bfloat16", "width": 264}, "efficient"),
        ({"dtype": "bfloat16", "values": 32}, "efficient"),
        ({"dtype": "bfloat16", "causal": True, "queries": 1, "keys": 128}, "efficient"),
        ({}, "efficient"),
        ({"masked": True, "dropout": True}, "efficient"),
        ({"width": 36}, "efficient"),
        # else math
        ({"width": 30}, "math"),
        ({"dtype": "bfloat16", "masked": True, "width": 60}, "math"),
        ({"groups": 2}, "math"),
        ({"dtype": "float64"}, "math"),
    ],
)
def test_cudas_kernels(how, kernel):
    assert attention_kernel(call(**how), "cuda") == kernel


@pytest.mark.parametrize(
    ("how", "capability", "kernel"),
    [
        ({"dtype": "float16"}, (7, 5), "efficient"),  # no flash before 8.0
        ({"dtype": "bfloat16"}, (7, 5), "math"),  # and no bfloat16
        (
            {"dtype": "float32", "width": 30},
            (7, 5),
            "efficient",
        ),  # no tensor cores load float32 there
        ({"dtype": "bfloat16", "width": 200}, (8, 6), "efficient"),  # shared memory of small cards
        ({"dtype": "bfloat16", "width": 200}, (8, 0), "flash"),
        ({"dtype": "bfloat16", "width": 200, "gradients": False}, (8, 9), "flash"),
        ({"dtype": "bfloat16", "width": 256, "dropout": True}, (8, 9), "efficient"),
    ],
)
def test_kernels_by_compute_capability(how, capability, kernel):
    assert attention_kernel(call(**how), "cuda", capability) == kernel


def test_what_kernels_keep():
    assert log_sum_exp_rows("efficient", "cuda", 100) == 128
    assert log_sum_exp_rows("flash", "cuda", 100) == log_sum_exp_rows("flash", "cpu", 100) == 100
    assert keeps(call(), "efficient") == keeps(call(), "flash") == ()
    # bfloat16 is computed in float32: q, k and v are copied; the dropout's mask is a byte an element
    found = keeps(call(dtype="bfloat16", dropout=True), "math")
    assert [(kept.shape[-2:], kept.dtype) for kept in found] == [
        ((128, 64), "float32"), ((128, 64), "float32"), ((128, 128), "float32"), ((128, 64), "float32"),
        ((128, 128), "bool"), ((128, 128), "float32"),
    ]  # fmt: skip


def test_what_kernels_take_meanwhile():
    q, k = (2, 8, 100, 60), (2, 8, 100, 60)
    # flash: 16 heads x 128 rows x (64 of the width + a sum) in float32
    assert scratch_bytes("flash", "bfloat16", q, k, backward=True) == 16 * 128 * 65 * 4
    assert scratch_bytes("flash", "bfloat16", q, k, backward=False) == 0
    # two groups: gradients of 100 keys and values of 60, a head of 16, two bytes each
    grouped = scratch_bytes("flash", "bfloat16", q, (2, 2, 100, 60), backward=True)
    assert grouped == 16 * 128 * 65 * 4 + 2 * 16 * 100 * 60 * 2
    # wide heads are padded to 64: 192 becomes 192, 130 becomes 192
    assert (
        scratch_bytes("flash", "bfloat16", (1, 1, 128, 130), (1, 1, 128, 130), backward=True)
        == 128 * 193 * 4
    )
    assert scratch_bytes("efficient", "float32", q, k, backward=True) == 16 * 100 * 61 * 4
    assert scratch_bytes("math", "float32", q, k, backward=False) == 16 * 100 * 100 * 4
    assert scratch_bytes("math", "float64", q, k, backward=True) == 2 * 16 * 100 * 100 * 8
