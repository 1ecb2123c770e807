"""Measured: the seconds of a kernel on a machine that was calibrated.

Each class and part of kernels has a curve through its points; what is no contraction has one for each operator. Its
base is a sum of what any kernel takes time for, each with a rate that is never negative: being called,
multiply-accumulates, other arithmetic, weights, bytes read and bytes written, and of these again what exceeds a
level of the cache. Rates are fitted to ratios, so that a kernel of 20 us counts as one of 20 ms.

What the base leaves out (how well a shape suits a library's kernels) is alike for kernels of like shape: it is
interpolated between the points, as a Gaussian process in the logarithms of the sizes does it (Rasmussen and
Williams 2006, 'Gaussian Processes for Machine Learning', algorithm 2.1), and fades where no point is near.

In another dtype, or on another number of threads, a kernel takes so many times as long. That ratio, of the same
kernel timed in both, is interpolated likewise between the kernels of its class, by how long they take. Where most
kernels of a class were timed in a dtype too, as on a GPU, it has a curve of its own there.

On a CPU the host is the device: calls of modules, operators and autograd's nodes take their time beside kernels, and
so do pages of memory that the system makes anew (`memory.heap`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import exp, log, log2, sqrt
from statistics import median

from ...calibration import (
    ALL,
    BASE_RATES,
    TF32,
    Calibration,
    Class,
    Fit,
    Overheads,
    Point,
    Setting,
    classes_of,
    operator_of,
)
from ...devices import PRODUCTS
from ...dims import BITS, bytes_of
from ...ops import rule_of
from ...ops.kernel import CONTRACTIONS, FOREACH, Kernel
from ...program import Phase, Program
from ...units import plural
from ..memory.heap import PAGE, fresh_bytes
from ..memory.resident import events
from ..memory.timeline import lifetimes
from .execution import Launch, launches

REACH = 3.0
"""How far a point tells of others: a kernel of eight times the size in one direction is 60 % like it."""

NOISE = 0.3
"""What of a point's deviation from the base is its own, as a share of what is shared with its like.

Both by leaving points out one by one of two calibrations of one machine: 25 % off on average, 26 % with a reach of 2.
"""

LARGE = 12
"""The largest pointwise operators and copies, whose operands no cache holds: their bandwidth is the memory's."""

ENOUGH = 4
"""Points that an operator needs for a curve of its own."""

DEPTHWISE = ("depthwise convolution", "wide depthwise convolution")

MOST_OF = 0.5
"""Of the kernels of a class: where more were timed in a setting it has a curve of its own."""

FURTHEST = log(3)
"""How far a ratio lies from others of its class: one that was measured further away was disturbed, or is alone of its kind."""

FRACTIONS = frozenset(dtype for dtype in BITS if dtype.startswith(("float", "bfloat", "complex")))
"""Dtypes that networks compute in; whole numbers are moved, or are a few masks and indices."""

SMALL_WINDOW = 9
"""Places under a depthwise kernel that libraries have fast weight gradients for: 3x3. Larger ones take six to ten times as long for
a multiply-accumulate (oneDNN 3.10 on an AMD EPYC)."""

LANES = 16
"""Channels that a library's kernels take at once: shapes that are no multiple of it are padded to one."""

IDLE = 0.7
"""Of a step: a GPU whose kernels take less of it waits for its host."""

SWEEPS = 200
ROUNDS = 6

WARM = (2**20, 2**25)
"""Bytes above which caches hold less and less of a kernel's operands: where the rate of bytes may change.

Of kernels that are no contractions: those have other sizes to follow, and too few large points to tell a rate beyond
caches from them (in cross-validation the largest depthwise convolutions came out seven times too slow).
"""

ROUNDS_OF_A_LOOP = 5
"""Rounds until a heap has settled: the first maps most tensors, the next find out what is given back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The seconds of a kernel by what they go to."""

    compute_s: float
    memory_s: float
    overhead_s: float

    @property
    def seconds(self) -> float:
        return self.compute_s + self.memory_s + self.overhead_s

    def __mul__(self, times: float) -> Parts:
        return Parts(
            compute_s=self.compute_s * times,
            memory_s=self.memory_s * times,
            overhead_s=self.overhead_s * times,
        )


