"""The page: how large it is, how long it takes to make, when a reader can use it, and how soon a knob answers."""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import weighbridge

DECODER = "llama-7b"
NETWORKS = ("resnet50", "densenet201", "gpt2", DECODER)
TURNS = 20


def main(names: list[str]) -> None:
    """A line a network; needs Chromium and playwright."""
    from playwright.sync_api import sync_playwright

    browser = os.environ.get("WEIGHBRIDGE_BROWSER") or shutil.which("chromium")
    print(f"{'network':<14}{'KB':>7}{'made in s':>11}{'ready ms':>10}{'knob ms':>9}{'worst':>7}")
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for name in names or NETWORKS:
            path = Path(folder) / "report.html"
            asked = _decoder(folder) if name == DECODER else name
            report = weighbridge.weigh(asked, train="adamw", batch=8, on="rtx-4090")
            _ = report.placed
            began = time.perf_counter()
            report.save(path)
            seconds = time.perf_counter() - began
            page = chromium.new_page(viewport={"width": 1400, "height": 900})
            page.goto(path.as_uri())
            page.wait_for_selector("html[data-turned]")
            ready = page.evaluate("performance.getEntriesByName('ready')[0].startTime")
            turns = list(_turns(page))
            size = path.stat().st_size / 1000
            print(
                f"{name:<14}{size:>7.0f}{seconds:>11.1f}{ready:>10.0f}{median(turns):>9.0f}"
                f"{max(turns):>7.0f}",
                flush=True,
            )
            page.close()
        chromium.close()


def _decoder(folder):
    """Llama's configuration as transformers has it when nothing is said, which is that of 7B."""
    from transformers import LlamaConfig

    LlamaConfig(architectures=["LlamaForCausalLM"]).save_pretrained(folder)
    return f"hf:{folder}/config.json"


def _turns(page):
    """Milliseconds from a knob's move until everything is drawn."""
    chance = random.Random(6)
    for _ in range(TURNS):
        before = page.get_attribute("html", "data-turned")
        knob = chance.choice(("batch", "batch", "size", "train", "precision", "device"))
        field = page.locator(f"#knob-{knob}")
        if field.is_disabled():
            continue
        if knob == "batch":
            field.fill(str(chance.randint(1, 512)))
        elif knob == "size":
            least, stride, most = (
                int(field.get_attribute(name)) for name in ("min", "step", "max")
            )
            field.fill(str(chance.randrange(least, most + 1, stride)))
        else:
            options = page.locator(f"#knob-{knob} option").count()
            field.select_option(index=chance.randrange(options))
        try:
            page.wait_for_selector(f"html:not([data-turned='{before}'])", timeout=5000)
        except Exception:  # the same option again
            continue
        yield float(page.get_attribute("html", "data-milliseconds"))
