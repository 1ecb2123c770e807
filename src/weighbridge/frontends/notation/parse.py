"""From text to a tree: the grammar of docs/notation.md, read from left to right, once.

Reading stops at the first thing that cannot be meant, and says what was seen there, what was expected,
and where: every error carries the line with a caret under the place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ...dims import Shape
from ...errors import NotationError, UsageError, nearest
from ...units import integer
from ...workload import LARGEST_DIMENSION, check_dimension
from .kinds import BY_NAME, KINDS, Kind, Setting, Settings, folded

MOST_LAYERS = 100_000
"""Layers of a network after repetition: a short text must not fill the memory."""

DEEPEST = 50
"""Brackets inside brackets: deeper than any network, shallower than Python's stack."""

MOST_AXES = 4
"""Axes of an input without its batch: (n), (c, M), (c, M, N) or (c, D, M, N)."""

JoinName = Literal["add", "cat", "mul", "dense"]
JOINS: tuple[JoinName, ...] = ("add", "cat", "mul", "dense")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """`(Conv)6c5w1s0p`; `position` is where its parenthesis stands in the text."""

    kind: Kind
    settings: Settings
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """`cat[ ... | ... ]`; an empty branch hands on the input. `position` is where its word stands."""

    how: JoinName
    branches: tuple[Chain, ...]
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """`[ ... ]`."""

    chain: Chain


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One link of a chain: a node, perhaps labelled, perhaps repeated.

    `position` is where it begins in the text, label included; `layers` is how many layers it makes
    after repetition.
    """

    node: Layer | Join | Group
    position: int
    layers: int
    label: str | None = None
    times: int | None = None


Chain = tuple[Item, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What was read: the input's shape without its batch (None: left out), and the layers."""

    shape: Shape | None
    chain: Chain


def parse(text: str) -> Network:
    """Reads a network.

    Raises:
        NotationError: the text is not a network in this notation.
    """
    return _Reader(text).network()


def error_at(text: str, position: int, message: str, *hints: str) -> NotationError:
    """The error with the line and a caret under the place; long lines are cut around it."""
    return NotationError(message, *_pointer(text, position), *hints, text=text, position=position)


_SHOWN = 72
"""Characters of the text that an error shows."""


