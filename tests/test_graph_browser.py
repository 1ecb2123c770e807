"""The graph on a page, in a browser: it opens and folds, goes by keyboard, and every line goes down and covers no box."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

import weighbridge

sync_api = pytest.importorskip("playwright.sync_api")
BROWSER = os.environ.get("WEIGHBRIDGE_BROWSER") or shutil.which("chromium")
SCREENS = Path(__file__).parent.parent / "build" / "screens"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(BROWSER is None, reason="no Chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"]
        )
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graph")
    made = {}
    for name in ("resnet18", "googlenet", "densenet121", "gpt2"):
        # one step as it ran has one position of the knobs: its page is made in a moment
        weighbridge.weigh(weighbridge.weigh(name).program).save(folder / f"{name}.html")
        made[name] = folder / f"{name}.html"
    return made


@pytest.fixture
def opened(browser, files):
    pages = []
    complaints: list[str] = []

    def open_page(name, **context):
        page = browser.new_page(**{"viewport": {"width": 1400, "height": 900}, **context})
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(files[name].as_uri())
        page.wait_for_selector("html[data-turned]")
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert complaints == []


def box(page, scope):
    return page.locator(f"#graph g.part[data-scope='{scope}']").first


def mark(page, scope):
    """The mark with which a box opens and folds."""
    return box(page, scope).locator("> text.fold")


def scopes(page):
    return page.locator("#graph g.part").evaluate_all("all => all.map(each => each.dataset.scope)")


def test_it_opens_to_operators_and_folds(opened):
    page = opened("resnet18")
    page.click("#graph-fold")
    assert scopes(page)[:5] == ["conv1", "bn1", "relu", "maxpool", "layer1"]
    mark(page, "layer2").click()
    mark(page, "layer2.0").click()
    # He et al. 2016: two 3 x 3 convolutions, and a projection beside them, meet in a sum
    inside = box(page, "layer2.0")
    assert inside.locator("g.part[data-scope='layer2.0.downsample']").count() == 1
    assert inside.locator("g.part.operator").all_text_contents()[0].startswith("add")
    mark(page, "layer2.0").click()
    assert "layer2.0.conv1" not in scopes(page)


def test_blocks_that_are_alike_are_one_box(opened):
    page = opened("gpt2")
    named = box(page, "transformer.h.0")
    assert "×12" in named.text_content()
    assert "12 alike" in named.get_attribute("aria-label")


def test_a_box_is_chosen_and_its_layer_shown(opened):
    page = opened("resnet18")
    box(page, "conv1").click()
    assert page.inner_text("#layer-name") == "conv1"
    assert "selected" in box(page, "conv1").get_attribute("class")
    page.locator("#layers-body tr[data-scope=fc]").click()
    assert "selected" in box(page, "fc").get_attribute("class")


def test_it_goes_by_keyboard(opened):
    page = opened("resnet18")
    page.click("#graph-fold")
    focused = "document.activeElement.dataset.scope"
    assert page.locator("#graph [tabindex='0']").count() == 1
    box(page, "conv1").focus()
    for _ in range(4):
        page.keyboard.press("ArrowDown")
    assert page.evaluate(focused) == "layer1"
    page.keyboard.press("ArrowRight")
    assert box(page, "layer1").get_attribute("aria-expanded") == "true"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == "layer1.0"
    page.keyboard.press("Enter")
    assert page.inner_text("#layer-name") == "layer1.0"
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(focused) == "layer1"
    page.keyboard.press("ArrowLeft")
    assert box(page, "layer1").get_attribute("aria-expanded") == "false"


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "densenet121", "gpt2"])
def test_boxes_stand_apart_and_lines_go_down(opened, name):
    page = opened(name)
    for _ in range(2):
        page.click("#graph-more")
    boxes = page.locator("#graph g.part").evaluate_all(
        """all => all.map(each => {
          const { left, right, top, bottom } = each.querySelector(":scope > rect.box").getBoundingClientRect();
          const around = each.parentElement.closest("g.part");
          return { left, right, top, bottom, around: around ? around.dataset.key : "", key: each.dataset.key };
        })"""
    )
    levels: dict[str, list[dict]] = {}
    for each in boxes:
        levels.setdefault(each["around"], []).append(each)
    known = {each["key"]: each for each in boxes}
    for around, level in levels.items():
        for place, one in enumerate(level):
            for other in level[:place]:
                apart = (
                    one["left"] >= other["right"] or other["left"] >= one["right"]
                    or one["top"] >= other["bottom"] or other["top"] >= one["bottom"]
                )  # fmt: skip
                assert apart, (one, other)
            if around:
                outer = known[around]
                assert outer["left"] <= one["left"] and one["right"] <= outer["right"]  # noqa: PT018
                assert outer["top"] <= one["top"] and one["bottom"] <= outer["bottom"]  # noqa: PT018
    for line in page.locator("#graph path.edge").evaluate_all(
        "all => all.map(e => e.getAttribute('d'))"
    ):
        heights = [float(pair.split()[1]) for pair in re.findall(r"[\d.-]+ [\d.-]+", line)]
        assert heights[0] < heights[-1]


def test_a_dense_block_reads_all_before_it(opened):
    page = opened("densenet121")
    page.click("#graph-fold")
    for scope in ("features", "features.denseblock1"):
        mark(page, scope).click()
    lines = box(page, "features.denseblock1").locator("> g > path.edge").count()
    # Huang et al. 2017: L layers have L(L+1)/2 connections, here of 6 layers; the concatenation reads all 7 maps,
    # and hands on one
    assert lines == 6 * 7 // 2 + 7 + 1


@pytest.mark.parametrize("name", ["light", "dark", "narrow", "print"])
def test_screens(opened, name):
    size = {"narrow": (390, 800), "print": (794, 1123)}.get(name, (1400, 900))
    page = opened(
        "googlenet",
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if name == "dark" else "light",
    )
    mark(page, "inception3a").click()
    if name == "print":
        page.emulate_media(media="print")
    SCREENS.mkdir(parents=True, exist_ok=True)
    page.locator("section", has=page.locator("#graph")).screenshot(
        path=SCREENS / f"graph-{name}.png"
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
