"""GPUs whose single operators were timed: what each reaches, and the rule that says so of a card alone.

Of a measured device the shares of its classes are fitted, one number a class: of its bandwidth for norms, softmaxes
and pointwise operators, and for products what is left of the peak once tiles and power are counted, about 1.
Of a device left out all comes from the others: the rule of `devices.sustained` settled anew on what
they reached, and the bandwidth of the nearest of them.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from benchmarks.fitting.operators import Sample, samples
from weighbridge.analyses.time.clock import Clock
from weighbridge.devices import (
    PRODUCTS,
    Device,
    Efficiencies,
    Efficiency,
    load,
    reached,
    taken_over,
)
from weighbridge.devices.sustained import RULE, Rule

MEASURING_S: Mapping[str, float] = {"float32": 3e-5, "float16": 4e-6}
"""What passes between the two events beside the kernel: a call from Python in NeuSight's tables, nothing in Vidur's
but the launch. Fitted: it is all that the smallest operators take."""

LAUNCH_S = 3e-6
"""A kernel's own launch in a step whose host is ahead."""

DISPATCH_S = 7e-6
"""The host's, of 5 to 10 us an operator (`architectures.toml`, launch_overhead_s)."""

PERFECT = Efficiencies(
    default=Efficiency(compute=1.0, bandwidth=1.0, launch_s=0.0),
    dispatch_s=0.0,
    low=1.0,
    high=1.0,
    basis="",
)

WIDE = ("v100-32gb-pcie", "t4", "a100-40gb-pcie")
"""Cards with 64 float32 cores a multiprocessor, of one process or nearly."""

DUAL = ("p4", "p100")

L40S_WATTS = 1.2
"""Ada's watts without the L4. KernelBench's L40S multiplies 4096 x 4096 x 4096 in 2.57 to 2.92 ms, 0.55 of its peak, 0.89
of what 128 cores reach without a limit (0.62): 0.9 x 350 - 15 = 300 W = watts x 142 x 2.52 x 0.89^3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A sample with the seconds of its kernel at the peaks: of arithmetic, tiles and power counted, and of bytes."""

    sample: Sample
    compute_s: float
    memory_s: float

    @property
    def measuring_s(self) -> float:
        return MEASURING_S[self.sample.kernel.dtype]

    def predicted(self, compute: float, bandwidth: float) -> float:
        """The seconds of the row at shares of the peaks."""
        return self.measuring_s + max(self.compute_s / compute, self.memory_s / bandwidth)


BASIS = {
    "float32": "NeuSight's times of single operators in float32, PyTorch 2.1",
    "float16": "Vidur's times of a layer of Llama 2 7 B in float16",
}

STEPS = (0.84, 1.2)
"""From and to what share of its prediction a step takes: 90 % of NeuSight's transformers, which were not used in
fitting (`python -m benchmarks truth neusight`), on cards with a fan or a server's airflow."""


def fit_all() -> dict[str, Efficiencies]:
    """What the tables say of each card that they have."""
    by_card: dict[str, list[Timed]] = {}
    for row in timed(samples()):
        by_card.setdefault(row.sample.card, []).append(row)
    return {card: fit(rows) for card, rows in by_card.items()}


def timed(rows: Iterable[Sample]) -> tuple[Timed, ...]:
    """The samples with their times at the peaks."""
    found = []
    for sample in rows:
        time = perfect(sample.card).time(sample.kernel)
        found.append(Timed(sample=sample, compute_s=time.compute_s, memory_s=time.memory_s))
    return tuple(found)


@cache
def perfect(card: str) -> Clock:
    """The clock of a card that reaches its peaks."""
    return Clock(device=load(card), efficiencies=PERFECT)


