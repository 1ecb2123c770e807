"""The command: which comparisons to make, and where to write them down."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.truth import (
    compiled,
    cpu,
    cuda,
    here,
    megatron,
    neusight,
    published,
    timm,
    two_ways,
    unseen,
)
from benchmarks.truth.tables import Sheet

SHEETS: Mapping[str, Callable[[str], Sheet | None]] = {
    "cpu": cpu.sheet,
    "cuda": cuda.sheet,
    "cuda-calibrated": cuda.calibrated,
    "here": here.sheet,
    "megatron": megatron.sheet,
    "published": published.sheet,
    "two-ways": two_ways.sheet,
    "neusight": neusight.sheet,
    "unseen": unseen.sheet,
    "compiled": compiled.sheet,
    "timm": timm.sheet,
}

TIMES = frozenset({"compiled", "cuda", "cuda-calibrated", "here", "neusight", "timm", "unseen"})
"""Comparisons of times; the others are of memory."""


def main(arguments: list[str]) -> None:
    """Makes the comparisons that are named, all of them without a name."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks truth")
    parser.add_argument("names", nargs="*", metavar="|".join(SHEETS))
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--pages", type=Path, help="a folder to write a Markdown page each into")
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.names if name not in SHEETS]
    if unknown:
        parser.error(f"no comparison {unknown[0]!r}; there are: {', '.join(SHEETS)}")
    for name, make in SHEETS.items():
        if name not in (chosen.names or SHEETS):
            continue
        sheet = make(chosen.only)
        if sheet is None:
            print(f"{name}: nothing to compare here")
            continue
        sheet.show()
        if chosen.pages is not None:
            chosen.pages.mkdir(parents=True, exist_ok=True)
            about = "time" if name in TIMES else "memory"
            (chosen.pages / f"{about}-{name}.md").write_text(sheet.markdown(), encoding="utf-8")
