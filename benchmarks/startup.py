"""Time to first output, whole processes from a cold start, beside an empty Python."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.timing import command, in_turns, python, show

WEIGH = str(Path(sys.executable).with_name("weigh"))


def main() -> None:
    """Start-up of the command and of the import."""
    works = {
        "python -c pass": python("pass"),
        "python -c 'import weighbridge'": python("import weighbridge"),
        "weigh --version": command(WEIGH, "--version"),
        "weigh --help": command(WEIGH, "--help"),
        "weigh vgg16": command(WEIGH, "vgg16"),
        "weigh resnet50 --train adam --batch 32": command(
            WEIGH, "resnet50", "--train", "adam", "--batch", "32"
        ),
        "weigh paper googlenet": command(WEIGH, "paper", "googlenet"),
        "weigh densenet201 --json": command(WEIGH, "densenet201", "--json"),
    }
    show("Time to first output (ratio: to an empty Python)", in_turns(works, rounds=15))
