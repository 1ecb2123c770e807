"""Dropped layers: what a training step of transformers leaves out at random, and a weighing does not."""

from __future__ import annotations

from ...workload import Workload
from .configurations import Config, parts

_DROPPED = ("layerdrop", "encoder_layerdrop", "decoder_layerdrop", "speech_encoder_layerdrop")


def remarks(config: Config, workload: Workload) -> tuple[str, ...]:
    """What an answer leaves out of a training step: that layers are dropped at random."""
    rates = (getattr(part, name, 0) for part in parts(config) for name in _DROPPED)
    rate = max((rate for rate in rates if isinstance(rate, int | float)), default=0)
    if not workload.training or not rate:
        return ()
    return (f"training drops layers at random, at rate {rate:g}: counted with every layer kept",)
