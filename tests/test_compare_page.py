"""The page of a comparison: what it says is what `weigh compare --json` says, with a script and without."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import weighbridge
from contrast import faint
from weighbridge.cli import main
from weighbridge.reports.page.scatter import HEIGHT, LEFT, WIDTH, Point, picture
from weighbridge.units import count, integer, memory

NETWORKS = ("vgg16", "googlenet", "resnet50", "densenet121")
BROWSER = os.environ.get("WEIGHBRIDGE_BROWSER") or shutil.which("chromium")
SCREENS = Path(__file__).parent.parent / "build" / "screens"
PRINTED = 717
"""Pixels across A4 between the margins of a centimetre that Chromium leaves."""


@pytest.fixture(scope="module")
def report():
    return weighbridge.compare(NETWORKS, on="rtx-4090")


@pytest.fixture(scope="module")
def file(tmp_path_factory, report):
    path = tmp_path_factory.mktemp("compare") / "compare.html"
    report.save(path)
    return path


def point(name, x, y, *, best=False):
    return Point(name=name, x=x, y=y, best=best, text=name)


def test_where_no_other_beats_a_network_devices_are_named_once():
    page = weighbridge.compare(["alexnet", "vgg16", "densenet121"], on="rtx-4090,cpu").page()
    said = dict(re.findall(r'<tr data-network="(\w+)">.*<td class="l">(.*)</td></tr>', page))
    assert said["alexnet"].endswith("time on all devices")
    assert (
        said["vgg16"] == "time on RTX 4090"
    )  # on a CPU its arithmetic takes longer than DenseNet-121's


def test_the_command_on_the_page_prints_its_figures(report):
    line = report.command.split()
    assert line == ["weigh", "compare", *NETWORKS, "--batch", "1", "--on", "rtx-4090"]
    result = CliRunner().invoke(main, [*line[1:], "--json"])
    assert json.loads(result.stdout) == report.to_dict()


def test_a_command_has_what_was_asked_for():
    settings = {"train": "sgd", "momentum": 0.9, "precision": "amp-bf16", "accumulate": 2}
    report = weighbridge.compare(["alexnet", "vgg11"], (3, 64, 64), batch=4, **settings)
    assert report.command == (
        "weigh compare alexnet vgg11 --input 3,64,64 --batch 4 --train sgd --momentum 0.9 "
        "--precision amp-bf16 --accumulate 2"
    )
    # at another size than its own nobody published what a network reaches
    assert report.comparison.networks[1].accuracy is None


def test_what_cannot_be_typed_has_no_command():
    program = weighbridge.weigh("lenet5").program
    assert weighbridge.compare([program]).command == ""
    assert 'id="command"' not in weighbridge.compare([program]).page()


def test_two_of_one_name_are_told_apart():
    program = weighbridge.weigh("lenet5").program
    found = weighbridge.compare([program, "lenet5", "vgg11"])
    names = [row.name for row in found.sheet().rows]
    assert names == ["zoo:lenet5", "zoo:lenet5", "vgg11"]


def test_names_cover_neither_each_other_nor_points():
    points = [point(f"network-{place}", 10 + place, 70 + place % 3) for place in range(40)]
    found = picture(points, str, 10)
    boxes = []
    for mark in found.marks:
        assert LEFT <= mark.x <= WIDTH
        assert 0 <= mark.y <= HEIGHT
        if mark.label is None:
            continue
        width = 6.6 * len(mark.point.name)
        shift = {"start": 0, "middle": width / 2, "end": width}[mark.label.anchor]
        left = mark.label.x - shift
        boxes.append((left, mark.label.y - 10, left + width, mark.label.y + 3))
    assert 0 < len(boxes) < len(points)  # some find no room
    for place, one in enumerate(boxes):
        for other in boxes[:place]:
            assert (
                one[0] >= other[2] or other[0] >= one[2] or one[1] >= other[3] or other[1] >= one[3]
            )


def test_ticks_are_round():
    across = picture([point("a", 3e6, 70), point("b", 130e6, 71)], count, 10).across
    assert [tick.text for tick in across] == [
        "5.00 M",
        "10.0 M",
        "20.0 M",
        "50.0 M",
        "100 M",
        "200 M",
    ]
    across = picture([point("a", 44 * 2**20, 70), point("b", 600 * 2**20, 71)], memory, 2).across
    assert [tick.text for tick in across] == ["64.0 MiB", "128 MiB", "256 MiB", "512 MiB"]
    across = picture([point("a", 10, 70), point("b", 10**6, 71)], count, 10).across
    assert [tick.text for tick in across] == ["10", "100", "1.00 k", "10.0 k", "100 k", "1.00 M"]


def test_a_bar_is_a_share_and_a_line_joins_the_best(report):
    page = report.page()
    # 124 M of VGG-16's 138 M parameters are in its classifier: 123,642,856 / 138,357,544
    assert '<rect width="894" height="1"/></svg><span>124 M <small>89.4 %</small>' in page
    best = {
        each.measure: [one.network.network for one in each.networks if one.unbeaten]
        for each in report.comparison.tradeoffs
    }
    # DenseNet-121 has fewer parameters, operations and bytes, ResNet-50 reaches more
    for measure in ("params", "macs", "memory"):
        assert set(best[measure]) == {"resnet50", "densenet121"}
    # by time: whoever no other is both faster and better than
    reached = {
        each.network: (each.paces[0].seconds.value, each.accuracy.top1)
        for each in report.comparison.networks
        if each.accuracy is not None
    }
    assert set(best["time"]) == {
        name
        for name, (seconds, top1) in reached.items()
        if not any(faster < seconds and top1 < better for faster, better in reached.values())
    }


def test_networks_without_a_published_accuracy_have_no_picture():
    page = weighbridge.compare(["100 -> (fc)10", "100 -> (fc)20"]).page()
    assert "Accuracy against cost" not in page
    assert "Layers by the size of their maps" not in page


def test_a_notebook_shows_the_page_in_a_frame_and_the_table_without():
    shown = weighbridge.compare(["lenet5", "vgg11"])._repr_html_()
    assert "<iframe" in shown
    assert "Side by side" in shown
    assert '<table class="weighbridge">' in shown


def test_what_has_no_time_says_why():
    page = weighbridge.compare(["lenet5"], on="24GiB").page()
    assert "no time of lenet5 on " in page


# -- in a browser --------------------------------------------------------------------------------

in_browser = [
    pytest.mark.browser,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(BROWSER is None, reason="no Chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"]
        )
        yield launched
        launched.close()


@pytest.fixture
def opened(browser, file):
    complaints: list[str] = []
    requests: list[str] = []
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-turned]")
    yield page
    page.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []


class TestInABrowser:
    pytestmark = in_browser

    def test_every_part_renders(self, opened, report):
        for row, one in zip(
            opened.locator("#networks tbody tr").all(), report.comparison.networks, strict=True
        ):
            assert integer(one.params) in row.inner_text()
            assert memory(one.peak_bytes) in row.inner_text()
        assert opened.locator("svg.scatter").count() == 4
        assert opened.locator("svg.scatter g.network").count() == 4 * 3  # GoogLeNet has no accuracy
        assert opened.locator(".maps tbody tr").count() == 2 * 7
        assert "1 MAC = 2 FLOPs" in opened.inner_text("footer")

    def test_a_network_is_marked_wherever_it_stands(self, opened):
        opened.locator("svg.scatter g.network[data-network=resnet50]").first.focus()
        assert opened.locator("g.network.marked").count() == 4
        assert opened.locator("#networks tr.marked th").all_inner_texts() == ["resnet50"]

    def test_what_is_taken_away_is_what_the_command_prints(self, opened, report):
        with opened.expect_download() as download:
            opened.click("button[data-form=json]")
        assert json.loads(Path(download.value.path()).read_text("utf-8")) == report.to_dict()
        assert download.value.suggested_filename == "compare.json"

    def test_modules_are_chosen_by_level_and_by_what_differs(self, browser, tmp_path):
        path = tmp_path / "family.html"
        weighbridge.compare(["resnet50", "resnet101"]).save(path)
        page = browser.new_page()
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-turned]")
        rows = page.locator("#paths-table tbody tr:visible")
        few = rows.count()
        page.select_option("#paths-depth", "3")
        assert rows.count() > few
        page.check("#paths-differ")
        assert rows.locator("th").all_inner_texts() == ["layer3"]  # 6 blocks against 23
        page.close()

    @pytest.mark.parametrize("name", ["light", "dark", "narrow", "print"])
    def test_screens(self, browser, file, name):
        size = {"narrow": (390, 800), "print": (PRINTED, 1050)}.get(name, (1400, 900))
        page = browser.new_page(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if name == "dark" else "light",
        )
        page.goto(file.as_uri())
        if name == "print":
            page.emulate_media(media="print")
        SCREENS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENS / f"compare-{name}.png", full_page=True)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= size[0], "the page is wider than the screen"
        assert faint(page) == {}
        page.close()

    def test_many_networks_go_on_a_sheet(self, browser, tmp_path):
        """More than five, whose modules take more columns than there are on A4, and three devices."""
        path = tmp_path / "many.html"
        names = (*NETWORKS, "resnet18", "mobilenet_v2", "alexnet")
        weighbridge.compare(names, on=["rtx-4090", "a100-80gb", "h100-sxm"]).save(path)
        page = browser.new_page(viewport={"width": PRINTED, "height": 1050})
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-turned]")
        page.emulate_media(media="print")
        SCREENS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENS / "compare-print-many.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= PRINTED
        said = (
            page.locator("#paths-table tbody tr")
            .first.locator("td:visible")
            .evaluate_all("all => all.map(cell => getComputedStyle(cell, '::before').content)")
        )
        assert said == [  # what has a conv1, each cell with what it is of
            text
            for name in ("googlenet", "resnet50", "resnet18")
            for text in (f'"{name}: "', '"params "', '"MACs "')
        ]
        page.close()

    def test_without_its_program_it_says_the_same(self, browser, file):
        context = browser.new_context(java_script_enabled=False)
        page = context.new_page()
        page.goto(file.as_uri())
        assert "138,357,544" in page.inner_text("#networks")
        assert page.locator("svg.scatter circle").count() == 12
        assert page.locator("#exports").is_hidden()
        context.close()
