"""Errors: one message, hints below it, an exit code, and the nearest name."""

from __future__ import annotations

import pytest

from weighbridge.errors import (
    NotationError,
    ShapeError,
    StrictError,
    UsageError,
    WeighError,
    nearest,
)


def test_exit_codes() -> None:
    assert [cls.exit_code for cls in (WeighError, ShapeError, UsageError, NotationError, StrictError)] == [
        1, 1, 2, 2, 3,
    ]  # fmt: skip


def test_hints_are_added_below_and_nothing_is_lost() -> None:
    error = UsageError("seen", "expected").with_hint("try this")
    assert isinstance(error, UsageError)
    assert str(error) == "seen\n  expected\n  try this"
    assert isinstance(error.__cause__, UsageError)


def test_a_notation_error_keeps_its_place() -> None:
    error = NotationError("no arrow", text="(Input)(3)", position=10).with_hint("write ->")
    assert (error.text, error.position, error.hints) == ("(Input)(3)", 10, ("write ->",))


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("resnet5O", "resnet50"),
        ("resnet_50", "resnet50"),
        ("vgg-l6", "vgg16"),
        ("GoogleNet", "googlenet"),
    ],
)
def test_the_nearest_name_forgives_digits_typed_as_letters(word: str, expected: str) -> None:
    assert nearest(word, ("vgg16", "resnet50", "googlenet", "densenet121"))[0] == expected


def test_nothing_is_near_nonsense() -> None:
    assert nearest("qqqq", ("vgg16", "resnet50")) == ()
