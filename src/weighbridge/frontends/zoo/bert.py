"""BERT-base: a transformer encoder over word pieces, with its pooler.

Paths are those of transformers' `BertModel`, from its default configuration. It ends in hidden states, not in
logits, so that its loss is the mean of the hidden states unless the workload says otherwise; the pooler
has no part in that, and is not trained by it. Attention drops some of its probabilities in training,
inside the operator.
"""

from __future__ import annotations

from ...builder import Builder
from ...errors import ShapeError
from ...layers import add, attention, dropout, embedding, layer_norm, linear
from ...program import Tensor
from ...workload import InputSpec
from .network import Ends, Network, networks

VOCABULARY = 30522
POSITIONS = 512
TYPES = 2
BLOCKS = 12
HEADS = 12
WIDTH = 768
HIDDEN = 3072
DROPOUT = 0.1

NETWORKS = networks(
    Network(
        name="bert-base",
        title="BERT-base",
        citation="Devlin, Chang, Lee and Toutanova, BERT: Pre-training of Deep Bidirectional "
        "Transformers for Language Understanding, NAACL 2019, section 3",
        year=2019,
        inputs=(InputSpec(shape=(128,), dtype="int64", name="input_ids"),),
        depth=49,
        note="uncased, with pooler; 128 word pieces, the length of nine tenths of its pre-training",
    )
)


def build(net: Builder, name: str, x: Tensor) -> Ends:
    """Word pieces (B, T) -> hidden states (B, T, 768) and the pooled first one (B, 768)."""
    x = _embeddings(net, x)
    with net.module("encoder", "BertEncoder"), net.module("layer", "ModuleList"):
        for index in range(BLOCKS):
            x = _block(net, x, f"{index}")
    return Ends(outputs=(x, _pooler(net, x)), loss_weights=(1, 0), loss="mean")


def _embeddings(net: Builder, tokens: Tensor) -> Tensor:
    """(B, T) -> (B, T, n): word, type and position, added and normalised."""
    batch, length = tokens.shape
    if length > POSITIONS:
        raise ShapeError(
            f"embeddings.position_embeddings holds {POSITIONS} positions, and the input "
            f"{tokens.shape} has {length}"
        )
    with net.module("embeddings", "BertEmbeddings"):
        every_position = net.buffer("position_ids", (1, POSITIONS), dtype="int64")
        every_type = net.buffer("token_type_ids", (1, POSITIONS), dtype="int64")
        (positions,) = net.op("slice", every_position, axis=1, start=0, length=length)
        (types,) = net.op("gather", every_type, positions, shape=(1, length))
        (types,) = net.op("expand", types, shape=(batch, length))
        x = embedding(net, tokens, "word_embeddings", VOCABULARY, WIDTH)
        x = add(net, x, embedding(net, types, "token_type_embeddings", TYPES, WIDTH))
        x = add(net, x, embedding(net, positions, "position_embeddings", POSITIONS, WIDTH))
        return dropout(net, layer_norm(net, x, "LayerNorm"), "dropout", DROPOUT)


def _block(net: Builder, x: Tensor, name: str) -> Tensor:
    with net.module(name, "BertLayer"):
        with net.module("attention", "BertAttention"):
            with net.module("self", "BertSelfAttention"):
                q, k, v = (linear(net, x, part, WIDTH) for part in ("query", "key", "value"))
                with net.module("dropout", "Dropout", f"p={DROPOUT}"):
                    pass  # never called: attention drops its probabilities itself
                y = attention(net, q, k, v, HEADS, rate=DROPOUT)
            x = _added(net, y, x, "BertSelfOutput")
        with net.module("intermediate", "BertIntermediate"):
            y = linear(net, x, "dense", HIDDEN)
            with net.module("intermediate_act_fn", "GELUActivation"):
                (y,) = net.op("gelu", y)
        return _added(net, y, x, "BertOutput")


def _added(net: Builder, y: Tensor, x: Tensor, kind: str) -> Tensor:
    """The end of either half of a block: projected, dropped out, added to its input, normalised."""
    with net.module("output", kind):
        y = dropout(net, linear(net, y, "dense", WIDTH), "dropout", DROPOUT)
        with net.holding(y):
            return layer_norm(net, add(net, y, x), "LayerNorm")


def _pooler(net: Builder, x: Tensor) -> Tensor:
    """(B, T, n) -> (B, n), from the first token."""
    with net.module("pooler", "BertPooler"):
        (first,) = net.op("slice", x, axis=1, start=0, length=1)
        (first,) = net.op("reshape", first, shape=(x.shape[0], WIDTH))
        y = linear(net, first, "dense", WIDTH)
        with net.module("activation", "Tanh"):
            return net.op("tanh", y)[0]
