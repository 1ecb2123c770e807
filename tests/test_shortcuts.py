"""Shortcuts, and answers that are remembered, against PyTorch's own kernels on meta: the same outputs, or none.

The witness is the kernel itself, called without the recorder. Operands are drawn in every layout that a
network brings about: in order, permuted, sliced, expanded, channels last, and with any stride where a
size is 1, of several dtypes, empty ones included.
"""

import subprocess
import sys
import warnings
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from weighbridge.errors import WeighError  # noqa: E402
from weighbridge.frontends.torch import answers, optimizers, trace  # noqa: E402
from weighbridge.frontends.torch.shortcuts import SHORTCUTS  # noqa: E402
from weighbridge.frontends.torch.translation import translation_of  # noqa: E402
from weighbridge.ops.optimizers import optimizer  # noqa: E402
from weighbridge.workload import Workload  # noqa: E402

pytestmark = pytest.mark.torch

aten = torch.ops.aten
FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
DTYPES = (*FLOATS, torch.int64, torch.bool)
SIZES = st.sampled_from((1, 1, 2, 2, 3, 3, 4, 0))
SHAPES = st.lists(SIZES, max_size=4).map(tuple)


def meta(*shape, dtype=torch.float32):
    return torch.empty(shape, dtype=dtype, device="meta")


@st.composite
def laid_out(draw, shape, dtype=torch.float32):
    """A tensor of that shape, in some layout."""
    rank = len(shape)
    kinds = ["in order"] * 4 + ["permuted", "sliced", "expanded", "stridden", "channels last"]
    kind = draw(st.sampled_from(kinds))
    if kind == "permuted" and rank > 1:
        order = draw(st.permutations(range(rank)))
        stored = meta(*(shape[axis] for axis in order), dtype=dtype)
        return stored.permute([order.index(axis) for axis in range(rank)])
    if kind == "sliced" and rank:
        axis = draw(st.integers(0, rank - 1))
        larger = [side + 2 if d == axis else side for d, side in enumerate(shape)]
        return meta(*larger, dtype=dtype).narrow(axis, 1, shape[axis])
    if kind == "expanded" and rank:
        axis = draw(st.integers(0, rank - 1))
        return meta(*(1 if d == axis else n for d, n in enumerate(shape)), dtype=dtype).expand(
            shape
        )
    if kind == "stridden":  # the stride of an axis of size 1 means nothing, and may be anything
        strides = meta(*shape).stride()
        free = [
            draw(st.integers(1, 9)) if n == 1 else s for n, s in zip(shape, strides, strict=True)
        ]
        return torch.empty_strided(shape, free, dtype=dtype, device="meta")
    if kind == "channels last" and rank == 4:
        return meta(*shape, dtype=dtype).to(memory_format=torch.channels_last)
    return meta(*shape, dtype=dtype)


def dtypes(*, mixed=True):
    return st.sampled_from(DTYPES if mixed else FLOATS)


@st.composite
def unary(draw, *rest):
    return (draw(laid_out(draw(SHAPES), draw(dtypes()))), *rest), {}


@st.composite
def with_number(draw):
    numbers = st.sampled_from((2, -1, 0.5, 0, True, 2j))
    return (draw(laid_out(draw(SHAPES), draw(dtypes()))), draw(numbers)), {}


@st.composite
def binary(draw, *, spread=True):
    shape, dtype = draw(SHAPES), draw(dtypes())
    if draw(st.integers(0, 5)) == 0:
        return (draw(laid_out(shape, dtype)), draw(st.sampled_from((2, 0.5, True, 2j)))), {}
    other = draw(
        st.sampled_from(
            [shape, shape, shape[1:], tuple(draw(st.sampled_from((1, n))) for n in shape), ()]
        )
        if spread
        else st.one_of(st.just(shape), SHAPES)
    )
    same = draw(st.sampled_from((True, True, True, False)))
    x = draw(laid_out(shape, dtype))
    y = draw(laid_out(other, dtype if same else draw(dtypes())))
    return ((x, y) if draw(st.booleans()) else (y, x)), {}


