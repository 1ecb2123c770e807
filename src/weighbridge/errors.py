"""What can go wrong, in few classes.

A message says what was seen, what was expected, where, and what to try. It is raised low, with the
reason, and completed at the edge, with the context: :meth:`WeighError.with_hint` adds lines without
losing the first.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class WeighError(Exception):
    """The network could not be weighed. Exit code 1.

    `hints` are printed below the message, one a line, each a thing to know or to try.
    """

    exit_code = 1

    def __init__(self, message: str, *hints: str) -> None:
        super().__init__(message)
        self.message = message
        self.hints = tuple(hints)

    def with_hint(self, *hints: str) -> WeighError:
        """The same error with further lines below it."""
        error = type(self)(self.message, *self.hints, *hints)
        error.__cause__ = self.__cause__ or self
        return error

    def __str__(self) -> str:
        return "\n  ".join((self.message, *self.hints))


class UsageError(WeighError):
    """What was asked for makes no sense as it was asked. Exit code 2."""

    exit_code = 2


class NotationError(UsageError):
    """A line of notation that cannot be read, with the place where reading stopped."""

    def __init__(self, message: str, *hints: str, text: str = "", position: int = 0) -> None:
        super().__init__(message, *hints)
        self.text = text
        self.position = position

    def with_hint(self, *hints: str) -> NotationError:
        error = NotationError(
            self.message, *self.hints, *hints, text=self.text, position=self.position
        )
        error.__cause__ = self.__cause__ or self
        return error


class ShapeError(WeighError):
    """An operator was given shapes that it cannot take."""


class StrictError(WeighError):
    """`--strict` was asked for and something was not counted. Exit code 3."""

    exit_code = 3


def nearest(word: str, known: Iterable[str], count: int = 3) -> tuple[str, ...]:
    """The known words most like `word`, best first; digits typed as letters are forgiven."""
    by_folded = {_fold(name): name for name in known}
    matches = get_close_matches(_fold(word), by_folded, n=count, cutoff=0.6)
    return tuple(by_folded[match] for match in matches)


def _fold(word: str) -> str:
    return word.lower().translate(str.maketrans("oil_", "011-"))
