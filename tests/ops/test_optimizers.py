"""Optimizers: the state they keep and what an update costs, by hand (L7)."""

from __future__ import annotations

import pytest

from by_hand import cost, run
from weighbridge.dims import bytes_of, product
from weighbridge.errors import UsageError
from weighbridge.ops.optimizers import optimizer, optimizer_states

SHAPE = (128, 64)
N = 128 * 64  # 8,192 numbers, 32,768 bytes in float32


def state_bytes(name: str, shape: tuple[int, ...] = SHAPE, **settings: float) -> int:
    states = optimizer_states(optimizer(name, **settings), shape)
    return sum(bytes_of(product(state.shape), state.dtype) for state in states)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sgd", 0),
        ("momentum", 4 * N),
        ("nesterov", 4 * N),
        ("adagrad", 4 * N),
        ("rmsprop", 4 * N),
        ("adam", 8 * N),
        ("adamw", 8 * N),
        ("lion", 4 * N),
        ("nadam", 8 * N),
        ("radam", 8 * N),
        ("adamax", 8 * N),
        ("adadelta", 8 * N),
        ("rprop", 8 * N),  # the gradient before and a step's size
        ("asgd", 4 * N),  # the average
        ("adafactor", 4 * (128 + 64)),  # a number a row and a number a column
        ("adam8bit", 2 * (N + 4 * (N // 256))),  # two bytes a number, and two scales a block of 256
    ],
)
def test_state_in_bytes(name: str, expected: int) -> None:
    assert state_bytes(name) == expected


def test_settings_add_state() -> None:
    assert state_bytes("sgd", momentum=0.9) == 4 * N
    assert state_bytes("rmsprop", momentum=0.9, centered=True) == 12 * N


def test_small_tensors_and_vectors() -> None:
    assert state_bytes("adafactor", (64,)) == 4 * 64  # a vector has no rows and columns
    assert state_bytes("adam8bit", (64,)) == 8 * 64  # below 4,096 numbers states stay float32


@pytest.mark.parametrize(
    ("kind", "settings", "multiplications", "additions"),
    [
        ("sgd", {}, 1, 1),  # p - rate * g
        ("sgd", {"momentum": 0.9}, 2, 2),  # b = m*b + g
        ("sgd", {"momentum": 0.9, "nesterov": True}, 3, 3),  # g + m*b
        ("sgd", {"weight_decay": 0.1}, 2, 2),  # g + d*p
        ("adam", {}, 5, 5),  # lerp 1 and 2; b2*v, (1-b2)*g*g 3 and 1; + eps 1; rate 1 and 1
        ("adamw", {"weight_decay": 0.01}, 6, 5),  # p * (1 - rate*decay)
        ("sgd", {"momentum": 0.9, "is_first_step": True}, 1, 1),  # b = g
    ],
)
def test_an_update_an_element(
    kind: str, settings: dict[str, float], multiplications: int, additions: int
) -> None:
    found = cost(run(f"{kind}_update", (10,), (10,), **settings))
    assert (found.multiplications, found.additions) == (10 * multiplications, 10 * additions)
    assert found.macs == 0


def test_an_update_reads_and_writes_state_in_place() -> None:
    op = run("adam_update", (10,), (10,), (10,), (10,))
    assert [tensor.shape for tensor in op.outputs] == [(10,), (10,), (10,)]
    assert (cost(op).read_bytes, cost(op).write_bytes) == (4 * 40, 4 * 30)


def test_one_kernel_updates_many_parameters() -> None:
    # a vector of 10 and a matrix of 2 x 3, each with its gradient and two moments
    held = ((10,), (2, 3))
    op = run("fused_adam_update", *held * 4, parameters=2)
    # 10 + 6 numbers, 5 multiplications, 5 additions, 2 divisions and a root each
    found = cost(op)
    assert (found.multiplications, found.additions) == (16 * 5, 16 * 5)
    assert (found.divisions, found.transcendentals, found.comparisons) == (16 * 2, 16, 0)
    # parameters, gradients and moments are read, all but the gradients written
    assert (found.read_bytes, found.write_bytes) == (4 * 16 * 4, 4 * 16 * 3)
    scaled = cost(run("fused_adam_update", *held * 4, parameters=2, scaled=True))
    assert (scaled.multiplications, scaled.write_bytes) == (16 * 6, 4 * 16 * 4)


def test_amsgrad_keeps_and_compares_the_largest_moment() -> None:
    assert state_bytes("adam", amsgrad=True) == 12 * N
    assert cost(run("adam_update", (10,), (10,), amsgrad=True)).comparisons == 10


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("adm", {}, "no optimizer is called 'adm'"),
        ("lbfgs", {}, "lbfgs is not one update a step: what it does depends on values"),
        ("adam", {"momentum": 0.9}, "adam has no momentum"),
        ("rmsprop", {"nesterov": True}, "rmsprop has no nesterov"),
        ("sgd", {"nesterov": True}, "nesterov needs a momentum"),
    ],
)
def test_bad_optimizers(name: str, settings: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        optimizer(name, **settings)


def test_an_unknown_optimizer_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="nearest: adam"):
        optimizer("adma")
