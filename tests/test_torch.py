"""The PyTorch frontend: what is recorded of a step, and that the user's module never notices."""

import contextlib
import copy
import gc
import random
import warnings
from collections import Counter
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from weighbridge.analyses.compute import compute, op_costs  # noqa: E402
from weighbridge.analyses.memory.timeline import timeline  # noqa: E402
from weighbridge.analyses.parameters import parameters  # noqa: E402
from weighbridge.errors import UsageError, WeighError  # noqa: E402
from weighbridge.frontends.torch import trace  # noqa: E402
from weighbridge.frontends.torch.recording import Recorder  # noqa: E402
from weighbridge.ops import Cost, rule_of  # noqa: E402
from weighbridge.ops.optimizers import UPDATES, optimizer  # noqa: E402
from weighbridge.program import Program  # noqa: E402
from weighbridge.workload import InputSpec, Optimizer, Workload  # noqa: E402

pytestmark = pytest.mark.torch


def traced(model, *shapes, dtype=None, examples=None, **settings):
    inputs = tuple(InputSpec(shape=shape, dtype=dtype) for shape in shapes)
    workload = Workload(inputs=inputs, **settings)
    return trace(model, workload, network="net", source="test", examples=examples)


def kinds(program, phase="forward"):
    return [op.kind for op in program.phase(phase)]


def conv_net():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * 4 * 4, 10),
    )


# -- what is recorded ------------------------------------------------------------------------------


def test_a_small_network_operator_by_operator():
    program = traced(conv_net(), (3, 16, 16), batch=2)
    assert kinds(program) == [
        "convolution", "batch_norm", "relu", "max_pool", "reshape", "transpose", "matmul"
    ]  # fmt: skip
    assert [op.scope for op in program.ops] == ["0", "1", "2", "3", "4", "5", "5"]
    # 2 images, 8 kernels of 3x3x3 on 8x8 places; 2 rows of 128 inputs to 10 outputs
    assert compute(program).forward.macs == 2 * 8 * 27 * 8 * 8 + 2 * 128 * 10
    assert compute(program).uncounted == ()
    assert (program.rung, program.frontend, program.complete) == ("meta", "torch", True)
    (y,) = program.outputs
    assert y.shape == (2, 10)
    assert y is program.ops[-1].outputs[0]


def test_modules_have_their_class_and_what_their_repr_says():
    program = traced(conv_net(), (3, 16, 16))
    found = {module.scope: module for module in program.modules}
    assert list(found) == ["", "0", "1", "2", "3", "4", "5"]
    assert found["0"].kind == "Conv2d"
    assert found["0"].detail == "3, 8, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1)"


def test_roles_in_a_training_step():
    program = traced(conv_net(), (3, 16, 16), batch=2, mode="training", optimizer=optimizer("adam"))
    roles = {}
    for tensor in program.tensors:
        roles.setdefault(tensor.role, []).append(tensor)
    # convolution and fully connected layer have weight and bias, so has batch norm
    assert {t.name for t in program.parameters} == {
        "0.weight", "0.bias", "1.weight", "1.bias", "5.weight", "5.bias"
    }  # fmt: skip
    assert {t.name for t in program.buffers} == {
        "1.running_mean", "1.running_var", "1.num_batches_tracked"
    }  # fmt: skip
    assert [t.name for t in roles["input"]] == ["input", "targets"]
    # Adam keeps two tensors a parameter
    assert len({t.storage for t in roles["optimizer_state"]}) == 12
    assert "0.weight.exp_avg" in {t.name for t in roles["optimizer_state"]}
    # batch norm's mean and deviation, the pool's indices, the loss' total weight
    saved = Counter(t.shape for t in roles["saved"])
    assert saved == {(8,): 2, (2, 8, 4, 4): 1, (): 1}
    (norm,) = [op for op in program.ops if op.kind == "batch_norm"]
    (back,) = [op for op in program.ops if op.kind == "batch_norm_backward"]
    assert back.inputs[1:] == (norm.inputs[0], norm.inputs[1], *norm.outputs[1:])
    gradients = {t.storage for t in roles["gradient"]}
    assert len(gradients) == 6
    updated = [op for op in program.phase("update") if op.kind == "lerp"]
    assert {t.storage for op in updated for t in op.inputs[1:2]} == gradients


def test_backward_operators_have_the_scope_of_their_forward_module():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(4, 4, 1)
            self.second = nn.Conv2d(4, 4, 1)

        def forward(self, x):
            return self.second(torch.relu(self.first(x))) + x

    program = traced(nn.Sequential(Block(), Block()), (4, 5, 5), mode="training")
    backward = list(program.phase("backward"))
    assert [op.scope for op in backward if op.kind == "convolution_backward"] == [
        "1.second", "1.first", "0.second", "0.first"
    ]  # fmt: skip
    # relu stands between its two modules, in the block itself
    assert [op.scope for op in backward if op.kind == "threshold_backward"] == ["1", "0"]
    assert {op.scope for op in program.phase("forward")} == {
        "0.first", "0", "0.second", "1.first", "1", "1.second", "loss"
    }  # fmt: skip


def test_gradients_that_the_engine_copies_belong_to_the_network():
    class Shifts(nn.Module):
        def __init__(self):
            super().__init__()
            self.shift = nn.Parameter(torch.zeros(3))

        def forward(self, x):
            return x + self.shift.sum()

    program = traced(nn.Sequential(Shifts()), (3,), mode="training")
    # the gradient of a sum is one number expanded, of which the parameter gets a copy of its own
    (copied,) = [op for op in program.phase("backward") if op.kind == "copy"]
    assert copied.scope == ""
    assert copied.outputs[0].role == "gradient"


