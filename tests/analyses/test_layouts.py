"""How the tensors of a program lie, and what is copied and turned for it."""

from dataclasses import replace

import pytest

from weighbridge.analyses.time.execution import launches
from weighbridge.analyses.time.layouts import laid_out
from weighbridge.ops.strides import are_channels_last
from weighbridge.workload import InputSpec, Workload

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from torch import nn  # noqa: E402

from weighbridge.frontends.torch import trace  # noqa: E402


class Block(nn.Module):
    """A ConvNeXt's: depthwise, then a norm and 1x1 convolutions over channels that were turned to the back."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, stride=4)
        self.depthwise = nn.Conv2d(8, 8, 7, padding=3, groups=8)
        self.norm = nn.LayerNorm(8)
        self.wide = nn.Conv2d(8, 32, 1)

    def forward(self, x):
        x = self.depthwise(self.stem(x))
        x = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.wide(x)


def program(layout="contiguous", model=None, shape=(3, 32, 32)):
    workload = Workload(batch=2, inputs=(InputSpec(shape=shape),), precision="fp16", layout=layout)
    return trace(model or Block(), workload, network="block", source="block", frontend="torch")


def kinds(found):
    return [(launch.kernel.kind, launch.kernel.channels_last) for launch in launches(found)]


def test_a_permutation_turns_channels_first_into_last():
    # stem and depthwise with channels first: the stem's images are turned, and the norm copies its rows into
    # order; what it makes has its channels last, and the 1x1 convolution takes it as it is
    assert kinds(program()) == [
        ("transposition", False),
        ("convolution stem", False),
        ("large depthwise convolution", False),
        ("strided copy", False),
        ("norm", False),
        ("convolution 1x1", True),
    ]


def test_asked_for_channels_last_nothing_is_turned():
    assert kinds(program("channels-last")) == [
        ("convolution stem", True),
        ("large depthwise convolution", True),
        ("norm", False),
        ("convolution 1x1", True),
    ]


def test_what_is_turned_is_the_images():
    # float16: 2 x 3 x 32 x 32 and 2 x 8 x 8 x 8, 2 bytes each, read and written
    first = next(launches(program())).kernel
    assert first.read_bytes == first.write_bytes == 2 * (2 * 3 * 32 * 32 + 2 * 8 * 8 * 8)


def test_float32_is_not_turned_and_a_cpu_turns_nothing():
    found = program()
    on_cpu = replace(found, workload=replace(found.workload, backend="cpu"))
    assert kinds(on_cpu)[0] == ("convolution stem", False)


def test_matrix_units_take_channels_eight_at_a_time():
    class Uneven(nn.Module):
        def __init__(self):
            super().__init__()
            self.narrow = nn.Conv2d(8, 12, 3, padding=1)
            self.depthwise = nn.Conv2d(12, 12, 3, padding=1, groups=12)

        def forward(self, x):
            return self.depthwise(self.narrow(x))

    found = program("channels-last", Uneven(), (8, 4, 4))
    # the image of 12 channels is filled up to 16, which copies it: 2 x 12 x 4 x 4 numbers of 2 bytes; that of 8 is
    # not, nor is what a depthwise convolution takes, which matrix units do not compute
    assert kinds(found) == [
        ("transposition", False),
        ("convolution", True),
        ("depthwise convolution", True),
    ]
    assert next(launches(found)).kernel.read_bytes == 2 * 2 * 12 * 4 * 4
    # with channels first both images are turned, and filled up on the way: 2 x (8 + 12) x 4 x 4
    first = next(launches(program("contiguous", Uneven(), (8, 4, 4)))).kernel
    assert first.read_bytes == 2 * 2 * (8 + 12) * 4 * 4


def test_an_interpolation_waits_where_channels_lie_first():
    class Larger(nn.Module):
        def forward(self, x):
            return nn.functional.interpolate(x, size=(8, 8), mode="bilinear")

    # a thread a place of the result: each goes over 2 samples x 16 channels
    (first,) = launches(program("contiguous", Larger(), (16, 4, 4)))
    assert first.kernel.waits == 2 * 16
    (last,) = launches(program("channels-last", Larger(), (16, 4, 4)))
    assert last.kernel.waits == 0


def test_a_stretched_operand_is_read_once():
    class Bias(nn.Module):
        def forward(self, x):
            return x.expand(2, 5, 4) + 1

    # 4 numbers of 2 bytes a sample, seen 5 times: 2 x 4 x 2 bytes are read, 2 x 5 x 4 x 2 written
    (launch,) = launches(program(model=Bias(), shape=(1, 4)))
    assert (launch.kernel.read_bytes, launch.kernel.write_bytes) == (16, 80)


def test_layouts_are_pytorchs():
    # what the CPU does with the same network, whose kernels take the same formats
    model = Block().eval().to(memory_format=torch.channels_last)
    seen = {}

    def keep(module, given, y):
        seen[module] = y.stride()

    for module in model.children():
        module.register_forward_hook(keep)
    with torch.no_grad():
        model(torch.empty(2, 3, 32, 32).to(memory_format=torch.channels_last))
    for op, given in laid_out(program("channels-last")):
        if op.kind == "convolution":
            assert are_channels_last(op.inputs[0].shape, given[0])
    assert are_channels_last((2, 8, 8, 8), seen[model.stem])
    assert are_channels_last((2, 32, 8, 8), seen[model.wide])
