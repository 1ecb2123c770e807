"""Resident: what a training loop takes of a device's memory, and whether it fits.

On a GPU the events of two rounds of the loop go through PyTorch's caching allocator; what stands outside
of them (the CUDA context, the workspaces of the libraries) is added from the device's card. A CPU has no
cache: what is allocated is what is live, beside the process itself.

Every figure is an interval. Its middle is the prediction, its ends are how far published measurements
were from such predictions (`docs/truth`), and how much the card's fixed terms vary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, chain
from typing import Literal

from ...devices import Device
from ...errors import UsageError
from .allocator import Allocate, Free, Replay, replay
from .settings import AllocatorSettings
from .statistics import OutOfMemory
from .timeline import START, Category, Lifetime, held_as

Answer = Literal["fits", "does not fit", "too close to call"]

ALLOCATORS = ("cuda", "rocm")
"""Backends whose memory PyTorch's caching allocator hands out; ROCm's is the same code."""

CONTEXT_BYTES = (287_047_680, 600_000_000, 1_066_632_192)
"""The context of a GPU of which no more than its memory is known: lazily loaded and empty, usual, eagerly loaded
with kernels (pytorch pull request 86509, as on the cards)."""

STAYS: frozenset[Category] = frozenset({"parameter", "buffer", "optimizer_state"})
"""What is allocated once, before or in the first round. Gradients that micro-steps add to stay too."""

BLAS_HANDLES = 2
"""cuBLAS handles that take a workspace: the main thread's and that of autograd's thread."""

KERNELS = (0.04, 0.09)
"""By how much the tensors of a step may be fewer or more than predicted: kernels choose their scratch.

