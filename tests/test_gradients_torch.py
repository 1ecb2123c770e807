"""Every differentiable function of torch.nn.functional, forward and backward: counted, or named with the reason."""

import inspect
import warnings

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402

import weighbridge  # noqa: E402
from weighbridge.frontends.torch import trace  # noqa: E402
from weighbridge.workload import InputSpec, Workload  # noqa: E402

pytestmark = pytest.mark.torch


def x(*shape, dtype=None):
    """A tensor without data that wants a gradient, where its dtype can have one."""
    floats = dtype is None or dtype.is_floating_point or dtype.is_complex
    return torch.empty(shape, dtype=dtype, device="meta", requires_grad=floats)


def of(function, *operands, **settings):
    """A call of a function with tensors of these shapes; other operands are as given."""

    def call():
        made = (x(*each) if isinstance(each, tuple) else each for each in operands)
        return function(*made, **settings)

    return call


def whole(*shape):
    return torch.zeros(shape, dtype=torch.int64, device="meta")


IMAGE, VOLUME, SIGNAL, ROW = (2, 4, 8, 8), (2, 4, 6, 6, 6), (2, 4, 9), (3, 5)

ELEMENTWISE = (
    "celu", "elu", "gelu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "logsigmoid", "mish",
    "relu", "relu6", "rrelu", "selu", "sigmoid", "silu", "softplus", "softshrink", "softsign", "tanh", "tanhshrink",
    "alpha_dropout", "dropout", "feature_alpha_dropout", "normalize", "glu",
)  # fmt: skip

