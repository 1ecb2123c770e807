"""GPT-2 small: a transformer decoder, each token attending to those before it.

Paths are those of transformers' `GPT2LMHeadModel`. Its linear layers are `Conv1D`, whose weight lies
the other way round, (inputs, outputs); the head that predicts the next token is the table of word
embeddings again, one parameter under two names. Attention drops some of its probabilities in training,
inside the operator.
"""

from __future__ import annotations

from ...builder import Builder
from ...dims import product
from ...errors import ShapeError
from ...layers import add, attention, dropout, embedding, layer_norm, multiply
from ...program import Tensor
from ...workload import InputSpec
from .network import Ends, Network, networks

VOCABULARY = 50257
POSITIONS = 1024
BLOCKS = 12
HEADS = 12
WIDTH = 768
DROPOUT = 0.1

NETWORKS = networks(
    Network(
        name="gpt2",
        title="GPT-2 small",
        citation="Radford, Wu, Child, Luan, Amodei and Sutskever, Language Models are Unsupervised "
        "Multitask Learners, 2019, table 2",
        year=2019,
        inputs=(InputSpec(shape=(1024,), dtype="int64", name="input_ids"),),
        depth=49,
        note="12 blocks, 124 M parameters (117 M in the paper's table); 1024 tokens, its whole context",
    )
)


def build(net: Builder, name: str, x: Tensor) -> Ends:
    """Tokens (B, T) -> logits (B, T, 50257)."""
    with net.module("transformer", "GPT2Model"):
        x, table = _embeddings(net, x)
        with net.module("h", "ModuleList"):
            for index in range(BLOCKS):
                x = _block(net, x, f"{index}")
        x = layer_norm(net, x, "ln_f")
    detail = f"in_features={WIDTH}, out_features={VOCABULARY}, bias=False"
    with net.module("lm_head", "Linear", detail):
        return Ends(outputs=(multiply(net, x, net.alias("weight", table)),))


def _embeddings(net: Builder, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """(B, T) -> (B, T, n), words and positions added; and the table of words."""
    _, length = tokens.shape
    if length > POSITIONS:
        raise ShapeError(
            f"{net.scope}.wpe holds {POSITIONS} positions, and the input {tokens.shape} has {length}"
        )
    (positions,) = net.op("fill", shape=(1, length), dtype="int64")
    with net.module("wte", "Embedding", f"{VOCABULARY}, {WIDTH}"):
        table = net.parameter("weight", (VOCABULARY, WIDTH))
        (x,) = net.op("embedding", table, tokens)
    x = add(net, x, embedding(net, positions, "wpe", POSITIONS, WIDTH))
    return dropout(net, x, "drop", DROPOUT), table


def _block(net: Builder, x: Tensor, name: str) -> Tensor:
    with net.module(name, "GPT2Block"):
        y = layer_norm(net, x, "ln_1")
        with net.module("attn", "GPT2Attention"):
            packed = _conv1d(net, y, "c_attn", 3 * WIDTH)
            q, k, v = net.op("split", packed, axis=2, length=WIDTH)
            with net.module("attn_dropout", "Dropout", f"p={DROPOUT}"):
                pass  # never called: attention drops its probabilities itself
            y = attention(net, q, k, v, HEADS, causal=True, rate=DROPOUT)
            y = dropout(net, _conv1d(net, y, "c_proj", WIDTH), "resid_dropout", DROPOUT)
        x = add(net, y, x)
        y = layer_norm(net, x, "ln_2")
        with net.module("mlp", "GPT2MLP"):
            y = _conv1d(net, y, "c_fc", 4 * WIDTH)
            y = _gelu(net, y)
            y = dropout(net, _conv1d(net, y, "c_proj", WIDTH), "dropout", DROPOUT)
        return add(net, x, y)


def _gelu(net: Builder, x: Tensor) -> Tensor:
    """x/2 * (1 + tanh(a * (x + b * x^3))), written out as in the published code: no step is fused."""
    with net.module("act", "NewGELUActivation"):
        (half,) = net.op("mul", x)
        (y,) = net.op("pow", x, exponent=3)
        (y,) = net.op("mul", y)
        (y,) = net.op("mul", add(net, x, y))
        (y,) = net.op("tanh", y)
        (y,) = net.op("add", y)
        return net.op("mul", half, y)[0]


def _conv1d(net: Builder, x: Tensor, name: str, features: int) -> Tensor:
    """(B, T, n) -> (B, T, features), by a weight (n, features)."""
    inside = x.shape[-1]
    with net.module(name, "Conv1D", f"nf={features}, nx={inside}"):
        weight = net.parameter("weight", (inside, features))
        bias = net.parameter("bias", (features,))
        (flat,) = net.op("reshape", x, shape=(product(x.shape[:-1]), inside))
        (flat,) = net.op("matmul", flat, weight, bias)
        return net.op("reshape", flat, shape=(*x.shape[:-1], features))[0]