def test_scopes_survive_a_module_that_raises_and_is_caught():
    class Fails(nn.Module):
        def forward(self, x):
            raise KeyError("no")

    class Catches(nn.Module):
        def __init__(self):
            super().__init__()
            self.fails = Fails()
            self.after = nn.Linear(3, 3)

        def forward(self, x):
            with contextlib.suppress(KeyError):
                self.fails(x)
            return self.after(x)

    program = traced(nn.Sequential(Catches(), nn.Linear(3, 2)), (3,))
    assert [op.scope for op in program.ops if op.kind == "matmul"] == ["0.after", "1"]


def test_a_recomputed_module_runs_in_backward_under_its_own_name():
    from torch.utils.checkpoint import checkpoint

    class Recomputes(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(
                nn.Linear(6, 6, bias=False), nn.Tanh(), nn.Linear(6, 6, bias=False)
            )

        def forward(self, x):
            return checkpoint(self.inner, x, use_reentrant=False)

    program = traced(Recomputes(), (6,), mode="training", input_gradient=True)
    # the first layer once more (the result of the second is not needed), then gradients of inputs
    # and weights: 1 + 4 products of 6*6
    assert compute(program).backward.macs == 5 * 36
    products = [op for op in program.phase("backward") if op.kind == "matmul"]
    assert [op.scope for op in products] == ["inner.0", *["inner.2"] * 2, *["inner.0"] * 2]
    roles = [op.outputs[0].role for op in products]
    assert roles[0] == "activation"
    assert sorted(roles[1:]) == ["activation_gradient"] * 2 + ["gradient"] * 2


def test_shared_modules_go_by_their_first_name_and_their_weights_count_once():
    shared = nn.Linear(4, 4)
    program = traced(nn.Sequential(shared, nn.ReLU(), shared), (4,))
    assert [op.scope for op in program.ops if op.kind == "matmul"] == ["0", "0"]
    assert parameters(program).total == 20
    assert program.aliases == {"2.weight": "0.weight", "2.bias": "0.bias"}


def test_tied_weights_go_by_their_first_name():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(11, 4)
            self.head = nn.Linear(4, 11, bias=False)
            self.head.weight = self.table.weight

        def forward(self, x):
            return self.head(self.table(x))

    program = traced(Tied(), (3,), dtype="int64", mode="training", optimizer=optimizer("sgd"))
    assert [t.name for t in program.parameters] == ["table.weight"]
    assert program.aliases == {"head.weight": "table.weight"}
    assert parameters(program).shared == 44
    assert [op.kind for op in program.phase("update")] == ["add"]  # once


def test_frozen_parameters_get_no_gradient_and_no_update():
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    net[0].requires_grad_(False)
    net[0].levels = nn.Parameter(torch.zeros(4, dtype=torch.int8), requires_grad=False)
    program = traced(net, (4,), mode="training", optimizer=optimizer("sgd"))
    assert [t.trainable for t in program.parameters] == [False, False, False, True, True]
    assert {op.scope for op in program.phase("update")} == {"1"}
    # only the second layer's weight: dW (2, 4) from one row
    assert compute(program).backward.macs == 8


def test_storages_are_born_and_freed():
    net = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Linear(4, 4, bias=False))
    program = traced(net, (4,))
    by_storage = {storage.id: storage for storage in program.storages}
    first, relu, second = (
        next(op for op in program.ops if op.kind == kind and op.scope == scope).outputs[0]
        for kind, scope in (("matmul", "0"), ("relu", "1"), ("matmul", "2"))
    )
    index = {id(op): place for place, op in enumerate(program.ops)}
    places = [index[id(op)] for op in program.ops if op.kind in ("matmul", "relu")]
    assert by_storage[first.storage].birth == places[0]
    # the loop of Sequential lets go of a result when it has the next
    assert by_storage[first.storage].death == places[1]
    assert by_storage[relu.storage].death == places[2]
    assert by_storage[second.storage].death is None
    assert all(by_storage[t.storage].birth == -1 for t in (*program.parameters, *program.inputs))
    assert by_storage[first.storage].bytes == 16


def test_what_backward_needs_lives_until_then():
    program = traced(
        nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2)), (4,), mode="training"
    )
    tanh = next(op for op in program.ops if op.kind == "tanh").outputs[0]
    last_use = max(
        place
        for place, op in enumerate(program.ops)
        if tanh.storage in {t.storage for t in op.inputs}
    )
    storage = next(s for s in program.storages if s.id == tanh.storage)
    assert program.ops[last_use].kind == "tanh_backward"
    assert storage.death == last_use


def test_views_share_their_storage_and_writing_in_place_makes_a_new_tensor_on_it():
    program = traced(lambda x: x.view(2, 6).relu().t().mul_(2), (3, 4), batch=1)
    view, relu, transpose, product = program.ops
    assert view.outputs[0].storage == program.inputs[0].storage
    assert transpose.outputs[0].storage == relu.outputs[0].storage == product.outputs[0].storage
    assert product.outputs[0].id != product.inputs[0].id


def test_parts_of_a_tensor_are_different_tensors():
    def forward(x):
        first, second = x.chunk(2, 1)
        return first * second

    split, product = traced(forward, (6,), batch=2).ops
    first, second = product.inputs
    assert first.id != second.id
    assert first.storage == second.storage
    assert split.outputs == (first, second)


def test_an_operator_without_a_rule_keeps_its_name_and_is_reported():
    program = traced(lambda x: torch.linalg.eigvalsh(x), (8, 8))
    names = [entry.op for entry in compute(program).uncounted]
    assert "aten._linalg_eigh" in names


