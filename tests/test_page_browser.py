"""The page in a browser: every part renders, every knob moves, nothing leaves the file, and it says what the command says.

Screenshots are left under `build/screens`, for a person to look at.
"""

from __future__ import annotations

import csv
import io
import json
import os
import random
import shutil
from pathlib import Path

import pytest

import weighbridge
from contrast import faint
from test_calibration import calibration
from weighbridge import rooms, units
from weighbridge.analyses.time.roofline import roofline
from weighbridge.machine import Calibrated

sync_api = pytest.importorskip("playwright.sync_api")
BROWSER = os.environ.get("WEIGHBRIDGE_BROWSER") or shutil.which("chromium")
SCREENS = Path(__file__).parent.parent / "build" / "screens"
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
DEVICE = "rtx-4090"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(
        BROWSER is None, reason="no Chromium: apt-get install chromium, or set WEIGHBRIDGE_BROWSER"
    ),
]


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=BROWSER, args=list(FLAGS))
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    weighbridge.weigh("resnet18", train="adamw", batch=8, on=DEVICE).save(path)
    return path


class Opened:
    """The page, opened, with what it complained of and asked for."""

    def __init__(self, browser, file, **context):
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page = browser.new_page(**{"viewport": {"width": 1400, "height": 900}, **context})
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())
        self.page.wait_for_selector("html[data-turned]")

    def turn(self, **knobs):
        for knob, value in knobs.items():
            before = self.page.get_attribute("html", "data-turned")
            field = self.page.locator(f"#knob-{knob}")
            if field.evaluate("field => field.tagName") == "SELECT":
                field.select_option(value)
            else:
                field.fill(str(value))
            self.page.wait_for_selector(f"html:not([data-turned='{before}'])")

    def record(self):
        return json.loads(self.page.evaluate("weighbridge.text('json')"))


@pytest.fixture
def opened(browser, file):
    found = Opened(browser, file)
    yield found
    found.page.close()
    assert found.complaints == []
    assert [url for url in found.requests if not url.startswith(("file:", "data:", "blob:"))] == []


def disagreements(page, command, path=""):
    """Where the page's figures are not the command's; the page may leave keys out, and adds none."""
    if isinstance(page, dict):
        for key, value in page.items():
            yield from disagreements(value, command.get(key, "no such key"), f"{path}.{key}")
    elif isinstance(page, list) and isinstance(command, list) and len(page) == len(command):
        for index, (one, other) in enumerate(zip(page, command, strict=True)):
            yield from disagreements(one, other, f"{path}[{index}]")
    elif isinstance(command, float) and page is not None:
        if page != pytest.approx(command, rel=1e-12):
            yield f"{path}: {page} on the page, {command} by the command"
    elif page != command:
        yield f"{path}: {page} on the page, {command} by the command"


def test_every_part_renders(opened):
    page = opened.page
    assert page.inner_text("#verdict").startswith("fits RTX 4090 (23.6 GiB) peak ~")
    # He et al. 2016 with its classifier: 11,689,512 parameters, as torchvision counts them
    assert "11,689,512" in page.inner_text("#figures")
    assert page.locator("#layers-body tr").count() > 5
    assert page.locator("#curve path.area").count() >= 5
    assert page.locator("#icicle g.bar").count() > 20
    assert "213 of 213 operators counted · 1 MAC = 2 FLOPs" in page.inner_text("footer")
    assert "46 of 51 published figures" in page.inner_text("footer")
    assert page.inner_text("#command") == "weigh resnet18 --batch 8 --train adamw --on rtx-4090"
    assert page.locator(".still").is_hidden()


