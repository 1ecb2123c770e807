"""What a survey found: on the screen, and as Markdown."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.table import Table

from benchmarks.every.networks import Mode
from benchmarks.every.weighing import Result


def summary(frontend: str, mode: Mode, results: list[Result]) -> list[str]:
    """How many were weighed, how many are exact, by which rung, and which operators have no rule."""
    weighed = [result for result in results if not result.error]
    exact = sum(result.exact for result in weighed)
    whole = sum(not result.uncounted for result in weighed)
    rungs = Counter(result.rung for result in weighed)
    lines = [
        f"{frontend}, {mode}: {len(results)} networks, {len(weighed)} weighed, {exact} exact in parameters and "
        f"MACs, {whole} with every operator counted",
        "by rung: " + ", ".join(f"{rung} {count}" for rung, count in rungs.items()),
    ]
    missed: Counter[str] = Counter()
    for result in results:
        missed.update(result.uncounted or {})
    if missed:
        lines.append(
            "without a rule: " + ", ".join(f"{op} {n}" for op, n in missed.most_common(40))
        )
    return lines


def exceptions(results: list[Result]) -> list[tuple[str, str]]:
    """The networks that are not exact, or off what is documented, with what there is to say."""
    found = []
    for result in results:
        if result.exact and not _off(result):
            continue
        what = " ".join(result.error.split()) or (
            f"params {result.params:,} of {result.module_params:,}; MACs but attention "
            f"{result.macs_but_attention:,}, witness {result.witness_macs:,}"
        )
        if not result.complete:
            what += f"; {result.warnings[0]}"
        if _off(result):
            what += f"; documented {result.documented_gmacs} G, ours {result.macs / 1e9:.3f} G"
        found.append((result.name, what))
    return found


def show(frontend: str, mode: Mode, results: list[Result]) -> None:
    """The summary, and the exceptions as a table."""
    console = Console(width=160)
    console.print()
    for line in summary(frontend, mode, results):
        console.print(line)
    table = Table("network", "what")
    for name, what in exceptions(results):
        table.add_row(name, what)
    if table.row_count:
        console.print(table)


def page(sections: list[tuple[str, Mode, list[Result]]]) -> str:
    """The same as Markdown."""
    lines = [
        "# Every network",
        "",
        "What `python -m benchmarks every --page docs/truth/every.md` found. Exact means that the parameters are",
        "those of a plain sum over the module, and that the MACs of everything but attention are those of PyTorch's",
        "FlopCounterMode to the last one; attention is taken whole, and its count is checked by hand in the tests.",
        "",
    ]
    for frontend, mode, results in sections:
        first, *rest = summary(frontend, mode, results)
        lines += [f"## {frontend}, {mode}", "", first.partition(": ")[2] + "."]
        lines += [f"{line[0].upper()}{line[1:]}." for line in rest]
        rows = exceptions(results)
        if rows:
            lines += ["", "| network | what |", "|---|---|"]
            lines += [f"| {name} | {what[:240].replace('|', '/')} |" for name, what in rows]
        lines.append("")
    return "\n".join(lines)


def _off(result: Result) -> bool:
    """Whether a documented figure differs by more than half a percent."""
    if result.mode == "training" or not result.documented_gmacs:
        return False
    # The documentation prints three decimals.
    allowed = max(0.005 * result.documented_gmacs, 0.0006)
    return abs(result.macs / 1e9 - result.documented_gmacs) > allowed
