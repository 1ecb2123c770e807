"""Fusion against torch.compile itself: as many kernels, and as many bytes, as inductor schedules.

Inductor is asked after it has fused and before it writes any code, so that no C++ compiler is needed. Its rules for
GPUs are asked for, on CPU tensors: those for CPUs differ where a loop cannot be shared.
"""

import warnings

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from weighbridge.analyses.time.fusion import fused  # noqa: E402
from weighbridge.frontends.torch import trace  # noqa: E402
from weighbridge.workload import InputSpec, Workload  # noqa: E402

pytestmark = pytest.mark.torch


class _Scheduled(Exception):
    """Inductor has fused; it need not go on."""


def inductor(model, *shape, half=False):
    """The number of kernels that inductor makes itself, and the bytes that they read and write by its own count."""
    from torch._inductor import config
    from torch._inductor.scheduler import ExternKernelSchedulerNode, NopKernelSchedulerNode

    found = []

    def after(nodes):
        own = [
            node
            for node in nodes
            if not isinstance(node, ExternKernelSchedulerNode | NopKernelSchedulerNode)
        ]
        found.append((len(own), sum(node.get_read_write_buffers_sizes() for node in own)))
        raise _Scheduled

    settings = {
        "cpu_backend": "triton",
        "_post_fusion_custom_pass": after,
        "force_disable_caches": True,
    }
    torch._dynamo.reset()
    with warnings.catch_warnings(), config.patch(settings), torch.no_grad():
        warnings.simplefilter("ignore")
        with (
            pytest.raises(Exception, match="_Scheduled"),
            torch.autocast("cpu", torch.bfloat16, enabled=half),
        ):
            torch.compile(model.eval())(torch.zeros(shape))
    return found[0]


def ours(model, *shape, half=False):
    batch, *rest = shape
    asked = Workload(
        batch=batch,
        backend="cpu",
        compiled=True,
        precision="amp-bf16" if half else "float32",
        inputs=(InputSpec(shape=tuple(rest)),),
    )
    program = trace(model, asked, network="", source="")
    groups = [group for group in fused(program, channels_last=True) if group.fused]
    return len(groups), sum(group.kernel.traffic_bytes for group in groups)


class Residual(nn.Module):
    """Two convolutions with batch normalisation, and what went in added."""

    def __init__(self, width):
        super().__init__()
        self.one = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.two = nn.Conv2d(width, width, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(2))

    def forward(self, x):
        y = self.norms[0](self.one(x)).relu()
        return (self.norms[1](self.two(y)) + x).relu()


class Encoder(nn.Module):
    """A transformer's block without its attention."""

    def __init__(self, width):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.gate = nn.Linear(width, width)

    def forward(self, x):
        x = x + self.gate(self.norms[0](x)).sigmoid() * x
        return x + self.down(nn.functional.gelu(self.up(self.norms[1](x))))


class Excited(nn.Module):
    """A gated convolution whose channels are weighed by their means (squeeze and excitation)."""

    def __init__(self, width):
        super().__init__()
        self.wide = nn.Conv2d(width, width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.squeeze = nn.Conv2d(width, 8, 1)
        self.excite = nn.Conv2d(8, width, 1)

    def forward(self, x):
        y = nn.functional.hardswish(
            self.norm(self.wide(x))
        )  # no exponential: on a CPU those are kept
        means = self.squeeze(y.mean((2, 3), keepdim=True)).relu()
        return (y * nn.functional.hardsigmoid(self.excite(means))).mean((2, 3))


def test_a_gate_in_half_precision_keeps_what_it_reads_in_float32():
    model = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), Excited(32))
    assert ours(model, 4, 3, 16, 16, half=True) == inductor(model, 4, 3, 16, 16, half=True)


def test_chains_of_a_convolutional_and_of_a_transformers_block():
    images = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), Residual(32), Residual(32))
    tokens = nn.Sequential(Encoder(64), Encoder(64), nn.LayerNorm(64))
    assert ours(images, 1, 3, 16, 16) == inductor(images, 1, 3, 16, 16)
    assert ours(tokens, 1, 20, 64) == inductor(tokens, 1, 20, 64)


class Beside(nn.Module):
    """A window and something pointwise of the same image, one before the other."""

    def __init__(self, window_first):
        super().__init__()
        self.window_first = window_first

    def forward(self, x):
        if self.window_first:
            return nn.functional.max_pool2d(x, 3, 1, 1), x.relu()
        return x.relu(), nn.functional.max_pool2d(x, 3, 1, 1)


class Fan(nn.Module):
    """More results of one tensor than a kernel holds."""

    def forward(self, x):
        return tuple(x.relu() + number for number in range(70))


def test_loops_over_what_several_read():
    for model, *shape in (
        (Beside(True), 2, 8, 16, 16),
        (Beside(False), 2, 8, 16, 16),
        (Fan(), 4, 8),
    ):
        assert ours(model, *shape) == inductor(model, *shape)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_whole_networks(name):
    torchvision = pytest.importorskip("torchvision")
    model = torchvision.models.get_model(name)
    assert ours(model, 1, 3, 224, 224) == inductor(model, 1, 3, 224, 224)


@pytest.mark.slow
def test_concatenations_move_as_much_in_fewer_kernels():
    torchvision = pytest.importorskip("torchvision")
    model = torchvision.models.get_model("densenet121")
    _, moved = ours(model, 1, 3, 224, 224)
    _, known = inductor(model, 1, 3, 224, 224)
    assert moved == pytest.approx(known, rel=0.03)
