"""`python -m benchmarks peers [CASE ...]`: the command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from benchmarks.peers import report, speed
from benchmarks.peers.asking import Answer, workers
from benchmarks.peers.cases import BY_NAME, CASES, Case
from benchmarks.peers.install import python
from benchmarks.peers.names import case_of
from benchmarks.peers.tools import BY_NAME as TOOLS_BY_NAME
from benchmarks.peers.tools import TOOLS, Tool

REPEATS = 2
"""Calls that a tool gets on a case: the first loads what is loaded late, the second is the analysis."""


def main(arguments: Sequence[str] = ()) -> int:
    """Runs the comparison; returns the exit code: 0, or 2 for what cannot be asked."""
    asked = _parser().parse_args(arguments)
    if not python().exists():
        return _refuse("the other counters are not installed", "python -m benchmarks.peers.install")
    unknown = [name for name in asked.tool if name not in TOOLS_BY_NAME]
    if unknown:
        return _refuse(f"no tool {unknown[0]!r}", f"there are: {', '.join(t.name for t in TOOLS)}")
    tools = [TOOLS_BY_NAME[name] for name in asked.tool] or list(TOOLS)
    if asked.speed:
        return _speed(tools, asked)
    try:
        cases = [case_of(name) for name in asked.cases] or list(CASES)
    except LookupError as error:
        return _refuse(
            str(error),
            f"cases: {', '.join(BY_NAME)}; networks: weigh networks torchvision (or zoo)",
        )
    return _truth(cases, tools, asked)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks peers",
        description="Every counter side by side, who is right and why the others differ.",
        epilog=f"cases: {', '.join(BY_NAME)}",
    )
    parser.add_argument(
        "cases", nargs="*", help="cases, or networks of torchvision or the zoo; all cases if none"
    )
    parser.add_argument("--tool", action="append", default=[], help="only this tool; repeatable")
    parser.add_argument("--speed", action="store_true", help="ten networks against the clock")
    parser.add_argument("--rounds", type=int, default=3, help="turns that each tool gets (--speed)")
    parser.add_argument("--json", type=Path, help="write every answer to this file")
    parser.add_argument("--kept", type=Path, help="take answers that --json has written from here")
    parser.add_argument("--page", type=Path, help="write the tables into this Markdown page")
    return parser


def _refuse(what: str, remedy: str) -> int:
    print(f"peers: {what}\n  {remedy}", file=sys.stderr)
    return 2


def _truth(cases: Sequence[Case], tools: Sequence[Tool], asked: argparse.Namespace) -> int:
    console = _console()
    kept = report.read_answers(asked.kept) if asked.kept else {}
    found: dict[str, dict[str, Answer]] = {}
    with workers() as asking:
        for case in cases:
            turns = tools if case.name not in kept else []
            found[case.name] = dict(kept.get(case.name, {}))
            for tool in track(turns, console=Console(stderr=True), description=case.name):
                found[case.name][tool.name] = asking.ask(
                    tool.name, case.build, device=tool.device, repeats=REPEATS
                )
            report.show_case(case, found[case.name], console)
            if asked.json:  # as it grows: the whole takes long, and --kept goes on from there
                report.write_json(asked.json, found)
    if asked.page:
        answers = [(case, found[case.name]) for case in cases]
        report.write_into(asked.page, "summary", report.summary_page(answers))
        report.write_into(asked.page, "truth", report.truth_page(answers))
    return 0


def _console() -> Console:
    """The terminal; into a pipe as wide as the tables are."""
    return Console() if sys.stdout.isatty() else Console(width=170)


def _speed(tools: Sequence[Tool], asked: argparse.Namespace) -> int:
    def keep(times: report.Times) -> None:
        if asked.json:
            report.write_json(asked.json, times)

    times = (
        report.read_times(asked.kept)
        if asked.kept
        else speed.compare(Console(stderr=True), rounds=asked.rounds, tools=tools, kept=keep)
    )
    report.show_speed(times, _console())
    if asked.page:
        report.write_into(asked.page, "speed", report.speed_page(times))
    return 0