# -- the attributes are complete -------------------------------------------------------------------

SHAPED = [
    (nn.Conv1d(4, 6, 3, stride=2, padding=1), (4, 9)),
    (nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2), (4, 9, 11)),
    (nn.Conv3d(2, 3, 2, bias=False), (2, 4, 5, 6)),
    (nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2), (4, 5, 7)),
    (nn.ConvTranspose1d(4, 6, 4, dilation=2), (4, 5)),
    (nn.Linear(7, 3), (7,)),
    (nn.Linear(7, 3), (5, 7)),
    (nn.Linear(7, 3, bias=False), (5, 7)),
    (nn.MaxPool2d(3, 2, padding=1), (4, 9, 9)),
    (nn.MaxPool2d((3, 2), ceil_mode=True), (4, 8, 9)),
    (nn.MaxPool2d(2, dilation=2), (4, 8, 8)),
    (nn.MaxPool1d(2), (4, 9)),
    (nn.MaxPool3d(2), (4, 8, 8, 8)),
    (nn.AvgPool1d(3, 2), (4, 9)),
    (nn.AvgPool2d(3, 2, padding=1, ceil_mode=True), (4, 8, 8)),
    (nn.AvgPool3d(2), (4, 8, 8, 8)),
    (nn.AdaptiveAvgPool2d((3, 2)), (4, 8, 9)),
    (nn.AdaptiveAvgPool3d(2), (4, 8, 8, 8)),
    (nn.AdaptiveMaxPool2d((3, 2)), (4, 8, 9)),
    (nn.Upsample(scale_factor=2), (4, 5, 6)),
    (nn.Upsample(size=7, mode="linear"), (4, 5)),
    (nn.Upsample(scale_factor=(1.5, 2.5), mode="bilinear"), (4, 5, 7)),
    (nn.Upsample(size=(4, 4, 4), mode="trilinear", align_corners=True), (4, 2, 2, 2)),
    (nn.Upsample(scale_factor=2, mode="bicubic"), (4, 5, 6)),
    (nn.BatchNorm1d(4), (4,)),
    (nn.BatchNorm2d(4), (4, 5, 5)),
    (nn.BatchNorm2d(4, affine=False), (4, 5, 5)),
    (nn.BatchNorm2d(4, track_running_stats=False), (4, 5, 5)),
    (nn.InstanceNorm2d(4, affine=True), (4, 5, 5)),
    (nn.LayerNorm(6), (5, 6)),
    (nn.LayerNorm((5, 6), bias=False), (5, 6)),
    (nn.LayerNorm(6, elementwise_affine=False), (5, 6)),
    (nn.GroupNorm(2, 4), (4, 5, 5)),
    (nn.GroupNorm(2, 4, affine=False), (4, 5, 5)),
    (nn.Softmax(-1), (5, 6)),
    (nn.LogSoftmax(1), (5, 6)),
    (nn.GELU("tanh"), (5,)),
]


SHAPING = ("contraction", "pooling", "normalisation", "attention", "resampling")


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize(("module", "shape"), SHAPED, ids=lambda value: str(value)[:40])
def test_rules_work_out_the_shapes_that_pytorch_made(module, shape, mode):
    program = traced(module, shape, batch=2, mode=mode, input_gradient=True)
    checked = 0
    for op in program.ops:
        rule = rule_of(op.kind)
        assert rule is not None, op.name
        if rule.family not in SHAPING:
            continue
        assert rule.shapes(op) == tuple(tensor.shape for tensor in op.outputs), op
        assert rule.cost(op).operations > 0 or op.attributes.get("mode") == "nearest"
        checked += 1
    assert checked >= (0 if isinstance(module, nn.Softmax | nn.LogSoftmax | nn.GELU) else 1)


def test_a_pool_without_a_stride_moves_by_its_window():
    program = traced(lambda x: (F.max_pool2d(x, 3), F.avg_pool2d(x, 3)), (4, 9, 9))
    for op in program.ops:
        assert op.attributes["stride"] == (3, 3)


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_images_read_at_given_places(mode):
    def forward(x, grid):
        return F.grid_sample(x, grid, mode=mode, align_corners=False)

    program = traced(
        forward, (3, 5, 6), (4, 4, 2), batch=2, mode="training", input_gradient=True, loss="mean"
    )
    sampled = [op for op in program.ops if op.kind.startswith("grid_sample")]
    assert [op.attributes["mode"] for op in sampled] == [mode, mode]
    for op in sampled:
        assert rule_of(op.kind).shapes(op) == tuple(tensor.shape for tensor in op.outputs)


def test_writing_to_places_and_choosing_the_largest():
    def forward(x):
        rows = torch.arange(2)
        x[rows] = torch.ones(2, 6)
        added = x.index_put((rows,), torch.ones(2, 6), accumulate=True)
        largest, places = added.topk(3, -1)
        return added.scatter_add(1, places, largest)

    program = traced(forward, (6,), batch=4)
    found = [op for op in program.ops if op.kind in ("scatter", "sort")]
    # written: nothing to add; added: 2 * 6; of 4 rows of 6 the largest 3, 2 comparisons each; 4 * 3
    costs = [rule_of(op.kind).cost(op) for op in found]
    assert [cost.additions for cost in costs] == [0, 12, 0, 12]
    assert [cost.comparisons for cost in costs] == [0, 0, 24 * 2, 0]
    for op in found:
        assert rule_of(op.kind).shapes(op) == tuple(tensor.shape for tensor in op.outputs)
    assert compute(program).uncounted == ()