def test_the_tree_folds_sorts_and_searches(opened):
    page = opened.page
    rows = page.locator("#layers-body tr")
    few = rows.count()
    page.click("#layers-unfold")
    assert rows.count() > few
    page.click("#layers-fold")
    assert rows.count() < few
    page.click("#layers-table th button[data-column=params]")
    names = page.locator("#layers-body tr th span").all_inner_texts()
    assert names[:3] == ["resnet18", "layer4", "layer3"]  # 8.4 M and 2.1 M of 11.7 M parameters
    page.fill("#layers-search", "downsample")
    assert "downsample" in " ".join(page.locator("#layers-body tr th span").all_inner_texts())
    assert page.locator("#layers-body tr[data-scope=fc]").count() == 0


def test_a_layer_shows_its_formula_with_its_numbers(opened):
    page = opened.page
    page.click("#layers-body tr[data-scope=fc]")
    assert page.inner_text("#layer-name") == "fc"
    # 8 samples of 512 features to 1,000 classes: 8 * 512 * 1000
    assert "4,096,000 MACs" in page.inner_text("#layer-formulas")
    assert "n = 512" in page.inner_text("#layer-formulas")
    opened.turn(batch=10)
    assert "5,120,000 MACs" in page.inner_text("#layer-formulas")
    assert "B = 10" in page.inner_text("#layer-formulas")


def test_layers_have_their_time_and_what_bounds_it(opened):
    page = opened.page
    (device,) = opened.record()["devices"]
    by_layer = device["time"]["by_layer"]
    below = sum(seconds for scope, seconds in by_layer.items() if scope.startswith("layer1."))
    cell = "#layers-body tr[data-scope='{}'] td.time"
    assert page.locator(cell.format("conv1")).first.inner_text() == units.duration(
        by_layer["conv1"]
    )
    assert page.locator(cell.format("layer1")).first.inner_text() == units.duration(below)
    # a ReLU adds nothing to what it moves: it is read, written, and that is its time
    assert page.locator(cell.format("relu")).last.inner_text() == "memory 100 %"
    page.select_option("#icicle-measure", "time")
    assert (
        page.locator("#icicle g.bar[data-scope='layer1'] title").inner_html().startswith("layer1: ")
    )
    opened.turn(device="-1")
    assert page.locator(cell.format("conv1")).first.is_hidden()
    assert page.locator("#icicle-empty").is_visible()


@pytest.mark.parametrize("by", ["class", "layer"])
def test_the_roofline_is_that_of_the_command(opened, by):
    opened.turn(batch=17, precision="amp-bf16")
    report = weighbridge.weigh("resnet18", train="adamw", batch=17, precision="amp-bf16")
    found = roofline(report.time(DEVICE), by)
    pieces = {piece["name"]: piece for piece in opened.page.evaluate(f"weighbridge.pieces('{by}')")}
    assert set(pieces) == {piece.name for piece in found.pieces}
    for piece in found.pieces:
        said = pieces[piece.name]
        assert (said["kernels"], said["flops"]) == (piece.kernels, piece.flops)
        assert said["traffic_bytes"] == piece.traffic_bytes
        assert said["seconds"] == pytest.approx(piece.seconds, rel=1e-12)
        assert said["ideal"] == pytest.approx(piece.ideal_s, rel=1e-12)


def test_the_roofline_says_what_its_dots_are(opened):
    page = opened.page
    assert page.locator("#roofline path.roof").count() >= 2
    assert page.locator("#roofline-table tbody tr").count() > 5
    page.locator("#roofline g.dot").first.focus()
    page.keyboard.press("End")
    assert "convolution" in page.inner_text("#roofline-readout")  # most FLOPs a byte
    page.select_option("#roofline-by", "layer")
    page.locator("#roofline g.dot").last.focus()
    page.keyboard.press("Enter")
    assert page.inner_text("#roofline-readout").startswith(page.inner_text("#layer-name"))
    opened.turn(device="-1")
    assert page.locator("#roofline-part").is_hidden()


