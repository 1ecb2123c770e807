"""The graph of a forward pass: calls of modules, what reads what, and copies of a block."""

from __future__ import annotations

import pytest

import weighbridge
from weighbridge.analyses.graph import INPUT, Call, graph
from weighbridge.builder import Builder
from weighbridge.layers import linear
from weighbridge.workload import Workload


def built(*, blocks):
    """A stem, blocks that add what they make to what they get, and a head."""
    net = Builder(Workload())
    x = linear(net, net.input((1, 4)), "stem", 4)
    for place in range(blocks):
        with net.module(f"block.{place}", "Block"):
            inner = net.op("relu", x)[0]
            x = net.op("add", inner, x)[0]
    x = linear(net, x, "head", 2)
    return net.build(network="n", source="test", frontend="builder", outputs=(x,))


def calls(parts):
    return [(part.scope, part.last, part.copies) for part in parts if isinstance(part, Call)]


def test_an_operator_reads_what_others_made():
    found = graph(built(blocks=1))
    kinds = [op.kind for op in found.ops]
    place = kinds.index("relu")
    stem = place - 1
    assert found.reads[place] == (stem,)
    assert found.reads[place + 1] == (stem, place)  # the sum reads both ways through the block
    assert INPUT in found.reads[stem]


def test_blocks_that_are_alike_are_copies_of_the_first():
    (stem, block, head) = graph(built(blocks=3)).inside
    assert calls([stem, block, head]) == [
        ("stem", "stem", 1),
        ("block", "block", 1),
        ("head", "head", 1),
    ]
    assert calls(block.inside) == [("block.0", "block.2", 3)]
    (copies,) = block.inside
    assert copies.end - copies.begin == 3 * 2
    assert copies.inside == (copies.begin, copies.begin + 1)


def test_what_is_not_read_one_after_the_other_is_no_copy():
    net = Builder(Workload())
    x = net.input((1, 4))
    one, other = linear(net, x, "one", 4), linear(net, x, "other", 4)
    net.op("add", one, other)
    program = net.build(network="n", source="test", frontend="builder", outputs=())
    assert calls(graph(program).inside) == [("one", "one", 1), ("other", "other", 1)]


@pytest.mark.parametrize(
    ("network", "module", "expected"),
    [
        # He et al. 2016: 3, 4, 6 and 3 blocks, of which the first projects; those after it are alike
        ("resnet50", "layer3", [("layer3.0", "layer3.0", 1), ("layer3.1", "layer3.5", 5)]),
        ("gpt2", "transformer.h", [("transformer.h.0", "transformer.h.11", 12)]),
        # each layer of a dense block gets more channels than the one before it
        ("densenet121", "features.denseblock1", [
            (f"features.denseblock1.denselayer{place}",) * 2 + (1,) for place in range(1, 7)
        ]),
    ],
)  # fmt: skip
def test_blocks_of_known_networks(network, module, expected):
    def walk(parts):
        for part in parts:
            if isinstance(part, Call):
                yield part
                yield from walk(part.inside)

    found = graph(weighbridge.weigh(network).program)
    assert (
        calls(next(call for call in walk(found.inside) if call.scope == module).inside) == expected
    )


def test_a_module_that_is_called_twice_is_two_calls():
    # each bottleneck's one ReLU runs three times, between other layers
    found = graph(weighbridge.weigh("resnet50").program)
    layer = next(part for part in found.inside if isinstance(part, Call) and part.scope == "layer1")
    block = layer.inside[0]
    assert [part.scope for part in block.inside if isinstance(part, Call)].count(
        "layer1.0.relu"
    ) == 3


@pytest.mark.parametrize("name", ["googlenet", "densenet121", "gpt2", "vit_b_16"])
def test_nothing_is_read_before_it_is_made_and_every_operator_is_in_one_call(name):
    program = weighbridge.weigh(name, train="sgd").program
    found = graph(program)
    assert len(found.ops) == sum(op.phase == "forward" for op in program.ops)
    for place, reads in enumerate(found.reads):
        assert all(read < place for read in reads)

    def check(parts, begin, end):
        for part in parts:
            first, after = (part, part + 1) if isinstance(part, int) else (part.begin, part.end)
            assert first == begin
            if isinstance(part, Call):
                check(part.inside, first, first + (after - first) // part.copies)
            begin = after
        assert begin == end

    check(found.inside, 0, len(found.ops))
