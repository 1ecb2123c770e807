"""Delivery: from the options that were given to what a function is called with, and from its answer to a screen or file."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from threading import Timer
from typing import TYPE_CHECKING, Protocol, TypedDict, cast

import click

from ..errors import UsageError

if TYPE_CHECKING:
    from rich.status import Status

    from ..settings import Settings
    from ..workload import InputSpec

SLOW_SECONDS = 1.0
"""What takes longer shows that it is at work."""


def read_inputs(inputs: tuple[str, ...]) -> list[InputSpec] | None:
    """The shapes that were given; None where none was."""
    from ..settings import read_input

    return [read_input(text) for text in inputs] or None


class Place(TypedDict):
    """Where a step is to run."""

    on: str | None
    context: str | None
    alloc_conf: str | None


def place_of(options: dict[str, object]) -> Place:
    """The devices, of which this machine is one more: taken out of the options, which hold the network's settings."""
    on, here, context, alloc_conf = (
        options.pop(name) for name in ("on", "here", "context", "alloc_conf")
    )
    assert on is None or isinstance(on, str)
    assert context is None or isinstance(context, str)
    assert alloc_conf is None or isinstance(alloc_conf, str)
    named = devices_of(on, bool(here))
    if named is None and (context or alloc_conf):
        raise UsageError(
            f"{'--context' if context else '--alloc-conf'} without a device",
            "name one, as in --on rtx-4090, or --here",
        )
    return Place(on=named, context=context, alloc_conf=alloc_conf)


def devices_of(on: str | None, here: bool) -> str | None:
    """The devices that are named, of which this machine is one more; None where none is."""
    return ",".join(filter(None, (on, "here" if here else None))) or None


class Printed(Protocol):
    """A report, as far as a command hands it on."""

    def to_json(self) -> str:
        """Everything, as JSON."""

    def screen(self, *, width: int | None = None, color: bool = False) -> str:
        """Everything, as a person reads it."""


def hand_on(report: Printed, *, as_json: bool, width: int | None, color: bool | None) -> None:
    """The report to stdout, as JSON or as a screen."""
    deliver(report.to_json() if as_json else report.screen(**look_of(None, width, color)))


def keywords(options: Mapping[str, object]) -> Settings:
    """The options that were given, as keywords."""
    return cast("Settings", {name: value for name, value in options.items() if value is not None})


class Look(TypedDict):
    """How wide a screen is, None where there is no limit, and whether it has colour."""

    width: int | None
    color: bool


def look_of(output: str | None, width: int | None, color: bool | None) -> Look:
    """What was asked for; else what the terminal takes, and plain and unlimited text elsewhere."""
    terminal = sys.stdout.isatty() and output is None
    if width is None and output is None and (terminal or os.environ.get("COLUMNS")):
        from shutil import get_terminal_size

        width = get_terminal_size().columns
    if color is None:
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        color = terminal and not plain
    return Look(width=width, color=color)


def check_views(views: Mapping[str, bool], details: Mapping[str, bool]) -> None:
    """Refuses two views at once, and details of the table of layers beside another view.

    Raises:
        UsageError: one of them would not be heeded.
    """
    asked = [view for view, wanted in views.items() if wanted]
    if len(asked) > 1:
        raise UsageError(f"{' and '.join(asked)} at once", "choose one of them")
    for detail, wanted in details.items():
        if wanted and asked:
            raise UsageError(
                f"{detail} with {asked[0]}", f"{detail} is for the table of layers: leave one out"
            )


def check_output(
    output: str | None, *, text_of: str, as_json: bool, also: tuple[str, ...] = ()
) -> None:
    """Refuses what cannot be written, before anything is weighed; `text_of` is a view that is a text.

    `also` are suffixes of further forms that there are.

    Raises:
        UsageError: the suffix names no form, or not the one that was asked for.
    """
    if output is None:
        return
    from pathlib import Path

    from ..reports import files

    suffix = files.suffix_of(Path(output), also=also)
    expected = ".txt" if text_of else ".json" if as_json else suffix
    if suffix != expected:
        raise UsageError(
            f"{text_of or '--json'} is written to a {expected} file, and {output!r} is none",
            f"give -o {Path(output).with_suffix(expected)}",
        )


def deliver(text: str, output: str | None = None) -> None:
    """To the file, or to stdout just as it is."""
    if output is None:
        click.echo(text.rstrip("\n"), color=True)
        return
    from pathlib import Path

    from ..reports import files

    files.write(Path(output), text + "\n")


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Says on stderr what is being read, where that takes more than a second and somebody watches.

    What a network prints while it is read goes to stderr too: stdout holds the result alone.
    """
    if not sys.stderr.isatty():
        with redirect_stdout(sys.stderr):
            yield
        return
    shown: list[Status] = []

    def show() -> None:
        from rich.console import Console

        text = what if len(what) <= 60 else what[:59] + "…"
        shown.append(Console(stderr=True).status(f"reading {text} …"))
        shown[0].start()

    timer = Timer(SLOW_SECONDS, show)
    timer.daemon = True
    timer.start()
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        timer.cancel()
        timer.join()
        for status in shown:
            status.stop()
