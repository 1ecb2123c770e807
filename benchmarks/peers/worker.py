"""The process of one tool: it loads the tool once, and weighs every network in a process forked from it.
A tool that refuses that is asked in the process itself, which then serves one network.

Started by `asking` as `python -m benchmarks.peers.worker TOOL`. It reads questions from its input, a JSON
object a line (build, device, repeats, limit_bytes, timeout, forks), and answers each with a line. So a crash,
a memory limit or a leak ends with the network that it happened with, and loading PyTorch and the tool,
which takes longer than most analyses, is paid once.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

PATIENCE = 10
"""Seconds on the clock for one of a process; a machine that people work on is that slow, no tool is."""

Question = Mapping[str, Any]
Answer = dict[str, Any]


def main(tool: str) -> int:
    """Answers until the input ends."""
    replies = os.fdopen(os.dup(1), "w")
    _silence()
    count, failure = _loaded(tool)
    gc.freeze()  # a fork then shares what is loaded, and collects nothing of it
    for line in sys.stdin:
        question = json.loads(line)
        if failure is not None:
            answer = {"stage": "import", "error": failure}
        elif question["forks"]:
            answer = _in_a_fork(count, question)
        else:
            answer = _weighed(count, question)
        print(json.dumps(answer), file=replies, flush=True)
    return 0


def _silence() -> None:
    """What tools print goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    warnings.simplefilter("ignore")


def _loaded(tool: str) -> tuple[Any, str | None]:
    """The tool's function, or the first line of why it can't be had."""
    try:
        import torch

        from benchmarks.peers import networks
        from benchmarks.peers.tools import BY_NAME

        count = BY_NAME[tool].load()
        if BY_NAME[tool].forks:
            networks.load()
    except BaseException as error:  # a tool may even call sys.exit
        return None, _first_line(error)
    _load_late(count, torch.nn.Linear(1, 1, device="meta"), torch.zeros(1, 1, device="meta"))
    return count, None


def _load_late(count: Any, module: Any, tensor: Any) -> None:
    """Makes tool and PyTorch load what they load with the first call; on meta, which starts no threads."""
    try:
        count(module, (tensor,))
    except BaseException:  # it can't do meta: it loads in the fork, with the first of the repeats
        return


def _in_a_fork(count: Any, question: Question) -> Answer:
    """The answer of a process of its own, which ends when its time is over."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "answer.json")
        child = os.fork()
        if child == 0:
            # Gone without cleaning up what is not its own.
            file.write_text(json.dumps(_weighed(count, question)))
            os._exit(0)
        status = _wait(child, PATIENCE * max(question["timeout"], 1))
        if status == -signal.SIGPROF:
            return {"stage": "count", "error": f"no answer in {question['timeout']:g} CPU s"}
        if status is None:
            return {"stage": "count", "error": "waits for something, and does nothing"}
        if not file.exists():
            return {"stage": "count", "error": _died(status)}
        answer: Answer = json.loads(file.read_text())
        return answer


def _wait(child: int, timeout: float) -> int | None:
    """The exit status, or None for a process that had to be killed."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _died(status: int) -> str:
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"ended with {status} and no answer"


def _weighed(count: Any, question: Question) -> Answer:
    """Weighs one network; an exception is an answer, and so is a process that its time ends."""
    signal.setitimer(signal.ITIMER_PROF, question["timeout"])
    answer: Answer = {"stage": "build"}
    try:
        _ask(count, question, answer)
    except BaseException as error:
        answer["error"] = _first_line(error)
    answer["peak_bytes"] = _peak_bytes()
    return answer


def _ask(count: Any, question: Question, answer: Answer) -> None:
    import torch

    from benchmarks.peers.networks import built

    torch.manual_seed(0)
    module, arguments = built(question["build"], device="meta")
    if question["device"] != "meta":
        needed = sum(p.numel() * p.element_size() for p in module.parameters())
        if needed > question["limit_bytes"]:
            raise MemoryError(f"needs data: {needed / 2**30:.1f} GiB of weights")
        module, arguments = built(question["build"], device=question["device"])
    answer["base_bytes"] = _peak_bytes()
    resource.setrlimit(resource.RLIMIT_DATA, (question["limit_bytes"], question["limit_bytes"]))
    answer["stage"] = "count"
    answer["cpu_seconds"], answer["wall_seconds"] = [], []
    for repeat in range(question["repeats"]):
        with torch.no_grad():
            wall, cpu = time.perf_counter(), time.process_time()
            counted = count(module, arguments)
            answer["cpu_seconds"].append(time.process_time() - cpu)
            answer["wall_seconds"].append(time.perf_counter() - wall)
        if repeat == 0:  # a tool that answers differently the second time is judged by the first
            answer.update(asdict(counted))
    answer["stage"] = "done"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return _short(f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__)


def _short(text: str) -> str:
    return text if len(text) <= 160 else text[:159] + "…"


def _peak_bytes() -> int:
    """The most memory that was resident; Linux says KiB, macOS bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
