"""The command: which surveys to make, and where to write them down."""

from __future__ import annotations

import argparse
from importlib.metadata import version
from pathlib import Path

from benchmarks.every.networks import SURVEYS, Mode, names_of
from benchmarks.every.page import Survey, page, show
from benchmarks.every.survey import kept, run


def main(arguments: list[str]) -> None:
    """Makes the surveys that are named, all five without a name."""
    frontends = ("torchvision", "timm", "hf")
    parser = argparse.ArgumentParser(prog="python -m benchmarks every")
    parser.add_argument("frontends", nargs="*", metavar="|".join(frontends))
    parser.add_argument("--train", action="store_true", help="training steps, not inference")
    parser.add_argument(
        "--only", default="", help="networks whose name contains this; =vit= is that one alone"
    )
    parser.add_argument("--again", action="store_true", help="weigh what was not exact once more")
    parser.add_argument("--fresh", action="store_true", help="begin anew")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--page", type=Path, help="write all that is known as Markdown")
    parser.add_argument("--no-run", action="store_true", help="weigh nothing, say what is known")
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.frontends if name not in frontends]
    if unknown:
        parser.error(f"no survey of {unknown[0]!r}; there are: {', '.join(frontends)}")
    whole = not chosen.frontends and not chosen.train
    for frontend, mode in SURVEYS:
        named = frontend in (chosen.frontends or frontends)
        if chosen.no_run:
            show(_known(frontend, mode))
            continue
        if not whole and not (named and chosen.train == (mode == "training")):
            continue
        results = run(
            frontend,
            mode,
            only=chosen.only,
            again=chosen.again,
            fresh=chosen.fresh,
            workers=chosen.workers,
        )
        names = (
            tuple(result.name for result in results) if chosen.only else names_of(frontend, mode)
        )
        show(Survey(frontend=frontend, mode=mode, names=names, results=tuple(results)))
    if chosen.page is not None:
        chosen.page.parent.mkdir(parents=True, exist_ok=True)
        text = page([_known(*survey) for survey in SURVEYS], _versions())
        chosen.page.write_text(text, encoding="utf-8")


def _known(frontend: str, mode: Mode) -> Survey:
    """All that was found so far, in the order of the names; what the library does not list any more left out."""
    names = names_of(frontend, mode)
    found = kept(frontend, mode)
    results = tuple(found[name] for name in names if name in found)
    return Survey(frontend=frontend, mode=mode, names=names, results=results)


def _versions() -> str:
    """'torch 2.14.1, torchvision 0.29.1, ...'."""
    packages = ("torch", "torchvision", "timm", "transformers")
    return ", ".join(f"{name} {version(name).partition('+')[0]}" for name in packages)
