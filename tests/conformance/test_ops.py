"""What every operator's rule must keep to, those that come later included.

The operators of the zoo's networks, and a sample by hand of every kind and special case that no network there
runs: `shapes` says what was recorded, the formula at the sizes is the number, the cost is an honest cost,
gradients have the shape of what they are gradients of. A rule without a sample fails here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from functools import cache

import pytest

from by_hand import run
from weighbridge.analyses.compute import op_costs
from weighbridge.builder import Builder
from weighbridge.dims import BITS
from weighbridge.errors import ShapeError
from weighbridge.frontends import zoo
from weighbridge.ops import Cost, Operator, optimizers, quantisation, rule_of, rules
from weighbridge.program import AttributeValue, Op, Program
from weighbridge.workload import InputSpec, Optimizer, Workload

COUNTS = tuple(entry.name for entry in fields(Cost) if not entry.name.endswith("_bytes"))
NETWORKS = tuple(name for members in zoo.FAMILIES.values() for name in members)

SMALL = {
    "bert-base": ((16,),), "gpt2": ((16,),), "vit_b_16": (), "lenet5": (), "lenet5-1998": (),
    "alexnet-2012": (),
}  # fmt: skip
"""Networks that need another input than a small image to be cheap, or have only one that fits."""


@cache
def program(name: str, batch: int, mode: str) -> Program:
    inputs = tuple(InputSpec(shape=shape) for shape in SMALL.get(name, ((3, 96, 64),)))
    if mode == "inference":
        return zoo.read(name, Workload(batch=batch, inputs=inputs))
    momentum = optimizers.optimizer("sgd", momentum=0.9)
    training = Workload(
        mode="training", batch=batch, inputs=inputs, optimizer=momentum, input_gradient=True
    )
    return zoo.read(name, training)


def by_hand() -> Iterator[Op]:
    """Every kind that the zoo does not run, and the special cases of those that it does."""
    image, vector = (2, 6, 8, 10), (6,)
    # movement
    yield run("copy", image, image)
    yield run("transpose", (2, 3, 4, 5), order=(2, 0, 1, 3))
    # elementwise: of one operand and of two, with a scalar, stretched, and scaled
    for rule in rules():
        if rule.family == "elementwise" and rule.kind != "dropout":
            yield run(rule.kind, image, image) if takes_two(rule.kind) else run(rule.kind, image)
    yield run("add", image, ())
    yield run("add", image, (6, 1, 1), alpha=2)
    yield run("mul", (4, 1, 6), (5, 1))
    # contraction: leading axes of either side, one dimension and three, groups, transposed
    yield run("matmul", (2, 3, 4, 5), (5, 6), (6,))
    yield run("matmul", (2, 3, 4, 5), (2, 3, 5, 6))
    yield run("matmul", (3, 4, 5), (3, 5, 6), (4, 6))
    yield run("matmul", (2, 3, 4, 5), (1, 3, 5, 6))
    yield run("matmul", (2, 1, 4, 5), (3, 5, 6))
    yield run("matmul", (1, 4, 5), (3, 5, 6))
    yield run("matmul", (7, 5), (5, 6), (1, 6))
    yield run("matmul", (7, 5), (5, 6), (7, 6))
    for rank in (1, 2, 3):
        x, w = (2, 6, *(9, 10, 11)[:rank]), (*(3, 2, 4)[:rank],)
        settings = {
            "stride": (2,) * rank, "padding": (1,) * rank, "dilation": (2,) * rank,
            "groups": 2, "transposed": False,
        }  # fmt: skip
        yield run("convolution", x, (4, 3, *w), **settings)
        turned = settings | {"transposed": True, "output_padding": (1,) * rank}
        yield run("convolution", x, (6, 2, *w), (4,), **turned)
        y = run("convolution", x, (6, 2, *w), (4,), **turned).outputs[0].shape
        every = {"mask": (True, True, True)}
        yield run("convolution_backward", y, x, (6, 2, *w), **turned, **every)
        yield run("convolution", x, (6, 5, *w), (5,), **(turned | {"groups": 1}))
    yield run("convolution_over_time", (9, 2, 4), (3, 4, 6), (6,), padding=1)
    yield run("dot", (4, 5), (5,))
    yield run("dot", (2, 4, 5), (5,), (4,))
    yield run("dot", (5,), (5,))
    yield run("outer", (4,), (5,))
    yield run("outer", (4,), (5,), (4, 5))
    yield run("summed_matmul", (3, 4, 5), (3, 5, 6))
    yield run("summed_matmul", (3, 4, 5), (3, 5, 6), (4, 6))
    axes = {"axes_0": (0, 2), "axes_1": (1, 2, 3), "axes_2": (0, 3), "summed": (2, 3)}
    yield run("trilinear", (2, 4), (3, 4, 5), (2, 5), **axes)
    # linear algebra
    for kind in ("cholesky", "lu", "inverse", "determinant", "log_determinant"):
        yield run(kind, (2, 3, 4, 4))
        yield run(kind, (5, 5))
    yield run("solve", (2, 4, 4), (2, 4, 3))
    yield run("solve", (4, 4), (4,), triangular=True)
    yield run("solve", (4, 4), (4, 3), factored=True)
    yield run("solve", (4, 4), (4, 3), cholesky=True)
    for power in (0, 1, 2, 3, float("inf")):
        yield run("distance", (2, 4, 5), (2, 6, 5), power=power)
    yield run("distance", (2, 4, 5), (2, 6, 5), power=2, by_product=True)
    yield run("distance", (7, 5))
    yield run("distance_backward", (2, 4, 6), (2, 4, 5), (2, 6, 5))
    # normalisation: without weights, without running statistics, in groups, over two axes, of vectors
    yield run("batch_norm", image, training=True, affine=False)
    yield run("batch_norm", image, vector, vector, training=True, affine=True)
    yield run("batch_norm", (4, 6), vector, vector, vector, vector, training=False, affine=True)
    yield run("batch_norm", image, vector, vector, training=False, affine=False)
    yield run("layer_norm", image, rank=1)
    yield run("layer_norm", image, (8, 10), (8, 10), rank=2)
    yield run("layer_norm", image, (10,), rank=1)
    yield run("group_norm", image, vector, vector, groups=3)
    yield run("group_norm", image, groups=2)
    rows = (2, 3)
    yield run("group_norm_backward", image, image, rows, rows, vector, vector, groups=3)
    yield run("group_norm_backward", image, image, rows, rows, groups=3)
    for wanted in ((True, False, False), (False, True, False), (False, False, True)):
        for training in (True, False):
            norm = {"training": training, "affine": True, "mask": wanted}
            yield run("batch_norm_backward", image, image, vector, vector, vector, **norm)
        yield run("group_norm_backward", image, image, rows, rows, vector, groups=3, mask=wanted)
        yield run(
            "layer_norm_backward", image, image, (2, 6, 8, 1), (2, 6, 8, 1), (10,), (10,), rank=1, mask=wanted
        )  # fmt: skip
    yield run("weight_norm", (4, 6, 3), (4, 1, 1))
    yield run("weight_norm_backward", (4, 6, 3), (4, 6, 3), (4, 1, 1), (4, 1, 1))
    # pooling: one and three dimensions, hanging over, windows that do not divide the image
    yield run("max_pool", (2, 3, 9), window=(2,), stride=(2,), padding=(0,), ceil_mode=True)
    cube = {"window": (2, 3, 2), "stride": (1, 2, 2), "padding": (1, 1, 0), "ceil_mode": False}
    yield run("average_pool", (2, 3, 8, 9, 10), **cube)
    yield run(
        "average_pool", (2, 3, 7, 9), window=(3, 3), stride=(2, 2), padding=(1, 1), ceil_mode=True
    )
    yield run("adaptive_average_pool", (2, 3, 14, 15), size=(4, 5))
    yield run("adaptive_average_pool", (2, 3, 5), size=(7,))
    yield run("adaptive_average_pool", (3, 8, 6), size=(4, 3))
    yield run("fractional_max_pool", (2, 3, 9, 9), (2, 3, 2), window=(3, 2), size=(4, 5))
    # attention: grouped queries, other keys than queries, a mask, causal with either the longer
    q, k, v = (2, 8, 5, 16), (2, 2, 7, 16), (2, 2, 7, 32)
    yield run("attention", q, k, v, causal=False)
    yield run("attention", q, k, v, (1, 1, 5, 7), causal=False)
    yield run("attention", q, k, v, causal=True)
    yield run("attention", (2, 8, 9, 16), k, v, causal=True)
    yield run("attention", (8, 5, 16), (8, 7, 16), (8, 7, 16), (5, 7), causal=False)
    same = (2, 8, 5, 16)
    yield run(
        "attention_backward",
        same,
        same,
        (2, 8, 7, 16),
        (2, 8, 7, 16),
        same,
        (2, 8, 5),
        causal=False,
    )
    for causal in (False, True):
        yield run(
            "attention_backward", (2, 8, 5, 32), q, k, v, (2, 8, 5, 32), (2, 8, 5), causal=causal
        )
    # reduction and loss
    for kind in ("sum", "mean", "extreme", "variance", "product", "norm", "logsumexp"):
        yield run(kind, image)
        yield run(kind, image, axes=(1, 3), keep=True)
    for kind in ("running_sum", "running_product", "running_extreme", "running_logsumexp"):
        yield run(kind, image, axis=2)
        yield run(kind, image, axes=(0,))
    for kind in ("softmax", "log_softmax"):
        yield run(kind, image, axis=-1)
        yield run(f"{kind}_backward", image, image, axis=1)
    yield run("nll_loss", image, (2, 8, 10))
    for kind in (
        "mse_loss",
        "smooth_l1_loss",
        "huber_loss",
        "binary_cross_entropy",
        "soft_margin_loss",
    ):
        yield run(kind, image, image, mean=True)
        yield run(f"{kind}_backward", (), image, image)
    yield run("binary_cross_entropy_with_logits", image, image, mean=True)
    yield run("multi_margin_loss", (4, 6), (4,), mean=True)
    yield run("multi_margin_loss_backward", (), (4, 6), (4,))
    yield run("ctc_loss", (7, 2, 5), (2, 3))
    yield run("ctc_loss", (7, 2, 5), (5,), longest=3)
    yield run("ctc_loss_backward", (2,), (7, 2, 5), (2, 3), (2,), (2, 7, 7))
    # embedding and indexing
    yield run("embedding", (100, 8), (2, 5))
    yield run("embedding_bag", (100, 8), (20,), (4,))
    yield run("embedding_bag", (100, 8), (20,), (5,), (20,), ends=True, mean=True)
    yield run("embedding_bag", (100, 8), (20,), (4,), largest=True)
    yield run("embedding_bag_backward", (4, 8), (20,), rows=100, mean=True)
    yield run("embedding_bag_backward", (4, 8), (20,), rows=100, largest=True)
    yield run("embedding_bag_weights_backward", (4, 8), (100, 8), (20,), (4,), (20,))
    yield run("scatter", image, (2, 6, 8, 3), (2, 6, 8, 3), multiplies=True)
    yield run("histogram", image, bins=7)
    yield run("fold", (2, 6, 9), shape=(2, 6, 5))
    yield run("scatter", image, (2, 6, 8, 3), (2, 6, 8, 3), adds=True)
    yield run("scatter", image, (2, 6, 8, 3), (2, 6, 8, 3), compares=True)
    yield run("scatter", image, (2, 6, 8, 3), written=2 * 6 * 8 * 3)
    yield run("sort", image, flat=True)
    yield run("scatter", image, (5,), (5, 6, 8, 10))
    yield run("sort", image, axis=2)
    yield run("sort", image, axis=-1, k=3)
    yield run("search", (2, 100), (2, 7))
    # resampling and spectra
    for mode in ("nearest", "bilinear", "bicubic"):
        yield run("upsample", image, size=(16, 20), mode=mode)
        yield run("upsample_backward", (2, 6, 16, 20), shape=image, mode=mode)
        yield run("grid_sample", image, (2, 5, 4, 2), mode=mode)
        yield run("grid_sample_backward", (2, 6, 5, 4), image, (2, 5, 4, 2), mode=mode)
    for mode in ("bilinear", "bicubic"):
        yield run("smooth_upsample", image, size=(3, 20), mode=mode)
        yield run("smooth_upsample_backward", (2, 6, 3, 20), shape=image, mode=mode)
    yield run("affine_grid", (2, 2, 3), image=(5, 6))
    yield run("upsample", (2, 6, 8), size=(13,), mode="linear")
    # detection
    yield run("nonzero", image)
    yield run("torchvision.nms", (20, 4), (20,), iou_threshold=0.5)
    bins = {"pooled_height": 7, "pooled_width": 5, "sampling_ratio": 2}
    yield run("torchvision.roi_align", image, (20, 5), **bins)
    origin = {"batch_size": 2, "channels": 6, "height": 8, "width": 10}
    yield run("torchvision._roi_align_backward", (20, 6, 7, 5), (20, 5), **origin, **bins)
    offsets, mask = (2, 18, 8, 10), (2, 9, 8, 10)
    deformable = {"groups": 1, "use_mask": True}
    yield run("torchvision.deform_conv2d", image, (4, 6, 3, 3), offsets, mask, (4,), **deformable)
    operands = (image, (4, 6, 3, 3), offsets, mask, (4,))
    yield run("torchvision._deform_conv2d_backward", (2, 4, 8, 10), *operands, **deformable)
    grid = {"pooled_height": 3, "pooled_width": 2}
    for way, channels in (("roi", 6), ("ps_roi", 1)):
        read, turned = (20, channels, 3, 2), {**origin, **grid}
        yield run(f"torchvision.{way}_pool", image, (20, 5), **grid)
        yield run(f"torchvision._{way}_pool_backward", read, (20, 5), read, **turned)
    yield run("torchvision.ps_roi_align", image, (20, 5), **grid, sampling_ratio=2)
    yield run("torchvision._ps_roi_align_backward", read, (20, 5), read, **turned, sampling_ratio=2)
    yield run("grid_sample", (2, 6, 4, 5, 6), (2, 3, 4, 5, 3), mode="bilinear")
    yield run("adaptive_max_pool", image, size=(3, 4))
    yield run("adaptive_max_pool", (2, 6, 8), size=(1,))
    yield run("fourier_transform", image, axes=(2, 3), shape=image, dtype="complex64")
    yield run(
        "fourier_transform", image, axes=(3,), shape=(2, 6, 8, 6), real=True, dtype="complex64"
    )
    # quantisation
    for observed in (False, True):
        yield run("quantise", image, dtype="quint8", observed=observed)
        yield run("fake_quantise", image, observed=observed)
    yield run("dequantise", image)
    for dynamic in (False, True):
        yield run("quantised_linear", (2, 7, 6), (5, 6), (5,), dynamic=dynamic)
    whole = {
        "stride": (1, 1),
        "padding": (1, 1),
        "dilation": (1, 1),
        "groups": 2,
        "transposed": False,
    }
    yield run("quantised_convolution", image, (4, 3, 3, 3), (4,), **whole)
    yield run("quantised_convolution", image, (4, 3, 3, 3), (4,), (2, 4, 8, 10), **whole, onto=True)
    for plain in quantisation.ELEMENTWISE:
        operands = (image, image) if plain in ("add", "mul", "concatenate") else (image,)
        axis = {"axis": 1} if plain == "concatenate" else {}
        yield run(f"quantised_{plain}", *operands, **axis)
    # experts
    yield run("grouped_matmul", (32, 16), (4, 16, 24), (4,))
    yield run("grouped_matmul", (16, 32), (32, 24), (4,))
    # recurrent networks: both ways and projected, packed, with their biases and without
    for kind, gates in (("lstm", 4), ("gru", 3), ("rnn", 1)):
        yield from recurrent(kind, gates)
    # one update of a matrix and of a vector by every optimizer
    for name in (*optimizers.UPDATES, *optimizers.SYNONYMS):
        yield from updates(optimizers.optimizer(name))
    yield from updates(optimizers.optimizer("sgd", momentum=0.9, nesterov=True))
    # of both at once, in one kernel
    matrix, vector = (128, 64), (64,)
    yield run("unscale", (7, 5), (5,), (), ())
    for name in optimizers.FUSED:
        yield run(f"fused_{name}_update", *(matrix, vector) * 3, parameters=2)
        yield run(f"fused_{name}_update", *(matrix,) * 4, parameters=1, scaled=True)


def recurrent(kind: str, gates: int) -> Iterator[Op]:
    """Two layers both ways, one layer for inference, and one without biases, packed."""
    x, state, wide = (2, 7, 6), (4, 2, 5), gates * 5
    states = 2 if kind == "lstm" else 1
    settings: dict[str, AttributeValue] = {
        "hidden": 5, "layers": 2, "directions": 2, "bias": True, "projection": 0, "batch_first": True,
        "dropout": True, "training": True, "nonlinearity": "tanh",
    }  # fmt: skip
    weights = tuple(
        shape
        for inputs in (6, 6, 10, 10)
        for shape in ((wide, inputs), (wide, 5), (wide,), (wide,))
    )
    operands = (x, *(state,) * states, *weights)
    yield run(kind, *operands, **settings)
    for wanted in (True, False):  # all gradients, or those of the weights alone
        mask = (wanted,) * (1 + states) + (True,) * len(weights)
        back = {**settings, "mask": mask}
        yield run(f"{kind}_backward", *operands, (2, 7, 10), (7,), (2, 7, 10), **back)
    one = {**settings, "layers": 1, "directions": 1, "batch_first": False, "training": False}
    yield run(kind, (7, 2, 6), *((1, 2, 5),) * states, *weights[:4], **one)
    bare = {**one, "bias": False, "nonlinearity": "relu"}
    if kind != "lstm":
        yield run(kind, (11, 6), (1, 2, 5), *weights[:2], **bare)
        return
    projected = ((20, 6), (20, 3), (3, 5))
    yield run(kind, (11, 6), (1, 2, 3), (1, 2, 5), *projected, **{**bare, "projection": 3})


def takes_two(kind: str) -> bool:
    """Whether an elementwise kind is sampled with two operands."""
    return kind.endswith("_backward") or kind in ("add", "sub", "mul", "div", "extremum", "compare")


def updates(chosen: Optimizer) -> Iterator[Op]:
    for shape in ((128, 64), (64,)):
        states = optimizers.optimizer_states(chosen, shape)
        op = run(
            f"{chosen.name}_update",
            shape,
            shape,
            *(state.shape for state in states),
            **dict(chosen.settings),
        )
        held = tuple(
            replace(tensor, dtype=state.dtype)
            for tensor, state in zip(op.inputs[2:], states, strict=True)
        )
        inputs = (*op.inputs[:2], *held)
        yield replace(op, inputs=inputs, outputs=(op.inputs[0], *held))


@cache
def samples() -> dict[str, tuple[Op, ...]]:
    """Distinct operators by kind: those by hand, then those of the zoo in inference and training."""
    found: dict[object, Op] = {}
    for op in by_hand():
        found.setdefault(signature(op), op)
    for name in NETWORKS:
        for mode in ("inference", "training"):
            for op in program(name, 2, mode).ops:
                found.setdefault(signature(op), op)
    kinds: dict[str, list[Op]] = {}
    for op in found.values():
        kinds.setdefault(op.kind, []).append(op)
    return {kind: tuple(ops) for kind, ops in kinds.items()}


def signature(op: Op) -> object:
    return (op.kind, tuple((t.shape, t.dtype) for t in op.inputs), tuple(op.attributes.items()))


def rule(op: Op) -> Operator:
    found = rule_of(op.kind)
    assert found is not None
    return found


KINDS = tuple(entry.kind for entry in rules())


def test_every_rule_has_a_sample_and_every_sample_a_rule() -> None:
    assert set(samples()) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_rule_says_what_it_takes_and_how_it_counts(kind: str) -> None:
    found = rule_of(kind)
    assert found is not None
    text = type(found).__doc__ or ""
    assert "Shapes:" in text
    assert "Counts:" in text
    assert found.summary
    assert not found.summary.startswith(" ")


@pytest.mark.parametrize("kind", KINDS)
def test_the_rules_shapes_and_dtypes_are_those_recorded(kind: str) -> None:
    for op in samples()[kind]:
        assert rule(op).shapes(op) == tuple(tensor.shape for tensor in op.outputs)
        assert rule(op).dtypes(op) == tuple(tensor.dtype for tensor in op.outputs)
        assert all(tensor.dtype in BITS for tensor in op.outputs)


@pytest.mark.parametrize("kind", KINDS)
def test_the_formula_at_the_sizes_is_the_number(kind: str) -> None:
    for op in few_of_each_form(samples()[kind]):
        cost, formulas = rule(op).cost(op), rule(op).formulas(op)
        expected = {name: getattr(cost, name) for name in COUNTS} | {"flops": cost.flops}
        found = {name: formulas[name].value if name in formulas else 0 for name in expected}
        assert found == expected, (op.kind, [tensor.shape for tensor in op.inputs])


def few_of_each_form(ops: tuple[Op, ...]) -> Iterator[Op]:
    """Two sizes of each form of formula: equal names of axes and equal attributes make an equal formula."""
    taken: dict[object, int] = {}
    for op in ops:
        form = (rule(op).axes(op), tuple(op.attributes.items()))
        taken[form] = taken.get(form, 0) + 1
        if taken[form] <= 2:
            yield op


@pytest.mark.parametrize("kind", KINDS)
def test_a_cost_is_whole_and_never_negative(kind: str) -> None:
    for op in samples()[kind]:
        cost = rule(op).cost(op)
        for entry in fields(Cost):
            value = getattr(cost, entry.name)
            assert isinstance(value, int)
            assert value >= 0, (entry.name, op)
        assert cost.multiplications >= cost.macs


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_have_the_shapes_of_what_they_are_gradients_of(kind: str) -> None:
    for op in samples()[kind][:40]:
        if op.phase != "forward" or kind.endswith(("_backward", "_update")) or not op.inputs:
            continue
        net = Builder(Workload(mode="training"))
        held = [
            net.parameter(f"p{place}", tensor.shape)
            if tensor.dtype == "float32" and (kind, place) not in WHOLE
            else net.input(tensor.shape, dtype="int64", name=f"i{place}")
            for place, tensor in enumerate(op.inputs)
        ]
        y = net.op(op.kind, *held, **op.attributes)[0]
        if y.dtype != "float32":
            continue
        if kind in NO_BACKWARD:
            with pytest.raises(ShapeError, match=f"operator '{kind}' has no backward rule"):
                net.backward(net.op("mean", y)[0])
            continue
        gradients = net.backward(net.op("mean", y)[0])
        wanted = {tensor.id: tensor.shape for tensor in held if tensor.role == "parameter"}
        if kind in ("batch_norm",):  # running statistics have no gradient
            wanted = dict(list(wanted.items())[: 3 if op.flag("affine") else 1])
        if kind == "attention":  # nor has the mask
            wanted = dict(list(wanted.items())[:3])
        assert {id: gradient.shape for id, gradient in gradients.items()} == wanted, op


WHOLE = {("embedding", 1), ("nll_loss", 1), ("fractional_max_pool", 1)}
"""Operands that are whole numbers, or places, which have no gradient: (kind, place)."""

NO_BACKWARD = {
    "unscale",
    "affine_grid", "angle", "cholesky", "complex", "cross", "determinant", "distance", "dot", "fold", "hardshrink",
    "histogram", "inverse", "log_determinant", "logit", "logsumexp", "lu", "modulus", "outer", "polar",
    "running_logsumexp", "smooth_upsample", "softshrink", "solve", "summed_matmul", "trilinear",
    "convolution_over_time", "addcdiv", "addcmul", "bits", "clamp_min", "copy", "elu", "embedding_bag", "extreme", "extremum", "gather", "glu",
    "grouped_matmul", "nonzero", "scatter", "sort", "torchvision.deform_conv2d", "torchvision.roi_align",
    "torchvision.roi_pool", "torchvision.ps_roi_align", "torchvision.ps_roi_pool",
    "quantise", "dequantise", "fake_quantise", "quantised_linear", "quantised_convolution",
    *(f"quantised_{plain}" for plain in quantisation.ELEMENTWISE),
    "group_norm", "lerp", "mish", "negative", "norm", "mse_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy", "soft_margin_loss",
    "binary_cross_entropy_with_logits", "multi_margin_loss", "ctc_loss", "prelu", "product",
    "remainder", "round", "rsqrt", "running_extreme", "running_product", "running_sum", "softplus", "square", "transcendental", "variance", "where",
}  # fmt: skip
"""Kinds that only PyTorch runs, which brings its own backward operators: refused, never taken for free."""


@pytest.mark.parametrize(
    "op",
    [
        run("matmul", (4, 0), (0, 6)),
        run("dot", (4, 0), (0,)),
        run("sum", (4, 0), axes=(1,)),
        run("mean", (4, 0), axes=(1,)),
        run("determinant", (2, 0, 0)),
        run("log_determinant", (2, 0, 0)),
        run("layer_norm_backward", (3, 0), (3, 0), (3, 1), (3, 1), (0,), (0,), rank=1),
        run("mse_loss", (0, 4), (0, 4)),
    ],
    ids=lambda op: op.kind,
)
def test_nothing_takes_no_arithmetic(op: Op) -> None:
    assert rule(op).arithmetic(op) == Cost()


@pytest.mark.parametrize("name", NETWORKS)
def test_twice_the_batch_is_twice_the_forward_macs(name: str) -> None:
    def forward_macs(batch: int, mode: str) -> int:
        found = program(name, batch, mode)
        costs = zip(found.ops, op_costs(found), strict=True)
        return sum(cost.macs for op, cost in costs if cost and op.phase == "forward")

    assert forward_macs(2, "inference") == 2 * forward_macs(1, "inference")
    assert forward_macs(2, "training") == 2 * forward_macs(1, "training")


def test_adaptive_windows_that_overlap_are_added_up_one_by_one() -> None:
    # 14 in 4 places: [0,4) [3,7) [7,11) [10,14) = 16 a row and 16 rows; 4 * 4 means
    op = run("adaptive_average_pool", (1, 1, 14, 14), size=(4, 4))
    cost = rule(op).cost(op)
    assert (cost.additions, cost.divisions) == (16 * 16 - 16, 16)
    # backward: every output's share goes to each element of its window
    back = run("adaptive_average_pool_backward", (1, 1, 4, 4), (1, 1, 14, 14))
    assert (rule(back).cost(back).additions, rule(back).cost(back).divisions) == (16 * 16, 16)
