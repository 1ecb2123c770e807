"""Workloads refuse sizes and dtypes that no tensor has."""

from __future__ import annotations

from dataclasses import replace

import pytest

from weighbridge.errors import UsageError
from weighbridge.workload import InputSpec, Optimizer, Workload, refuse_own


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch": 0}, "the batch has 0, and a size is at least 1"),
        ({"batch": -3}, "the batch has -3, and a size is at least 1"),
        ({"batch": 2.5}, "the batch has 2.5, which is not a whole number"),
        ({"batch": True}, "the batch has True, which is not a whole number"),
        ({"batch": 10**13}, "the batch has 10,000,000,000,000, and the largest size taken is 1,000,000,000,000"),
        ({"dataset": 0}, "the dataset has 0, and a size is at least 1"),
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


# -- precision, backend and the like ---------------------------------------------------------------


def test_precision_and_dtype_say_the_same():
    assert Workload(precision="bf16").dtype == "bfloat16"
    assert Workload(dtype="float16").precision == "fp16"
    assert Workload(dtype="float64").precision == "float64"
    assert replace(Workload(), dtype="bfloat16").precision == "bf16"
    assert (Workload(precision="tf32").dtype, Workload().precision) == ("float32", "float32")
    mixed = Workload(precision="amp-fp16")
    assert (mixed.dtype, mixed.autocast, Workload(precision="fp16").autocast) == (
        "float32",
        "float16",
        None,
    )
    # A network whose own parameters are in half precision may run under autocast.
    assert replace(mixed, dtype="float16").autocast == "float16"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"precision": "bf16", "dtype": "float16"}, "the precision bf16 is bfloat16 throughout, and the dtype is float16"),
        ({"precision": "amp"}, "no precision is called 'amp'"),
        ({"backend": "gpu"}, "no backend is called 'gpu'"),
        ({"checkpointing": "block"}, "no checkpointing is called 'block'"),
        ({"layout": "nhwc"}, "no layout is called 'nhwc'"),
        ({"checkpointing": "blocks"}, "checkpointing: that is for training, and the step is inference"),
        ({"set_to_none": False}, "gradients that are kept: that is for training"),
        ({"per_sample_gradients": True}, "gradients of each sample: that is for training"),
        ({"accumulation": 2}, "accumulated gradients: that is for training"),
        ({"trained": ("head",)}, "only some modules trained: that is for training"),
        ({"mode": "training", "no_grad": False}, "no_grad is for inference, and the step is training"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_together_is_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        Workload(**settings)


def test_implementations_of_optimizers():
    assert Optimizer(name="adam", implementation="fused").text == "adam fused"
    with pytest.raises(UsageError, match="no implementation of optimizers is called 'forech'"):
        Optimizer(name="adam", implementation="forech")


def test_what_is_not_followed_yet_is_refused():
    refuse_own(Workload(), "such networks")
    own = Optimizer(name="Signs", make=list)
    for workload, message in (
        (Workload(loss="max", own_loss=max), "loss max is not yet followed in such networks"),
        (Workload(mode="training", optimizer=own), "optimizer Signs is not yet followed"),
    ):
        with pytest.raises(UsageError, match=message):
            refuse_own(workload, "such networks")
