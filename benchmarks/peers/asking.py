"""Asks the tools' processes, and lives through whatever happens in them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.peers.install import ENVIRONMENT, ROOT, python
from benchmarks.peers.tools import BY_NAME

LIMIT_BYTES = 10 * 2**30
"""What weighing one network may allocate; a machine that people work on stays usable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one tool said about one network. `error` is set, or `macs` and `params` are; `flops` where it says both.

    `cpu_seconds` (user and system, all threads) has one value a repeat, without imports and building;
    `peak_bytes` is the process's, `base_bytes` what it was before the first call. `uncounted` names the
    operators that the tool itself says it has not counted.
    """

    macs: int | None = None
    params: int | None = None
    flops: int | None = None
    uncounted: Sequence[str] = ()
    cpu_seconds: Sequence[float] = ()
    wall_seconds: Sequence[float] = ()
    base_bytes: int | None = None
    peak_bytes: int | None = None
    device: str = "cpu"
    stage: str = "done"
    error: str | None = None


class Workers:
    """One process a tool, started when the tool is first asked."""

    def __init__(self) -> None:
        self._running: dict[str, subprocess.Popen[str]] = {}

    def ask(
        self,
        tool: str,
        build: str,
        *,
        device: str,
        repeats: int = 1,
        timeout: float = 120,
    ) -> Answer:
        """One tool about one network, in a process forked for it."""
        question = {
            "build": build,
            "device": device,
            "repeats": repeats,
            "limit_bytes": LIMIT_BYTES,
            "timeout": timeout,
            "forks": BY_NAME[tool].forks,
        }
        worker = self._worker(tool)
        assert worker.stdin is not None
        assert worker.stdout is not None
        try:
            print(json.dumps(question), file=worker.stdin, flush=True)
            line = worker.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line or not BY_NAME[tool].forks:
            self._end(tool)
        if not line:
            return Answer(
                device=device, stage="count", error=f"died, or took over {timeout:g} CPU s"
            )
        return Answer(device=device, **json.loads(line))

    def end(self) -> None:
        """Lets every process go."""
        for tool in tuple(self._running):
            self._end(tool)

    def _end(self, tool: str) -> None:
        worker = self._running.pop(tool)
        worker.kill()
        worker.communicate()

    def _worker(self, tool: str) -> subprocess.Popen[str]:
        if tool not in self._running:
            self._running[tool] = subprocess.Popen(
                [str(python()), "-m", "benchmarks.peers.worker", tool],
                cwd=ROOT,
                env=_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        return self._running[tool]


@contextlib.contextmanager
def workers() -> Iterator[Workers]:
    """Processes to ask, which end with the block."""
    asked = Workers()
    try:
        yield asked
    finally:
        asked.end()


def _environment() -> dict[str, str]:
    """The project's sources importable, no network, no chatter."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "src"))),
        "PYTHONWARNINGS": "ignore",
        "HF_HUB_OFFLINE": "1",
        "VIRTUAL_ENV": str(ENVIRONMENT),
    }
