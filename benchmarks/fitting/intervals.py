"""Intervals: between how many times its prediction a step takes, from families that a fit did not see.

Of the families that may be fitted one in five is left out in turn, and the 5th and 95th percentiles are kept of what the
others' fit leaves of it. Whether nine in ten of the families that are held out from all of this then lie within
is a test, and not by construction.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.fitting.sizes import Numbers
from benchmarks.fitting.split import family
from weighbridge.devices.efficiency import EXTRAPOLATING

Chosen = NDArray[np.bool_]

FOLDS = 5


def fold(network: str) -> int:
    """Which of the folds a network is in, with its whole family."""
    return hashlib.sha256(f"fold {family(network)}".encode()).digest()[0] % FOLDS


def left_out(networks: Sequence[str], seen: Chosen) -> Iterator[tuple[Chosen, Chosen]]:
    """The seen steps of a fold, and those of the others, for each fold."""
    folds = np.array([fold(network) for network in networks])
    for one in range(FOLDS):
        here = seen & (folds == one)
        if here.any():
            yield here, seen & (folds != one)


def intervals(
    ratios: Numbers, networks: Sequence[str], sorts: Sequence[str], outside: Chosen, seen: Chosen
) -> dict[str, tuple[float, float]]:
    """Of each sort of step the interval of those that are not `outside` of what was measured, and one of those that are."""
    named = np.where(outside, EXTRAPOLATING, np.array(sorts))
    found = {}
    for sort in (*dict.fromkeys(sorts), EXTRAPOLATING):
        here = np.flatnonzero(seen & (named == sort))
        if len(here):
            found[sort] = ends(ratios[here], [networks[place] for place in here])
    return found


def crossed(ratios: Numbers, networks: Sequence[str]) -> tuple[float, float, float]:
    """The ends that steps give, and the share of each fold's steps that lie between those of the other folds."""
    inside = np.zeros(len(networks), dtype=bool)
    for here, others in left_out(networks, np.ones(len(networks), dtype=bool)):
        low, high = ends(ratios[others], [networks[place] for place in np.flatnonzero(others)])
        inside[here] = (low <= ratios[here]) & (ratios[here] <= high)
    return *ends(ratios, networks), float(inside.mean())


def ends(ratios: Numbers, networks: Sequence[str]) -> tuple[float, float]:
    """The 5th and 95th percentiles of ratios.

    A network that is asked about is mostly of another family, so each family counts once, however many steps it has.
    """
    families = [family(network) for network in networks]
    sizes = Counter(families)
    weight = np.array([1 / sizes[name] for name in families])
    return _percentile(ratios, weight, 0.05), _percentile(ratios, weight, 0.95)


def _percentile(values: Numbers, weights: Numbers, share: float) -> float:
    """The value that this share of the weights lies below."""
    order = np.argsort(values)
    below = np.cumsum(weights[order]) - weights[order] / 2
    return float(np.interp(share * weights.sum(), below, values[order]))
