"""Autocast: the lists are PyTorch's, the CPU's is followed operator by operator, CUDA's by hand."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

from weighbridge.analyses.compute import compute  # noqa: E402
from weighbridge.analyses.memory.timeline import timeline  # noqa: E402
from weighbridge.errors import WeighError  # noqa: E402
from weighbridge.frontends.torch import trace  # noqa: E402
from weighbridge.frontends.torch.autocast_lists import POLICIES  # noqa: E402
from weighbridge.frontends.torch.translation import (  # noqa: E402
    Handling,
    tensors_in,
    translation_of,
)
from weighbridge.ops.optimizers import optimizer  # noqa: E402
from weighbridge.workload import InputSpec, Workload  # noqa: E402

pytestmark = pytest.mark.torch


def traced(model, *shapes, **settings):
    inputs = tuple(InputSpec(shape=shape) for shape in shapes)
    settings.setdefault("mode", "training")
    return trace(model, Workload(inputs=inputs, **settings), network="net", source="test")


class Net(nn.Module):
    def __init__(self, function, *layers):
        super().__init__()
        self.function = function
        self.layers = nn.ModuleList(layers)

    def forward(self, x):
        return self.function(x, *self.layers)


# -- the lists -------------------------------------------------------------------------------------

ELSEWHERE = {"cuda": {"_cudnn_rnn"}, "cpu": set()}
"""Operators that are not called on meta: recurrent networks are taken whole, their operands cast."""


@pytest.mark.parametrize(("backend", "layer"), [("cuda", "AutocastCUDA"), ("cpu", "AutocastCPU")])
def test_the_lists_have_what_pytorch_has_registered(backend, layer):
    if not torch.__version__.startswith("2.14."):
        pytest.skip(f"the lists follow torch 2.14; here is {torch.__version__}")
    names = [n for n in torch._C._dispatch_get_all_op_names() if n.startswith("aten::")]
    registered = {
        name.removeprefix("aten::")
        for name in names
        if torch._C._dispatch_has_kernel_for_dispatch_key(name, layer)
    }
    assert set(POLICIES[backend]) == registered - ELSEWHERE[backend]


# -- the CPU, which can be asked -------------------------------------------------------------------


class Log(TorchDispatchMode):
    """The operators that run, and the dtypes of what they make."""

    def __init__(self):
        super().__init__()
        self.ops = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if translation_of(func).handling is Handling.RECORDED:
            name = str(func).split(".")[1]
            self.ops.append((name, *(str(t.dtype)[6:] for t in tensors_in((result,)))))
        return result


def convolutional(x, convolution, norm, linear):
    x = F.max_pool2d(F.gelu(norm(convolution(x))), 2)
    return linear(x.flatten(1))


def attending(x, linear, norm, attention, head):
    x = norm(linear(x))
    x = x + attention(x, x, x, need_weights=False)[0]
    return head(x.mean(1))


def mixed(x, linear, other):
    """Each policy: products, functions, losses, results in float32, joins in the widest."""
    x = linear(x)
    y = torch.cat([x, x.float()], 1)
    y = torch.softmax(x, -1) + x.exp() + torch.cumsum(x, 1) + y[:, :8]
    z = other(y) + linear(y)  # `linear` again, whose weight was cast
    loss = F.mse_loss(z, y) + F.binary_cross_entropy(torch.sigmoid(z), torch.sigmoid(y))
    return z * loss + torch.einsum("bi,bj->bi", z, y).norm()


NETWORKS = {
    "convolutions": (
        lambda: Net(convolutional, nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Linear(128, 10)),
        (3, 8, 8),
    ),
    "attention": (
        lambda: Net(
            attending, nn.Linear(6, 16), nn.LayerNorm(16),
            nn.MultiheadAttention(16, 2, batch_first=True), nn.Linear(16, 10),
        ),
        (5, 6),
    ),
    "each policy": (lambda: Net(mixed, nn.Linear(8, 8), nn.Linear(8, 8, bias=False)), (8,)),
}  # fmt: skip

ONE_HERE = {
    "_scaled_dot_product_flash_attention_for_cpu": "scaled_dot_product_attention",
    "_scaled_dot_product_flash_attention_for_cpu_backward": "scaled_dot_product_attention_backward",
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_cpus_autocast_operator_by_operator(name, dtype):
    make, shape = NETWORKS[name]
    net = make()
    kept, parameters = {}, {p.untyped_storage()._cdata for p in net.parameters()}
    buffers = {b.untyped_storage()._cdata for b in net.buffers()}
    alive = []

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in parameters | buffers:
            kept[storage._cdata] = storage.nbytes()
        alive.append(tensor)
        return tensor

    x, targets = torch.ones(4, *shape), torch.zeros(4, dtype=torch.long)
    with Log() as log, torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        with torch.autocast("cpu", getattr(torch, dtype)):
            loss = F.cross_entropy(net(x), targets)
        loss.backward()
    precision = "amp-bf16" if dtype == "bfloat16" else "amp-fp16"
    program = traced(net, shape, batch=4, precision=precision, backend="cpu")
    scaled = ("mul", "unscale") if precision == "amp-fp16" else ()
    ours = []
    for op in program.ops:
        operator = op.name.split(".")[1] if "." in op.name else op.name
        ours.append((operator, *(t.dtype for t in op.outputs)))
    theirs = [(ONE_HERE.get(op, op), *dtypes) for op, *dtypes in log.ops if op != "zeros"]
    if not scaled:
        assert ours == theirs
    first = next(i for i, op in enumerate(program.ops) if op.phase == "backward")
    read = {t.storage for op in program.phase("backward") for t in op.inputs}
    held = {t.storage for t in (*program.parameters, *program.buffers)}
    births = {s.id: s.birth for s in program.storages}
    sizes = {s.id: s.bytes for s in program.storages}
    saved = sum(sizes[s] for s in read - held if births[s] < first)
    if scaled:  # backward of the loss times the scale reads the scale
        saved -= 4
    assert saved == sum(kept.values())


# -- CUDA's, by hand -------------------------------------------------------------------------------


def dtypes(program, phase="forward"):
    """(kind, dtypes of operands that are not parameters, dtypes of results) without views."""
    return [
        (op.kind, *(t.dtype for t in op.outputs))
        for op in program.phase(phase)
        if op.kind not in ("transpose", "reshape")
    ]


def test_cuda_runs_products_low_and_softmax_wide():
    def forward(x, linear, norm):
        return torch.softmax(norm(torch.relu(linear(x))), -1)

    net = Net(forward, nn.Linear(8, 8), nn.LayerNorm(8))
    lowered = [("clone", "bfloat16")] * 3  # x, the weight, the bias
    assert dtypes(traced(net, (8,), precision="amp-bf16", loss="mean")) == [
        *lowered, ("matmul", "bfloat16"), ("relu", "bfloat16"),
        ("clone", "float32"), ("layer_norm", "float32", "float32", "float32"),
        ("softmax", "float32"), ("mean", "float32"),
    ]  # fmt: skip


@pytest.mark.parametrize(("precision", "reads"), [("amp-bf16", "float32"), ("amp-fp16", "float16")])
@pytest.mark.parametrize("function", [F.softmax, F.log_softmax])
def test_cudas_softmax_reads_float16_and_writes_float32(precision, reads, function):
    # SoftMax.cpp: float16 is widened within the kernel, bfloat16 before it
    net = Net(lambda x, linear: function(linear(x), -1), nn.Linear(8, 10, bias=False))
    program = traced(net, (8,), batch=2, precision=precision, loss="mean")
    (softmax,) = [op for op in program.ops if op.kind == function.__name__]
    assert (softmax.inputs[0].dtype, softmax.outputs[0].dtype) == (reads, "float32")
    (back,) = [op for op in program.ops if op.kind == f"{function.__name__}_backward"]
    assert back.outputs[0].dtype == reads


def test_cross_entropy_widens_after_its_softmax():
    # cross_entropy_loss asks for log_softmax in the logits' own dtype (LossNLL.cpp); nll_loss is in float32
    net = Net(lambda x, linear: linear(x), nn.Linear(8, 10, bias=False))
    program = traced(net, (8,), batch=2, precision="amp-bf16")
    loss = [(op.kind, op.outputs[0].dtype) for op in program.phase("forward") if op.scope == "loss"]
    assert loss == [("log_softmax", "bfloat16"), ("clone", "float32"), ("nll_loss", "float32")]


def test_a_weight_is_cast_once_and_its_copy_kept_for_backward():
    net = Net(lambda x, linear: linear(torch.relu(linear(x))), nn.Linear(64, 64, bias=False))
    program = traced(net, (64,), batch=1, precision="amp-bf16", loss="mean")
    copies = [
        op for op in program.ops if op.kind == "clone" and op.inputs[0].name == "layers.0.weight"
    ]
    assert len(copies) == 1
    copy = program.storages[copies[0].outputs[0].storage]
    assert copy.bytes == 2 * 64 * 64
    readers = [i for i, op in enumerate(program.ops) if copy.id in {t.storage for t in op.inputs}]
    # no gradient of the inputs is wanted: of the two products, only the second reads it backward
    assert program.ops[max(readers)].phase == "backward"
    plain = traced(net, (64,), batch=1, loss="mean")
    assert compute(program).forward.macs == compute(plain).forward.macs == 2 * 64 * 64
    assert compute(program).backward.macs == compute(plain).backward.macs


def test_without_gradients_casts_are_not_kept():
    net = Net(lambda x, linear: linear(torch.relu(linear(x))), nn.Linear(64, 64, bias=False))
    program = traced(net, (64,), mode="inference", precision="amp-bf16")
    # x, and the weight once; the second product finds both in bfloat16
    assert [op.kind for op in program.ops].count("clone") == 2
    frozen = net.requires_grad_(False)
    program = traced(frozen, (64,), mode="inference", precision="amp-bf16")
    # copies are kept of what is trained: here the weight is cast for each product
    assert [op.kind for op in program.ops].count("clone") == 3


def test_a_networks_own_regions_are_followed():
    def forward(x, linear):
        with torch.autocast("cuda", torch.bfloat16):
            y = linear(x)
            with torch.autocast(x.device.type, enabled=False):
                z = y.float() @ y.float().T
            w = y @ y.T
        assert not torch.is_autocast_enabled("cuda")
        with torch.autocast("cpu", torch.bfloat16):  # the other device's
            v = x @ x.T
        return z + w + v

    program = traced(Net(forward, nn.Linear(8, 8)), (8,), batch=4, mode="inference")
    products = [op.outputs[0].dtype for op in program.ops if op.kind == "matmul"]
    assert products == ["bfloat16", "float32", "bfloat16", "float32"]
    assert program.warnings == ()


def test_checkpoints_run_again_in_the_precision_that_they_ran_in():
    def forward(x, first, second):
        y = checkpoint(lambda x: torch.relu(first(x)), x, use_reentrant=False)
        return second(y)

    net = Net(forward, nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False))
    program = traced(net, (8,), precision="amp-bf16", loss="mean")
    relus = [(op.phase, op.outputs[0].dtype) for op in program.ops if op.kind == "relu"]
    assert relus == [("forward", "bfloat16"), ("backward", "bfloat16")]


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_networks_run_low(kind):
    program = traced(kind(8, 16, batch_first=True), (5, 8), precision="amp-bf16", loss="mean")
    (whole,) = [op for op in program.ops if op.kind == kind.__name__.lower()]
    assert {t.dtype for t in whole.inputs} == {"bfloat16"}
    assert whole.outputs[0].dtype == "bfloat16"
    # the gradients come back to the parameters' own precision
    assert {t.dtype for op in program.ops for t in op.outputs if t.role == "gradient"} == {
        "float32"
    }


def test_a_loss_that_cuda_refuses_under_autocast():
    net = Net(
        lambda x, linear: F.binary_cross_entropy(torch.sigmoid(linear(x)), x), nn.Linear(8, 8)
    )
    with pytest.raises(
        WeighError, match="binary_cross_entropy under autocast, which PyTorch refuses"
    ):
        traced(net, (8,), precision="amp-bf16", loss="mean")
    assert traced(net, (8,), precision="amp-bf16", loss="mean", backend="cpu").complete


# -- the scaler ------------------------------------------------------------------------------------


def test_the_scaler_makes_no_copies():
    net = nn.Linear(64, 10, bias=False)
    half = traced(net, (64,), batch=1, precision="amp-fp16", optimizer=optimizer("sgd"))
    brain = traced(net, (64,), batch=1, precision="amp-bf16", optimizer=optimizer("sgd"))
    kinds = [op.kind for op in half.phase("update")]
    assert kinds == ["unscale", "add"]
    assert [op.kind for op in brain.phase("update")] == ["add"]
    unscale = next(op for op in half.ops if op.kind == "unscale")
    # one multiplication an element of the gradient and one comparison: is it finite?
    rule = compute(half).update
    assert (rule.multiplications, rule.comparisons) == (640 + 640, 640)
    assert unscale.outputs[0].storage == unscale.inputs[0].storage
    assert (
        timeline(half).peak.bytes <= timeline(brain).peak.bytes + 3 * 4
    )  # scale, its inverse, overflow


# -- nothing is left -------------------------------------------------------------------------------


def test_nothing_is_left_of_the_layer():
    make, enter = torch.autocast.__init__, torch.autocast.__enter__
    infer = torch.utils.checkpoint._infer_device_type
    traced(nn.Linear(3, 3), (3,), precision="amp-bf16")

    def fails(x):
        with torch.autocast("cuda", torch.float16):
            raise RuntimeError("no")

    with pytest.raises(WeighError, match="RuntimeError: no"):
        traced(Net(fails), (4,), precision="amp-bf16")
    assert (torch.autocast.__init__, torch.autocast.__enter__) == (make, enter)
    assert torch.utils.checkpoint._infer_device_type is infer
    layer = "AutocastPrivateUse1"
    assert not torch._C._dispatch_has_kernel_for_dispatch_key("aten::linear", layer)
    x = torch.ones(2, 3, device="meta")
    assert (x @ x.T).dtype == torch.float32
