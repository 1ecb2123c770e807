"""The roofline of a step: what each piece of it computes and moves, what a device could reach at that, and what it does.

At an arithmetic intensity of `i` FLOPs a byte no device computes faster than the lower of its roofs: its peak
rate, and `i` times its bandwidth. They meet at the ridge point. To its left more arithmetic would cost
nothing, to its right fewer bytes would gain nothing (Williams, Waterman and Patterson 2009, 'Roofline: an
insightful visual performance model').
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from ...devices import Device
from ...ops.kernel import CONTRACTIONS
from ..layers import folded
from .step import Limit, StepTime, Timed

By = Literal["class", "layer", "operator"]
BY: tuple[By, ...] = get_args(By)

HOST = "the host"
"""The piece that is no kernel's: handing operators out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roof:
    """A peak rate of a device, and the intensity at which it meets the bandwidth.

    `used` says whether kernels of this step run under it.
    """

    dtype: str
    flop_per_s: float
    ridge_flop_per_byte: float
    used: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A piece of a step: the kernels of a class, of a layer, of a kind of operator, or what the host adds.

    `ideal_s` is its time at the device's peaks, `seconds` the predicted one, `share` that of the step.
    """

    name: str
    kernels: int
    flops: int
    traffic_bytes: int
    ideal_s: float
    seconds: float
    share: float
    bound: Limit

    @property
    def flop_per_byte(self) -> float | None:
        """Arithmetic intensity; None for what moves nothing."""
        return self.flops / self.traffic_bytes if self.traffic_bytes else None

    @property
    def attainable_flop_per_s(self) -> float | None:
        """The rate under the lower of the roofs; None for what computes nothing."""
        return self.flops / self.ideal_s if self.flops else None

    @property
    def flop_per_s(self) -> float | None:
        """The rate that is reached."""
        return self.flops / self.seconds if self.flops else None

    @property
    def bytes_per_s(self) -> float | None:
        """The traffic that is reached."""
        return self.traffic_bytes / self.seconds if self.traffic_bytes else None

    @property
    def reached(self) -> float | None:
        """What of the attainable is reached, 0 to 1; None for the host, and for what takes no time."""
        return self.ideal_s / self.seconds if self.kernels and self.seconds else None


@dataclass(frozen=True, kw_only=True)
class Roofline:
    """The pieces of a step, slowest first, and what they come to: `whole`, whose seconds are the step's."""

    time: StepTime
    by: By
    bandwidth_bytes_per_s: float
    roofs: tuple[Roof, ...]
    pieces: tuple[Piece, ...]
    whole: Piece

    @property
    def device(self) -> Device:
        return self.time.device


def roofline(time: StepTime, by: By = "class", *, depth: int | None = None) -> Roofline:
    """The roofline of a step by class of kernels, by layer down to a depth, or by kind of operator."""
    bandwidth = time.device.bandwidth_bytes_per_s
    assert bandwidth is not None  # a step has no time without
    sums: dict[str, _Sum] = {}
    for timed in time.kernels:
        for name, place in _names(timed, by, depth):
            sums.setdefault(name, _Sum()).add(time, timed, place, bandwidth)
    pieces = [found.piece(name, time.seconds.value) for name, found in sums.items()]
    if time.host_s:
        pieces.append(_host(time))
    return Roofline(
        time=time,
        by=by,
        bandwidth_bytes_per_s=bandwidth,
        roofs=tuple(_roofs(time, bandwidth)),
        pieces=tuple(sorted(pieces, key=lambda piece: -piece.seconds)),
        whole=Piece(
            name="total",
            kernels=sum(piece.kernels for piece in pieces),
            flops=sum(piece.flops for piece in pieces),
            traffic_bytes=sum(piece.traffic_bytes for piece in pieces),
            ideal_s=sum(piece.ideal_s for piece in pieces),
            seconds=time.seconds.value,
            share=1.0,
            bound=next(iter(time.by_bound)),
        ),
    )


def _host(time: StepTime) -> Piece:
    return Piece(
        name=HOST,
        kernels=0,
        flops=0,
        traffic_bytes=0,
        ideal_s=0.0,
        seconds=time.host_s,
        share=time.host_s / time.seconds.value,
        bound="host",
    )


def _names(timed: Timed, by: By, depth: int | None) -> Iterator[tuple[str, int]]:
    """The pieces that a kernel belongs to, one of each operator that it runs, and which of them it is."""
    if by == "class":
        yield timed.time.kernel.kind, -1
        return
    for place, op in enumerate(timed.launch.ops):
        yield op.kind if by == "operator" else folded(op.scope, depth), place


class _Sum:
    """What a piece comes to while its kernels are added up."""

    def __init__(self) -> None:
        self.kernels = self.flops = self.traffic_bytes = 0
        self.ideal_s = self.seconds = 0.0
        self.bounds: dict[Limit, float] = {}

    def add(self, time: StepTime, timed: Timed, place: int, bandwidth: float) -> None:
        """Adds a kernel, or of one that runs several operators the equal part of the one at `place`."""
        kernel, ops = timed.time.kernel, 1 if place < 0 else len(timed.launch.ops)
        first, last = (0, 1) if place < 0 else (place, place + 1)
        seconds = timed.time.seconds / ops
        self.kernels += 1
        self.flops += kernel.flops * last // ops - kernel.flops * first // ops
        self.traffic_bytes += (
            kernel.traffic_bytes * last // ops - kernel.traffic_bytes * first // ops
        )
        self.ideal_s += (
            max(kernel.flops / time.clock.flop_per_s(kernel), kernel.traffic_bytes / bandwidth)
            / ops
        )
        self.seconds += seconds
        self.bounds[timed.time.bound] = self.bounds.get(timed.time.bound, 0.0) + seconds

    def piece(self, name: str, whole: float) -> Piece:
        """The sum; bound by what most of its time goes to."""
        return Piece(
            name=name,
            kernels=self.kernels,
            flops=self.flops,
            traffic_bytes=self.traffic_bytes,
            ideal_s=self.ideal_s,
            seconds=self.seconds,
            share=self.seconds / whole,
            bound=max(self.bounds, key=lambda bound: self.bounds[bound]),
        )


def _roofs(time: StepTime, bandwidth: float) -> Iterator[Roof]:
    """The device's peaks, highest first."""
    device = time.device
    used = {
        time.clock.computed_in(timed.time.kernel)
        for timed in time.kernels
        if timed.time.kernel.kind in CONTRACTIONS
    } or {"float32"}
    for dtype, rate in device.peaks().items():
        yield Roof(
            dtype=dtype,
            flop_per_s=rate,
            ridge_flop_per_byte=rate / bandwidth,
            used=dtype in used,
        )