def test_the_tree_goes_by_keyboard(opened):
    page = opened.page
    page.focus("#layers-body tr[data-scope='']")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.inner_text("#layer-name") == "conv1"
    page.focus("#layers-body tr[data-scope=layer1]")
    open_before = page.get_attribute("#layers-body tr[data-scope=layer1]", "aria-expanded")
    page.keyboard.press("ArrowRight" if open_before == "false" else "ArrowLeft")
    assert page.get_attribute("#layers-body tr[data-scope=layer1]", "aria-expanded") != open_before


def test_the_curve_says_what_is_there(opened):
    page = opened.page
    assert page.inner_text("#curve-readout").startswith("peak: ")
    page.focus("#curve")
    page.keyboard.press("Home")
    assert "while convolution runs in conv1, forward" in page.inner_text("#curve-readout")
    page.select_option("#curve-round", "first")
    assert "optimizer state" not in page.inner_text("#curve-readout")


def test_the_icicle_opens_and_goes_up(opened):
    page = opened.page
    bars = page.locator("#icicle g.bar")
    many = bars.count()
    page.locator("#icicle g.bar[data-scope=layer4]").click()
    assert page.inner_text("#layer-name") == "layer4"
    page.locator("#icicle g.bar[data-scope=layer4]").click()
    assert bars.count() < many
    page.click("#icicle-up")
    assert bars.count() == many


@pytest.mark.parametrize("form", ["json", "csv", "md", "tex"])
def test_figures_are_taken_away(opened, form):
    with opened.page.expect_download() as download:
        opened.page.click(f"#export-{form}")
    content = Path(download.value.path()).read_text(encoding="utf-8")
    assert download.value.suggested_filename == f"resnet18.{form}"
    assert "layer4" in content
    assert "513000" in content  # the classifier: 512 * 1000 and 1000 biases


@pytest.mark.parametrize(
    ("form", "heading", "a_second"), [("csv", "time (s)", 1), ("md", "time (ms)", 1000), ("tex", "time (ms)", 1000)]
)  # fmt: skip
def test_the_time_of_a_layer_is_taken_away_as_the_tree_has_it(opened, form, heading, a_second):
    page = opened.page
    page.click("#layers-unfold")
    rows = page.locator("#layers-body tr:not([aria-expanded])").evaluate_all(
        "all => all.map(row => [row.dataset.scope, row.querySelector('td.time').innerText])"
    )
    headings, *lines = taken(page, form)
    seconds = {line[0]: float(line[-1]) / a_second for line in lines}
    assert headings[-1] == heading
    assert len(rows) > 50
    for scope, said in rows:
        assert said == (units.duration(seconds[scope]) if seconds[scope] else "0")
    # the tree's first row is the sum of all, those of the loss and of the update among them
    (device,) = opened.record()["devices"]
    assert sum(seconds.values()) == pytest.approx(device["time"]["seconds"], rel=1e-3)
    opened.turn(device="-1")
    assert heading not in taken(page, form)[0]


def taken(page, form):
    """The cells of the table of layers that the page gives in a form, its headings first."""
    text = page.evaluate(f"weighbridge.text('{form}')")
    if form == "csv":
        return list(csv.reader(io.StringIO(text)))
    mark, end = {"md": (" | ", "| "), "tex": (" & ", r"\\ ")}[form]
    rows = [line.strip(end).split(mark) for line in text.splitlines() if mark in line]
    return [[cell.replace(r"\_", "_") for cell in row] for row in rows if row[-1] != "---:"]


def test_the_size_is_a_knob(opened):
    assert opened.page.inner_text("#knob-size-name") == "image size"
    opened.turn(size=448)
    # four times the pixels: 1,814,073,344 MACs less the classifier's 512,000, which stay
    macs = 4 * (1_814_073_344 - 512_000) + 512_000
    assert opened.record()["compute"]["forward"]["macs"] == 8 * macs
    assert opened.page.inner_text("#command") == (
        "weigh resnet18 --input 3,448,448 --batch 8 --train adamw --on rtx-4090"
    )
    opened.page.fill("#knob-size", "450")  # between two sizes: nothing moves
    settled(opened.page)
    assert "448" in opened.page.inner_text("#command")


