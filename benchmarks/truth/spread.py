"""What is said of a calibrated machine's interval: the one that measured steps give, and how it does on families left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.fitting.intervals import crossed
from benchmarks.truth.tables import percent


def interval(ratios: Sequence[float], networks: Sequence[str], shipped: tuple[float, float]) -> str:
    """A sentence of ratios of measured to predicted steps; `shipped` is the interval that weighbridge gives."""
    low, high, inside = crossed(np.array(ratios), networks)
    return (
        f"The 90 % interval of these rows, each family counting once, is {low:.2f} to {high:.2f} times the prediction; a calibrated machine's "
        f"is {shipped[0]} to {shipped[1]}. Held out: of each fifth of the families, {percent(inside)} of the rows lie in the interval "
        "of the other four."
    )
