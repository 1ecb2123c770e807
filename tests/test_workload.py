"""Workloads refuse sizes and dtypes that no tensor has."""

from __future__ import annotations

import pytest

from weighbridge.errors import UsageError
from weighbridge.workload import InputSpec, Optimizer, Workload


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch": 0}, "the batch has 0, and a size is at least 1"),
        ({"batch": -3}, "the batch has -3, and a size is at least 1"),
        ({"batch": 2.5}, "the batch has 2.5, which is not a whole number"),
        ({"batch": True}, "the batch has True, which is not a whole number"),
        ({"batch": 10**13}, "the batch has 10,000,000,000,000, and the largest size taken is 1,000,000,000,000"),
        ({"dataset": 0}, "the dataset's size has 0, and a size is at least 1"),
        ({"dtype": "float31"}, "no dtype is called 'float31'"),
        ({"inputs": (InputSpec(shape=(3, 0)),)}, r"the input shape \(3, 0\) has 0, and a size is at least 1"),
        ({"inputs": (InputSpec(shape=(3,), dtype="double"),)}, "no dtype is called 'double'"),
    ],
)  # fmt: skip
def test_bad_workloads(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Workload(**settings)


def test_an_unknown_dtype_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="nearest: float32"):
        Workload(dtype="floot32")


def test_an_optimizer_reads_as_a_person_would_say_it() -> None:
    chosen = Optimizer(name="sgd", settings={"momentum": 0.9, "nesterov": True, "weight_decay": 0})
    assert chosen.text == "sgd momentum 0.9 nesterov"
