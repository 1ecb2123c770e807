"""The operators: each kind described once, for counts, formulas and what-ifs alike.

`rule_of(kind)` finds a rule, `rules()` lists them. The families are files of this folder.
"""

from __future__ import annotations

from . import (
    attention,
    contraction,
    detection,
    elementwise,
    embedding,
    indexing,
    linear_algebra,
    loss,
    movement,
    normalisation,
    optimizers,
    pooling,
    quantisation,
    recurrent,
    reduction,
    resampling,
    spectral,
)
from .base import Cost, Operator, rule_of, rules, spellings

__all__ = [
    "Cost",
    "Operator",
    "attention",
    "contraction",
    "detection",
    "elementwise",
    "embedding",
    "indexing",
    "linear_algebra",
    "loss",
    "movement",
    "normalisation",
    "optimizers",
    "pooling",
    "quantisation",
    "recurrent",
    "reduction",
    "resampling",
    "rule_of",
    "rules",
    "spectral",
    "spellings",
]
