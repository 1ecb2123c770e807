"""Pace: what kernels of one sort reach on a device, whatever their sizes.

A sort is a class, a part, a dtype and a layout. What is known of it, the rate, the bandwidth, tiles, how rows
are read, is looked up once; `seconds` is then plain arithmetic on a kernel's numbers, and the page does the same
arithmetic with the same record (`reports/page/js/clock.js`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from ...dims import larger, smaller
from ...ops.kernel import Gemm, Kernel
from .rows import Rows
from .tiles import Reach, Tiling, stretch, walk

TINY_S = 1e-15
"""Less than any kernel takes: of two times that are nothing, neither is a part of the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Products:
    """How a device makes matrix products: at a share of its peak (`devices.sustained`), in tiles.

    Their rows lie on pages of memory, which `reach` tells of; None where products are too small for that.
    """

    share: float
    tiling: Tiling
    multiprocessors: int
    reach: Reach | None
    itemsize: int

    def stretch(self, gemm: Gemm | None) -> float:
        """How many times as long a product's arithmetic takes as at the device's peak."""
        found = 1 / self.share
        if gemm is None:
            return found
        found *= stretch(gemm, self.tiling, multiprocessors=self.multiprocessors)
        if self.reach is not None:
            found *= walk(gemm, self.reach, itemsize=self.itemsize)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Caches:
    """What a device's last cache does: its bytes, and how many times as fast as memory it is beyond one (`gain`).

    What a kernel moves beyond `within` bytes goes at `beyond_bytes_per_s` on top, where that was fitted.
    """

    last_bytes: int
    gain: float
    within: float
    beyond_bytes_per_s: float | None

    def speed(self, largest_bytes: int) -> float:
        """How many times as fast as memory a kernel's operands move: what was just written may still be in the cache.

        Half of the gain is left where the largest operand is as large as the last cache.
        """
        if not self.gain or not self.last_bytes:
            return 1.0
        there = 1 / (1 + (largest_bytes / self.last_bytes) ** 2)
        return 1 / (1 - there + there / (1 + self.gain))

    def beyond_s(self, moved: float) -> float:
        """What is added for what does not lie in the cache."""
        if self.beyond_bytes_per_s is None:
            return 0.0
        found: float = larger(moved - self.within, 0.0) / self.beyond_bytes_per_s
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The rates of a sort of kernels: the device's peak for it, what it reaches of that and of the bandwidth.

    A launch takes `launch_s`, and `wait_s` whatever a thread waits for (`Kernel.waits`).
    """

    peak_flop_per_s: float
    flop_per_s: float
    bytes_per_s: float
    launch_s: float
    wait_s: float
    half_rows: float
    overlap: float
    caches: Caches
    products: Products | None
    rows: Rows | None

    def compute_s(self, kernel: Kernel) -> float:
        """The seconds of its arithmetic."""
        found = kernel.flops / self.flop_per_s
        if self.products is not None:
            found *= self.products.stretch(kernel.gemm)
        if kernel.gemm is not None and self.half_rows:
            found *= 1 + self.half_rows / larger(kernel.gemm.rows, 1)
        return found

    def overhead_s(self, kernel: Kernel) -> float:
        """The seconds that neither its arithmetic nor its bytes make longer."""
        return kernel.launches * self.launch_s + kernel.waits * self.wait_s

    def memory_s(self, kernel: Kernel) -> float:
        """The seconds of its traffic."""
        reads = 1.0 if self.rows is None else self.rows.reads(kernel.row_bytes)
        moved = kernel.read_bytes * reads + kernel.write_bytes
        within_s = moved / self.bytes_per_s / self.caches.speed(kernel.largest_bytes)
        return within_s + self.caches.beyond_s(moved)


def together(compute_s: float, memory_s: float, overlap: float) -> float:
    """Arithmetic and traffic, as far as they overlap (`Efficiencies.overlap`)."""
    longer = larger(compute_s, memory_s)
    if overlap == inf:
        return longer
    share = smaller(compute_s, memory_s) / (longer + TINY_S)
    found: float = longer * (1 + share**overlap) ** (1 / overlap)
    return found
