"""Quantised networks: PyTorch's own layers in whole numbers, whose weights lie packed."""

import warnings

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import weighbridge  # noqa: E402
from weighbridge.analyses.parameters import parameters  # noqa: E402

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore"),  # PyTorch's, about where its quantisation moves to
    pytest.mark.skipif(
        "x86" not in torch.backends.quantized.supported_engines, reason="no engine for whole numbers here"
    ),
]  # fmt: skip


@pytest.fixture(autouse=True)
def engine():
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = "x86"
    yield
    torch.backends.quantized.engine = before


def static():
    """(3, 8, 8) -> 4 kernels of 3 x 3, a ReLU, 144 numbers to 5; observed once, then in whole numbers."""
    quantization = torch.ao.quantization
    net = nn.Sequential(
        quantization.QuantStub(), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5),
        quantization.DeQuantStub(),
    ).eval()  # fmt: skip
    net.qconfig = quantization.get_default_qconfig("x86")
    prepared = quantization.prepare(net)
    prepared(torch.randn(2, 3, 8, 8))
    return quantization.convert(prepared)


def dynamic():
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    return torch.ao.quantization.quantize_dynamic(net, {nn.Linear}, dtype=torch.qint8)


def test_layers_in_whole_numbers():
    report = weighbridge.weigh(static(), (3, 8, 8), batch=2)
    assert report.program.rung == "real"  # a scale is a value
    assert report.uncounted == ()
    # 4 x 36 sums of 27 products and 144 to 5, twice
    assert report.compute.forward.macs == 2 * (4 * 36 * 27 + 144 * 5)
    by_name = {tensor.name: tensor for tensor in report.program.parameters}
    assert set(by_name) == {"1.weight", "1.bias", "4.weight", "4.bias"}
    # a byte a weight, four a bias
    assert {name: tensor.bytes for name, tensor in by_name.items()} == {
        "1.weight": 4 * 27, "1.bias": 4 * 4, "4.weight": 144 * 5, "4.bias": 4 * 5
    }  # fmt: skip
    assert report.parameters.total == 4 * 27 + 4 + 144 * 5 + 5
    # The layer reads what was declared.
    (layer,) = [op for op in report.program.ops if op.kind == "quantised_linear"]
    assert layer.inputs[1] == by_name["4.weight"]
    assert layer.scope == "4"


def test_layers_that_quantise_what_they_get():
    report = weighbridge.weigh(dynamic(), (8,), batch=2)
    assert report.uncounted == ()
    assert report.compute.forward.macs == 2 * (8 * 16 + 16 * 4)
    assert report.parameters.total == 8 * 16 + 16 + 16 * 4 + 4