def test_reductions_carry_their_axes():
    def forward(x):
        partial = x.cumsum(-1), x.cumprod(0), x.cummax(1)
        sums = x.sum(), x.sum(1), x.mean((0, 2), keepdim=True)
        return *sums, x.amax(-1), x.max(0), x.std(1), *partial

    program = traced(forward, (3, 4), batch=2)
    for op in program.ops:
        assert rule_of(op.kind).shapes(op)[0] == op.outputs[0].shape, op.name


def test_addition_with_a_scale_is_a_multiplication_more():
    program = traced(lambda x: torch.add(x, x, alpha=2), (5,))
    (cost,) = op_costs(program)
    assert (cost.multiplications, cost.additions) == (5, 5)


def test_powers_are_counted_as_pytorch_computes_them():
    program = traced(lambda x: (x**2, x**0.5, x**3), (5,))
    assert kinds(program) == ["square", "sqrt", "pow"]


def test_both_kinds_of_gelu():
    net = nn.Sequential(nn.GELU(), nn.GELU("tanh"))
    program = traced(net, (5,), mode="training", input_gradient=True, loss="mean")
    assert kinds(program)[:2] == ["gelu", "gelu_tanh"]
    assert kinds(program, "backward")[-2:] == ["gelu_tanh_backward", "gelu_backward"]


def test_backward_begins_with_a_one_that_reads_nothing():
    seed = next(traced(nn.Linear(3, 2), (3,), mode="training").phase("backward"))
    assert (seed.kind, seed.scope, seed.inputs) == ("fill", "loss", ())


# -- dropout ---------------------------------------------------------------------------------------


def test_dropout_is_one_operator_with_a_mask_of_a_byte():
    program = traced(nn.Dropout(0.3), (8,), mode="training", input_gradient=True)
    op = next(op for op in program.ops if op.kind == "dropout")
    assert [tensor.dtype for tensor in op.outputs] == ["float32", "bool"]
    assert op.outputs[1].role == "saved"
    assert op.attributes == {"rate": 0.3}
    assert "mul" in kinds(program, "backward")


def test_dropout_does_nothing_in_inference_or_at_rate_zero():
    assert kinds(traced(nn.Dropout(0.3), (8,))) == []
    assert kinds(traced(nn.Dropout(0.0), (8,), mode="training", input_gradient=True)) == [
        "log_softmax", "nll_loss"
    ]  # fmt: skip


# -- attention -------------------------------------------------------------------------------------


def attention_ops(program):
    return [op for op in program.ops if op.kind.startswith("attention")]


def test_attention_is_taken_whole_forward_and_backward():
    def forward(q, k, v):
        return F.scaled_dot_product_attention(q, k, v)

    q, k, v = (2, 5, 8), (2, 7, 8), (2, 7, 4)  # heads, length, width
    program = traced(forward, q, k, v, batch=3, mode="training", input_gradient=True)
    once, back = attention_ops(program)
    assert [t.shape for t in once.outputs] == [(3, 2, 5, 4), (3, 2, 5)]
    assert once.outputs[1].dtype == "float32"
    assert [t.shape for t in back.outputs] == [(3, *q), (3, *k), (3, *v)]
    for op in (once, back):
        assert rule_of(op.kind).shapes(op) == tuple(t.shape for t in op.outputs)
    # 3*2 heads, 5*7 pairs: scores over 8, values over 4; backward 3 products over 8 and 2 over 4
    assert compute(program).forward.macs == 6 * 35 * (8 + 4)
    assert compute(program).backward.macs == 6 * 35 * (3 * 8 + 2 * 4)
    assert back.inputs[1:] == (*once.inputs, *once.outputs)


def test_attentions_row_sums_are_float32_in_half_precision_too():
    def forward(x):
        return F.scaled_dot_product_attention(x, x, x)

    (op,) = attention_ops(traced(forward, (2, 5, 8), dtype="float16"))
    assert [t.dtype for t in op.outputs] == ["float16", "float32"]
    assert rule_of("attention").dtypes(op) == ("float16", "float32")


def test_attention_with_a_mask_names_it_and_a_causal_one_is_marked():
    def forward(q, mask):
        plain = F.scaled_dot_product_attention(q, q, q, attn_mask=mask)
        return F.scaled_dot_product_attention(plain, q, q, is_causal=True)

    program = traced(forward, (2, 5, 8), (1, 5, 5))
    masked, causal = attention_ops(program)
    assert masked.inputs[3].shape == (1, 1, 5, 5)
    assert (masked.attributes["causal"], causal.attributes["causal"]) == (False, True)


def test_grouped_queries_and_single_heads():
    def grouped(q, k):
        return F.scaled_dot_product_attention(q, k, k, enable_gqa=True)

    (op,) = attention_ops(traced(grouped, (8, 5, 4), (2, 5, 4)))
    assert [t.shape for t in op.inputs] == [(1, 8, 5, 4), (1, 2, 5, 4), (1, 2, 5, 4)]
    assert compute(traced(grouped, (8, 5, 4), (2, 5, 4))).forward.macs == 8 * 25 * 8

    program = traced(lambda x: F.scaled_dot_product_attention(x, x, x), (5, 4), batch=2)
    (op,) = attention_ops(program)
    assert op.inputs[0].shape == (2, 1, 5, 4)
    assert program.outputs[0].shape == (2, 5, 4)


