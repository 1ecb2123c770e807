"""Which networks a fit may see, and which it is tested on: whole families, never rows.

Networks of a family are so much alike (resnet50 in three widths, a transformer at four sizes) that a fit which
has seen one knows the next. A family is the name before its first underscore or digit: resnet, vit, tf, regnety.
Which ones are held out was settled before anything was fitted, by nothing that could be chosen: the remainder
of the name's SHA-256 by three.
"""

from __future__ import annotations

import hashlib
import re

OF = 3
"""One family in so many is held out."""


def family(network: str) -> str:
    """The family of a network: its name before the first underscore or digit."""
    return re.split(r"[_0-9]", network, maxsplit=1)[0]


def held_out(network: str) -> bool:
    """Whether no fit may see the network."""
    return int(hashlib.sha256(family(network).encode()).hexdigest(), 16) % OF == 0
