"""Starts a process for every question, and lives through whatever happens in it."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.install import ENVIRONMENT, ROOT, python

LIMIT_BYTES = 10 * 2**30
"""What a worker may allocate; a machine that people work on stays usable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one tool said about one network. `error` is set, or `macs` and `params` are.

    `cpu_seconds` (user and system, all threads) has one value a repeat, without imports and building;
    `peak_bytes` is the process's, `base_bytes` what it was before the first call.
    """

    macs: int | None = None
    params: int | None = None
    uncounted: Sequence[str] = ()
    cpu_seconds: Sequence[float] = ()
    wall_seconds: Sequence[float] = ()
    base_bytes: int | None = None
    peak_bytes: int | None = None
    device: str = "cpu"
    stage: str = "done"
    error: str | None = None


def ask(
    tool: str,
    build: str,
    *,
    device: str,
    size: int = 224,
    repeats: int = 1,
    timeout: float = 120,
    limit_bytes: int = LIMIT_BYTES,
) -> Answer:
    """One tool about one network, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "answer.json")
        question = {
            "tool": tool,
            "build": build,
            "size": size,
            "device": device,
            "repeats": repeats,
            "limit_bytes": limit_bytes,
            "answer": str(file),
        }
        words = [str(python()), "-m", "benchmarks.peers.worker", json.dumps(question)]
        try:
            ran = subprocess.run(
                words, cwd=ROOT, env=_environment(), timeout=timeout, capture_output=True
            )
        except subprocess.TimeoutExpired:
            return Answer(device=device, stage="count", error=f"no answer in {timeout:g} s")
        if not file.exists():
            return Answer(device=device, stage="count", error=_died(ran))
        return Answer(device=device, **json.loads(file.read_text()))


def _environment() -> dict[str, str]:
    """The project's sources importable, no network, no chatter."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "src"))),
        "PYTHONWARNINGS": "ignore",
        "HF_HUB_OFFLINE": "1",
        "VIRTUAL_ENV": str(ENVIRONMENT),
    }


def _died(ran: subprocess.CompletedProcess[bytes]) -> str:
    """How a process ended that wrote no answer: a signal, or its last words."""
    if ran.returncode < 0:
        return f"killed by signal {-ran.returncode}"
    words = ran.stderr.decode(errors="replace").strip().splitlines()
    return words[-1] if words else f"ended with {ran.returncode} and no answer"
