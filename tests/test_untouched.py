"""Nothing touched: a network, its hooks and the process are after weighing what they were before, bit for bit."""

import gc
import random
import warnings
from collections.abc import Iterator

import pytest

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")
numpy = pytest.importorskip("numpy")

from torch import nn  # noqa: E402
from torchvision.models import get_model, list_models  # noqa: E402

from weighbridge.errors import WeighError  # noqa: E402
from weighbridge.frontends.torch import trace  # noqa: E402
from weighbridge.frontends.torchvision import documented_inputs  # noqa: E402
from weighbridge.ops.optimizers import optimizer  # noqa: E402
from weighbridge.workload import InputSpec, Workload  # noqa: E402

pytestmark = pytest.mark.torch

SLICE = (
    "resnet18",
    "googlenet",
    "vit_b_32",
    "swin_v2_t",
    "lraspp_mobilenet_v3_large",
    "quantized_resnet18",
)
TRAINING = {"mode": "training", "optimizer": optimizer("adam")}


def of_process():
    """What a process has that a network could change."""
    return {
        "torch's random numbers": torch.get_rng_state().tolist(),
        "python's random numbers": random.getstate(),
        "numpy's random numbers": [str(part) for part in numpy.random.get_state()],
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "threads": torch.get_num_threads(),
        "precision of products": torch.get_float32_matmul_precision(),
        "anomalies": torch.is_anomaly_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warned only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "collector": gc.isenabled(),
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"),
                     torch.is_autocast_cache_enabled()),
        "oneDNN": torch.backends.mkldnn.enabled,
        "fast path": torch.backends.mha.get_fastpath_enabled(),
        "attention": nn.functional.scaled_dot_product_attention,
        "hooks of all modules": [dict(hooks) for hooks in _HOOKS_OF_ALL],
    }  # fmt: skip


_HOOKS_OF_ALL = [
    value for name, value in vars(nn.modules.module).items()
    if name.startswith("_global_") and hasattr(value, "items")
]  # fmt: skip


def hooks_of(module: nn.Module) -> Iterator[tuple[str, object]]:
    for name, value in vars(module).items():
        if "hooks" in name and hasattr(value, "items"):
            yield name, tuple(value.items())


def of_network(model: nn.Module):
    """What a network has: each tensor with its identity and version, the modes and the hooks."""
    tensors = {
        name: (id(tensor), tensor._version, tensor.requires_grad, tensor.device, tensor.data.clone(),
               None if tensor.grad is None else tensor.grad.clone())
        for name, tensor in (*model.named_parameters(), *model.named_buffers())
    }  # fmt: skip
    modules = {
        name: (id(module), module.training, tuple(hooks_of(module)))
        for name, module in model.named_modules()
    }
    return tensors, modules


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def untouched(model, run):
    """Runs it and holds everything against what was there before."""
    before, process = of_network(model), of_process()
    run()
    after = of_network(model)
    for kind, was, now in zip(("tensor", "module"), before, after, strict=True):
        assert was.keys() == now.keys()
        changed = [name for name in was if not same(was[name], now[name])]
        assert not changed, f"{kind}s changed: {changed[:5]}"
    now_process = of_process()
    assert [key for key in process if process[key] != now_process[key]] == []


def built(name):
    settings = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    if (
        "rcnn" in name
        or "_fpn" in name
        or "ssd" in name
        or name.startswith(("fcn", "deeplab", "lraspp"))
    ):
        settings["weights_backbone"] = None
    if name.startswith("vit_"):
        settings["image_size"] = documented_inputs(name)[0].shape[-1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = get_model(name, weights=None, **settings)
    model.eval()
    next(model.parameters()).grad = torch.ones_like(next(model.parameters()))
    next(model.modules()).register_forward_hook(_hook)
    list(model.parameters())[-1].requires_grad_(False)
    return model


def _hook(*_):
    return None


def weighed(model, name, **settings):
    specs = documented_inputs(name)
    if "rcnn" in name or "_fpn" in name or "ssd" in name:
        images = [torch.zeros(spec.shape) for spec in specs]
        trace(model, Workload(), network=name, source=name, examples=(images,))
    else:
        trace(model, Workload(inputs=specs, **settings), network=name, source=name)


@pytest.mark.parametrize("name", SLICE)
def test_a_network_is_left_as_it_was(name):
    model = built(name)
    untouched(model, lambda: weighed(model, name, batch=2, **TRAINING))


@pytest.mark.slow
@pytest.mark.parametrize("name", list_models())
def test_every_network_is_left_as_it_was(name):
    model = built(name)
    untouched(model, lambda: weighed(model, name))


class Rude(nn.Module):
    """Asks for values, draws numbers of three kinds, counts, and then fails, or not."""

    def __init__(self, fails):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.layer = nn.Linear(4, 4)
        self.register_buffer("counts", torch.zeros(4))
        self.fails = fails

    def forward(self, x):
        y = self.layer(self.norm(x)) + random.random() + numpy.random.rand()
        torch.set_default_dtype(torch.float64)
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.set_num_threads(torch.get_num_threads() + 1)
        torch.set_float32_matmul_precision("medium")
        torch.autograd.set_detect_anomaly(True, check_nan=False)
        torch.set_grad_enabled(torch.is_grad_enabled())
        torch.set_autocast_enabled("cpu", True)
        y = y + torch.rand(4, dtype=y.dtype)
        with torch.no_grad():
            self.counts.add_(1)
        if self.fails == "without data":
            raise ValueError("no luck")
        if self.fails == "the program":
            raise SystemExit(3)
        if y.sum() < 1e9 and self.fails == "with data":
            raise ValueError("no luck")
        return y


@pytest.mark.parametrize("mode", [{}, TRAINING], ids=["inference", "training"])
@pytest.mark.parametrize("fails", ["without data", "with data", "the program", "never"])
def test_a_rude_network_leaves_no_trace_on_either_rung(fails, mode):
    model = Rude(fails)

    def run():
        work = Workload(inputs=(InputSpec(shape=(4,)),), batch=3, **mode)
        try:
            program = trace(model, work, network="rude", source="test")
        except WeighError:
            assert fails in ("without data", "the program")
        else:
            assert program.rung == "real"
            assert program.complete == (fails == "never")

    untouched(model, run)