CALLS = {
    **{name: of(getattr(F, name), (4, 6)) for name in ELEMENTWISE},
    "threshold": lambda: F.threshold(x(*ROW), 0.1, 0.0),
    "prelu": lambda: F.prelu(x(2, 4, 5), x(4)),
    "softmax": lambda: F.softmax(x(*ROW), -1),
    "softmin": lambda: F.softmin(x(*ROW), -1),
    "log_softmax": lambda: F.log_softmax(x(*ROW), -1),
    "gumbel_softmax": lambda: F.gumbel_softmax(x(*ROW)),
    "dropout1d": lambda: F.dropout1d(x(*SIGNAL)),
    "dropout2d": lambda: F.dropout2d(x(*IMAGE)),
    "dropout3d": lambda: F.dropout3d(x(*VOLUME)),
    # contractions
    "linear": lambda: F.linear(x(2, 3, 5), x(4, 5), x(4)),
    "bilinear": lambda: F.bilinear(x(3, 5), x(3, 4), x(2, 5, 4), x(2)),
    "conv1d": lambda: F.conv1d(x(*SIGNAL), x(6, 4, 3), x(6)),
    "conv2d": lambda: F.conv2d(x(*IMAGE), x(6, 2, 3, 3), x(6), groups=2, dilation=2),
    "conv3d": lambda: F.conv3d(x(*VOLUME), x(6, 4, 3, 3, 3), x(6)),
    "conv_transpose1d": lambda: F.conv_transpose1d(x(*SIGNAL), x(4, 6, 3), x(6)),
    "conv_transpose2d": lambda: F.conv_transpose2d(x(*IMAGE), x(4, 3, 3, 3), x(6), groups=2),
    "conv_transpose3d": lambda: F.conv_transpose3d(x(*VOLUME), x(4, 6, 3, 3, 3), x(6)),
    "conv_tbc": lambda: F.conv_tbc(x(9, 2, 4), x(3, 4, 6), x(6)),
    "scaled_dot_product_attention": lambda: F.scaled_dot_product_attention(
        x(2, 3, 5, 8), x(2, 3, 7, 8), x(2, 3, 7, 8)
    ),
    "multi_head_attention_forward": lambda: F.multi_head_attention_forward(
        x(5, 2, 8), x(7, 2, 8), x(7, 2, 8), 8, 2, x(24, 8), x(24), None, None, False, 0.0, x(8, 8), x(8)
    )[0],
    # normalisation
    "batch_norm": lambda: F.batch_norm(x(*IMAGE), None, None, x(4), x(4), training=True),
    "instance_norm": lambda: F.instance_norm(x(*IMAGE), weight=x(4), bias=x(4)),
    "layer_norm": lambda: F.layer_norm(x(2, 3, 5), (3, 5), x(3, 5), x(3, 5)),
    "rms_norm": lambda: F.rms_norm(x(2, 3, 5), (5,), x(5)),
    "group_norm": lambda: F.group_norm(x(*IMAGE), 2, x(4), x(4)),
    "local_response_norm": lambda: F.local_response_norm(x(*IMAGE), 3),
    # pooling
    **{
        f"{kind}_pool{rank}d": of(getattr(F, f"{kind}_pool{rank}d"), shape, 2)
        for rank, shape in ((1, SIGNAL), (2, IMAGE), (3, VOLUME))
        for kind in ("max", "avg", "adaptive_max", "adaptive_avg")
    },
    **{
        f"lp_pool{rank}d": of(getattr(F, f"lp_pool{rank}d"), shape, 2, 2)
        for rank, shape in ((1, SIGNAL), (2, IMAGE), (3, VOLUME))
    },
    "fractional_max_pool2d": lambda: F.fractional_max_pool2d(x(*IMAGE), 2, output_size=3),
    "max_unpool1d": lambda: F.max_unpool1d(x(2, 4, 4), whole(2, 4, 4), 2),
    "max_unpool2d": lambda: F.max_unpool2d(x(2, 4, 4, 4), whole(2, 4, 4, 4), 2),
    "max_unpool3d": lambda: F.max_unpool3d(x(2, 4, 3, 3, 3), whole(2, 4, 3, 3, 3), 2),
    # resampling and windows
    **{
        f"interpolate {mode}": of(F.interpolate, shape, scale_factor=2, mode=mode)
        for mode, shape in (
            ("nearest", IMAGE), ("nearest-exact", IMAGE), ("linear", SIGNAL), ("bilinear", IMAGE), ("bicubic", IMAGE),
            ("trilinear", VOLUME), ("area", IMAGE),
        )
    },
    "interpolate antialias": lambda: F.interpolate(
        x(*IMAGE), size=(4, 5), mode="bicubic", antialias=True
    ),
    "grid_sample": lambda: F.grid_sample(x(*IMAGE), x(2, 5, 6, 2), align_corners=False),
    "grid_sample 3d": lambda: F.grid_sample(x(*VOLUME), x(2, 5, 6, 3, 3), align_corners=False),
    "affine_grid": lambda: F.affine_grid(x(2, 2, 3), (2, 3, 5, 6), align_corners=False),
    "unfold": lambda: F.unfold(x(*IMAGE), 3),
    "fold": lambda: F.fold(x(2, 36, 36), (8, 8), 3),
    "pixel_shuffle": lambda: F.pixel_shuffle(x(*IMAGE), 2),
    "pixel_unshuffle": lambda: F.pixel_unshuffle(x(*IMAGE), 2),
    "channel_shuffle": lambda: F.channel_shuffle(x(*IMAGE), 2),
    **{
        f"pad {mode}": of(F.pad, IMAGE, pad=(1, 2, 2, 1), mode=mode)
        for mode in ("constant", "reflect", "replicate", "circular")
    },
    # embeddings
    "embedding": lambda: F.embedding(whole(2, 5), x(10, 4), padding_idx=1, scale_grad_by_freq=True),
    "embedding_bag": lambda: F.embedding_bag(
        whole(2, 5), x(10, 4), mode="sum", per_sample_weights=x(2, 5)
    ),
    # distances and losses
    "cosine_similarity": lambda: F.cosine_similarity(x(*ROW), x(*ROW)),
    "pairwise_distance": lambda: F.pairwise_distance(x(*ROW), x(*ROW)),
    "pdist": lambda: F.pdist(x(*ROW)),
    "cross_entropy": lambda: F.cross_entropy(x(3, 5), whole(3), label_smoothing=0.1),
    "cross_entropy of probabilities": lambda: F.cross_entropy(x(3, 5), x(3, 5)),
    "cross_entropy of an image": lambda: F.cross_entropy(x(2, 4, 8, 8), whole(2, 8, 8)),
    "linear_cross_entropy": lambda: F.linear_cross_entropy(x(3, 5), x(7, 5), whole(3)),
    "nll_loss": lambda: F.nll_loss(x(3, 5), whole(3)),
    "multi_margin_loss": lambda: F.multi_margin_loss(x(3, 5), whole(3)),
    "multilabel_margin_loss": lambda: F.multilabel_margin_loss(x(3, 5), whole(3, 5)),
    **{
        name: of(getattr(F, name), ROW, torch.empty(ROW, device="meta"))
        for name in (
            "binary_cross_entropy", "binary_cross_entropy_with_logits", "hinge_embedding_loss", "huber_loss", "kl_div",
            "l1_loss", "mse_loss", "multilabel_soft_margin_loss", "poisson_nll_loss", "smooth_l1_loss",
            "soft_margin_loss",
        )
    },
    "cosine_embedding_loss": lambda: F.cosine_embedding_loss(x(*ROW), x(*ROW), whole(3)),
    "margin_ranking_loss": lambda: F.margin_ranking_loss(x(5), x(5), whole(5)),
    "triplet_margin_loss": lambda: F.triplet_margin_loss(x(*ROW), x(*ROW), x(*ROW)),
    "triplet_margin_with_distance_loss": lambda: F.triplet_margin_with_distance_loss(
        x(*ROW), x(*ROW), x(*ROW)
    ),
}  # fmt: skip

