"""What a survey found: on the screen, and as Markdown."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from benchmarks.every.networks import Mode
from benchmarks.every.weighing import Result

REASONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("needs a package that is not installed", ("package that is not installed", "requires the", "No module named", "is not installed")),
    ("has no default configuration", ("no default configuration",)),
    ("is no network that runs by itself", ("that runs by itself",)),
    ("cannot be built from its own defaults", ("cannot be built", "does not take")),
    ("takes inputs of which the configuration tells no shape", ("no shape is known", "are not known")),
    ("asks for values, and is too large to run on data here", ("it may take", "more than")),
    ("asks for values", ("needs data to run",)),
    ("took too long", ("took longer",)),
    ("ended the process", ("the worker died",)),
    ("fails in its own code", ("failed",)),
)  # fmt: skip
"""Why a network is lost, and words of the messages that say so; the first that fits."""

_LINE = re.compile(r"\s+transformers/\S+\.py:\d+: ")
"""A line of a library's code in a message."""

HALF_WAY = "stops half-way, and is counted so far"
DIFFERS = "is counted otherwise by the witness"


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What one survey found, of the networks that there are."""

    frontend: str
    mode: Mode
    names: tuple[str, ...]
    results: tuple[Result, ...]

    @property
    def title(self) -> str:
        """'timm, inference'."""
        return f"{self.frontend}, {self.mode}"

    @property
    def exact(self) -> tuple[str, ...]:
        """The networks that are exact."""
        return tuple(result.name for result in self.results if result.exact)

    @property
    def lost(self) -> dict[str, list[Result]]:
        """Those that are not, by reason, the most frequent first."""
        found: defaultdict[str, list[Result]] = defaultdict(list)
        for result in self.results:
            if not result.exact:
                found[reason(result)].append(result)
        return dict(sorted(found.items(), key=lambda entry: (-len(entry[1]), entry[0])))


def reason(result: Result) -> str:
    """Why a network is not exact, in a few words."""
    if not result.error:
        return DIFFERS if result.complete else HALF_WAY
    return next(
        (what for what, words in REASONS if any(word in result.error for word in words)),
        "is lost in a way of its own",
    )


def summary(survey: Survey) -> list[str]:
    """How many were weighed, how many are exact, by which rung, and which operators have no rule."""
    weighed = [result for result in survey.results if not result.error]
    whole = sum(not result.uncounted for result in weighed)
    rungs = Counter(result.rung for result in weighed)
    lines = [
        f"{survey.title}: {len(survey.results)} of {len(survey.names)} networks surveyed, {len(weighed)} weighed, "
        f"{len(survey.exact)} exact in parameters and MACs, {whole} with every operator counted",
        "by rung: " + ", ".join(f"{rung} {count}" for rung, count in rungs.items()),
    ]
    missed: Counter[str] = Counter()
    for result in survey.results:
        missed.update(result.uncounted or {})
    if missed:
        lines.append(
            "without a rule: " + ", ".join(f"{op} {n}" for op, n in missed.most_common(40))
        )
    return lines


def show(survey: Survey) -> None:
    """The summary, and what is not exact as a table."""
    console = Console(width=160)
    console.print()
    for line in summary(survey):
        console.print(line)
    table = Table("network", "why", "what it said")
    for why, results in survey.lost.items():
        for result in results:
            table.add_row(result.name, why, said(result))
    for result in survey.results:
        if result.exact and _off(result):
            table.add_row(result.name, "documented otherwise", _documented(result))
    if table.row_count:
        console.print(table)


def said(result: Result) -> str:
    """What became of a network that is not exact: its own message and the line of code, or both figures."""
    if result.error:
        message, *hints = result.error.splitlines()
        kind, _, text = message.partition(": ")
        line = next((hint.strip() for hint in hints if _LINE.match(hint)), "")
        return " ".join(f"{text or kind} {line}".split())
    if not result.complete:
        return result.warnings[0]
    return (
        f"parameters {result.params:,} of {result.module_params:,}; MACs but attention "
        f"{result.macs_but_attention:,}, witness {result.witness_macs:,}"
    )


def page(surveys: Sequence[Survey], versions: str) -> str:
    """All surveys as Markdown."""
    lines = [
        "# Every network",
        "",
        "Every network that the installed libraries know by name, weighed and held against independent counts:",
        f"`python -m benchmarks every --page docs/truth/every.md`, with {versions}.",
        "",
        "*Exact* means two things. The parameters are those of a plain sum over the module. And the MACs of everything",
        "but attention, grouped products of experts, distances between vectors and the gradients of recurrent networks are",
        "those of PyTorch's `FlopCounterMode` on the same run, forward and in training backward, to the last one. Of attention",
        "only the pairs that are seen count here, and for the others it has no formula: the tests have them by hand.",
        "",
        "| survey | networks | surveyed | exact | not exact |",
        "|---|--:|--:|--:|--:|",
    ]
    for survey in surveys:
        lost = len(survey.results) - len(survey.exact)
        lines.append(
            f"| {survey.title} | {len(survey.names):,} | {len(survey.results):,} | {len(survey.exact):,} | {lost:,} |"
        )
    lines += [
        "",
        "One network an architecture: timm's without a tag, transformers' at its default configuration, with the head of a",
        "language model where it has one. Training steps are those of torchvision's classifiers, and of the types of",
        "transformers in wide use, with SGD, on two samples. A network that takes more than two minutes of a core is given up.",
        "",
    ]
    for survey in surveys:
        if survey.results:
            lines += _section(survey)
    return "\n".join(lines)


def _section(survey: Survey) -> list[str]:
    first, *rest = summary(survey)
    lines = [f"## {survey.title}", "", first.partition(": ")[2] + "."]
    lines += [f"{line[0].upper()}{line[1:]}." for line in rest]
    lines.append("")
    lost = survey.lost
    if lost:
        lines += ["| not exact, because it | networks |", "|---|--:|"]
        lines += [f"| {why} | {len(results)} |" for why, results in lost.items()]
        lines.append("")
        for why, results in lost.items():
            lines += [
                f"**{why[0].upper()}{why[1:]}**",
                "",
                "| network | what it said |",
                "|---|---|",
            ]
            lines += [f"| {result.name} | {_cell(said(result))} |" for result in results]
            lines.append("")
    off = [result for result in survey.results if result.exact and _off(result)]
    if off:
        lines += ["**Exact, and documented otherwise**", "", "| network | |", "|---|---|"]
        lines += [f"| {result.name} | {_documented(result)} |" for result in off]
        lines.append("")
    lines += [f"<details><summary>The {len(survey.exact):,} that are exact</summary>", ""]
    lines += _wrapped(survey.exact)
    lines += ["", "</details>", ""]
    return lines


def _cell(text: str, width: int = 200) -> str:
    """A text for a cell of a table, cut off behind a word."""
    text = text.replace("|", "/")
    return text if len(text) <= width else f"{text[:width].rpartition(' ')[0]} ..."


def _wrapped(names: Iterable[str], width: int = 118) -> list[str]:
    """The names as lines of a paragraph."""
    lines: list[str] = []
    line = ""
    for name in names:
        longer = f"{line}, {name}" if line else name
        if len(longer) > width:
            lines.append(f"{line},")
            longer = name
        line = longer
    return [*lines, line] if line else lines


def _off(result: Result) -> bool:
    """Whether a documented figure differs by more than half a percent."""
    if result.mode == "training" or not result.documented_gmacs:
        return False
    # The documentation prints three decimals.
    allowed = max(0.005 * result.documented_gmacs, 0.0006)
    return abs(result.macs / 1e9 - result.documented_gmacs) > allowed


def _documented(result: Result) -> str:
    return f"documented {result.documented_gmacs} GMACs, weighed {result.macs / 1e9:.3f}"
