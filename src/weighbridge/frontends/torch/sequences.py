"""Sequences: what holds of full ones, where transformers would look at values to find out.

Between a plain causal attention and one with an explicit mask, transformers chooses by looking for
padded or packed sequences in its inputs, and it warns of padding that nobody declared. Without data
there is nothing to look at, but the answers are known: a row is one sequence, and every token of it
counts. Each answer stands in for a function of transformers while a network is traced.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .windows import MASKS

Answer = Any  # most are functions, one is a setting


def _nothing(*_: object, **__: object) -> None:
    """No packed sequences, nothing to warn of, and nothing amiss in values that are not there."""


def _yes(*_: object, **__: object) -> bool:
    """Every token counts."""
    return True


def _without_padding(before: Answer) -> Answer:
    """The same question about a mask of padding that masks nothing."""

    def answer(padding_mask: object, *args: Any, **kwargs: Any) -> object:
        return before(None, *args, **kwargs)

    return answer


def _keeping_layers(before: Answer) -> Answer:
    """Random numbers, of which a single one decides whether training drops a layer: it drops none."""

    def answer(*size: Any, **kwargs: Any) -> object:
        return 1.0 if size == ([],) and not kwargs else before(*size, **kwargs)

    return answer


_ANSWERS: tuple[tuple[str, str, Callable[[Answer], Answer]], ...] = (
    ("transformers.masking_utils", "find_packed_sequence_indices", lambda _: _nothing),
    ("transformers.masking_utils", "fast_all", lambda _: _yes),
    ("transformers.masking_utils", "_ignore_bidirectional_mask_sdpa", _without_padding),
    (
        "transformers.modeling_utils",
        "PreTrainedModel.warn_if_padding_and_no_attention_mask",
        lambda _: _nothing,
    ),
    ("torch", "_check_tensor_all_with", lambda _: _nothing),
    ("torch", "rand", _keeping_layers),
    ("torch.distributions.distribution", "Distribution._validate_args", lambda _: False),
    *MASKS,
)
"""Module, function or setting in it, and what stands in its place given the thing itself."""


@contextmanager
def full_sequences() -> Iterator[None]:
    """Lets transformers know, while it lasts, that every row is one sequence without padding.

    Does nothing where transformers is not loaded.
    """
    if "transformers" not in sys.modules:
        yield
        return
    before: list[tuple[object, str, Answer]] = []
    for module, path, answer in _ANSWERS:
        *owners, name = path.split(".")
        owner: object = sys.modules.get(module)
        for each in owners:
            owner = getattr(owner, each, None)
        function = getattr(owner, name, None)
        if function is not None:
            before.append((owner, name, function))
            setattr(owner, name, answer(function))
    try:
        yield
    finally:
        for owner, name, function in before:
            setattr(owner, name, function)
