"""What `PYTORCH_CUDA_ALLOC_CONF` sets, and the sizes that follow from it.

Rules and default values are those of torch 2.14: `c10/core/AllocatorConfig.{h,cpp}` and
`c10/cuda/CUDAAllocatorConfig.h`. Sizes are bytes; what PyTorch calls MB is 2**20 bytes here as there.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from ...errors import UsageError, nearest

MIB = 1 << 20
MIN_BLOCK_BYTES = 512
"""kMinBlockSize: every block is a multiple of it."""
SMALL_BYTES = 1 * MIB
"""kSmallSize: the largest request that goes to the small pool."""
SMALL_SEGMENT_BYTES = 2 * MIB
"""kSmallBuffer: a segment of the small pool, and a page of an expandable one."""
LARGE_SEGMENT_BYTES = 20 * MIB
"""large_segment_size_, once kLargeBuffer: what requests below 10 MiB share, and a page of an expandable segment."""
MIN_LARGE_BYTES = 10 * MIB
"""kMinLargeAlloc: requests from here on get a segment of their own size."""
ROUND_LARGE_BYTES = 2 * MIB
"""kRoundLarge: what such a segment's size is a multiple of."""
UNLIMITED_BYTES = sys.maxsize
"""max_split_size where none is set: every block may be split."""

