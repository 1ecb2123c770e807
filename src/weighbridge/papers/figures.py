"""A figure as a paper prints it, and whether a count would be printed so.

'159K' says that a count lies near 159 * 1024: the digits, a unit, and how far the rounding reaches.
Everything here is exact, whole numbers and fractions: a count of 163,328 is 159.5 K to the last digit, and
whether that prints as 159 or 160 is the question. Units are the paper's, not this project's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Literal

from ..errors import UsageError

Rounding = Literal["nearest", "down", "up"]

_FIGURE = re.compile(r"(?P<bound>> )?(?P<form>×)?(?P<digits>\d+(?:\.(?P<places>\d+))?)(?P<rest>.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A printed figure: its text, its digits as a number, the unit they count, and digits after the point.

    `form` is the text around the digits and the unit: '{}' for most, '{}×{}' for the size of a square
    image, '×{}' for how often a block is repeated. `bound` is true of '> 40M', which says only
    that the count is larger.
    """

    text: str
    digits: Fraction
    unit: int
    places: int
    suffix: str = ""
    form: str = "{}"
    bound: bool = False

    @property
    def value(self) -> Fraction:
        """The figure without its unit: 159K is 162,816 where K is 1024."""
        return self.digits * self.unit

    def prints(self, terms: Iterable[int], rounding: Rounding, *, apart: bool = False) -> bool:
        """Whether the sum of the terms, rounded so, has these digits.

        With `apart` each term is rounded before they are added, as a person does who fills a column.
        """
        counts = tuple(terms) if apart else (sum(terms),)
        if self.bound:
            return sum(counts) > self.value
        return (
            sum(rounded(count, self.unit, self.places, rounding) for count in counts) == self.digits
        )

    def of(self, count: int) -> str:
        """A count in this figure's unit and form, with a digit more than is printed, three at least.

        Where the unit is 1 and nothing stands behind the point the count is printed whole.
        """
        if self.unit == 1:
            return self.form.format(count, count)
        scaled = Fraction(count, self.unit)
        places = max(self.places + 1, 3 - len(str(int(scaled))))
        return decimal(scaled, places) + self.suffix


def decimal(value: Fraction | int, places: int) -> str:
    """A number with so many digits after the point, halves rounded up."""
    whole, part = divmod(floor(value * 10**places + Fraction(1, 2)), 10**places)
    return f"{whole}.{part:0{places}d}" if places else f"{whole}"


def rounded(count: int, unit: int, places: int, rounding: Rounding) -> Fraction:
    """The count in the unit, to so many digits after the point; 'nearest' rounds halves up."""
    scaled = Fraction(count, unit) * 10**places
    if rounding == "down":
        return Fraction(floor(scaled), 10**places)
    if rounding == "up":
        return Fraction(ceil(scaled), 10**places)
    return Fraction(floor(scaled + Fraction(1, 2)), 10**places)


def figure(text: str, units: Mapping[str, int], scale: int = 1) -> Figure:
    """Reads '2.7K', '1.8', '112×112', '×6' or '> 40M'; `scale` is the unit of a bare number.

    Raises:
        UsageError: the text is no such figure, or its unit is not among the table's.
    """
    match = _FIGURE.fullmatch(text)
    if match is None:
        raise UsageError(
            f"{text!r} is not a printed figure",
            "expected one such as 2.7K, 112×112, ×6 or > 40M",
        )
    digits, suffix, form = match["digits"], match["rest"], "{}"
    if suffix == f"×{digits}":
        suffix, form = "", "{}×{}"
    elif match["form"]:
        form = "×{}"
    if suffix and suffix not in units:
        raise UsageError(
            f"{text!r} has the unit {suffix!r}, which its table does not define",
            f"the table's units: {', '.join(units) or 'none'}",
        )
    return Figure(
        text=text,
        digits=Fraction(digits),
        unit=units[suffix] if suffix else scale,
        places=len(match["places"] or ""),
        suffix=suffix,
        form=form,
        bound=match["bound"] is not None,
    )
