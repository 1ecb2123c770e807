"""A GPU that was calibrated: an H200's calibration, and steps that were measured on it in the same hour."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import weighbridge
from weighbridge import machine
from weighbridge.calibration import path, read
from weighbridge.devices import gpu, load
from weighbridge.rooms import clock

TAKEN = Path(__file__).parents[1] / "benchmarks" / "measured" / "h200-sxm-calibration.json"


@pytest.fixture
def h200(monkeypatch, tmp_path):
    """A machine with the GPU, calibrated."""
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    path("cuda").parent.mkdir()
    shutil.copy(TAKEN, path("cuda"))
    found = read(TAKEN)
    assert found is not None
    there = gpu("NVIDIA H200")
    monkeypatch.setattr(machine.devices, "gpus_by_driver", lambda: (there,))
    monkeypatch.setattr(machine.processor, "cores", lambda: found.conditions.cores)
    monkeypatch.setattr(machine, "torch_version", lambda: found.conditions.torch)
    monkeypatch.setattr(machine.platform, "system", lambda: found.conditions.system)
    return there


# What `weigh measure` printed on that machine. All of these keep the GPU busy.
@pytest.mark.parametrize(
    ("network", "settings", "measured_s"),
    [
        ("resnet50", {"batch": 64}, 9.49e-3),
        ("resnet50", {"batch": 64, "train": "sgd"}, 32.6e-3),
        ("resnet50", {"batch": 64, "precision": "amp-bf16"}, 8.03e-3),
        ("vit_b_16", {"batch": 32}, 31.9e-3),
    ],
)
def test_a_step_is_predicted_as_it_was_measured(h200, network, settings, measured_s):
    (time,) = weighbridge.weigh(network, on=h200, **settings).times
    assert time.seconds.value == pytest.approx(measured_s, rel=0.06)
    assert time.seconds.basis == "calibrated on 2026-11-27, PyTorch 2.11.0"


def test_products_of_float32_are_faster_in_tf32(h200):
    plain, fast = (
        weighbridge.weigh("vit_b_16", batch=32, on=h200, precision=precision).times[0].device_s
        for precision in ("float32", "tf32")
    )
    # measured on the H100 of the same make at 4096: 2,658 us a product against 349; the rest of the step stays
    assert plain / 5 < fast < plain / 2


def test_a_calibration_is_of_its_gpu_alone(h200):
    assert clock(h200, "float32").measured is not None
    for other in (load("h200"), gpu("NVIDIA H100 80GB HBM3")):
        assert clock(other, "float32").measured is None


def test_under_another_pytorch_it_is_stale(h200, monkeypatch):
    monkeypatch.setattr(machine, "torch_version", lambda: "2.14.1")
    found = clock(h200, "float32")
    assert found.measured is None
    assert found.stale == ("torch 2.11.0, and 2.14.1 now",)
