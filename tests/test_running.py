"""Runs and where: what is typed, what is printed, what is refused."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

import weighbridge
from weighbridge import devices
from weighbridge.analyses.memory import resident
from weighbridge.analyses.memory.largest import Room
from weighbridge.analyses.memory.resident import Loop
from weighbridge.analyses.memory.timeline import lifetimes
from weighbridge.analyses.run import Accuracy, Terms, by_hand, race
from weighbridge.cli import main
from weighbridge.errors import StrictError, UsageError, WeighError
from weighbridge.network import Network
from weighbridge.papers.accuracy import _accuracies, accuracy
from weighbridge.reports.json import schema
from weighbridge.reports.run import findings, offer, spelled
from weighbridge.rooms import clock
from weighbridge.running import Candidate, candidate, epochs_of, run, where

GIB = 2**30
IMAGENET = 1_281_167


def said(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, list(arguments), env={"COLUMNS": "160"}, prog_name="weigh")
    assert result.exit_code == code, result.output
    return result.output


def prices(tmp_path, text):
    path = tmp_path / "instances.toml"
    path.write_text(text, encoding="utf-8")
    return path


# -- what is typed --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("resnet50", Candidate(model="resnet50")),
        ("resnet50:90", Candidate(model="resnet50", epochs=90)),
        ("timm:resnet50", Candidate(model="timm:resnet50")),
        ("timm:resnet50:1.5", Candidate(model="timm:resnet50", epochs=1.5)),
        ("mynet.py:Net", Candidate(model="mynet.py:Net")),
        ("mynet.py:Net:90", Candidate(model="mynet.py:Net", epochs=90)),
        ("100 -> (fc)10:3", Candidate(model="100 -> (fc)10", epochs=3)),
        ("deep:10@2.4h", Candidate(model="deep", epochs=10, epoch_s=8640.0)),
        ("shallow:100@1.5min", Candidate(model="shallow", epochs=100, epoch_s=90.0)),
        ("net:2@2 days/epoch", Candidate(model="net", epochs=2, epoch_s=172_800.0)),
        ("net:90@310ms/step", Candidate(model="net", epochs=90, step_s=0.31)),
        ("net@3s", Candidate(model="net", epoch_s=3.0)),
    ],
)
def test_a_candidate_as_it_is_typed(text, expected):
    assert candidate(text) == expected


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("resnet50:ninety", "the epochs of resnet50 are 'ninety', which is no number"),
        ("resnet50:", "the epochs of resnet50 are '', which is no number"),
        ("resnet50:nan", "the epochs of resnet50 are 'nan', which is no number"),
        ("resnet50:0", "0 epochs"),
        ("resnet50:-3", "-3 epochs"),
        ("deep:10@soon", "'soon' is no time"),
        ("deep:10@0h", "'0h' is no time"),
        ("deep:10@2", "'2' is no time"),
        ("deep:10@2h/batch", "'2h/batch' is the time of neither an epoch nor a step"),
        ("@2h", "'@2h' has a time and no name"),
    ],
)
def test_what_is_no_candidate(text, match):
    with pytest.raises(UsageError, match=match):
        candidate(text)


def test_epochs_for_all():
    assert epochs_of(None) is None
    assert epochs_of("90") == 90
    assert epochs_of("1e2") == 100
    with pytest.raises(UsageError, match="'ninety' epochs: that is no number"):
        epochs_of("ninety")
    with pytest.raises(UsageError, match="'inf' epochs: that is no number"):
        epochs_of("inf")
    found = run(["a:2@1h", "b@1h"], epochs=5)
    assert {run.network: run.epochs for run in found.runs} == {"a": 2, "b": 5}


# -- the lecture's example ------------------------------------------------------------------------------


def test_fewer_epochs_to_converge_are_not_faster():
    # L22: 10 x 2.4 h = 24 h against 100 x 1.5 min = 2.5 h
    found = run(["deep:10@2.4h", "shallow:100@1.5min"])
    assert found.first.network == "shallow"
    assert [run.total.value for run in found.runs if run.total] == pytest.approx([9000.0, 86400.0])
    screen = str(found)
    assert "First if all end equally good: shallow, 2.50 h against 24.0 h of deep." in screen
    assert (
        "Fewer epochs are not faster: deep needs 10 and 24.0 h, shallow 100 and 2.50 h." in screen
    )
    assert "~" not in screen  # nothing of it is predicted
    assert said("run", "deep:10@2.4h", "shallow:100@1.5min").strip() == screen.strip()


def test_a_measured_step_is_taken_as_often_as_the_schedule_says():
    # ceil(1000 / 256) = 4 steps of 310 ms an epoch; an update a sample takes 1000 of them
    settings = {"dataset": 1000, "batch": 256}
    (found,) = run("net:2@310ms/step", **settings).runs
    assert found.total is not None
    assert found.total.value == pytest.approx(2 * 4 * 0.31)
    (slow,) = run("net:2@310ms/step", learning_rule="sample", **settings).runs
    assert slow.total is not None
    assert slow.total.value == pytest.approx(2 * 1000 * 0.31)
    # 256 samples at 256 a second are there after a second
    (fed,) = run("net:2@310ms/step", loader=256.0, **settings).runs
    assert fed.total is not None
    assert fed.total.value == pytest.approx(2 * 4 * 1.0)


def test_a_measured_run_has_the_energy_and_the_price_of_its_device(tmp_path):
    own = prices(
        tmp_path,
        '[[instances]]\nprovider = "us"\nname = "box"\ndevice = "rtx-4090"\nprice_per_hour = 0.75\ndate = "2026"\n',
    )
    (found,) = run("deep:10@2.4h", on="rtx-4090", prices=own).runs
    assert found.energy_j == pytest.approx(450 * 86400)  # the card's 450 W for 24 hours
    assert found.rented is not None
    assert found.rented.name == "box"  # dearer than what is known, and the user's own
    assert found.cost == pytest.approx(24 * 0.75)
    screen = said("run", "deep:10@2.4h", "--on", "rtx-4090", "--prices", str(own))
    assert "<= 10.8 kWh" in screen
    assert " 18.0 USD" in screen  # not predicted, so without a sign
    assert "cost: box at us, 0.750 USD an hour (2026, on demand)" in screen


# -- runs -----------------------------------------------------------------------------------------------


def test_networks_on_devices_in_the_order_in_which_they_end():
    found = run(["resnet18:90", "vgg11:74"], on="rtx-4090,a100-80gb", dataset=IMAGENET, batch=64)
    assert len(found.runs) == 4
    totals = [run.total.value for run in found.runs if run.total]
    assert totals == sorted(totals)
    assert len(totals) == 4
    assert found.runs[0].workload is not None
    assert found.runs[0].workload.optimizer is not None
    assert found.runs[0].workload.optimizer.name == "sgd"  # unless another is named
    assert found.runs[0].schedule is not None
    assert found.runs[0].schedule.updates == 20_019  # ceil(1,281,167 / 64)


def test_published_accuracy_says_who_is_first_at_equal_accuracy():
    found = run(["resnet50:90", "vgg16:74"], on="a100-80gb", dataset=IMAGENET, batch=64)
    screen = str(found)
    assert "At equal published accuracy or better none is faster than resnet50 (76.1 %)." in screen
    assert (
        "Slower and published as no more accurate than resnet50 (76.1 %): vgg16 (71.6 %)." in screen
    )
    assert "top-1: torchvision's weights, one crop, ImageNet-1K" in screen
    # at another input size it is not known
    other = run("resnet50:90", (3, 64, 64), on="a100-80gb", dataset=IMAGENET, batch=64)
    assert other.first.accuracy is None


def test_a_batch_that_does_not_fit_is_accumulated_and_priced():
    screen = said(
        "run", "vgg16:74", "--dataset", "1281167", "--batch", "1024", "--on", "rtx-4090", "--width", "200",
    )  # fmt: skip
    (found,) = run("vgg16:74", on="rtx-4090", dataset=IMAGENET, batch=1024).runs
    assert found.largest is not None
    assert found.cost is not None
    assert f"a batch of 1,024 does not fit; the largest that does is {found.largest}" in screen
    assert "micro-batches of" in screen
    assert "batch normalisation, if there is any, sees a micro-batch alone" in screen


def test_times_whose_intervals_overlap_are_told():
    # the same network twice, for an epoch more and for a hundred times as many
    near = run(["resnet18:90", "resnet18:91"], on="a100-80gb", dataset=1000, batch=8)
    assert "though the interval of resnet18 overlaps its own" in str(near)
    far = run(["resnet18:90", "resnet18:9000"], on="a100-80gb", dataset=1000, batch=8)
    assert "overlaps" not in str(far)


def test_no_batch_fits():
    screen = said("run", "vgg16:74", "--dataset", "1000", "--batch", "8", "--on", "1GiB")
    assert "a batch of 8 does not fit, nor does one of 1" in screen


def test_memory_is_answered_where_time_is_not_known():
    screen = said("run", "resnet18:90", "--dataset", "1000", "--on", "24GiB")
    assert "its time is not known: nobody says how fast 24.0 GiB is" in screen
    assert "fits" in screen
    report = run("resnet18:90", dataset=1000, on="24GiB")
    with pytest.raises(UsageError, match="the time of no run is known"):
        _ = report.first


def test_a_step_that_waits_for_its_data_says_so():
    screen = said("run", "resnet18:90", "--dataset", "1000", "--on", "rtx-4090", "--loader", "1")
    assert "data loading takes longer than the step" in screen


def test_operators_without_a_rule_are_told_and_strict_refuses_them(monkeypatch):
    real = Network.program

    def strange(self, asked):
        program = real(self, asked)
        ops = (replace(op, kind="mystery") if op.kind == "relu" else op for op in program.ops)
        return replace(program, ops=tuple(ops), complete=False)

    monkeypatch.setattr(Network, "program", strange)
    screen = str(run("lenet5:3", dataset=1000, on="rtx-4090"))
    assert "4 operators without a rule, which the time lacks" in screen
    assert "the network stopped half-way" in screen
    with pytest.raises(StrictError, match="the network stopped half-way"):
        run("lenet5:3", dataset=1000, on="rtx-4090", strict=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resnet18"], "nobody says for how many epochs resnet18 is trained"),
        (["resnet18:90"], "the run of resnet18 on which device?"),
        (["resnet18:90", "--on", "rtx-4090"], "an epoch of resnet18 is how many samples?"),
        (["resnet18:90", "--on", "rtx-4090", "--dataset", "0"], "the dataset has 0"),
        (["resnet18:90", "--on", "rtx-4090", "--dataset", "9", "--loader", "0"], "a loader of 0 samples a second"),
        (["a:1@1h", "--loader", "-5"], "a loader of -5 samples a second"),
        (["a@1h", "--epochs", "ninety"], "'ninety' epochs: that is no number"),
        (["a@1h", "--epochs", "0"], "0 epochs"),
        (["a:1@1h", "--epochs", "-1"], "-1 epochs"),
        (["a:1@1h", "--on", "rtx-4090,a100-80gb"], "the time of a was measured on one device, and 2 are named"),
        (["a:1@1s/step"], "an epoch of a is how many samples?"),
        (["resnet18:1", "--on", "p40", "--dataset", "9", "--precision", "amp-bf16"], "P40 has no rate for bfloat16"),
        (["resnet18:1", "--on", "rtx-4090", "--dataset", "9", "--batch", "64"], "a data set of 9 samples has no batch of 64"),
        (["resnet18:1", "--on", "cpu", "--prices", "/nowhere.toml", "--dataset", "9"], "/nowhere.toml: the prices cannot be read"),
        (["nonet:1", "--on", "rtx-4090", "--dataset", "9"], "no network is called 'nonet'"),
    ],
)  # fmt: skip
def test_runs_that_make_no_sense(arguments, message):
    assert message in said("run", *arguments, code=2)


def test_a_dtype_that_a_device_has_no_rate_for_says_what_it_would_run_as():
    told = said(
        "run", "resnet18:1", "--on", "p40", "--dataset", "9", "--precision", "amp-bf16", code=2
    )
    assert "it would emulate bfloat16 in float32" in told
    assert "choose --precision" in told


def test_more_that_makes_no_sense():
    with pytest.raises(UsageError, match="nothing to run"):
        run([])
    with pytest.raises(UsageError, match="a run trains, and train is None"):
        run("resnet18:1", on="rtx-4090", dataset=9, train=None)
    with pytest.raises(UsageError, match="-2 epochs"):
        run([Candidate(model="resnet18", epochs=-2)], on="rtx-4090", dataset=9)
    with pytest.raises(UsageError, match="an update an epoch and 2 batches in an update"):
        run("resnet18:1", on="rtx-4090", dataset=9, learning_rule="epoch", accumulate=2)


def test_a_network_whose_inputs_nobody_says_is_refused(tmp_path):
    pytest.importorskip("torch")
    file = tmp_path / "net.py"
    file.write_text(
        "from torch import nn\nclass Net(nn.Linear):\n    def __init__(self):\n        super().__init__(4, 4)\n"
    )
    with pytest.raises(WeighError, match="input"):
        run(f"{file}:Net:3", on="rtx-4090", dataset=9)


# -- where ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def everywhere():
    return where("resnet50", on="all", train="adamw", batch=64)


def test_the_verdict_of_the_catalogue(everywhere):
    found = everywhere
    assert found.verdict.startswith("needs a GPU with at least ")
    assert "cheapest to rent is" in found.verdict
    assert "a million samples" in found.verdict
    assert found.found.here == ()
    answers = [run.resident.answer for run in found.runs if run.resident]
    assert answers == sorted(answers, key=["fits", "too close to call", None, "does not fit"].index)
    assert len(found.runs) == sum(
        device.capacity_bytes is not None or bool(device.memory_options_bytes)
        for device in devices.load_all()
    )


def test_the_verdict_of_this_machine(monkeypatch):
    big = replace(devices.load("rtx-4090"), name="RTX 4090 here")
    monkeypatch.setattr("weighbridge.rooms.here", lambda: (big,))
    found = where(
        "resnet18", on="here,a100-80gb", train="sgd", batch=8, dataset=IMAGENET, epochs=90
    )
    assert found.verdict.startswith("runs here: RTX 4090 here, ~")
    assert "for 90 epochs" in found.verdict
    assert "cheapest to rent is" in str(found)
    assert found.to_dict()["here"] == ["rtx-4090 here"]
    small = replace(devices.Device(name="a GPU here", key="small"), memory_bytes=GIB)
    monkeypatch.setattr("weighbridge.rooms.here", lambda: (small,))
    found = where("vgg16", on="here,a100-80gb", train="sgd", batch=8)
    assert found.verdict.startswith("needs a GPU with at least ")
    assert "not here: a GPU here, ~" in str(found)


def test_too_close_to_call_here(monkeypatch):
    net = Network("vgg16")
    loop = Loop.of(lifetimes(net.program(net.workload({"train": "sgd", "batch": 8}))))
    total = resident.resident(loop, devices.Device(name="any")).total
    close = devices.Device(name="close", key="close", memory_bytes=total.expected)
    monkeypatch.setattr("weighbridge.rooms.here", lambda: (close,))
    found = where("vgg16", on="here", train="sgd", batch=8)
    assert found.verdict.startswith("too close to call here; surely needs a GPU with at least ")


def test_where_prints_the_same_as_the_function():
    options = ("--on", "rtx-4090,m2-max:64GiB,24GiB", "--sort", "memory", "--top", "2")
    screen = said("where", "resnet18", *options)
    report = where("resnet18", on="rtx-4090,m2-max:64GiB,24GiB", sort="memory")
    assert screen.strip() == report.screen(top=2, width=160).strip()
    assert "m2-max:64GiB" not in screen  # the largest of three, of which two are shown
    assert "and 1 device more, 1 of which it fits" in screen


def test_the_cost_of_an_epoch_and_of_all():
    epoch = where("resnet18", on="a100-80gb", batch=64, train="sgd", dataset=IMAGENET)
    assert "an epoch" in epoch.verdict
    assert [c.title for c in epoch.sheet().columns if c.key == "cost"] == ["cost, an epoch"]
    run_of = where("resnet18", on="a100-80gb", batch=64, train="sgd", dataset=IMAGENET, epochs=90)
    assert "for 90 epochs" in run_of.verdict
    (one,), (all_of,) = epoch.runs, run_of.runs
    assert one.cost_of_epoch is not None
    assert all_of.cost == pytest.approx(90 * one.cost_of_epoch)


def test_what_nothing_holds():
    found = where("resnet18", on="rtx-4090,24GiB", train="sgd", batch=100_000)
    assert "," in found.verdict.partition(" GiB")[0]  # thousands of GiB
    assert "none of these surely holds it; what would make it smaller: weigh fit" in str(found)


def test_nothing_to_rent():
    found = where("resnet18", on="m2-max:64GiB")
    assert "no instance that it surely fits has a known price and time" in found.verdict


def test_the_backend_may_be_named():
    (found,) = where("resnet18", on="rtx-4090", backend="cpu").runs
    assert found.workload is not None
    assert found.workload.backend == "cpu"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resnet18", "--on", "rtx-4091"], "no device is called 'rtx-4091'"),
        (["resnet18", "--on", ","], "no device was named"),
        (["resnet18", "--epochs", "90"], "90 epochs of how many samples?"),
        (["resnet18", "--dataset", "0"], "the dataset has 0"),
        (["resnet18", "--on", "p40", "--precision", "amp-bf16"], "P40 has no rate for bfloat16"),
    ],
)
def test_where_questions_that_make_no_sense(arguments, message):
    assert message in said("where", *arguments, code=2)


def test_more_where_questions_that_make_no_sense():
    with pytest.raises(UsageError, match="no order is called 'size'"):
        where("resnet18", sort="size")
    program = weighbridge.weigh("resnet18").program
    with pytest.raises(UsageError, match="a Program is one step of one backend's kernels"):
        where(program)


# -- forms ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "report",
    [
        lambda: run(["deep:10@2.4h", "shallow:100@1.5min"]),
        lambda: run(["resnet18:3", "vgg11:3"], on="rtx-4090,24GiB", dataset=1000, batch=8),
        lambda: run("vgg16:3", on="1GiB", dataset=1000, batch=8),
        lambda: run("net:2@310ms/step", on="rtx-4090", dataset=1000),
        lambda: where("resnet18", on="all"),
        lambda: where("resnet18", on="rtx-4090", dataset=1000, epochs=3, train="adam"),
    ],
)
def test_reports_are_the_contract(report):
    jsonschema = pytest.importorskip("jsonschema")
    found = report()
    record = json.loads(found.to_json())
    assert record == found.to_dict()
    contract = schema("weighbridge-runs/1")
    jsonschema.validators.Draft202012Validator.check_schema(contract)
    jsonschema.validators.Draft202012Validator(contract).validate(record)
    repr(found)
    assert "<table" in found._repr_html_()


@pytest.mark.parametrize("suffix", ["json", "csv", "md", "tex", "html", "txt"])
def test_reports_go_to_files(tmp_path, suffix):
    path = tmp_path / f"runs.{suffix}"
    said("run", "deep:10@2.4h", "shallow:100@1.5min", "-o", str(path))
    assert "shallow" in path.read_text(encoding="utf-8")
    said("where", "resnet18", "--on", "rtx-4090", "--top", "1", "-o", str(path))
    assert "rtx-4090" in path.read_text(encoding="utf-8")


def test_csv_has_plain_figures_with_their_units(tmp_path):
    path = tmp_path / "runs.csv"
    run(["deep:10@2.4h"], on="rtx-4090").save(path)
    (row,) = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))
    assert float(row["to train (s)"]) == pytest.approx(86400)
    assert float(row["energy (J)"]) == pytest.approx(450 * 86400)
    assert row["network"] == "deep on rtx-4090"
    assert "cost (USD)" in row


def test_json_on_stdout():
    assert json.loads(said("run", "deep:10@2.4h", "--json"))["runs"][0]["total_s"]["value"] == 86400
    assert json.loads(said("where", "lenet5", "--on", "rtx-4090", "--json"))["network"] == "lenet5"


def test_devices_as_they_are_typed():
    assert spelled(devices.parse("m2-max:64GiB")) == "m2-max:64GiB"
    assert spelled(devices.parse("rtx-4090")) == "rtx-4090"
    assert spelled(devices.parse("24GiB")) == "24.0 GiB"
    assert spelled(devices.here()) == "here"


def test_an_offer_says_of_how_many_devices_it_is():
    box = devices.Instance(provider="p", name="box", device="a", price_per_hour=8.0, count=8)
    assert (
        offer(box)
        == "box at p, 8.00 USD an hour for 8 devices, of which one is used (no date, on demand)"
    )


# -- published accuracies -------------------------------------------------------------------------------


@pytest.mark.torch
def test_accuracies_are_those_of_torchvisions_weights():
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("needs torchvision")
    from torchvision.models import get_weight

    for name, found in _accuracies("torchvision").items():
        weights = get_weight(found.source.partition(": ")[2])
        metrics = weights.meta["_metrics"]["ImageNet-1K"]
        assert (found.top1, found.top5) == pytest.approx(
            (metrics["acc@1"] / 100, metrics["acc@5"] / 100)
        )
        # the zoo's network of that name has as many parameters as theirs
        assert weighbridge.weigh(name).parameters.total == weights.meta["num_params"]


@pytest.mark.torch
def test_torchvisions_own_networks_have_the_accuracy_of_their_first_recipe():
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("needs torchvision")
    (found,) = run("torchvision:resnet18:90", on="rtx-4090", dataset=IMAGENET, batch=8).runs
    assert found.accuracy is not None
    known = accuracy("resnet18")
    assert known is not None
    assert found.accuracy.top1 == pytest.approx(known.top1)
    from weighbridge.frontends.torchvision import published

    assert published("fcn_resnet50") is None


def test_nobody_says_what_the_lectures_first_network_reaches():
    assert accuracy("lenet5") is None


# -- one replay for many devices ------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["rtx-3060", "gtx-1080-ti", "a100-80gb", "gtx-1650"])
def test_where_there_is_room_the_replay_without_a_limit_is_the_one_within_it(key):
    net = Network("resnet50")
    loop = Loop.of(lifetimes(net.program(net.workload({"train": "adamw", "batch": 48}))))
    device = devices.load(key)
    quick = Room(device=device).resident(loop)
    # settings that say what is so anyway are replayed within the limit
    from weighbridge.analyses.memory.settings import AllocatorSettings

    assert Room(device=device, settings=AllocatorSettings()).resident(loop) == quick


def test_accuracies_are_told_once_where_they_say_the_same_on_every_device():
    found = run(["resnet50:90", "vgg16:74"], on="a100-80gb,rtx-4090", dataset=IMAGENET, batch=64)
    said_of_accuracy = [text for text in found.to_dict()["findings"] if "accura" in str(text)]
    assert len(said_of_accuracy) == 2
    assert len([text for text in found.to_dict()["findings"] if "First on " in str(text)]) == 2


def test_accuracies_are_told_by_device_where_they_differ():
    def measured(name, device, seconds, top1):
        known = Accuracy(top1=top1, top5=top1, dataset="ImageNet-1K", source="s", url="u")
        terms = Terms(clock=clock)
        found = by_hand(name, epoch_s=seconds, epochs=1, device=devices.load(device), terms=terms)
        return replace(found, accuracy=known)

    found = findings(
        race(
            [
                measured("good", "rtx-4090", 1.0, 0.8),
                measured("poor", "rtx-4090", 2.0, 0.7),
                measured("good", "l4", 2.0, 0.8),
                measured("poor", "l4", 1.0, 0.7),
            ]
        )
    )
    assert (
        "On RTX 4090: Slower and published as no more accurate than good (80.0 %): poor (70.0 %)."
        in found
    )
    assert (
        "On L4: At equal published accuracy or better none is faster than poor (70.0 %) or good (80.0 %)."
        in found
    )
