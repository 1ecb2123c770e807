"""What was measured of a machine: the file that keeps it, whether it still holds, and the clock that follows."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from weighbridge.analyses.time.clock import Clock
from weighbridge.analyses.time.measured import Curve, Measured
from weighbridge.analyses.time.step import step_time
from weighbridge.api import weigh
from weighbridge.calibration import (
    Calibration,
    Conditions,
    Overheads,
    Point,
    operator_of,
    path,
    read,
    write,
)
from weighbridge.errors import UsageError
from weighbridge.machine import calibrated, conditions, measured_clock
from weighbridge.ops.kernel import Gemm, Kernel

HERE = Conditions(
    device="cpu", processor="Test 1", cores=2, threads=2, torch="2.9.0", system="Linux", malloc=""
)


def product(rows: int, columns: int, depth: int) -> Kernel:
    return Kernel(
        kind="matmul",
        macs=rows * columns * depth,
        read_bytes=4 * (rows * depth + depth * columns),
        write_bytes=4 * rows * columns,
        gemm=Gemm(batch=1, rows=rows, columns=columns, depth=depth),
    )


def lawful(kernel: Kernel) -> float:
    """10 us a call, 100 GMAC/s, and 10 GB/s."""
    return 10e-6 + kernel.macs / 100e9 + kernel.traffic_bytes / 10e9


SIZES = (32, 128, 512)
POINTS = tuple(
    Point(operator="matmul", kernel=kernel, seconds=lawful(kernel))
    for kernel in (product(r, c, d) for r in SIZES for c in SIZES for d in SIZES)
)


def calibration(**changes: object) -> Calibration:
    found = Calibration(
        conditions=HERE,
        taken="2026-11-27T05:00:00+00:00",
        seconds=80.0,
        repeatability=0.03,
        disturbed=0.01,
        overheads=Overheads(),
        points=POINTS,
    )
    return replace(found, **changes)  # type: ignore[arg-type]


# -- the file ------------------------------------------------------------------------------------


def test_what_is_written_is_read_back(tmp_path):
    where = tmp_path / "deep" / "calibration-cpu.json"
    write(calibration(), where)
    found = read(where)
    assert found is not None
    assert found.conditions == HERE
    assert found.points[0].kernel == POINTS[0].kernel
    # four significant digits are kept
    assert found.points[0].seconds == pytest.approx(POINTS[0].seconds, rel=1e-3)


def test_no_file_is_no_calibration(tmp_path):
    assert read(tmp_path / "none.json") is None


def test_it_is_kept_where_xdg_says(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert path("cpu") == tmp_path / "weighbridge" / "calibration-cpu.json"


def test_an_interrupted_write_leaves_the_old_file_whole_and_nothing_else(tmp_path, monkeypatch):
    where = tmp_path / "calibration-cpu.json"
    write(calibration(), where)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(calibration(seconds=1.0), where)
    found = read(where)
    assert found is not None
    assert found.seconds == 80.0
    assert [entry.name for entry in tmp_path.iterdir()] == ["calibration-cpu.json"]


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="the calibration cannot be written"):
        write(calibration(), tmp_path / "file" / "calibration-cpu.json")


def changed(**changes: object) -> str:
    record = json.loads(calibration().to_json())
    for key, value in changes.items():
        table, _, name = key.partition("__")
        if name:
            table_of = record[table][0] if table == "points" else record[table]
            table_of[name] = value
        else:
            record[table] = value
    return json.dumps(record)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"not JSON"),
        ("[]", r"the file is \[\], not a table"),
        (changed(schema=7), r"schema is 7, and this version reads 1"),
        (changed(points=[]), r"points is no list with entries"),
        (changed(points=[3]), r"points, entry 1 is 3, not a table"),
        (changed(conditions=None), r"conditions is None, not a table"),
        (changed(conditions__torch=""), r"conditions: torch is '', and a text is expected"),
        (changed(conditions__cores=0), r"cores is 0, and a whole number from 1 to 10000"),
        (changed(overheads__page_s="x"), r"overheads: page_s is 'x', and a number from 0 to 10"),
        (changed(repeatability=-1), r"repeatability is -1, and a number from 0 to 10"),
        (changed(points__seconds=0), r"points, entry 1: seconds is 0, and a number from 1e-09 to 60"),
        (changed(points__macs=1.5), r"macs is 1.5, and a whole number"),
        (changed(points__kind="magic"), r"no kernel is of class 'magic'"),
        (changed(points__gemm=[1, 2]), r"gemm is \[1, 2\]"),
    ],
)  # fmt: skip
def test_a_bad_file_is_said_to_be_bad_and_where(tmp_path, text, message):
    where = tmp_path / "calibration-cpu.json"
    where.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        read(where)
    assert str(where) in str(caught.value)
    assert "weigh calibrate" in str(caught.value)


def test_a_file_that_is_no_text_is_said(tmp_path):
    where = tmp_path / "calibration-cpu.json"
    where.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UsageError, match="the calibration cannot be read"):
        read(where)


# -- whether it holds ----------------------------------------------------------------------------


def test_other_conditions_are_named():
    now = replace(HERE, torch="2.10.0", threads=8)
    assert HERE.differences(now) == ("threads 2, and 8 now", "torch 2.9.0, and 2.10.0 now")
    assert HERE.differences(HERE) == ()


def test_a_stale_calibration_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    stale = replace(conditions(HERE), processor="another processor")
    write(calibration(conditions=stale), path())
    found = calibrated()
    assert found is not None
    assert any("another processor" in reason for reason in found.stale)
    from weighbridge.devices import here
    from weighbridge.rooms import clock

    assert clock(here(), "float32").measured is None
    write(calibration(conditions=conditions(HERE)), path())
    assert clock(here(), "float32").measured is not None


# -- the clock -----------------------------------------------------------------------------------


def test_a_curve_finds_the_law_behind_its_points():
    curve = Curve(POINTS)
    between = product(200, 300, 100)  # not among the points
    assert curve.parts(between).seconds == pytest.approx(lawful(between), rel=0.08)


def test_no_rate_is_negative():
    # Larger kernels that take less time: a straight line would have a negative slope.
    points = [replace(point, seconds=1e-3 / (1 + place)) for place, point in enumerate(POINTS)]
    assert min(Curve(points).rates) >= 0


def test_what_a_shape_costs_beyond_the_law_is_like_its_neighbours():
    # Every kernel takes three times the law: the base alone would find that; one odd corner that takes six is interpolated.
    odd = tuple(
        replace(p, seconds=p.seconds * (2 if p.kernel.gemm and p.kernel.gemm.depth == 512 else 1))
        for p in POINTS
    )
    curve = Curve(odd)
    near, far = product(128, 128, 500), product(128, 128, 40)
    assert curve.parts(near).seconds / lawful(near) > 1.3 * curve.parts(far).seconds / lawful(far)


def test_a_class_that_was_not_measured_is_timed_by_another_and_named():
    program = weigh("vgg11", batch=1, backend="cpu").program
    time = step_time(program, measured_clock(calibration()))
    assert time.seconds.value > 0
    assert "convolution" in time.extrapolating
    assert "matmul" not in time.extrapolating


def test_the_host_comes_on_top_of_the_kernels():
    # Two linear layers and what lies between: the same kernels, and one host's second for each operator.
    program = weigh("100 -> (fc)10 -> (fc)10", backend="cpu").program
    plain = step_time(program, measured_clock(calibration()))
    slow = step_time(program, measured_clock(calibration(overheads=Overheads(forward_s=1.0))))
    assert slow.seconds.value - plain.seconds.value == pytest.approx(len(program.ops))


def test_kernels_between_others_take_longer():
    program = weigh("100 -> (fc)10", backend="cpu").program
    plain = step_time(program, measured_clock(calibration()))
    times = step_time(program, measured_clock(calibration(overheads=Overheads(forward=1.5))))
    assert times.device_s == pytest.approx(1.5 * plain.device_s)


def test_whole_steps_settle_what_they_take_beyond_kernels():
    # Steps made up: kernels 1.2 times as long as alone and 40 us an operator.
    measured = Measured(calibration())
    steps = []
    for widths in ((50,), (400, 400), (900, 900, 900), (30,) * 6):
        text = " -> ".join(("700", *(f"(fc){width}" for width in widths)))
        program = weigh(text, batch=64, backend="cpu").program
        alone = step_time(program, clock_of(calibration())).device_s
        steps.append((program, 1.2 * alone + 40e-6 * len(program.ops)))
    found = measured.settled(steps)
    assert found.forward == pytest.approx(1.2, rel=0.05)
    assert found.forward_s == pytest.approx(40e-6, rel=0.1)


def clock_of(found: Calibration) -> Clock:
    return measured_clock(found)


def test_a_sweep_takes_one_batch_after_the_other(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    write(calibration(conditions=conditions(HERE)), path())
    from weighbridge.devices import here
    from weighbridge.rooms import clock
    from weighbridge.sweeping import seconds_of

    class Grown:
        def seconds(self, clock: Clock, batch: int) -> float:
            assert isinstance(batch, int)
            return batch * 1e-3

    found = seconds_of(Grown(), clock(here(), "float32"), (1, 2, 4))  # type: ignore[arg-type]
    assert list(found) == [1e-3, 2e-3, 4e-3]


def test_writing_over_an_operand_is_another_operator():
    program = weigh("vgg11", train="sgd", backend="cpu").program
    names = {operator_of(op) for op in program.ops}
    assert any(name.endswith(" in place") for name in names)
    assert "convolution" in names
