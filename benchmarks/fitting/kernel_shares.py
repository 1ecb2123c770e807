"""Shares: how near each class of kernels comes to a device's peaks, from the times of whole steps.

The time of a step is the sum of its kernels', and a kernel takes

    launch + (compute^p + memory^p)^(1/p),     compute = compute at the peak / share,  memory likewise

(`analyses.time.clock`), so that a step's time has a derivative by every share, and the shares are found by Gauss and
Newton's steps on the logarithms of times, with outliers held down (pseudo-Huber) and shares that no row says anything of
held where they began. One share of the peak rate and one of the bandwidth a class; launch, p and the cache's gain are the
device's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.fitting.sizes import sizes
from benchmarks.fitting.throughputs import Row
from weighbridge.analyses.time.clock import WAIT_S, Clock
from weighbridge.devices import Device, Efficiencies, Efficiency
from weighbridge.devices.efficiency import CHANNELS_LAST
from weighbridge.ops.kernel import CONTRACTIONS, Kernel

Array = np.ndarray

START = Efficiency(compute=0.6, bandwidth=0.75, launch_s=2e-6)
START_VECTOR = 0.3
START_DEPTHWISE = 0.02
OVERLAP, CACHED = 3.0, 1.0
"""Where a fit begins, and what a class that says nothing keeps. Large depthwise convolutions do not run on matrix units."""

HELD = 0.005
"""How much a share is held where it began, against the error of a row: both as squares of logarithms."""

MOST_COMPUTE, MOST_BANDWIDTH = 1.25, 1.0
"""What a share can be at most: clocks run above what the data sheet calls boost, and memory does not. Without that,
classes that always come together (a convolution and its norm) take each other's time."""

OUTLIER = 0.1
"""Errors above this weigh less and less."""

PERFECT = Efficiencies(
    default=Efficiency(compute=1.0, bandwidth=1.0, launch_s=1.0),
    dispatch_s=0.0,
    low=1.0,
    high=1.0,
    basis="peaks",
)

Class = tuple[str, str]


def class_of(kernel: Kernel) -> Class:
    """The class and part of a kernel, as `Efficiencies` tells them apart."""
    kind = f"{kernel.kind}{CHANNELS_LAST}" if kernel.channels_last else kernel.kind
    return kind, kernel.part


@dataclass(frozen=True, slots=True)
class Table:
    """The kernels of many steps as columns: the row, the class, how many, and what each takes at the peaks.

    `there` is the share of a kernel's bytes that the last cache may hold, `size` its size (`Kernel.size`), `waiting`
    what its threads wait for memory.
    """

    seconds: Array
    row: Array
    kind: Array
    times: Array
    compute: Array
    memory: Array
    launches: Array
    there: Array
    size: Array
    waiting: Array
    classes: tuple[Class, ...]

    def predicted(self, values: Array) -> Array:
        """The seconds of every row."""
        kernels, *_ = self._kernels(values)
        return np.bincount(self.row, kernels * self.times, len(self.seconds))

    def parts(self, values: Array) -> Array:
        """The share of its row's seconds that each of the kernels takes."""
        kernels, *_ = self._kernels(values)
        seconds = kernels * self.times
        return seconds / np.bincount(self.row, seconds, len(self.seconds))[self.row]

    def sizes(self, values: Array, chosen: Array) -> Array:
        """From and to what size the chosen rows' kernels are, by class."""
        here = chosen[self.row]
        part = self.parts(values)[here]
        return sizes(self.kind[here], self.size[here], part, len(self.classes))

    def outside(self, values: Array, chosen: Array) -> Array:
        """The share of every row's seconds in kernels of other sizes than the chosen rows have."""
        least, most = self.sizes(values, chosen)[self.kind].T
        beyond = (self.size < least) | (self.size > most)
        return np.bincount(self.row, self.parts(values) * beyond, len(self.seconds))

    def _kernels(self, values: Array) -> tuple[Array, Array, Array, Array]:
        count = len(self.classes)
        shares = np.exp(values)
        launch, overlap, cached = shares[-3], 1 + shares[-2], shares[-1]
        compute = self.compute / shares[:count][self.kind] + 1e-15
        rate = 1 - self.there + self.there / (1 + cached)
        memory = self.memory * rate / shares[count : 2 * count][self.kind] + 1e-15
        longer = np.maximum(compute, memory)
        together = longer * (1 + (np.minimum(compute, memory) / longer) ** overlap) ** (1 / overlap)
        of_compute = (compute / together) ** overlap
        beside = launch * self.launches + self.waiting
        return together + beside, together, of_compute, 1 - of_compute

    def derivatives(self, values: Array) -> tuple[Array, Array]:
        """The seconds of every row, and their derivatives by the logarithm of every value."""
        count, rows = len(self.classes), len(self.seconds)
        kernels, together, of_compute, of_memory = self._kernels(values)
        found = np.bincount(self.row, kernels * self.times, rows)
        slopes = np.zeros((rows, len(values)))
        for place, part in ((0, of_compute), (count, of_memory)):
            cells = self.row * count + self.kind
            slopes[:, place : place + count] = -np.bincount(
                cells, together * part * self.times, rows * count
            ).reshape(rows, count)
        slopes[:, -3] = np.exp(values[-3]) * np.bincount(self.row, self.launches * self.times, rows)
        for place in (-2, -1):
            moved = values.copy()
            moved[place] += 1e-4
            slopes[:, place] = (self.predicted(moved) - found) / 1e-4
        return found, slopes