INTERVALS = 16
"""kRoundUpPowerOfTwoIntervals: request sizes from 1 MiB to 64 GiB, by powers of two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocatorSettings:
    """The settings of PyTorch's allocator that decide which memory is taken.

    `roundup_power2_divisions` has a value for each of the 16 intervals [1, 2) MiB, [2, 4) MiB, ... [32, 64) GiB;
    sizes below and above belong to the first and the last. Zero and one leave a request as it is.

    Source: AcceleratorAllocatorConfig and CUDAAllocatorConfig of torch 2.14.
    """

    max_split_bytes: int = UNLIMITED_BYTES
    max_non_split_rounding_bytes: int = LARGE_SEGMENT_BYTES
    large_segment_bytes: int = LARGE_SEGMENT_BYTES
    roundup_power2_divisions: tuple[int, ...] = (0,) * INTERVALS
    garbage_collection_threshold: float = 0.0
    expandable_segments: bool = False
    per_process_memory_fraction: float = 1.0

    @classmethod
    def parse(cls, text: str) -> AllocatorSettings:
        """The settings that a value of `PYTORCH_CUDA_ALLOC_CONF` means, such as `max_split_size_mb:128`.

        Options that concern host memory or locks are read and change nothing. A UsageError says what is wrong:
        PyTorch stops on the same texts, sometimes with an internal assertion.
        """
        settings = cls()
        # The size of large segments bounds two others, wherever it stands in the text.
        for key, value in sorted(_pairs(text), key=lambda pair: pair[0] != "large_segment_size_mb"):
            settings = _set(settings, key, value)
        return settings

    def round_size(self, requested_bytes: int) -> int:
        """Bytes of the block that a request needs, before it is known which block that is.

        Up to a multiple of 512; or, where `roundup_power2_divisions` says so, up to the next of the equal parts
        between two powers of two: 1200 with 4 divisions lies between 1024, 1280, 1536, ... and becomes 1280.
        Source: round_size and roundup_power2_next_division, CUDACachingAllocator.cpp.
        """
        if requested_bytes < MIN_BLOCK_BYTES:
            return MIN_BLOCK_BYTES
        divisions = self._divisions(requested_bytes)
        if divisions > 1 and requested_bytes > MIN_BLOCK_BYTES * divisions:
            return _round_up(requested_bytes, _power_of_two_below(requested_bytes) // divisions)
        return _round_up(requested_bytes, MIN_BLOCK_BYTES)

    def segment_size(self, size: int) -> int:
        """Bytes asked of the device where no cached block holds a block of `size` bytes.

        Source: get_allocation_size, CUDACachingAllocator.cpp.
        """
        if size <= SMALL_BYTES:
            return SMALL_SEGMENT_BYTES
        if size < MIN_LARGE_BYTES:
            return self.large_segment_bytes
        return _round_up(size, ROUND_LARGE_BYTES)

    def _divisions(self, requested_bytes: int) -> int:
        """Source: AcceleratorAllocatorConfig::roundup_power2_divisions."""
        interval = requested_bytes.bit_length() - SMALL_BYTES.bit_length()
        return self.roundup_power2_divisions[min(max(interval, 0), INTERVALS - 1)]


def _round_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _power_of_two_below(number: int) -> int:
    return 1 << (number.bit_length() - 1)


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """The options of `a:1,b:[2:3,>:4]` as (name, value)."""
    text = re.sub(r"\s", "", text)
    if not text:
        return
    for part in re.split(r",(?![^\[]*\])", text):  # a comma within brackets belongs to the value
        key, colon, value = part.partition(":")
        if not key or not colon or not value:
            raise UsageError(
                f"allocator settings {text!r}: {part!r} is no option",
                "write NAME:VALUE, separated by commas, as in"
                " expandable_segments:True,max_split_size_mb:128",
            )
        yield key, value


def _set(settings: AllocatorSettings, key: str, value: str) -> AllocatorSettings:
    if key in IGNORED:
        return settings
    if key in NOT_MODELLED:
        if value == NOT_MODELLED[key]:
            return settings
        raise UsageError(
            f"allocator setting {key}:{value} is not modelled; {key}:{NOT_MODELLED[key]} is"
        )
    if key not in OPTIONS:
        guesses = nearest(key, OPTIONS)
        hint = f"did you mean {guesses[0]!r}?" if guesses else f"there are: {', '.join(OPTIONS)}"
        raise UsageError(f"PyTorch's allocator has no setting {key!r}", hint)
    return OPTIONS[key](settings, value)


def _refuse(key: str, value: str, expected: str) -> UsageError:
    return UsageError(f"allocator setting {key}:{value}: expected {expected}")


def _whole(key: str, value: str, expected: str, *, at_least: int) -> int:
    if not value.isascii() or not value.isdigit() or int(value) < at_least:
        raise _refuse(key, value, expected)
    return int(value)


def _number(key: str, value: str, expected: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise _refuse(key, value, expected) from None


def _max_split_size(settings: AllocatorSettings, value: str) -> AllocatorSettings:
    """Source: parseMaxSplitSize."""
    mib = _at_least_a_segment("max_split_size_mb", value, settings)
    return replace(settings, max_split_bytes=min(mib * MIB, UNLIMITED_BYTES))


def _max_non_split_rounding(settings: AllocatorSettings, value: str) -> AllocatorSettings:
    """Source: parseMaxNonSplitRoundingSize."""
    mib = _at_least_a_segment("max_non_split_rounding_mb", value, settings)
    return replace(settings, max_non_split_rounding_bytes=mib * MIB)


def _large_segment_size(settings: AllocatorSettings, value: str) -> AllocatorSettings:
    """Unless it is set itself, max_non_split_rounding follows. Source: parseLargeSegmentSize, parseArgs."""
    mib = _whole("large_segment_size_mb", value, "whole MiB, more than 10", at_least=11)
    return replace(settings, large_segment_bytes=mib * MIB, max_non_split_rounding_bytes=mib * MIB)


def _at_least_a_segment(key: str, value: str, settings: AllocatorSettings) -> int:
    segment = settings.large_segment_bytes // MIB
    return _whole(key, value, f"whole MiB, {segment} or more", at_least=segment)


def _garbage_collection_threshold(settings: AllocatorSettings, value: str) -> AllocatorSettings:
    """Source: parseGarbageCollectionThreshold."""
    expected = "a number between 0 and 1, both excluded"
    threshold = _number("garbage_collection_threshold", value, expected)
    if not 0 < threshold < 1:
        raise _refuse("garbage_collection_threshold", value, expected)
    return replace(settings, garbage_collection_threshold=threshold)


def _memory_fraction(settings: AllocatorSettings, value: str) -> AllocatorSettings:
    """Source: parsePerProcessMemoryFraction."""
    expected = "a number from 0 to 1"
    fraction = _number("per_process_memory_fraction", value, expected)
    if not 0 <= fraction <= 1:
        raise _refuse("per_process_memory_fraction", value, expected)
    return replace(settings, per_process_memory_fraction=fraction)


def _expandable_segments(settings: AllocatorSettings, value: str) -> AllocatorSettings:
    """Source: parseExpandableSegments."""
    if value not in ("True", "False"):
        raise _refuse("expandable_segments", value, "True or False, with a capital letter")
    return replace(settings, expandable_segments=value == "True")


def _roundup_power2_divisions(settings: AllocatorSettings, value: str) -> AllocatorSettings:
    """One number for all sizes, or `[256:1,512:2,>:4]`: the MiB from which on, and the divisions.

    A number's own interval gets its divisions; those below the first number get the first's, and those above
    the last one get what `>` says, else none. An interval between two numbers that neither names gets none.
    Source: parseRoundUpPower2Divisions.
    """
    if not value.startswith("["):
        divisions = _power_of_two(value, value, zero=False)
        return replace(settings, roundup_power2_divisions=(divisions,) * INTERVALS)
    if not re.fullmatch(r"\[[^\[\]]*\]", value):
        raise _refuse("roundup_power2_divisions", value, "one closing bracket, at the end")
    table = list(settings.roundup_power2_divisions)
    last: int | None = None
    for pair in value[1:-1].split(","):
        boundary, colon, text = pair.partition(":")
        if not colon:
            raise _refuse("roundup_power2_divisions", value, "pairs MIB:DIVISIONS in the brackets")
        divisions = _power_of_two(text, value, zero=True)
        if boundary == ">":
            first_above = (last or 0) + 1
            table[first_above:] = [divisions] * (INTERVALS - first_above)
            continue
        interval = min(_power_of_two(boundary, value, zero=False).bit_length() - 1, INTERVALS - 1)
        if last is None:
            table[:interval] = [divisions] * interval
        table[interval] = divisions
        last = interval
    return replace(settings, roundup_power2_divisions=tuple(table))


def _power_of_two(text: str, value: str, *, zero: bool) -> int:
    expected = "powers of two, or 0 for no rounding" if zero else "powers of two"
    number = _whole("roundup_power2_divisions", text, expected, at_least=0 if zero else 1)
    if number & (number - 1):
        raise _refuse("roundup_power2_divisions", value, expected)
    return number


OPTIONS: Mapping[str, Callable[[AllocatorSettings, str], AllocatorSettings]] = {
    "expandable_segments": _expandable_segments,
    "max_split_size_mb": _max_split_size,
    "roundup_power2_divisions": _roundup_power2_divisions,
    "garbage_collection_threshold": _garbage_collection_threshold,
    "max_non_split_rounding_mb": _max_non_split_rounding,
    "large_segment_size_mb": _large_segment_size,
    "per_process_memory_fraction": _memory_fraction,
}

IGNORED = frozenset({
    "pinned_use_background_threads", "pinned_use_cuda_host_register", "pinned_use_hip_host_register",
    "pinned_num_register_threads", "pinned_reserve_segment_size_mb", "pinned_free_catch_all",
    "pinned_max_round_threshold_mb", "pinned_max_cached_size_mb",
    "release_lock_on_cudamalloc", "release_lock_on_hipmalloc", "graph_capture_record_stream_reuse",
})  # fmt: skip
"""Options of pinned host memory and of locks: they move nothing on the device."""

NOT_MODELLED: Mapping[str, str] = {"backend": "native", "throw_on_cudamalloc_oom": "False"}
"""Options that would change the answer, and the one value that this replay stands for."""
