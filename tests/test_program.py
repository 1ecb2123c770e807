"""Programs: lifetimes by liveness, and a round trip through JSON."""

from __future__ import annotations

import pytest

from weighbridge import layers
from weighbridge.builder import Builder
from weighbridge.ops.optimizers import optimizer
from weighbridge.program import Op, Program, Storage, Tensor, dumps, loads, with_lifetimes
from weighbridge.workload import InputSpec, Workload


def tensor(id: int) -> Tensor:
    return Tensor(id=id, shape=(4,), dtype="float32", role="activation", storage=id)


def step(inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> Op:
    return Op(kind="relu", name="relu", scope="", phase="forward", inputs=inputs, outputs=outputs)


def test_storages_live_from_the_operator_that_makes_them_to_their_last_use() -> None:
    # x -> a -> b -> c, with a read once more by the last
    x, a, b, c = (tensor(id) for id in range(4))
    ops = (step((x,), (a,)), step((a,), (b,)), step((b, a), (c,)))
    storages = tuple(Storage(id=id, bytes=16) for id in range(5))
    lived = with_lifetimes(storages, ops, keep=(3,))
    assert [(storage.birth, storage.death) for storage in lived] == [
        (-1, 0),  # x: there before, last read by the first operator
        (0, 2),  # a
        (1, 2),  # b
        (2, None),  # c is kept
        (-1, None),  # never used
    ]


def small_program() -> Program:
    net = Builder(
        Workload(
            mode="training",
            batch=2,
            optimizer=optimizer("adam"),
            inputs=(InputSpec(shape=(3, 8, 8)),),
        )
    )
    x = net.input((2, 3, 8, 8))
    x = layers.convolution(net, x, "conv", 4, 3, padding=1)
    x = layers.batch_norm(net, x, "bn")
    x = layers.activation(net, x, "relu")
    x = layers.linear(net, layers.flatten(net, x), "fc", 10)
    return net.build(network="small", source="test", frontend="test", outputs=(x,))


def test_a_program_survives_json() -> None:
    program = small_program()
    again = loads(dumps(program))
    assert again == program
    assert dumps(again) == dumps(program)


def test_tensors_are_listed_once() -> None:
    program = small_program()
    ids = [tensor.id for tensor in program.tensors]
    assert len(ids) == len(set(ids))
    assert {t.id for op in program.ops for t in (*op.inputs, *op.outputs)} <= set(ids)


def test_attributes_of_the_wrong_type_are_refused() -> None:
    op = Op(
        kind="x", name="x", scope="", phase="forward", inputs=(), outputs=(),
        attributes={"stride": 2, "name": "a"},
    )  # fmt: skip
    assert op.integer("stride") == 2
    assert op.integer("missing", 7) == 7
    assert not op.flag("missing")
    with pytest.raises(TypeError, match="attribute 'name' is 'a', not a whole number"):
        op.integer("name")
    with pytest.raises(TypeError, match="attribute 'stride' is 2, not a tuple"):
        op.integers("stride")
