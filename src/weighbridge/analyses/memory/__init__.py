"""Memory: what is resident when, where the peak is, and what the allocator makes of it."""

from .allocator import Allocate, CachingAllocator, Free, OutOfMemoryError, Replay, replay
from .settings import AllocatorSettings
from .statistics import BlockInfo, DeviceStats, Moment, OutOfMemory, SegmentInfo, Stat

__all__ = [
    "Allocate",
    "AllocatorSettings",
    "BlockInfo",
    "CachingAllocator",
    "DeviceStats",
    "Free",
    "Moment",
    "OutOfMemory",
    "OutOfMemoryError",
    "Replay",
    "SegmentInfo",
    "Stat",
    "replay",
]
