"""The roofline of a step: every figure by hand on a device of round numbers, the screen, and the picture."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest
from click.testing import CliRunner

import weighbridge
from round_numbers import CARD, PERFECT
from weighbridge import devices
from weighbridge.analyses.time.clock import Clock
from weighbridge.analyses.time.execution import Launch
from weighbridge.analyses.time.roofline import HOST, roofline
from weighbridge.analyses.time.step import StepTime, Timed, step_time
from weighbridge.cli import main
from weighbridge.devices import Efficiency, Rates
from weighbridge.errors import UsageError, WeighError
from weighbridge.ops.kernel import Kernel
from weighbridge.reports.roofline import Picture

# input 8 x 3 x 6 x 6; conv 4 kernels of 3 x 3 without padding: out 8 x 4 x 4 x 4
NET = "(Input)(3,6,6)->(Conv)4c3w1s0p->(ReLU)->(fc)5"


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """Every device reaches its peaks, and its host takes no time."""
    monkeypatch.setattr(devices, "efficiencies", lambda device: PERFECT)


def half(monkeypatch, **settings):
    """Half of every peak is reached."""
    default = Efficiency(compute=0.5, bandwidth=0.5, launch_s=0.0)
    known = replace(PERFECT, default=default, **settings)
    monkeypatch.setattr(devices, "efficiencies", lambda device: known)


def report(network=NET, **settings):
    return weighbridge.roofline(network, **{"batch": 8, "on": CARD, **settings})


def pieces(**settings):
    return {piece.name: piece for piece in report(**settings).pieces}


# -- figures -------------------------------------------------------------------------------------


def test_a_piece_has_its_intensity_and_the_lower_of_its_roofs():
    found = pieces()
    # conv: x 864, w 108, b 4, y 512 numbers are 5,952 bytes; 2 * 512 * 27 = 27,648 FLOPs: 4.645 a byte
    stem = found["convolution stem"]
    assert (stem.kernels, stem.flops, stem.traffic_bytes) == (1, 27_648, 5_952)
    assert stem.flop_per_byte == pytest.approx(4.645, rel=1e-3)
    # 4.645 * 10 GB/s = 46.5 GFLOP/s, below 100
    assert stem.attainable_flop_per_s == pytest.approx(46.45e9, rel=1e-3)
    assert stem.flop_per_s == pytest.approx(46.45e9, rel=1e-3)
    assert stem.bytes_per_s == pytest.approx(10e9)
    assert stem.bound == "memory"


def test_what_is_reached_is_told_beside_what_could_be(monkeypatch):
    half(monkeypatch)
    stem = pieces()["convolution stem"]
    assert stem.attainable_flop_per_s == pytest.approx(46.45e9, rel=1e-3)
    assert stem.flop_per_s == pytest.approx(23.22e9, rel=1e-3)
    assert stem.reached == pytest.approx(0.5)


def test_the_peak_is_the_roof_right_of_the_ridge():
    # fc of 1000 to 500 at batch 4,096: 2 * 4096 * 500,000 FLOPs, (4,096 * 1,500 + 500,500) * 4 bytes: 154 a byte
    found = {piece.name: piece for piece in report("(Input)(1000)->(FC)500", batch=4096).pieces}[
        "matmul"
    ]
    assert found.flop_per_byte == pytest.approx(154.1, rel=1e-3)
    assert found.attainable_flop_per_s == pytest.approx(100e9)
    assert found.bound == "compute"


def test_half_precision_has_another_roof():
    found = report(precision="fp16").found
    assert [(roof.dtype, roof.ridge_flop_per_byte, roof.used) for roof in found.roofs] == [
        ("float16", 100.0, True),
        ("float32", 10.0, False),
    ]
    assert [roof.used for roof in report().found.roofs] == [False, True]


def test_pieces_add_up_to_the_step_by_class_by_layer_and_by_operator(monkeypatch):
    half(monkeypatch, dispatch_s=1e-3)
    for by in ("class", "layer", "operator"):
        found = weighbridge.roofline("resnet18", batch=2, train="sgd", on=CARD, by=by).found
        step = found.time.seconds.value
        assert sum(piece.seconds for piece in found.pieces) == pytest.approx(step)
        assert sum(piece.share for piece in found.pieces) == pytest.approx(1)
        assert found.whole.flops == sum(timed.time.kernel.flops for timed in found.time.kernels)
        assert [piece.seconds for piece in found.pieces] == sorted(
            (piece.seconds for piece in found.pieces), reverse=True
        )


def test_layers_are_told_apart_as_deep_as_is_asked():
    assert [piece.name for piece in report(by="layer").pieces] == ["conv1", "relu1", "fc1"]
    (whole,) = report(by="layer", depth=0).pieces
    assert whole.kernels == 3


def test_what_the_host_adds_is_a_piece(monkeypatch):
    half(monkeypatch, dispatch_s=1e-3)
    host = pieces()[HOST]
    # three operators of 1 ms; the kernels take 2 * 1.3556 us (test_times) of them
    assert host.seconds == pytest.approx(3e-3 - 2 * 1.3556e-6)
    assert host.bound == "host"
    assert (host.flop_per_byte, host.flop_per_s, host.attainable_flop_per_s) == (None, None, None)
    assert (host.bytes_per_s, host.reached) == (None, None)


def test_a_kernel_that_runs_two_operators_is_of_both():
    program = weighbridge.weigh(NET, batch=8, backend="cuda").program
    step = step_time(program, Clock(device=CARD, efficiencies=PERFECT))
    first, second = (op for op in program.ops if op.kind in ("convolution", "relu"))
    # 5 operations in 7 bytes: 2 of 3 and 3 of 4 are the first's and the second's
    kernel = Kernel(kind="elementwise", operations=5, read_bytes=7)
    timed = Timed(launch=Launch(kernel=kernel, ops=(first, second)), time=step.clock.time(kernel))
    fused = StepTime(
        program=program, device=CARD, clock=step.clock, kernels=(timed,), dispatch_s=0.0, uncounted=0
    )  # fmt: skip
    found = roofline(fused, "operator")
    assert {(p.name, p.flops, p.traffic_bytes) for p in found.pieces} == {
        ("convolution", 2, 3), ("relu", 3, 4),
    }  # fmt: skip
    assert [piece.seconds for piece in found.pieces] == pytest.approx([0.35e-9, 0.35e-9])
    assert (found.whole.flops, found.whole.traffic_bytes) == (5, 7)
    (one,) = roofline(fused, "class").pieces
    assert (one.name, one.flops, one.traffic_bytes) == ("elementwise", 5, 7)


# -- what a person reads -------------------------------------------------------------------------


def test_the_screen_has_the_roofs_the_picture_and_the_table():
    shown = report().screen()
    words = " ".join(shown.split())
    assert "Card one step ~1.36 us (1.22 to 1.63 us)" in words
    assert (
        "10.0 GB/s; ridge points, where arithmetic takes as long as memory traffic, in FLOP/B: "
        "10.0 float32 at 100 GFLOP/s, 100 float16 at 1.00 TFLOP/s" in words
    )
    assert "a convolution stem 1 27.6 k 5.81 KiB 4.65 46.5 G 46.5 G 10.0 G 100 % 0.595" in words
    assert "total 3 " in words
    assert "float32 100 GFLOP/s" in shown  # the roof's name in the picture


def test_pieces_stand_in_the_picture_where_their_figures_say():
    found = report().found
    picture = Picture.of(found, 76)
    assert picture is not None
    lines = ["".join(span.text for span in line) for line in picture.lines()]
    place = {
        letter: (row, line.index(letter, 9))
        for letter in "abc"
        for row, line in enumerate(lines)
        if letter in line[9:] and "FLOP" not in line
    }
    conv, relu, fc = place["a"], place["b"], place["c"]
    # intensities: conv 4.65, fc 2 * 8 * 64 * 5 FLOPs in (512 + 325 + 40) * 4 bytes = 1.46, relu 512 in 4,096 = 0.125
    assert relu[1] < fc[1] < conv[1]
    assert relu[0] > fc[0] > conv[0]  # and the higher, the faster


def test_no_picture_where_there_is_no_room_or_nothing_computes():
    assert Picture.of(report().found, 20) is None
    words = weighbridge.roofline("(Input)(3,8,8)->(Conv)4c1w", batch=1, on=CARD).screen(width=30)
    assert "│" not in words


def test_what_computes_nothing_has_no_roof():
    program = weighbridge.weigh(NET, batch=8, backend="cuda").program
    step = step_time(program, Clock(device=CARD, efficiencies=PERFECT))
    kernel = Kernel(kind="copy", read_bytes=10**6)
    timed = Timed(launch=Launch(kernel=kernel, ops=(program.ops[0],)), time=step.clock.time(kernel))
    still = StepTime(
        program=program, device=CARD, clock=step.clock, kernels=(timed,), dispatch_s=0.0, uncounted=0
    )  # fmt: skip
    (copy,) = roofline(still).pieces
    assert copy.flop_per_byte == 0
    assert copy.attainable_flop_per_s is None
    assert copy.bytes_per_s == pytest.approx(10e9)
    assert Picture.of(roofline(still), 76) is None


def test_forms_for_programs(tmp_path):
    found = report()
    record = json.loads(found.to_json())
    jsonschema = pytest.importorskip("jsonschema")
    from weighbridge.reports.json import schema

    jsonschema.validators.Draft202012Validator(schema()).validate(record)
    stem = record["roofline"]["pieces"][0]
    assert (stem["name"], stem["flops"], stem["traffic_bytes"]) == (
        "convolution stem",
        27_648,
        5_952,
    )
    found.save(tmp_path / "roofline.csv")
    head, first, *_, total = (tmp_path / "roofline.csv").read_text().splitlines()
    assert head == (
        "class,kernels,FLOPs,traffic (bytes),FLOP/B,roof (FLOP/s),reached (FLOP/s),moved (B/s),of the roof,"
        "time (s),share (%),bound by"
    )
    assert first.startswith("convolution stem,1,27648,5952,4.645")
    assert total.endswith(",100.0,memory")
    assert "Card: one step" in found._repr_html_()
    assert (
        repr(found) == f"<weighbridge.RooflineReport of {found.weighing.program.network} on Card>"
    )


# -- the picture ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "begin"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_the_same_picture_is_the_same_file(tmp_path, suffix, begin):
    pytest.importorskip("matplotlib")
    found = weighbridge.roofline("resnet18", batch=2, train="sgd", on=CARD, by="layer")
    for name in ("one", "two"):
        found.save(tmp_path / f"{name}.{suffix}")
    one = (tmp_path / f"one.{suffix}").read_bytes()
    assert one.startswith(begin)
    assert one == (tmp_path / f"two.{suffix}").read_bytes()


def test_the_picture_says_what_it_shows(tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        report(batch=64).save(tmp_path / "roofline.svg")
    drawn = (tmp_path / "roofline.svg").read_text()
    for said in (
        "arithmetic intensity (FLOP per byte of memory traffic)", "rate (FLOP/s)", "10.0 GB/s",
        "float32 100 GFLOP/s", "float16 1.00 TFLOP/s", "convolution stem  ", "share of the time",
    ):  # fmt: skip
        assert said in drawn


def written_on(figure):
    """The texts of a figure, without the marks of its axes that lie beyond their ends."""
    from matplotlib.text import Text

    beyond = [
        label
        for axes in figure.axes
        for place, axis in enumerate((axes.xaxis, axes.yaxis))
        for label in axis.get_ticklabels(which="both")
        for low, high in (axis.get_view_interval(),)
        if not (axes.axison and low <= label.get_position()[place] <= high)
    ]
    return [
        text
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and text not in beyond
    ]


@pytest.mark.parametrize("span", [1, 2])
@pytest.mark.parametrize(
    "settings",
    [
        {"model": "resnet18", "by": "layer", "precision": "amp-fp16", "on": CARD},
        # two roofs near each other
        {
            "model": "resnet18",
            "by": "layer",
            "on": replace(CARD, matrix_flop_per_s=Rates(float16=130e9)),
        },
        # a roof whose name the slope would cross
        {"model": "densenet121", "on": "rtx-4090"},
        # long names in the legend
        {"model": "gpt2", "by": "layer", "depth": 4, "on": CARD},
    ],
)
def test_nothing_in_the_picture_overlaps(settings, span):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    from weighbridge.reports.plots import roofline as plot

    found = weighbridge.roofline(batch=2, train="adamw", **settings).found
    figure = Figure(figsize=plot.inches(found, span), layout="constrained")
    long = "a title of a network that is rather long " * 3
    plot.draw(figure, found, title=long, told=3 * long, span=span)
    figure.draw_without_rendering()
    boxes = [(text.get_text(), text.get_window_extent()) for text in written_on(figure)]
    (legend,) = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
    beside = {text.get_text() for text in legend.findobj(type(legend.get_title()))}
    assert len(boxes) > 15
    for place, (one, box) in enumerate(boxes):
        assert figure.bbox.padded(0.5).contains(box.x0, box.y0), one
        assert figure.bbox.padded(0.5).contains(box.x1, box.y1), one
        assert one in beside or not box.overlaps(legend.get_window_extent()), one
        for other, another in boxes[place + 1 :]:
            assert not box.overlaps(another), (one, other)
    slope = figure.axes[0].lines[-1].get_window_extent()
    for label in figure.axes[
        0
    ].texts:  # the slope is a diagonal: at a name's height it is left of it
        box = label.get_window_extent()
        at = slope.x0 + slope.width * (box.y1 - slope.y0) / slope.height
        assert label.get_rotation() or box.y0 >= slope.y1 or at < box.x0, label.get_text()


@pytest.mark.parametrize(("span", "wide"), [(1, 3.5), (2, 7.2)])
def test_a_picture_is_as_wide_as_the_columns_that_it_spans(tmp_path, span, wide):
    pytest.importorskip("matplotlib")
    report().save(tmp_path / "roofline.png", span=span)
    header = (tmp_path / "roofline.png").read_bytes()[16:20]
    assert int.from_bytes(header) == pytest.approx(160 * wide, abs=1)
    with pytest.raises(UsageError, match="a picture over 3 columns of a paper"):
        report().save(tmp_path / "roofline.png", span=3)


def test_a_picture_without_matplotlib_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(
        WeighError, match="a picture needs matplotlib, which is not installed"
    ) as error:
        report().save(tmp_path / "roofline.png")
    assert "pip install 'weighbridge[plot]'" in error.value.hints[0]


def test_a_picture_that_cannot_be_written(tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(UsageError, match=r"cannot write .*: no such file or directory"):
        report().save(tmp_path / "nowhere" / "roofline.png")


# -- asked for wrongly ---------------------------------------------------------------------------


def test_a_roofline_is_of_one_device_that_is_known():
    with pytest.raises(UsageError, match="the roofline of which device"):
        report(on=None)
    with pytest.raises(UsageError, match="a roofline is of one device, and 2 are named"):
        report(on=[CARD, CARD])
    with pytest.raises(UsageError, match=r"nobody says how fast 24\.0 GiB is"):
        report(on="24GiB")
    with pytest.raises(UsageError, match="no piece of a step is called 'module'"):
        report(by="module")


def test_the_command(tmp_path):
    run = CliRunner().invoke
    shown = run(main, ["roofline", NET, "--on", "rtx-4090", "--width", "160"])
    assert shown.exit_code == 0
    assert "ridge points" in shown.stdout
    written = run(
        main, ["roofline", NET, "--on", "cpu", "--by", "layer", "-o", str(tmp_path / "a.csv")]
    )
    assert (written.exit_code, written.stdout) == (0, "")
    assert (tmp_path / "a.csv").read_text().startswith("layer,")
    assert json.loads(run(main, ["roofline", NET, "--on", "cpu", "--json"]).stdout)["roofline"]
    refused = run(main, ["roofline", NET, "--on", "cpu", "-o", "roofline.gif"])
    assert refused.exit_code == 2
    assert "there are: .png, .svg, .pdf, .json" in refused.stderr
    assert run(main, ["roofline", NET, "--on", "cpu", "--strict"]).exit_code == 0
