"""The peers' cases: the sums by hand against witnesses, weighbridge against the sums, and the verdicts."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

pytest.importorskip("benchmarks.peers", reason="run from the checkout: python -m pytest")

from benchmarks.peers import asking, command, report, speed
from benchmarks.peers.asking import Answer
from benchmarks.peers.cases import BY_NAME, CASES, Case
from benchmarks.peers.report import write_into
from benchmarks.peers.tools import BY_NAME as TOOLS
from benchmarks.peers.verdicts import on_macs, on_params

CASE = Case(
    name="two products",
    title="100 of one kind, 900 of another",
    build="",
    macs=1000,
    params=10,
    source="100 + 900",
    conventions={1200: "full square"},
    readings={"the first kind only": 100, "nothing at all": 0, "all but the last fifteen": 985},
)

GROUPED = ("moe-grouped", "moe-mixtral")
"""Cases whose experts run through grouped_mm, for which the witness has no rule: it sees a plain product
an expert instead, on data, since the experts' shares of the tokens are data."""


def product_by_product(x: Any, weights: Any, *, offs: Any, bias: None = None) -> Any:
    """grouped_mm as it is defined: rows of x up to offs[e], from where e - 1 ended, times weights[e]."""
    import torch

    ends = offs.tolist()
    shares = zip([0, *ends[:-1]], ends, weights, strict=True)
    return torch.cat([x[start:end] @ expert for start, end, expert in shares])


def built(case: Case, device: str = "meta"):
    pytest.importorskip("torch")
    if case.name in ("bert-base", "gpt2", "conv1d-hf", "llama-cache", "moe-mixtral"):
        pytest.importorskip("transformers")
    if case.name in ("vit_b_16", "resnet50"):
        pytest.importorskip("torchvision")
    from benchmarks.peers.networks import built as build

    return build(case.build, device=device)


