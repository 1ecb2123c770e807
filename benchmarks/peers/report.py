"""Verdicts and times as tables: in the terminal, as Markdown between markers of a page, as JSON."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.peers.asking import Answer
from benchmarks.peers.cases import Case
from benchmarks.peers.install import installed
from benchmarks.peers.tools import BY_NAME, Tool
from benchmarks.peers.verdicts import Verdict, on_macs, on_params

COLUMNS = ("tool", "MACs", "it says", "ratio", "verdict", "params", "CPU s", "peak MiB", "why")
Row = tuple[str, ...]


def rows(case: Case, answers: Mapping[str, Answer]) -> list[Row]:
    """One row a tool, in the order of COLUMNS; `it says` is the tool's own word for its number."""
    return [_row(case, BY_NAME[name], answer) for name, answer in answers.items()]


def _row(case: Case, tool: Tool, answer: Answer) -> Row:
    verdict = on_macs(answer, case, more=tool.more)
    return (
        tool.name,
        f"{answer.macs:,}" if answer.macs is not None else "-",
        tool.says,
        f"{verdict.ratio:.4g}" if verdict.ratio is not None else "-",
        verdict.word,
        on_params(answer, case),
        # The first call loads what a tool and torch load late; the last is the analysis alone.
        f"{answer.cpu_seconds[-1]:.3f}" if answer.error is None and answer.cpu_seconds else "-",
        f"{answer.peak_bytes / 2**20:.0f}" if answer.peak_bytes else "-",
        verdict.why or _named(answer, verdict),
    )


def _named(answer: Answer, verdict: Verdict) -> str:
    """What the tool itself says that it has not counted, where that can explain a difference."""
    if verdict.right or not answer.uncounted:
        return ""
    shown = ", ".join(answer.uncounted[:3])
    more = len(answer.uncounted) - 3
    return f"it says itself: not counted are {shown}" + (f" and {more} more" if more > 0 else "")


def heading(case: Case) -> str:
    """'lstm: two-layer LSTM ...: 377,487,360 MACs = ...; 4,202,496 parameters'."""
    macs = "MACs unknown" if case.macs is None else f"{case.macs:,} MACs"
    params = "" if case.params is None else f"; {case.params:,} parameters"
    return f"{case.name}: {case.title}: {macs} = {case.source}{params}"


def show_case(case: Case, answers: Mapping[str, Answer], console: Console) -> None:
    """The table of one case in the terminal; words wrap, figures don't."""
    table = Table(title=heading(case), title_justify="left", box=SIMPLE_HEAD)
    for column in COLUMNS:
        figure = column in ("MACs", "ratio", "params", "CPU s", "peak MiB")
        table.add_column(
            column,
            justify="right" if figure else "left",
            no_wrap=column not in ("it says", "why"),
            min_width=24 if column == "why" else None,
        )
    for row in rows(case, answers):
        table.add_row(*row)
    console.print(table)


Found = Sequence[tuple[Case, Mapping[str, Answer]]]
"""What every tool answered on every case."""


def summary_page(found: Found) -> str:
    """How many cases each tool has right, and what it says where it has not, in Markdown."""
    names = list(found[0][1])
    heading = (
        "tool",
        "MACs right",
        "right but for what it adds",
        "wrong",
        "crashes",
        "parameters right",
    )
    table = [heading, *(_score(BY_NAME[name], found) for name in names)]
    reasons = [f"- **{name}**: {why}" for name in names if (why := _reasons(BY_NAME[name], found))]
    return f"{_markdown(table)}\n\n{_versions(names)}\n\n" + "\n".join(reasons)


def _score(tool: Tool, found: Found) -> Row:
    """The tool's row of the summary; a tool that counts no parameters has '-' there."""
    answers = [(case, by_tool[tool.name]) for case, by_tool in found]
    verdicts = [on_macs(answer, case) for case, answer in answers]
    right = sum(verdict.right for verdict in verdicts)
    crashes = sum(answer.error is not None for _, answer in answers)
    near = sum(verdict.near for verdict in verdicts)
    counts_params = any(answer.params is not None for _, answer in answers)
    params = sum(on_params(answer, case) == "=" for case, answer in answers)
    return (
        tool.name,
        f"**{right} of {len(found)}**",
        f"{near}",
        f"{len(found) - right - near - crashes}",
        f"{crashes}",
        f"{params} of {len(found)}" if counts_params else "-",
    )


def _reasons(tool: Tool, found: Found) -> str:
    """'no rule for bmm (moe-bmm); ...': each reason once, with the cases that it explains."""
    by_reason: dict[str, list[str]] = {}
    for case, answers in found:
        answer = answers[tool.name]
        verdict = on_macs(answer, case, more=tool.more)
        if not verdict.right:
            why = verdict.why or _named(answer, verdict) or f"{verdict.word}, and why is not known"
            by_reason.setdefault(why, []).append(case.name)
    return "; ".join(f"{_escaped(why)} ({', '.join(cases)})" for why, cases in by_reason.items())


def _versions(names: Sequence[str]) -> str:
    """'torchinfo 1.8.0, ...', as they are installed with the tools."""
    packages = dict.fromkeys(BY_NAME[name].package for name in names)
    own = {package: installed(package) for package in packages if package != "weighbridge"}
    return (
        "Versions: " + ", ".join(f"{package} {version}" for package, version in own.items()) + "."
    )


