"""The largest size that fits, and what would make a step fit.

On a device without a cache and with nothing beside the tensors a step fits while its live bytes and 9 % more
are no more than the capacity: largest batches can be worked out by hand.

    4 -> (fc)8 -> (ReLU) -> (fc)3, float32, SGD

    From batch 3 on the peak is in ReLU's backward: parameters 268, gradients of fc2 96 + 12; and a sample's
    input 16, relu1's result 32 and fc2's 12, and the gradients of relu1's result and of fc1's, 32 each. The loop
    names its loss and autograd's caller the gradient that backward starts from: 4 bytes each.
    live(n) = 384 + 124 n
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

import weighbridge
from weighbridge import devices
from weighbridge.analyses.memory.fit import micro_batches
from weighbridge.analyses.memory.largest import (
    Room,
    batch_scaling,
    binding,
    largest_batch,
    largest_size,
    resized,
)
from weighbridge.analyses.memory.scaling import UnscalableError, scaling
from weighbridge.analyses.memory.timeline import lifetimes, timeline
from weighbridge.cli import main
from weighbridge.devices import Device, Range
from weighbridge.errors import UsageError, WeighError
from weighbridge.frontends import notation, zoo
from weighbridge.network import Network
from weighbridge.reports.json import schema
from weighbridge.rooms import rooms
from weighbridge.workload import InputSpec, Optimizer, Workload

NETWORK = "4 -> (fc)8 -> (ReLU) -> (fc)3"
DEEPER = "4 -> (fc)8 -> (ReLU) -> (fc)8 -> (ReLU) -> (fc)3"
TRAINING = Workload(mode="training", loss="mean", optimizer=Optimizer(name="sgd"))
NOTHING = Range(low=0, typical=0, high=0)


def bare(capacity: int) -> Room:
    """A device with nothing but memory."""
    device = Device(
        name="bare",
        key="bare",
        kind="cpu",
        backend="cpu",
        memory_bytes=capacity,
        context_bytes=NOTHING,
    )
    return Room(device=device)


def tiny(workload: Workload):
    return notation.read(NETWORK, workload)


# -- scaling -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["lenet5", "resnet18", "googlenet-aux", "densenet121", "gpt2", "vit_b_16"]
)
def test_the_polynomials_are_what_is_built_at_another_batch(name):
    workload = replace(TRAINING, loss="auto", optimizer=Optimizer(name="adam"))
    found = scaling(lambda n: zoo.read(name, replace(workload, batch=n)), start=2)
    built = lifetimes(zoo.read(name, replace(workload, batch=7)))
    assert [life.bytes for life in found.at(7)] == [life.bytes for life in built]
    assert found.peak(7) == timeline(zoo.read(name, replace(workload, batch=7))).peak.bytes
    assert found.loop(7).live_bytes == found.peak(7)


def test_a_size_between_the_strides_has_no_polynomial():
    found = scaling(lambda n: tiny(replace(TRAINING, batch=n)), start=2, stride=4)
    with pytest.raises(WeighError, match="8 is not 2 and a multiple of 4 more"):
        found.at(8)


def changing(workload: Workload):
    """A network that runs other operators from batch 10 on."""
    return notation.read(NETWORK if workload.batch < 10 else DEEPER, workload)


def test_operators_that_change_with_the_batch_have_no_polynomials():
    with pytest.raises(
        UnscalableError, match=r"it runs 27 operators at one size and \d+ at another"
    ):
        scaling(lambda n: changing(replace(TRAINING, batch=n)), start=8)


# -- the largest batch ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("capacity", "largest"),
    [
        # live * 1.09 < 100,001: live <= 91,744; (91,744 - 384) / 124 = 736.8
        (100_000, 736),
        # 384 + 124 * 3 = 756, and 9 % more are 824.04: whole bytes, rounded down
        (824, 3),
        (823, 2),
        # at batch 1 the peak is in fc1's bias gradient: 2 * 268 + 16 + 12 + 32 + 8 = 604, and 9 % more are 658.36
        (658, 1),
        (657, 0),
    ],
)
def test_the_largest_batch_by_hand(capacity, largest):
    found = largest_batch(tiny, TRAINING, bare(capacity))
    assert found.size == largest
    assert found.direct is None
    assert bool(found.at) is bool(largest)
    assert found.beyond is not None
    assert not found.beyond


def test_the_answer_is_built_and_so_is_the_one_after_it():
    built: list[int] = []

    def build(workload: Workload):
        built.append(workload.batch)
        return tiny(workload)

    found = largest_batch(build, TRAINING, bare(100_000))
    assert {found.size, found.size + 1} <= set(built)
    assert len(built) == 6  # one sample first, two to solve a line, one to check it, and these


def test_where_none_fits_what_binds_is_said():
    binds = largest_batch(tiny, TRAINING, bare(633)).binds
    assert binds is not None
    assert (binds.category, binds.bytes, binds.peak_bytes) == ("parameter", 268, 604)
    assert (binds.scope, binds.scope_bytes) == ("fc1", 128 + 32)
    assert binds.share == 268 / 604


@pytest.mark.parametrize("capacity", [700, 1200, 1600, 2500, 5000])
def test_a_network_that_changes_with_the_batch_is_built_at_every_size(capacity):
    # An independent way to the answer: build each, and look.
    room = bare(capacity)
    by_hand = max(
        (n for n in range(1, 60) if room.fits(lifetimes(changing(replace(TRAINING, batch=n))))),
        default=0,
    )
    found = largest_batch(changing, replace(TRAINING, batch=8), room)
    assert found.size == by_hand
    assert found.direct is not None
    assert "operators" in found.direct


def test_a_search_that_builds_every_size_ends_where_steps_grow_long(monkeypatch):
    # A hundred ReLUs a sample, each free when the next has run: 1, 2, 4 and 8 samples are 100 to 800 operators,
    # of which 800 are the first above 500, and more would fit for ever.
    monkeypatch.setattr("weighbridge.analyses.memory.largest.LONGEST", 500)
    built: list[int] = []

    def build(workload: Workload):
        built.append(workload.batch)
        chain = "->(ReLU)" * 100 * workload.batch
        return notation.read(f"(Input)(4){chain}", replace(workload, batch=1))

    found = largest_batch(build, Workload(batch=2), bare(10_000))
    assert found.size == max(built) == 8
    assert found.beyond is None
    assert found.direct is not None
    assert found.direct.endswith(
        "a larger one was not looked for, since a step runs 800 operators there"
    )


def test_a_network_that_changes_beyond_what_was_solved_is_noticed_where_the_answer_is_built():
    # Solved at 2, 3, 4, where nothing changes; the answer by arithmetic would lie beyond 10, where it does.
    found = largest_batch(changing, replace(TRAINING, batch=2), bare(3000))
    by_hand = max(
        n for n in range(1, 60) if bare(3000).fits(lifetimes(changing(replace(TRAINING, batch=n))))
    )
    assert found.size == by_hand
    assert found.direct is not None
    assert "takes other memory than its growth up to there says" in found.direct


def test_a_device_without_a_capacity_has_no_largest_batch():
    with pytest.raises(UsageError, match="how much memory CPU has is its buyer's choice"):
        largest_batch(tiny, TRAINING, Room(device=devices.parse("cpu")))


def test_on_a_gpu_the_largest_batch_goes_through_the_allocator():
    workload = replace(TRAINING, loss="auto", batch=64)
    (room,) = rooms("24GiB")
    found = largest_batch(lambda w: zoo.read("resnet18", w), workload, room)
    assert found.at is not None
    assert found.at.answer == "fits"
    assert found.beyond.answer == "too close to call"
    assert found.at.total.high <= room.device.capacity_bytes


# -- images and sequences ------------------------------------------------------------------------


def test_the_largest_image_is_confirmed_and_in_steps():
    program = zoo.read("resnet18", replace(TRAINING, loss="auto", batch=8))
    room = bare(4 * 2**30)
    found = largest_size(lambda w: zoo.read("resnet18", w), program, room)
    assert found.axis == "image size"
    assert found.size % found.step == 0
    for size, fits in ((found.size, True), (found.size + found.step, False)):
        built = zoo.read("resnet18", resized(program.workload, "image size", size))
        assert room.fits(lifetimes(built)) is fits


def test_the_largest_sequence_of_a_network_whose_positions_end():
    # GPT-2 has 1,024 positions: where all fit, there is nothing beyond.
    program = zoo.read("gpt2", Workload(batch=1))
    found = largest_size(lambda w: zoo.read("gpt2", w), program, bare(2**40))
    assert (found.axis, found.size, found.beyond) == ("sequence length", 1024, None)


def test_plain_numbers_are_neither_image_nor_sequence():
    assert largest_size(tiny, tiny(TRAINING), bare(2**30)) is None


# -- advice --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("batch", "largest", "expected"),
    [
        (64, 40, (32, 2)),
        (64, 64, (64, 1)),
        (64, 31, (16, 4)),
        (7, 3, (3, 3)),
        (61, 60, (31, 2)),
        (5, 1, (1, 5)),
    ],
)
def test_micro_batches(batch, largest, expected):
    micro, steps = micro_batches(batch, largest)
    assert (micro, steps) == expected
    assert micro <= largest
    assert micro * steps >= batch


@pytest.fixture(scope="module")
def tight():
    """ResNet-18 at a batch that is too much for 8 GiB."""
    return weighbridge.fit("resnet18", on="8GiB", batch=512, train="adamw")


def test_what_makes_it_fit_stands_first_and_of_that_what_alters_least(tight):
    assert tight.resident.answer == "does not fit"
    assert not tight
    answers = [change.resident.answer for change in tight.changes]
    order = ["fits", "too close to call", "does not fit"]
    assert answers == sorted(answers, key=order.index)
    fitting = [change for change in tight.changes if change.resident.answer == "fits"]
    ranks = [(change.alters, round(change.operations, 2), len(change.parts)) for change in fitting]
    assert ranks == sorted(ranks)


def test_each_change_is_a_program_of_its_own(tight):
    (room,) = rooms("8GiB")
    network = Network("resnet18")
    for change in tight.changes:
        built = network.program(change.workload)
        assert room.resident(lifetimes(built)).total == change.resident.total


def test_accumulation_makes_the_same_update_of_smaller_batches(tight):
    change = next(change for change in tight.changes if change.parts == ("accumulate",))
    workload = change.workload
    assert workload.batch * workload.accumulation == 512
    assert workload.batch <= change.largest_batch < 512
    assert change.operations == 1
    assert change.resident.answer == "fits"


def test_the_head_alone_takes_forward_and_its_own_gradient(tight):
    # One image: forward 1,814,073,344 MACs; forward and backward without the images' gradient are
    # 10,884,440,064 / 2 - 118,013,952. The head's weights take 512 x 1000, as forward in it does.
    change = next(change for change in tight.changes if change.parts == ("head",))
    assert change.workload.trained == ("fc",)
    assert change.operations == (1_814_073_344 + 512_000) / (10_884_440_064 // 2 - 118_013_952)


def test_the_largest_batch_after_a_change_is_the_one_that_is_found_for_it(tight):
    change = next(change for change in tight.changes if change.parts == ("checkpoint",))
    report = weighbridge.weigh("resnet18", batch=512, train="adamw", checkpointing="blocks")
    assert report.max_batch("8GiB") == change.largest_batch > tight.max_batch


def test_a_pair_is_told_where_it_allows_more_than_each_of_its_changes(tight):
    alone = {change.parts[0]: change for change in tight.changes if len(change.parts) == 1}
    for change in tight.changes:
        if len(change.parts) == 2 and "accumulate" not in change.parts:
            assert all(
                change.largest_batch >= 1.05 * alone[key].largest_batch for key in change.parts
            )


def test_a_batch_of_one_that_does_not_fit_says_what_binds():
    report = weighbridge.fit("vgg16", on="3GiB", train="adamw")
    assert report.max_batch == 0
    screen = report.screen()
    assert "no batch fits" in screen
    assert "at batch 1 " in screen
    assert "most in classifier" in screen


def test_a_step_that_fits_is_told_what_leaves_more_room():
    report = weighbridge.fit("lenet5", on="24GiB", train="sgd", momentum=0.9)
    assert report
    assert "what would leave more room" in report.screen()
    assert report.binds == binding(
        weighbridge.weigh("lenet5", train="sgd", momentum=0.9).memory.peak
    )


def test_json_and_files(tight, tmp_path):
    record = json.loads(tight.to_json())
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validators.Draft202012Validator(schema()).validate(record)
    assert record["devices"][0]["answer"] == "does not fit"
    assert [c["text"] for c in record["fit"]["changes"]] == [c.text for c in tight.changes]
    for suffix in (".json", ".csv", ".md", ".tex", ".html", ".txt"):
        tight.save(tmp_path / f"fit{suffix}")
        assert (tmp_path / f"fit{suffix}").read_text()
    assert "--checkpoint blocks" in tight._repr_html_()
    assert repr(tight) == "<weighbridge.FitReport of resnet18: does not fit 8.00 GiB>"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "fit on which device?"),
        (("--on", "rtx-4091"), "nearest: rtx-4090"),
        (("--on", "rtx-4090,a100-80gb"), "fit is of one device, and 2 are named"),
        (
            ("--on", "epyc-7763", "--backend", "cuda"),
            "how much memory EPYC 7763 has is its buyer's choice",
        ),
        (("--on", "24GiB", "--batch", "0"), "the batch has 0, and a size is at least 1"),
        (("--on", "24GiB", "--train", "adamx"), "no optimizer is called 'adamx'"),
        (("--on", "24GiB", "--train", "sgd", "--nesterov"), "nesterov needs a momentum"),
        (("--on", "24GiB", "--train", "adam", "--momentum", "0.9"), "adam has no momentum"),
        (
            ("--on", "24GiB", "--alloc-conf", "max_split_size_mb:1"),
            "max_split_size_mb:1: expected whole MiB, 20 or more",
        ),
    ],
)
def test_the_command_refuses_in_one_message(arguments, message):
    result = CliRunner().invoke(main, ["fit", "lenet5", *arguments], prog_name="weigh")
    assert result.exit_code == 2
    assert message in result.output


MINE = """
import torch

