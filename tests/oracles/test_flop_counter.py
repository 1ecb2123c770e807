"""PyTorch's own FlopCounterMode, and its saved-tensor hooks, as independent witnesses of a trace.

FlopCounterMode multiplies out the shapes of convolutions and matrix products as they pass its own
dispatch mode; it shares no code with ours. It counts 2 FLOPs a multiply-accumulate.
"""

import pytest

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils import flop_counter  # noqa: E402

from weighbridge.analyses.compute import compute, op_costs  # noqa: E402
from weighbridge.analyses.space import saved_bytes  # noqa: E402
from weighbridge.frontends.torch import trace  # noqa: E402
from weighbridge.workload import InputSpec, Workload  # noqa: E402

pytestmark = pytest.mark.torch

DENSE = ("alexnet", "vgg11_bn", "resnet18", "densenet121")
GROUPED = ("resnext50_32x4d", "mobilenet_v2")


def built(name):
    with torch.device("meta"):
        return torchvision.models.get_model(name, weights=None)


def step(name):
    """FlopCounterMode's counts of forward and backward, and ours."""
    model = built(name).train()
    image = torch.empty(2, 3, 224, 224, device="meta", requires_grad=True)
    with flop_counter.FlopCounterMode(display=False) as forward:
        loss = model(image).mean()
    with flop_counter.FlopCounterMode(display=False) as backward:
        loss.backward()
    workload = Workload(
        inputs=(InputSpec(shape=(3, 224, 224)),), mode="training", batch=2, input_gradient=True
    )
    program = trace(model, workload, network=name, source=name)
    return forward, backward, program


@pytest.mark.parametrize("name", DENSE)
def test_convolutional_networks_forward_and_backward(name):
    forward, backward, program = step(name)
    assert compute(program).forward.flops == forward.get_total_flops()
    assert compute(program).backward.flops == backward.get_total_flops()


@pytest.mark.parametrize("name", GROUPED)
def test_grouped_convolutions_forward(name):
    """Its rule for backward takes every kernel to see every channel (torch 2.14: the gradient of the
    weight is a convolution of c by k channels), ours its group; so that only forward is compared, and
    that backward is twice forward but for what is no convolution's."""
    forward, backward, program = step(name)
    found = compute(program)
    assert found.forward.flops == forward.get_total_flops()
    assert found.backward.flops == 2 * found.forward.flops < backward.get_total_flops()


def test_scope_by_scope():
    """Its table by module is ours, for what each module does."""
    forward, _, program = step("resnet18")
    ours = {}
    for op, cost in zip(program.phase("forward"), op_costs(program), strict=False):
        ours[op.scope] = ours.get(op.scope, 0) + cost.flops
    theirs = {
        scope.removeprefix("ResNet."): sum(counts.values())
        for scope, counts in forward.get_flop_counts().items()
    }
    leaves = [scope for scope in ours if scope in theirs and ours[scope]]
    assert len(leaves) == 21  # 20 convolutions and the fully connected layer
    assert {scope: ours[scope] for scope in leaves} == {scope: theirs[scope] for scope in leaves}


@pytest.mark.parametrize("shape", [(2, 4, 16, 8), (1, 1, 7, 3)])
def test_attention(shape):
    """Its rules for fused kernels: two products forward, five backward, the whole square of pairs."""
    heads_and_length = shape[1:]

    def forward(x):
        return F.scaled_dot_product_attention(x, x, x)

    workload = Workload(
        inputs=(InputSpec(shape=heads_and_length),),
        batch=shape[0], mode="training", input_gradient=True, loss="mean",
    )  # fmt: skip
    found = compute(trace(forward, workload, network="a", source="a"))
    assert found.forward.flops == flop_counter.sdpa_flop_count(shape, shape, shape)
    assert found.backward.flops == flop_counter.sdpa_backward_flop_count(shape, shape, shape, shape)


def test_a_transformer_against_attention_taken_apart():
    """On meta FlopCounterMode sees attention apart: the same forward, four products backward."""
    layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, device="meta")
    x = torch.empty(2, 10, 32, device="meta", requires_grad=True)
    with flop_counter.FlopCounterMode(display=False) as forward:
        loss = layer(x).mean()
    with flop_counter.FlopCounterMode(display=False) as backward:
        loss.backward()
    workload = Workload(
        inputs=(InputSpec(shape=(10, 32)),), mode="training", batch=2, input_gradient=True
    )
    found = compute(trace(layer, workload, network="t", source="t"))
    assert found.forward.flops == forward.get_total_flops()
    # the fifth product computes the scores again: 2 * 10*10 pairs * 32, 2 FLOPs each
    assert found.backward.flops == backward.get_total_flops() + 2 * 2 * 100 * 32


@pytest.mark.parametrize("name", ["resnet18", "vgg11_bn", "mobilenet_v2"])
def test_what_is_saved_for_backward_is_what_autograd_packs(name):
    """Bytes of the storages that autograd packs in a real forward, weights, input and views aside."""
    model = built(name).to_empty(device="cpu").train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):  # on a CPU its mask is floating point
            module.p = 0.0
    image = torch.randn(2, 3, 64, 64)
    known = {t.untyped_storage()._cdata for t in (*model.parameters(), *model.buffers(), image)}
    packed = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in known:
            packed[storage._cdata] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model(image).mean()
    workload = Workload(
        inputs=(InputSpec(shape=(3, 64, 64)),), mode="training", batch=2, loss="mean"
    )
    program = trace(model, workload, network=name, source=name)
    assert saved_bytes(program) == sum(packed.values())
    del loss