def test_inference_has_no_column_of_backward(opened):
    assert opened.page.locator("#layers-table th.backward").is_visible()
    opened.turn(train="")
    assert opened.page.locator("#layers-table th.backward").is_hidden()


def test_knobs_go_back(opened):
    asked = opened.record()
    opened.turn(batch=64, size=96, train="", device="-1")
    assert opened.record() != asked
    assert "input 64 x 3 x 96 x 96 float32 · inference" in opened.page.inner_text("#origin")
    opened.page.click("#knob-reset")
    settled(opened.page)
    assert opened.record() == asked


def test_a_knob_that_has_no_place_takes_others_along(opened):
    opened.turn(train="")
    opened.turn(checkpoint="blocks")  # which inference has not
    assert "--train" in opened.page.inner_text("#command")
    opened.turn(train="")
    assert opened.page.input_value("#knob-checkpoint") == "none"
    assert "--train" not in opened.page.inner_text("#command")


def test_the_page_never_disagrees_with_the_command(opened):
    assert turned_at_random(opened, 20) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "network",
    [
        "lenet5", "alexnet", "vgg11", "googlenet", "resnet50", "densenet121", "mobilenet_v2",
        "vit_b_16", "bert-base", "gpt2",
    ],
)  # fmt: skip
def test_no_page_disagrees_with_the_command(browser, tmp_path, network):
    path = tmp_path / "report.html"
    weighbridge.weigh(network, train="adamw", batch=4, on=DEVICE).save(path)
    opened = Opened(browser, path)
    assert turned_at_random(opened, 20) == []
    assert opened.complaints == []
    opened.page.close()


def test_a_calibrated_machine_has_its_time_as_it_was_asked_for(browser, tmp_path, monkeypatch):
    here = Calibrated(calibration=calibration(), stale=(), lacking=None)
    monkeypatch.setattr(rooms, "calibrated_here", lambda device: here)
    path = tmp_path / "report.html"
    report = weighbridge.weigh("lenet5", train="sgd", batch=4, on="here")
    report.save(path)
    command = report.to_dict()
    opened = Opened(browser, path)
    page = opened.page
    record = opened.record()
    assert set(record["devices"][0]["time"]) == set(command["devices"][0]["time"])
    assert list(disagreements(record["devices"][0]["time"], command["devices"][0]["time"])) == []
    seconds = command["devices"][0]["time"]["seconds"]
    assert page.inner_text("#verdict-below").startswith(f"one step ~{units.duration(seconds)} (")
    whole = page.locator("#layers-body tr[data-scope=''] td.time")
    assert whole.first.inner_text() == units.duration(seconds)
    page.select_option("#icicle-measure", "time")
    assert page.locator("#icicle g.bar").count() > 3
    assert page.locator("#roofline-part").is_hidden()  # of which the command tells
    opened.turn(batch=5)
    assert "has the time as it was asked for alone; the command below tells" in page.inner_text(
        "#figures"
    )
    assert page.inner_text("#verdict-below").startswith(
        "no time of a step: of a machine that was calibrated"
    )
    assert whole.first.is_hidden()
    assert "time" not in opened.record()["devices"][0]
    page.click("#knob-reset")
    settled(page)
    assert opened.record() == record
    assert opened.complaints == []
    page.close()