def fit(rows: Sequence[Timed]) -> Efficiencies:
    """The shares of a card from the times of its operators, a class at a time."""
    kinds = sorted({row.sample.kernel.kind for row in rows})
    by_kind = {kind: [row for row in rows if row.sample.kernel.kind == kind] for kind in kinds}
    moved = {kind: _bandwidth(by_kind[kind]) for kind in kinds if kind not in PRODUCTS}
    bandwidth = moved.get("elementwise", 0.8)
    classes = {
        (str(kind), "forward"): Efficiency(
            compute=1.0, bandwidth=round(share, 3), launch_s=LAUNCH_S, **_sizes(by_kind[kind])
        )
        for kind, share in moved.items()
    }
    for kind in kinds:
        if kind in PRODUCTS:
            classes[kind, "forward"] = Efficiency(
                compute=round(_compute(by_kind[kind], bandwidth), 3),
                bandwidth=bandwidth,
                launch_s=LAUNCH_S,
                **_sizes(by_kind[kind]),
            )
    low, high = STEPS
    return Efficiencies(
        default=Efficiency(compute=0.6, bandwidth=round(bandwidth, 3), launch_s=LAUNCH_S),
        dispatch_s=DISPATCH_S,
        low=low,
        high=high,
        basis=BASIS[rows[0].sample.kernel.dtype],
        classes=classes,
    )


def _sizes(rows: Sequence[Timed]) -> dict[str, float]:
    """From and to what size kernels were timed."""
    found = [row.sample.kernel.size for row in rows]
    return {"least": min(found), "most": max(found)}


def _bandwidth(rows: Sequence[Timed]) -> float:
    shares = (row.memory_s / max(row.sample.seconds - row.measuring_s, 1e-7) for row in rows)
    return min(1.0, statistics.median(shares))


def _compute(rows: Sequence[Timed], bandwidth: float) -> float:
    def off(share: float) -> float:
        return sum(
            abs(math.log(row.predicted(share, bandwidth) / row.sample.seconds)) for row in rows
        )

    return min((0.4 + 0.01 * step for step in range(110)), key=off)


# -- the rule --------------------------------------------------------------------------------------------


def settle(shares: Mapping[str, float]) -> Rule:
    """The rule that comes nearest to the shares of their float32 peaks that cards reached in products.

    Two figures for 64 cores a multiprocessor (watts, and what is reached without a limit of power), one for Pascal's
    cards, whose power allows their clocks, one for Ada's watts. Pascal takes the watts of the cards after it.
    """
    wide = {card: shares[card] for card in WIDE if card in shares}
    dual = [shares[card] for card in DUAL if card in shares]
    best = _nearest(
        (
            plain_rule(watts, reach / 100)
            for watts in (1.5 + 0.02 * step for step in range(56))
            for reach in range(85, 101)
        ),
        wide,
    )
    if dual:
        best = replace(best, dual=statistics.geometric_mean(dual))
    if "l4" not in shares:
        return with_ada(best, L40S_WATTS)
    options = (1.0 * best.watts["volta"] * step / 100 for step in range(30, 101, 2))
    return _nearest((with_ada(best, watts) for watts in options), {"l4": shares["l4"]})


def plain_rule(watts: float, wide: float) -> Rule:
    """The rule with as many watts for every architecture."""
    return replace(RULE, watts=dict.fromkeys(RULE.watts, watts), wide=wide)


def with_ada(rule: Rule, watts: float) -> Rule:
    """The rule with so many watts from Ada on."""
    later = dict.fromkeys(("ada", "hopper", "blackwell", "rtx-blackwell"), watts)
    return replace(rule, watts={**rule.watts, **later})


def _nearest(rules: Iterable[Rule], shares: Mapping[str, float]) -> Rule:
    def off(rule: Rule) -> float:
        return sum(
            math.log(reached(load(card), "float32", rule) / share) ** 2
            for card, share in shares.items()
        )

    return min(rules, key=off)


def unseen(
    device: Device, known: Mapping[str, Efficiencies], rule: Rule
) -> Callable[[Timed], float]:
    """What a row of the device takes, predicted from its card, the others and the rule that they settle."""
    others = {key: found for key, found in known.items() if key != device.key}
    found = taken_over(device, others)
    slower = {dtype: reached(device, dtype) / reached(device, dtype, rule) for dtype in MEASURING_S}

    def predicted(row: Timed) -> float:
        kernel = row.sample.kernel
        share = found.of(kernel.kind, kernel.part)
        anew = slower[kernel.dtype] if kernel.kind in PRODUCTS else 1.0
        return row.predicted(share.compute / anew, share.bandwidth)

    return predicted


def shares_of_peak(known: Mapping[str, Efficiencies]) -> dict[str, float]:
    """What each card that was timed in float32 reached of its peak in products."""
    return {
        key: reached(load(key), "float32") * found.of("matmul", "forward").compute
        for key, found in known.items()
        if key in (*WIDE, *DUAL, "l4")
    }
