"""Small programs, and the screens expected of them beside this file: for form, not for truth.

`make golden` rewrites the screens; a person reads the diff. The figures in them are tested elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

import weighbridge
from weighbridge import layers
from weighbridge.analyses.time.clock import Clock
from weighbridge.analyses.time.roofline import By, roofline
from weighbridge.analyses.time.step import StepTime, step_time
from weighbridge.analyses.weighing import Weighing
from weighbridge.builder import Builder
from weighbridge.devices import Device, Efficiencies, Efficiency, Rates
from weighbridge.program import Program
from weighbridge.reports.layers import layer_sheet
from weighbridge.reports.table import render, written
from weighbridge.rooflines import RooflineReport
from weighbridge.workload import Optimizer, Workload

CONVOLUTION = "(Input)(3,224,224)->(Conv)6c5w1s0p"
FULLY_CONNECTED = "100 -> (fc)10"
TRAINING = Workload(
    mode="training", batch=4, optimizer=Optimizer(name="sgd", settings={"momentum": 0.9})
)


def residual(workload: Workload) -> Program:
    """A stem, two residual blocks, a classifier: every kind of row that a table can have."""
    net = Builder(workload)
    x = net.input((workload.batch, 3, 16, 16))
    with net.module("stem", "Sequential"):
        x = layers.convolution(net, x, "0", 8, 3, padding=1, bias=False)
        x = layers.batch_norm(net, x, "1")
        x = layers.activation(net, x, "2")
    with net.module("body", "Sequential"):
        for index in range(2):
            with net.module(str(index), "Block"):
                y = layers.convolution(net, x, "conv", 8, 3, padding=1)
                y = layers.activation(net, y, "relu")
                x = layers.add(net, x, y)
    x = layers.global_average_pool(net, x, "pool")
    x = layers.flatten(net, x)
    x = layers.dropout(net, x, "dropout")
    x = layers.linear(net, x, "fc", 10)
    return net.build(network="residual", source="golden", frontend="builder", outputs=(x,))


def half_known(workload: Workload) -> Program:
    """The same with an operator that nobody knows, stopped half-way."""
    program = residual(workload)
    ops = (replace(op, kind="aten.mystery") if op.kind == "relu" else op for op in program.ops)
    return replace(
        program, ops=tuple(ops), complete=False, warnings=("stopped at fc: RuntimeError",)
    )


DEVICE = Device(
    name="Card",
    key="card",
    bandwidth_bytes_per_s=10e9,
    vector_flop_per_s=Rates(float32=100e9),
    matrix_flop_per_s=Rates(float16=1e12),
)
REACHED = Efficiencies(
    default=Efficiency(compute=0.5, bandwidth=0.75, launch_s=1e-6),
    dispatch_s=0.5e-6,
    low=0.9,
    high=1.2,
    basis="by definition",
)


def timed(workload: Workload) -> StepTime:
    """The step on a device of round numbers."""
    return step_time(residual(workload), Clock(device=DEVICE, efficiencies=REACHED))


def times_of_layers() -> str:
    """The table with the time of each layer."""
    weighing = Weighing(program=residual(TRAINING))
    sheet = layer_sheet(weighing, depth=1, times=(timed(TRAINING),))
    return written(render(sheet, width=100), color=False)


def roofs(by: By) -> str:
    """The screen of `weigh roofline`."""
    weighing = Weighing(program=residual(TRAINING))
    return RooflineReport(weighing, roofline(timed(TRAINING), by)).screen(width=100)


SCREENS: Mapping[str, Callable[[], str]] = {
    "convolution": lambda: weighbridge.weigh(CONVOLUTION).screen(),
    "lecture": lambda: weighbridge.weigh(CONVOLUTION, convention="lecture").screen(formulas=True),
    "exact": lambda: weighbridge.weigh(FULLY_CONNECTED, convention="exact").screen(formulas=True),
    "paper": lambda: weighbridge.weigh(FULLY_CONNECTED, convention="paper").screen(),
    "residual": lambda: weighbridge.weigh(residual(Workload())).screen(),
    "training": lambda: weighbridge.weigh(residual(TRAINING)).screen(),
    "folded": lambda: weighbridge.weigh(residual(TRAINING)).screen(depth=1, formulas=True),
    "narrow": lambda: weighbridge.weigh(residual(TRAINING)).screen(width=60, formulas=True),
    "columns": lambda: weighbridge.weigh(residual(TRAINING)).screen(
        columns=("kernel", "input", "share-params", "flops", "update", "activation")
    ),
    "operators": lambda: weighbridge.weigh(residual(TRAINING)).screen(by="operator"),
    "half-known": lambda: weighbridge.weigh(half_known(Workload())).screen(),
    "tree": lambda: weighbridge.weigh(residual(Workload())).tree(),
    "space": lambda: weighbridge.weigh(FULLY_CONNECTED, batch=32, dataset=1000).space_screen(),
    "comparison": lambda: str(weighbridge.compare([residual(Workload()), FULLY_CONNECTED])),
    "modules": lambda: weighbridge.compare([residual(Workload())], depth=2).screen(by="module"),
    "times": times_of_layers,
    "roofline": lambda: roofs("class"),
    "roofline-layers": lambda: roofs("layer"),
    "table.md": lambda: weighbridge.weigh(residual(TRAINING)).to_markdown(),
    "table.tex": lambda: weighbridge.weigh(residual(TRAINING)).to_latex(),
    "table.html": lambda: weighbridge.weigh(residual(TRAINING)).to_html(),
    "table.csv": lambda: weighbridge.weigh(residual(TRAINING)).to_csv(formulas=True),
    "report.json": lambda: weighbridge.weigh(FULLY_CONNECTED, train="adam").to_json(),
}
"""A name, and what is shown under it; the file has the suffix .txt where the name has none."""


@pytest.mark.parametrize("name", SCREENS)
def test_the_screen_is_as_expected(name: str, update_golden: bool) -> None:
    path = Path(__file__).parent / (name if "." in name else f"{name}.txt")
    screen = SCREENS[name]().rstrip("\n") + "\n"
    if update_golden:
        path.write_text(screen, encoding="utf-8")
    assert screen == path.read_text(encoding="utf-8"), f"`make golden` rewrites {path.name}"


def test_no_expected_screen_is_left_behind() -> None:
    expected = {name if "." in name else f"{name}.txt" for name in SCREENS}
    beside = {path.name for path in Path(__file__).parent.iterdir() if path.is_file()}
    assert beside - {"test_golden.py"} == expected
