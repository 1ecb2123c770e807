"""Inputs of every shape of nesting, in Python and on the command line, and what is asked where one is missing."""

import json
from collections import UserDict
from typing import NamedTuple

import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import weighbridge  # noqa: E402
from weighbridge import InputSpec  # noqa: E402
from weighbridge.cli import main  # noqa: E402
from weighbridge.errors import UsageError  # noqa: E402

pytestmark = pytest.mark.torch


class Named(nn.Module):
    """(B, 3, S, S) and (B, 1, S, S) -> (B, 1, S, S): a 3x3 convolution with one kernel."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 3, padding=1, bias=False)

    def forward(self, image, mask):
        return self.conv(image) * mask


class Nested(nn.Module):
    """{"text": {"ids": (B, T)}, "images": [(B, 4), (B, 4)]}: an embedding, and a layer for each image."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(10, 4)
        self.layer = nn.Linear(4, 2, bias=False)

    def forward(self, batch, scale=1.0):
        words = self.words(batch["text"]["ids"]).sum(1)
        return [self.layer(image * scale + words) for image in batch["images"]]


class Pair(NamedTuple):
    left: object
    right: object


def macs(report):
    return report.compute.forward.macs


def given(report):
    return [(each.name, each.shape, each.dtype) for each in report.program.inputs]


# -- in Python --------------------------------------------------------------------------------------

IMAGE, MASK = torch.zeros(2, 3, 8, 8), torch.zeros(2, 1, 8, 8, dtype=torch.bool)

NAMED = [
    ("image", (2, 3, 8, 8), "float32"),
    ("mask", (2, 1, 8, 8), "bool"),
]
MACS = 2 * 8 * 8 * 27  # two images, 64 places, 3 * 3 * 3 products


@pytest.mark.parametrize(
    "inputs",
    [
        (IMAGE, MASK),
        [IMAGE, MASK],
        {"image": IMAGE, "mask": MASK},
        UserDict(image=IMAGE, mask=MASK),
        Pair(IMAGE, MASK),
        {"mask": MASK, "image": (3, 8, 8)},
        {"image": "3,8,8", "mask": "1,8,8:bool"},
        {"image": (3, 8, 8), "mask": InputSpec(shape=(1, 8, 8), dtype="bool")},
        [(3, 8, 8), InputSpec(shape=(1, 8, 8), dtype="bool")],
        [InputSpec(shape=(3, 8, 8)), InputSpec(shape=(1, 8, 8), dtype="bool", name="mask")],
    ],
    ids=["tuple", "list", "dict", "mapping", "namedtuple", "mixed", "texts", "shapes", "listed", "one by name"],
)  # fmt: skip
def test_two_inputs(inputs):
    report = weighbridge.weigh(Named(), inputs, batch=2)
    assert macs(report) == MACS
    assert sorted(given(report)) == NAMED
    assert report.workload.batch == 2


