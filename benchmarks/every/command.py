"""The command: which surveys to make, and where to write them down."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.every.networks import SURVEYS
from benchmarks.every.page import page, show
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
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.frontends if name not in frontends]
    if unknown:
        parser.error(f"no survey of {unknown[0]!r}; there are: {', '.join(frontends)}")
    whole = not chosen.frontends and not chosen.train
    for frontend, mode in SURVEYS:
        named = frontend in (chosen.frontends or frontends)
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
        show(frontend, mode, results)
    if chosen.page is not None:
        sections = [
            (frontend, mode, list(kept(frontend, mode).values())) for frontend, mode in SURVEYS
        ]
        chosen.page.parent.mkdir(parents=True, exist_ok=True)
        chosen.page.write_text(page(sections), encoding="utf-8")