def turned_at_random(opened, times):
    """Where the page does not say what the command says that it shows, after each of so many turns."""
    chance = random.Random(6)
    page = opened.page
    found, timed = [], 0
    for _ in range(times):
        if page.locator("#knob-batch").is_enabled():
            page.fill("#knob-batch", str(chance.choice((1, 2, 3, 17, 100, 700))))
        if page.locator("#knob-size").is_enabled():
            size = page.locator("#knob-size").evaluate(
                "(field, share) => field.stepUp(Math.trunc(share * (field.max - field.min) / field.step))"
                " || field.value",
                chance.random(),
            )
            page.fill("#knob-size", size)
        for name in ("train", "precision", "checkpoint", "device"):
            options = page.locator(f"#knob-{name}:enabled option:enabled")
            values = options.evaluate_all("all => all.map(option => option.value)")
            if values:
                page.select_option(f"#knob-{name}", chance.choice(values))
        settled(page)
        line = page.inner_text("#command").split()
        record = opened.record()
        timed += any(device.get("time") for device in record.get("devices", ()))
        command = commanded(line)
        if not page.locator("#knob-batch").is_enabled():  # then the page looks for no larger batch
            for device in (*record.get("devices", ()), *command.get("devices", ())):
                device["largest_batch"] = None
        found += [f"{' '.join(line)}: {each}" for each in disagreements(record, command)]
    assert (
        timed > times // 2
    )  # a size at which kernels are not known, and an untimed device, may be among them
    return found


def settled(page):
    """Waits until the last turn of a knob is drawn."""
    before = None
    while before != (before := page.get_attribute("html", "data-turned")):
        page.wait_for_timeout(150)


