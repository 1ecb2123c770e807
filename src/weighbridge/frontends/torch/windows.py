"""Windows of transformers: which keys a layer's queries see, known without reading a mask's values.

transformers describes a mask as a function of a query's and a key's place, and fills a table with it.
Without data the table is empty, but who asked for it said how far the layer sees: the window of Mistral
and Gemma, the chunks of Llama 4. Functions of a known pattern are marked when they are made, and the
table that is filled with one is noted for attention to find.

A pattern that something else was put on top of (tokens of an image that see each other, packed
sequences) is not known any more: attention then counts the whole square.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...program import Attributes

Answer = Any  # functions of transformers, and the mapping in which it keeps some

_MARK = "weighbridge_pattern"


def _marked(pattern: Callable[[int], Attributes]) -> Callable[[Answer], Answer]:
    """Marks what a maker of mask functions makes of a window or a chunk."""

    def answer(before: Answer) -> Answer:
        def make(size: int, *args: object) -> object:
            function = before(size, *args)
            setattr(function, _MARK, pattern(size))
            return function

        return make

    return answer


def _noting(tables: Mapping[str, Answer]) -> Mapping[str, Answer]:
    """The functions that fill tables, where the one for fused attention notes what it fills in."""
    from transformers import masking_utils

    fill = tables.get("sdpa", masking_utils.sdpa_mask)

    def noted(*args: Any, **kwargs: Any) -> object:
        table = fill(*args, **kwargs)
        pattern = _pattern(kwargs.get("mask_function"), masking_utils.causal_mask_function)
        # Queries that begin behind the first key see more than patterns say, which count from the first.
        offsets = (kwargs.get("q_offset", 0), kwargs.get("kv_offset", 0))
        if (
            table is not None
            and pattern is not None
            and all(type(o) is int and not o for o in offsets)
        ):
            from .masks import note

            note(table, pattern)
        return table

    return {**tables, "sdpa": noted}


def _pattern(function: object, causal: object) -> Attributes | None:
    if function is causal:
        return {"causal": True}
    pattern: Attributes | None = getattr(function, _MARK, None)
    return pattern


MASKS: tuple[tuple[str, str, Callable[[Answer], Answer]], ...] = (
    (
        "transformers.masking_utils",
        "sliding_window_causal_mask_function",
        _marked(lambda window: {"causal": True, "window": window}),
    ),
    (
        "transformers.masking_utils",
        "sliding_window_bidirectional_mask_function",
        # A key at just that distance is seen too: |i - j| <= window.
        _marked(lambda window: {"causal": False, "window": window + 1}),
    ),
    (
        "transformers.masking_utils",
        "chunked_causal_mask_function",
        _marked(lambda chunk: {"causal": True, "chunk": chunk}),
    ),
    ("transformers.masking_utils", "ALL_MASK_ATTENTION_FUNCTIONS._local_mapping", _noting),
)
"""Module, function or setting in it, and what stands in its place while a network is traced."""
