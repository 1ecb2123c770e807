"""The first step that a process traces, which loads what PyTorch loads when it is first used."""

from __future__ import annotations

import subprocess
import sys

import pytest

ASKED = """
import sys
import torch
from torch.utils.checkpoint import checkpoint
from weighbridge.frontends.torch import trace
from weighbridge.workload import Optimizer, Workload

class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Linear(8, 8) for _ in range(3))

    def forward(self, x):
        for layer in self.layers:
            y = {step}
            x = torch.relu(x - y.sum() / 2)
        return x

def storages():
    workload = Workload(mode="training", batch=4, optimizer=Optimizer(name="sgd"))
    examples = (torch.empty(4, 8),)
    return trace(Network(), workload, network="n", source="s", examples=examples).storages

assert "torch._dynamo" not in sys.modules
first = storages()
assert "torch._dynamo" in sys.modules
assert first == storages()
"""


@pytest.mark.parametrize(
    "step", ["checkpoint(layer, x, use_reentrant=False)", "layer(x).exp().triu(1)"]
)
def test_what_pytorch_loads_in_the_middle_of_a_step_holds_no_tensor(step: str) -> None:
    asked = ASKED.replace("{step}", step)
    done = subprocess.run(
        (sys.executable, "-c", asked), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