class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(4, 4)

class Choice(Layer):
    def forward(self, x):
        return {"best": [self.fc(x).argmax(-1)]}

class Odd(Layer):
    def forward(self, x):
        if len(x) % 2:
            x = self.fc(x)
        return self.fc(x)

def rash(params):
    return torch.optim.SGD(params, lr=-1)
"""


@pytest.mark.torch
@pytest.mark.parametrize(
    ("network", "arguments", "messages"),
    [
        (
            "Choice",
            ("--train", "sgd"),
            ("no floating-point tensor to take a loss of", "--loss file.py:function"),
        ),
        (
            "Odd",
            ("--train", "{file}:rash"),
            (":rash makes no optimizer of 2 parameters: ValueError: Invalid learning rate: -1",),
        ),
    ],
)
def test_the_command_refuses_a_network_of_ones_own(tmp_path, network, arguments, messages):
    pytest.importorskip("torch")
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    told = [argument.format(file=path) for argument in arguments]
    result = CliRunner().invoke(
        main,
        ["fit", f"{path}:{network}", "--input", "4", "--on", "24GiB", *told],
        prog_name="weigh",
    )
    assert result.exit_code in (1, 2)
    for message in messages:
        assert message in result.output


@pytest.mark.torch
def test_the_command_says_that_operators_change_with_the_batch(tmp_path):
    pytest.importorskip("torch")
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    shown = CliRunner().invoke(
        main,
        ["fit", f"{path}:Odd", "--input", "4", "--on", "cpu:3GiB", "--train", "sgd"],
        prog_name="weigh",
    )
    assert shown.exit_code == 0, shown.output
    text = " ".join(shown.output.split())
    assert "fits CPU, 3.00 GiB" in text
    assert "each batch was built, since it runs" in text


def test_a_device_that_its_context_fills_says_so():
    shown = CliRunner().invoke(main, ["fit", "lenet5", "--on", "256MiB"], prog_name="weigh").output
    text = " ".join(shown.split())
    assert "does not fit 256 MiB" in text
    assert "what is taken beside tensors, ~572 MiB, between 274 MiB and" in text
    assert "is more than there is" in text
    assert "PyTorch would say" not in text


def test_a_program_is_refused():
    with pytest.raises(UsageError, match="a Program is one step under one workload"):
        weighbridge.fit(tiny(TRAINING), on="24GiB")


def test_inputs_of_several_kinds_are_resized_as_one():
    images = Workload(inputs=(InputSpec(shape=(3, 32, 32)), InputSpec(shape=(5,))))
    assert [spec.shape for spec in resized(images, "image size", 64).inputs] == [(3, 64, 64), (5,)]
    tokens = Workload(
        inputs=(InputSpec(shape=(8,), dtype="int64"), InputSpec(shape=(8,), dtype="int64"))
    )
    assert [spec.shape for spec in resized(tokens, "sequence length", 16).inputs] == [(16,), (16,)]


def test_a_batch_of_one_is_left_out_of_the_polynomials():
    assert batch_scaling(tiny, TRAINING).start == 2