WITH_DATA = {
    "ctc_loss": lambda rows: F.ctc_loss(
        rows.transpose(0, 1).log_softmax(-1), torch.ones(2, 3, dtype=torch.int64), torch.tensor([7, 7]),
        torch.tensor([3, 2]),
    ),
    "gaussian_nll_loss": lambda rows: F.gaussian_nll_loss(rows, rows, rows.abs() + 1),
    "fractional_max_pool3d": lambda rows: F.fractional_max_pool3d(
        rows.reshape(2, 1, 7, 3, 2), (2, 1, 1), output_size=(3, 2, 1)
    ),
    "multi_margin_loss backward": lambda rows: F.multi_margin_loss(
        rows.flatten(1), torch.tensor([1, 0])
    ),
}  # fmt: skip
"""What asks for values, or has no kernel without data: of rows (2, 7, 6)."""

UNCOUNTED = {
    "multilabel_margin_loss": "how many classes are compared is in the targets' values",
}
"""Functions with an operator that is named as not counted, and why."""

NO_BACKWARD_WITHOUT_DATA = {"multi_margin_loss", "multilabel_margin_loss"}

NOT_HERE = {
    "adaptive_max_pool1d_with_indices", "adaptive_max_pool2d_with_indices", "adaptive_max_pool3d_with_indices",
    "max_pool1d_with_indices", "max_pool2d_with_indices", "max_pool3d_with_indices",
    "fractional_max_pool2d_with_indices", "fractional_max_pool3d_with_indices",  # the others call these
    "upsample", "upsample_bilinear", "upsample_nearest", "interpolate", "pad",  # interpolate and pad by their modes
    "one_hot", "assert_int_or_pair", "boolean_dispatch", "has_torch_function", "has_torch_function_unary",
    "has_torch_function_variadic", "handle_torch_function", "grouped_mm", "scaled_grouped_mm", "scaled_mm",
    "native_channel_shuffle", "feature_dropout",
}  # fmt: skip


def functions():
    """The public functions of torch.nn.functional, in-place ones apart."""
    for name, value in vars(F).items():
        private = name.startswith("_") or name.endswith("_") or inspect.isclass(value)
        typing = getattr(value, "__module__", None) == "typing"
        if not (private or typing) and callable(value) and name not in NOT_HERE:
            yield name


def test_every_function_is_here():
    named = {name.split()[0] for name in (*CALLS, *WITH_DATA)}
    assert set(functions()) - named == set()


@pytest.mark.parametrize("name", CALLS)
def test_a_gradient_is_counted(name):
    with warnings.catch_warnings(), weighbridge.scale() as scale:
        warnings.simplefilter("ignore")  # PyTorch's own, about reductions and lazily made masks
        y = CALLS[name]()
        y.sum()
        if name not in NO_BACKWARD_WITHOUT_DATA:
            y.backward(torch.empty_like(y))
    found = scale.report().compute
    uncounted = [entry.op for entry in found.uncounted]
    assert bool(uncounted) == (name in UNCOUNTED), uncounted
    assert all(
        getattr(cost, count) >= 0
        for cost in (found.forward, found.backward)
        for count in ("macs", "multiplications", "additions", "comparisons", "read_bytes")
    )
    if name not in NO_BACKWARD_WITHOUT_DATA:
        assert found.backward.traffic_bytes > 0


@pytest.mark.parametrize("name", WITH_DATA)
def test_a_gradient_is_counted_on_data(name):
    workload = Workload(
        inputs=(InputSpec(shape=(7, 6)),), batch=2, mode="training", loss="mean", input_gradient=True
    )  # fmt: skip
    program = trace(WITH_DATA[name], workload, network="net", source="test")
    found = weighbridge.analyses.compute.compute(program)
    assert (program.rung, program.complete, found.uncounted) == ("real", True, ())
