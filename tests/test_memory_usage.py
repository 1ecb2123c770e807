"""Memory over a loop's steps, on a network whose every byte can be added up by hand.

4 -> (fc)8 -> (ReLU) -> (fc)3, batch 2, float32

parameters   8x4 + 8 + 3x8 + 3 numbers = 128 + 32 + 96 + 12 = 268 bytes
input        2x4 = 32 bytes
fc1, relu1   2x8 = 64 bytes each; relu1's is kept for its own backward and fc2's, fc1's is not
fc2          2x3 = 24 bytes, which the loop names until the next step's fc2 is there
loss         4 bytes, which the loop names to its end, and in backward 4 bytes of its own gradient
"""

from __future__ import annotations

import csv
import io
import json

import pytest

import weighbridge
from weighbridge.errors import UsageError, WeighError
from weighbridge.program import Program
from weighbridge.reports.json import schema

NETWORK = "4 -> (fc)8 -> (ReLU) -> (fc)3"
PARAMETERS, INPUT, HIDDEN, OUTPUT, LOSS, SEED = 268, 32, 64, 24, 4, 4


def trained(**settings):
    return weighbridge.weigh(NETWORK, batch=2, train="sgd", loss="mean", **settings)


def test_the_peak_of_sgd_is_in_the_last_gradient():
    # All gradients are there when fc1's bias gets its own; the gradient of fc1's result is still read by it.
    memory = trained().memory
    assert memory.peak_bytes == 2 * PARAMETERS + INPUT + OUTPUT + HIDDEN + LOSS + SEED
    assert (memory.peak.scope, memory.peak.phase) == ("fc1", "backward")
    assert memory.categories == {
        "parameter": PARAMETERS,
        "gradient": PARAMETERS,
        "input": INPUT,
        "saved_activation": OUTPUT + LOSS,
        "activation_gradient": HIDDEN + SEED,
    }


def test_momentum_is_there_from_the_second_step_on():
    memory = trained(momentum=0.9).memory
    later = 3 * PARAMETERS + INPUT + OUTPUT + HIDDEN + LOSS + SEED
    assert memory.later.peak.bytes == memory.peak_bytes == later
    # In the first step the buffers come with the update, when the last gradient's operands are gone.
    assert memory.first.peak.bytes == later - HIDDEN - SEED
    assert memory.first.peak.phase == "update"
    assert memory.timeline is memory.later


def test_what_is_alive_adds_up_by_storage_by_category_and_by_module():
    memory = trained(momentum=0.9).memory
    assert sum(life.bytes for life in memory.alive_at_peak) == memory.peak_bytes
    assert sum(memory.categories.values()) == memory.peak_bytes
    parts = {part.scope: part for part in memory.modules()}
    assert sum(part.bytes for part in parts.values()) == memory.peak_bytes
    # fc2: weights, momentum and gradients of 3x8 + 3 numbers, and its result.
    assert parts["fc2"].bytes == 3 * (96 + 12) + OUTPUT
    assert parts["fc2"].categories["saved_activation"] == OUTPUT
    assert parts[""].categories == {"input": INPUT}


def test_modules_that_are_over_are_one_part():
    first, rest = trained().memory.modules(rows=1)
    # fc1: weights and gradients of 8x4 + 8 numbers; the gradient of its result is of relu1, which made it.
    assert (first.scope, first.bytes) == ("fc1", 2 * (128 + 32))
    assert rest.scope is None
    assert rest.bytes == 2 * (96 + 12) + INPUT + OUTPUT + HIDDEN + LOSS + SEED


def test_a_step_of_inference_holds_the_result_of_the_step_before():
    memory = weighbridge.weigh(NETWORK, batch=2).memory
    # ReLU reads fc1's result and makes its own.
    assert memory.first.peak.bytes == PARAMETERS + INPUT + 2 * HIDDEN
    assert memory.later.peak.bytes == PARAMETERS + INPUT + 2 * HIDDEN + OUTPUT
    assert memory.categories["held"] == OUTPUT
    assert memory.later.kept == PARAMETERS + INPUT + OUTPUT


