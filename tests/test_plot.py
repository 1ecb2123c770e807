"""Pictures: what they show, held against published figures; what is written on them, and what they refuse."""

from __future__ import annotations

import csv
import io
import json
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from functools import cache
from itertools import combinations
from pathlib import Path

import pytest
from click.testing import CliRunner

import weighbridge
from weighbridge import plot
from weighbridge.analyses.growth import growth
from weighbridge.analyses.standing import Standing, pareto
from weighbridge.cli import main
from weighbridge.errors import StrictError, UsageError, WeighError
from weighbridge.papers.accuracy import figure3
from weighbridge.workload import Workload

SMALL = ("resnet18", "mobilenet_v2", "googlenet-bn", "alexnet")


def one(network, params, top1):
    return Standing(
        network=network, source="", batch=1, depth=1, params=params, macs=10 * params, peak_bytes=1, top1=top1,
    )  # fmt: skip


def weighed(picture):
    return {row["network"]: row for row in picture.to_dict()["networks"]}


# -- what the pictures show ----------------------------------------------------------------------


def test_the_front_is_what_no_other_beats():
    # b reaches as much as c for less; d costs most and reaches less than c; nobody says what e reaches
    a, b, c, d, e = (
        one("a", 1, 0.5), one("b", 2, 0.7), one("c", 3, 0.7), one("d", 4, 0.6), one("e", 0, None),
    )  # fmt: skip
    assert pareto((d, c, b, a, e), "params") == (a, b)
    assert pareto((d, c, b, a, e), "time") == ()
    # as large as a and better: a is beaten
    assert pareto((a, replace(a, network="f", top1=0.6), b), "macs")[0].network == "f"


def test_densenet_reaches_the_same_error_for_fewer_parameters_and_operations():
    """L18, as the paper says it of its figure 3 (section 4.4): DenseNet-201 has about ResNet-101's error with less than half of
    its parameters, and a DenseNet that needs as many FLOPs as ResNet-50 performs on par with ResNet-101."""
    found = weighed(plot.densenet_figure3())
    deep, residual = found["densenet201"], found["resnet101"]
    assert abs(deep["top1"] - residual["top1"]) < 0.002
    assert deep["params"] < residual["params"] / 2
    # 8.58 GFLOPs of DenseNet-201 against 8.18 of ResNet-50
    assert deep["macs"] == pytest.approx(found["resnet50"]["macs"], rel=0.06)


def test_the_errors_of_figure_3_are_those_published(published):
    dense = {row["model"]: row for row in published("papers/densenet_table3_imagenet_errors.csv")}
    residual = {
        row["model"]: row
        for row in published("papers/fb_resnet_torch_errors.csv")
        if row["crops"] == "1"
    }
    errors = {name: error for name, (error, _) in figure3().errors.items()}
    assert len(errors) == 8
    for name, error in errors.items():
        model = name.replace("resnet", "ResNet-").replace("densenet", "DenseNet-")
        row = residual.get(model)
        said = row["top1_error"] if row else None
        if said is None:
            key = model if model in dense else f"{model} (k=48)"
            said = dense[key]["top1_single_crop"]
        assert 100 * error == pytest.approx(float(said)), name


@pytest.fixture
def published():
    folder = Path(__file__).parents[2] / "shared" / "data" / "published"

    def read(path):
        if not (folder / path).is_file():
            pytest.skip(f"no ../shared/data/published/{path} beside the checkout")
        with (folder / path).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    return read


def test_deeper_networks_need_not_be_heavier():
    """L20: by the papers' own depths, from VGG-16 to GoogLeNet, ResNet-50 and DenseNet-121 depth grows, and all the rest falls
    below VGG-16's 138 M parameters and 15.5 GMACs."""
    found = weighed(plot.depth("vgg16,googlenet,resnet50,densenet121"))
    assert [row["depth"] for row in found.values()] == [16, 22, 50, 121]
    first, *deeper = found.values()
    assert first["params"] == 138357544  # torchvision's documentation of VGG16_Weights
    for row in deeper:
        for figure in ("params", "macs", "peak_bytes"):
            assert row[figure] < first[figure], (row["network"], figure)


