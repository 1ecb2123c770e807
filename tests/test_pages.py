"""The page as a file: whole in itself, the same bytes again, and nothing in it runs that is not its own."""

from __future__ import annotations

import json
import re
import zlib
from base64 import b64decode, b64encode
from hashlib import sha256
from html import unescape

import pytest

import weighbridge
from weighbridge.builder import Builder
from weighbridge.layers import linear
from weighbridge.reports import page
from weighbridge.reports.page.packing import climbs
from weighbridge.workload import Workload


@pytest.fixture(scope="module")
def report():
    return weighbridge.weigh("lenet5", train="sgd", batch=4, on="rtx-4090")


@pytest.fixture(scope="module")
def made(report):
    return report.page()


def part(text, opening, closing):
    return text.partition(opening)[2].partition(closing)[0]


def head(text):
    return json.loads(part(text, '<script type="application/json" id="record">', "</script>"))


def unpacked(entry):
    return json.loads(zlib.decompress(b64decode(entry["packed"])))


def test_only_its_own_program_and_style_may_run(made):
    policy = part(made, 'http-equiv="Content-Security-Policy" content="', '"')
    for kind, opening, closing in (
        ("script", '<script type="module">', "</script>"),
        ("style", "<style>", "</style>"),
    ):
        content = part(made, opening, closing).encode()
        digest = b64encode(sha256(content).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy


def test_nothing_in_it_is_fetched(made):
    assert re.findall(r"(?:src|href)=\"(?!data:|#)[^\"]*", made) == []
    assert set(re.findall(r"https?://[^\"' ]+", made)) <= {"http://www.w3.org/2000/svg"}
    assert (
        re.findall(r"\bimport\b[^\n]*\bfrom\b|@import|url\(", part(made, "<style>", "</html>"))
        == []
    )


def test_the_same_input_makes_the_same_bytes(report, made):
    assert report.page() == made


def test_a_name_cannot_end_the_element_that_it_stands_in():
    nasty = "</script><script>alert(1)</script>"
    net = Builder(Workload(batch=2))
    x = linear(net, net.input((2, 3)), nasty, 4)
    program = net.build(network=nasty, source="test", frontend="builder", outputs=(x,))
    made = weighbridge.weigh(program).page()
    assert made.count("</script>") == 2  # the record's and the program's
    assert "<script>alert" not in made
    assert head(made)["network"] == nasty


def test_a_program_is_one_step_and_its_page_says_so():
    net = Builder(Workload(batch=2))
    x = linear(net, net.input((2, 3)), "fc", 4)
    program = net.build(network="one", source="test", frontend="builder", outputs=(x,))
    (entry,) = head(weighbridge.weigh(program).page())["positions"]
    assert (entry["smallest"], entry["largest"]) == (2, 2)
    assert entry["fixed"] == "this is one step as it ran, and cannot be built again"


def test_the_record_has_every_position_with_the_command_for_it(made):
    record = head(made)
    options = [entry["options"] for entry in record["positions"]]
    assert options[0] == "--train sgd"
    assert "--train sgd --momentum 0.9 --precision amp-bf16" in options
    assert "" in options  # inference
    assert record["command"] == {
        "network": "lenet5", "inputs": ["--input 1,", ",", ""], "inputs_given": False, "rest": "",
    }  # fmt: skip
    assert record["size"] == {"what": "image size", "own": 32}
    assert record["positions"][0]["one_size"].startswith("fc1 takes 400 features")
    assert record["device"] == "rtx-4090"
    assert record["devices"][0]["name"] == "RTX 4090"


def test_a_position_is_the_contract_and_the_storages(made):
    position = unpacked(head(made)["positions"][0])
    assert position["contract"]["schema"] == "weighbridge/1"
    lives = position["lives"]
    lengths = {len(lives[column]) for column in ("birth", "first", "death", "category", "scope")}
    assert lengths == {len(lives["bytes"]["of"])}
    assert len(position["ops"]["name"]) == position["ops"]["phase"].count(0) + position["ops"][
        "phase"
    ].count(1) + position["ops"]["phase"].count(2)


def test_what_counts_on_is_kept_by_its_steps():
    assert climbs([3, 4, 4, -2, 7]) == [3, 1, 0, -6, 9]
    assert climbs([0, (2, 5), 6]) == [0, [2, 3], 1]


def test_what_the_allocator_is_told_is_left_to_the_command():
    report = weighbridge.weigh(
        "lenet5", train="sgd", on="rtx-4090", alloc_conf="expandable_segments:True"
    )
    record = head(report.page())
    assert record["devices"] == []
    assert record["said"][0].startswith("fits RTX 4090")


def test_a_step_that_does_not_fit_is_told_what_makes_it_fit():
    report = weighbridge.weigh("lenet5", train="adam", batch=20_000, on="1GiB")
    record = head(report.page())
    assert record["advice"].startswith("makes it fit: ")
    assert record["devices"][0]["key"] == "1024MiB"


def test_a_notebook_shows_the_page_in_a_frame_and_the_table_where_frames_are_left_out():
    shown = weighbridge.weigh("lenet5", batch=4)._repr_html_()
    frame, table = shown.split("</iframe>")
    framed = unescape(part(frame, 'srcdoc="', '"'))
    assert 'sandbox="allow-scripts allow-downloads"' in frame  # nothing of the notebook's
    assert framed.startswith("<!doctype html>")
    (entry,) = head(framed)["positions"]
    assert (entry["smallest"], entry["largest"], entry["fixed"]) == (1, None, None)
    assert "<script" not in table
    assert "61,706" in table  # LeCun et al. 1998 with all connections of C3


@pytest.mark.torch
def test_a_notebook_builds_nothing_again_that_takes_long():
    pytest.importorskip("torchvision")
    report = weighbridge.weigh("torchvision:resnet18", batch=2)
    framed = unescape(part(report._repr_html_(), 'srcdoc="', '"'))
    (entry,) = head(framed)["positions"]
    assert entry["fixed"] == "report.save('report.html') has the others"


def test_a_file_is_the_page_and_a_choice_of_a_table_is_the_table(tmp_path, report, made):
    report.save(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == made
    report.save(tmp_path / "table.html", columns=("params",))
    table = (tmp_path / "table.html").read_text(encoding="utf-8")
    assert table == report.to_html(columns=("params",))
    assert "<script" not in table


def test_the_modules_of_the_program_stand_after_what_they_import():
    seen = set()
    for name in page.MODULES:
        source = page._asset(f"js/{name}.js")
        assert set(re.findall(r'from "\./(\w+)\.js"', source)) <= seen, name
        seen.add(name)


def test_what_is_given_beside_the_knobs_is_in_the_command():
    report = weighbridge.weigh(
        "lenet5", train="sgd", accumulate=2, loss="mean", set_to_none=False, input_gradient=True,
        layout="channels-last", compiled=True, trained=["fc3"], convention="lecture",
    )  # fmt: skip
    rest = head(report.page())["command"]["rest"]
    assert rest == (
        "--convention lecture --accumulate 2 --loss mean --keep-gradients --input-gradient "
        "--channels-last --compile --train-only fc3"
    )


@pytest.mark.torch
def test_a_traced_network_has_the_precisions_of_a_described_one():
    pytest.importorskip("torchvision")
    record = head(weighbridge.weigh("torchvision:resnet18", batch=2).page())
    precisions = [entry["precision"] for entry in record["positions"]]
    assert {"float32", "amp-bf16", "bf16"} <= set(precisions)
    assert record["refused"] == []
