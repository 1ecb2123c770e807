"""Measuring: a training loop run for real on this CPU, every allocation and free of PyTorch's allocator read.

Two rounds of the loop are run; the first makes the optimizer's state, so that the second is the one to compare.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor
from torch.autograd.profiler import record_function
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from benchmarks.truth.cases import Case, case_named
from weighbridge.frontends.torch.allocations import Round, rounds_of

ROUNDS = 2

THREADS = 2
"""Threads that kernels work with: some take scratch for each, and for one PyTorch takes other kernels than for more."""


def measure(case: Case) -> tuple[Round, ...]:
    """Each round of the case's loop."""
    torch.manual_seed(0)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        _loop(case)
    return rounds_of(profiled)


def _loop(case: Case) -> None:
    model = case.build()
    if case.dtype != "float32":
        model.to(getattr(torch, case.dtype))
    model.train()
    optimizer = case.optimizer.make([p for p in model.parameters() if p.requires_grad])
    output = loss = None
    for index in range(ROUNDS):
        given = case.inputs()
        with record_function(f"round {index}"):
            optimizer.zero_grad(set_to_none=True)
            for _ in range(case.accumulation):
                with torch.autocast("cpu", dtype=torch.bfloat16, enabled=case.autocast):
                    output = model(**given) if isinstance(given, dict) else model(*given)
                    loss = case_loss(case, output)
                loss.backward()
            optimizer.step()


def case_loss(case: Case, output: Any) -> Tensor:
    """The loss that the case names, as its user would write it: labels are made here, and are an input."""
    if case.loss == "own":
        return output.loss
    if case.loss == "mean":
        return _logits(output).mean()
    logits = _logits(output)
    if logits.dim() == 3:
        logits = logits.flatten(0, 1)
    loss = functional.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64))
    for head, weight in case.auxiliary:
        extra = getattr(output, head)
        labels = torch.zeros(len(extra), dtype=torch.int64)
        loss = loss + weight * functional.cross_entropy(extra, labels)
    return loss


def _logits(output: Any) -> Tensor:
    while not isinstance(output, Tensor):
        output = output.logits if hasattr(output, "logits") else next(iter(output.values()))
    return output


def main(name: str) -> None:
    """Measures one case and prints it; the process ends with it."""
    torch.set_num_threads(THREADS)
    print(json.dumps([asdict(round) for round in measure(case_named(name))]))


if __name__ == "__main__":
    main(sys.argv[1])
