"""Alignment: where networks have something in the same place, and what each has elsewhere."""

from __future__ import annotations

import pytest

import weighbridge
from weighbridge.analyses.alignment import Place, Side, by_map, by_path
from weighbridge.analyses.weighing import Weighing
from weighbridge.builder import Builder
from weighbridge.layers import convolution
from weighbridge.workload import Workload


def network(*widths, head):
    """Convolutions of 3 x 3 on maps of 4 x 4 as body.0, body.1, ..., and one of 1 x 1 to 2 x 2, by a name of its own."""
    net = Builder(Workload())
    x = net.input((1, 3, 4, 4))
    with net.module("body", "Body"):
        for place, width in enumerate(widths):
            x = convolution(net, x, str(place), width, 3, padding=1, bias=False)
    x = convolution(net, x, head, 5, 1, stride=2)
    program = net.build(network="n", source="test", frontend="builder", outputs=(x,))
    return Weighing(program=program)


@pytest.fixture(scope="module")
def pair():
    return network(2, 2, head="head"), network(4, head="top")


def test_modules_of_one_path_stand_in_one_place(pair):
    body, first = by_path(pair).places
    assert body.name == "body"
    # 3*2*9 and 2*2*9 weights against 3*4*9, each used at 16 positions
    assert [(side.params, side.macs) for side in body.sides] == [(90, 1440), (108, 1728)]
    assert first.name == "body.0"
    assert [(side.params, side.macs) for side in first.sides] == [(54, 864), (108, 1728)]
    assert first.sides[0].detail.startswith("3, 2, kernel_size=(3, 3)")
    assert first.differs


def test_what_no_other_has_is_apart(pair):
    # 2*5 weights and 5 biases, 4*5 and 5, the weights at 4 positions; body.1 is in its body
    assert [(side.params, side.macs) for side in by_path(pair).apart] == [(15, 40), (25, 80)]


def test_layers_stand_where_their_maps_are_of_one_size(pair):
    assert by_map(pair).places == (
        Place(name="4 x 4", sides=(Side(params=90, macs=1440), Side(params=108, macs=1728))),
        Place(name="2 x 2", sides=(Side(params=15, macs=40), Side(params=25, macs=80))),
    )
    assert by_map(pair).apart == (Side(), Side())


def test_a_size_that_one_has_not_is_none():
    one, other = network(2, head="head"), Weighing(program=weighbridge.weigh("lenet5").program)
    sides = {place.name: place.sides for place in by_map([one, other]).places}
    assert sides["4 x 4"][1] is None
    assert sides["28 x 28"][0] is None


@pytest.mark.parametrize(
    "names", [("vgg16", "densenet121"), ("resnet18", "resnet34"), ("bert-base", "gpt2")]
)
def test_places_and_the_rest_are_the_whole(names):
    reports = [weighbridge.weigh(name) for name in names]
    weighings = [report.weighing for report in reports]
    maps, paths = by_map(weighings), by_path(weighings)
    for place, report in enumerate(reports):
        whole = (report.parameters.total, report.compute.forward.macs)
        # a module's place holds those below it: only the uppermost add up
        names = {each.name for each in paths.places if each.sides[place] is not None}
        upper = [
            each for each in paths.places
            if not any(each.name.startswith(f"{name}.") for name in names)
        ]  # fmt: skip
        for aligned, places in ((maps, maps.places), (paths, upper)):
            sides = [each.sides[place] or Side() for each in places]
            total = sum((side for side in sides), aligned.apart[place])
            assert (total.params, total.macs) == whole


def test_what_is_the_same_does_not_differ():
    reports = [weighbridge.weigh(name) for name in ("resnet50", "resnet101")]
    places = {place.name: place for place in by_path([one.weighing for one in reports]).places}
    assert not places["layer1.0.conv1"].differs
    assert places["layer3"].differs
    assert "layer3.6" not in places  # six blocks against 23