class Curve:
    """The seconds of the kernels of one class in one setting."""

    def __init__(self, points: Sequence[Point], fit: Fit) -> None:
        self._rates, self._shares = fit.rates, fit.shares
        self._places = [_place(point.kernel) for point in points] if fit.shares else []

    @staticmethod
    def fitted(points: Sequence[Point], seconds: Sequence[float]) -> Fit:
        """What fits the points' seconds; between kernels of unlike kinds nothing is interpolated."""
        rates = _rates([_work(p.kernel) for p in points], seconds)
        places = [_place(point.kernel) for point in points]
        if len({len(place) for place in places}) > 1:
            return Fit(rates=rates, shares=())
        rest = [
            log(took / _base(p.kernel, rates).seconds)
            for p, took in zip(points, seconds, strict=True)
        ]
        return Fit(rates=rates, shares=tuple(_interpolating(places, rest)))

    def parts(self, kernel: Kernel) -> Parts:
        """The seconds of a kernel."""
        found, place = _base(kernel, self._rates), _place(kernel)
        if not self._places or len(place) != len(self._places[0]):
            return found
        return found * exp(_interpolated(place, self._places, self._shares))


class Ratio:
    """How many times as long the kernels of one class take in another setting."""

    def __init__(self, points: Sequence[Point], fit: Fit) -> None:
        self._fit = fit
        self._places = [_size(point.seconds) for point in points]

    @staticmethod
    def fitted(points: Sequence[Point], setting: Setting) -> Fit:
        """What fits the points' seconds there."""
        ratios = [log(point.others[setting] / point.seconds) for point in points]
        level = median(ratios)
        rest = [max(-FURTHEST, min(ratio - level, FURTHEST)) for ratio in ratios]
        places = [_size(point.seconds) for point in points]
        return Fit(rates=(level,), shares=tuple(_interpolating(places, rest)))

    def of(self, seconds: float) -> float:
        """The ratio of a kernel that takes so long in the base setting."""
        (level,) = self._fit.rates
        return exp(level + _interpolated(_size(seconds), self._places, self._fit.shares))


def fitted(calibration: Calibration) -> Calibration:
    """The calibration with what fits its points."""
    fits: dict[tuple[Class, Setting], Fit] = {}
    all_of = calibration.classes(calibration.base)
    gpu = calibration.conditions.device != "cpu"
    for setting in calibration.settings:
        for of, points in calibration.classes(setting).items():
            if of and len(points) < ENOUGH:
                continue
            base = setting == calibration.base
            if base or (gpu and len(points) > MOST_OF * len(all_of[of])):
                seconds = [point.others.get(setting, point.seconds) for point in points]
                fits[of, setting] = Curve.fitted(points, seconds)
            else:
                fits[of, setting] = Ratio.fitted(points, setting)
    return replace(calibration, fits=fits)