def test_the_curve_goes_through_the_peak_and_every_operator_is_in_one_stretch():
    report = weighbridge.weigh("resnet18", batch=2, train="sgd")
    curve = report.memory.curve("later")
    assert curve[0].phase is None
    assert max(stretch.bytes for stretch in curve) == report.memory.later.peak.bytes
    assert [stretch.peak for stretch in curve].count(True) == 1
    assert all(sum(stretch.categories.values()) == stretch.bytes for stretch in curve)
    assert [s.operator for s in curve] == sorted(s.operator for s in curve)
    assert next(s.tenths for s in curve if s.peak) == 1000


@pytest.mark.parametrize("rows", [4, 9, 40])
def test_a_curve_takes_about_the_rows_that_there_are(rows):
    memory = weighbridge.weigh("gpt2", batch=1, train="sgd").memory
    curve = memory.curve(rows=rows)
    assert len(curve) <= rows + 4  # the moment before, and a rest in each of the three phases
    assert max(stretch.bytes for stretch in curve) == memory.later.peak.bytes


def test_before_the_step_are_weights_state_batch_and_the_output_that_is_still_named():
    memory = trained(momentum=0.9).memory
    assert memory.curve("first")[0].categories == {"parameter": PARAMETERS, "input": INPUT}
    assert memory.curve("later")[0].categories == {
        "parameter": PARAMETERS,
        "optimizer_state": PARAMETERS,
        "input": INPUT,
        "held": OUTPUT,
    }


def test_a_program_without_operators_has_no_memory_over_time():
    report = trained()
    empty = weighbridge.weigh(
        Program(**{
            name: getattr(report.program, name)
            for name in ("network", "source", "frontend", "rung", "workload", "storages", "modules", "parameters")
        }, ops=())
    )  # fmt: skip
    with pytest.raises(WeighError, match="no operator ran"):
        _ = empty.memory.peak
    assert "peak_bytes" not in empty.to_dict()["memory"]


def test_the_screen_says_the_peak_its_place_and_both_steps():
    screen = trained(momentum=0.9).memory_screen()
    assert "932 B of tensors, in fc1, backward: sum" in screen
    assert "first step    864 B" in screen
    assert "later steps   932 B" in screen
    curve = screen.partition("over every step")[2].partition("at the peak")[0]
    assert sum(" peak" in line for line in curve.splitlines()) == 1


def test_inference_has_one_kind_of_step():
    screen = weighbridge.weigh(NETWORK, batch=2).memory_screen()
    assert "first step" not in screen
    assert "over a step" in screen


def test_json_holds_peaks_curve_and_what_is_alive():
    record = json.loads(trained(momentum=0.9).memory_json())["memory"]
    assert record["peak_bytes"] == 932
    assert record["first_step"]["peak_bytes"] == 864
    later = record["later_steps"]
    assert later["gradient_bytes"] == later["optimizer_state_bytes"] == PARAMETERS
    assert later["kept_bytes"] == 3 * PARAMETERS + INPUT + OUTPUT
    assert max(entry["bytes"] for entry in record["curve"]["later_steps"]) == 932
    assert sum(entry["bytes"] for entry in record["at_peak"]["modules"]) == 932
    assert record["at_peak"]["largest"][0]["bytes"] == 128


@pytest.mark.parametrize("by", ["step", "role", "module", "tensor"])
def test_every_table_has_every_form(by, tmp_path):
    report = trained()
    for suffix in (".csv", ".md", ".tex", ".html", ".txt", ".json"):
        path = tmp_path / f"memory{suffix}"
        report.save_memory(path, by)
        assert path.read_text()


def test_csv_holds_bytes_in_full(tmp_path):
    trained(momentum=0.9).save_memory(tmp_path / "roles.csv", "role")
    rows = list(csv.reader(io.StringIO((tmp_path / "roles.csv").read_text())))
    assert rows[-1][:2] == ["total", "932"]


def test_a_file_without_a_form_is_refused(tmp_path):
    with pytest.raises(UsageError, match="cannot tell the form"):
        trained().save_memory(tmp_path / "memory")


def test_json_validates():
    jsonschema = pytest.importorskip("jsonschema")
    record = json.loads(trained(momentum=0.9).memory_json())
    jsonschema.validators.Draft202012Validator(schema()).validate(record)