def test_a_trade_off_names_what_it_leaves_out():
    picture = plot.tradeoff("gpt2,resnet18,mobilenet_v2", on="rtx-4090")
    assert list(weighed(picture)) == ["resnet18", "mobilenet_v2"]
    assert "left out, since nobody published what they reach: gpt2" in picture.remarks
    # torchvision documents 69.758 and 71.878; MobileNetV2 is the smaller and the better
    assert "69.76" in str(picture)
    assert picture.to_dict()["pareto"]["params"] == ["mobilenet_v2"]
    assert set(picture.to_dict()["pareto"]) == {"params", "macs", "memory", "time"}


def test_many_that_are_left_out_are_counted_in_the_picture_and_named_in_the_table(
    tmp_path, monkeypatch
):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(plot, "LISTED", 1)
    picture = plot.tradeoff("gpt2,lenet5,resnet18")
    assert "left out, since nobody published what they reach: gpt2, lenet5" in picture.remarks
    _, texts = of_svg(picture, tmp_path / "t.svg")
    assert "2 networks, which the table names" in " ".join(" ".join(texts).split())


def test_a_step_grows_with_its_batch():
    def build(workload):
        return weighbridge.weigh(
            "(Input)(3,16,16)->(Conv)6c5w1s0p->(fc)10", batch=workload.batch
        ).program

    found = growth(build, Workload(), "batch")
    assert [step.size for step in found.steps] == [1, 2, 4, 8, 16, 32, 64]
    # 5x5 of 3 on 12x12 for 6 maps: 64,800; 864 by 10: 8,640
    assert [step.macs for step in found.steps[:2]] == [73_440, 146_880]
    # 456 and 8,650
    assert {step.params for step in found.steps} == {9_106}
    memory = [step.peak_bytes for step in found.steps]
    assert memory == sorted(memory)


def test_a_step_grows_with_its_sequence_as_far_as_there_are_positions():
    picture = plot.growth("gpt2", over="size")
    record = picture.to_dict()
    assert (record["over"], [step["size"] for step in record["steps"]]) == (
        "sequence length", [256, 512, 768, 1024],
    )  # fmt: skip
    assert any(said.startswith("not at sequence length 1536, 2048: ") for said in picture.remarks)


def test_growth_with_the_image_is_of_its_area():
    steps = plot.growth("resnet18", over="size", on="rtx-4090").to_dict()["steps"]
    by_size = {step["size"]: step for step in steps}
    head = 512 * 1000  # the last layer, which sees no image
    assert (by_size[448]["macs"] - head) == 4 * (by_size[224]["macs"] - head)
    assert all(step["seconds"]["low"] < step["seconds"]["value"] for step in steps)


# -- what is on them -----------------------------------------------------------------------------


PICTURES = {
    "tradeoff": lambda: plot.tradeoff(SMALL, on="rtx-4090"),
    "zoo": lambda: plot.tradeoff("zoo", x="params,macs"),
    "depth": lambda: plot.depth("vgg16,vgg16-bn,resnet18,lenet5"),
    "figure3": plot.densenet_figure3,
    "growth": lambda: plot.growth("lenet5", train="sgd", on="rtx-4090"),
    "memory": lambda: plot.memory("resnet18", batch=2, train="adamw"),
}


@cache
def drawn(name):
    pytest.importorskip("matplotlib")
    return PICTURES[name]()


@pytest.mark.parametrize("span", [1, 2])
@pytest.mark.parametrize("name", PICTURES)
def test_nothing_written_overlaps_or_leaves_the_picture(name, span):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    from weighbridge.reports.plots import style

    drawing = drawn(name)._drawing
    figure = Figure(figsize=drawing.inches(span), dpi=style.DOTS_PER_INCH, layout="constrained")
    drawing.draw(figure, span)
    figure.draw_without_rendering()
    beyond = {
        id(label)
        for axes in figure.axes
        for place, axis in enumerate((axes.xaxis, axes.yaxis))
        for low, high in (axis.get_view_interval(),)
        for label in axis.get_ticklabels(which="both")
        if not (axes.axison and low <= label.get_position()[place] <= high)
    }
    texts = [
        (text.get_text(), text.get_window_extent())
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and id(text) not in beyond
    ]
    assert len(texts) > 10
    for text, box in texts:
        assert figure.bbox.x0 - 1 <= box.x0, text
        assert box.x1 <= figure.bbox.x1 + 1, text
        assert figure.bbox.y0 - 1 <= box.y0, text
        assert box.y1 <= figure.bbox.y1 + 1, text
    for (text, box), (other, another) in combinations(texts, 2):
        assert not box.overlaps(another), (text, other)