def test_a_tokenizers_encoding():
    tokenization = pytest.importorskip("transformers.tokenization_utils_base")

    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(10, 4)
            self.head = nn.Linear(4, 3, bias=False)

        def forward(self, input_ids, attention_mask):
            return self.head(self.table(input_ids)) * attention_mask.unsqueeze(-1)

    ids = torch.zeros(2, 5, dtype=torch.int64)
    encoding = tokenization.BatchEncoding(
        {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    )
    report = weighbridge.weigh(Words(), encoding)
    assert macs(report) == 2 * 5 * 4 * 3
    assert given(report) == [
        ("input_ids", (2, 5), "int64"),
        ("attention_mask", (2, 5), "int64"),
    ]


NEST = [
    ("batch.text.ids", (2, 5), "int64"),
    ("batch.images.0", (2, 4), "float32"),
    ("batch.images.1", (2, 4), "float32"),
]


@pytest.mark.parametrize(
    "inputs",
    [
        {"batch": {"text": {"ids": torch.zeros(2, 5, dtype=torch.int64)},
                   "images": [torch.zeros(2, 4), torch.zeros(2, 4)]}},
        ({"text": {"ids": torch.zeros(2, 5, dtype=torch.int64)},
          "images": (torch.zeros(2, 4), torch.zeros(2, 4))}, 2.0),
        {"batch": {"text": {"ids": InputSpec(shape=(5,), dtype="int64")}, "images": [(4,), (4,)]},
         "scale": 0.5},
        {"batch.text.ids": "5:int64", "batch.images.0": 4, "batch.images.1": (4,)},
    ],
    ids=["tensors", "by place", "shapes", "dotted names"],
)  # fmt: skip
def test_nested_inputs(inputs):
    report = weighbridge.weigh(Nested(), inputs, batch=2)
    assert macs(report) == 2 * 2 * (4 * 2)  # two images of two samples, a layer 4 to 2
    assert given(report) == NEST


def test_what_a_report_names_can_be_asked_for_again():
    inputs = {
        "batch": {"text": {"ids": InputSpec(shape=(5,), dtype="int64")}, "images": [(4,), (4,)]}
    }
    first = weighbridge.weigh(Nested(), inputs, batch=2)
    second = weighbridge.weigh(Nested(), list(first.workload.inputs), batch=2)
    assert second.program == first.program


def test_one_number_a_sample():
    class Steps(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4, bias=False)

        def forward(self, x, step):
            return self.layer(x) * step[:, None]

    report = weighbridge.weigh(Steps(), {"x": (4,), "step": "():int64"}, batch=3)
    assert given(report) == [("x", (3, 4), "float32"), ("step", (3,), "int64")]
    assert weighbridge.settings.read_input("step=():int64") == InputSpec(
        shape=(), dtype="int64", name="step"
    )


def test_settings_beside_tensors_are_handed_on():
    class Switch(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4, bias=False)

        def forward(self, x, *, twice=False, name=None):
            return self.layer(self.layer(x)) if twice and name == "a" else self.layer(x)

    x = torch.zeros(1, 4)
    assert macs(weighbridge.weigh(Switch(), {"x": x, "twice": True, "name": "a"})) == 2 * 16
    assert macs(weighbridge.weigh(Switch(), {"x": x})) == 16


def test_examples_keep_their_values_where_the_network_asks_for_them():
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4, bias=False)

        def forward(self, x, times):
            for _ in range(int(times)):
                x = self.layer(x)
            return x

    report = weighbridge.weigh(Counts(), (torch.zeros(1, 4), torch.tensor(3)))
    assert report.program.rung == "meta"  # the example says how often: nothing needs data
    assert macs(report) == 3 * 16


# -- on the command line -----------------------------------------------------------------------------

FILE = """
import torch
from torch import nn

class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 3, padding=1, bias=False)

    def forward(self, image, mask):
        return self.conv(image) * mask

class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(10, 4)
        self.layer = nn.Linear(4, 2, bias=False)

    def forward(self, batch, scale=1.0):
        words = self.words(batch["text"]["ids"]).sum(1)
        return [self.layer(image * scale + words) for image in batch["images"]]

class Hooked(Named):
    def __init__(self):
        super().__init__()
        self.register_forward_pre_hook(lambda module, given: (*given, torch.ones(1)))
"""