def test_training_that_rounds():
    quantization = torch.ao.quantization
    net = nn.Sequential(quantization.QuantStub(), nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    net.qconfig = quantization.get_default_qat_qconfig("x86")
    report = weighbridge.weigh(quantization.prepare_qat(net.train()), (8,), batch=2, train="sgd")
    assert report.uncounted == ()
    # Rounded inputs and weights cost no product more; backward has no gradient of the input.
    assert report.compute.forward.macs == 2 * (8 * 16 + 16 * 4)
    assert report.compute.backward.macs == 2 * (8 * 16 + 2 * 16 * 4)


def test_what_has_no_rule_in_whole_numbers_is_named():
    quantization = torch.ao.quantization
    bag = nn.Sequential(nn.EmbeddingBag(10, 8))
    bag.qconfig = quantization.float_qparams_weight_only_qconfig
    report = weighbridge.weigh(
        quantization.convert(quantization.prepare(bag.eval())), "5:int64", batch=2
    )
    assert [entry.op for entry in report.uncounted] == ["quantized.embedding_bag_byte"]
    assert [(each.name, each.shape) for each in report.program.parameters] == [
        ("0.weight", (10, 8))
    ]
    lstm = quantization.quantize_dynamic(nn.Sequential(nn.LSTM(8, 16)), {nn.LSTM})
    report = weighbridge.weigh(lstm, (5, 8), batch=2)
    assert [entry.op for entry in report.uncounted] == ["aten.quantized_lstm"]


@pytest.mark.parametrize(
    ("kind", "shape", "macs"),
    [
        ("Conv1d", (3, 8), 4 * 6 * 3 * 3),
        ("Conv3d", (3, 4, 4, 4), 4 * 8 * 3 * 27),
        ("ConvTranspose2d", (3, 4, 4), 3 * 16 * 4 * 9),
    ],
)
def test_convolutions_of_every_kind(kind, shape, macs):
    made = getattr(torch.ao.nn.quantized, kind)(3, 4, 3)

    def forward(x):
        return made(torch.quantize_per_tensor(x, 0.1, 0, torch.quint8)).dequantize()

    report = weighbridge.weigh(forward, shape, batch=2)
    assert report.uncounted == ()
    assert report.compute.forward.macs == 2 * macs


def test_whole_numbers_joined_and_added():
    def forward(x):
        whole = torch.quantize_per_tensor(x, 0.1, 0, torch.quint8)
        other = torch.ops.quantized.add_relu(whole, whole, 0.1, 0)
        return torch.ops.quantized.cat([whole, other], 1, 0.1, 0).dequantize()

    report = weighbridge.weigh(forward, (4,), batch=2)
    kinds = [op.kind for op in report.program.ops]
    assert kinds == ["quantise", "quantised_add", "quantised_concatenate", "dequantise"]
    assert [tensor.bytes for tensor in report.program.ops[2].outputs] == [16]


def test_on_the_scale_weights_have_their_names():
    net, x = static(), torch.randn(2, 3, 8, 8)
    with weighbridge.scale() as scale:
        net(x)
    report = scale.report()
    assert report.uncounted == ()
    assert report.compute.forward.macs == 2 * (4 * 36 * 27 + 144 * 5)
    assert {tensor.name for tensor in report.program.parameters} >= {
        "sequential.1.weight", "sequential.4.bias"
    }  # fmt: skip
    assert [tensor.shape for tensor in report.program.inputs] == [(2, 3, 8, 8)]


def test_torchvisions_resnet_truly_quantised():
    torchvision = pytest.importorskip("torchvision")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = torchvision.models.get_model("quantized_resnet18", weights=None, quantize=True)
    report = weighbridge.weigh(net, (3, 64, 64))
    plain = weighbridge.weigh(torchvision.models.resnet18(), (3, 64, 64))
    assert report.uncounted == ()
    assert report.compute.forward.macs == plain.compute.forward.macs
    # Each of 20 batch norms, 4,800 channels in all, has become its convolution's bias: 2 numbers a channel less, 1 more.
    assert report.parameters.total == plain.parameters.total - 4800
    assert parameters(report.program).total == report.parameters.total
    # a byte a weight, four a bias: 4,800 biases and 1,000 of the last layer
    held = sum(tensor.bytes for tensor in report.program.parameters)
    assert held == (report.parameters.total - 5800) + 4 * 5800


# -- weights that are tensors of a class of their own, as torchao makes them ---------------------------------


class Whole(torch.Tensor):
    """A weight in whole numbers with a scale a row, floating point to whoever multiplies by it."""

    @staticmethod
    def __new__(cls, numbers, scale):
        return torch.Tensor._make_wrapper_subclass(
            cls, numbers.shape, dtype=scale.dtype, device=numbers.device
        )

    def __init__(self, numbers, scale):
        self.numbers, self.scale = numbers, scale

    def __tensor_flatten__(self):
        return ["scale", "numbers"], None

    @classmethod
    def __tensor_unflatten__(cls, inner, meta, size, stride):
        return cls(inner["numbers"], inner["scale"])

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.detach.default:
            return cls(args[0].numbers, args[0].scale)
        plain = [(each.numbers * each.scale if isinstance(each, Whole) else each) for each in args]
        return func(*plain, **(kwargs or {}))


def whole():
    """8 to 3, its 24 weights in whole numbers."""
    layer = nn.Linear(8, 3)
    weight = Whole(torch.ones(3, 8, dtype=torch.int8), torch.ones(3, 1))
    layer.weight = nn.Parameter(weight, requires_grad=False)
    return layer


HELD = {"weight": ("int8", 24), "bias": ("float32", 3 * 4)}


def test_weights_made_of_others_weigh_what_those_do():
    net = whole()
    report = weighbridge.weigh(net, (8,), batch=2)
    assert report.program.rung == "meta"
    assert report.uncounted == ()
    assert report.compute.forward.macs == 2 * 8 * 3
    # every weight times its row's scale
    assert report.compute.forward.multiplications == 2 * 8 * 3 + 24
    assert {each.name: (each.dtype, each.bytes) for each in report.program.parameters} == HELD
    assert [(each.name, each.bytes) for each in report.program.buffers] == [("weight.scale", 3 * 4)]
    assert report.parameters.total == 27
    assert (type(net.weight), net.weight.device.type) == (Whole, "cpu")


def test_weights_made_of_others_on_data():
    layer = whole()

    class Asks(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return self.layer(x) if x.sum() < 1e9 else x

    report = weighbridge.weigh(Asks(), (8,), batch=2)
    assert (report.program.rung, report.program.complete) == ("real", True)
    assert report.compute.forward.macs == 2 * 8 * 3
    assert report.parameters.total == 27


def test_weights_made_of_others_on_the_scale():
    net, x = whole(), torch.ones(2, 8)
    with weighbridge.scale() as scale:
        net(x)
    report = scale.report()
    assert report.compute.forward.macs == 2 * 8 * 3
    assert {each.name: (each.dtype, each.bytes) for each in report.program.parameters} == {
        f"linear.{name}": held for name, held in HELD.items()
    }
    assert [each.shape for each in report.program.inputs] == [(2, 8)]
