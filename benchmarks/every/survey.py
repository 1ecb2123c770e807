"""A survey: many networks, each in a worker process, what became of each kept on disk as soon as it is known."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from benchmarks.every.networks import Mode, names_of
from benchmarks.every.weighing import Result, weigh

FOLDER = Path("build/every")

BATCH = 200
"""Networks that one set of workers weighs."""


def run(
    frontend: str, mode: Mode, *, only: str, again: bool, fresh: bool, workers: int
) -> list[Result]:
    """Weighs what is left to weigh and returns all results.

    `only` are the networks whose name contains this, or is this where it begins with '='; `again` weighs those
    that were not exact once more, `fresh` all of them.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = FOLDER / f"{frontend}-{mode}.jsonl"
    if fresh:
        file.unlink(missing_ok=True)
    done = kept(frontend, mode)
    names = [name for name in names_of(frontend, mode) if only in f"={name}="]
    left = [name for name in names if name not in done or (again and not done[name].exact)]
    with Progress(console=Console(stderr=True)) as progress, file.open("a") as lines:
        task = progress.add_task(
            f"{frontend} {mode}", total=len(names), completed=len(names) - len(left)
        )
        for result in _weighed(frontend, left, mode, workers):
            done[result.name] = result
            lines.write(json.dumps(asdict(result)) + "\n")
            lines.flush()
            progress.advance(task)
    return [done[name] for name in names if name in done]


def kept(frontend: str, mode: Mode) -> dict[str, Result]:
    """What is known so far, by name: of a network that was weighed again, what became of it last."""
    file = FOLDER / f"{frontend}-{mode}.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    records = [json.loads(line) for line in lines]
    return {
        record["name"]: Result(**{**record, "warnings": tuple(record["warnings"])})
        for record in records
    }


def _weighed(frontend: str, names: list[str], mode: Mode, workers: int) -> Iterator[Result]:
    """The results as they come; a worker that dies takes only the networks that it was at."""
    commit = _commit()
    # New workers now and then: libraries keep what they built.
    for start in range(0, len(names), BATCH):
        left = names[start : start + BATCH]
        while left:
            waiting = list(left)
            with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
                futures = {pool.submit(weigh, frontend, name, mode, commit): name for name in left}
                left = []
                try:
                    for future in as_completed(futures):
                        yield future.result()
                        waiting.remove(futures[future])
                except BrokenProcessPool:
                    # Submitted in order: the dead worker was at one of the first that are left.
                    for name in waiting[:workers]:
                        yield Result(name=name, mode=mode, error="the worker died", commit=commit)
                    left = waiting[workers:]


def _commit() -> str:
    """The version of the code, with `-dirty` where files differ from it; empty outside a checkout."""
    command = ("git", "describe", "--always", "--dirty")
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
