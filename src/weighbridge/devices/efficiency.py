"""Efficiency: how near a device comes to its peaks, a class of kernels at a time.

A peak is what the data sheet says; a class of kernels reaches a share of it that hardly changes from network to
network. Shares are fitted from measurements of the device (`fitted/<device>.toml`), measured on the machine at
hand, or taken over from a device that is like it. They are of peaks, so that they can be taken over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Efficiency:
    """What one class of kernels reaches: shares of the peak rate and of the peak bandwidth, 0 to 1.

    `launch_s` is the device's own time for a kernel, however small. A matrix product of `half_rows` rows reaches
    half of the rate, one of many all of it. The kernels that told so were of sizes (`Kernel.size`) from `least` to `most`, which
    is 0 where there were none.
    `borrowed` says that they ran on another device.
    """

    compute: float
    bandwidth: float
    launch_s: float
    half_rows: float = 0.0
    least: float = 0.0
    most: float = inf
    borrowed: bool = False


WIDER = (0.1, 0.15)
"""By what share the ends of an interval move out where all of a device's shares are another's."""

EXTRAPOLATING = "extrapolating"
"""The sort of a step of which much lies outside of what was measured (`Efficiencies.intervals`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Efficiencies:
    """Those of all classes on one device, by class and part ('convolution', 'forward').

    `default` is of classes that were not fitted, which `fitted` tells apart; convolutions whose images have their channels
    last are classes of their own, by `CHANNELS_LAST` behind the name. `dispatch_s` is the host's time for one operator of
    an eager program. A step was measured to take between `low` and `high` times its prediction, in 90 of
    100 cases that were not used in fitting, and `intervals` says so of steps of one sort ('training, channels-last'), and of those
    that are `EXTRAPOLATING`; `basis` says in one sentence what that rests on.

    A kernel's arithmetic and its traffic overlap, and not wholly where both take long: together they take
    (compute^p + memory^p)^(1/p), p being `overlap`; endless, the longer hides the other. What fits into the
    last cache moves 1 + `cached` times as fast. What a kernel moves beyond half of it goes at the share `beyond_cache` of the
    bandwidth on top, where that was fitted. `compiled` is what a compiled program's kernels reach.
    """

    default: Efficiency
    dispatch_s: float
    low: float
    high: float
    basis: str
    classes: Mapping[tuple[str, str], Efficiency] = field(default_factory=dict)
    overlap: float = inf
    cached: float = 0.0
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    beyond_cache: float | None = None
    compiled: Efficiencies | None = None

    def of(self, kind: str, part: str, *, channels_last: bool = False) -> Efficiency:
        """That of a class and part; of its forward part, or with channels first, where its own was not fitted."""
        if channels_last:
            last = f"{kind}{CHANNELS_LAST}"
            if self.fitted(last):
                return self.of(last, part)
        found = self.classes.get((kind, part)) or self.classes.get((kind, "forward"))
        return found or self.default

    def interval(
        self, sort: str, *, borrowed: float = 0.0, extrapolating: bool = False
    ) -> tuple[float, float]:
        """Between how many times its prediction a step of that sort lies in nine cases of ten.

        `borrowed` is the share of its time that it spends in kernels whose shares are another device's.
        """
        low, high = self.intervals.get(sort, (self.low, self.high))
        if extrapolating:
            outside_low, outside_high = self.intervals.get(EXTRAPOLATING, (low, high))
            low, high = min(low, outside_low), max(high, outside_high)
        lower, higher = WIDER
        return low * (1 - lower * borrowed), high * (1 + higher * borrowed)

    def fitted(self, kind: str) -> bool:
        """Whether kernels of that class were among those that were measured."""
        return any(known == kind for known, _ in self.classes)


CHANNELS_LAST = ", channels last"

UNMEASURED = Efficiencies(
    default=Efficiency(compute=0.6, bandwidth=0.75, launch_s=3e-6),
    dispatch_s=7e-6,
    low=0.6,
    high=1.7,
    basis="no measurement of this device: 60 % of its peak rate, 75 % of its bandwidth",
)
"""For a device like which none was measured. Elementwise operators reach 70 to 86 % of nominal bandwidth, large
matrix products 40 to 95 % of the nominal peak; eager PyTorch takes 5 to 10 us an operator on the host."""
