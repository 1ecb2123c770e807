"""What a page carries to tell how long a step takes: kernels that grow with the batch, and the rates of devices.

A *sort* of kernels is what a pace depends on: class, part, dtype, layout, and whether float32 products run in TF32. Every
device has a pace for each sort that any position uses, and `js/clock.js` does the arithmetic of `analyses/time/pace.py`.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from math import isinf
from typing import get_args

from ...analyses.growing import joined
from ...analyses.time.clock import Clock
from ...analyses.time.pace import TINY_S
from ...analyses.time.roofline import HOST
from ...analyses.time.rows import HALF_BLOCK_BYTES, KEPT, LOST
from ...analyses.time.step import LARGER, SMALLER, SOME, StepTime, Untimed, sort_of
from ...analyses.time.tiles import PAGE_BYTES, WALKED_ROWS, Tiling
from ...analyses.time.whatifs import NUMBERS, SIZES, Growth
from ...analyses.weighing import Json
from ...devices import Efficiency
from ...errors import UsageError
from ...ops.kernel import CONTRACTIONS, Kernel
from ...workload import Mode, Workload
from ..roofline import LOWEST_INTENSITY, SHOWN_SHARE
from ..time import BEYOND, LIMITS, SHORT_LIMITS
from .packing import climbs, growing


class Sorts:
    """The sorts of kernels that positions use, and the tilings that devices make their products in, each once."""

    def __init__(self) -> None:
        self._sorts: dict[tuple[str, str, str, bool, bool], tuple[int, Kernel]] = {}
        self._tilings: dict[Tiling, int] = {}

    def herds(self, growth: Growth) -> dict[str, Json]:
        """The kernels of a step, herd by herd: numbers, sizes of products and operands one after the other."""
        tf32 = growth.workload.precision == "tf32"
        numbers = joined(
            [piece for herd in growth.herds for piece in (herd.numbers, herd.operands)]
        )
        return {
            "smallest": growth.smallest,
            "largest": growth.largest,
            "sizes": growth.sizes and [*growth.sizes],
            "sort": [self._place(herd.kernel, tf32) for herd in growth.herds],
            "product": [int(herd.kernel.gemm is not None) for herd in growth.herds],
            "operands": [len(herd.operands.zero) for herd in growth.herds],
            "numbers": growing(numbers),
            "herd": [herd for herd, _ in growth.launched],
            "ops": climbs(
                places[0] if len(places) == 1 else places for _, places in growth.launched
            ),
            "dispatches": growth.dispatches,
            "uncounted": growth.uncounted,
        }

    def _place(self, kernel: Kernel, tf32: bool) -> int:
        key = (kernel.kind, kernel.part, kernel.dtype, kernel.channels_last, tf32)
        return self._sorts.setdefault(key, (len(self._sorts), kernel))[0]

    def clock(self, clock: Clock, workload: Workload) -> dict[str, Json]:
        """What a device reaches in steps such as the workload's, sort by sort; why not, where it has no rate for one."""
        clock = clock.running(workload)
        known, device = clock.efficiencies, clock.device
        return {
            "rates_of": {"key": device.key, "name": device.name},
            "bandwidth": device.bandwidth_bytes_per_s,
            "peaks": [[dtype, rate] for dtype, rate in device.peaks().items()],
            "on_host": clock.on_host,
            "dispatch_s": known.dispatch_s,
            "slow_host_s": {mode: clock.slow_host_s(mode) for mode in get_args(Mode)},
            "overlap": None if isinf(known.overlap) else known.overlap,
            "caches": asdict(clock.caches),
            "basis": known.basis,
            "told": bool(known.classes),
            "intervals": {
                mode: _intervals(clock, sort_of(workload, mode)) for mode in get_args(Mode)
            },
            "paces": [
                self._pace(replace(clock, tf32=tf32), kernel)
                for (*_, tf32), (_, kernel) in self._sorts.items()
            ],
        }

    def _pace(self, clock: Clock, kernel: Kernel) -> Json:
        try:
            pace = clock.pace(kernel)
        except UsageError as error:
            return "; ".join((error.message, *error.hints))
        products, rows = pace.products, pace.rows
        share = clock.efficiencies.of(kernel.kind, kernel.part, channels_last=kernel.channels_last)
        return {
            "peak": pace.peak_flop_per_s,
            "rate": pace.flop_per_s,
            "bytes": pace.bytes_per_s,
            "launch": pace.launch_s,
            "wait": pace.wait_s,
            "half": pace.half_rows,
            "products": None
            if products is None
            else {
                "share": products.share,
                "tiling": self._tilings.setdefault(products.tiling, len(self._tilings)),
                "multiprocessors": products.multiprocessors,
                "reach": None if products.reach is None else asdict(products.reach),
                "itemsize": products.itemsize,
            },
            "rows": None if rows is None else asdict(rows),
            "computes": clock.computed_in(kernel) if kernel.kind in CONTRACTIONS else None,
            "sizes": _sizes(clock, share, kernel),
            "borrowed": share.borrowed,
        }

    def record(self) -> dict[str, Json]:
        """What all devices and positions share; asked for when all of them are there."""
        return {
            "numbers": [*NUMBERS],
            "sizes": [*SIZES],
            "kinds": [kind for kind, *_ in self._sorts],
            "tilings": [_tiling(tiling) for tiling in self._tilings],
            "rows": {"half_block_bytes": HALF_BLOCK_BYTES, "kept": KEPT, "lost": LOST},
            "pages": {"page_bytes": PAGE_BYTES, "walked_rows": WALKED_ROWS},
            "tiny_s": TINY_S,
            "some": SOME,
            "smaller": SMALLER,
            "larger": LARGER,
            "beyond": dict(BEYOND.items()),
            "roofline": {"host": HOST, "lowest": LOWEST_INTENSITY, "least": SHOWN_SHARE},
            "limits": dict(LIMITS.items()),
            "short_limits": dict(SHORT_LIMITS.items()),
        }