def table(rows: Sequence[Row], device: Device) -> Table:
    """The rows' kernels at their batches, on the device's peaks."""
    clock = Clock(device=device, efficiencies=PERFECT)
    columns: list[tuple[float, ...]] = []
    places: dict[Class, int] = {}
    for index, row in enumerate(rows):
        assert row.step is not None
        for piece in row.step.pieces:
            kernel = piece.at(row.batch / row.step.batch)
            time = clock.time(kernel)
            place = places.setdefault(class_of(kernel), len(places))
            large = kernel.largest_bytes / (device.l2_bytes or 1)
            columns.append(
                (
                    index, place, piece.times, time.compute_s, time.memory_s, kernel.launches,
                    1 / (1 + large**2) if kernel.largest_bytes else 0.0, kernel.size, kernel.waits * WAIT_S,
                )
            )  # fmt: skip
    found = np.array(columns)
    return Table(
        seconds=np.array([row.seconds for row in rows]),
        row=found[:, 0].astype(int),
        kind=found[:, 1].astype(int),
        times=found[:, 2],
        compute=found[:, 3],
        memory=found[:, 4],
        launches=found[:, 5],
        there=found[:, 6],
        size=found[:, 7],
        waiting=found[:, 8],
        classes=tuple(places),
    )


def start(classes: Sequence[Class]) -> Array:
    """The logarithms of where a fit begins: shares of the rate, of the bandwidth, launch, overlap - 1, gain."""
    names = [kind.removesuffix(CHANNELS_LAST) for kind, _ in classes]
    compute = [_start_compute(name) for name in names]
    bandwidth = [START.bandwidth] * len(names)
    return np.log([*compute, *bandwidth, START.launch_s, OVERLAP - 1, CACHED])


def _start_compute(kind: str) -> float:
    if kind in ("large depthwise convolution", "wide depthwise convolution"):
        return START_DEPTHWISE
    return START.compute if kind in CONTRACTIONS else START_VECTOR


def fit(found: Table, chosen: Array, steps: int = 60) -> Array:
    """The values that bring the chosen rows' predictions nearest to their times."""
    begin = start(found.classes)
    count = len(found.classes)
    most = np.full(len(begin), np.inf)
    most[:count], most[count : 2 * count] = np.log(MOST_COMPUTE), np.log(MOST_BANDWIDTH)
    values, damping = begin.copy(), 1e-2
    best = _loss(found, values, begin, chosen)
    for _ in range(steps):
        predicted, slopes = found.derivatives(values)
        error = np.log(predicted / found.seconds)[chosen]
        weight = 1 / np.sqrt(1 + (error / OUTLIER) ** 2)
        slope = slopes[chosen] / predicted[chosen][:, None]
        matrix = slope.T @ (weight[:, None] * slope) + 2 * HELD * np.eye(len(values))
        force = slope.T @ (weight * error) + 2 * HELD * (values - begin)
        stuck = (values >= most) & (
            force < 0
        )  # at its bound and pushed on: it stays, and the others move without it
        matrix[stuck], matrix[:, stuck], force[stuck] = 0, 0, 0
        matrix[stuck, stuck] = 1
        for _ in range(8):
            step = np.linalg.solve(matrix + damping * np.diag(np.diag(matrix)), -force)
            tried = np.minimum(values + np.clip(step, -1, 1), most)
            loss = _loss(found, tried, begin, chosen)
            if loss < best:
                break
            damping *= 4
        else:
            break
        damping /= 3
        done = best - loss < 1e-6 * best
        values, best = tried, loss
        if done:
            break
    return values


def _loss(found: Table, values: Array, begin: Array, chosen: Array) -> float:
    error = np.log(found.predicted(values) / found.seconds)[chosen]
    robust = OUTLIER**2 * (np.sqrt(1 + (error / OUTLIER) ** 2) - 1)
    return float(robust.sum() + HELD * ((values - begin) ** 2).sum())


def shares(found: Table, values: Array, chosen: Array) -> dict[Class, Efficiency]:
    """The classes that the chosen rows say something of: in one row at least a hundredth of its time."""
    part, limits = found.parts(values), found.sizes(values, chosen)
    count = len(found.classes)
    told = np.bincount(found.row * count + found.kind, part, len(found.seconds) * count).reshape(
        -1, count
    )[chosen]
    return {
        name: Efficiency(
            compute=float(np.exp(values[place])),
            bandwidth=float(np.exp(values[count + place])),
            launch_s=float(np.exp(values[-3])),
            least=float(limits[place, 0]),
            most=float(limits[place, 1]),
        )
        for place, name in enumerate(found.classes)
        if told[:, place].max() >= 0.01
    }
