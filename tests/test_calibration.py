"""What was measured of a machine: the file that keeps it, whether it still holds, and the clock that follows."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from itertools import product as product_of

import pytest

from weighbridge.analyses.time.clock import Clock
from weighbridge.analyses.time.measured import Curve, Measured, fitted
from weighbridge.analyses.time.step import step_time
from weighbridge.api import weigh
from weighbridge.calibration import (
    Calibration,
    Conditions,
    Overheads,
    Point,
    Setting,
    operator_of,
    path,
    read,
    write,
)
from weighbridge.devices import may_have_gpus
from weighbridge.errors import UsageError
from weighbridge.machine import calibrated, conditions, measured_clock
from weighbridge.ops.kernel import KERNEL_CLASSES, Gemm, Kernel
from weighbridge.reports.machine import state

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


def halved(kernel: Kernel) -> Kernel:
    return replace(
        kernel,
        dtype="bfloat16",
        read_bytes=kernel.read_bytes // 2,
        write_bytes=kernel.write_bytes // 2,
    )


SIZES = (32, 128, 512)
POINTS = tuple(
    Point(operator="matmul", kernel=kernel, seconds=lawful(kernel))
    for kernel in (product(r, c, d) for r in SIZES for c in SIZES for d in SIZES)
)


HALF = Setting(dtype="bfloat16", threads=2)
ALONE = Setting(dtype="float32", threads=1)


def in_others(point: Point) -> Point:
    """Three quarters of the time in half precision, twice the time on one thread."""
    return replace(point, others={HALF: 0.75 * point.seconds, ALONE: 2 * point.seconds})


def calibration(**changes: object) -> Calibration:
    found = Calibration(
        conditions=HERE,
        taken="2026-11-27T05:00:00+00:00",
        seconds=80.0,
        repeatability=0.03,
        disturbed=0.01,
        overheads=Overheads(),
        points=tuple(in_others(point) for point in POINTS),
    )
    return fitted(replace(found, **changes))  # type: ignore[arg-type]


# -- the file ------------------------------------------------------------------------------------


def test_what_is_written_is_read_back(tmp_path):
    where = tmp_path / "deep" / "calibration-cpu.json"
    write(calibration(), where)
    found = read(where)
    assert found is not None
    assert found.conditions == HERE
    assert found.points[0].kernel == POINTS[0].kernel
    # five significant digits are kept
    assert found.points[0].seconds == pytest.approx(POINTS[0].seconds, rel=1e-4)
    assert found.settings == (Setting(dtype="float32", threads=2), HALF, ALONE)
    assert found.points[0].others[ALONE] == pytest.approx(2 * POINTS[0].seconds, rel=1e-4)


def test_what_was_fitted_is_read_and_not_fitted_again(tmp_path, monkeypatch):
    where = tmp_path / "calibration-cpu.json"
    kernel = product(200, 300, 100)
    expected = Measured(calibration()).alone(kernel, "matmul").seconds
    write(calibration(), where)

    def again(*_: object) -> None:
        raise AssertionError("fitted again")

    monkeypatch.setattr("weighbridge.analyses.time.measured._interpolating", again)
    monkeypatch.setattr("weighbridge.analyses.time.measured._rates", again)
    found = read(where)
    assert found is not None
    seconds = Measured(found).alone(kernel, "matmul").seconds
    assert seconds == pytest.approx(expected, rel=1e-3)


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
            table_of = record[table][0] if isinstance(record[table], list) else record[table]
            table_of[name] = value
        else:
            record[table] = value
    return json.dumps(record)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"not JSON"),
        ("[]", r"the file is \[\], not a table"),
        (changed(schema=7), r"schema is 7, and this version reads 4"),
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
        (changed(settings=[]), r"settings is no list with entries"),
        (changed(settings=[{"dtype": "float32", "threads": 8}]), r"entry 1 is float32 on 8 threads, and the base is float32 on 2"),
        (changed(settings=[{"dtype": "float32", "threads": 0}]), r"settings, entry 1: threads is 0"),
        (changed(points__others=[1e-3]), r"entry 1: others is \[0.001\], and seconds in 2 settings are expected"),
        (changed(points__others=["x", 1]), r"others is \['x', 1\], and numbers are expected"),
        (changed(fits__class=["matmul", 1]), r"fits, entry 1: class is \['matmul', 1\], and texts"),
        (changed(fits__class=["matmul"], fits__setting=3), r"fits, entry 1: setting is 3"),
        (changed(fits__shares=[1.0]), r"fits of matmul forward have 9 rates and 1 shares, and 9 and 27 are expected"),
        (changed(fits__rates=[1.0]), r"fits of matmul forward have 1 rates"),
        (changed(fits=json.loads(calibration().to_json())["fits"][:1]), r"fits have none of all kernels"),
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
    now = replace(HERE, torch="2.10.0", cores=8)
    assert HERE.differences(now) == ("cores 2, and 8 now", "torch 2.9.0, and 2.10.0 now")
    assert HERE.differences(HERE) == ()


def test_a_stale_calibration_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    stale = replace(conditions(HERE), processor="another processor")
    write(calibration(conditions=stale), path())
    found = calibrated()
    assert found is not None
    assert any("another processor" in reason for reason in found.stale)
    from weighbridge.devices import CPU, here
    from weighbridge.rooms import clock

    assert clock(here(), "float32").measured is None
    assert clock(CPU, "float32").measured is None
    with pytest.raises(
        UsageError, match=r"stale, processor another processor, and .* now"
    ) as caught:
        weigh("100 -> (fc)10").time("here")
    assert "weigh calibrate" in str(caught.value)
    write(calibration(conditions=conditions(HERE)), path())
    assert clock(here(), "float32").measured is not None


def test_any_processor_is_this_one_once_it_is_calibrated(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert "rates of Core i7-12700H for any CPU" in weigh("100 -> (fc)10", on="cpu").screen()
    write(calibration(conditions=conditions(HERE)), path())
    screen = weigh("100 -> (fc)10", on="cpu").screen()
    assert f"rates of {conditions(HERE).processor}" in screen
    assert "calibrated on 2026-11-27" in screen


def test_a_number_of_threads_that_is_lacking_now_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    write(calibration(conditions=conditions(HERE)), path())
    for count, lacking in ((1, None), (2, None), (3, "3 threads")):
        monkeypatch.setattr("weighbridge.machine.threads", lambda recorded, count=count: count)
        found = calibrated()
        assert found is not None
        assert found.lacking == lacking
    assert "PyTorch takes 3 threads now, which it lacks" in state("cpu", found)
    assert (
        "27 kernels in float32 on 2 threads, 27 of them in bfloat16 on 2 threads and float32 on 1 thread too"
        in state("cpu", replace(found, lacking=None))
    )


def test_pytorch_is_not_loaded_for_gpus_that_no_driver_shows(tmp_path):
    (tmp_path / "dev").mkdir()
    assert not may_have_gpus(tmp_path)
    (tmp_path / "dev" / "nvidiactl").touch()
    assert may_have_gpus(tmp_path)


# -- the clock -----------------------------------------------------------------------------------


def test_a_curve_finds_the_law_behind_its_points():
    curve = Curve(POINTS, Curve.fitted(POINTS, [p.seconds for p in POINTS]))
    between = product(200, 300, 100)  # not among the points
    assert curve.parts(between).seconds == pytest.approx(lawful(between), rel=0.08)


def depthwise(channels: int, places: int, window: int) -> Kernel:
    """The weight gradient of a depthwise convolution."""
    return Kernel(
        kind="depthwise convolution",
        part="weight gradient",
        macs=channels * places * window,
        read_bytes=8 * channels * places,
        write_bytes=4 * channels * window,
        image_bytes=8 * channels * places,
        gemm=Gemm(batch=channels, rows=1, columns=window, depth=places),
    )


def test_wide_depthwise_kernels_have_a_rate_of_their_own():
    # 0.05 ns a multiply-accumulate under 3x3, ten times as long under 5x5.
    def point(kernel: Kernel) -> Point:
        assert kernel.gemm is not None
        wide = kernel.gemm.columns > 9
        return Point(
            operator="convolution_backward",
            kernel=kernel,
            seconds=10e-6 + kernel.macs * (0.5e-9 if wide else 0.05e-9),
        )

    points = [
        point(depthwise(channels, places, window))
        for channels in (32, 128, 512)
        for places in (49, 784, 3136)
        for window in (9, 25)
    ]
    curve = Curve(points, Curve.fitted(points, [p.seconds for p in points]))
    for window in (9, 25):
        between = depthwise(256, 1568, window)
        assert curve.parts(between).seconds == pytest.approx(point(between).seconds, rel=0.15)


def test_the_steps_of_a_recurrent_network_are_calls():
    def point(steps: int, hidden: int) -> Point:
        gemm = Gemm(batch=steps, rows=1, columns=4 * hidden, depth=2 * hidden)
        kernel = Kernel(kind="recurrent", macs=gemm.macs, gemm=gemm)
        return Point(operator="lstm", kernel=kernel, seconds=20e-6 * steps + gemm.macs / 50e9)

    points = [point(steps, hidden) for steps in (8, 64, 256) for hidden in (32, 128, 512)]
    curve = Curve(points, Curve.fitted(points, [p.seconds for p in points]))
    between = point(128, 256)
    assert curve.parts(between.kernel).seconds == pytest.approx(between.seconds, rel=0.1)


def test_what_a_recurrent_network_keeps_for_backward_takes_no_time_to_write():
    kernels = []
    for steps, rows, columns in product_of((4, 64), (1, 16), (128, 1024)):
        gemm = Gemm(batch=steps, rows=rows, columns=columns, depth=columns // 2)
        written = 4 * steps * rows * columns // 4  # the outputs: a quarter of the gates
        kernels.append(Kernel(kind="recurrent", macs=gemm.macs, write_bytes=written, gemm=gemm))
    points = [Point(operator="lstm", kernel=k, seconds=lawful(k)) for k in kernels]
    curve = Curve(points, Curve.fitted(points, [point.seconds for point in points]))
    for kernel in kernels:
        training = replace(kernel, write_bytes=16 * kernel.write_bytes)
        assert curve.parts(training).seconds == curve.parts(kernel).seconds


def test_no_rate_is_negative():
    # Larger kernels that take less time: a straight line would have a negative slope.
    points = [replace(point, seconds=1e-3 / (1 + place)) for place, point in enumerate(POINTS)]
    assert min(Curve.fitted(points, [p.seconds for p in points]).rates) >= 0


def test_what_a_shape_costs_beyond_the_law_is_like_its_neighbours():
    # Every kernel takes three times the law: the base alone would find that; one odd corner that takes six is interpolated.
    odd = tuple(
        replace(p, seconds=p.seconds * (2 if p.kernel.gemm and p.kernel.gemm.depth == 512 else 1))
        for p in POINTS
    )
    curve = Curve(odd, Curve.fitted(odd, [p.seconds for p in odd]))
    near, far = product(128, 128, 500), product(128, 128, 40)
    assert curve.parts(near).seconds / lawful(near) > 1.3 * curve.parts(far).seconds / lawful(far)


def test_another_dtype_takes_its_ratio_of_float32_of_as_many_elements():
    measured = Measured(calibration())
    whole = product(200, 300, 100)
    half = measured.alone(halved(whole), "matmul").seconds
    assert half == pytest.approx(0.75 * measured.alone(whole, "matmul").seconds, rel=1e-6)


def test_a_ratio_grows_with_the_time_as_it_was_measured():
    # On two threads what takes 1 ms gains by them, and what takes 10 us does not.
    def on_one(point: Point) -> Point:
        times = 2.0 if point.seconds > 100e-6 else 1.0
        return replace(point, others={ALONE: times * point.seconds})

    measured = Measured(calibration(points=tuple(map(on_one, POINTS))))
    small, large = (
        measured.at(1).alone(kernel, "matmul").seconds / measured.alone(kernel, "matmul").seconds
        for kernel in (product(40, 40, 40), product(500, 500, 500))
    )
    assert 0.9 < small < 1.4
    assert 1.6 < large < 2.1


def test_a_point_that_was_disturbed_does_not_carry_its_like():
    odd = [in_others(point) for point in POINTS]
    odd[4] = replace(odd[4], others={HALF: 1000 * odd[4].seconds})
    measured = Measured(calibration(points=tuple(odd)))
    kernel = halved(odd[4].kernel)
    assert measured.alone(kernel, "matmul").seconds < 3 * 0.75 * POINTS[4].seconds


@pytest.mark.parametrize(
    ("threads", "times"),
    [
        (1, 2.0),
        (2, 1.0),
        # 1 on two threads and 2 on one: s + p = 2 and s + p/2 = 1, so that s is 0 and p 2. Nothing is gained beyond two.
        (4, 1.0),
    ],
)
def test_threads_that_were_not_measured_lie_between_or_at_the_most(threads, times):
    measured = Measured(calibration())
    kernel = product(200, 300, 100)
    seconds = measured.at(threads).alone(kernel, "matmul").seconds
    assert seconds == pytest.approx(times * measured.alone(kernel, "matmul").seconds)


def test_between_two_numbers_of_threads_amdahls_law_holds():
    # Base on 4 threads; s + p/4 = 1 and s + p = 3: p = 8/3, s = 1/3, and on two threads s + p/2 = 5/3.
    points = tuple(replace(p, others={ALONE: 3 * p.seconds}) for p in POINTS)
    measured = Measured(calibration(points=points, conditions=replace(HERE, threads=4)))
    kernel = product(200, 300, 100)
    seconds = measured.at(2).alone(kernel, "matmul").seconds
    assert seconds == pytest.approx(5 / 3 * measured.alone(kernel, "matmul").seconds)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, ()),
        ({"precision": "bf16"}, ()),
        ({"precision": "fp16"}, ("float16",)),
        ({"precision": "amp-fp16"}, ("float16",)),
        ({"threads": 1}, ()),
        ({"threads": 3}, ("3 threads",)),
        ({"threads": 3, "precision": "float64"}, ("float64 on 3 threads",)),
    ],
)
def test_settings_that_were_not_measured_are_named(settings, named):
    program = weigh("100 -> (fc)10", backend="cpu", **settings).program
    found = step_time(program, measured_clock(calibration())).extrapolating
    assert tuple(each for each in found if each not in KERNEL_CLASSES) == named


def test_threads_of_what_nobody_calibrated_are_refused():
    from weighbridge.devices import load
    from weighbridge.rooms import clock

    program = weigh("100 -> (fc)10", backend="cpu", threads=2).program
    with pytest.raises(UsageError, match=r"nobody measured .* on 2 threads") as caught:
        step_time(program, clock(load("rtx-4090"), "float32"))
    assert "weigh calibrate" in str(caught.value)
    with pytest.raises(UsageError, match="the number of threads has 0"):
        weigh("100 -> (fc)10", threads=0)


def test_another_number_of_threads_takes_another_time(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr("weighbridge.machine.threads", lambda recorded: 2)
    write(calibration(conditions=conditions(HERE)), path())

    def device_s(**settings: object) -> float:
        report = weigh("700 -> (fc)700", batch=64, backend="cpu", **settings)
        return report.time("here").device_s

    assert device_s(threads=1) == pytest.approx(2 * device_s(), rel=1e-3)
    monkeypatch.setattr("weighbridge.machine.threads", lambda recorded: 1)
    assert device_s() == pytest.approx(device_s(threads=1))


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