class Measured:
    """A calibration as a clock reads it, for a processor that works with so many threads."""

    def __init__(self, calibration: Calibration, threads: int | None = None) -> None:
        self.calibration = calibration
        self.threads = threads or calibration.base.threads
        self._classes: dict[Setting, Mapping[Class, Sequence[Point]]] = {}
        self._curves: dict[tuple[Class, Setting], Curve] = {}
        self._ratios: dict[tuple[Class, Setting], Ratio] = {}

    def at(self, threads: int | None) -> Measured:
        """The same for another number of threads; a GPU does not mind."""
        if threads in (None, self.threads) or self.calibration.conditions.device != "cpu":
            return self
        return Measured(self.calibration, threads)

    def lacks(self, dtype: str) -> str | None:
        """What of a kernel's setting was not measured: 'float16', '3 threads', 'float16 on 3 threads'; None if it was."""
        known = self._threads_in(dtype)
        name = "" if known or dtype not in FRACTIONS else dtype
        counts = known or self._threads_in(self.calibration.base.dtype)
        count = "" if self.threads in counts else plural(self.threads, "thread")
        return " on ".join(filter(None, (name, count))) or None

    @cached_property
    def kinds(self) -> frozenset[str]:
        """The classes of kernels that were measured."""
        return frozenset(point.kernel.kind for point in self.calibration.points)

    def fastest(self) -> tuple[Mapping[str, float], float]:
        """The rate of the fastest product in each dtype, and the bandwidth of large copies: peaks as they were seen."""
        rates = dict.fromkeys(self._threads, 1e9)
        copies = []
        for point in self.calibration.points:
            kernel = point.kernel
            if kernel.kind in ("elementwise", "copy"):
                copies.append((kernel.traffic_bytes, kernel.traffic_bytes / point.seconds))
            if kernel.gemm is not None:
                timed = {self.calibration.base: point.seconds, **point.others}
                for setting, seconds in timed.items():
                    rates[setting.dtype] = max(rates[setting.dtype], kernel.flops / seconds)
        return rates, median(rate for _, rate in sorted(copies)[-LARGE:] or [(0, 1e9)])

    def parts(self, kernel: Kernel, operator: str, phase: Phase, *, tf32: bool = False) -> Parts:
        """The seconds of a kernel between others, as a step of that phase runs it."""
        found = self.calibration.overheads
        times = found.forward if phase == "forward" else found.backward
        return self.alone(kernel, operator, tf32=tf32) * times

    def alone(self, kernel: Kernel, operator: str, *, tf32: bool = False) -> Parts:
        """The seconds of a kernel as it was timed: by the curve of its operator, of its class, or of what is most like it.

        In another setting it has the curve of that, or takes as many times as long as kernels of its class and size do.
        A dtype that was not measured is taken for float32 of as many bytes. `tf32` says that products in float32 may run
        on matrix units.
        """
        classes = (*classes_of(kernel, operator), *_INSTEAD, ALL)
        dtype = self._timed_as(kernel.dtype)
        if dtype == kernel.dtype:
            kernel = _as(self.calibration.base.dtype, kernel)
        if tf32 and kernel.kind in PRODUCTS and dtype == self.calibration.base.dtype:
            dtype = self._timed_as(TF32)
        own = self._curve(classes, Setting(dtype=dtype, threads=self.threads))
        if own is not None:
            return own.parts(kernel)
        base = self._curve(classes, self.calibration.base)
        assert base is not None
        parts = base.parts(kernel)
        return parts * self._times(classes, dtype, parts.seconds)

    def _timed_as(self, dtype: str) -> str:
        return dtype if self._threads_in(dtype) else self.calibration.base.dtype

    def _threads_in(self, dtype: str) -> list[int]:
        """The numbers of threads that were measured in a dtype."""
        return self._threads.get(dtype, [])

    def _points(self, of: Class, setting: Setting) -> Sequence[Point]:
        """The points of a class that were timed in a setting."""
        if setting not in self._classes:
            self._classes[setting] = self.calibration.classes(setting)
        return self._classes[setting][of]

    @cached_property
    def _threads(self) -> Mapping[str, list[int]]:
        found: dict[str, list[int]] = {}
        for setting in sorted(self.calibration.settings, key=lambda each: each.threads):
            found.setdefault(setting.dtype, []).append(setting.threads)
        return found

    def _curve(self, classes: Sequence[Class], setting: Setting) -> Curve | None:
        """The curve of the first class that has something fitted to it in a setting; None where that is a ratio."""
        fits = self.calibration.fits
        of = next((of for of in classes if (of, setting) in fits), None)
        if of is None or len(fits[of, setting].rates) != BASE_RATES:
            return None
        if (of, setting) not in self._curves:
            self._curves[of, setting] = Curve(self._points(of, setting), fits[of, setting])
        return self._curves[of, setting]

    def _times(self, classes: Sequence[Class], dtype: str, seconds: float) -> float:
        """How many times as long as in the base setting: between two numbers of threads as by Amdahl's law.

        That is s + p / threads, s and p being what runs on one thread and on all. Beyond the most that were
        measured nothing is gained.
        """
        counts = self._threads_in(dtype)
        below = max((count for count in counts if count <= self.threads), default=counts[0])
        above = min((count for count in counts if count >= self.threads), default=counts[-1])
        low, high = (
            self._ratio(classes, Setting(dtype=dtype, threads=count), seconds)
            for count in (below, above)
        )
        if below == above:
            return low
        return low + (high - low) * (1 / below - 1 / self.threads) / (1 / below - 1 / above)

    def _ratio(self, classes: Sequence[Class], setting: Setting, seconds: float) -> float:
        fits = self.calibration.fits
        if setting == self.calibration.base:
            return 1.0
        of = next(of for of in classes if (of, setting) in fits)
        if (of, setting) not in self._ratios:
            self._ratios[of, setting] = Ratio(self._points(of, setting), fits[of, setting])
        return self._ratios[of, setting].of(seconds)

    def host_s(self, program: Program, launched: Sequence[Launch]) -> float:
        """The host's seconds for a step beside its kernels: operators, autograd's nodes, and new pages."""
        found = self.calibration.overheads
        forward, backward = _handed(program, launched)
        pages = found.page_s * new_pages(program) if found.page_s else 0.0
        return found.forward_s * forward + found.backward_s * backward + pages

    def settled(self, steps: Sequence[tuple[Program, float]]) -> Overheads:
        """What whole steps take beyond their kernels, fitted to programs and what their steps took.

        The time of a page stays as it was measured: such programs are small and make few. A GPU runs its kernels while
        the host hands out more, so that the steps which leave it idle tell what the host takes.
        """
        works, seconds = [], []
        for program, took in steps:
            launched = tuple(launches(program))
            kernels = {True: 0.0, False: 0.0}
            for launch in launched:
                alone = self.alone(launch.kernel, operator_of(launch.ops[0])).seconds
                kernels[launch.ops[0].phase == "forward"] += alone
            works.append((kernels[True], kernels[False], *_handed(program, launched)))
            seconds.append(took)
        if self.calibration.conditions.device != "cpu":
            handed = [
                (work[2:], took)
                for work, took in zip(works, seconds, strict=True)
                if sum(work[:2]) < IDLE * took
            ]
            if not handed:
                return self.calibration.overheads
            forward_s, backward_s = _rates(*zip(*handed, strict=True))
            return Overheads(forward_s=forward_s, backward_s=backward_s)
        forward, backward, forward_s, backward_s = _rates(works, seconds)
        return Overheads(
            forward=forward,
            backward=backward,
            forward_s=forward_s,
            backward_s=backward_s,
            page_s=self.calibration.overheads.page_s,
        )


