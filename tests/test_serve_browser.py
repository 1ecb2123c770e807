"""The box in a browser: a name, notation as it is typed, an error at its place, an upload; and no complaint of the browser's.

Screenshots are left under `build/screens`, for a person to look at.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from contrast import faint

sync_api = pytest.importorskip("playwright.sync_api")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
BROWSER = os.environ.get("WEIGHBRIDGE_BROWSER") or shutil.which("chromium")
SCREENS = Path(__file__).parent.parent / "build" / "screens"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(
        BROWSER is None, reason="no Chromium: apt-get install chromium, or set WEIGHBRIDGE_BROWSER"
    ),
]


@pytest.fixture(scope="module")
def address():
    command = [sys.executable, "-c", "from weighbridge.cli import main; main()"]
    running = subprocess.Popen(
        [*command, "serve", "--port", "0"], stderr=subprocess.PIPE, text=True
    )
    yield running.stderr.readline().split()[3]
    running.terminate()
    running.communicate(timeout=30)


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        launched = playwright.chromium.launch(executable_path=BROWSER, args=flags)
        yield launched
        launched.close()


class Opened:
    """The box, opened, with what the browser complained of and asked for."""

    def __init__(self, browser, address, path="", **context):
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page = browser.new_page(**{"viewport": {"width": 1400, "height": 900}, **context})
        self.page.set_default_timeout(60_000)
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address + path)
        self.page.wait_for_selector("html[data-ready]")

    def report(self):
        """The report in the frame, once it has drawn itself."""
        self.page.wait_for_selector("html[data-shown^='/page']")
        frame = self.page.frame_locator("#report")
        frame.locator("html[data-turned]").wait_for(state="attached")
        return frame


@pytest.fixture
def opened(browser, address):
    found = Opened(browser, address)
    yield found
    found.page.close()
    assert found.complaints == []
    assert [url for url in found.requests if not url.startswith((address, "data:", "blob:"))] == []


def test_a_name_is_weighed(opened):
    opened.page.fill("#model", "lenet5")
    frame = opened.report()
    assert frame.locator("h1").inner_text() == "lenet5"
    assert "61,706" in frame.locator("#figures").inner_text()
    opened.page.select_option("#train", "adamw")
    opened.page.select_option("#on", "rtx-4090")
    frame.locator("#verdict", has_text="fits RTX 4090").wait_for()
    assert "train=adamw" in opened.page.url
    assert opened.page.get_attribute("#save", "href").startswith("/page?model=lenet5")


def test_sizes_and_precision_are_asked_for(opened):
    page = opened.page
    page.fill("#model", "resnet18")
    page.select_option("#precision", "amp-bf16")
    page.fill("#input", "3,64,64")
    page.locator("#input").press("Tab")
    frame = opened.report()
    frame.locator("#command", has_text="weigh resnet18 --input 3,64,64").wait_for()
    assert "--precision amp-bf16" in frame.locator("#command").inner_text()
    assert "input=3%2C64%2C64" in page.url


@pytest.mark.parametrize(
    ("model", "sizes", "message"),
    [
        ("vgg16", "3,spam", "the input '3,spam' has 'spam', which is not a whole number · an input is its sizes"),
        ("vgg16", "3,7,7", "does not take an input of shape"),
        ("(Conv)6c5w1s0p->(fc)10", "3,spam", "the input '3,spam' has 'spam', which is not a whole number"),
    ],
)  # fmt: skip
def test_sizes_that_are_wrong_are_told_beside_them(browser, address, model, sizes, message):
    opened = Opened(browser, address)
    page = opened.page
    page.fill("#model", model)
    page.fill("#input", sizes)
    page.locator("#input").press("Tab")
    page.locator("#input-said", has_text=message).wait_for()
    assert page.get_attribute("#input", "aria-invalid") == "true"
    assert page.get_attribute("#model", "aria-invalid") != "true"
    page.fill("#input", "3,64,64" if model == "vgg16" else "3,32,32")
    page.locator("#input").press("Tab")
    page.locator("#input[aria-invalid=false]").wait_for()
    assert "--input 3," in opened.report().locator("#command").inner_text()
    page.close()


def test_a_layer_that_does_not_take_the_sizes_is_marked(opened):
    page = opened.page
    page.fill("#model", "(Conv)6c5w1s0p->(fc)10")
    page.fill("#input", "3,2,2")
    page.locator("#input").press("Tab")
    page.locator("#said.wrong", has_text="the kernel covers 5").wait_for()
    assert page.locator("#marked mark").inner_text() == "("
    page.fill("#input", "3,32,32")
    page.locator("#input").press("Tab")
    page.locator("#said:not(.wrong)", has_text="parameters").wait_for()


def test_a_knob_of_the_report_turns(opened):
    opened.page.fill("#model", "resnet18")
    frame = opened.report()
    frame.locator("#knob-batch").fill("16")
    frame.locator("#command", has_text="--batch 16").wait_for()


def test_notation_is_redrawn_as_it_is_typed_and_an_error_is_shown_where_it_is(opened):
    page = opened.page
    page.fill("#model", "(Input)(3,224,224)->(Konv)6c5w1s0p")
    page.wait_for_selector("#said.wrong")
    assert (
        page.inner_text("#said")
        == "no layer is called (Konv) (character 22) · nearest: (Conv), (DWConv)"
    )
    assert page.get_attribute("#model", "aria-invalid") == "true"
    assert page.locator("#marked").evaluate("all => all.firstChild.data") == "(Input)(3,224,224)->("
    # the mark lies where the letter is typed: 21 letters of the same width from the left
    assert page.locator("#marked mark").evaluate("each => each.textContent") == "K"
    page.locator("#model").evaluate("box => box.setSelectionRange(21, 22)")
    page.locator("#model").focus()
    page.keyboard.type("C")
    page.locator("#said", has_text="456 parameters").wait_for()
    assert page.locator("#marked mark").count() == 0
    frame = opened.report()
    assert "456" in frame.locator("#figures").inner_text()
    page.locator("#model").press("End")
    page.keyboard.type("->(fc)10")
    # 6 x 220 x 220 to 10, and its biases
    total = f"{456 + 6 * 220 * 220 * 10 + 10:,}"
    frame.locator("#figures", has_text=total).wait_for()


def test_a_configuration_is_uploaded(opened, tmp_path):
    pytest.importorskip("transformers")
    record = {"model_type": "bert", "architectures": ["BertForMaskedLM"], "num_hidden_layers": 1}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(record))
    opened.page.set_input_files("#file", path)
    assert opened.report().locator("h1").inner_text() == "BertForMaskedLM"


def test_a_file_of_another_kind_is_refused(browser, address, tmp_path):
    opened = Opened(browser, address)
    path = tmp_path / "model.pt"
    path.write_bytes(b"PK\x03\x04")
    opened.page.set_input_files("#file", path)
    opened.page.wait_for_selector("#said.wrong")
    assert "which can run code: it is never read" in opened.page.inner_text("#said")
    opened.page.close()


def test_an_address_shows_what_it_showed(browser, address):
    opened = Opened(browser, address, "?model=lenet5&batch=4&train=sgd&on=rtx-4090")
    assert opened.report().locator("#command").inner_text() == (
        "weigh lenet5 --batch 4 --train sgd --on rtx-4090"
    )
    opened.page.close()
    assert opened.complaints == []


@pytest.mark.parametrize(
    ("name", "context"),
    [
        ("light", {"color_scheme": "light"}),
        ("dark", {"color_scheme": "dark"}),
        ("narrow", {"viewport": {"width": 390, "height": 800}}),
    ],
)
def test_screens(browser, address, name, context):
    opened = Opened(browser, address, **context)
    SCREENS.mkdir(parents=True, exist_ok=True)
    opened.page.fill("#model", "(Input)(3,224,224)->(Conv)6c5w1s0p->(ReLU)->(fc)10")
    opened.report()
    opened.page.screenshot(path=SCREENS / f"serve-{name}.png")
    opened.page.fill("#model", "(Input)(3,224,224)->(Conv)6c5w1s0p->(ReLu2)->(fc)10")
    opened.page.wait_for_selector("#said.wrong")
    opened.page.screenshot(path=SCREENS / f"serve-{name}-wrong.png")
    width = opened.page.evaluate("document.documentElement.scrollWidth")
    assert width <= opened.page.viewport_size["width"], "the box is wider than the screen"
    assert faint(opened.page) == {}
    opened.page.close()