def _pointer(text: str, position: int) -> tuple[str, str]:
    line = _printable(text)
    start = max(0, min(position - _SHOWN // 2, len(line) - _SHOWN))
    shown = line[start : start + _SHOWN]
    before = "…" if start else ""
    after = "…" if start + _SHOWN < len(line) else ""
    return before + shown + after, " " * (len(before) + position - start) + "^"


def _printable(text: str) -> str:
    """One character for one, so that places stay: line breaks and controls become spaces."""
    return "".join(character if character.isprintable() else " " for character in text)


_SPACE = re.compile(r"\s*")
_NUMBER = re.compile(r"-?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)")
_WORD = re.compile(r"[A-Za-z]+")
_LABEL = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\s*:")
_JOIN = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\s*\[")
_TIMES = re.compile(rf"({_NUMBER.pattern})\s*\*")
_INPUT = re.compile(r"\(\s*input\s*\)", re.IGNORECASE)
_SIZES_AHEAD = re.compile(r"\(\s*[-0-9]")
_NEXT_ITEM = re.compile(rf"{_LABEL.pattern}|{_JOIN.pattern}|{_TIMES.pattern}")
_SEEN = re.compile(r"\([^()]{0,20}\)|[A-Za-z0-9_.]{1,20}|[-=~<>—–]{1,20}|.", re.DOTALL)


class _Reader:
    """Reads one text; `at` is how far it has come. One method a rule of the grammar."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0

    # -- the text ----------------------------------------------------------------------------------

    def fail(self, message: str, *hints: str, at: int | None = None) -> NotationError:
        return error_at(self.text, self.at if at is None else at, message, *hints)

    def skip(self) -> int:
        """Passes over spaces; returns where it stands then."""
        match = _SPACE.match(self.text, self.at)
        assert match is not None
        self.at = match.end()
        return self.at

    def take(self, *tokens: str) -> bool:
        """Passes over one of the tokens if it comes next."""
        self.skip()
        for token in tokens:
            if self.text.startswith(token, self.at):
                self.at += len(token)
                return True
        return False

    def seen(self) -> str:
        """What stands here, for a message."""
        match = _SEEN.match(self.text, self.skip())
        return f"{match.group()!r}" if match else "the end of the text"

    def ended(self) -> bool:
        """Whether nothing but spaces is left."""
        return self.skip() == len(self.text)

    # -- the network -------------------------------------------------------------------------------

    def network(self) -> Network:
        if self.ended():
            raise NotationError(
                "the notation is empty, and a network was expected",
                "for example: (Input)(3,224,224)->(Conv)6c5w1s0p",
            )
        shape, named = self.input()
        if shape is not None or named:
            self.first_arrow()
        chain = self.chain()
        if not self.ended():
            raise self.unexpected()
        layers = sum(item.layers for item in chain)
        if layers > MOST_LAYERS:
            raise self.fail(_too_many(layers), at=0)
        return Network(shape=shape, chain=chain)

    def first_arrow(self) -> None:
        if self.ended():
            raise self.fail(
                "the network has an input and no layers: an arrow '->' and a layer were expected"
            )
        if not self.arrow():
            raise self.fail(
                f"an arrow '->' was expected behind the input, and {self.seen()} stands here"
            )

    def input(self) -> tuple[Shape | None, bool]:
        """The sizes in front, and whether `(Input)` itself stands there."""
        match = _INPUT.match(self.text, self.skip())
        if match:
            self.at = match.end()
            opened = self.skip()
            if self.take("("):
                return self.closed_sizes(opened), True
            return (self.sizes() if _NUMBER.match(self.text, self.at) else None), True
        opened = self.at
        if _SIZES_AHEAD.match(self.text, self.at):
            self.at += 1
            return self.closed_sizes(opened), False
        if _NUMBER.match(self.text, self.at) and not _TIMES.match(self.text, self.at):
            return self.sizes(), False
        return None, False

    def closed_sizes(self, opened: int) -> Shape:
        shape = self.sizes()
        if self.take(")"):
            return shape
        if self.ended() or self.text.startswith(("-", "→"), self.at):
            raise self.fail(
                "the input's sizes, opened here, are never closed: ')' was expected", at=opened
            )
        raise self.fail(
            f"',' or ')' was expected behind a size of the input, and {self.seen()} stands here"
        )

    def sizes(self) -> Shape:
        """`3,224,224` or `3x224x224`."""
        shape = [self.size()]
        while self.take(",", "x", "X", "×"):
            self.skip()
            if self.text.startswith(")", self.at):  # (100,) as Python writes it
                break
            shape.append(self.size())
            if len(shape) > MOST_AXES:
                raise self.fail(
                    f"the input has more than {MOST_AXES} sizes: (n), (c,M), (c,M,N) or (c,D,M,N) were "
                    "expected, without the batch"
                )
        return tuple(shape)

    def size(self) -> int:
        start = self.skip()
        match = _NUMBER.match(self.text, start)
        if match is None:
            raise self.fail(
                f"a size of the input was expected, a whole number, and {self.seen()} stands here"
            )
        self.at = match.end()
        return self.whole(match.group(), "a size of the input", start)

    # -- chains ------------------------------------------------------------------------------------

    def arrow(self) -> bool:
        return self.take("->", "→")

    def chain(self) -> Chain:
        items = [self.item()]
        while self.arrow():
            items.append(self.item())
        return tuple(items)

    def item(self) -> Item:
        start = self.skip()
        label = self.label()
        times_at = self.skip()
        times = self.times()
        node, inside = self.node()
        layers = inside * (times or 1)
        if layers > MOST_LAYERS:
            raise self.fail(_too_many(layers), at=times_at)
        return Item(node=node, position=start, layers=layers, label=label, times=times)

    def label(self) -> str | None:
        match = _LABEL.match(self.text, self.at)
        if match is None:
            return None
        label = match.group(1)
        if label == "loss":
            raise self.fail("no layer can be labelled 'loss': the training loss has that name")
        self.at = match.end()
        return label

    def times(self) -> int | None:
        match = _TIMES.match(self.text, self.at)
        if match is None:
            return None
        times = self.whole(match.group(1), "the number of repetitions", self.at)
        self.at = match.end()
        return times

    def node(self) -> tuple[Layer | Join | Group, int]:
        """A layer, a join or a group, and how many layers it makes."""
        start = self.skip()
        if self.text.startswith("(", start):
            return self.layer(), 1
        if self.text.startswith("[", start):
            return self.group()
        match = _JOIN.match(self.text, start)
        if match:
            return self.join(match.group(1), match.end() - 1)
        raise self.no_node()

    def no_node(self) -> NotationError:
        if self.ended():
            return self.fail("a layer was expected, and the text ends here")
        word = _WORD.match(self.text, self.at)
        kind = BY_NAME.get(folded(word.group())) if word else None
        if kind is not None:
            return self.fail(
                f"a layer's name stands in parentheses: ({kind.name}) was expected, and {self.seen()} stands here"
            )
        return self.fail(f"a layer such as (Conv) was expected, and {self.seen()} stands here")

    # -- brackets ----------------------------------------------------------------------------------

    def group(self) -> tuple[Group, int]:
        opened = self.at
        branches = self.branches(opened)
        if len(branches) > 1:
            raise self.fail(
                "a '[' with several branches needs a word in front that says how they are joined",
                f"there are: {', '.join(f'{how}[' for how in JOINS)}",
                at=opened,
            )
        if not branches[0]:
            raise self.fail(
                "nothing stands between these brackets: a layer was expected", at=opened
            )
        return Group(chain=branches[0]), _layers(branches)

    def join(self, word: str, bracket: int) -> tuple[Join, int]:
        start = self.at
        how = next((name for name in JOINS if name == word.lower()), None)
        if how is None:
            near = nearest(_cut(word), JOINS)
            raise self.fail(
                f"{_cut(word)!r} joins no branches",
                f"nearest: {', '.join(near)}" if near else f"there are: {', '.join(JOINS)}",
            )
        self.at = bracket
        branches = self.branches(bracket)
        if not any(branches) and len(branches) == 1:
            raise self.fail(
                f"{how}[] is empty: a layer was expected between its brackets", at=bracket
            )
        if how == "dense" and len(branches) > 1:
            raise self.fail(
                "dense[ ] takes one chain and joins the input to what comes out of it",
                "to join the input to several, write cat[ | ... | ... ]",
                at=start,
            )
        if how != "dense" and len(branches) == 1:
            raise self.fail(
                f"{how}[ ] joins two branches or more, and has one",
                f"an empty branch is the input itself: {how}[ ... | ]",
                at=start,
            )
        return Join(how=how, branches=branches, position=start), 1 + _layers(branches)

    def branches(self, bracket: int) -> tuple[Chain, ...]:
        """What stands between the bracket at `bracket` and its partner."""
        self.at = bracket + 1
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.fail(f"brackets are nested more than {DEEPEST} deep", at=bracket)
        found = [self.branch()]
        while self.take("|"):
            found.append(self.branch())
        if self.ended():
            raise self.fail("the bracket opened here is never closed: ']' was expected", at=bracket)
        if not self.take("]"):
            raise self.unexpected()
        self.depth -= 1
        return tuple(found)

    def branch(self) -> Chain:
        if self.ended() or self.text[self.at] in "|]":
            return ()
        return self.chain()

    def unexpected(self) -> NotationError:
        """What to say of a thing behind a layer that is neither its setting nor an arrow."""
        here = self.text[self.at]
        if here == "]" and not self.depth:
            return self.fail("this ']' closes a bracket that was never opened")
        if here == "|" and not self.depth:
            return self.fail(
                "'|' stands between branches, and no bracket is open",
                "branches are written cat[ ... | ... ] or add[ ... | ... ]",
            )
        closing = ", '|' or ']'" if self.depth else " or the end"
        return self.fail(f"an arrow '->'{closing} was expected, and {self.seen()} stands here")

    # -- layers ------------------------------------------------------------------------------------

    def layer(self) -> Layer:
        start = self.at
        kind = self.kind()
        numbers: dict[str, int | float] = {}
        flags: set[str] = set()
        while not _NEXT_ITEM.match(self.text, self.skip()):
            if number := _NUMBER.match(self.text, self.at):
                self.number(kind, number.group(), numbers)
            elif word := _WORD.match(self.text, self.at):
                self.flag(kind, word.group(), flags)
            else:
                break
        for letter, setting in kind.letters.items():
            if setting.default is None and letter not in numbers:
                raise self.fail(
                    f"({kind.name}) needs {letter} ({setting.meaning})",
                    f"for example: {kind.example}",
                    at=start,
                )
        settings = Settings(numbers=numbers, flags=frozenset(flags))
        return Layer(kind=kind, settings=settings, position=start)

    def kind(self) -> Kind:
        start = self.at
        close = self.text.find(")", start)
        name = self.text[start + 1 : close].strip()
        if close < 0 or any(mark in name for mark in ("(", "[", "->", "→")):
            raise self.fail(
                "the parenthesis opened here is never closed: ')' was expected", at=start
            )
        if folded(name) == "input":
            raise self.fail("(Input) stands once, in front of everything")
        kind = BY_NAME.get(folded(name))
        if kind is None:
            raise self.unknown_kind(name)
        self.at = close + 1
        return kind

    def unknown_kind(self, name: str) -> NotationError:
        if not name:
            return self.fail("a layer's name was expected between the parentheses")
        names = ("Input", *(known for kind in KINDS for known in (kind.name, *kind.other_names)))
        near = nearest(_cut(folded(name)), names)
        return self.fail(
            f"no layer is called ({_cut(name)})",
            f"nearest: {_listed(near)}" if near else f"there are: {_listed(k.name for k in KINDS)}",
            at=self.at + 1,
        )

    def number(self, kind: Kind, token: str, numbers: dict[str, int | float]) -> None:
        start = self.at
        self.at += len(token)
        letter, letter_at = self.letter(kind, token, start)
        setting = kind.letters.get(letter)
        if setting is None:
            raise self.fail(f"({kind.name}) has no setting {letter!r}", _takes(kind), at=letter_at)
        if letter in numbers:
            raise self.fail(f"({kind.name}) has its {letter} ({setting.meaning}) twice", at=start)
        numbers[letter] = self.value(token, setting, f"({kind.name}) {letter}", start)

    def letter(self, kind: Kind, token: str, start: int) -> tuple[str, int]:
        """The letter behind a number and where it stands; without one, the layer's bare letter.

        `10 nobias` and `10nobias` are a bare number and a flag; `3wnobias` is a letter and a flag.
        """
        after = self.at
        word = _WORD.match(self.text, self.skip())
        alone = word is not None and len(word.group()) > 1
        if word is None or (alone and (self.at > after or word.group().lower() in kind.flags)):
            if kind.bare is None:
                raise self.fail(
                    f"{_cut(token)} has no letter that says what it is", _takes(kind), at=start
                )
            return kind.bare, start
        self.at += 1
        return word.group()[0].lower(), self.at - 1

    def flag(self, kind: Kind, word: str, flags: set[str]) -> None:
        flag = word.lower()
        if flag not in kind.flags:
            near = nearest(_cut(flag), kind.flags)
            if len(word) == 1 and flag in kind.letters:
                raise self.fail(
                    f"a number was expected before {word!r}", f"for example: {kind.example}"
                )
            raise self.fail(
                f"({kind.name}) has no setting {_cut(word)!r}",
                f"nearest: {', '.join(near)}" if near else _takes(kind),
            )
        if flag in flags:
            raise self.fail(f"({kind.name}) has {flag} twice")
        flags.add(flag)
        self.at += len(word)

    # -- numbers -----------------------------------------------------------------------------------

    def value(self, token: str, setting: Setting, where: str, at: int) -> int | float:
        if not setting.fraction:
            return self.whole(token, where, at, least=setting.least)
        value = float(token)
        if not 0 <= value < 1:
            raise self.fail(
                f"{where} is {_cut(token)}, and a share from 0 up to, not including, 1 was expected",
                at=at,
            )
        return value

    def whole(self, token: str, where: str, at: int, *, least: int = 1) -> int:
        """The whole number that the token writes.

        Raises:
            NotationError: it is not whole, below the least, or above the largest dimension.
        """
        if "." in token:
            raise self.fail(f"{where} is {_cut(token)}, and a whole number was expected", at=at)
        if len(token) > 40:  # Python refuses to convert thousands of digits
            raise self.fail(
                f"{where} is a number of {len(token)} digits, and the largest size taken is "
                f"{integer(LARGEST_DIMENSION)}",
                at=at,
            )
        value = int(token)
        if value < least:
            raise self.fail(f"{where} is {token}, and at least {least} was expected", at=at)
        try:
            check_dimension(max(value, 1), where)
        except UsageError as error:
            raise self.fail(error.message, at=at) from error
        return value


def _layers(branches: Iterable[Chain]) -> int:
    return sum(item.layers for chain in branches for item in chain)


def _too_many(layers: int) -> str:
    return f"this makes {integer(layers)} layers, and the most taken are {integer(MOST_LAYERS)}"


def _cut(word: str) -> str:
    """A word of the text for a message."""
    return _printable(word) if len(word) <= 40 else f"{_printable(word[:40])}…"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"({name})" for name in names)


def _takes(kind: Kind) -> str:
    """What may stand behind a layer's name."""
    parts = [f"{letter} ({setting.meaning})" for letter, setting in kind.letters.items()]
    parts += kind.flags
    return f"({kind.name}) takes {', '.join(parts) or 'no settings'}"
