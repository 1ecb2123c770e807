"""Sizes: between which sizes of a class's kernels lies what was fitted.

A class's kernels of one size tell little of those of another. What counts is where the time of the steps that were
fitted went: from the half hundredth of a class's time to the last half hundredth, every step counting alike.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

LEFT_OUT = 0.005
"""The share of a class's time at either end that does not count."""


def sizes(place: Numbers, size: Numbers, part: Numbers, count: int) -> Numbers:
    """From and to what size the kernels of each of `count` classes are.

    Of each kernel `place` is its class, `part` its share of its step's time. A class without kernels has no sizes:
    all lie outside.
    """
    found = np.empty((count, 2))
    for index in range(count):
        here = place == index
        found[index] = _ends(size[here], part[here]) if here.any() else (np.inf, 0.0)
    return found


def _ends(size: Numbers, part: Numbers) -> tuple[float, float]:
    order = np.argsort(size)
    upto = np.cumsum(part[order])
    first = np.searchsorted(upto, LEFT_OUT * upto[-1])
    last = np.searchsorted(upto, (1 - LEFT_OUT) * upto[-1])
    return float(size[order][first]), float(size[order][min(last, len(size) - 1)])