@pytest.mark.torch
@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_the_sums_agree_with_pytorchs_own_counter(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = BY_NAME[name]
    module, arguments = built(case, "cpu" if name in GROUPED else "meta")
    assert sum(parameter.numel() for parameter in module.parameters()) == case.params
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    # As two products, since it has no rule for the attention that runs on a CPU.
    attention = sdpa_kernel(SDPBackend.MATH) if name in GROUPED else nullcontext()
    monkeypatch.setattr(torch.nn.functional, "grouped_mm", product_by_product)

    counter = FlopCounterMode(display=False)
    with torch.no_grad(), attention, counter:
        module(*arguments)
    # It counts all pairs under a causal mask, which is one of the named conventions.
    assert counter.get_total_flops() // 2 in (case.macs, *case.conventions)


@pytest.mark.torch
@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_weighbridge_agrees_with_the_sums(name: str) -> None:
    case = BY_NAME[name]
    module, arguments = built(case)

    counted = TOOLS["weighbridge"].load()(module, arguments)
    assert (counted.macs, counted.params) == (case.macs, case.params)


def test_published_figures() -> None:
    # torchvision's meta: ViT-B/16 86,567,656 parameters, ResNet-50 25,557,032 and 4.089 GMACs;
    # ViT-B/16's 17.564 GMACs; GPT-2 small 124,439,808 parameters (Radford et al. 2019: 124M).
    assert BY_NAME["vit_b_16"].params == 86_567_656
    assert BY_NAME["resnet50"].params == 25_557_032
    assert BY_NAME["gpt2"].params == 124_439_808
    # Devlin et al. 2019: 110M
    assert round(BY_NAME["bert-base"].params, -7) == 110_000_000
    assert [round(BY_NAME[name].macs / 1e9, 3) for name in ("resnet50", "vit_b_16")] == [
        4.089,
        17.564,
    ]


def test_names_are_unique() -> None:
    assert len(BY_NAME) == len(CASES)


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_no_two_reasons_come_to_the_same_number(name: str) -> None:
    """Or the number would be no evidence for either: that an encoder layer of 1,024 tokens, as wide as
    512, costs as much in its attention as in its feed-forward was once taken for a reason."""
    case = BY_NAME[name]
    totals = [
        *([] if case.macs is None else [case.macs]),
        *case.conventions,
        *case.readings.values(),
    ]
    assert len(totals) == len(set(totals))


@pytest.mark.torch
@pytest.mark.parametrize(
    ("name", "macs", "params"),
    [
        # 6 kernels of 25 on 28*28, 16 of 6*25 on 10*10, then 400-120-84-10; a bias a map and a neuron
        ("lenet", 6 * 25 * 784 + 16 * 150 * 100 + 400 * 120 + 120 * 84 + 84 * 10,
         6 * 26 + 16 * 151 + 401 * 120 + 121 * 84 + 85 * 10),
        # 96 kernels of 3*121 on 55*55; 256 over half of 96, 25 each, on 27*27; on 13*13 384 of 256*9, 384
        # and 256 of half of 384, 9 each; 9216-4096-4096-1000. Krizhevsky et al. 2012 say 60 million parameters.
        ("alexnet-2012",
         96 * 363 * 3025 + 256 * 48 * 25 * 729 + (384 * 256 + 384 * 192 + 256 * 192) * 9 * 169
         + 9216 * 4096 + 4096 * 4096 + 4096 * 1000,
         96 * 364 + 256 * 1201 + 384 * 2305 + 384 * 1729 + 256 * 1729 + 9217 * 4096 + 4097 * 4096 + 4097 * 1000),
    ],
)  # fmt: skip
def test_a_network_of_the_zoo_is_built_of_pytorchs_layers(
    name: str, macs: int, params: int
) -> None:
    pytest.importorskip("torchvision")
    from benchmarks.peers.names import case_of

    case = case_of(name)
    assert (case.macs, case.params) == (macs, params)
    counted = TOOLS["weighbridge"].load()(*built(case))
    assert (counted.macs, counted.params) == (macs, params)


@pytest.mark.torch
def test_every_network_of_the_zoo_can_be_asked_about() -> None:
    pytest.importorskip("torchvision")
    from benchmarks.peers.names import case_of

    from weighbridge.frontends import zoo

    kinds = {family: case_of(f"zoo:{names[-1]}") for family, names in zoo.FAMILIES.items()}
    assert {family: case.params for family, case in kinds.items()} == {
        "lenet": 60_000,  # LeCun et al. 1998, section II.B
        "alexnet": 60_965_224,
        "vgg": 143_678_248,  # torchvision's vgg19_bn
        "googlenet": 6_624_904,  # torchvision's, without its heads
        "resnet": 60_192_808,  # torchvision's resnet152
        "densenet": 28_681_000,  # torchvision's densenet161
        "mobilenet": 3_504_872,  # torchvision's mobilenet_v2
        "vit": 86_567_656,
        "bert": 109_482_240,
        "gpt2": 124_439_808,
    }


@pytest.mark.torch
def test_a_network_of_torchvision_stands_beside_its_published_figures() -> None:
    pytest.importorskip("torchvision")
    from benchmarks.peers.names import case_of

    detector = case_of("fasterrcnn_resnet50_fpn")
    assert (detector.macs, detector.params) == (134_380_000_000, 41_755_286)
    flow = case_of("torchvision:raft_large")
    assert flow.title == "raft_large of torchvision, 3 x 512 x 512 and 3 x 512 x 512"
    module, (image,) = built(case_of("regnet_y_400mf"))  # which can only be built with data
    assert {each.device.type for each in (image, *module.parameters())} == {"meta"}


@pytest.mark.torch
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["resnet5"], "no case or network 'resnet5'; nearest: resnet50, "),
        (["zoo:resnet5"], "no case or network 'zoo:resnet5'; nearest: resnet50, "),
        (["qqqqqqqq"], "no case or network 'qqqqqqqq'\n  cases: attention, "),
        (["timm:vit"], "no library 'timm'; the networks are torchvision's and the zoo's\n"),
        (["lstm", "--tool", "foo"], "no tool 'foo'\n  there are: weighbridge, "),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_sentence(
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("torchvision")
    monkeypatch.setattr(command, "python", lambda: Path(sys.executable))
    assert command.main(arguments) == 2
    assert said in capsys.readouterr().err


def test_tools_that_are_not_installed_are_said_to_be(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "python", lambda: tmp_path / "python")
    assert command.main(["lstm"]) == 2
    assert "python -m benchmarks.peers.install" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("macs", "word", "right", "why"),
    [
        (1000, "exact", True, ""),
        (1200, "full square", True, "right by the convention 'full square'"),
        (500, "half", False, ""),
        (1003, "+0.30 %", False, "adds biases"),  # 3 of 1000 too many
        (997, "-0.30 %", False, ""),
        (100, "90 % missing", False, "the first kind only"),  # 900 of 1000
        (101, "90 % missing", False, "the first kind only"),  # within 2 % of the whole
        (300, "70 % missing", False, ""),
        (986, "1 % missing", False, "all but the last fifteen"),  # nearer to them than to the whole
        (0, "nothing", False, "nothing at all"),
        (1, "99.9 % missing", False, "nothing at all"),
        (4000, "4 x", False, ""),
        (1203, "~ full square", False, "adds biases"),
    ],
)  # fmt: skip
def test_verdicts(macs: int, word: str, right: bool, why: str) -> None:
    verdict = on_macs(Answer(macs=macs, params=10), CASE, more="adds biases")
    assert (verdict.word, verdict.right, verdict.why) == (word, right, why)