def test_a_mask_that_is_learnt_takes_attention_apart():
    class Biased(nn.Module):
        def __init__(self):
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(5, 5))

        def forward(self, x):
            return F.scaled_dot_product_attention(x, x, x, attn_mask=self.bias)

    program = traced(Biased(), (2, 5, 4), mode="training")
    assert attention_ops(program) == []
    # 2 heads, 25 pairs: 4 for the scores, 4 for the values
    assert compute(program).forward.macs == 2 * 25 * 8
    assert {t.name for t in program.tensors if t.role == "parameter"} == {"bias"}
    assert any(t.role == "gradient" for t in program.tensors)


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_multi_head_attention_is_seen_inside_pytorch(mode):
    layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True)
    program = traced(nn.TransformerEncoder(layer, 2), (6, 16), batch=2, mode=mode)
    found = [(op.kind, op.scope) for op in attention_ops(program)]
    forward = [("attention", "layers.0.self_attn"), ("attention", "layers.1.self_attn")]
    backward = [("attention_backward", scope) for _, scope in reversed(forward)]
    assert found == forward + (backward if mode == "training" else [])
    # 12 tokens; in a layer 4*16*16 for projections and 2*16*32 for the rest; attention 6*6*16*2 a row
    assert compute(program).forward.macs == 2 * (12 * (4 * 256 + 2 * 512) + 2 * 36 * 32)
    assert compute(program).uncounted == ()


def test_pytorchs_attention_and_fast_path_are_back_in_place():
    before = F.scaled_dot_product_attention
    torch.backends.mha.set_fastpath_enabled(True)
    traced(nn.MultiheadAttention(8, 2), (4, 8), (4, 8), (4, 8))
    with pytest.raises(WeighError):
        traced(nn.MultiheadAttention(8, 2), (4, 7), (4, 7), (4, 7))
    assert F.scaled_dot_product_attention is before
    assert torch.backends.mha.get_fastpath_enabled()


# -- the step --------------------------------------------------------------------------------------


def arithmetic(cost):
    return (cost.multiplications, cost.additions, cost.divisions, cost.transcendentals)


@pytest.mark.parametrize(
    ("name", "settings", "difference"),
    [
        ("sgd", {}, (0, 0, 0, 0)),
        ("sgd", {"weight_decay": 0.1}, (0, 0, 0, 0)),
        ("momentum", {}, (0, 0, 0, 0)),
        ("momentum", {"dampening": 0.1}, (0, 0, 0, 0)),
        ("nesterov", {}, (0, 0, 0, 0)),
        ("rmsprop", {}, (0, 0, 0, 0)),
        ("adam", {}, (0, 0, 0, 0)),
        ("adamw", {}, (0, 0, 0, 0)),
        ("nadam", {}, (0, 0, 0, 0)),
        ("radam", {}, (0, 0, 0, 0)),
        ("adamax", {"weight_decay": 0.1}, (0, 0, 0, 0)),
        ("adadelta", {}, (0, 0, 0, 0)),
        ("rprop", {}, (0, 0, 0, 0)),
        ("asgd", {}, (0, 0, 0, 0)),
        # PyTorch scales g*g by one before it adds it to the sum
        ("adagrad", {}, (1, 0, 0, 0)),
    ],
)  # fmt: skip
def test_an_update_by_pytorch_is_the_update_of_the_rule(name, settings, difference):
    """Every multiplication, addition, division and root of the rule, an element of the parameter."""
    chosen = replace(optimizer(name, **settings), implementation="single")
    net = nn.Linear(30, 20, bias=False)
    program = traced(net, (30,), mode="training", optimizer=chosen)
    found = compute(program).update
    rule = UPDATES[chosen.name].counts(600, chosen.settings)
    assert arithmetic(found) == tuple(
        a + 600 * b for a, b in zip(arithmetic(rule), difference, strict=True)
    )
    assert {op.scope for op in program.phase("update")} == {""}


def test_updates_belong_to_the_module_of_the_parameter():
    net = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 2, bias=False))
    program = traced(net, (4,), mode="training", optimizer=optimizer("momentum"))
    # the buffers are scaled, then the gradients and then the updates added, list by list
    assert [(op.scope, op.kind) for op in program.phase("update")] == [
        ("0", "mul"), ("1", "mul"), ("0", "add"), ("1", "add"), ("0", "add"), ("1", "add")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "implementation", "temporaries"),
    [
        # Adam: the roots of all second moments (100 + 200 numbers); one root, beside it the one over its
        # correction, and the root before, which its variable still names (2 x 200 + 100); none in one kernel
        ("adam", "foreach", 300),
        ("adam", "single", 500),
        ("adam", "fused", 0),
        ("adam", "auto", 300),
        # SGD writes in place, however it is run
        ("momentum", "foreach", 0),
        ("momentum", "single", 0),
        ("momentum", "fused", 0),
        # rmsprop: the roots; nobody has one kernel for it
        ("rmsprop", "foreach", 300),
        # NAdam: the roots, and for a moment nothing else
        ("nadam", "foreach", 300),
    ],
)
def test_temporaries_of_an_update(name, implementation, temporaries):
    """Numbers beside parameters, gradients and state while weights of 10 x 10 and 20 x 10 are updated."""
    net = nn.Sequential(nn.Linear(10, 10, bias=False), nn.Linear(10, 20, bias=False))
    chosen = replace(optimizer(name), implementation=implementation)
    program = traced(net, (10,), mode="training", optimizer=chosen)
    found = timeline(program)
    peak = max(
        sum(
            found.categories[kind][at]
            for kind in ("temporary", "workspace")
            if kind in found.categories
        )
        for at, op in enumerate(program.ops)
        if op.phase == "update"
    )
    assert peak == 4 * temporaries


