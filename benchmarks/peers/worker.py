"""The process in which one tool weighs one network; started by `asking`, one JSON object to a file.

`python -m benchmarks.peers.worker QUESTION` with a question as JSON: tool, build, size, device, repeats,
limit_bytes, answer (the file). Everything that the tool prints goes where the process's output goes.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any


def main(text: str) -> int:
    """Asks, and writes the answer; an exception is an answer."""
    question = json.loads(text)
    answer: dict[str, Any] = {"stage": "import"}
    try:
        _ask(question, answer)
    except BaseException as error:  # a tool may even call sys.exit
        answer["error"] = _first_line(error)
    answer["peak_bytes"] = _peak_bytes()
    Path(question["answer"]).write_text(json.dumps(answer))
    return 0


def _ask(question: dict[str, Any], answer: dict[str, Any]) -> None:
    import torch

    from benchmarks.peers.networks import Recipe, built
    from benchmarks.peers.tools import BY_NAME

    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    count = BY_NAME[question["tool"]].load()
    answer["stage"] = "build"
    recipe = Recipe(build=question["build"], size=question["size"])
    module, arguments = built(recipe, device="meta")
    if question["device"] != "meta":
        needed = sum(p.numel() * p.element_size() for p in module.parameters())
        if needed > question["limit_bytes"]:
            raise MemoryError(f"needs data: {needed / 2**30:.1f} GiB of weights")
        module, arguments = built(recipe, device=question["device"])
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
    return f"{type(error).__name__}: {lines[0].strip() if lines else ''}"


def _peak_bytes() -> int:
    """The most memory that was resident; Linux says KiB, macOS bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
