"""Bytes that a transformer layer keeps for backward: Korthikanti et al. 2022, table 2."""

from __future__ import annotations

import pytest

pytest.importorskip("torchvision")
pytest.importorskip("transformers")
pytest.importorskip("benchmarks.truth", reason="run from the checkout: python -m pytest")

from benchmarks.truth.megatron import SHAPES, kept

pytestmark = pytest.mark.torch

GPT_3 = next(shape for shape in SHAPES if "GPT-3" in shape.name)
SBH = 2048 * 12288  # of a micro-batch of one


@pytest.mark.parametrize(
    ("ranks", "recompute", "bytes_per_number"),
    [
        (1, "none", 34 + 5 * 96 * 2048 / 12288),  # 114
        (1, "selective", 34),
        (1, "full", 2),
        (8, "none", 10 + 24 / 8 + 5 * 96 * 2048 / (12288 * 8)),  # 23
        (8, "selective", 10 + 24 / 8),
        (8, "full", 2),
    ],
)
def test_a_layer_keeps_what_the_formula_says(
    ranks: int, recompute: str, bytes_per_number: float
) -> None:
    assert kept(GPT_3, ranks, recompute) == pytest.approx(bytes_per_number * SBH, rel=0.001)