def test_right_but_for_what_it_adds() -> None:
    near = {macs: on_macs(Answer(macs=macs), CASE).near for macs in (1000, 1003, 997, 1203, 500)}
    assert near == {1000: False, 1003: True, 997: False, 1203: True, 500: False}


def test_a_summary_counts_and_gives_each_reason_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "installed", lambda package: "1.0")
    other = replace(CASE, name="other")
    found = [
        (CASE, {"thop": Answer(macs=100, params=10), "FlopCounterMode, meta": Answer(macs=1000)}),
        (
            other,
            {"thop": Answer(macs=100, params=9), "FlopCounterMode, meta": Answer(error="a <b>")},
        ),
    ]
    page = report.summary_page(found)
    assert "| thop | **0 of 2** | 0 | 2 | 0 | 1 of 2 |" in page
    assert "| FlopCounterMode, meta | **1 of 2** | 0 | 0 | 1 | - |" in page
    assert "Versions: thop 1.0, torch 1.0." in page
    assert "- **thop**: the first kind only (two products, other)" in page
    assert "- **FlopCounterMode, meta**: a &lt;b> (other)" in page


def test_speeds_are_medians_of_calls_that_load_nothing() -> None:
    def answers(*calls: list[float], device: str = "meta") -> list[Answer]:
        return [Answer(cpu_seconds=each, peak_bytes=3 * 2**20, device=device) for each in calls]

    times = {
        "net": {
            "forward": answers([9, 0.1, 0.1, 0.3], [9, 0.2, 0.2]),  # medians 0.1 and 0.2
            "weighbridge": answers([9, 0.06]),
            "TorchLens": answers([9, 3], device="cpu"),
            "thop": [Answer(error="KeyError: 'x'")],
            "fvcore": [],  # not asked yet
        }
    }
    assert report.speed_rows(times) == [
        ("CPU ms (ratio)", "net"),
        ("forward", "150 (1.00)"),
        ("weighbridge", "60 (0.40)"),
        ("TorchLens", "3000 (20.00) *"),
        ("thop", "-"),
        ("fvcore", "-"),
    ]
    assert [row[1] for row in report.memory_rows(times)] == ["net", "3", "3", "3 *", "-", "-"]
    assert "- thop, net: KeyError: 'x'" in report.speed_page(times)


def test_a_tool_whose_flops_are_right_is_said_to_have_them() -> None:
    # 1000 MACs are 2000 FLOPs, and some biases
    verdict = on_macs(Answer(macs=0, params=10, flops=2020), CASE)
    assert not verdict.right
    assert verdict.why == "counts FLOPs and no MACs there: 2,020 FLOPs in all, 2 a MAC"
    assert on_macs(Answer(macs=0, params=10, flops=200), CASE).why == "nothing at all"


