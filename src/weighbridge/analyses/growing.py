"""Growing: whole numbers as polynomials in the batch, solved exactly from a few batches and checked far away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .memory.scaling import UnscalableError

FAR = 256
"""The batch at which polynomials are checked; four times the one that was asked for where that is more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Growing:
    """Whole numbers as polynomials in the batch: their values at 0, and their first and second differences there.

    At a batch b they are `zero + b * first + b * (b - 1) / 2 * second`.
    """

    zero: tuple[int | float, ...]
    first: tuple[int, ...]
    second: tuple[int, ...]

    def at(self, batch: int) -> tuple[int | float, ...]:
        """The numbers at a batch; at an array of batches, arrays of those that grow."""
        pairs = batch * (batch - 1) // 2
        columns = zip(self.zero, self.first, self.second, strict=True)
        return tuple(v + batch * d + pairs * dd if d or dd else v for v, d, dd in columns)

    def cut(self, *lengths: int) -> tuple[Growing, ...]:
        """The first so many numbers, the next so many, ..."""
        found, start = [], 0
        for length in lengths:
            place = slice(start, start + length)
            found.append(
                Growing(zero=self.zero[place], first=self.first[place], second=self.second[place])
            )
            start += length
        return tuple(found)


def constant(row: Sequence[int | float]) -> Growing:
    """Numbers that are the same at every batch."""
    none = (0,) * len(row)
    return Growing(zero=tuple(row), first=none, second=none)


def solved(row: Callable[[int], Sequence[int | float]], start: int) -> Growing:
    """The polynomials of the numbers that `row` gives at a batch, from `start` on, checked far away.

    A batch of 1 is like no other, since its tensors lie in several orders at once: `start` is at least 2.

    Raises:
        UnscalableError: the numbers grow faster than with the square of the batch.
        WeighError: `row` has none at one of those batches.
    """
    far = max(FAR, 4 * start)
    one, two, distant = row(start), row(start + 1), tuple(row(far))
    found = _curved(one, two, None, start)
    if found.at(far) != distant:
        found = _curved(one, two, row(start + 2), start)
    if found.at(far) != distant:
        raise UnscalableError("it grows faster than with the square of the batch")
    return found


def _curved(
    one: Sequence[int | float],
    two: Sequence[int | float],
    three: Sequence[int | float] | None,
    start: int,
) -> Growing:
    """From f(s), f(s+1), f(s+2): f(0) = f(s) - s d + s (s+1)/2 dd, and the first difference there is d - s dd.

    Straight where the third is not known.
    """
    slope = tuple(int(b - a) for a, b in zip(one, two, strict=True))
    second = (0,) * len(slope)
    if three is not None:
        second = tuple(int(c - b) - d for b, c, d in zip(two, three, slope, strict=True))
    pairs = start * (start + 1) // 2
    columns = tuple(zip(one, slope, second, strict=True))
    return Growing(
        zero=tuple(v - start * d + pairs * dd for v, d, dd in columns),
        first=tuple(d - start * dd for _, d, dd in columns),
        second=second,
    )