@st.composite
def gradient(draw, *rest, **settings):
    shape, dtype = draw(SHAPES), draw(dtypes(mixed=False))
    dy = draw(laid_out(shape, dtype))
    other = draw(st.sampled_from((dtype, dtype, dtype, torch.float32)))
    return (dy, draw(laid_out(shape, other)), *rest), settings


@st.composite
def copied(draw):
    x = draw(laid_out(draw(SHAPES), draw(dtypes())))
    formats = [{}, {"memory_format": torch.contiguous_format}]
    formats.append({"memory_format": torch.preserve_format})
    if x.dim() == 4:
        formats.append({"memory_format": torch.channels_last})
    return (x,), draw(st.sampled_from(formats))


@st.composite
def dropout(draw):
    x = draw(laid_out(draw(SHAPES), draw(dtypes(mixed=False))))
    return (x, draw(st.sampled_from((0.0, 0.1, 0.5, 1.0))), draw(st.booleans())), {}


@st.composite
def dropout_backward(draw):
    shape = draw(SHAPES)
    dy = draw(laid_out(shape, draw(dtypes(mixed=False))))
    return (dy, draw(laid_out(shape, torch.bool)), 2.0), {}


@st.composite
def product(draw, rank):
    m, k, n, b = (draw(SIZES) for _ in range(4))
    inner = draw(st.sampled_from((k, k, k, 5)))
    lead = (b,) if rank == 3 else ()
    dtype = draw(dtypes(mixed=False))
    return (draw(laid_out((*lead, m, k), dtype)), draw(laid_out((*lead, inner, n), dtype))), {}


@st.composite
def product_and_bias(draw):
    (x, w), _ = draw(product(2))
    n = w.shape[1]
    shape = draw(st.sampled_from([(n,), (n,), (1,), (x.shape[0], n), (x.shape[0], 1), ()]))
    extra = draw(st.sampled_from([{}, {}, {"beta": 0}, {"alpha": 2}]))
    return (draw(laid_out(shape, x.dtype)), x, w), extra