def commanded(line):
    """What the command that the page shows prints as JSON."""
    from click.testing import CliRunner

    from weighbridge.cli import main

    result = CliRunner().invoke(main, [*line[1:], "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_numbers_are_written_as_the_command_writes_them(opened):
    chance = random.Random(6)
    values = [0, 1, 511, 999, 1000, 1023, 1024, 1152 * 2**20, 999_499, 999_500, 2**40 + 2**30]
    values += [9 * 2**exponent for exponent in range(2, 50, 3)]  # 1.125, between two roundings
    values += [int(10 ** chance.uniform(0, 15)) for _ in range(500)]
    for name, written in (("count", units.count), ("memory", units.memory)):
        said = opened.page.evaluate(f"all => all.map(weighbridge.{name})", values)
        assert said == [written(value) for value in values]
    times = [0, 1e-9, 4.5e-7, 0.0009995, 0.0143, 0.9994, 0.99951, 59.94, 59.97, 90, 86400, 3e5]
    times += [10 ** chance.uniform(-8, 6) for _ in range(300)]
    said = opened.page.evaluate("all => all.map(weighbridge.duration)", times)
    assert said == [units.duration(value) for value in times]
    shares = [0, 0.0004, 0.0005, 0.00099, 0.25, 0.0625, 0.1875, 0.99949, 1]
    said = opened.page.evaluate("all => all.map(weighbridge.percent)", shares)
    assert said == [units.percent(share) for share in shares]


@pytest.mark.parametrize("media", ["screen", "print"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_letters_stand_out_from_what_they_stand_on(browser, file, scheme, media):
    opened = Opened(browser, file, color_scheme=scheme)
    opened.page.click("#layers-unfold")
    opened.page.emulate_media(media=media, color_scheme=scheme)
    assert faint(opened.page) == {}
    opened.page.close()


@pytest.mark.parametrize("width", [360, 674, 768, 1024, 1280, 1400])
def test_the_layers_are_as_wide_as_their_place(browser, file, width):
    """Columns that find no room are left out, the time not among them; those left need no scrolling."""
    opened = Opened(browser, file, viewport={"width": width, "height": 900})
    table = opened.page.locator("#layers-table")
    assert table.evaluate("table => table.scrollWidth - table.parentElement.clientWidth") <= 0
    assert opened.page.locator("#layers-body tr[data-scope=conv1] td.time").first.is_visible()
    lines = opened.page.locator("#peak-tensors td").evaluate_all(
        "all => all.map(cell => { const text = document.createRange(); text.selectNodeContents(cell);"
        " return text.getClientRects().length; })"
    )
    assert set(lines) == {1}  # '98.0 MiB' is not broken
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    opened.page.close()


@pytest.mark.parametrize(
    ("name", "context"),
    [
        ("light", {"color_scheme": "light"}),
        ("dark", {"color_scheme": "dark"}),
        ("narrow", {"viewport": {"width": 390, "height": 800}}),
    ],
)
def test_screens(browser, file, name, context):
    opened = Opened(browser, file, **context)
    SCREENS.mkdir(parents=True, exist_ok=True)
    opened.page.screenshot(path=SCREENS / f"page-{name}.png", full_page=True)
    width = opened.page.evaluate("document.documentElement.scrollWidth")
    assert width <= opened.page.viewport_size["width"], "the page is wider than the screen"
    opened.page.close()


def test_print(browser, file):
    opened = Opened(browser, file)
    SCREENS.mkdir(parents=True, exist_ok=True)
    opened.page.pdf(path=SCREENS / "page-print.pdf", format="A4")
    opened.page.emulate_media(media="print")
    opened.page.set_viewport_size({"width": 794, "height": 1123})
    opened.page.screenshot(path=SCREENS / "page-print.png", full_page=True)
    assert opened.page.locator("#knobs").is_hidden()
    opened.page.close()


def test_a_notebook_shows_it_with_the_same_parts(browser, tmp_path):
    """In a frame that may run the page's own program and reach nothing of the notebook around it."""
    report = weighbridge.weigh("resnet18", train="sgd", batch=8, on=DEVICE)
    path = tmp_path / "notebook.html"
    path.write_text(f"<!doctype html><h1>notebook</h1>{report._repr_html_()}", encoding="utf-8")
    complaints = []
    page = browser.new_page(viewport={"width": 1000, "height": 900})
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(path.as_uri())
    frame = page.frame_locator("iframe")
    frame.locator("html[data-turned]").wait_for()
    assert frame.locator("#verdict").inner_text().startswith("fits RTX 4090")
    assert frame.locator("#icicle g.bar").count() > 20
    frame.locator("#knob-size").fill("448")
    frame.locator("html[data-turned='2']").wait_for()
    assert "--input 3,448,448 --batch 8" in frame.locator("#command").inner_text()
    SCREENS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENS / "page-notebook.png", full_page=True)
    assert complaints == []
    page.close()
    still = browser.new_context(java_script_enabled=False).new_page()
    still.goto(path.as_uri())
    assert still.frame_locator("iframe").locator("#verdict").inner_text().startswith("fits")
    still.context.close()


@pytest.mark.parametrize("width", [360, 1400])
def test_without_its_program_the_page_says_what_it_must(browser, file, width):
    context = browser.new_context(
        java_script_enabled=False, viewport={"width": width, "height": 900}
    )
    page = context.new_page()
    page.goto(file.as_uri())
    report = weighbridge.weigh("resnet18", train="adamw", batch=8, on=DEVICE)
    (time,) = report.times
    assert page.inner_text("#verdict").startswith("fits RTX 4090 (23.6 GiB)")
    figures = page.locator("#figures b").all_inner_texts()
    assert "11,689,512" in figures
    assert units.memory(report.memory.peak_bytes) in figures
    assert f"~{units.duration(time.seconds.value)}" in figures
    assert "need JavaScript" in page.inner_text(".still")
    assert page.locator(".still tbody tr").count() > 5
    assert page.inner_text(".still tfoot").split("\t")[0] == "total"
    for part in ("#knobs", "#graph", "#curve", "#export-csv"):
        assert page.locator(part).is_hidden()
    covered = page.locator("footer").bounding_box()["y"]
    assert covered > page.locator(".still").bounding_box()["y"] + 100  # it stands below, not over
    SCREENS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENS / f"page-still-{width}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


def test_without_a_device_the_page_says_what_a_step_takes_of_memory(browser, tmp_path):
    path = tmp_path / "report.html"
    report = weighbridge.weigh("lenet5")
    report.save(path)
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    said = page.inner_text("#verdict")
    assert said.startswith(
        f"peak {units.memory(report.memory.peak_bytes)} of tensors over a step; name a device"
    )
    context.close()
