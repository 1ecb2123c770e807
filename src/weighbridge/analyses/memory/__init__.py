"""Memory: what is resident when, where the peak is, and what the allocator makes of it.

The names below are the allocator's; each is fetched when it is first used, since most questions need no allocator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .allocator import Allocate as Allocate
    from .allocator import CachingAllocator as CachingAllocator
    from .allocator import Free as Free
    from .allocator import OutOfMemoryError as OutOfMemoryError
    from .allocator import Replay as Replay
    from .allocator import replay as replay
    from .settings import AllocatorSettings as AllocatorSettings
    from .statistics import BlockInfo as BlockInfo
    from .statistics import DeviceStats as DeviceStats
    from .statistics import Moment as Moment
    from .statistics import OutOfMemory as OutOfMemory
    from .statistics import SegmentInfo as SegmentInfo
    from .statistics import Stat as Stat

_HOME_OF = {
    **dict.fromkeys(
        ("Allocate", "CachingAllocator", "Free", "OutOfMemoryError", "Replay", "replay"),
        "allocator",
    ),
    "AllocatorSettings": "settings",
    **dict.fromkeys(
        ("BlockInfo", "DeviceStats", "Moment", "OutOfMemory", "SegmentInfo", "Stat"), "statistics"
    ),
}

__all__ = sorted(_HOME_OF)  # noqa: PLE0605 - texts, all of them


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
