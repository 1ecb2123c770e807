"""Attention of PyTorch's and transformers', taken whole: what is scored, against sums by hand."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.nn.attention.flex_attention import (  # noqa: E402
    AuxRequest,
    create_block_mask,
    flex_attention,
)
from torch.utils.checkpoint import checkpoint  # noqa: E402

from weighbridge.analyses.compute import compute  # noqa: E402
from weighbridge.frontends.torch import trace  # noqa: E402
from weighbridge.ops import rule_of  # noqa: E402
from weighbridge.workload import InputSpec, Workload  # noqa: E402

pytestmark = pytest.mark.torch

compiled_flex_attention = torch.compile(flex_attention)


def traced(model, *shapes, train=False, batch=1, dtype=None):
    inputs = tuple(InputSpec(shape=shape, dtype=dtype) for shape in shapes)
    mode = "training" if train else "inference"
    workload = Workload(mode=mode, batch=batch, inputs=inputs)
    return trace(model, workload, network="net", source="test")


def attentions(program, phase="forward"):
    return [op for op in program.phase(phase) if op.kind.startswith("attention")]


def counted(ops):
    """MACs that are done, and those that masks spare."""
    costs = [rule_of(op.kind).cost(op) for op in ops]
    return sum(cost.macs for cost in costs), sum(cost.masked_macs for cost in costs)


# -- dropout and checkpointing ---------------------------------------------------------------------


def test_dropout_inside_attention_is_counted():
    def forward(x):
        return F.scaled_dot_product_attention(x, x, x, dropout_p=0.25)

    program = traced(forward, (2, 5, 4))
    (op,) = attentions(program)
    assert op.attributes["rate"] == 0.25
    assert program.warnings == ()
    plain = traced(lambda x: F.scaled_dot_product_attention(x, x, x), (2, 5, 4))
    # 2 heads of 5*5 scores: a comparison and a multiplication each
    one, other = (compute(each).forward for each in (program, plain))
    assert one.comparisons - other.comparisons == 50
    assert one.multiplications - other.multiplications == 50


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpointed_attention_is_whole_when_it_is_computed_again(reentrant):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.before = nn.Linear(8, 8)

        def inner(self, x):
            return F.scaled_dot_product_attention(x, x, x)

        def forward(self, x):
            return checkpoint(self.inner, self.before(x), use_reentrant=reentrant)

    program = traced(Net(), (5, 8), train=True)
    assert program.rung == "meta"
    assert [op.kind for op in attentions(program, "backward")] == [
        "attention", "attention_backward"
    ]  # fmt: skip
    # 5 rows of 8 to 8, and 25 pairs of width 8 + 8; backward the linear layer's weights (its input needs no gradient), the
    # attention again and five of its products where forward had two
    assert compute(program).forward.macs == 5 * 64 + 25 * 16
    assert compute(program).backward.macs == 5 * 64 + 25 * 16 + 25 * 40


# -- flex attention --------------------------------------------------------------------------------


def causal(b, h, i, j):
    return i >= j


class Flex(nn.Module):
    """Flex attention of 4 heads of width 8, of which as many keys as said."""

    def __init__(self, *, groups=4, mask=None, score=None, function=flex_attention):
        super().__init__()
        self.mask, self.score, self.groups, self.function = mask, score, groups, function
        self.project = nn.Linear(32, 32)
        self.slopes = nn.Parameter(torch.zeros(4))

    def forward(self, x):
        q = self.project(x).unflatten(-1, (4, 8)).transpose(1, 2)
        k = q[:, : self.groups]
        length = x.shape[1]
        table = self.mask and create_block_mask(
            self.mask, None, None, length, length, device=x.device
        )
        score = self.score and (lambda *places: self.score(self.slopes, *places))
        return self.function(q, k, k, score_mod=score, block_mask=table, enable_gqa=self.groups < 4)


@pytest.mark.parametrize("function", [flex_attention, compiled_flex_attention])
@pytest.mark.parametrize("groups", [4, 2])
def test_flex_attention_without_a_mask_scores_every_pair(function, groups):
    program = traced(Flex(groups=groups, function=function), (6, 32), train=True, batch=2)
    assert program.rung == "meta"
    assert program.warnings == ()
    (op,) = attentions(program)
    assert [tensor.shape for tensor in op.inputs] == [(2, 4, 6, 8), *[(2, groups, 6, 8)] * 2]
    # 2 samples of 6 rows of 32 to 32, and 4 heads of 36 pairs of width 8 + 8
    assert compute(program).forward.macs == 2 * (6 * 32 * 32 + 4 * 36 * 16)
    (back,) = attentions(program, "backward")
    assert back.kind == "attention_backward"
    # the linear layer needs no gradient of its input: one product; five of attention's where forward had two
    assert compute(program).backward.macs == 2 * (6 * 32 * 32 + 4 * 36 * 40)


def test_flex_attention_counts_the_blocks_of_its_mask():
    program = traced(Flex(mask=causal), (300, 32), batch=2)
    assert program.rung == "meta"
    assert program.warnings == ()
    (op,) = attentions(program)
    # blocks of 128 x 128 on and below the diagonal; the last are 44 high or wide, as 300 = 2*128 + 44
    pairs = 128 * 128 + 128 * 256 + 44 * 300
    assert op.attributes["pairs"] == 2 * 4 * pairs
    assert compute(program).forward.macs == 2 * (300 * 32 * 32 + 4 * pairs * 16)


def test_flex_attention_asks_a_mask_strip_by_strip(monkeypatch):
    from weighbridge.frontends.torch import flex

    monkeypatch.setattr(flex, "_STRIP", 1)  # a row of blocks at a time

    def windowed(b, h, i, j):
        return (i - j).abs() < 40

    (op,) = attentions(traced(Flex(mask=windowed), (300, 32)))
    # |i - j| < 40 reaches one block over each of the two borders
    pairs = 128 * 256 + 128 * 300 + 44 * (128 + 44)
    assert op.attributes["pairs"] == 4 * pairs


def test_a_mask_by_head_is_counted_head_by_head():
    def every_other_head(b, h, i, j):
        return (h % 2 == 0) & (i >= j)

    class Net(nn.Module):
        def forward(self, q):
            length = q.shape[2]
            table = create_block_mask(every_other_head, None, 4, length, length, device=q.device)
            return flex_attention(q, q, q, block_mask=table)

    (op,) = attentions(traced(Net(), (4, 256, 8), batch=3))
    assert op.attributes["pairs"] == 3 * 2 * 3 * 128 * 128  # 3 samples, 2 heads, 3 of 4 blocks


def test_a_mask_that_needs_values_counts_the_square_and_says_so():
    class Net(nn.Module):
        def forward(self, q, documents):
            length = q.shape[2]

            def same(b, h, i, j):
                return documents[b, i] == documents[b, j]

            table = create_block_mask(same, q.shape[0], None, length, length, device=q.device)
            return flex_attention(q, q, q, block_mask=table)

    program = traced(Net(), (4, 200, 8), (200,), batch=2)
    assert program.warnings == (
        "flex attention's block mask has no values, and its function cannot be asked: the full square "
        "is counted",
    )
    # 8 heads of 200*200 pairs of width 16
    assert compute(program).forward.macs == 8 * 200 * 200 * 16


def test_with_values_the_table_itself_is_counted():
    class Net(nn.Module):
        def forward(self, q):
            if q.sum() > 1e9:  # asks for a value, so that there are some
                return q
            table = create_block_mask(causal, None, None, 300, 300, device=q.device)
            return flex_attention(q, q, q, block_mask=table)

    program = traced(Net(), (2, 300, 8))
    assert program.rung == "real"
    (op,) = attentions(program)
    assert op.attributes["pairs"] == 2 * (128 * 128 + 128 * 256 + 44 * 300)


def test_what_is_done_to_each_score_is_counted():
    def soft_cap_and_slope(slopes, score, b, h, i, j):
        return torch.tanh(score / 20) * 20 + slopes[h] * (i - j)

    net = Flex(score=soft_cap_and_slope)
    program = traced(net, (6, 32), train=True)
    (op,) = attentions(program)
    # multiplications: by 20, by the slope; additions: i - j, and the slope's; a division; a tanh
    assert op.attributes["score"] == (2, 2, 0, 1, 1)
    # backward to the score: by 20, (1 - y*y) * dy, by 1/20
    assert op.attributes["score_backward"] == (3, 1, 0, 1, 0)
    # what the function learns has a gradient
    roles = {t.name: t.role for op in program.ops for t in op.outputs if t.shape == (4,)}
    assert "gradient" in roles.values()


def test_a_function_of_scores_that_fails_is_named():
    def odd(slopes, score, b, h, i, j):
        raise RuntimeError("no")

    program = traced(Flex(score=odd), (6, 32))
    assert program.warnings == ("flex attention's <lambda> cannot be looked into: not counted",)
    assert len(attentions(program)) == 1


def test_flex_attention_hands_on_its_log_sum_exp_and_takes_its_gradient():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(8))

        def forward(self, q):
            y, aux = flex_attention(
                q * self.scale, q, q, return_aux=AuxRequest(lse=True, max_scores=True)
            )
            return y * aux.lse.unsqueeze(-1) + aux.max_scores.unsqueeze(-1)

    program = traced(Net(), (2, 6, 8), train=True)
    assert program.warnings == ()
    kinds = [op.kind for op in program.phase("backward")]
    # the gradient of the log-sum-exp comes off each row's sum, before the rest
    assert kinds.index("attention_backward") == kinds.index("sub") + 1


# -- masks of transformers -------------------------------------------------------------------------

SMALL = {
    "hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2,
    "vocab_size": 99, "head_dim": 8,
}  # fmt: skip


def of_tokens(kind, config, length, *, train=False, implementation="sdpa"):
    with torch.device("meta"):
        model = kind._from_config(config, attn_implementation=implementation)
    return traced(model, (length,), train=train, dtype="int64")


def seen(program):
    """What is scored; the kernel that scores it apart."""
    return [
        {key: value for key, value in op.attributes.items() if value and key != "kernel"}
        for op in attentions(program)
    ]


def test_mistrals_window_of_half_the_sequence():
    transformers = pytest.importorskip("transformers")
    config = transformers.MistralConfig(**SMALL, num_hidden_layers=2, sliding_window=4096)
    program = of_tokens(transformers.MistralForCausalLM, config, 8192, train=True)
    assert seen(program) == [{"causal": True, "window": 4096}] * 2
    # query i sees i + 1 keys up to the 4096th, and 4096 from there: 4096*4097/2 + 4096*4096 pairs
    pairs = 4096 * 4097 // 2 + 4096 * 4096
    macs, spared = counted(attentions(program))
    assert macs == 2 * 4 * pairs * 16  # layers, heads, width 8 + 8
    assert macs + spared == 2 * 4 * 8192**2 * 16  # the full square
    assert (
        counted(attentions(program, "backward"))[0] == 2 * 4 * pairs * 40
    )  # five products for two


def test_a_window_longer_than_the_sequence_is_plainly_causal():
    transformers = pytest.importorskip("transformers")
    config = transformers.MistralConfig(**SMALL, num_hidden_layers=1, sliding_window=100)
    assert seen(of_tokens(transformers.MistralForCausalLM, config, 64)) == [{"causal": True}]


def test_gemmas_layers_alternate():
    transformers = pytest.importorskip("transformers")
    layers = ["sliding_attention", "sliding_attention", "full_attention"]
    config = transformers.Gemma3TextConfig(
        **SMALL, num_hidden_layers=3, sliding_window=16, layer_types=layers
    )
    program = of_tokens(transformers.Gemma3ForCausalLM, config, 64)
    window = {"causal": True, "window": 16}
    assert seen(program) == [window, window, {"causal": True}]
    # 16*17/2 pairs in the first 16 rows and 16 in each of the other 48; 64*65/2 without a window
    pairs = 2 * (136 + 48 * 16) + 64 * 65 // 2
    assert counted(attentions(program))[0] == 4 * pairs * 16


def test_a_window_on_both_sides():
    transformers = pytest.importorskip("transformers")
    config = transformers.ModernBertConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        vocab_size=99, local_attention=16, layer_types=["full_attention", "sliding_attention"],
        pad_token_id=0, eos_token_id=1, bos_token_id=2, cls_token_id=1, sep_token_id=2,
    )  # fmt: skip
    program = of_tokens(transformers.ModernBertModel, config, 64)
    # 16 tokens are 8 to each side, and the one itself: |i - j| <= 8
    assert seen(program) == [{}, {"window": 9}]
    # 17 keys each, less the 8 + 7 + ... + 1 that are missing at either end
    assert counted(attentions(program))[0] == 4 * (64 * 64 + 64 * 17 - 2 * 36) * 16


def test_chunks_of_llama_4():
    transformers = pytest.importorskip("transformers")
    config = transformers.Llama4TextConfig(
        **SMALL, num_hidden_layers=2, intermediate_size_mlp=32, attention_chunk_size=24,
        num_local_experts=2, layer_types=["chunked_attention", "full_attention"],
    )  # fmt: skip
    program = of_tokens(transformers.Llama4ForCausalLM, config, 64)
    assert seen(program) == [{"causal": True, "chunk": 24}, {"causal": True}]
    # 64 = 24 + 24 + 16
    pairs = 2 * (24 * 25 // 2) + 16 * 17 // 2
    assert counted(attentions(program)[:1])[0] == 4 * pairs * 16


def test_gpt_oss_takes_attention_apart_and_computes_the_square():
    """Its attention has a sink, which fused attention has not: it is products, and computes every pair."""
    transformers = pytest.importorskip("transformers")
    layers = ["sliding_attention", "full_attention"]
    config = transformers.GptOssConfig(
        **SMALL, num_hidden_layers=2, sliding_window=16, num_local_experts=2,
        num_experts_per_tok=1, layer_types=layers,
    )  # fmt: skip
    program = of_tokens(transformers.GptOssForCausalLM, config, 64, implementation="eager")
    assert attentions(program) == []
    inside = [op for op in program.ops if op.kind == "matmul" and len(op.inputs[0].shape) == 3
              and op.inputs[0].shape[0] == 4]  # fmt: skip
    assert counted(inside)[0] == 2 * 4 * 64 * 64 * 16


def test_gpt_oss_in_flex_attention_counts_blocks():
    transformers = pytest.importorskip("transformers")
    layers = ["sliding_attention", "full_attention"]
    config = transformers.GptOssConfig(
        **SMALL, num_hidden_layers=2, sliding_window=100, num_local_experts=2,
        num_experts_per_tok=1, layer_types=layers,
    )  # fmt: skip
    kind = transformers.GptOssForCausalLM
    program = of_tokens(kind, config, 512, implementation="flex_attention")
    assert program.rung == "meta"
    # 4 rows of blocks of 128: a window of 100 reaches one block back, or all that are before
    windowed, full = 1 + 2 + 2 + 2, 1 + 2 + 3 + 4
    assert [op.attributes["pairs"] for op in attentions(program)] == [
        4 * windowed * 128 * 128, 4 * full * 128 * 128
    ]  # fmt: skip


def test_a_mask_that_is_cut_off_is_not_the_pattern_any_more():
    from weighbridge.frontends.torch.masks import note, pattern_of

    table = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    note(table, {"causal": True, "window": 2})
    assert pattern_of(table.expand(3, 2, 8, 8)) == {"causal": True, "window": 2}
    assert pattern_of(table[..., :4]) == {}
    assert pattern_of(torch.ones(1, 1, 8, 8)) == {}
    assert pattern_of(None) == {}


def test_transformers_is_as_it_was_afterwards():
    pytest.importorskip("transformers")
    from transformers import masking_utils

    from weighbridge.frontends.torch.sequences import full_sequences

    before = masking_utils.sliding_window_causal_mask_function
    with full_sequences():
        assert masking_utils.sliding_window_causal_mask_function is not before
        assert "sdpa" in masking_utils.ALL_MASK_ATTENTION_FUNCTIONS._local_mapping
    assert masking_utils.sliding_window_causal_mask_function is before
    assert masking_utils.ALL_MASK_ATTENTION_FUNCTIONS._local_mapping == {}


# -- the kernels of a device -----------------------------------------------------------------------


class Attending(nn.Module):
    """Queries, keys and values as they come."""

    def __init__(self, mask=None, **how):
        super().__init__()
        self.mask, self.how = mask, how

    def forward(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask, **self.how)


def of_heads(*shapes, dtype="float32", backend="cuda", mask=None, **how):
    inputs = tuple(InputSpec(shape=shape) for shape in shapes)
    workload = Workload(
        inputs=inputs,
        batch=2,
        mode="training",
        input_gradient=True,
        loss="mean",
        dtype=dtype,
        backend=backend,
    )
    net = Attending(mask, **how)
    net.scale = nn.Parameter(torch.ones(1))
    return trace(net, workload, network="net", source="test")


@pytest.mark.parametrize(
    ("dtype", "how", "extra"),
    [
        # flash: 2 x 4 x 50 sums in float32
        ("bfloat16", {}, 2 * 4 * 50 * 4),
        # efficient: the rows are padded to 64
        ("float32", {}, 2 * 4 * 64 * 4),
        # math, of 30 wide: scaled queries and keys and 50 x 50 scores
        ("float32", {"width": 30}, 2 * (2 * 4 * 50 * 30 * 4) + 2 * 4 * 50 * 50 * 4 + 4),
    ],
)
def test_what_cudas_kernels_keep_beside_operands_and_result(dtype, how, extra):
    width = how.get("width", 32)
    program = of_heads(*[(4, 50, width)] * 3, dtype=dtype)
    (op,) = attentions(program)
    sizes = {storage.id: storage.bytes for storage in program.storages}
    kept = {tensor.storage for tensor in op.outputs[1:]}
    assert sum(sizes[storage] for storage in kept) == extra
    (back,) = [op for op in program.ops if op.kind == "attention_backward"]
    assert kept <= {tensor.storage for tensor in back.inputs}


@pytest.mark.parametrize("how", [{}, {"is_causal": True}, {"dropout_p": 0.1}])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("masked", [False, True])
def test_what_the_cpu_keeps_is_what_it_keeps(dtype, how, masked):
    """The CPU can be asked: every storage that autograd keeps for backward, by its size."""
    if masked and "is_causal" in how:
        pytest.skip("PyTorch refuses both")
    mask = torch.ones(2, 1, 50, 50, dtype=torch.bool) if masked else None
    operands = [
        torch.randn(2, 4, 50, 32, dtype=getattr(torch, dtype)).requires_grad_() for _ in range(3)
    ]
    kept, alive = {}, []
    given = {tensor.untyped_storage()._cdata for tensor in operands}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in given:
            kept[storage._cdata] = storage.nbytes()
        alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = F.scaled_dot_product_attention(*operands, attn_mask=mask, **how)
        y.mean()
    kept[y.untyped_storage()._cdata] = y.untyped_storage().nbytes()  # who calls has it
    program = of_heads(*[(4, 50, 32)] * 3, dtype=dtype, backend="cpu", mask=mask, **how)
    first = next(i for i, op in enumerate(program.ops) if op.phase == "backward")
    lasting = [
        storage.bytes
        for storage in program.storages
        if 0 <= storage.birth < first and (storage.death is None or storage.death >= first)
    ]
    # from the log-sum-exp upward, 2 x 4 x 50 numbers in float32: scalars of the mean are left out
    least = 2 * 4 * 50 * 4
    assert sorted(size for size in lasting if size >= least) == sorted(
        size for size in kept.values() if size >= least
    )