@pytest.mark.parametrize(
    ("suffix", "begin"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_the_same_picture_is_the_same_file(tmp_path, suffix, begin):
    for name in ("figure3", "memory"):
        for file in ("one", "two"):
            drawn(name).save(tmp_path / f"{file}.{suffix}")
        first = (tmp_path / f"one.{suffix}").read_bytes()
        assert first.startswith(begin)
        assert first == (tmp_path / f"two.{suffix}").read_bytes()


def of_svg(picture, path):
    """The marks of a picture by their ids, and everything that is written on it."""
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none"}):
        picture.save(path)
    root = ET.parse(path).getroot()
    ids = [element.get("id", "") for element in root.iter()]
    texts = ["".join(element.itertext()) for element in root.iter() if element.tag.endswith("text")]
    return ids, texts


def test_every_network_has_a_point_in_every_panel(tmp_path):
    ids, texts = of_svg(drawn("tradeoff"), tmp_path / "tradeoff.svg")
    for network in SMALL:
        assert ids.count(f"point-{network}") == 4, network
    for axis in (
        "parameters (millions)", "forward pass (GMACs)", "peak memory of a step (MiB)", "time of a step (ms, predicted)",
        "top-1 accuracy (%)",
    ):  # fmt: skip
        assert axis in texts, axis
    assert ids.count("front") == 4


def test_figure_3_says_its_setting_and_its_sources(tmp_path):
    ids, texts = of_svg(drawn("figure3"), tmp_path / "figure3.svg")
    assert sum(id.startswith("point-") for id in ids) == 16
    below = " ".join(texts).replace("\N{NO-BREAK SPACE}", " ")
    for said in (
        "single crop of 224 x 224",
        "fb.resnet.torch",
        "arXiv:1608.06993",
        "1 MAC = 2 FLOPs",
    ):
        assert said in below, said


def test_memory_is_stacked_by_role_with_its_peak(tmp_path):
    ids, texts = of_svg(drawn("memory"), tmp_path / "memory.svg")
    usage = weighbridge.weigh("resnet18", batch=2, train="adamw").memory
    roles = {category for category, held in usage.timeline.categories.items() if any(held)}
    assert {f"role-{category}" for category in roles} <= set(ids)
    assert "peak" in ids
    assert f"peak {weighbridge.units.memory(usage.peak_bytes)}" in texts
    assert {"forward", "backward", "update"} <= set(texts)


# -- as data -------------------------------------------------------------------------------------


def test_a_picture_is_its_table_too(tmp_path):
    picture = plot.tradeoff("resnet18,alexnet")
    assert "resnet18" in str(picture)
    assert repr(picture) == "<weighbridge.plot.Picture tradeoff: Accuracy over cost>"
    picture.save(tmp_path / "t.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "t.csv").read_text())))
    assert [row["params"] for row in rows] == ["11689512", "61100840"]
    picture.save(tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text()) == json.loads(picture.to_json())
    assert weighbridge.plot is plot


def test_a_notebook_shows_the_picture(monkeypatch):
    pytest.importorskip("matplotlib")
    picture = plot.depth("lenet5,alexnet")
    assert picture._repr_png_().startswith(b"\x89PNG")
    monkeypatch.setattr(plot, "find_spec", lambda name: None)
    assert picture._repr_png_() is None


def weigh(*arguments):
    return CliRunner().invoke(main, ["plot", *arguments])


def test_the_commands(tmp_path):
    assert "unbeaten in" in weigh("tradeoff", "--networks", "lenet5,resnet18").stdout
    assert json.loads(weigh("depth", "--networks", "lenet5", "--json").stdout)["picture"] == "depth"
    assert "top-1 error" in weigh("densenet-figure3").stdout
    assert "batch" in weigh("growth", "lenet5").stdout
    assert "saved" in weigh("memory", "lenet5", "--train", "sgd").stdout
    pytest.importorskip("matplotlib")
    for arguments in (("memory", "lenet5"), ("roofline", "lenet5", "--on", "rtx-4090")):
        result = weigh(*arguments, "-o", str(tmp_path / "x.svg"))
        assert result.exit_code == 0, result.stderr
        assert (tmp_path / "x.svg").read_bytes().startswith(b"<?xml")
        (tmp_path / "x.svg").unlink()


# -- asked for wrongly ---------------------------------------------------------------------------


def test_what_makes_no_sense_is_refused():
    with pytest.raises(
        UsageError, match="nobody is known to have published what gpt2, lenet5 reach"
    ):
        plot.tradeoff("gpt2,lenet5")
    with pytest.raises(UsageError, match="no network is called 'zo'"):
        plot.tradeoff("resnet18,zo")
    with pytest.raises(UsageError, match="no measure is called 'size'"):
        plot.tradeoff("resnet18", x="size")
    with pytest.raises(UsageError, match="the time on which device"):
        plot.tradeoff("resnet18", x="time")
    with pytest.raises(UsageError, match="a picture's time is of one device, and 2 are named"):
        plot.growth("lenet5", on="rtx-4090,a100-80gb")
    with pytest.raises(UsageError, match="no network is named"):
        plot.depth(" , ")
    with pytest.raises(UsageError, match="no network is called 'resnet5O'"):
        plot.depth("resnet5O")
    with pytest.raises(UsageError, match="no growth is called 'depth'"):
        plot.growth("lenet5", over="depth")
    with pytest.raises(UsageError, match="a Program is one step as it ran, and cannot grow"):
        plot.growth(weighbridge.weigh("lenet5").program)
    with pytest.raises(UsageError, match="which is neither one square image nor sequences"):
        plot.growth("(Input)(3,16,8)->(Conv)6c5w1s0p", over="size")
    with pytest.raises(UsageError, match="a picture over 3 columns of a paper"):
        plot.depth("lenet5").save("x.png", span=3)
    with pytest.raises(UsageError, match=r"cannot tell the form of 'x\.gif'"):
        plot.depth("lenet5").save("x.gif")


def test_a_network_that_runs_at_no_size():
    def build(workload):
        program = weighbridge.weigh("lenet5").program
        if workload.batch != 3:
            raise WeighError("it takes three")
        return replace(program, workload=replace(program.workload, batch=3))

    with pytest.raises(
        WeighError, match=r"lenet5 runs at no batch of 1, 2, 4, 8, 16, 32, 64"
    ) as error:
        growth(build, Workload(batch=3), "batch")
    assert error.value.hints == ("it takes three",)


def test_torchvision_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(plot.frontends, "installed", lambda frontend: frontend == "zoo")
    with pytest.raises(UsageError, match="torchvision is not installed"):
        plot.depth("torchvision")


def test_a_group_leaves_out_what_cannot_be_weighed(monkeypatch):
    monkeypatch.setattr(plot, "_members", lambda group: ("lenet5", "alexnet"))
    known = plot.weigh

    def weigh_all_but_one(name, **settings):
        if name == "zoo:lenet5":
            raise WeighError("too small")
        return known(name, **settings)

    monkeypatch.setattr(plot, "weigh", weigh_all_but_one)
    picture = plot.depth("zoo")
    assert list(weighed(picture)) == ["alexnet"]
    assert "left out: zoo:lenet5: too small" in picture.remarks
    monkeypatch.setattr(plot, "_members", lambda group: ("lenet5",))
    with pytest.raises(WeighError, match="none of the networks can be weighed so"):
        plot.depth("zoo")
    with pytest.raises(WeighError, match="too small"):
        plot.depth("zoo:lenet5")


def test_strict_refuses_what_is_not_counted(monkeypatch):
    def refuse(weighing):
        raise StrictError("not counted")

    monkeypatch.setattr(plot.Weighing, "check_strict", refuse)
    for draw in (plot.growth, plot.memory):
        with pytest.raises(StrictError, match="not counted"):
            draw("lenet5", strict=True)


def test_a_picture_without_matplotlib_says_what_to_install(monkeypatch, tmp_path):
    picture = plot.depth("lenet5")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(WeighError, match="a picture needs matplotlib") as error:
        picture.save(tmp_path / "depth.png")
    assert "pip install 'weighbridge[plot]'" in error.value.hints[0]
    picture.save(tmp_path / "depth.csv")  # the table needs none


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("tradeof",),
            "no picture is called 'tradeof'\n  nearest: tradeoff\n  there are: densenet-figure3, depth,",
        ),
        (("depth", "-o", "x.gif"), "cannot tell the form of 'x.gif' from the suffix '.gif'"),
        (("depth", "-o", "nowhere/x.png", "--networks", "lenet5"), "cannot write 'nowhere/x.png'"),
        (("depth", "--span", "3"), "Invalid value for '--span'"),
    ],
)
def test_bad_commands(arguments, said):
    pytest.importorskip("matplotlib")
    result = weigh(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
