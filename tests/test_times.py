"""What a person sees of time: the verdict's line, the table of devices, and what stands there where it is not known."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

import weighbridge
from weighbridge import devices
from weighbridge.cli import main
from weighbridge.devices import Device, Efficiencies, Efficiency, Rates
from weighbridge.errors import UsageError

# 100 GFLOP/s of vectors, 1 TFLOP/s of float16 matrices, 10 GB/s
CARD = Device(
    name="Card",
    key="card",
    memory_bytes=2 * 2**30,
    bandwidth_bytes_per_s=10e9,
    vector_flop_per_s=Rates(float32=100e9),
    matrix_flop_per_s=Rates(float16=1e12),
)
PERFECT = Efficiencies(
    default=Efficiency(compute=1.0, bandwidth=1.0, launch_s=0.0),
    dispatch_s=0.0,
    low=0.9,
    high=1.2,
    basis="by definition",
)
LINE = "(Input)(1000)->(FC)500->(ReLU)"


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """Every device reaches its peaks, and its host takes no time."""
    monkeypatch.setattr(devices, "efficiencies", lambda device: PERFECT)


def slow_host(monkeypatch, dispatch_s=1e-3):
    slow = replace(PERFECT, dispatch_s=dispatch_s)
    monkeypatch.setattr(devices, "efficiencies", lambda device: slow)


def screen(**settings):
    """The screen as one line's words, however it was broken."""
    return said(weighbridge.weigh(LINE, **settings))


def said(report):
    return " ".join(report.screen().split())


# -- one device ----------------------------------------------------------------------------------


def test_the_verdict_says_how_long_a_step_takes():
    # fc: weights 500,000 and x 8,000, b 500, y 4,000 numbers are 2,050,000 bytes, 205 us at 10 GB/s, against
    # 2 * 8 * 500,000 FLOPs at 100 GFLOP/s = 80 us; relu: reads and writes 4,000 numbers, 32,000 bytes, 3.2 us
    shown = screen(batch=8, on=CARD)
    assert (
        "one step ~208 us (187 to 250 us), 38.4 k samples/s; bound by memory traffic in 100 % of the time"
        in shown
    )
    assert "basis of the time: by definition" in shown


def test_the_time_of_a_report_on_another_device():
    report = weighbridge.weigh(LINE, batch=8)
    found = report.time(CARD)
    assert found.seconds.value == pytest.approx(208.2e-6)
    assert report.times == ()
    with pytest.raises(UsageError, match="2 devices are named, and one is asked about"):
        report.time([CARD, CARD])
    with pytest.raises(UsageError, match=r"nobody says how fast 24\.0 GiB is"):
        report.time("24GiB")


def test_arithmetic_bounds_a_large_batch():
    # fc at 4,096: 2 * 4096 * 500,000 FLOPs are 41.0 ms; 26.6 MB are 2.66 ms; relu 16.4 MB, 1.64 ms of 42.6
    assert "bound by arithmetic in 96 % of the time" in screen(batch=4096, on=CARD)


def test_a_gpu_that_waits_for_its_host_says_so(monkeypatch):
    slow_host(monkeypatch)
    shown = screen(batch=8, on=CARD)
    assert "one step ~2.00 ms (1.80 to 2.40 ms), 4.00 k samples/s" in shown
    assert (
        "the GPU waits for the host, which hands out operators for 2.00 ms, and needs 208 us itself"
        in shown
    )


def test_what_was_not_measured_is_named_where_something_was(monkeypatch):
    some = replace(PERFECT, classes={("matmul", "forward"): PERFECT.default})
    monkeypatch.setattr(devices, "efficiencies", lambda device: some)
    assert "basis of the time: by definition; extrapolating: elementwise " in screen(
        batch=8, on=CARD
    )


def test_operators_without_a_rule_are_not_in_the_time():
    program = weighbridge.weigh(LINE, batch=8, backend="cuda").program
    ops = tuple(replace(op, kind="aten.mystery") if op.kind == "relu" else op for op in program.ops)
    shown = said(weighbridge.weigh(replace(program, ops=ops), on=replace(CARD, memory_bytes=None)))
    assert "; without 1 operator that no rule is known for" in shown


