"""How a page carries its data: plain JSON, deflated and in base64 where a reader may not need it; texts each once."""

from __future__ import annotations

import json
import zlib
from base64 import b64encode
from collections.abc import Iterable, Sequence
from itertools import pairwise

from ...analyses.growing import Growing
from ...analyses.weighing import Json

LEVEL = 6
"""Of deflate: the highest takes three times as long for a hundredth less."""


def packed(record: Json) -> str:
    """Plain data that is unpacked when it is asked for."""
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
    return b64encode(zlib.compress(text.encode(), LEVEL)).decode()


def climbs(numbers: Iterable[int | Sequence[int]]) -> list[Json]:
    """Each number less the one before it, groups kept: what counts on is the same over and over, and deflates to little."""
    before = 0
    found: list[Json] = []
    for entry in numbers:
        if isinstance(entry, int):
            found.append(entry - before)
            before = entry
            continue
        found.append([number - last for last, number in pairwise((before, *entry))])
        before = entry[-1]
    return found


def growing(found: Growing) -> dict[str, Json]:
    """Each polynomial once, and which of them each number is."""
    once, of = found.each_once()
    return {
        "of": list(of),
        "zero": list(once.zero),
        "terms": [[*degrees, list(column)] for degrees, column in once.terms],
    }