def test_a_fused_update_is_one_operator_and_counts_its_steps_itself():
    net = nn.Sequential(nn.Linear(10, 10, bias=False), nn.Linear(10, 20, bias=False))
    chosen = replace(optimizer("adamw"), implementation="fused")
    program = traced(net, (10,), mode="training", optimizer=chosen)
    assert [op.kind for op in program.phase("update")] == ["add", "add", "fused_adamw_update"]
    state = {t.storage: t.bytes for t in program.tensors if t.role == "optimizer_state"}
    assert sum(state.values()) == 8 * 300 + 2 * 4  # two moments; a step's number each


@pytest.mark.parametrize(
    ("name", "implementation", "message"),
    [
        ("rmsprop", "fused", "PyTorch has no fused rmsprop"),
        ("lion", "foreach", "PyTorch has no lion: it is updated parameter by parameter"),
    ],
)
def test_implementations_that_there_are_not(name, implementation, message):
    chosen = replace(optimizer(name), implementation=implementation)
    with pytest.raises(UsageError, match=message):
        traced(nn.Linear(3, 3), (3,), mode="training", optimizer=chosen)


@pytest.mark.parametrize("name", ["lion", "adam8bit"])
def test_rules_that_pytorch_has_not_are_one_operator_a_parameter(name):
    program = traced(conv_net(), (3, 16, 16), mode="training", batch=2, optimizer=optimizer(name))
    updates = list(program.phase("update"))
    assert [op.kind for op in updates] == [f"{name}_update"] * 6
    assert [op.scope for op in updates] == ["0", "0", "1", "1", "5", "5"]
    assert updates[0].inputs[0].name == "0.weight"
    assert updates[0].inputs[1].role == "gradient"
    assert updates[0].inputs[2].name == "0.weight.exp_avg"
    assert compute(program).uncounted == ()


def test_adafactor_keeps_a_row_and_a_column():
    program = traced(
        nn.Linear(30, 20, bias=False), (30,), mode="training", optimizer=optimizer("adafactor")
    )
    states = {t.name: t.shape for t in program.tensors if t.role == "optimizer_state"}
    assert states == {"weight.row_var": (20, 1), "weight.col_var": (1, 30)}
    assert compute(program).uncounted == ()


def test_an_optimizer_without_a_rule():
    with pytest.raises(UsageError, match="no optimizer is called 'sgdm'"):
        traced(nn.Linear(3, 3), (3,), mode="training", optimizer=Optimizer(name="sgdm"))


@pytest.mark.parametrize(
    ("shape", "loss", "expected"),
    [
        ((7,), "auto", ["log_softmax", "nll_loss"]),
        ((4, 7), "auto", ["mean"]),
        ((4, 7), "cross-entropy", ["reshape", "log_softmax", "nll_loss"]),
        ((7,), "mean", ["mean"]),
        ((3, 4, 7), "cross-entropy", ["log_softmax", "nll_loss"]),
    ],
)
def test_the_loss_follows_the_output(shape, loss, expected):
    program = traced(nn.Identity(), shape, batch=2, loss=loss, mode="training", input_gradient=True)
    assert [op.kind for op in program.phase("forward") if op.scope == "loss"] == expected


def test_logits_by_name_are_a_language_models_and_an_own_loss_is_taken():
    class Says(nn.Module):
        def __init__(self, named):
            super().__init__()
            self.named = named
            self.head = nn.Linear(4, 7)

        def forward(self, x):
            y = self.head(x)
            return {"logits": y} if self.named else {"loss": y.sum(), "other": y}

    program = traced(Says(named=True), (3, 4), batch=2, mode="training")
    assert [op.kind for op in program.ops if op.scope == "loss"][-2:] != ["mean"]
    assert next(t for t in program.inputs if t.name == "targets").shape == (6,)
    program = traced(Says(named=False), (3, 4), batch=2, mode="training")
    assert [op.kind for op in program.phase("forward") if op.scope == "loss"] == []


def test_bad_losses():
    with pytest.raises(UsageError, match="no loss is called 'hinge'"):
        traced(nn.Linear(3, 3), (3,), mode="training", loss="hinge")
    with pytest.raises(WeighError, match="no floating-point tensor to take a loss of"):
        traced(nn.Identity(), (3,), dtype="int64", mode="training")
    with pytest.raises(WeighError, match="depends on no trainable parameter"):
        traced(nn.Identity(), (3,), mode="training")


def test_the_gradient_of_the_input_is_one_product_more():
    net = nn.Linear(5, 3)
    without = compute(traced(net, (5,), mode="training")).backward.macs
    wanted = compute(traced(net, (5,), mode="training", input_gradient=True)).backward.macs
    assert (without, wanted) == (15, 30)


def test_the_mode_is_the_workloads_and_not_the_modules():
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)).train()
    inference = traced(net, (4,), batch=2)
    assert "dropout" not in kinds(inference)
    assert next(op for op in inference.ops if op.kind == "batch_norm").flag("training") is False
    training = traced(net.eval(), (4,), batch=2, mode="training")
    assert "dropout" in kinds(training)


# -- what may be traced ----------------------------------------------------------------------------


def test_a_module_on_meta():
    program = traced(nn.Linear(4, 2, device="meta"), (4,))
    assert compute(program).forward.macs == 8


def test_a_function_and_the_modules_it_reaches_for():
    net, weight = nn.Linear(4, 4), torch.randn(4, 2)
    before = copy.deepcopy(net.state_dict())
    program = traced(
        lambda x: net(x) @ weight, (4,), batch=3, mode="training", optimizer=optimizer("adam")
    )
    assert compute(program).forward.macs == 3 * (16 + 8)
    assert [t.name for t in program.parameters] == ["linear.weight", "linear.bias"]
    assert [t.shape for t in program.buffers] == [(4, 2)]
    assert program.ops[0].scope == "linear"
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net.weight.grad is None


