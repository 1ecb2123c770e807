"""What a person sees of time: the verdict's line, the table of devices, and what stands there where it is not known."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

import weighbridge
from round_numbers import CARD, PERFECT
from weighbridge import devices
from weighbridge.analyses.time.outsized import outsized, share_of
from weighbridge.analyses.time.step import StepTime, step_time_or_why
from weighbridge.cli import main
from weighbridge.errors import UsageError
from weighbridge.reports.sheet import apportioned, durations
from weighbridge.reports.time import listed, sentence
from weighbridge.rooms import backend, clock

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


def test_an_epoch_where_the_data_set_is_known():
    # 1,001 samples are 126 steps of 8: 126 * 208.2 us = 26.2 ms
    shown = screen(batch=8, dataset=1001, on=CARD)
    assert "38.4 k samples/s, an epoch ~26.2 ms; bound by" in shown
    several = screen(batch=8, dataset=1001, on=[CARD, "24GiB"])
    assert "samples/s an epoch bound by" in several
    assert "38.4 k ~26.2 ms memory 100 %" in several
    record = weighbridge.weigh(LINE, batch=8, dataset=1001, on=CARD).to_dict()["devices"][0]["time"]
    assert record["epoch_s"] == pytest.approx(126 * 208.2e-6)
    # several batches in an update: not every step has one (weigh run)
    report = weighbridge.weigh(LINE, batch=8, train="sgd", accumulate=2, dataset=1001, on=CARD)
    assert report.times[0].epoch is None


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
        "it waits for the host, which hands out operators for 2.00 ms, and needs 208 us itself"
        in shown
    )


def test_what_was_not_measured_is_named_where_something_was(monkeypatch):
    some = replace(PERFECT, classes={("matmul", "forward"): PERFECT.default})
    monkeypatch.setattr(devices, "efficiencies", lambda device: some)
    assert "basis of the time: by definition; extrapolating: elementwise " in screen(
        batch=8, on=CARD
    )


def test_sizes_that_were_not_measured_are_named(monkeypatch):
    # fc has 8 * 500,000 multiply-accumulates
    for least, most, named in ((10**7, 10**9, "smaller"), (10, 10**6, "larger")):
        share = replace(PERFECT.default, least=least, most=most)
        some = replace(PERFECT, classes={("matmul", "forward"): share})
        monkeypatch.setattr(devices, "efficiencies", lambda device, some=some: some)
        assert (
            f"by definition; extrapolating to {named} kernels: matmul; extrapolating: elementwise "
            in screen(batch=8, on=CARD)
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
        "no time of a step: Card has no rate for bfloat16; it would emulate bfloat16 in float32; "
        "choose --precision fp16 or amp-fp16; it has: float16 1.00 TFLOP/s, float32 100 GFLOP/s"
    ) in shown


def test_any_processor_is_timed_as_a_typical_one():
    report = weighbridge.weigh(LINE, on="cpu")
    (found,) = report.times
    assert found.device.key == "i7-12700h"
    assert "on Core i7-12700H for any CPU, " in said(report)
    assert "rates of Core i7-12700H for any CPU" in said(report)


# -- several -------------------------------------------------------------------------------------


def test_several_devices_stand_side_by_side(monkeypatch):
    twice = replace(CARD, name="Twice, as fast", key="twice", bandwidth_bytes_per_s=20e9)
    shown = screen(batch=8, on=[CARD, twice, "24GiB"])
    assert (
        "device fits? memory peak max batch a step between samples/s bound by Card fits 2.00 GiB"
        in shown
    )
    # at 20 GB/s the bytes take half as long, and still longer than the arithmetic
    assert "~208 us 187 to 250 us 38.4 k memory 100 % Twice fits" in shown
    assert "~104 us 93.7 to 125 us 76.8 k memory 100 % 24.0 GiB fits" in shown
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


# -- the column ----------------------------------------------------------------------------------

# input 8 x 3 x 6 x 6; conv 4 kernels of 3 x 3 without padding: out 8 x 4 x 4 x 4
NET = "(Input)(3,6,6)->(Conv)4c3w1s0p->(ReLU)->(fc)5"


def column(sheet, title):
    place = [column.title for column in sheet.columns].index(title)
    return {row.path: row.cells[place] for row in sheet.rows}, sheet.totals[place]


def test_the_column_of_time_adds_up_to_the_step():
    report = weighbridge.weigh(NET, batch=8, on=CARD)
    cells, total = column(report.sheet(), "time")
    # conv: x 864, w 108, b 4, y 512 numbers are 5,952 bytes, 0.5952 us at 10 GB/s, against
    #   2 * 512 * 27 FLOPs at 100 GFLOP/s = 0.27648 us; relu: twice 512 numbers, 0.4096 us;
    # fc: x 512, w 320, b 5, y 40 numbers, 0.3508 us. Together 1.3556 us: in steps of a thousandth, 1.356
    assert {path: cell.text for path, cell in cells.items()} == {
        "conv1": "0.595", "relu1": "0.410", "fc1": "0.351",
    }  # fmt: skip
    assert total.text == "1.356"
    assert total.seconds == pytest.approx(report.times[0].seconds.value)
    heading = next(column for column in report.sheet().columns if column.key == "time")
    assert heading.heading == "time (us)"
    # programs read seconds
    assert report.to_csv().splitlines()[0].endswith(",time (s)")
    assert float(report.to_csv().splitlines()[-1].rpartition(",")[2]) == pytest.approx(1.3556e-6)


def test_written_times_add_up_at_every_depth_and_merged():
    report = weighbridge.weigh("resnet18", batch=2, train="sgd", on=CARD)
    for choice in ({"depth": 0}, {"depth": 1}, {}, {"each": False}, {"by": "operator"}):
        cells, total = column(report.sheet(**choice), "time")
        steps = sum(cell.steps for cell in cells.values() if cell is not None)
        assert steps == total.steps
        assert total.seconds == pytest.approx(report.times[0].seconds.value)


def test_operators_stand_in_the_order_of_their_time():
    cells, _ = column(weighbridge.weigh(NET, batch=8, on=CARD).sheet(by="operator"), "time")
    assert list(cells)[:3] == ["convolution", "relu", "matmul"]


def test_several_devices_have_a_column_each_where_it_is_asked_for():
    twice = replace(CARD, name="Twice", bandwidth_bytes_per_s=20e9)
    report = weighbridge.weigh(NET, batch=8, on=[CARD, "24GiB", twice])
    assert not any(column.key == "time" for column in report.sheet().columns)
    sheet = report.sheet(columns=("time", "share-time"))
    titles = [column.title for column in sheet.columns]
    assert titles == ["time Card", "time Twice", "time share Card", "time share Twice"]
    cells, _ = column(sheet, "time Twice")
    assert cells["relu1"].text == "0.205"  # half of the 0.4096 us
    shares, total = column(sheet, "time share Card")
    assert shares["relu1"].text == "30.2 %"  # 0.4096 of 1.3556
    assert total.tenths == 1000


def test_times_without_a_device_are_refused():
    for places in ({}, {"on": "24GiB"}):
        with pytest.raises(UsageError, match="the column 'time' is of the time on a device"):
            weighbridge.weigh(NET, **places).sheet(columns=("kind", "time"))


def test_a_row_with_an_operator_that_nobody_knows_is_not_whole():
    program = weighbridge.weigh(NET, batch=8, backend="cuda").program
    ops = tuple(replace(op, kind="aten.mystery") if op.kind == "relu" else op for op in program.ops)
    report = weighbridge.weigh(replace(program, ops=ops), on=replace(CARD, memory_bytes=None))
    cells, total = column(report.sheet(), "time")
    assert cells["relu1"].text == "?"
    assert total.text == "0.946 + ?"
    by_kind, _ = column(report.sheet(by="operator"), "time")
    assert by_kind["aten.mystery"].text == "?"


def test_what_rounds_to_nothing_is_not_nothing():
    # 1 s, 10 us and nothing, to a thousandth of a second
    unit, cells = durations((1.0, 1e-5, 0.0))
    assert unit == "s"
    assert [cell.text for cell in cells] == ["1.000", "<0.001", "0"]


def test_steps_are_shared_out_by_the_largest_remainder():
    # thirds of 10: 3 each, and the tenth to the first of those that lost as much
    assert apportioned((1, 1, 1), 10) == [4, 3, 3]
    assert apportioned((0, 0), 10) == [0, 0]


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


# -- L13 -----------------------------------------------------------------------------------------


def test_the_screen_says_which_layers_wait_for_their_weights():
    network = "(Input)(64,32,32)->(Conv)64c3w1s1p->(MaxPool)32w32s->(fc)10000"
    # tests/analyses/test_outsized.py has the arithmetic
    expected = (
        "fc1: 2 % of the operations, 25 % of the time. At batch 1 each of their weights is fetched from memory for "
        "2 operations, one of the other layers for 2,044; at batch 64 they take 2 % of the time"
    )
    report = weighbridge.weigh(network, on=CARD)
    assert expected in said(report)
    assert expected in " ".join(report.to_html().split())
    assert expected in said(weighbridge.roofline(network, on=CARD))
    assert "waits" not in weighbridge.weigh(network, on=[CARD, CARD]).screen()
    # a Program has one batch
    program = weighbridge.weigh(network, backend="cuda").program
    alone = said(weighbridge.weigh(program, on=replace(CARD, memory_bytes=None)))
    assert "for 2,044 " in alone
    assert "at batch 64" not in alone


def test_many_names_are_not_all_listed():
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c", "d"]) == "a, b, c and d"
    assert listed(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"


def test_l13_fully_connected_layers_take_time_out_of_proportion_at_batch_1(monkeypatch):
    # The lecture: the fully connected layer, with fewer operations, often takes longer. With what is known of a
    # typical processor, not with a device of round numbers.
    monkeypatch.undo()
    (time,) = weighbridge.weigh("vgg16", on="cpu").times
    found = outsized(time)
    # the last one, whose 16 MiB of weights half of the cache nearly holds, is bound by its products
    assert found.scopes == ("classifier.0", "classifier.3")
    # 102,760,448 + 16,777,216 of 15,470,264,320 MACs
    assert found.operations_share == pytest.approx(0.00773, rel=1e-2)
    assert found.time_share > 8 * found.operations_share
    assert round(found.operations_each) == 2
    # fc6, 71 % of the parameters, takes longer than a convolution with 18 times its operations
    assert time.by_scope["classifier.0"] > time.by_scope["features.2"]
    # and at batch 64 it is in proportion
    (time,) = weighbridge.weigh("vgg16", batch=64, on="cpu").times
    assert outsized(time) is None
    assert share_of(time, found.scopes) < 3 * found.operations_share


# -- every device --------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "bf16", "amp-fp16", "float64"])
def test_every_device_tells_its_time_or_what_to_choose_in_place_of_that(monkeypatch, precision):
    monkeypatch.undo()
    steps = {}

    def step(device, precision):
        kernels = backend(device)
        if (kernels, precision) not in steps:
            found = weighbridge.weigh(
                "lenet5", batch=2, train="sgd", precision=precision, backend=kernels
            )
            steps[kernels, precision] = found.program
        return step_time_or_why(steps[kernels, precision], clock(device, precision))

    for device in devices.load_all():
        found = step(device, precision)
        assert sentence(found, device)
        if isinstance(found, StepTime):
            assert 0 < found.seconds.low < found.seconds.value < found.seconds.high
            assert sum(found.by_op.values()) == pytest.approx(found.seconds.value)
            continue
        (choose,) = [hint for hint in found.hints if "choose --precision" in hint] or [""]
        if not choose:
            assert found.why.startswith("nobody says how fast")
            continue
        for word in choose.removeprefix("choose --precision ").split(" or "):
            assert isinstance(step(device, word), StepTime), (device.key, word)
