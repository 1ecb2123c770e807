"""Shares of peaks, fitted to the times of whole steps, of which each is a sum of many kernels.

A step's time is a sum of what its kernels take, each term of which is seconds at the device's peak divided by a share.
Few shares, positive, fitted in logarithms by Gauss and Newton with Levenberg's damping to the logarithm of the times,
large errors counting less than their squares (pseudo-Huber). Each share is drawn towards what is usual, the more
so the fewer steps tell of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.fitting.sizes import Numbers, sizes

LARGE = 0.15
"""From about this logarithm on, an error counts as itself and no longer as its square."""
STEPS = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One number to fit: seconds of each kernel (`values`, at `kernels`) are multiplied by it.

    `usual` is what it is drawn to, within a factor of e to the power of `spread`. `overlaps` says what the
    term competes with: of a kernel's 'compute' and 'memory' the longer counts where the device overlaps them; 'beside' is
    added to either.
    """

    name: str
    side: str
    kernels: NDArray[np.int64]
    values: Numbers
    usual: float
    spread: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Measured steps: of kernel i, `step[i]` is the step that it is part of, `kind[i]` its class, one of `kinds`."""

    step: NDArray[np.int64]
    seconds: Numbers
    terms: Sequence[Term]
    overlaps: bool
    kind: NDArray[np.int64]
    size: Numbers
    kinds: int

    def sizes(self, logs: Numbers, used: NDArray[np.bool_]) -> Numbers:
        """From and to what size the kernels of the steps that are `used` are, by class."""
        here = used[self.step]
        return sizes(self.kind[here], self.size[here], self._parts(logs)[here], self.kinds)

    def outside(self, logs: Numbers, used: NDArray[np.bool_]) -> Numbers:
        """The share of each step's seconds in kernels of other sizes than the steps that are `used` have."""
        least, most = self.sizes(logs, used)[self.kind].T
        beyond = (self.size < least) | (self.size > most)
        return np.bincount(self.step, self._parts(logs) * beyond, len(self.seconds))

    def _parts(self, logs: Numbers) -> Numbers:
        """The share of its step's seconds that each kernel takes."""
        kernels, _ = self._kernels(logs)
        return kernels / np.bincount(self.step, kernels, len(self.seconds))[self.step]

    def predicted(self, logs: Numbers) -> Numbers:
        """Seconds of each step, with the numbers that are fitted given as logarithms."""
        return self._with_slopes(logs)[0]

    def fit(self, used: NDArray[np.bool_]) -> Numbers:
        """The logarithms of the numbers that fit the steps that are `used` best."""
        usual = np.log([term.usual for term in self.terms])
        weight = np.array([term.spread for term in self.terms]) ** -2.0
        logs, damping = usual.copy(), 1e-2
        least = self._loss(logs, used, usual, weight)
        for _ in range(STEPS):
            seconds, slopes = self._with_slopes(logs)
            off = np.log(seconds / self.seconds)[used]
            slope = (slopes / seconds[:, None])[used]
            trust = 1 / np.sqrt(1 + (off / LARGE) ** 2) / LARGE**2
            curve = slope.T @ (slope * trust[:, None]) + np.diag(weight)
            down = slope.T @ (off * trust) + (logs - usual) * weight
            while damping < 1e6:
                step = np.linalg.solve(curve + damping * np.diag(np.diag(curve)), -down)
                tried = logs + np.clip(step, -1, 1)
                loss = self._loss(tried, used, usual, weight)
                if loss < least:
                    break
                damping *= 4
            else:
                return logs
            gained, least, logs = least - loss, loss, tried
            damping = max(damping / 3, 1e-6)
            if gained < 1e-7 * least:
                break
        return logs

    def _loss(
        self, logs: Numbers, used: NDArray[np.bool_], usual: Numbers, weight: Numbers
    ) -> float:
        off = np.log(self.predicted(logs) / self.seconds)[used] / LARGE
        return float(2 * np.sum(np.sqrt(1 + off**2) - 1) + np.sum((logs - usual) ** 2 * weight))

    def _kernels(self, logs: Numbers) -> tuple[Numbers, list[Numbers]]:
        """Seconds of each kernel, and by how much they grow with each logarithm, at the kernels of its term."""
        parts = {side: np.zeros(len(self.step)) for side in ("compute", "memory", "beside")}
        shares = []
        for term, log in zip(self.terms, logs, strict=True):
            seconds = term.values * np.exp(log)
            parts[term.side][term.kernels] += seconds
            shares.append(seconds)
        computing = parts["compute"] >= parts["memory"]
        counts = {"beside": np.ones(len(self.step), dtype=bool)}
        counts["compute"] = computing if self.overlaps else counts["beside"]
        counts["memory"] = ~computing if self.overlaps else counts["beside"]
        total = sum((parts[side] * counts[side] for side in parts), np.zeros(len(self.step)))
        counted = [
            seconds * counts[term.side][term.kernels]
            for term, seconds in zip(self.terms, shares, strict=True)
        ]
        return total, counted

    def _with_slopes(self, logs: Numbers) -> tuple[Numbers, Numbers]:
        """Seconds of each step, and by how much they grow with each logarithm."""
        kernels, counted = self._kernels(logs)
        number = len(self.seconds)
        slopes = np.empty((number, len(self.terms)))
        for place, (term, seconds) in enumerate(zip(self.terms, counted, strict=True)):
            slopes[:, place] = np.bincount(self.step[term.kernels], seconds, number)
        return np.bincount(self.step, kernels, number), slopes