def test_meta_is_asked_in_every_round_and_data_where_meta_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[str, str]] = []

    class Asked:
        def ask(self, tool: str, build: str, *, device: str, **_: object) -> Answer:
            asked.append((tool, device))
            fails = (tool, device) == ("fvcore", "meta")
            return Answer(device=device, error="TypeError" if fails else None)

    monkeypatch.setattr(speed, "workers", lambda: nullcontext(Asked()))
    monkeypatch.setattr(speed, "NETWORKS", speed.NETWORKS[:1])
    tools = [TOOLS[name] for name in ("thop", "fvcore", "TorchLens", "FlopCounterMode, CPU")]
    kept: list[int] = []
    times = speed.compare(
        Console(quiet=True), rounds=2, tools=tools, kept=lambda times: kept.append(len(times))
    )
    assert asked == [
        ("forward", "meta"), ("thop", "meta"), ("fvcore", "meta"),
        ("forward", "meta"), ("thop", "meta"),  # fvcore would fail again
        ("fvcore", "cpu"), ("TorchLens", "cpu"),  # TorchLens refuses meta
    ]  # fmt: skip
    by_tool = times["ResNet-18"]
    assert {tool: len(answers) for tool, answers in by_tool.items()} == {
        "forward": 2, "thop": 2, "fvcore": 1, "TorchLens": 1,
    }  # fmt: skip
    assert by_tool["fvcore"][0].error is None
    assert len(kept) == len(asked)


def test_a_crash_is_a_verdict() -> None:
    verdict = on_macs(Answer(error="KeyError: 'x'", stage="count"), CASE)
    assert (verdict.word, verdict.right, verdict.why) == ("crashes", False, "KeyError: 'x'")


def test_a_published_figure_is_matched_to_its_digits() -> None:
    published = replace(CASE, macs=4_089_000_000, digits=3)
    assert on_macs(Answer(macs=4_089_184_256), published).word == "exact"
    assert on_macs(Answer(macs=4_089_600_000), published).word == "+0.01 %"  # 4.090


def test_parameters() -> None:
    assert on_params(Answer(macs=1, params=10), CASE) == "="
    assert on_params(Answer(macs=1, params=5), CASE) == "x 0.5"
    assert on_params(Answer(macs=1), CASE) == "-"


def test_an_unknown_expectation_is_refused() -> None:
    with pytest.raises(ValueError, match="two products has no expected MACs"):
        on_macs(Answer(macs=1), replace(CASE, macs=None))


@pytest.mark.torch
def test_a_process_answers_and_outlives_what_fails_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torchvision")
    # The project's own interpreter will do: no other counter is asked.
    monkeypatch.setattr(asking, "python", lambda: sys.executable)
    with asking.workers() as asked:
        failed = asked.ask("weighbridge", "no_such_network", device="meta")
        late = asked.ask("weighbridge", "lstm", device="meta", timeout=0.001)
        told = asked.ask("weighbridge", "tied", device="meta", repeats=2)
    assert failed.error is not None
    assert "KeyError: 'no_such_network'" in failed.error
    assert late.error == "no answer in 0.001 CPU s"
    # 32 tokens, 64 wide, over 1,000 words; one matrix
    assert (told.macs, told.params, told.error) == (2_048_000, 64_000, None)
    assert len(told.cpu_seconds) == 2
    assert told.peak_bytes > told.base_bytes // 2 > 0


def test_a_page_is_written_between_its_markers(tmp_path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- truth -->\nold\n<!-- /truth -->\nafter\n")
    write_into(page, "truth", "| new |")
    assert page.read_text() == "before\n<!-- truth -->\n\n| new |\n\n<!-- /truth -->\nafter\n"
    with pytest.raises(ValueError, match="has 0 places marked <!-- speed -->"):
        write_into(page, "speed", "")
