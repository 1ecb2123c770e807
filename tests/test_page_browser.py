"""The page in a browser: every part renders, every knob moves, nothing leaves the file, and it says what the command says.

Screenshots are left under `build/screens`, for a person to look at.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import pytest

import weighbridge

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


def test_knobs_go_back(opened):
    asked = opened.record()
    opened.turn(batch=64, train="", device="-1")
    assert opened.record() != asked
    opened.page.click("#knob-reset")
    opened.page.wait_for_timeout(200)
    assert opened.record() == asked


def test_the_page_never_disagrees_with_the_command(opened):
    settings = random.Random(6)
    page = opened.page
    trains = page.locator("#knob-train option").evaluate_all("all => all.map(o => o.value)")
    precisions = page.locator("#knob-precision option").evaluate_all("all => all.map(o => o.value)")
    for _ in range(20):
        batch, device = (
            settings.choice((1, 2, 3, 17, 100, 700)),
            settings.choice((DEVICE, "t4", "a100-80gb")),
        )
        opened.turn(train=settings.choice(trains), precision=settings.choice(precisions))
        opened.turn(batch=batch)
        place = page.locator("#knob-device option").evaluate_all(
            "all => all.map(o => o.textContent)"
        )
        names = {"rtx-4090": "RTX 4090 (", "t4": "T4", "a100-80gb": "A100"}
        wanted = next(
            i
            for i, text in enumerate(place)
            if names[device] in text and (device != "a100-80gb" or "80" in text)
        )
        page.select_option("#knob-device", index=wanted)
        page.wait_for_timeout(100)
        line = page.inner_text("#command").split()
        assert list(disagreements(opened.record(), commanded(line))) == [], " ".join(line)


def commanded(line):
    """What the command that the page shows prints as JSON."""
    from click.testing import CliRunner

    from weighbridge.cli import main

    result = CliRunner().invoke(main, [*line[1:], "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


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


def test_without_its_program_the_page_says_what_it_must(browser, file):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(file.as_uri())
    assert page.inner_text("#verdict").startswith("fits RTX 4090 (23.6 GiB)")
    assert "11,689,512" in page.inner_text("#figures")
    assert page.locator(".still tbody tr").count() > 5
    assert page.locator("#knobs").is_hidden()
    context.close()
