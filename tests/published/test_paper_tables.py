"""The papers' own tables, transcribed independently of this project: what the package's files print is there."""

from __future__ import annotations

import pytest

from weighbridge import papers
from weighbridge.analyses.layers import layers
from weighbridge.analyses.weighing import Weighing
from weighbridge.frontends import zoo
from weighbridge.workload import Workload


def printed(name, column):
    """Label to what the package's table prints, row by row of the paper."""
    return {
        row.label: row.cells[column].published.text
        for row in papers.table(name).rows
        if column in row.cells and not row.variant
    }


def test_vgg_table_2(published):
    rows = published("papers/vgg_table2_params.csv")
    assert printed("vgg", "params") == {
        row["config"]: row["params_millions_as_printed"] for row in rows
    }
    assert printed("vgg", "layers") == {row["config"]: row["weight_layers"] for row in rows}


def test_googlenet_table_1(published):
    rows = [
        row for row in published("papers/googlenet_table1.csv") if row["params_as_printed"] != ""
    ]
    assert list(printed("googlenet", "params").values()) == [
        row["params_as_printed"] for row in rows
    ]
    assert list(printed("googlenet", "ops").values()) == [row["ops_as_printed"] for row in rows]


def test_resnet_table_1(published):
    rows = published("papers/resnet_table1_flops.csv")
    theirs = [float(row["flops_multiply_adds_as_printed"]) for row in rows]
    ours = [
        float(papers.decimal(row.cells["flops"].published.value, 0))
        for row in papers.table("resnet").rows
        if "flops" in row.cells and not row.variant and not row.label.startswith("VGG-16")
    ]
    assert ours == theirs


@pytest.mark.parametrize("network", ["googlenet", "googlenet-separable", "googlenet-bn"])
def test_the_zoo_builds_table_1_of_googlenet(published, network):
    """Output sizes and kernel counts, stage by stage."""
    weighing = Weighing(program=zoo.read(network, Workload()))
    by_scope = {row.scope: row for row in weighing.layers()}
    stages = {row.scope: row for row in layers(weighing.program, weighing.costs, depth=1)}
    scopes = ["conv1", "maxpool1", "conv3", "maxpool2", "inception3a", "inception3b", "maxpool3"]
    scopes += [f"inception4{letter}" for letter in "abcde"] + ["maxpool4"]
    scopes += ["inception5a", "inception5b", "avgpool"]
    branches = {
        "n1x1": "branch1",
        "n3x3_reduce": "branch2.0",
        "n3x3": "branch2.1",
        "n5x5_reduce": "branch3.0",
        "n5x5": "branch3.1",
        "pool_proj": "branch4.1",
    }
    rows = published("papers/googlenet_table1.csv")
    for scope, row in zip(scopes, rows, strict=False):
        _, channels, height, width = stages[scope].outputs[0]
        assert f"{height}x{width}x{channels}" == row["output_size"], scope
        if scope.startswith("inception"):
            for column, branch in branches.items():
                (convolved,) = by_scope[f"{scope}.{branch}.conv"].outputs
                assert convolved[1] == int(row[column]), (scope, column)