def test_a_dtype_without_a_rate_leaves_memory_answered():
    shown = screen(batch=8, dtype="bfloat16", on=CARD)
    assert "fits Card (2.00 GiB)" in shown
    assert (
        "no time of a step: Card has no rate for bfloat16; it would emulate bfloat16 in float32, which is "
        "slower than either; choose --precision fp16 or amp-fp16; it has: float16 1.00 TFLOP/s, float32 100 GFLOP/s"
    ) in shown


def test_any_processor_is_timed_as_a_typical_one():
    report = weighbridge.weigh(LINE, on="cpu")
    (found,) = report.times
    assert found.device == devices.load("i7-12700h")
    assert "on Core i7-12700H, " in said(report)
    assert "Core i7-12700H stands for CPU" in said(report)


# -- several -------------------------------------------------------------------------------------


def test_several_devices_stand_side_by_side(monkeypatch):
    twice = replace(CARD, name="Twice, as fast", key="twice", bandwidth_bytes_per_s=20e9)
    shown = screen(batch=8, on=[CARD, twice, "24GiB"])
    assert (
        "device fits? of peak largest batch a step between samples/s bound by Card fits 2.00 GiB"
        in shown
    )
    # at 20 GB/s the bytes take half as long, and still longer than the arithmetic
    assert "~208 us 187 to 250 us 38.4 k memory traffic 100 % Twice fits" in shown
    assert "~104 us 93.7 to 125 us 76.8 k memory traffic 100 % 24.0 GiB fits" in shown
    assert "Card, Twice: time: by definition" in shown
    assert "24.0 GiB: no time of a step: nobody says how fast 24.0 GiB is" in shown
    # what memory rests on is the same for all, and said once
    assert shown.count("tensors -4% to +9%") == 1


def test_the_host_bounds_in_the_table_too(monkeypatch):
    slow_host(monkeypatch)
    assert screen(batch=8, on=[CARD, CARD]).count("4.00 k the host ") == 2


def test_below_a_table_in_a_file_each_device_has_its_paragraph():
    page = weighbridge.weigh(LINE, batch=8, on=[CARD, CARD]).to_markdown()
    assert page.count("208 us (187 to 250 us)") == 2


# -- data ----------------------------------------------------------------------------------------


def test_json_has_the_time_of_each_device():
    report = weighbridge.weigh(LINE, batch=8, train="sgd", on=[CARD, "24GiB"])
    placed, without = json.loads(report.to_json())["devices"]
    found = placed["time"]
    assert found["low"] == pytest.approx(0.9 * found["seconds"])
    assert found["high"] == pytest.approx(1.2 * found["seconds"])
    assert found["samples_per_s"] == pytest.approx(8 / found["seconds"])
    for parts in ("by_bound", "by_phase", "by_layer", "by_class"):
        assert sum(found[parts].values()) == pytest.approx(found["seconds"])
    assert set(found["by_phase"]) == {"forward", "backward", "update"}
    assert found["rates_of"] == {"key": "card", "name": "Card"}
    assert found["basis"] == "by definition"
    assert found["dispatch_s"] == 0
    assert found["extrapolating"]
    assert without["time"] is None
    assert without["time_unknown"].startswith("nobody says how fast 24.0 GiB is; name a device")


def test_the_schema_describes_times():
    jsonschema = pytest.importorskip("jsonschema")
    from weighbridge.reports.json import schema

    record = weighbridge.weigh(LINE, train="sgd", on=[CARD, "24GiB"]).to_dict()
    jsonschema.validators.Draft202012Validator(schema()).validate(record)


def test_the_command_says_the_same():
    result = CliRunner().invoke(main, [LINE, "--batch", "8", "--on", "rtx-4090", "--width", "200"])
    assert result.exit_code == 0
    assert "one step ~" in result.stdout
    assert (
        "no time of a step: nobody says"
        in CliRunner().invoke(main, [LINE, "--on", "rtx-4090,24GiB", "--width", "200"]).stdout
    )