def test_lazy_modules_learn_their_shapes_from_the_input():
    net = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(5))
    program = traced(net, (3, 6, 6), batch=2)
    assert [t.shape for t in program.parameters] == [(4, 3, 3, 3), (4,), (5, 64), (5,)]
    assert isinstance(net[0], nn.LazyConv2d)
    with pytest.raises(WeighError, match="forward of the network failed in 0"):
        traced(net, (3, 2, 2))


def test_compiled_modules_are_taken_as_they_were_before():
    net = nn.Sequential(torch.compile(nn.Linear(4, 4)), nn.Linear(4, 2))
    program = traced(torch.compile(net), (4,))
    assert [t.name for t in program.parameters] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert [op.scope for op in program.ops if op.kind == "matmul"] == ["0", "1"]
    assert type(net[0]).__name__ == "OptimizedModule"


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_torchscript_is_refused():
    script = torch.jit.trace(nn.Linear(4, 2), torch.ones(1, 4))
    with pytest.raises(WeighError, match="0 is TorchScript"):
        traced(nn.Sequential(script), (4,))


def test_a_recurrent_network():
    program = traced(nn.LSTM(4, 5, 2, batch_first=True), (3, 4), batch=2)
    # 4 gates of 5; first layer reads 4, second 5, both their own 5; 2 rows, 3 steps
    assert compute(program).forward.macs == 2 * 3 * 20 * ((4 + 5) + (5 + 5))
    assert compute(program).uncounted == ()


def test_tensors_made_or_moved_on_the_way_stay_without_data():
    class Moves(nn.Module):
        def __init__(self):
            super().__init__()
            self.constant = torch.ones(4)  # neither parameter nor buffer

        def forward(self, x):
            y = x + torch.arange(4) + torch.zeros(4, device="cpu") + self.constant
            return y.cuda().to("cuda:0").to(torch.float16).cpu().to(0)

    program = traced(Moves(), (4,))
    assert program.outputs[0].dtype == "float16"


def test_examples_give_shapes_names_and_the_batch():
    class Two(nn.Module):
        def forward(self, image, *, extra):
            return image.mean((1, 2)) + extra["scale"]

    program = traced(
        Two(), examples={"image": torch.ones(6, 4, 4), "extra": {"scale": torch.ones(6)}}
    )
    assert [(t.name, t.shape) for t in program.inputs] == [
        ("image", (6, 4, 4)),
        ("extra.scale", (6,)),
    ]
    assert program.workload.batch == 6
    assert program.workload.inputs[0] == InputSpec(shape=(4, 4), dtype="float32", name="image")
    one = traced(nn.Linear(3, 2), examples=torch.ones(5, 3))
    pair = traced(lambda a, b: a + b, examples=(torch.ones(5, 3), torch.ones(5, 3)))
    assert (one.workload.batch, [t.name for t in pair.inputs]) == (5, ["a", "b"])


def test_inputs_by_name_and_the_workload_that_comes_back():
    class Named(nn.Module):
        def forward(self, first=None, second=None):
            return second.float()

    spec = InputSpec(shape=(3,), dtype="int64", name="second")
    program = trace(Named(), Workload(inputs=(spec,), batch=2), network="n", source="s")
    assert [(t.name, t.shape, t.dtype) for t in program.inputs] == [("second", (2, 3), "int64")]
    assert program.workload.inputs == (spec,)


def test_the_dtype_is_the_workloads_or_else_the_modules_own():
    program = traced(nn.Linear(4, 2), (4,), dtype=None, mode="inference")
    assert program.parameters[0].dtype == "float32"
    workload = Workload(inputs=(InputSpec(shape=(4,)),), dtype="float16")
    half = trace(nn.Linear(4, 2), workload, network="n", source="s")
    assert (half.parameters[0].dtype, half.outputs[0].dtype) == ("float16", "float16")
    own = traced(nn.Linear(4, 2).bfloat16(), (4,))
    assert (own.inputs[0].dtype, own.workload.dtype) == ("bfloat16", "bfloat16")


# -- the user's module is left as it was -----------------------------------------------------------