@pytest.fixture(autouse=True)
def file(tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text(FILE)
    monkeypatch.chdir(tmp_path)


def weigh(source, *inputs):
    return CliRunner().invoke(
        main, [source, *(part for text in inputs for part in ("--input", text)), "--batch", "2", "--json"]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "inputs", "expected", "names"),
    [
        ("Named", ("image=3,8,8", "mask=1,8,8"), MACS, ["image", "mask"]),
        ("Named", ("mask=1,8,8:bool", "image=3x8x8"), MACS, ["mask", "image"]),
        ("Named", ("3,8,8", "1,8,8"), MACS, ["image", "mask"]),
        ("Named", ("3,8,8", "mask=()"), MACS, ["image", "mask"]),
        ("Hooked", ("3,8,8",), MACS, ["image"]),
        (
            "Nested",
            ("batch.text.ids=5:int64", "batch.images.0=4", "batch.images.1=4"),
            2 * 2 * (4 * 2),
            ["batch.text.ids", "batch.images.0", "batch.images.1"],
        ),
    ],
)
def test_through_the_command(name, inputs, expected, names):
    if inputs[-1] == "mask=()":
        pytest.importorskip("torch")
        inputs = ("3,8,2", "mask=()")  # (2, 1, 8, 2) times (2,): the last axis
        expected = 2 * 8 * 2 * 27
    result = weigh(f"net.py:{name}", *inputs)
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["compute"]["forward"]["macs"] == expected
    assert [each["name"] for each in record["workload"]["inputs"]] == names


def said(source, *inputs):
    result = weigh(source, *inputs)
    assert (result.exit_code, result.stdout) == (2, "")
    first, *rest = result.stderr.rstrip("\n").split("\n")
    return [first.removeprefix("weigh: "), *(line.removeprefix("  ") for line in rest)]


def test_no_shape_at_all():
    assert said("net.py:Nested") == [
        "no input shape is known for Nested",
        "its forward takes (batch, scale=...)",
        "give one without the batch axis: --input 3,224,224 (in Python: weigh(model, (3, 224, 224)))",
    ]
    assert said("net.py:Named") == [
        "no input shape is known for Named",
        "its forward takes (image, mask)",
        "give one for each, without the batch axis: --input image=SHAPE --input mask=SHAPE, such as "
        "3,224,224 or 512:int64 "
        '(in Python: weigh(model, {"image": (3, 224, 224), "mask": (3, 224, 224)}))',
    ]


@pytest.mark.parametrize("first", ["3,8,8", "image=3,8,8"])
def test_a_shape_that_is_missing(first):
    assert said("net.py:Named", first) == [
        "forward of Named cannot be called with what is given: missing a required argument: 'mask'",
        "its forward takes (image, mask)",
        "it was given: image (2, 3, 8, 8) float32",
        "give one without the batch axis: --input mask=3,224,224 "
        '(in Python: weigh(model, {"mask": (3, 224, 224)}))',
    ]


def test_a_name_that_forward_has_not():
    assert said("net.py:Named", "imgae=3,8,8", "mask=1,8,8") == [
        "forward of Named cannot be called with what is given: "
        "missing a required argument: 'image'",
        "its forward takes (image, mask)",
        "it was given: imgae (2, 3, 8, 8) float32, mask (2, 1, 8, 8) float32",
        "nearest: image",
    ]


def test_more_than_forward_takes():
    first, *_ = said("net.py:Named", "3,8,8", "1,8,8", "5")
    assert first == (
        "forward of Named cannot be called with what is given: too many positional arguments"
    )


def test_a_name_twice():
    assert said("net.py:Named", "image=3,8,8", "image=3,8,8") == [
        "the input 'image' is given twice",
        "forward takes (image, mask)",
    ]
    # by place and by name
    assert said("net.py:Named", "3,8,8", "image=3,8,8")[0] == "the input 'image' is given twice"


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (("batch=4", "batch.images.0=4"), "the input 'batch.images.0' lies in another input, which is a tensor itself"),
        (("batch.images.0=4", "batch=4"), "the input 'batch' is a tensor, and others lie in it"),
    ],
)  # fmt: skip
def test_a_tensor_holds_no_other(inputs, message):
    assert said("net.py:Nested", *inputs) == [
        message,
        "give that one a name of its own, or leave it out"
        if "lies in" in message
        else "give it a name of its own, or leave it out",
    ]


def test_in_python_the_question_is_the_same():
    with pytest.raises(UsageError, match="missing a required argument: 'mask'"):
        weighbridge.weigh(Named(), {"image": IMAGE})
    with pytest.raises(UsageError, match="missing a required argument: 'b'"):
        weighbridge.weigh(lambda a, b: a + b, (4,))
