"""Scaling: the bytes of every storage as a polynomial in one size, solved exactly from a few programs.

A network runs the same operators whatever the batch; only sizes grow, most of them linearly, some (the
scores of all samples against all, of all tokens against all) with the square. Programs at evenly spaced
sizes give the polynomials by finite differences, in whole numbers: two solve a straight line and the
third checks it, three solve a parabola and a fourth checks that. Where operators change with the size, or
the check fails, there is no polynomial and the caller traces each size that it asks about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ...errors import WeighError
from ...program import Program
from .resident import Loop
from .timeline import Lifetime, lifetimes


class UnscalableError(WeighError):
    """What the network runs changes with the size in a way that no polynomial of second degree has."""


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """The storages of a loop's body at any of the sizes `start`, `start + stride`, ...

    `differences` holds each storage's bytes at `start` and their first and second difference from one
    size to the next.
    """

    start: int
    stride: int
    lifetimes: tuple[Lifetime, ...]
    differences: tuple[tuple[int, int, int], ...]

    def at(self, size: int) -> tuple[Lifetime, ...]:
        """The storages at a size; their shapes are still those at `start`.

        Raises:
            WeighError: the size is none of those that the polynomials are for.
        """
        return tuple(
            replace(life, bytes=held)
            for life, held in zip(self.lifetimes, self._bytes(size), strict=True)
        )

    def loop(self, size: int) -> Loop:
        """Two rounds of the loop at a size. Raises as :meth:`at` does."""
        first = self._first
        return Loop(
            order=first.order,
            sizes=tuple(self._bytes(size)),
            live_bytes=self.peak(size),
            trains=first.trains,
        )

    @cached_property
    def _first(self) -> Loop:
        return Loop.of(self.lifetimes)

    def peak(self, size: int) -> int:
        """Bytes at the peak of a later round at a size. Raises as :meth:`at` does."""
        steps, pairs = self._steps(size)
        return max((v + steps * d + pairs * dd for v, d, dd in self._live), default=0)

    @cached_property
    def _live(self) -> tuple[tuple[int, int, int], ...]:
        """What is live at each moment at which that changes: a polynomial too, the sum of the storages'."""
        change: dict[int, list[int]] = {}
        for life, terms in zip(self.lifetimes, self.differences, strict=True):
            birth = change.setdefault(max(life.birth, 0), [0, 0, 0])
            for place, term in enumerate(terms):
                birth[place] += term
            if life.death is not None:
                death = change.setdefault(life.death + 1, [0, 0, 0])
                for place, term in enumerate(terms):
                    death[place] -= term
        total = [0, 0, 0]
        found: dict[tuple[int, int, int], None] = {}
        for index in sorted(change):
            total = [held + term for held, term in zip(total, change[index], strict=True)]
            found[(total[0], total[1], total[2])] = None
        return tuple(found)

    def _steps(self, size: int) -> tuple[int, int]:
        """How many strides lie between the start and a size, and how many pairs of them."""
        steps, rest = divmod(size - self.start, self.stride)
        if rest:
            raise WeighError(f"{size} is not {self.start} and a multiple of {self.stride} more")
        return steps, steps * (steps - 1) // 2

    def _bytes(self, size: int) -> Iterator[int]:
        steps, pairs = self._steps(size)
        for value, first, second in self.differences:
            yield value + steps * first + pairs * second


def scaling(build: Callable[[int], Program], *, start: int, stride: int = 1) -> Scaling:
    """The polynomials of a network that `build` makes at a size.

    Raises:
        UnscalableError: operators or lifetimes change with the size, or the check fails.
    """
    programs = [build(start + stride * step) for step in range(3)]
    known = [lifetimes(program) for program in programs]
    solved = _solved(programs, known)
    if any(second for _, _, second in solved):
        programs.append(build(start + 3 * stride))
        known.append(lifetimes(programs[3]))
        beyond = _solved(programs[1:], known[1:])
        for life, three, four in zip(known[0], solved, beyond, strict=True):
            if three[2] != four[2]:
                raise UnscalableError(
                    f"what {life.maker} makes grows faster than with the square of the size"
                )
    return Scaling(
        start=start,
        stride=stride,
        lifetimes=known[0],
        differences=tuple(solved),
    )


def _solved(
    programs: Sequence[Program], known: Sequence[Sequence[Lifetime]]
) -> list[tuple[int, int, int]]:
    """From three programs and their lifetimes each storage's bytes, and their first and second difference."""
    for program in programs[1:]:
        check_operators(programs[0], program)
    differences = []
    for row in zip(*known, strict=True):
        if (
            len({(life.storage, life.birth, life.first, life.death, life.category) for life in row})
            > 1
        ):
            raise UnscalableError(
                f"what {row[0].maker} makes lives longer at one size than another"
            )
        v0, v1, v2 = (life.bytes for life in row)
        differences.append((v0, v1 - v0, v2 - 2 * v1 + v0))
    return differences


def check_operators(one: Program, other: Program) -> None:
    """Refuses programs that do not run the same operators.

    Raises:
        UnscalableError: they do not.
    """
    if len(one.ops) != len(other.ops):
        raise UnscalableError(
            f"it runs {len(one.ops)} operators at one size and {len(other.ops)} at another"
        )
    for a, b in zip(one.ops, other.ops, strict=True):
        if (a.name, a.scope, a.phase) != (b.name, b.scope, b.phase):
            raise UnscalableError(
                f"where it runs {a.name} in {a.scope or 'the network'} at one size, it runs {b.name} "
                f"in {b.scope or 'the network'} at another"
            )
    if len(one.storages) != len(other.storages):
        raise UnscalableError("its results share memory at one size and not at another")


def largest(fits: Callable[[int], bool], *, start: int = 1, limit: int = 2**30) -> int:
    """The largest size that fits, by doubling and halving; `start - 1` where not even that fits.

    `fits` must not become true again once it is false.
    """
    if not fits(start):
        return start - 1
    low = high = start
    while high < limit:
        high = min(2 * high, limit)
        if not fits(high):
            break
        low = high
    else:
        return limit
    return halved(fits, low, high)


def halved(fits: Callable[[int], bool], low: int, high: int) -> int:
    """The largest size that fits, between one that does and one that does not."""
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return low
