"""Arguments of forward as it takes them: example tensors and shapes, nested."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pytest

import weighbridge
from weighbridge import UsageError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

nn = torch.nn


class Batched(nn.Module):
    """A linear layer on the `x` of a mapping."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 4)

    def forward(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"y": self.layer(batch["x"])}


class Several(nn.Module):
    """One linear layer on each of a list."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 4)

    def forward(self, xs: list[torch.Tensor], scale: float = 1) -> torch.Tensor:
        return sum(self.layer(x) for x in xs) * scale


class Pair(NamedTuple):
    """Two tensors by name."""

    a: torch.Tensor
    b: torch.Tensor


def test_an_example_tensor_gives_shape_dtype_and_batch() -> None:
    report = weighbridge.weigh(nn.Linear(8, 4), torch.zeros(3, 8))
    assert report.compute.forward.macs == 3 * 8 * 4
    assert report.workload.batch == 3


def test_operands_whose_first_axes_differ() -> None:
    product = weighbridge.weigh(lambda a, b: a @ b, (torch.zeros(5, 8), torch.zeros(8, 3)))
    assert product.compute.forward.macs == 5 * 8 * 3


@pytest.mark.parametrize("train", [None, "sgd"])
def test_shapes_inside_mappings_take_the_batch(train: str | None) -> None:
    report = weighbridge.weigh(Batched(), {"batch": {"x": (8,)}}, batch=3, train=train)
    assert report.compute.forward.macs == 3 * 8 * 4
    assert report.program.inputs[0].name == "batch.x"
    assert report.program.inputs[0].shape == (3, 8)


def test_mappings_that_are_no_dicts_stay_what_they_are() -> None:
    from collections import UserDict

    class Encoding(UserDict):
        """As a tokenizer's: a mapping, no dict."""

    class Picky(Batched):
        def forward(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            assert isinstance(batch, Encoding)
            return super().forward(batch)

    report = weighbridge.weigh(Picky(), (Encoding(x=torch.zeros(2, 8)),))
    assert report.compute.forward.macs == 2 * 8 * 4


def test_lists_with_plain_arguments_beside_them() -> None:
    examples = ([torch.zeros(2, 8), torch.zeros(2, 8)], 2.0)
    assert weighbridge.weigh(Several(), examples).compute.forward.macs == 2 * 2 * 32
    named = {"xs": [(8,), (8,), (8,)], "scale": 2.0}
    assert weighbridge.weigh(Several(), named, batch=2).compute.forward.macs == 3 * 2 * 32


def test_named_tuples_keep_their_names() -> None:
    pair = Pair(a=torch.zeros(5, 8), b=torch.zeros(8, 3))
    report = weighbridge.weigh(lambda pair: pair.a @ pair.b, {"pair": pair})
    assert report.compute.forward.macs == 120


def test_the_examples_are_not_touched() -> None:
    x = torch.arange(16.0).reshape(2, 8)
    before = x.clone()
    weighbridge.weigh(nn.Sequential(nn.ReLU(inplace=True), nn.Linear(8, 4)), x)
    assert torch.equal(x, before)


def test_examples_are_for_modules_and_not_for_names() -> None:
    with pytest.raises(
        UsageError, match="an example tensor was given for a network that goes by its name"
    ):
        weighbridge.weigh("resnet18", torch.zeros(1, 3, 224, 224))


@pytest.mark.parametrize("nonsense", [object(), 3.5])
def test_what_is_neither_shape_nor_tensor(nonsense: object) -> None:
    with pytest.raises(UsageError, match="is not a shape"):
        weighbridge.weigh(nn.Linear(8, 4), nonsense)