@st.composite
def convolution(draw):
    rank = draw(st.integers(1, 3))
    groups, per_group = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    outputs = groups * draw(st.integers(1, 2))
    image = [draw(st.integers(1, 6)) for _ in range(rank)]
    kernel = [draw(st.integers(1, 3)) for _ in range(rank)]
    transposed = draw(st.sampled_from((False, False, True)))
    dtype = draw(dtypes(mixed=False))
    channels = draw(st.sampled_from((groups * per_group,) * 5 + (groups * per_group + 1,)))
    x = draw(laid_out((draw(st.integers(0, 2)), channels, *image), dtype))
    shape = (channels, outputs // groups) if transposed else (outputs, per_group)
    w = draw(laid_out((*shape, *kernel), dtype))
    bias = draw(st.sampled_from((None, meta(outputs, dtype=dtype))))
    stride, padding, dilation = (
        [draw(st.integers(low, high)) for _ in range(rank)]
        for low, high in ((1, 3), (0, 2), (1, 2))
    )
    if draw(st.integers(0, 4)) == 0:
        stride, padding = stride[:1], padding[:1]  # one number may stand for every axis
    return (x, w, bias, stride, padding, dilation, transposed, [0] * rank, groups), {}


@st.composite
def convolution_backward(draw):
    (x, w, bias, *geometry), _ = draw(convolution())
    try:
        y = aten.convolution.default(x, w, bias, *geometry)
    except RuntimeError:
        y = x
    dy = draw(laid_out(tuple(y.shape), y.dtype))
    mask = [draw(st.booleans()), draw(st.booleans()), bias is not None]
    sizes = None if bias is None else [bias.shape[0]]
    return (dy, x, w, sizes, *geometry, mask), {}


@st.composite
def batch_norm_operands(draw):
    shape = (draw(SIZES), draw(SIZES), *draw(st.lists(SIZES, max_size=2)))
    dtype = draw(dtypes(mixed=False))
    of_parameters = draw(st.sampled_from((dtype, dtype, torch.float32)))
    channel = laid_out((shape[1],), of_parameters)
    affine, running = draw(st.booleans()), draw(st.sampled_from((True, True, False)))
    pair = [draw(channel) if affine else None for _ in range(2)]
    statistics = [draw(channel) if running else None for _ in range(2)]
    return draw(laid_out(shape, dtype)), pair, statistics, draw(st.booleans())


@st.composite
def batch_norm(draw):
    x, pair, statistics, training = draw(batch_norm_operands())
    return (x, *pair, *statistics, training, 0.1, 1e-5), {}


@st.composite
def batch_norm_backward(draw):
    x, (weight, _), running, training = draw(batch_norm_operands())
    dy = draw(laid_out(tuple(x.shape), x.dtype))
    saved_dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    saved = [draw(laid_out((x.shape[1],), saved_dtype)) for _ in range(2)]
    mask = [draw(st.booleans()), draw(st.booleans()), draw(st.booleans())]
    return (dy, x, weight, *running, *saved, training, 1e-5, mask), {}


@st.composite
def layer_norm_operands(draw):
    shape = tuple(draw(st.lists(SIZES, min_size=1, max_size=4)))
    inner = shape[draw(st.integers(0, len(shape) - 1)) :]
    dtype = draw(dtypes(mixed=False))
    parameter = laid_out(inner, draw(st.sampled_from((dtype, dtype, torch.float32))))
    pair = [draw(st.sampled_from((None, draw(parameter)))) for _ in range(2)]
    return draw(laid_out(shape, dtype)), list(inner), *pair


@st.composite
def layer_norm(draw):
    return (*draw(layer_norm_operands()), 1e-5), {}


@st.composite
def layer_norm_backward(draw):
    x, inner, weight, bias = draw(layer_norm_operands())
    dy = draw(laid_out(tuple(x.shape), x.dtype))
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    outer = (*x.shape[: x.dim() - len(inner)], *(1 for _ in inner))
    statistics = (meta(*outer, dtype=dtype), meta(*outer, dtype=dtype))
    mask = [draw(st.booleans()) for _ in range(3)]
    return (dy, x, inner, *statistics, weight, bias, mask), {}


@st.composite
def softmax(draw):
    x = draw(laid_out(draw(SHAPES), draw(dtypes(mixed=False))))
    return (x, draw(st.integers(-1, max(x.dim() - 1, 0))), draw(st.sampled_from((False, True)))), {}


@st.composite
def softmax_backward(draw):
    (dy, y), _ = draw(gradient())
    kept = draw(st.sampled_from((y.dtype, y.dtype, torch.float16)))
    return (dy, y, draw(st.integers(-1, max(y.dim() - 1, 0))), kept), {}


@st.composite
def reduced(draw):
    x = draw(laid_out(draw(SHAPES), draw(dtypes(mixed=False))))
    within = st.integers(-x.dim(), max(x.dim() - 1, 0))
    anything = st.lists(st.integers(-4, 4), max_size=4)
    axes = draw(st.one_of(*[st.lists(within, min_size=1, max_size=2)] * 3, anything))
    dtype = draw(st.sampled_from([{}, {}, {}, {"dtype": torch.float64}]))
    return (x, draw(st.sampled_from((axes, axes, axes, None))), draw(st.booleans())), dtype


@st.composite
def joined(draw):
    shape = draw(st.lists(SIZES, min_size=1, max_size=4))
    axis, dtype = draw(st.integers(0, len(shape) - 1)), draw(dtypes())
    tensors = []
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(("fits",) * 6 + ("empty", "other dtype", "does not fit")))
        sizes = [
            draw(SIZES) if d == axis or kind == "does not fit" else n for d, n in enumerate(shape)
        ]
        if kind == "empty":
            sizes = [0]
        tensors.append(
            draw(laid_out(tuple(sizes), draw(dtypes()) if kind == "other dtype" else dtype))
        )
    return (tensors, draw(st.sampled_from((axis, axis, axis - len(shape), 7)))), {}