def truth_page(found: Found) -> str:
    """The matrix of verdicts, and every case with its reasons, in Markdown."""
    names = list(found[0][1])
    matrix = [("case", *names)]
    for case, answers in found:
        words = (on_macs(answers[name], case).word for name in names)
        matrix.append((f"[{case.name}](#{case.name})", *words))
    parts = [_markdown(matrix)]
    for case, answers in found:
        parts.append(f"### {case.name}\n\n{_sentence(case)}\n\n{_case_table(case, answers)}")
    return "\n\n".join(parts)


def _sentence(case: Case) -> str:
    macs, params = case.macs or 0, case.params or 0
    return f"{case.title}. By hand: **{macs:,} MACs** = {case.source}; {params:,} parameters."


def _case_table(case: Case, answers: Mapping[str, Answer]) -> str:
    return _markdown([COLUMNS, *rows(case, answers)])


def _markdown(table: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(map(_escaped, row)) + " |" for row in table]
    return "\n".join([lines[0], "|" + "---|" * len(table[0]), *lines[1:]])


def _escaped(text: str) -> str:
    """Text of a tool's, which may hold what Markdown takes for a column or a tag."""
    return text.replace("|", "\\|").replace("<", "&lt;")


Times = Mapping[str, Mapping[str, Sequence[Answer]]]
"""Network, then tool, then one answer a round."""

ON_DATA = " *"
"""Marks what a tool answered on data, since it cannot on meta."""


def speed_rows(times: Times) -> list[Row]:
    """Tools down, networks across: median CPU milliseconds of a call, and the ratio to the forward's."""
    return [("CPU ms (ratio)", *times), *_by_tool(times, _cpu_cell)]


def memory_rows(times: Times) -> list[Row]:
    """Tools down, networks across: the most MiB that the process held."""
    return [("peak MiB", *times), *_by_tool(times, _memory_cell)]


def _by_tool(
    times: Times, cell: Callable[[Sequence[Answer], float | None], str]
) -> list[Row]:  # fmt: skip
    names = list(next(iter(times.values())))
    bases = {network: _median(by_tool[names[0]]) for network, by_tool in times.items()}
    return [
        (name, *(cell(by_tool[name], bases[network]) for network, by_tool in times.items()))
        for name in names
    ]


def _cpu_cell(answers: Sequence[Answer], base: float | None) -> str:
    median = _median(answers)
    if median is None:
        return "-"
    ratio = f" ({median / base:.2f})" if base else ""
    return f"{median * 1e3:.0f}{ratio}" + ("" if answers[0].device == "meta" else ON_DATA)


def _memory_cell(answers: Sequence[Answer], _: float | None) -> str:
    if _median(answers) is None:
        return "-"
    peak = statistics.median(answer.peak_bytes or 0 for answer in answers) / 2**20
    return f"{peak:.0f}" + ("" if answers[0].device == "meta" else ON_DATA)


def _median(answers: Sequence[Answer]) -> float | None:
    """The median over rounds of each round's median, its first call left out: that one loads."""
    if not answers or any(answer.error is not None for answer in answers):
        return None
    return statistics.median(
        statistics.median(answer.cpu_seconds[1:] or answer.cpu_seconds) for answer in answers
    )


def show_speed(times: Times, console: Console) -> None:
    """The tables of speed and of memory in the terminal, and why some cells are empty."""
    for rows_of in (speed_rows, memory_rows):
        heading, *body = rows_of(times)
        shown = Table(*heading, box=SIMPLE_HEAD)
        for row in body:
            shown.add_row(*row)
        console.print(shown)
    console.print(*_failures(times), sep="\n", markup=False)


def speed_page(times: Times) -> str:
    """The same in Markdown."""
    failures = [f"- {_escaped(each)}" for each in _failures(times)]
    return "\n\n".join(
        (_markdown(speed_rows(times)), _markdown(memory_rows(times)), "\n".join(failures))
    )


def _failures(times: Times) -> list[str]:
    """'TorchLens, Llama 3 8B: MemoryError: ...': who has no answer, and what was said instead."""
    return [
        f"{tool}, {network}: {answers[-1].error}"
        for network, by_tool in times.items()
        for tool, answers in by_tool.items()
        if answers and answers[-1].error is not None
    ]


def write_into(page: Path, part: str, text: str) -> None:
    """Replaces what stands between a page's markers `<!-- part -->` and `<!-- /part -->`.

    Raises:
        ValueError: the page has no such markers.
    """
    pattern = re.compile(rf"(<!-- {part} -->\n).*?(<!-- /{part} -->)", re.DOTALL)
    before = page.read_text(encoding="utf-8")
    after, replaced = pattern.subn(lambda match: f"{match[1]}\n{text}\n\n{match[2]}", before)
    if replaced != 1:
        raise ValueError(f"{page} has {replaced} places marked <!-- {part} -->, and one is needed")
    page.write_text(after, encoding="utf-8")


def write_json(file: Path, answers: object) -> None:
    """Every answer in full."""
    file.write_text(json.dumps(answers, indent=1, default=asdict) + "\n", encoding="utf-8")


def read_times(file: Path) -> Times:
    """Answers of every round by network and tool, as :func:`write_json` has written them."""
    kept = json.loads(file.read_text(encoding="utf-8"))
    return {
        network: {
            tool: [Answer(**answer) for answer in answers] for tool, answers in by_tool.items()
        }
        for network, by_tool in kept.items()
    }


def read_answers(file: Path) -> dict[str, dict[str, Answer]]:
    """Answers by case and tool, as :func:`write_json` has written them."""
    kept = json.loads(file.read_text(encoding="utf-8"))
    return {
        case: {tool: Answer(**answer) for tool, answer in answers.items()}
        for case, answers in kept.items()
    }