class Eventful(nn.Module):
    """Batch norm's counters, a hook, a gradient, a mode of its own, a tensor that is no buffer."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.plain = torch.ones(4, 1, 1)
        self.seen = 0

    def forward(self, x, fail=False):
        self.seen += 1
        y = self.drop(self.norm(self.conv(x))) * self.plain + torch.rand(1) + random.random()
        torch.set_default_dtype(torch.float64)
        torch.manual_seed(1)
        if x.shape[-1] == 7:
            raise ValueError("as asked")
        return y


@pytest.mark.parametrize("size", [8, 7], ids=["runs", "raises"])
def test_module_and_process_are_untouched(size):
    torch.manual_seed(0)
    net = Eventful().eval()
    net.conv.weight.grad = torch.ones_like(net.conv.weight)
    net.norm.weight.requires_grad_(False)
    net.drop.train()
    net.register_forward_hook(lambda *_: None)
    state = {name: value.clone() for name, value in net.state_dict().items()}
    addresses = {name: value.data_ptr() for name, value in net.state_dict().items()}
    generator, chance = torch.get_rng_state(), random.getstate()
    workload = {"batch": 2, "mode": "training", "optimizer": optimizer("adam")}
    if size == 7:
        with pytest.raises(WeighError, match="ValueError: as asked"):
            traced(net, (3, size, size), **workload)
    else:
        traced(net, (3, size, size), **workload)
    after = net.state_dict()
    assert {name: value.data_ptr() for name, value in after.items()} == addresses
    assert all(torch.equal(after[name], value) for name, value in state.items())
    assert [module.training for module in net.modules()] == [False, False, False, True]
    assert torch.equal(net.conv.weight.grad, torch.ones_like(net.conv.weight))
    assert net.norm.weight.requires_grad is False
    assert len(net._forward_hooks) == 1
    assert net.seen == 0
    assert net.plain.device.type == "cpu"
    assert torch.equal(torch.get_rng_state(), generator)
    assert random.getstate() == chance
    assert torch.get_default_dtype() == torch.float32
    assert gc.isenabled()
    assert not nn.modules.module._global_forward_hooks
    assert not nn.modules.module._global_forward_pre_hooks


def test_tracing_twice_gives_the_same_program():
    net = conv_net()
    workload = {"batch": 2, "mode": "training", "optimizer": optimizer("adamw")}
    assert traced(net, (3, 16, 16), **workload) == traced(net, (3, 16, 16), **workload)


def test_a_program_from_pytorch_is_written_and_read_back():
    from weighbridge.program import dumps, loads

    program = traced(conv_net(), (3, 16, 16), batch=2, mode="training", optimizer=optimizer("sgd"))
    assert loads(dumps(program)) == program


def test_a_module_that_cannot_be_copied():
    class Locked(nn.Module):
        def __init__(self):
            super().__init__()
            self.generator = (i for i in range(3))

    with pytest.raises(WeighError, match="Locked cannot be copied"):
        traced(Locked(), (3,))


# -- errors ----------------------------------------------------------------------------------------


def test_no_input_shape():
    with pytest.raises(UsageError, match="no input shape is known for net") as caught:
        traced(nn.Linear(3, 2))
    assert "--input 3,224,224" in str(caught.value)
    assert "(input)" in str(caught.value)


def test_a_shape_that_does_not_fit_names_module_line_and_input():
    with pytest.raises(
        WeighError, match="forward of the network failed in 0 \\(Conv2d\\)"
    ) as caught:
        traced(conv_net(), (4, 16, 16))
    assert "it was given: input (1, 4, 16, 16) float32" in str(caught.value)


class Asks(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.how = how

    def forward(self, x):
        return self.how(x)


@pytest.mark.parametrize(
    "how",
    [
        lambda x: x if x.sum() > 0 else -x,
        lambda x: x * x.max().item(),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: torch.unique(x),
        lambda x: x.tolist(),
        lambda x: x.numpy(),
    ],
    ids=["if", "item", "mask", "nonzero", "unique", "tolist", "numpy"],
)
def test_a_network_that_asks_for_values_is_told_where(how):
    program = traced(Asks(how), (3,))
    assert program.rung == "real"
    assert program.warnings[0].startswith("forward at ")
    assert "test_torch.py" in program.warnings[0]
    assert "lambda x:" in program.warnings[0]


def test_a_question_for_a_value_that_the_network_gets_over_is_no_failure_of_what_follows():
    def forward(x):
        with contextlib.suppress(RuntimeError):
            x.max().item()
        raise ValueError("something else")

    with pytest.raises(WeighError, match="forward of the network failed: ValueError: something"):
        traced(forward, (3,))


def test_inputs_of_the_wrong_dtype():
    with pytest.raises(WeighError, match=r"TypeError: aten.addmm.default of int64 and float32"):
        traced(nn.Linear(3, 2), (3,), dtype="int64")
    with pytest.raises(WeighError, match="forward of the network failed: RuntimeError: Expected"):
        traced(nn.Embedding(3, 2), (3,))


def test_a_dtype_that_this_pytorch_lacks(monkeypatch):
    from weighbridge.frontends.torch import inputs

    known = {name: dtype for name, dtype in inputs.DTYPES.items() if name != "int2"}
    monkeypatch.setattr(inputs, "DTYPES", known)
    with pytest.raises(UsageError, match="PyTorch has no tensors of dtype int2"):
        traced(nn.Linear(3, 2), (3,), dtype="int2")


def test_networks_do_not_run_in_whole_numbers():
    workload = Workload(inputs=(InputSpec(shape=(3,)),), dtype="int8")
    with pytest.raises(UsageError, match="PyTorch does not run networks in int8"):
        trace(nn.Linear(3, 2), workload, network="n", source="s")


def test_sizes_that_overflow():
    with pytest.raises(UsageError, match="larger than PyTorch can address"):
        traced(nn.Linear(3, 2), (10**12, 3), batch=10**9)
    with pytest.raises(WeighError, match="a tensor is larger than PyTorch can address"):
        traced(lambda x: x[:, :, None] * x[:, None, :], (10**10,))


def test_nothing_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        traced(conv_net(), (3, 16, 16), batch=2, mode="training", optimizer=optimizer("adam"))


def test_the_costs_of_a_traced_program_are_whole_numbers():
    program = traced(conv_net(), (3, 16, 16), batch=2, mode="training")
    assert all(isinstance(cost, Cost) for cost in op_costs(program))


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_nothing_of_a_step_waits_for_a_collection(mode):
    """Circles keep a copied network and its program until the collector comes by: the next step then takes more."""

    def living():
        return Counter(type(each) for each in gc.get_objects())

    model = conv_net()
    settings = {"optimizer": optimizer("adam")} if mode == "training" else {}
    gc.collect()
    gc.disable()
    try:
        before = living()
        program = traced(model, (3, 16, 16), mode=mode, **settings)
        made = living() - before
        assert (made[Recorder], made[nn.Conv2d], made[Program]) == (0, 0, 1)
        del program
        assert Program not in living() - before
    finally:
        gc.enable()