def told(time: StepTime | Untimed) -> Json:
    """The time of a step as `js/clock.js` has it, without its kernels; why nobody knows it."""
    if isinstance(time, Untimed):
        return "; ".join((time.why, *time.hints))
    found = time.seconds
    return {
        "clock": {
            "rates_of": {"key": time.device.key, "name": time.device.name},
            "basis": found.basis,
            "told": bool(time.clock.efficiencies.classes),
        },
        "seconds": found.value,
        "low": found.low,
        "high": found.high,
        "device_s": time.device_s,
        "dispatch_s": time.dispatch_s,
        "waits": time.waits_for_host,
        "byBound": [[limit, seconds] for limit, seconds in time.by_bound.items()],
        "byClass": [[kind, seconds] for kind, seconds in time.by_class.items()],
        "shares": [[place, limit, seconds] for place, limit, seconds in time.shares],
        "extrapolating": [*time.extrapolating],
        "uncounted": time.uncounted,
    }


def _sizes(clock: Clock, share: Efficiency, kernel: Kernel) -> Json:
    """From and to what size such kernels were measured, with no end where that is not known; None if they were not."""
    if not clock.efficiencies.fitted(kernel.kind) or not share.most:
        return None
    return [share.least, None if isinf(share.most) else share.most]


def _intervals(clock: Clock, sort: str) -> Json:
    """Between how many times its prediction a step of that sort lies: not extrapolating and extrapolating, each with
    none of its time borrowed, and with all."""
    known = clock.efficiencies
    return [
        [
            [*known.interval(sort, borrowed=borrowed, extrapolating=extrapolating)]
            for borrowed in (0.0, 1.0)
        ]
        for extrapolating in (False, True)
    ]


def _tiling(tiling: Tiling) -> Json:
    loads = [tiling.loads(tile) for tile in tiling.tiles]
    tiles = zip(tiling.tiles, loads, strict=True)
    return {
        **asdict(tiling),
        "tiles": [
            {"columns": tile.columns, "rows": tile.rows, "loads": load} for tile, load in tiles
        ],
    }
