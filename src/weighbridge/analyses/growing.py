"""Growing: whole numbers as polynomials in the batch and in a size of the input, solved exactly from a few of both.

They are held as differences: the term (i, j) of a number is what stands before (batch choose i)(steps choose j), where
`steps` are those of the input's size from the one that was asked for. Polynomials that give whole numbers have whole
differences, so that nothing is rounded. What is solved is checked far away, at a batch and a size that it was not solved from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from .memory.scaling import UnscalableError

FAR = 256
"""The batch at which polynomials are checked; four times the one that was asked for where that is more."""

Numbers = Sequence[int | float]
Degrees = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Growing:
    """Whole numbers at every batch and every size: `zero` at a batch of 0 and no steps, and the terms that grow.

    `zero` may have fractions among them, which do not grow.
    """

    zero: tuple[int | float, ...]
    terms: tuple[tuple[Degrees, tuple[int, ...]], ...]

    @classmethod
    def of(
        cls, zero: Iterable[int | float], columns: Mapping[Degrees, Iterable[int | float]]
    ) -> Growing:
        """From a column of each term; columns of nothing but 0 are left out."""
        whole = {degrees: tuple(map(int, column)) for degrees, column in columns.items()}
        return cls(
            zero=tuple(zero),
            terms=tuple(
                (degrees, whole[degrees]) for degrees in sorted(whole) if any(whole[degrees])
            ),
        )

    def at(self, batch: int, steps: int = 0) -> tuple[int | float, ...]:
        """The numbers at a batch and so many steps of the size; at an array of batches, arrays of those that grow."""
        found = list(self.zero)
        for (power, size_power), column in self.terms:
            times = choose(batch, power) * choose(steps, size_power)
            found = [
                value + times * each if each else value
                for value, each in zip(found, column, strict=True)
            ]
        return tuple(found)

    def cut(self, *lengths: int) -> tuple[Growing, ...]:
        """The first so many numbers, the next so many, ..."""
        found, start = [], 0
        for length in lengths:
            found.append(self.chosen(range(start, start + length)))
            start += length
        return tuple(found)

    def chosen(self, places: Sequence[int]) -> Growing:
        """The numbers at some places."""
        return Growing.of(
            (self.zero[place] for place in places),
            {degrees: [column[place] for place in places] for degrees, column in self.terms},
        )

    def each_once(self) -> tuple[Growing, tuple[int, ...]]:
        """The polynomials that differ, and which of them each number is."""
        places: dict[tuple[int | float, ...], int] = {}
        columns = [column for _, column in self.terms]
        of = tuple(
            places.setdefault(terms, len(places)) for terms in zip(self.zero, *columns, strict=True)
        )
        zero, *grown = zip(*places, strict=True) if places else ((), *columns)
        degrees = [degrees for degrees, _ in self.terms]
        return Growing.of(zero, dict(zip(degrees, grown, strict=True))), of


def choose(number: int, power: int) -> int:
    """The binomial coefficient, for negative numbers and for arrays too."""
    found: int = 1
    for place in range(power):
        found = found * (number - place) // (place + 1)
    return found


def constant(row: Numbers) -> Growing:
    """Numbers that are the same at every batch and size."""
    return Growing(zero=tuple(row), terms=())


def joined(pieces: Sequence[Growing]) -> Growing:
    """Numbers one after the other."""
    columns = [(dict(piece.terms), (0,) * len(piece.zero)) for piece in pieces]
    degrees = dict.fromkeys(each for piece in pieces for each, _ in piece.terms)
    return Growing.of(
        (value for piece in pieces for value in piece.zero),
        {
            each: [value for terms, none in columns for value in terms.get(each, none)]
            for each in degrees
        },
    )


def solved(row: Callable[[int], Numbers], start: int) -> Growing:
    """The polynomials of the numbers that `row` gives at a batch, from `start` on, checked far away.

    A batch of 1 is like no other, since its tensors lie in several orders at once: `start` is at least 2.

    Raises:
        UnscalableError: the numbers grow faster than with the square of the batch.
        WeighError: `row` has none at one of those batches.
    """
    far = _far(start)
    rows = [row(start), row(start + 1)]
    distant = tuple(row(far))
    found = _in_batch(_differences(rows), start)
    if found.at(far) != distant:
        found = _in_batch(_differences([*rows, row(start + 2)]), start)
    if found.at(far) != distant:
        raise UnscalableError("it grows faster than with the square of the batch")
    return found


def solved_over_sizes(
    row: Callable[[int, int], Numbers], start: int, far_steps: int, *, degree: int
) -> Growing:
    """The polynomials of the numbers that `row` gives at a batch and so many steps of the size, checked far away.

    First as numbers mostly are: what grows with the batch is a constant, and so much a sample, of second degree in the
    size; the rest grows with the size alone. Then as a sum of both, up to `degree`.

    Raises:
        UnscalableError: the numbers grow otherwise.
        WeighError: `row` has none at one of those batches and sizes.
    """
    known = cache(row)
    far = _far(start)
    alone = _differences([known(start, steps) for steps in range(3)])
    slope = _differences([known(start, 0), known(start + 1, 0)])[1]
    found = _each_sample(alone, slope, start)
    distant = tuple(known(far, far_steps))
    if found is not None and found.at(far, far_steps) == distant:
        return found
    one, two = (
        _differences([known(batch, steps) for steps in range(degree + 1)])
        for batch in (start, start + 1)
    )
    terms: dict[Degrees, Numbers] = {}
    for power, rows in enumerate(zip(one, two, strict=True)):
        here, terms[1, power] = _differences(rows)
        terms[0, power] = _back(here, terms[1, power], start)
    found = Growing.of(terms.pop((0, 0)), terms)
    if found.at(far, far_steps) != distant:
        raise UnscalableError("it grows with the size in a way that no polynomial has")
    return found


def _far(start: int) -> int:
    return max(FAR, 4 * start)


def _differences(rows: Sequence[Numbers]) -> list[Numbers]:
    """The first of evenly spaced rows, and its differences: from each to the next, of those differences, ..."""
    found, left = [rows[0]], [*rows]
    while len(left) > 1:
        left = [
            tuple(int(b - a) for a, b in zip(one, two, strict=True)) for one, two in pairwise(left)
        ]
        found.append(left[0])
    return found


def _in_batch(differences: Sequence[Numbers], start: int) -> Growing:
    """From the value and the differences at a batch those at 0: each is less by what the next adds on the way."""
    at_zero = tuple(
        tuple(
            sum(choose(-start, up) * column[place] for up, column in enumerate(differences[power:]))
            for place in range(len(differences[0]))
        )
        for power in range(len(differences))
    )
    return Growing.of(at_zero[0], {(power, 0): at_zero[power] for power in range(1, len(at_zero))})


def _each_sample(alone: Sequence[Numbers], slope: Numbers, start: int) -> Growing | None:
    """What grows with the batch changes with the size by so much a sample, the rest by itself; None where that is not whole.

    `alone` are the differences with the size at the batch `start`, `slope` is that with the batch.
    """
    columns: dict[Degrees, Numbers] = {(1, 0): slope}
    for power, column in enumerate(alone[1:], 1):
        if any(value % start for value, each in zip(column, slope, strict=True) if each):
            return None
        pairs = [(int(value), bool(each)) for value, each in zip(column, slope, strict=True)]
        columns[0, power] = tuple(0 if grows else value for value, grows in pairs)
        columns[1, power] = tuple(value // start if grows else 0 for value, grows in pairs)
    return Growing.of(_back(alone[0], slope, start), columns)


def _back(here: Numbers, slope: Numbers, start: int) -> Numbers:
    """Numbers at a batch of 0, of those that grow in a straight line."""
    return tuple(value - start * each for value, each in zip(here, slope, strict=True))
