"""The peak of a training step on the CPU, as predicted and as PyTorch's own allocator counted it.

A few of the configurations of `benchmarks/truth`, each for something that memory may stumble over. Nothing is kept from
earlier: every one is trained here.
"""

from __future__ import annotations

import pytest

pytest.importorskip("torchvision")
pytest.importorskip("transformers")
pytest.importorskip("benchmarks.truth", reason="run from the checkout: python -m pytest")

from benchmarks.truth.cases import CASES, case_named
from benchmarks.truth.cpu import compare
from benchmarks.truth.measuring import measure

pytestmark = pytest.mark.torch

SLICE = {
    "squeezenet1_1": "convolutions in blocks of channels, concatenations",
    "resnet18 accumulated": "gradients that stay and are added to",
    "GPT-2 long": "dropout within attention, tied weights, logits",
    "perceptron dropout": "masks in the input's dtype",
    "branches": "views, chunks, gradients that meet, casts to a common dtype",
    "LSTM": "oneDNN's workspace",
    "GRU both ways": "a cell a step",
    "decoder checkpointed dropout": "blocks computed again",
    "U-Net autocast": "autocast, what encoders keep for decoders",
}


@pytest.mark.parametrize("name", SLICE)
def test_peak_is_the_allocators(name: str) -> None:
    import torch

    if "autocast" in name and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("with instructions for bfloat16 oneDNN copies what it reads: not predicted")
    case = case_named(name)
    *_, last = measure(case)
    assert compare(case, last).error == pytest.approx(0, abs=0.001)


def test_there_are_enough_configurations_and_each_has_a_name_of_its_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 60