It was chosen to hold 46 of 51 published figures of tensors on GPUs (docs/truth/memory-published.md), of which the lowest is
3.4 % below its prediction and the highest 8.6 % above. The five others are Faster R-CNN, for which no cuDNN workspace is
predicted: 13 to 19 % higher, and in torchvision's first version 107 %. What drivers report, contexts included, differs by up to 12 %.
"""

HELD = "46 of 51 published figures"
"""What of the published figures KERNELS holds, said with every prediction that rests on it."""

PROCESS_BYTES = (250 * 2**20, 450 * 2**20, 900 * 2**20)
"""A Python process that has loaded PyTorch, its libraries and a data loader: fewest, usual, most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Bytes: the prediction, and between what it lies."""

    low: int
    expected: int
    high: int

    def __add__(self, other: Interval) -> Interval:
        return Interval(
            low=self.low + other.low,
            expected=self.expected + other.expected,
            high=self.high + other.high,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """What a loop takes of a device.

    `allocated` are the tensors at the peak (PyTorch's max_memory_allocated), `reserved` what the allocator
    holds for them (max_memory_reserved), `outside` what is taken beside it, `total` both: what nvidia-smi
    shows, or the resident size of a process on the CPU. `out_of_memory` says what failed, if it does.
    `capacity_bytes` and `answer` are None where nobody says how much memory the device has.
    `retries` says how often in two steps it has to give cached memory back before there is room (num_alloc_retries):
    each time it waits for the GPU. `basis` says in one sentence what the interval rests on.
    """

    device: Device
    capacity_bytes: int | None
    allocated: Interval
    reserved: Interval
    outside: Interval
    total: Interval
    answer: Answer | None
    out_of_memory: OutOfMemory | None
    retries: int
    basis: str

    @property
    def cached(self) -> bool:
        """Whether an allocator holds more than tensors need: PyTorch's, on a GPU."""
        return caches(self.device)

    @property
    def unused_share(self) -> float:
        """The part of what the allocator holds at most that no tensor ever needed at once: fragmentation, 0 to 1."""
        if not self.reserved.expected:
            return 0.0
        return 1 - self.allocated.expected / self.reserved.expected

    @property
    def leaves_none(self) -> bool:
        """Whether what is taken beside tensors is more than the device has."""
        return self.capacity_bytes is not None and self.outside.expected > self.capacity_bytes

    def __bool__(self) -> bool:
        """Whether it surely fits: `if report.fits("a100-80gb"): ...`."""
        return self.answer == "fits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """Two rounds of a loop as an allocator meets them: which storage comes and goes when, and how large each is.

    `order` holds an allocation as the number of a storage and its place in `sizes`, a free with the place
    FREE. The order is the same at every batch, so that a search for the largest one works it out once.
    """

    order: tuple[tuple[int, int], ...]
    sizes: tuple[int, ...]
    live_bytes: int
    trains: bool

    @classmethod
    def of(cls, lives: Sequence[Lifetime]) -> Loop:
        """The loop of these lifetimes."""
        return cls(
            order=tuple(order(lives)),
            sizes=tuple(life.bytes for life in lives),
            live_bytes=live_bytes(lives),
            trains=any(life.category == "gradient" for life in lives),
        )

    def events(self, share: float = 0.0) -> list[Allocate | Free]:
        """The allocations and frees, with every tensor larger by a share, or smaller."""
        sizes = [int(size * (1 + share)) for size in self.sizes] if share else self.sizes
        return [
            Free(number) if place == FREE else Allocate(number, sizes[place])
            for number, place in self.order
        ]


FREE = -1


def events(lives: Sequence[Lifetime], *, rounds: int = 2) -> Iterator[Allocate | Free]:
    """The allocations and frees of the first rounds of a loop, in order."""
    for number, place in order(lives, rounds=rounds):
        yield Free(number) if place == FREE else Allocate(number, lives[place].bytes)


def order(lives: Sequence[Lifetime], *, rounds: int = 2) -> Iterator[tuple[int, int]]:
    """What the first rounds of a loop allocate, by its place among the lifetimes, and free.

    Between rounds the new batch is loaded, the old one is let go of, and gradients are freed
    (`zero_grad(set_to_none=True)`) before forward begins; an output is freed when the new one is there.
    """
    stay = {life.storage for life in lives if _stays(life)}
    offset = (
        1
        + max((life.storage for life in lives), default=0)
        - min((life.storage for life in lives), default=0)
    )

    def number(storage: int, round: int) -> int:
        return storage if storage in stay else storage + round * offset

    alive: set[int] = set()
    for round in range(rounds):
        births: dict[int, list[int]] = {}
        deaths: dict[int, list[int]] = {}
        for place, life in enumerate(lives):
            if life.category == "held":
                if round and life.death is not None:
                    earlier = number(held_as(life.storage), round - 1)
                    deaths.setdefault(life.death, []).append(earlier)
                continue
            birth = life.first if round == 0 else life.birth
            if birth is None or number(life.storage, round) in alive:
                continue
            births.setdefault(birth, []).append(place)
            if life.death is not None:
                deaths.setdefault(life.death, []).append(number(life.storage, round))
        held = {storage for storages in deaths.values() for storage in storages}
        before = [id for id in alive if id not in stay]
        for place in births.pop(START, ()):
            alive.add(number(lives[place].storage, round))
            yield number(lives[place].storage, round), place
        for id in before:
            if id not in held:
                alive.remove(id)
                yield id, FREE
        for index in sorted({*births, *deaths}):
            for place in births.get(index, ()):
                alive.add(number(lives[place].storage, round))
                yield number(lives[place].storage, round), place
            for id in deaths.get(index, ()):
                if id in alive:
                    alive.remove(id)
                    yield id, FREE


def _stays(life: Lifetime) -> bool:
    return life.category in STAYS or (life.category == "gradient" and life.birth == START)


def resident(
    loop: Loop | Sequence[Lifetime], device: Device, *, settings: AllocatorSettings | None = None
) -> Resident:
    """What a loop takes of the device."""
    known = loop if isinstance(loop, Loop) else Loop.of(loop)
    return _on_cuda(known, device, settings) if caches(device) else _elsewhere(known, device)


def fits(
    loop: Loop | Sequence[Lifetime], device: Device, *, settings: AllocatorSettings | None = None
) -> bool:
    """Whether :func:`resident` answers 'fits', with no more work than that takes.

    The allocator holds at least what is live, so that a step whose tensors alone are too many needs no replay.

    Raises:
        UsageError: nobody says how much memory the device has.
    """
    known = loop if isinstance(loop, Loop) else Loop.of(loop)
    capacity = capacity_of(device)
    if not caches(device):
        return resident(known, device).answer == "fits"
    outside = outside_of(device)
    if int(known.live_bytes * (1 + KERNELS[1])) + outside.high > capacity:
        return False
    return _ran_out(known, device, settings, capacity - outside.high, KERNELS[1]) is None


def live_bytes(lives: Iterable[Lifetime]) -> int:
    """Bytes at the peak of a later round, exactly."""
    change: dict[int, int] = {}
    for life in lives:
        birth = max(life.birth, 0)
        change[birth] = change.get(birth, 0) + life.bytes
        if life.death is not None:
            change[life.death + 1] = change.get(life.death + 1, 0) - life.bytes
    return max(accumulate(change[index] for index in sorted(change)), default=0)


def capacity_of(device: Device) -> int:
    """The bytes that a process can count on.

    Raises:
        UsageError: nobody says how much memory the device has.
    """
    if device.capacity_bytes is None:
        raise UsageError(
            f"how much memory {device.name} has is its buyer's choice",
            f"say it, as in --on {device.key}:32GiB",
        )
    return device.capacity_bytes


def caches(device: Device) -> bool:
    """Whether PyTorch's caching allocator hands out the device's memory; of an unknown GPU it is taken to."""
    return device.kind in ("gpu", "jetson") and device.backend in (*ALLOCATORS, None)


def _played(
    loop: Loop,
    device: Device,
    settings: AllocatorSettings | None,
    room_bytes: int | None,
    share: float,
) -> Replay:
    """The replay in so much room, the workspaces of cuBLAS first; inference has no thread of autograd."""
    workspace = device.cublas_workspace_bytes or 0
    handles = (Allocate(_workspace(index), workspace) for index in range(BLAS_HANDLES))
    first = [*handles] if loop.trains else [next(handles)]
    capacity = device.capacity_bytes
    outside = 0 if room_bytes is None or capacity is None else capacity - room_bytes
    return replay(
        chain(first, loop.events(share)),
        capacity_bytes=None if room_bytes is None else capacity,
        outside_bytes=outside,
        settings=settings,
    )


def _ran_out(
    loop: Loop,
    device: Device,
    settings: AllocatorSettings | None,
    room_bytes: int,
    share: float,
) -> OutOfMemory | None:
    """What failed with so much room; a context that is larger than the device leaves none."""
    return _within(loop, device, settings, room_bytes, share).out_of_memory


def _within(
    loop: Loop,
    device: Device,
    settings: AllocatorSettings | None,
    room_bytes: int,
    share: float,
) -> Replay:
    """The replay in so much room, which is the one without a limit where that never asks for more.

    Settings may look at the limit before it is reached (garbage collection does), and are replayed.
    """
    if settings is None:
        unlimited = _unlimited(loop, device.cublas_workspace_bytes or 0, share)
        if unlimited.stats.max_memory_reserved <= room_bytes:
            return unlimited
    return _played(loop, device, settings, room_bytes, share)


@lru_cache(maxsize=16)
def _unlimited(loop: Loop, workspace_bytes: int, share: float) -> Replay:
    """The replay of a device without end: the same of all devices, their workspaces apart."""
    endless = Device(name="", cublas_workspace_bytes=workspace_bytes)
    return _played(loop, endless, None, None, share)


def _on_cuda(loop: Loop, device: Device, settings: AllocatorSettings | None) -> Resident:
    outside, capacity = outside_of(device), device.capacity_bytes
    fewer, more = KERNELS
    answer: Answer | None = None
    failure: OutOfMemory | None = None
    played = None
    if capacity is not None:
        answer = "fits"  # what has room with more on top of it has room without
        if loop.live_bytes * (1 - fewer) > capacity - outside.low:  # whatever the allocator does
            answer = "does not fit"
        elif _ran_out(loop, device, settings, capacity - outside.high, more) is not None:
            best = _ran_out(loop, device, settings, capacity - outside.low, -fewer)
            answer = "too close to call" if best is None else "does not fit"
        played = _within(loop, device, settings, capacity - outside.expected, 0.0)
        failure = played.out_of_memory
    if played is None or failure is not None:
        played = (
            _unlimited(loop, device.cublas_workspace_bytes or 0, 0.0)
            if settings is None
            else _played(loop, device, settings, None, 0.0)
        )
    held = _around(played.stats.max_memory_reserved)
    total = held + outside
    if (
        capacity is not None and answer == "fits"
    ):  # cached memory is given back before more is taken
        total = Interval(
            low=min(total.low, capacity),
            expected=min(total.expected, capacity),
            high=min(total.high, capacity),
        )
    return Resident(
        device=device,
        capacity_bytes=capacity,
        allocated=_around(played.stats.max_memory_allocated),
        reserved=held,
        outside=outside,
        total=total,
        answer=answer,
        out_of_memory=None if capacity is not None and outside.expected > capacity else failure,
        retries=played.stats.num_alloc_retries,
        basis=basis_of(device),
    )


@lru_cache(maxsize=16)
def _most(loop: Loop) -> int:
    """Bytes at the peak of the two rounds: the same of all devices without a cache."""
    live = most = 0
    sizes: dict[int, int] = {}
    for event in loop.events():
        if isinstance(event, Allocate):
            sizes[event.id] = event.bytes
            live += event.bytes
            most = max(most, live)
        else:
            live -= sizes.pop(event.id)
    return most


def _elsewhere(loop: Loop, device: Device) -> Resident:
    """A device without a cache, whose memory the process itself shares."""
    most = _most(loop)
    outside, capacity = outside_of(device), device.capacity_bytes
    total = _around(most) + outside
    answer: Answer | None = None
    if capacity is not None:
        answer = "too close to call"
        if total.high <= capacity:
            answer = "fits"
        elif total.low > capacity:
            answer = "does not fit"
    return Resident(
        device=device,
        capacity_bytes=capacity,
        allocated=_around(most),
        reserved=_around(most),
        outside=outside,
        total=total,
        answer=answer,
        out_of_memory=None,
        retries=0,
        basis=basis_of(device),
    )


def basis_of(device: Device) -> str:
    """What an interval on the device rests on, in one sentence."""
    fewer, more = KERNELS
    if not caches(device):
        return f"tensors -{fewer:.0%} to +{more:.0%}; beside them a process with PyTorch"
    return (
        f"tensors -{fewer:.0%} to +{more:.0%}, which holds {HELD}, replayed through PyTorch's "
        "allocator; the context's range"
    )


def outside_of(device: Device) -> Interval:
    """What is taken beside tensors: a context on a GPU, the process itself elsewhere."""
    if device.context_bytes is not None:
        found = device.context_bytes
        return Interval(low=int(found.low), expected=int(found.typical), high=int(found.high))
    low, usual, high = CONTEXT_BYTES if caches(device) else PROCESS_BYTES
    return Interval(low=low, expected=usual, high=high)


def _around(size: int) -> Interval:
    fewer, more = KERNELS
    return Interval(low=int(size * (1 - fewer)), expected=size, high=int(size * (1 + more)))


def _workspace(index: int) -> int:
    """A number that no storage of a program has."""
    return -(10**12) - index
