"""What is weighed, and what it comes to: every expected number with its arithmetic.

Nothing here imports a framework: `Case.build` says what `networks` has to build for the case.
T is the length of a sequence, D the width of a model, F that of its feed-forward layer, H heads,
E experts. A product (m, n) by (n, k) is m*n*k MACs; a convolution is the size of its kernel over all
channels times the positions it is applied to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A network with what one forward pass of it costs.

    `macs` and `params` are derived by hand, or None where nobody did; `source` says how in a line.
    `conventions` holds totals that are right by another named convention. `readings` holds what another
    total would count: the number is the evidence for the reason, so no two reasons share one.
    `digits` is how many decimals of a giga a published figure has, None for an exact one.
    """

    name: str
    title: str
    build: str
    macs: int | None
    params: int | None
    source: str
    conventions: Mapping[int, str] = field(default_factory=dict)
    readings: Mapping[str, int] = field(default_factory=dict)
    digits: int | None = None


# -- attention: T = 1024, D = 512 -----------------------------------------------------------------

# q, k, v and the output are four products (T, D) by (D, D): 4 * 1024 * 512 * 512.
PROJECTIONS = 4 * 1024 * 512 * 512  # 1,073,741,824
# Scores are (T, D) by (D, T) over all heads together, values (T, T) by (T, D): 2 * 1024 * 1024 * 512.
SQUARE = 2 * 1024 * 1024 * 512  # 1,073,741,824
# Under a causal mask query i sees i keys: 1 + 2 + ... + 1024 = 524,800 pairs, of 1,048,576.
CAUSAL = 2 * (1024 * 1025 // 2) * 512  # 537,395,200

# -- an encoder layer: T = 512, D = 512, F = 2048 -----------------------------------------------------

# Not T = 1024: there the feed-forward costs what the attention does, and a tool that says half would not
# tell which half. Two products (T, D) by (D, F) and (T, F) by (F, D) are the feed-forward.
LAYER_PROJECTIONS = 4 * 512 * 512 * 512  # 536,870,912
LAYER_SQUARE = 2 * 512 * 512 * 512  # 268,435,456
LAYER_FEED_FORWARD = 2 * 512 * 512 * 2048  # 1,073,741,824

# -- two decoders of transformers: D = 512, 8 heads that share 2 of keys and values, 1,000 words --------

# Queries and output are D*D, keys and values D*D/4 each. Rotary places are no matrix product.
GROUPED_PROJECTIONS = 2 * 512 * 512 + 2 * 512 * 128  # 655,360
# Llama with T = 128, two layers, F = 1408: gate, up and down are D*F each.
LLAMA_LINEAR = 128 * (2 * (GROUPED_PROJECTIONS + 3 * 512 * 1408) + 512 * 1000)  # 786,956,288
LLAMA_CAUSAL = 2 * 2 * (128 * 129 // 2) * 512  # 16,908,288
LLAMA_SQUARE = 2 * 2 * 128 * 128 * 512  # 33,554,432
# Mixtral with T = 256, one layer, F = 1024: the router is D*8, and 2 of 8 experts take each token.
MIXTRAL_LINEAR = 256 * (GROUPED_PROJECTIONS + 512 * 8 + 512 * 1000)  # 299,892,736
MIXTRAL_EXPERTS = 256 * 2 * 3 * 512 * 1024  # 805,306,368
MIXTRAL_CAUSAL = 2 * (256 * 257 // 2) * 512  # 33,685,504
MIXTRAL_SQUARE = 2 * 256 * 256 * 512  # 67,108,864

# -- GPT-2 small: D = 768, 12 blocks, 50,257 tokens in the vocabulary, here T = 128 -----------------

# A block has D*3D + D*D + D*4D + 4D*D = 12*D*D weights, each used once a token.
GPT2_BLOCKS = 12 * 12 * 768 * 768 * 128  # 10,871,635,968
# 1 + ... + 128 = 8,256 pairs a block, of 16,384; each D products for its score and D for its value.
GPT2_CAUSAL = 12 * 2 * 8256 * 768  # 152,174,592
GPT2_SQUARE = 12 * 2 * 128 * 128 * 768  # 301,989,888
GPT2_HEAD = 128 * 768 * 50257  # 4,940,464,128
# Embeddings of tokens and places, which the head shares; a block's four matrices with their biases
# (3D + D + 4D + D) and two normalisations (2D each); the last normalisation.
GPT2_PARAMS = (50257 + 1024) * 768 + 12 * (12 * 768 * 768 + 9 * 768 + 4 * 768) + 2 * 768

# -- BERT base: D = 768, 12 blocks, 30,522 tokens, 512 places, 2 kinds of segment; here T = 128 --------------

# Blocks as GPT-2's, every token sees every other, and the pooler is one more D*D on the first token.
BERT_POOLER = 768 * 768
# Three embeddings and their normalisation; blocks as GPT-2's; the pooler with its bias.
BERT_PARAMS = (30522 + 512 + 2 + 2) * 768 + 12 * (12 * 768 * 768 + 13 * 768) + 768 * 769

# -- ViT-B/16: D = 768, 14 * 14 patches of 16 * 16 * 3 and a class token, 12 blocks --------------------

VIT_PATCHES = 196 * 768 * (16 * 16 * 3)  # 115,605,504
VIT_MLP = 12 * 8 * 768 * 768 * 197
VIT_PROJECTIONS = 12 * 4 * 768 * 768 * 197
VIT_SQUARE = 12 * 2 * 197 * 197 * 768  # 715,327,488
VIT_HEAD = 768 * 1000


def resnet50() -> tuple[int, int]:
    """MACs and parameters of ResNet-50 as torchvision has it, from He et al. 2016, Table 1.

    A bottleneck of width w on maps of s*s from c channels: 1x1 c->w at the size that comes in, 3x3 w->w
    (torchvision strides this one), 1x1 w->4w, and where it is a stage's first, 1x1 c->4w on the shortcut.
    Every convolution has no bias, and a batch norm with a scale and a shift a channel.
    """
    stem = 7 * 7 * 3 * 64
    macs, params, channels = stem * 112 * 112, stem + 2 * 64, 64
    for blocks, width, size in ((3, 64, 56), (4, 128, 28), (6, 256, 14), (3, 512, 7)):
        for block in range(blocks):
            coming = size * 2 if block == 0 and width > 64 else size
            entry, middle, leaving = channels * width, 9 * width * width, 4 * width * width
            shortcut = channels * 4 * width if block == 0 else 0
            macs += entry * coming**2 + (middle + leaving + shortcut) * size**2
            params += entry + middle + leaving + shortcut
            params += 2 * (width + width + 4 * width) + (2 * 4 * width if shortcut else 0)
            channels = 4 * width
    return macs + 2048 * 1000, params + 2048 * 1000 + 1000


RESNET50_MACS, RESNET50_PARAMS = resnet50()

ONE_VECTOR = (
    "a linear layer counts as one vector: the sequence axis is ignored; the rest has no rule"
)
AS_CONVOLUTION = "transformers' Conv1D is taken for a convolution by its name: its weights times the last axis, not times T"
NO_ATTENTION = "projections only: no rule for scaled_dot_product_attention"

CASES: tuple[Case, ...] = (
    Case(
        name="attention",
        title="Scaled dot-product attention, T = 1024, D = 512",
        build="attention",
        macs=PROJECTIONS + SQUARE,  # 2,147,483,648
        params=4 * 512 * 512,  # no biases
        source="4·T·D² + 2·T²·D",
        readings={NO_ATTENTION: PROJECTIONS, ONE_VECTOR: 4 * 512 * 512},
    ),
    Case(
        name="attention-causal",
        title="Scaled dot-product attention under a causal mask, T = 1024, D = 512",
        build="causal_attention",
        macs=PROJECTIONS + CAUSAL,  # 1,611,137,024
        params=4 * 512 * 512,
        source="4·T·D² + 2·D·T·(T+1)/2: the pairs that are computed",
        conventions={PROJECTIONS + SQUARE: "full square"},
        readings={NO_ATTENTION: PROJECTIONS, ONE_VECTOR: 4 * 512 * 512},
    ),
    Case(
        name="encoder-layer",
        title="A transformer's encoder layer (nn.TransformerEncoderLayer) in eval mode, D = 512, F = 2048, T = 512",
        build="encoder_layer",
        macs=LAYER_PROJECTIONS + LAYER_SQUARE + LAYER_FEED_FORWARD,  # 1,879,048,192
        # 4*D*D with 4*D biases; D*F + F, F*D + D; two normalisations of 2*D
        params=4 * 512 * 512 + 4 * 512 + 2 * 512 * 2048 + 2048 + 512 + 4 * 512,
        source="4·T·D² + 2·T²·D + 2·T·D·F",
        readings={
            "the fused kernel of the whole layer has no rule": 0,
            "one vector through the feed-forward, nothing of the attention": 2 * 512 * 2048,
            "feed-forward only: nothing of the attention": LAYER_FEED_FORWARD,
            "feed-forward and the output projection": LAYER_FEED_FORWARD + LAYER_PROJECTIONS // 4,
            "all but scores and values: no rule for attention": LAYER_FEED_FORWARD
            + LAYER_PROJECTIONS,
            "the output projection and attention are missing": LAYER_FEED_FORWARD
            + LAYER_PROJECTIONS // 4 * 3,
            "attention only: nothing of the feed-forward": LAYER_PROJECTIONS + LAYER_SQUARE,
        },
    ),
    Case(
        name="matmul",
        title="The product a @ b behind a linear layer",
        build="matmul",
        # (256, 512) by (512, 512), then (256, 512) by (512, 256)
        macs=256 * 512 * 512 + 256 * 512 * 256,  # 67,108,864 + 33,554,432
        params=512 * 512,
        source="256·512·512 + 256·512·256",
        readings={"modules only: `@` has no rule": 256 * 512 * 512, ONE_VECTOR: 512 * 512},
    ),
    Case(
        name="einsum",
        title="The einsum 'btd,hde->bhte' with an nn.Parameter",
        build="einsum",
        # b = 1, t = 1024, d = 512, h = 8, e = 64: the product of all letters
        macs=1024 * 512 * 8 * 64,  # 268,435,456
        params=8 * 512 * 64,
        source="t·d·h·e = 1024·512·8·64",
        readings={
            "no module does it, and einsum has no rule": 0,
            "the weight counts once, whatever it meets": 512 * 8 * 64,
        },
    ),
    Case(
        name="lstm",
        title="An LSTM of two layers, 512 to 512, 90 steps",
        build="lstm",
        # Four gates of H from an input and a state of H each, H = 512: 4*512*(512+512) a layer and step.
        macs=90 * 2 * 4 * 512 * (512 + 512),  # 377,487,360
        params=2 * (4 * 512 * (512 + 512) + 2 * 4 * 512),  # PyTorch has two biases a gate
        source="90 steps · 2 layers · 4·H·(H+H)",
        readings={"no rule for the LSTM": 0, "one layer of the two": 90 * 4 * 512 * (512 + 512)},
    ),
    Case(
        name="moe-bmm",
        title="A mixture of 8 stacked experts through bmm, each taking 64 of 256 tokens",
        build="experts_bmm",
        # The router, (256, 512) by (512, 8); then 8 experts of 64 tokens: D*F up and F*D down, F = 1024.
        macs=256 * 512 * 8 + 8 * 64 * 2 * 512 * 1024,  # 1,048,576 + 536,870,912
        params=512 * 8 + 8 * 2 * 512 * 1024,
        source="T·D·E + E·64·2·D·F",
        readings={"the router only: no rule for bmm": 256 * 512 * 8},
    ),
    Case(
        name="moe-grouped",
        title="A mixture of 8 stacked experts through grouped_mm, 2 a token, bfloat16",
        build="experts_grouped",
        macs=256 * 512 * 8 + 256 * 2 * 2 * 512 * 1024,  # as many expert rows as above: 256 * 2
        params=512 * 8 + 8 * 2 * 512 * 1024,
        source="T·D·E + T·2·2·D·F",
        readings={"the router only: no rule for grouped_mm": 256 * 512 * 8},
    ),
    Case(
        name="moe-mixtral",
        title="Mixtral of transformers, one layer of 8 stacked experts, 2 a token, T = 256",
        build="mixtral",
        macs=MIXTRAL_LINEAR + MIXTRAL_EXPERTS + MIXTRAL_CAUSAL,  # 1,138,884,608
        # embedding and head; attention and router; 8 experts of 3*D*F; three normalisations
        params=2 * 1000 * 512 + GROUPED_PROJECTIONS + 512 * 8 + 8 * 3 * 512 * 1024 + 3 * 512,
        source="T·(2·D² + 2·D²/4 + D·8 + D·1000) + T·2·3·D·F + 2·D·T·(T+1)/2",
        conventions={MIXTRAL_LINEAR + MIXTRAL_EXPERTS + MIXTRAL_SQUARE: "full square"},
        readings={
            "no rule for grouped_mm nor attention: projections, router and head": MIXTRAL_LINEAR,
            "attention, but no rule for grouped_mm": MIXTRAL_LINEAR + MIXTRAL_SQUARE,
            "experts, but no rule for attention": MIXTRAL_LINEAR + MIXTRAL_EXPERTS,
            ONE_VECTOR: GROUPED_PROJECTIONS + 256 * 512 * 8 + 512 * 1000,
        },
    ),
    Case(
        name="conv-transposed",
        title="A transposed convolution (nn.ConvTranspose2d) 64 to 32, 4x4, stride 2, on 32 x 32",
        build="conv_transposed",
        # Every input value meets every kernel value once: 64*32*32 times 32*4*4.
        macs=64 * 32 * 32 * 32 * 4 * 4,  # 33,554,432
        params=64 * 32 * 4 * 4 + 32,
        source="c·M·N · k·4·4, over the input's positions",
        readings={"4x: counted over the output's positions": 64 * 64 * 64 * 32 * 4 * 4},
    ),
    Case(
        name="subclass",
        title="Subclasses of nn.Conv2d and nn.Linear",
        build="subclasses",
        # 64 kernels of 3*3*3 on 64 * 64 positions; a linear layer 64 to 128 on each of them.
        macs=64 * 27 * 4096 + 4096 * 64 * 128,  # 7,077,888 + 33,554,432
        params=64 * 27 + 64 + 64 * 128 + 128,
        source="64·3·3·3·64·64 + 64·64·64·128",
        readings={
            "only the exact classes are known, not what derives from them": 0,
            "the linear layer counts as one vector: the axis of positions is ignored": 64 * 27 * 4096
            + 64 * 128,
        },
    ),
    Case(
        name="linear-sequence",
        title="A linear layer over a sequence (4, 1024, 512)",
        build="linear_sequence",
        macs=4 * 1024 * 512 * 512,  # 1,073,741,824
        params=512 * 512 + 512,
        source="B·T·D·D",
        readings={
            "one vector: all axes in front are ignored": 512 * 512,
            "a linear layer counts as one vector a sample: the sequence axis is ignored": 4 * 512 * 512,
            "one sample of the four": 1024 * 512 * 512,
        },
    ),
    Case(
        name="conv1d-hf",
        title="The MLP of a block of GPT-2 small, with transformers' Conv1D, T = 1024",
        build="conv1d",
        macs=2 * 1024 * 768 * 3072,  # 4,831,838,208
        params=2 * 768 * 3072 + 3072 + 768,
        source="2·T·D·4D",
        readings={
            "transformers' Conv1D is not known and addmm has no rule": 0,
            # 768*3072 weights times a last axis of 3072, then 3072*768 times one of 768
            AS_CONVOLUTION: 768 * 3072**2 + 3072 * 768**2,
        },
    ),
    Case(
        name="gpt2",
        title="GPT-2 small of transformers with its head, a cache in the output, T = 128",
        build="gpt2",
        macs=GPT2_BLOCKS + GPT2_CAUSAL + GPT2_HEAD,  # 15,964,274,688
        params=GPT2_PARAMS,  # 124,439,808
        source="12·(12·D²·T + 2·D·T·(T+1)/2) + T·D·50257",
        conventions={GPT2_BLOCKS + GPT2_SQUARE + GPT2_HEAD: "full square"},
        readings={
            NO_ATTENTION: GPT2_BLOCKS + GPT2_HEAD,
            "the head only: transformers' Conv1D is not known, nor attention": GPT2_HEAD,
            "head and attention: transformers' Conv1D is not known": GPT2_HEAD + GPT2_SQUARE,
            # D*3D, D*D, D*4D and 4D*D weights times last axes of 3D, D, 4D and D, twelve times
            AS_CONVOLUTION: 12 * (9 + 1 + 16 + 4) * 768**3,
        },
    ),
    Case(
        name="bert-base",
        title="BERT base of transformers, T = 128",
        build="bert",
        macs=GPT2_BLOCKS + GPT2_SQUARE + BERT_POOLER,  # 11,174,215,680
        params=BERT_PARAMS,  # 109,482,240
        source="12·(12·D²·T + 2·T²·D) + D²",
        readings={
            NO_ATTENTION: GPT2_BLOCKS + BERT_POOLER,
            ONE_VECTOR: GPT2_BLOCKS // 128 + BERT_POOLER,
        },
    ),
    Case(
        name="llama-cache",
        title="Llama of transformers, two layers, grouped queries, a cache in the output, T = 128",
        build="llama_small",
        macs=LLAMA_LINEAR + LLAMA_CAUSAL,  # 803,864,576
        # embedding and head; two layers with two normalisations each; the last normalisation
        params=2 * 1000 * 512 + 2 * (GROUPED_PROJECTIONS + 3 * 512 * 1408 + 2 * 512) + 512,
        source="T·(2·(2·D² + 2·D²/4 + 3·D·F) + D·1000) + 2·2·D·T·(T+1)/2",
        conventions={LLAMA_LINEAR + LLAMA_SQUARE: "full square"},
        readings={NO_ATTENTION: LLAMA_LINEAR, ONE_VECTOR: LLAMA_LINEAR // 128},
    ),
    Case(
        name="vit_b_16",
        title="ViT-B/16 of torchvision, 224 x 224",
        build="torchvision:vit_b_16",
        macs=VIT_PATCHES + VIT_MLP + VIT_PROJECTIONS + VIT_SQUARE + VIT_HEAD,  # 17,563,828,224
        # patches with a bias; class token; places; blocks as GPT-2's; last norm; head
        params=(768 * 769) + 768 + 197 * 768 + 12 * (12 * 768 * 768 + 13 * 768)
        + 2 * 768 + 769 * 1000,
        source="196·D·768 + 12·(12·D²·T + 2·T²·D) + D·1000, T = 197",
        readings={
            "nothing of the attention, its projections included": VIT_PATCHES + VIT_MLP + VIT_HEAD,
            "patches, one vector through each MLP, nothing of the attention":
                VIT_PATCHES + VIT_MLP // 197 + VIT_HEAD,
            "of the attention, the output projection only":
                VIT_PATCHES + VIT_MLP + VIT_PROJECTIONS // 4 + VIT_HEAD,
            "all but scores and values: no rule for attention":
                VIT_PATCHES + VIT_MLP + VIT_PROJECTIONS + VIT_HEAD,
            "scores, values and the output projection are missing":
                VIT_PATCHES + VIT_MLP + VIT_PROJECTIONS // 4 * 3 + VIT_HEAD,
        },
    ),
    Case(
        name="tied",
        title="An embedding whose weight is the head's too",
        build="tied",
        macs=32 * 64 * 1000,  # looking up a row is no product
        params=1000 * 64,  # one matrix
        source="T·D·V; one matrix of V·D",
        readings={"each weight counts once, whatever it meets, and the tied one twice": 2 * 64 * 1000},
    ),
    Case(
        name="uncalled",
        title="Frozen and uncalled layers, and a raw parameter",
        build="uncalled",
        macs=2 * 16 * 64 * 64,  # the uncalled layer costs nothing
        # two called layers of 64*64 + 64, one frozen; 64*128 + 128 that nobody calls; 64 raw
        params=2 * (64 * 64 + 64) + 64 * 128 + 128 + 64,
        source="2·16·64·64; parameters 2·4,160 + 8,320 + 64",
        readings={ONE_VECTOR: 2 * 64 * 64},
    ),
    Case(
        name="dict-io",
        title="A forward that takes a dict and returns one",
        build="dicts",
        macs=16 * 64 * 128,
        params=64 * 128 + 128,
        source="16·64·128",
        readings={ONE_VECTOR: 64 * 128},
    ),
    Case(
        name="depthwise",
        title="Depthwise and grouped convolution on 56 x 56",
        build="depthwise",
        # 64 channels with a 3x3 each; then 128 kernels over 64/4 = 16 channels
        macs=64 * 9 * 3136 + 128 * 16 * 9 * 3136,  # 1,806,336 + 57,802,752
        params=64 * 9 + 64 + 128 * 16 * 9 + 128,
        source="64·9·56² + 128·(64/4)·9·56²",
    ),
    Case(
        name="resnet50",
        title="ResNet-50 of torchvision, 224 x 224",
        build="torchvision:resnet50",
        macs=RESNET50_MACS,  # 4,089,184,256
        params=RESNET50_PARAMS,  # 25,557,032
        source="He et al. 2016, Table 1, block by block (see `cases.resnet50`)",
    ),
)  # fmt: skip

BY_NAME: Mapping[str, Case] = {case.name: case for case in CASES}
