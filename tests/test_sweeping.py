"""Sweeps: what-ifs agree with steps that are built, and a file holds every one."""

import csv
import json

import pytest

from weighbridge import sweep
from weighbridge.analyses.time.step import step_time
from weighbridge.analyses.time.whatifs import growth
from weighbridge.api import weigh
from weighbridge.cli import main
from weighbridge.errors import UsageError
from weighbridge.network import Network
from weighbridge.reports.json import schema
from weighbridge.rooms import clock, rooms
from weighbridge.sweeping import batches_of, seconds_of

DEVICES = ("rtx-4090", "a100-80gb", "t4", "p100", "i7-12700h")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("resnet18", {}),
        ("resnet18", {"train": "sgd"}),
        ("densenet121", {}),
        ("gpt2", {"train": "adamw"}),
    ],
)
def test_a_what_if_is_the_time_of_the_step_that_is_built(device, name, settings):
    network = Network(name)
    (room,) = rooms(device)
    on = clock(room.device, "float32")
    backend = "cpu" if device == "i7-12700h" else "cuda"
    grown = growth(network.program, network.workload({**settings, "backend": backend}))
    # GPT-2 sums the gradients of its positions over the batch, which a batch of 1 has no need of
    assert grown.smallest == (2 if name == "gpt2" else 1)
    batches = [grown.smallest, 2, 3, 32, 57]
    for batch, seconds in zip(batches, seconds_of(grown, on, batches), strict=True):
        built = network.program(network.workload({**settings, "backend": backend, "batch": batch}))
        assert seconds == pytest.approx(step_time(built, on).seconds.value, rel=1e-9)


def test_what_is_largest_at_one_batch_is_not_at_another():
    """How much of what a kernel moves lies in the cache depends on its largest operand.

    Here that is a weight of 4096 x 16384 numbers, and the 16384 of each sample from a batch of 4097 on.
    """
    settings = {"precision": "amp-bf16", "backend": "cuda"}
    network = Network("4096 -> (fc)16384")
    on = clock(rooms("rtx-4090")[0].device, "amp-bf16")
    for asked in (4, 8192):
        grown = growth(network.program, network.workload({**settings, "batch": asked}))
        for batch in (1, 50, 4000, 100_000):
            built = network.program(network.workload({**settings, "batch": batch}))
            expected = step_time(built, on).seconds.value
            assert grown.seconds(on, batch) == pytest.approx(expected, rel=1e-12)


def test_without_numpy_batches_follow_one_after_the_other(monkeypatch):
    network = Network("resnet18")
    grown = growth(network.program, network.workload({}))
    on = clock(rooms("a100-80gb")[0].device, "float32")
    together = seconds_of(grown, on, [1, 8, 300])
    monkeypatch.setattr("weighbridge.sweeping.find_spec", lambda name: None)
    assert seconds_of(grown, on, [1, 8, 300]) == pytest.approx(together, rel=1e-12)


def test_points_have_the_peak_of_the_step_and_say_what_fits():
    (course,) = sweep("resnet18", batches=[8, 1024, 4096], on="rtx-4090", train="sgd").courses
    first, second, third = course.points
    report = weigh("resnet18", batch=8, train="sgd", on="rtx-4090")
    assert first.peak_bytes == report.memory.peak_bytes
    assert course.largest == report.max_batch("rtx-4090")
    assert [course.fits(point) for point in course.points] == [True, False, False]
    assert course.best == first
    assert second.samples_per_s == 1024 / second.seconds
    assert third.peak_bytes > second.peak_bytes


def test_the_fastest_batch_and_the_one_from_which_more_hardly_pays():
    (course,) = sweep("resnet18", batches=range(1, 65), on="a100-80gb").courses
    best, enough = course.best, course.enough
    assert best.samples_per_s == max(point.samples_per_s for point in course.points)
    assert enough.samples_per_s >= 0.9 * best.samples_per_s
    before = [point for point in course.points if point.batch < enough.batch]
    assert all(point.samples_per_s < 0.9 * best.samples_per_s for point in before)


def test_a_file_holds_every_what_if(tmp_path):
    report = sweep("resnet18", batches=[1, 2, 4], precisions=["float32", "amp-fp16"], on="rtx-4090")
    report.save(tmp_path / "sweep.csv")
    rows = list(csv.DictReader((tmp_path / "sweep.csv").read_text().splitlines()))
    assert [(row["precision"], row["batch"]) for row in rows] == [
        (precision, batch) for precision in ("float32", "amp-fp16") for batch in "124"
    ]
    assert float(rows[0]["from (s)"]) < float(rows[0]["a step (s)"]) < float(rows[0]["to (s)"])


def test_json_keeps_its_contract():
    jsonschema = pytest.importorskip("jsonschema")
    record = json.loads(sweep("resnet18", batches=[1, 2], on="rtx-4090").to_json())
    contract = schema("weighbridge-sweep/1")
    jsonschema.validators.Draft202012Validator.check_schema(contract)
    jsonschema.validators.Draft202012Validator(contract).validate(record)
    assert record["courses"][0]["batch"] == [1, 2]


@pytest.mark.parametrize(
    ("text", "batches"),
    [("1,2,4", [1, 2, 4]), ("1:4", [1, 2, 3, 4]), ("8:24:8,1", [8, 16, 24, 1])],
)
def test_batches_as_they_are_typed(text, batches):
    assert batches_of(text) == batches


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ten", "'ten' is no batch and no range of batches"),
        ("1:9:0", "'1:9:0' is no batch and no range of batches"),
        ("9:1", "'9:1' holds no batch"),
        ("1:10000000", "1:10000000 is more than 100,000 batches"),
    ],
)
def test_batches_that_make_no_sense(text, message):
    with pytest.raises(UsageError, match=message):
        batches_of(text)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batches": [1], "on": None}, "sweep on which device"),
        ({"batches": [], "on": "t4"}, "a sweep over no batch"),
        ({"batches": [0, 1], "on": "t4"}, "a batch of the sweep has 0"),
        ({"batches": [1], "on": "24GiB"}, "nobody says how fast 24.0 GiB is"),
        ({"batches": [1], "on": "t4", "precisions": ["bf16"]}, "T4 has no rate for bfloat16"),
        ({"batches": [1], "on": "t4", "precisions": ["half"]}, "no precision is called 'half'"),
    ],
)
def test_sweeps_that_make_no_sense(settings, message):
    with pytest.raises(UsageError, match=message):
        sweep("resnet18", **settings)


def test_a_program_has_one_batch():
    with pytest.raises(UsageError, match="a Program is one step at one batch"):
        sweep(weigh("resnet18").program, batches=[1], on="t4")


def test_the_command_prints_a_row_for_each_precision_on_each_device(capsys):
    arguments = ["sweep", "resnet18", "--batches", "1:64", "--precisions", "float32,amp-fp16"]
    with pytest.raises(SystemExit) as done:
        main([*arguments, "--on", "rtx-4090,t4", "--width", "120"])
    assert done.value.code == 0
    screen = capsys.readouterr().out
    assert "256 what-ifs" in screen
    assert len([line for line in screen.splitlines() if line.startswith(("rtx-4090", "t4"))]) == 4
    with pytest.raises(SystemExit) as done:
        main(["sweep", "resnet18", "--precisions", "fp64", "--on", "t4"])
    assert done.value.code == 2
    assert "no precision is called 'fp64'" in capsys.readouterr().err