def _handed(program: Program, launched: Sequence[Launch]) -> tuple[int, int]:
    """What the host hands out: in forward, and in backward and update."""
    if program.workload.compiled:
        forward = sum(launch.ops[0].phase == "forward" for launch in launched)
        return forward, len(launched) - forward
    ops = [op for op in program.ops if not op.flag(FOREACH)]
    forward = sum(op.phase == "forward" for op in ops)
    return forward, len(ops) - forward


_INSTEAD = (("elementwise",), ("copy",), ("matmul",))
"""What stands for a class that was not measured."""


def new_pages(program: Program) -> float:
    """Pages of memory that the system makes in a round of the loop, once the heap has settled."""
    if not any(rule_of(op.kind) for op in program.ops):
        return 0.0
    lives = lifetimes(program)
    settled, whole = (
        sum(fresh_bytes(events(lives, rounds=rounds)).values()) for rounds in (2, ROUNDS_OF_A_LOOP)
    )
    return (whole - settled) / (ROUNDS_OF_A_LOOP - 2) / PAGE


def _base(kernel: Kernel, rates: Sequence[float]) -> Parts:
    """What the rates alone say of a kernel."""
    call, macs, operations, *bytes = (
        amount * rate for amount, rate in zip(_work(kernel), rates, strict=True)
    )
    return Parts(compute_s=macs + operations, memory_s=sum(bytes), overhead_s=max(call, 1e-6))


def _work(kernel: Kernel) -> tuple[float, ...]:
    """What a kernel takes time for: a call, arithmetic, bytes."""
    (read, write), gemm = _moved(kernel), kernel.gemm
    weights = 0
    if kernel.image_bytes:
        weights = kernel.traffic_bytes - kernel.image_bytes
    elif gemm is not None:
        weights = bytes_of(gemm.batch * gemm.columns * gemm.depth, kernel.dtype)
    moved = 0 if kernel.kind in CONTRACTIONS else read + write
    beyond = (max(moved - level, 0) for level in WARM)
    wide = kernel.macs if _window(kernel) > SMALL_WINDOW else 0
    # The steps of a recurrent network wait for one another, and each is a call.
    calls = gemm.batch if gemm is not None and kernel.kind == "recurrent" else 1
    return (calls, kernel.macs, kernel.operations, weights, read, write, *beyond, wide)


def _moved(kernel: Kernel) -> tuple[int, int]:
    """Bytes read and written. Of a recurrent network's steps they are as its arithmetic, but for what training keeps of
    them, which takes no longer to write: its forward is timed without."""
    return (0, 0) if kernel.kind == "recurrent" else (kernel.read_bytes, kernel.write_bytes)


def _window(kernel: Kernel) -> int:
    """Places under a depthwise kernel; 0 of all others."""
    if kernel.gemm is None or kernel.kind not in DEPTHWISE:
        return 0
    return kernel.gemm.depth if kernel.part == "forward" else kernel.gemm.columns


