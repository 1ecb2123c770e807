"""A slice of `python -m benchmarks every hf`: default configurations against torch's own FlopCounterMode.

The witness counts what reaches PyTorch's dispatcher by its own formulas, attention and the grouped products of
experts apart (tests/test_hf.py has those by hand), and the parameters are those of a plain sum over the module.
"""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from benchmarks.every import Result, weigh

pytestmark = pytest.mark.torch

TYPES = (
    "bros", "clip", "convnext", "decision_transformer", "fnet", "layoutlm", "musicgen_decoder", "olmoe", "perceiver",
    "qwen2_5_vl_vision", "segformer", "siglip2_vision_model", "speech_to_text", "t5", "whisper", "xlnet",
)  # fmt: skip
"""One of every kind of forward: text, images, both, sound, codes, patches, boxes, states, encoders, experts."""


@pytest.mark.parametrize("name", TYPES)
def test_inference(name: str) -> None:
    assert agrees(weigh("hf", name, "inference"))


@pytest.mark.parametrize("name", ["bert", "resnet", "t5", "olmoe"])
def test_training(name: str) -> None:
    assert agrees(weigh("hf", name, "training"))


def agrees(result: Result) -> bool:
    """Whether parameters and multiply-accumulates are the witness's; says what differs where they are not."""
    assert not result.error
    assert result.params == result.module_params
    assert result.macs_but_attention == result.witness_macs
    assert result.witness_macs > 0 or result.macs > 0
    return result.exact