CALLS = {
    **dict.fromkeys(
        (
            aten.relu.default, aten.gelu.default, aten.silu.default, aten.hardswish.default,
            aten.hardsigmoid.default, aten.sigmoid.default, aten.tanh.default, aten.exp.default,
            aten.neg.default, aten.sqrt.default, aten.rsqrt.default, aten.silu_.default, aten.hardswish_.default,
        ),
        unary(),
    ),
    **dict.fromkeys((aten.hardtanh.default, aten.hardtanh_.default), unary(0, 6)),
    **dict.fromkeys(
        (aten.add.Scalar, aten.sub.Scalar, aten.mul.Scalar, aten.div.Scalar, aten.pow.Tensor_Scalar),
        with_number(),
    ),
    **dict.fromkeys((aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor), binary()),
    **dict.fromkeys((aten.add_.Tensor, aten.mul_.Tensor), binary(spread=False)),
    **dict.fromkeys(
        (
            aten.silu_backward.default, aten.hardswish_backward.default,
            aten.hardsigmoid_backward.default, aten.sigmoid_backward.default,
            aten.tanh_backward.default,
        ),
        gradient(),
    ),
    aten.gelu_backward.default: gradient(approximate="tanh"),
    aten.threshold_backward.default: gradient(0),
    aten.hardtanh_backward.default: gradient(0, 6),
    aten.clone.default: copied(),
    aten.native_dropout.default: dropout(),
    aten.native_dropout_backward.default: dropout_backward(),
    aten.mm.default: product(2),
    aten.bmm.default: product(3),
    aten.addmm.default: product_and_bias(),
    aten.convolution.default: convolution(),
    aten.convolution_backward.default: convolution_backward(),
    aten.native_batch_norm.default: batch_norm(),
    aten.native_batch_norm_backward.default: batch_norm_backward(),
    aten.native_layer_norm.default: layer_norm(),
    aten.native_layer_norm_backward.default: layer_norm_backward(),
    aten._softmax.default: softmax(),
    aten._log_softmax.default: softmax(),
    aten._softmax_backward_data.default: softmax_backward(),
    aten._log_softmax_backward_data.default: softmax_backward(),
    aten.sum.dim_IntList: reduced(),
    aten.mean.dim: reduced(),
    aten.cat.default: joined(),
}  # fmt: skip
"""Calls of every operator that has a shortcut."""


def described(result, arguments):
    """All that a network can see of what an operator returned."""
    outputs = result if isinstance(result, tuple | list) else (result,)
    storages = [None if y is None else y.untyped_storage()._cdata for y in outputs]
    held = {x.untyped_storage()._cdata for x in arguments}
    return [
        None
        if y is None
        else {
            "shape": tuple(y.shape),
            "stride": y.stride(),
            "dtype": y.dtype,
            "device": y.device.type,
            "offset": y.storage_offset(),
            "bytes": y.untyped_storage().nbytes(),
            "is": next((n for n, x in enumerate(arguments) if x is y), None),
            "shares": storages.index(storage),
            "aliases": storage in held,
        }
        for y, storage in zip(outputs, storages, strict=True)
    ]


def tensors(values):
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list):
            yield from tensors(value)


def test_every_shortcut_is_compared():
    assert set(CALLS) == set(SHORTCUTS)


