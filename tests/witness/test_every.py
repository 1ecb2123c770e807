"""The surveys of every network: a slice of timm and torchvision against FlopCounterMode, and what their page says."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("timm")
pytest.importorskip("torchvision")

from benchmarks.every import Result, weigh
from benchmarks.every.page import DIFFERS, HALF_WAY, Survey, page, reason, said

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(
    ("frontend", "name", "mode"),
    [
        ("timm", "mobilenetv3_small_050", "inference"),
        ("timm", "vit_tiny_patch16_224", "inference"),
        ("timm", "convnext_atto", "inference"),
        ("torchvision", "googlenet", "inference"),
        (
            "torchvision",
            "inception_v3",
            "training",
        ),  # batch normalisation of a single value: two samples
    ],
)
def test_a_slice(frontend: str, name: str, mode: str) -> None:
    result = weigh(frontend, name, mode)  # type: ignore[arg-type]
    assert not result.error
    assert result.exact
    assert result.witness_macs > 0


def test_an_lstm_has_a_witness() -> None:
    # which is taken whole: the witness has it step by step, or it would miss two fifths of the products
    assert weigh("timm", "sequencer2d_s", "inference").exact


def result(name: str, **more: object) -> Result:
    given = {"params": 5, "module_params": 5, "macs_but_attention": 7, "witness_macs": 7, **more}
    return Result(name=name, mode="inference", **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "why"),
    [
        ("UsageError: networks of type 'dinat' need a package that is not installed: natten",
         "needs a package that is not installed"),
        ("WeighError: hf:x cannot be built: KeyError: 'a'", "cannot be built from its own defaults"),
        ("UsageError: no shape is known for token_index",
         "takes inputs of which the configuration tells no shape"),
        ("NeedsDataError: the network needs data to run: forward asks for values, and there are none\n"
         "  with data it would take at least 17 GiB, and it may take 8 GiB",
         "asks for values, and is too large to run on data here"),
        ("WeighError: forward of the network failed: IndexError: no", "fails in its own code"),
        ("TimeoutError: took longer than 120 CPU seconds", "took too long"),
        ("Oddity: so it is", "is lost in a way of its own"),
    ],
)  # fmt: skip
def test_why_a_network_is_lost(error: str, why: str) -> None:
    assert reason(result("x", error=error)) == why
    assert said(result("x", error=error)) == error.splitlines()[0].partition(": ")[2]


def test_the_line_of_code_is_said_and_no_hint() -> None:
    error = (
        "WeighError: forward of the network failed: IndexError: no\n"
        "  transformers/models/x/modeling_x.py:3: y = x[5]\n  another input: --input 3,224,224"
    )
    assert said(result("x", error=error)) == (
        "forward of the network failed: IndexError: no transformers/models/x/modeling_x.py:3: y = x[5]"
    )


def test_what_is_weighed_and_not_exact() -> None:
    more = result("x", witness_macs=8)
    assert (reason(more), more.exact) == (DIFFERS, False)
    assert said(more) == "parameters 5 of 5; MACs but attention 7, witness 8"
    half = result("x", complete=False, warnings=("it stopped",))
    assert (reason(half), said(half)) == (HALF_WAY, "it stopped")


def test_the_page_says_how_many_of_how_many() -> None:
    survey = Survey(
        frontend="timm",
        mode="inference",
        names=("a", "b", "c", "d"),
        results=(
            result("a"),
            result("b", error="WeighError: b cannot be built: no | or"),
            result("c"),
        ),
    )
    lines = page([survey], "torch 2").splitlines()
    assert "| timm, inference | 4 | 3 | 2 | 1 |" in lines
    assert "| cannot be built from its own defaults | 1 |" in lines
    assert "| b | b cannot be built: no / or |" in lines
    assert "a, c" in lines
