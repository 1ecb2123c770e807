"""Growing: whole numbers as polynomials in the batch and in a size of the input, solved exactly from a few of both.

They are held as differences: the term (i, j) of a number is what stands before (batch choose i)(steps choose j), where
`steps` are those of the input's size from the one that was asked for. Polynomials that give whole numbers have whole
differences, so that nothing is rounded. What is solved is checked far away, at a batch and a size that it was not solved from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

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
    terms: Mapping[Degrees, tuple[int, ...]]

    def at(self, batch: int, steps: int = 0) -> tuple[int | float, ...]:
        """The numbers at a batch and so many steps of the size; at an array of batches, arrays of those that grow."""
        found = list(self.zero)
        for (power, size_power), column in self.terms.items():
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
        columns = {
            degrees: tuple(column[place] for place in places)
            for degrees, column in self.terms.items()
        }
        return Growing(
            zero=tuple(self.zero[place] for place in places),
            terms={degrees: column for degrees, column in columns.items() if any(column)},
        )


def choose(number: int, power: int) -> int:
    """The binomial coefficient, for negative numbers and for arrays too."""
    found: int = 1
    for place in range(power):
        found = found * (number - place) // (place + 1)
    return found


def constant(row: Numbers) -> Growing:
    """Numbers that are the same at every batch and size."""
    return Growing(zero=tuple(row), terms={})


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
    terms: dict[Degrees, tuple[int, ...]] = {}
    zero: tuple[int | float, ...] = ()
    for power, (here, there) in enumerate(zip(one, two, strict=True)):
        line = _in_batch(_differences([here, there]), start)
        if power == 0:
            zero = line.zero
        else:
            terms[0, power] = tuple(map(int, line.zero))
        terms[1, power] = line.terms.get((1, 0), (0,) * len(here))
    found = Growing(zero=zero, terms={at: column for at, column in terms.items() if any(column)})
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
            tuple(int(b - a) for a, b in zip(one, two, strict=True))
            for one, two in zip(left, left[1:], strict=False)
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
    columns = {
        (power, 0): tuple(map(int, column)) for power, column in enumerate(at_zero) if power
    }
    return Growing(
        zero=at_zero[0], terms={at: column for at, column in columns.items() if any(column)}
    )


def _each_sample(alone: Sequence[Numbers], slope: Numbers, start: int) -> Growing | None:
    """What grows with the batch changes with the size by so much a sample, the rest by itself; None where that is not whole.

    `alone` are the differences with the size at the batch `start`, `slope` is that with the batch.
    """
    columns: dict[Degrees, tuple[int, ...]] = {(1, 0): tuple(map(int, slope))}
    for power, column in enumerate(alone[1:], 1):
        if any(value % start for value, each in zip(column, slope, strict=True) if each):
            return None
        pairs = [(int(value), bool(each)) for value, each in zip(column, slope, strict=True)]
        columns[0, power] = tuple(0 if grows else value for value, grows in pairs)
        columns[1, power] = tuple(value // start if grows else 0 for value, grows in pairs)
    zero = tuple(value - start * each for value, each in zip(alone[0], slope, strict=True))
    return Growing(zero=zero, terms={at: column for at, column in columns.items() if any(column)})