def _place(kernel: Kernel) -> tuple[float, ...]:
    """Where a kernel lies among others: the logarithms of its sizes, and whether its channels need padding."""
    gemm = kernel.gemm
    if gemm is None:
        return (
            log2(kernel.macs + kernel.operations + 1),
            log2(kernel.read_bytes + 1),
            log2(kernel.write_bytes + 1),
        )
    inner = gemm.rows if kernel.part == "weight gradient" else gemm.depth
    channels = (gemm.batch,) * 2 if kernel.kind in DEPTHWISE else (gemm.columns, inner)
    return (
        log2(gemm.batch),
        log2(gemm.rows),
        log2(gemm.columns),
        log2(gemm.depth),
        log2(sum(_moved(kernel)) + 1),
        *(float(count % LANES > 0) for count in channels),
    )


def _size(seconds: float) -> tuple[float, ...]:
    """Where a kernel lies among others that differ in time alone."""
    return (log2(seconds * 1e6),)


def _as(dtype: str, kernel: Kernel) -> Kernel:
    """The same kernel in another dtype: every operand has as many elements."""
    if dtype == kernel.dtype:
        return kernel

    def bytes(count: int) -> int:
        return count * BITS[dtype] // BITS[kernel.dtype]

    return replace(
        kernel,
        dtype=dtype,
        read_bytes=bytes(kernel.read_bytes),
        write_bytes=bytes(kernel.write_bytes),
        image_bytes=bytes(kernel.image_bytes),
    )


def _interpolated(
    place: Sequence[float], places: Sequence[Sequence[float]], shares: Sequence[float]
) -> float:
    """What the points near a place add."""
    return sum(share * _likeness(place, other) for share, other in zip(shares, places, strict=True))


def _likeness(a: Sequence[float], b: Sequence[float]) -> float:
    """1 for kernels at the same place, and the less the further they are apart."""
    return exp(-sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) / (2 * REACH**2))


def _interpolating(places: Sequence[Sequence[float]], values: Sequence[float]) -> list[float]:
    """Each point's share in what is interpolated: (K + noise) x shares = values, by Cholesky's L x L^T."""
    count = len(places)
    lower: list[list[float]] = []
    shares: list[float] = []
    for i in range(count):
        row: list[float] = []
        for j in range(i + 1):
            rest = _likeness(places[i], places[j]) + (NOISE if i == j else 0.0)
            rest -= sum(map(_product, row, lower[j])) if j < i else sum(x * x for x in row)
            row.append(sqrt(max(rest, 1e-12)) if i == j else rest / lower[j][j])
        lower.append(row)
        shares.append((values[i] - sum(map(_product, row, shares))) / row[i])
    for i in reversed(range(count)):
        below = sum(lower[k][i] * shares[k] for k in range(i + 1, count))
        shares[i] = (shares[i] - below) / lower[i][i]
    return shares


def _product(a: float, b: float) -> float:
    return a * b


def _rates(works: Sequence[Sequence[float]], seconds: Sequence[float]) -> tuple[float, ...]:
    """Non-negative rates whose sums are near the seconds, by ratio.

    Least squares of (sum - seconds) / sqrt(sum x seconds), which for near ones is the logarithm of their ratio; the sum
    in the weight is that of the round before. Each round descends coordinate by coordinate.
    """
    scales = [max(column) or 1.0 for column in zip(*works, strict=True)]
    scaled = [[a / s for a, s in zip(work, scales, strict=True)] for work in works]
    sums = list(seconds)
    rates = [0.0] * len(scales)
    for _ in range(ROUNDS):
        weights = [1 / (total * s) for total, s in zip(sums, seconds, strict=True)]
        rates = _descended(scaled, seconds, weights)
        sums = [max(sum(a * r for a, r in zip(work, rates, strict=True)), 1e-9) for work in scaled]
    return tuple(rate / scale for rate, scale in zip(rates, scales, strict=True))


def _descended(
    works: Sequence[Sequence[float]], seconds: Sequence[float], weights: Sequence[float]
) -> list[float]:
    """Weighted least squares with no negative coefficient."""
    count = range(len(works[0]))
    gram = [
        [sum(w * work[i] * work[j] for work, w in zip(works, weights, strict=True)) for j in count]
        for i in count
    ]
    aims = [
        sum(w * work[i] * s for work, s, w in zip(works, seconds, weights, strict=True))
        for i in count
    ]
    found = [0.0] * len(works[0])
    for _ in range(SWEEPS):
        for i in count:
            if gram[i][i]:
                rest = aims[i] - sum(g * f for g, f in zip(gram[i], found, strict=True))
                found[i] = max(0.0, found[i] + rest / gram[i][i])
    return found