@pytest.mark.parametrize("func", list(CALLS), ids=str)
def test_a_shortcut_returns_what_the_kernel_does_or_nothing(func):
    answered = 0

    @settings(
        max_examples=80, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(CALLS[func])
    def compare(call):
        nonlocal answered
        arguments, keywords = call
        short = SHORTCUTS[func](*arguments, **keywords)
        if short is None:
            return
        answered += 1
        operands = list(tensors(arguments))
        expected = func(*arguments, **keywords)  # what the kernel refuses has no shortcut
        assert described(short, operands) == described(expected, operands)

    compare()
    assert answered >= 5, f"{answered} of 80 calls were answered: the test shows little"


@pytest.mark.parametrize("func", list(CALLS), ids=str)
def test_what_is_remembered_is_what_the_kernel_says(func, monkeypatch):
    warnings.simplefilter("ignore")  # of numbers that are complex and half as precise
    monkeypatch.setattr(answers, "SHORTCUTS", {})
    step, again, remembered = answers.Answers(), answers._made, 0

    def made(*form):
        nonlocal remembered
        remembered += 1
        return again(*form)

    monkeypatch.setattr(answers, "_made", made)

    @settings(
        max_examples=30, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(CALLS[func])
    def compare(call):
        arguments, keywords = call
        operands = list(tensors(arguments))
        try:
            expected = described(func(*arguments, **keywords), operands)
        except Exception:
            return  # what the kernel refuses it is asked each time
        for _ in range(2):
            result = step.of(func, (), tuple(arguments), keywords)
            assert described(result, operands) == expected

    compare()
    assert remembered if translation_of(func).pure else not remembered


def test_what_is_remembered_tells_numbers_of_different_types_apart():
    x = meta(3, dtype=torch.int64)
    step = answers.Answers()
    for func, number, dtype in (
        (aten.mul.Tensor, 1, torch.int64),
        (aten.mul.Tensor, 1.0, torch.float32),
        (aten.mul.Tensor, True, torch.int64),
        (aten.mul.Tensor, 1.0, torch.float32),
    ):
        assert step.of(func, (), (x, number), {}).dtype == dtype
    before = torch.get_default_dtype()
    try:  # what whole numbers are divided into
        torch.set_default_dtype(torch.float64)
        assert step.of(aten.mul.Tensor, (), (x, 1.0), {}).dtype == (torch.float64)
    finally:
        torch.set_default_dtype(before)


def test_a_view_that_its_operator_calls_none_is_not_remembered():
    x, step = meta(2, 3), answers.Answers()
    for _ in range(3):
        y = step.of(
            aten._unsafe_view.default,
            (),
            (x, [3, 2]),
            {},
        )
        assert y.untyped_storage()._cdata == x.untyped_storage()._cdata
        assert y.shape == (3, 2)


# -- whole networks ----------------------------------------------------------------------------------


def transformer(name, **sizes):
    transformers = pytest.importorskip("transformers")
    configuration = getattr(transformers, f"{name}Config")(**sizes)
    classes = {"Bert": "BertModel", "GPT2": "GPT2LMHeadModel", "Llama": "LlamaForCausalLM"}
    with torch.device("meta"):
        return getattr(transformers, classes[name])(configuration)


NETWORKS = (
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet",
    "mobilenet_v3_small", "regnet_y_400mf", "resnet18", "shufflenet_v2_x0_5",
    "swin_t", "vit_b_16",
)  # fmt: skip
LANGUAGE = {
    "Bert": {"num_hidden_layers": 2},
    "GPT2": {"n_layer": 2},
    "Llama": {
        "num_hidden_layers": 2, "hidden_size": 256, "num_key_value_heads": 8, "vocab_size": 1000
    },
}  # fmt: skip
TRAINING = Workload(mode="training", batch=2, optimizer=optimizer("adam"))


def asked_of_the_kernel(step, func, types, arguments, keywords):
    return func(*arguments, **keywords)


def traced_both_ways(model, workload, examples, monkeypatch):
    """The same step as we answer and as kernels do, and how many calls shortcuts answered."""
    answered = 0

    def counted(shortcut):
        def answer(*arguments, **keywords):
            nonlocal answered
            result = shortcut(*arguments, **keywords)
            answered += result is not None
            return result

        return answer

    def step():
        return trace(model, workload, network="net", source="test", examples=examples)

    counting = {func: counted(shortcut) for func, shortcut in SHORTCUTS.items()}
    monkeypatch.setattr(answers, "SHORTCUTS", counting)
    short = step()
    monkeypatch.setattr(answers.Answers, "of", asked_of_the_kernel)
    return short, step(), answered


@pytest.mark.parametrize("workload", [Workload(batch=2), TRAINING], ids=lambda w: w.mode)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_the_same_program_with_shortcuts_and_without(name, workload, monkeypatch):
    models = pytest.importorskip("torchvision.models")
    warnings.simplefilter("ignore", FutureWarning)  # GoogLeNet's own, of how it is initialised
    build = getattr(models, name)
    if name.startswith("regnet"):
        model = build()  # cannot be built on meta
    else:
        with torch.device("meta"):
            model = build(init_weights=False) if name == "googlenet" else build()
    images = meta(2, 3, 224, 224)
    short, full, answered = traced_both_ways(model, workload, images, monkeypatch)
    assert short == full
    assert answered >= 8  # AlexNet's forward has no more


@pytest.mark.parametrize("workload", [Workload(batch=2), TRAINING], ids=lambda w: w.mode)
@pytest.mark.parametrize("name", LANGUAGE)
def test_a_language_model_is_the_same_program_too(name, workload, monkeypatch):
    tokens = meta(2, 16, dtype=torch.int64)
    short, full, answered = traced_both_ways(
        transformer(name, **LANGUAGE[name]), workload, tokens, monkeypatch
    )
    assert short == full
    assert answered >= 20


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_channels_last_and_half_precision_are_the_same_programs(dtype, monkeypatch):
    models = pytest.importorskip("torchvision.models")
    workload = Workload(mode="training", batch=2, dtype=dtype, optimizer=optimizer("sgd"))
    with torch.device("meta"):
        model = models.resnet18().to(memory_format=torch.channels_last)
    images = meta(2, 3, 64, 64, dtype=getattr(torch, dtype))
    images = images.to(memory_format=torch.channels_last)
    short, full, answered = traced_both_ways(model, workload, images, monkeypatch)
    assert short == full
    assert answered >= 20


def test_a_subclass_of_tensor_answers_for_itself():
    calls = []

    class Logged(torch.Tensor):
        @staticmethod
        def __new__(cls, inner):
            made = torch.Tensor._make_wrapper_subclass(
                cls, inner.shape, dtype=inner.dtype, device=inner.device
            )
            made.inner = inner
            return made

        @classmethod
        def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
            calls.append(func)
            plain = [x.inner if isinstance(x, cls) else x for x in args]
            return cls(func(*plain, **(kwargs or {})))

    trace(
        lambda x: Logged(x).relu().inner, Workload(), network="n", source="s", examples=meta(2, 3)
    )
    assert aten.relu.default in calls


def test_an_operator_that_fails_fails_as_pytorch_has_it():
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(4, 3))
    with pytest.raises(WeighError, match="a and b must have same reduction dim"):
        trace(net, Workload(), network="n", source="s", examples=meta(2, 4))


@pytest.mark.parametrize("implementation", ["single", "foreach"])
@pytest.mark.parametrize("name", list(optimizers.CLASSES))
def test_a_first_step_for_all_of_a_layout_is_the_step_of_each(name, implementation, monkeypatch):
    net = torch.nn.Sequential(  # layouts that occur twice and once, and one shape in two layouts
        torch.nn.Linear(4, 4), torch.nn.Linear(4, 4), torch.nn.Linear(4, 3), torch.nn.Linear(3, 4)
    )
    net[1].weight = torch.nn.Parameter(torch.empty(4, 4).t())
    rule = replace(optimizer(name), implementation=implementation)
    workload = Workload(mode="training", optimizer=rule)

    def step():
        return trace(net, workload, network="n", source="s", examples=meta(2, 4))

    together = step()
    monkeypatch.setattr(optimizers, "_layout", id)
    assert together == step()


def test_nothing_loads_the_compiler():
    """It takes a second and 150 MB, and a network that is only weighed compiles nothing."""
    code = (
        "import sys, torch; from weighbridge.frontends.torch import trace; "
        "from weighbridge.workload import Workload; net = torch.nn.Linear(3, 4); "
        "trace(net, Workload(), network='n', source='s', examples=torch.empty(1, 3)); "
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
