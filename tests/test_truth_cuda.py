"""What was measured on a GPU is kept as a table, and a machine's own GPU is timed by its calibration."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.truth.cuda import CARD, MEASURED
from benchmarks.truth.cuda_cases import cuda_cases
from benchmarks.truth.cuda_measuring import written

from weighbridge.devices import gpu, load

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[1]


def test_every_row_that_was_measured_is_a_case_and_plausible():
    rows = written(ROOT / MEASURED / f"{CARD}.csv")
    cases = {case.key: case for case in cuda_cases()}
    assert len(rows) >= 80
    assert len({row.key for row in rows}) == len(rows)
    capacity = load(CARD).capacity_bytes
    assert capacity is not None
    for row in rows:
        assert row.key in cases
        assert row.left_bytes == 0  # nothing of the case before was left
        assert 0 < row.allocated_bytes <= row.reserved_bytes < capacity
        assert row.launches > 0
        # Where kernels overlap, as in one ViT of half precision, they are together longer than the step.
        assert 0 < row.device_s < 1.2 * row.step_s


def test_no_file_is_no_rows(tmp_path):
    assert written(tmp_path / "none.csv") == ()


def test_a_use_is_a_workload():
    case = next(each for each in cuda_cases() if "adamw fused" in each.use)
    workload = case.workload
    assert workload.optimizer is not None
    assert (workload.optimizer.name, workload.optimizer.implementation) == ("adamw", "fused")
    assert (workload.precision, workload.batch, workload.mode) == ("amp-bf16", 128, "training")


def test_a_gpu_here_keeps_what_its_driver_calls_it():
    found = gpu("NVIDIA H100 80GB HBM3")
    assert found.driver_name == "NVIDIA H100 80GB HBM3"
    assert found.key == CARD
    assert load(CARD).driver_name == ""
    assert replace(found, driver_name="") != found
