"""What a plotting library would cost the page: how large, when ready, how soon redrawn, what the page's policy lets it do.

Each draws the memory curve of ResNet-50's training step and 200 dots over logarithmic axes, as SVG, under the policy that
the page has. The libraries are no requirements of the project: `pip install bokeh vl-convert-python plotly`, those of them that
are to be measured. The page's own curve is measured in the page.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from base64 import b64encode
from collections.abc import Callable, Mapping
from hashlib import sha256
from importlib import resources
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import weighbridge

TIMES = 20
COLOURS = (
    "#4477aa",
    "#7799bb",
    "#aa3377",
    "#ee6677",
    "#228833",
    "#ccbb44",
    "#66ccee",
    "#888888",
    "#bbbbbb",
)

BEGIN = """
const data = JSON.parse(document.getElementById("data").textContent);
const moved = (times) => ({ ...data.dots, x: data.dots.x.map((each) => each * times) });
const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
const redraw = { took: async (which, times) => {
  const began = performance.now();
  await redraw[which](times);
  await painted();
  return performance.now() - began;
} };
window.redraw = redraw;
try {
"""
END = """
await painted();
performance.mark("ready");
} catch (error) { console.error(String(error)); }
document.documentElement.dataset.turned = "1";
"""


def bokeh() -> str:
    """BokehJS, with the part that makes figures."""
    folder = resources.files("bokeh").joinpath("server/static/js")
    return "\n;".join(
        folder.joinpath(f"{name}.min.js").read_text("utf-8") for name in ("bokeh", "bokeh-api")
    )


def vega() -> str:
    """Vega, Vega-Lite and Vega-Embed."""
    from vl_convert import javascript_bundle

    return javascript_bundle()


def plotly() -> str:
    """All of Plotly."""
    return resources.files("plotly").joinpath("package_data/plotly.min.js").read_text("utf-8")


LIBRARIES: Mapping[str, Callable[[], str]] = {"bokeh": bokeh, "vega": vega, "plotly": plotly}


def main(names: list[str]) -> None:
    """A line a library, and one of the page's own; needs Chromium and playwright."""
    from playwright.sync_api import sync_playwright

    executable = os.environ.get("WEIGHBRIDGE_BROWSER") or shutil.which("chromium")
    print(
        f"{'':<8}{'KB':>7}{'ready ms':>10}{'curve ms':>10}{'worst':>7}{'200 dots ms':>13}{'worst':>7}{'refused':>9}"
    )
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        report = weighbridge.weigh("resnet50", train="adamw", batch=8)
        own = Path(folder) / "report.html"
        report.save(own)
        _ours(browser, own)
        for name in names or LIBRARIES:
            path = Path(folder) / f"{name}.html"
            size = _written(path, name, report)
            _measured(browser, path, name, size)
        browser.close()


def _written(path: Path, name: str, report: weighbridge.Report) -> int:
    """A page under the page's policy: the library, the data, and what draws."""
    timeline, chance = report.memory.timeline, random.Random(1)
    kinds = [list(sizes) for sizes in timeline.categories.values() if any(sizes)]
    dots = {
        "x": [10 ** chance.uniform(-1, 2.5) for _ in range(200)],
        "y": [10 ** chance.uniform(10, 13.5) for _ in range(200)],
        "name": [f"layer {place}" for place in range(200)],
    }
    data = {"kinds": kinds, "places": list(range(len(kinds[0]))), "dots": dots, "colours": COLOURS}
    library = LIBRARIES[name]().replace("</script", "<\\/script")
    drawing = BEGIN + resources.files(__package__).joinpath(f"{name}.js").read_text("utf-8") + END
    kind = ' type="module"' if name == "vega" else ""
    policy = _policy(library, drawing)
    path.write_text(
        '<!doctype html><html><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"></head><body>'
        '<div id="curve"></div><div id="roofline"></div>'
        f'<script type="application/json" id="data">{json.dumps(data)}</script>'
        f'<script{kind}>{library}</script><script type="module">{drawing}</script></body></html>',
        encoding="utf-8",
    )
    return len(library)


def _policy(*scripts: str) -> str:
    """What the page's own policy says, with these scripts allowed."""
    hashes = " ".join(
        f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" for script in scripts
    )
    return f"default-src 'none'; script-src {hashes}; img-src data:; base-uri 'none'"


def _measured(browser, path: Path, name: str, size: int) -> None:
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-turned]")
    refused = sum("Content Security Policy" in text for text in complaints)
    ready = page.evaluate("performance.getEntriesByName('ready')[0]?.startTime ?? NaN")
    took = {
        which: [
            page.evaluate(f"redraw.took('{which}', {1 + place / TIMES})") for place in range(TIMES)
        ]
        for which in ("curve", "roofline")
    }
    print(
        f"{name:<8}{size / 1000:>7.0f}{ready:>10.0f}{median(took['curve']):>10.0f}{max(took['curve']):>7.0f}"
        f"{median(took['roofline']):>13.0f}{max(took['roofline']):>7.0f}{refused:>9}",
        flush=True,
    )
    page.close()


def _ours(browser, path: Path) -> None:
    """The page's own curve, drawn anew by its choice of the step."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-turned]")
    ready = page.evaluate("performance.getEntriesByName('ready')[0].startTime")
    took = [page.evaluate(OURS, ("first", "later")[place % 2]) for place in range(TIMES)]
    size = len(
        resources.files("weighbridge").joinpath("reports/page/js/curve.js").read_text("utf-8")
    )
    print(
        f"{'ours':<8}{size / 1000:>7.0f}{ready:>10.0f}{median(took):>10.0f}{max(took):>7.0f}{'':>20}{0:>9}"
    )
    page.close()


OURS = """async (round) => {
  const choice = document.getElementById("curve-round");
  choice.value = round;
  const began = performance.now();
  choice.dispatchEvent(new Event("change"));
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - began;
}"""
