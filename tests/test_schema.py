"""Every report validates against the JSON Schema that ships with the package."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest

import weighbridge
from weighbridge.frontends import zoo
from weighbridge.reports.json import schema
from weighbridge.workload import Workload

jsonschema = pytest.importorskip("jsonschema")

CONTRACT = {
    "network": {"name", "source", "frontend", "rung"},
    "workload": {"mode", "batch", "inputs", "dtype", "optimizer"},
    "parameters": {"total", "trainable", "frozen", "shared", "buffers", "bytes"},
    "memory": {
        "weights_bytes", "gradient_bytes", "optimizer_state_bytes", "activation_bytes", "textbook",
    },
}  # fmt: skip
"""What was promised, key by key."""

PHASE = {
    "multiplications", "additions", "other", "macs", "flops", "read_bytes", "write_bytes",
}  # fmt: skip


def validate(record: object) -> None:
    jsonschema.validators.Draft202012Validator(schema()).validate(record)


def test_the_schema_is_one():
    jsonschema.validators.Draft202012Validator.check_schema(schema())


def test_the_schema_requires_every_key_of_the_contract():
    root = schema()
    assert set(root["required"]) >= {
        "schema", "network", "workload", "parameters", "compute", "memory", "layers", "uncounted", "warnings",
    }  # fmt: skip
    for key, promised in CONTRACT.items():
        assert promised <= set(root["properties"][key]["required"])
    assert {"forward", "backward", "update"} <= set(root["properties"]["compute"]["required"])
    assert set(root["$defs"]["phase"]["required"]) >= PHASE
    layer = root["properties"]["layers"]["items"]
    assert {"scope", "kind", "inputs", "outputs", "params"} <= set(layer["required"])
    textbook = root["properties"]["memory"]["properties"]["textbook"]
    assert {"per_sample_gradients_bytes", "summed_gradients_bytes"} <= set(textbook["required"])


@pytest.mark.parametrize("train", [None, "sgd", "adafactor"])
@pytest.mark.parametrize(
    "network", ["lenet5", "googlenet-aux", "resnet18", "gpt2", "bert-base", "100 -> (fc)10"]
)
def test_every_report_validates(network, train):
    report = weighbridge.weigh(network, batch=2, train=train, dataset=100)
    record = json.loads(report.to_json())
    validate(record)
    assert record == report.to_dict()
    assert record["schema"] == "weighbridge/1"


@pytest.mark.parametrize("convention", ["macs", "lecture", "exact", "paper"])
def test_layers_are_a_partition_of_the_whole(convention):
    record = weighbridge.weigh("resnet18", train="adam", convention=convention).to_dict()
    layers = record["layers"]
    assert sum(layer["params"] for layer in layers) == record["parameters"]["total"]
    assert sum(layer["operators"] for layer in layers) == record["compute"]["operators"]
    for phase in ("forward", "backward", "update"):
        for key in (*PHASE, "operations"):
            assert sum(layer[phase][key] for layer in layers) == record["compute"][phase][key]


def test_reports_of_networks_that_are_not_whole_validate():
    program = zoo.read("lenet5", Workload())
    unknown = replace(
        program,
        ops=tuple(replace(op, kind="mystery") if op.kind == "relu" else op for op in program.ops),
        complete=False,
        warnings=("stopped",),
    )
    record = weighbridge.weigh(unknown).to_dict()
    validate(record)
    assert record["uncounted"][0]["op"] == "mystery"
    assert record["warnings"] == ["stopped"]
    assert record["network"]["complete"] is False


def test_counts_beyond_sixty_four_bits_survive():
    report = weighbridge.weigh("1000000000000 -> (fc)1000000000000", batch=10**6)
    record = json.loads(report.to_json())
    validate(record)
    assert record["compute"]["forward"]["flops"] == 2 * 10**30
    # 10^12 x 10^12 weights and 10^12 biases of four bytes
    assert record["parameters"]["bytes"] == 4 * (10**24 + 10**12)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda record: record.pop("memory"),
        lambda record: record["memory"]["textbook"].pop("summed_gradients_bytes"),
        lambda record: record["compute"]["forward"].update(macs=1.5),
        lambda record: record["parameters"].update(total="138 M"),
        lambda record: record["layers"][0].pop("scope"),
        lambda record: record.update(schema="weighbridge/2"),
    ],
)
def test_the_schema_refuses_what_breaks_the_contract(spoil):
    record = copy.deepcopy(weighbridge.weigh("lenet5").to_dict())
    spoil(record)
    with pytest.raises(jsonschema.ValidationError):
        validate(record)


def test_keys_may_be_added():
    record = weighbridge.weigh("lenet5").to_dict()
    record["time"] = {"seconds": 1.5}
    validate(record)


@pytest.mark.torch
def test_a_traced_network_validates():
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    validate(weighbridge.weigh(model, (4,), batch=2, train="adam").to_dict())
