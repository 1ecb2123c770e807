"""The notation: what it reads, what that costs by hand, and where it points when it cannot read."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.analyses.compute import compute, counted_by, op_costs
from weighbridge.analyses.parameters import parameters
from weighbridge.errors import NotationError, UsageError, WeighError
from weighbridge.frontends.notation import is_notation, read
from weighbridge.frontends.notation.kinds import KINDS
from weighbridge.frontends.notation.parse import JOINS, parse
from weighbridge.ops import rule_of
from weighbridge.ops.optimizers import optimizer
from weighbridge.program import Program, dumps, loads
from weighbridge.workload import InputSpec, Workload

DOCUMENT = Path(__file__).parents[1] / "docs" / "notation.md"


def network(text: str, **workload: object) -> Program:
    return read(text, Workload(**workload))  # type: ignore[arg-type]


def params(text: str) -> int:
    return parameters(network(text)).total


def macs(text: str) -> int:
    return compute(network(text)).forward.macs


def output(text: str) -> tuple[int, ...]:
    return network(text).outputs[0].shape[1:]


def scopes(text: str) -> list[str]:
    """The scopes that hold no others."""
    every = [module.scope for module in network(text).modules]
    return [s for s in every if not any(other.startswith(f"{s}.") for other in every)]


# -- the lecture's slides ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "operations"),
    [
        # 2·c·w·h·(M−w+1)·(N−h+1)·k = 2·3·5·5·220·220·6
        ("(Input)(3,224,224)->(Conv)6c5w1s0p", 43_560_000),
        # 2·3·3·3·222·222·16
        ("(Input)(3,224,224)->(Conv)16c3w1s0p", 42_581_376),
        # 2·n·k
        ("100 -> (fc)10", 2_000),
        ("4096 -> (fc)1000", 8_192_000),
    ],
)
def test_the_slides_read_as_they_stand(text: str, operations: int) -> None:
    """L10 and L12."""
    assert counted_by("lecture", [c for c in op_costs(network(text)) if c]) == operations


@pytest.mark.parametrize(
    "text",
    [
        "( input ) ( 3 , 224 , 224 ) -> ( CONV ) 6 C 5 W 1 S 0 P",
        "(Input)(3,224,224)→(conv)5w6c",
        "3x224x224\n->\t(Convolution)5w0p6c1s",
        "(3,224,224,)->(Conv)1g1d6c5w5h",
        "(Input)3,224,224 -> (Con-v)6c5w",
    ],
)
def test_spaces_case_and_order_make_no_difference(text: str) -> None:
    assert params(text) == 456
    assert macs(text) == 21_780_000


# -- one layer at a time -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shape", "count", "products"),
    [
        # 128 kernels of 64/4 = 16 channels: 128·(16·9+1); 128·144 products at 8·8 places
        ("64,10,10->(Conv)128c3w4g", (128, 8, 8), 18_560, 1_179_648),
        # dilation 2 makes 3 reach 5: 6·6 places of 9 products
        ("1,10,10->(Conv)1c3w2d", (1, 6, 6), 10, 324),
        # one kernel a channel, 32·9; at 112·112 places
        ("32,112,112->(DWConv)3w1p nobias", (32, 112, 112), 288, 3_612_672),
        ("32,112,112->(DWConv)3 same", (32, 112, 112), 320, 3_612_672),
        # L15's reading of GoogLeNet's conv1: 3·8·49 + 24·64 = 2,712 weights, at 112·112 places each
        ("3,224,224->(DWConv)7w2s3p8m nobias->(Conv)64c1w nobias", (64, 112, 112), 2_712, 34_019_328),
        # a signal: (100−5)//2+1 = 48 places; 4·(2·5+1); 4·10·48
        ("2,100->(Conv)4c5w2s", (4, 48), 44, 1_920),
        # a volume, 1 deep, 3 wide, 3 high: 2·(9+1); 2·9·8·14·14
        ("1,8,16,16->(Conv)2c3w1t", (2, 8, 14, 14), 20, 28_224),
        # w along M, h along N: (10−3+1)·(20−5+1) = 8·16 places of 15 products
        ("1,10,20->(Conv)1c3w5h", (1, 8, 16), 16, 1_920),
        # same: 7 high takes 3 of padding along N and none along M; 200 places of 7
        ("1,10,20->(Conv)1c1w7h same", (1, 10, 20), 8, 1_400),
        # same with dilation 2: 3 reaches 5 and takes 2
        ("1,10,10->(Conv)1c3w2d same", (1, 10, 10), 10, 900),
        # fc flattens: 3·4·5 = 60 inputs
        ("3,4,5->(fc)7", (7,), 60 * 7 + 7, 420),
        ("3,4,5->(Flatten)->(fc)7 nobias", (7,), 420, 420),
        ("100->(fc)10nobias", (10,), 1_000, 1_000),
        # Linear keeps the tokens: 6 of them, 8 to 4 each
        ("6,8->(Linear)4", (6, 4), 36, 6 * 32),
        ("6,8->(fc)4", (4,), 48 * 4 + 4, 192),
        # 4·(16² + 16) parameters; four projections of 10·16², and 4 heads of 10·11/2 pairs, each 4 + 4
        ("10,16->(Attention)4h causal", (10, 16), 1_088, 10_240 + 4 * 55 * 8),
        ("10,16->(Attention)4h nobias", (10, 16), 1_024, 10_240 + 4 * 100 * 8),
        ("10->(Embedding)100v16c", (10, 16), 1_600, 0),
        # position by its own table, added to the token's: 10·16 more
        ("10->add[(Embedding)100v16c|(Embedding)10v16c]", (10, 16), 1_760, 0),
        ("8,6,6->(BN)->(ReLU)->(ReLU6)->(SiLU)->(Softmax)", (8, 6, 6), 16, 0),
        ("8->(BN)->(LN)->(Softmax)->(Dropout)->(Tanh)", (8,), 32, 0),
        ("8,6,6->(LRN)->(LRN)3w->(LRN)3", (8, 6, 6), 0, 0),
        # pools: the stride is the window unless given
        ("8,7,7->(Pool)2w", (8, 3, 3), 0, 0),
        ("8,7,7->(MaxPool)2w ceil", (8, 4, 4), 0, 0),
        ("8,7,7->(AvgPool)3w1s1p", (8, 7, 7), 0, 0),
        ("8,7,9->(MaxPool)3w1s same", (8, 7, 9), 0, 0),
        ("8,7,7->(MaxPool)2w3h", (8, 3, 2), 0, 0),
        ("8,7,7->(GlobalAvgPool)", (8, 1, 1), 0, 0),
        ("8,7,7->(AdaptiveAvgPool)3w2h", (8, 3, 2), 0, 0),
        ("8,9->(GAP)->(fc)2", (2,), 18, 16),
    ],
)  # fmt: skip
def test_layers_by_hand(text: str, shape: tuple[int, ...], count: int, products: int) -> None:
    assert output(text) == shape
    assert params(text) == count
    assert macs(text) == products


def test_dropout_runs_in_training_only() -> None:
    kinds = [op.kind for op in network("8->(fc)4->(Dropout)0.3", mode="training").ops]
    assert "dropout" in kinds
    assert "dropout" not in [op.kind for op in network("8->(fc)4->(Dropout).3").ops]


@pytest.mark.parametrize(
    ("shape", "comparisons"),
    [
        ("8", 7),  # one row of 8, whose maximum takes 7 comparisons
        ("6,8", 42),  # a sequence: 6 rows of 8
        ("8,6,6", 252),  # an image: 36 places of 8 channels
    ],
)
def test_softmax_runs_over_what_is_classified(shape: str, comparisons: int) -> None:
    assert compute(network(f"{shape}->(Softmax)")).forward.comparisons == comparisons


def test_every_layer_reads_as_its_example_says() -> None:
    """And trains: an activation without a derivative would stop the gradient of what is before it."""
    for kind in KINDS:
        fits = "8" if kind.name == "Embedding" else "8,12"
        start = "" if kind.name == "Embedding" else "(Linear)12->"
        if kind.name in ("Conv", "DWConv", "MaxPool", "AvgPool"):
            fits, start = "8,12,12", "(Conv)8c1w->"
        program = network(f"{fits}->{start}{kind.example}->(fc)3", mode="training")
        updated = {op.scope for op in program.phase("backward")}
        assert {p.name.rpartition(".")[0] for p in program.parameters if p.name} <= updated, (
            kind.name
        )


# -- branches ------------------------------------------------------------------------------------------


def test_residual_block() -> None:
    """ResNet's basic block: 2 convolutions of 64·64·9, 2 batch norms of 128, one addition an output."""
    text = "64,56,56->add[(Conv)64c3w1p nobias->(BN)->(ReLU)->(Conv)64c3w1p nobias->(BN)|]->(ReLU)"
    assert params(text) == 2 * 36_864 + 2 * 128
    assert macs(text) == 2 * 36_864 * 56 * 56  # 231,211,008
    sums = [op for op in network(text).ops if op.kind == "add"]
    assert [(op.scope, op.outputs[0].shape) for op in sums] == [("add1", (1, 64, 56, 56))]
    assert compute(network(text)).operators == 7  # 2 convolutions, 2 norms, 2 ReLUs, the addition


def test_inception_3a() -> None:
    """GoogLeNet's inception (3a), Szegedy et al. 2015, Table 1: 159K parameters, 128M operations.

    Weights with biases:   1x1: 192·64 + 64     =  12,352
      3x3: 192·96 + 96 = 18,528 and 96·9·128 + 128 = 110,720
      5x5: 192·16 + 16 =  3,088 and 16·25·32 + 32  =  12,832
      pool: 192·32 + 32                        =   6,176
    in all 163,696 = 159.9 · 1024. Without biases 163,328, each used at 28·28 places: 128,049,152.
    """
    text = (
        "192,28,28->cat[(Conv)64c1w | (Conv)96c1w->(Conv)128c3w1p"
        "| (Conv)16c1w->(Conv)32c5w2p | (MaxPool)3w1s1p->(Conv)32c1w]"
    )
    assert params(text) == 163_696
    assert macs(text) == 128_049_152
    assert output(text) == (256, 28, 28)  # 64 + 128 + 32 + 32


def test_dense_block() -> None:
    """Two layers of growth 32 on 64 channels: norms of 2·64 and 2·96, kernels 64·9·32 and 96·9·32."""
    text = "64,32,32->2*dense[(BN)->(ReLU)->(Conv)32c3w1p nobias]"
    assert params(text) == 128 + 18_432 + 192 + 27_648
    assert macs(text) == (18_432 + 27_648) * 32 * 32
    assert output(text) == (128, 32, 32)
    by_hand = "64,32,32->2*cat[|(BN)->(ReLU)->(Conv)32c3w1p nobias]"
    assert [op.kind for op in network(text).ops] == [op.kind for op in network(by_hand).ops]


def test_squeeze_and_excitation() -> None:
    """16 channels squeezed to 4: 16·4+4 and 4·16+16; 64 products each way, on one place."""
    text = "16,8,8->mul[(GAP)->(Conv)4c1w->(ReLU)->(Conv)16c1w->(Sigmoid)|]"
    assert params(text) == 68 + 80
    assert macs(text) == 128
    assert output(text) == (16, 8, 8)


def test_branches_nest() -> None:
    """cat of (add of a convolution and the input: 4·4·9+4) and the input: 4 + 4 channels."""
    text = "4,6,6->cat[add[(Conv)4c3w1p|]->(ReLU)|]"
    assert params(text) == 148
    assert output(text) == (8, 6, 6)
    assert scopes(text) == ["cat1.add1.conv1", "cat1.relu1"]


def test_repetition_is_writing_it_again() -> None:
    once = "(Conv)8c3w1p->(ReLU)"
    repeated, written = network(f"8,6,6->3*[{once}]"), network(f"8,6,6->{once}->{once}->{once}")
    assert op_costs(repeated) == op_costs(written)
    assert len(repeated.parameters) == 6  # each time with weights of its own


# -- scopes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "(Conv)8c3w->(BN)->(Conv)8c3w->(fc)2->(fc)3",
            ["conv1", "bn1", "conv2", "fc1", "fc2"],
        ),
        ("a:(ReLU)->conv1:(Conv)8c3w->(Conv)8c3w", ["a", "conv1", "conv2"]),
        (
            "cat[(ReLU)| |(ReLU)->(Tanh)]",
            ["cat1.branch1.relu1", "cat1.branch2.relu1", "cat1.branch2.tanh1"],
        ),
        ("cat[branch1:(ReLU)|(Tanh)|t:3*(BN)]",
            ["cat1.branch1", "cat1.branch2.tanh1", "cat1.t.1", "cat1.t.2", "cat1.t.3"]),
        ("2*add[(ReLU)|]->2*[2*(Tanh)]", [
            "repeat1.1.relu1", "repeat1.2.relu1", "repeat2.1.repeat1.1", "repeat2.1.repeat1.2",
            "repeat2.2.repeat1.1", "repeat2.2.repeat1.2"]),
        ("b:dense[(ReLU)]->[(ReLU)]->[x:[(ReLU)]]",
            ["b.relu1", "block1.relu1", "block2.x.relu1"]),
    ],
)  # fmt: skip
def test_scopes_are_numbered_or_labelled(text: str, expected: list[str]) -> None:
    assert scopes(f"8,9,9->{text}") == expected


def test_modules_are_named_as_pytorch_names_them() -> None:
    program = network("3,9,9->(Conv)4c3w2s1p nobias->(BN)->(MaxPool)2w->(fc)2->(BN)")
    kinds = {module.scope: (module.kind, module.detail) for module in program.modules}
    assert kinds == {
        "conv1": (
            "Conv2d",
            "3, 4, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), bias=False",
        ),
        "bn1": ("BatchNorm2d", "4"),
        "maxpool1": ("MaxPool2d", "kernel_size=(2, 2), stride=(2, 2), padding=(0, 0)"),
        "fc1": ("Linear", "in_features=16, out_features=2, bias=True"),
        "bn2": ("BatchNorm1d", "2"),
    }


# -- the program ---------------------------------------------------------------------------------------


def test_the_program_says_where_it_comes_from() -> None:
    text = "(Input)(3,224,224)\n  ->(Conv)64c7w2s3p->(BN)->(ReLU)"
    program = network(text, batch=4)
    assert program.frontend == "notation"
    assert program.rung == "declared"
    assert program.source == text
    assert program.network == "(Input)(3,224,224) ->(Conv)64c7w2s3p->(…"
    assert len(program.network) == 40
    assert program.workload.inputs == (InputSpec(shape=(3, 224, 224), name="input"),)
    assert program.outputs[0].shape == (4, 64, 112, 112)


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_written_and_read_back(mode: str) -> None:
    program = network(
        "8,9,9->2*dense[(BN)->(Conv)4c3w1p]->add[(MaxPool)3w1s1p|]->(Dropout)->(fc)3->(Softmax)",
        mode=mode,
        optimizer=optimizer("adam"),
    )
    assert loads(dumps(program)) == program


def test_training_goes_back_and_updates() -> None:
    """fc 100 -> 10 on 2 samples: the weights' gradient is 100·10 sums of 2 products, the input has none."""
    program = network("100->(fc)10", mode="training", batch=2, optimizer=optimizer("sgd"))
    assert compute(program).backward.macs == 2 * 100 * 10
    assert [op.scope for op in program.phase("update")] == ["fc1", "fc1"]


def test_a_softmax_before_cross_entropy_is_warned_of() -> None:
    text = "8->(fc)4->(Softmax)"
    (warning,) = network(text, mode="training").warnings
    assert "softmax" in warning
    assert network(text).warnings == ()
    assert network(text, mode="training", loss="mean").warnings == ()
    assert network("8->(Softmax)->(fc)4", mode="training").warnings == ()


def test_an_embedding_reads_whole_numbers() -> None:
    assert network("5->(Embedding)9v2c").inputs[0].dtype == "int64"
    assert network("5->[add[(Embedding)9v1c|(Embedding)5v1c]]").inputs[0].dtype == "int64"
    assert network("5->(fc)9").inputs[0].dtype == "float32"
    given = (InputSpec(shape=(5,), dtype="int32"),)
    assert network("(Embedding)9v2c", inputs=given).inputs[0].dtype == "int32"


def test_counts_beyond_any_machine() -> None:
    """10^12 samples of 10^12 inputs to 10^12 outputs: 10^36 multiply-accumulates."""
    program = network("1000000000000->(fc)1000000000000", batch=10**12)
    assert compute(program).forward.macs == 10**36
    assert parameters(program).total == 10**24 + 10**12


def test_the_input_may_come_from_the_workload() -> None:
    given = (InputSpec(shape=(3, 8, 8), dtype="float16", name="image"),)
    for text in ("(Conv)4c3w", "(Input)->(Conv)4c3w", "(Input)(3,8,8)->(Conv)4c3w"):
        (tensor,) = network(text, inputs=given).inputs
        assert (tensor.shape, tensor.dtype, tensor.name) == ((1, 3, 8, 8), "float16", "image")


def test_inputs_that_disagree_are_refused() -> None:
    given = InputSpec(shape=(3, 32, 32))
    message = r"begins with the input \(3,8,8\), and the input given is \(3,32,32\)"
    with pytest.raises(NotationError, match=message):
        network("(Input)(3,8,8)->(Conv)4c3w", inputs=(given,))
    with pytest.raises(UsageError, match="a notation has one input, and 2 were given"):
        network("(Conv)4c3w", inputs=(given, given))
    for shape, shown in (((), r"\(\)"), ((1, 1, 1, 1, 1), r"\(1,1,1,1,1\)")):
        message = rf"has 1 to 4 sizes, without the batch, and {shown} was given"
        with pytest.raises(UsageError, match=message):
            network("(BN)", inputs=(InputSpec(shape=shape),))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(Input)(3,224,224)->(Conv)6c5w1s0p", True),
        ("100 -> (fc)10", True),
        ("100→(fc)10", True),
        ("  (Conv)6c5w", True),
        ("100 (fc)10", True),
        ("3x8x8(Conv)6c5w", True),
        ("cat[(ReLU)|]", True),
        ("stem: [(ReLU)]", True),
        ("layer1: 3*[(ReLU)]", True),
        ("3 * add[(ReLU)|]", True),
        ("resnet50", False),
        ("resnet50-v1", False),
        ("hf:./x/config.json", False),
        ("net.py:Net", False),
        ("models/v2 (copy)/net.py:Net", False),
        ("timm:vit_base_patch16_224.augreg2_in21k_ft_in1k", False),
        ("100", False),
        ("", False),
    ],
)
def test_what_is_notation(text: str, expected: bool) -> None:
    assert is_notation(text) is expected


# -- bad input -----------------------------------------------------------------------------------------

CONV_TAKES = (
    "(Conv) takes c (kernels), w (width, along M), h (height, along N), t (depth, along D), s (stride), "
    "p (padding on either side), d (dilation), g (groups), same, nobias"
)
EXAMPLE = "for example: (Conv)6c5w1s0p"
START = "(Input)(3,8,8)->"
NO_INPUT = "begin with (Input)(3,224,224)-> or give the input, as --input 3,224,224"
REPEATS = "this makes {} layers, and the most taken are 100,000"

# The caret belongs where ‸ stands. After the message come the hints below the caret.
BAD: list[tuple[str, ...]] = [
    # what is not there
    ("(Input)(3,8,8)‸", "the network has an input and no layers: an arrow '->' and a layer were expected"),
    ("‸(Input)->(ReLU)", "the network has no input sizes", NO_INPUT),
    ("‸(ReLU)", "the network has no input sizes", NO_INPUT),
    (START + "‸", "a layer was expected, and the text ends here"),
    (START + "(ReLU)->‸", "a layer was expected, and the text ends here"),
    (START + "->(ReLU)".replace("->", "‸->", 1), "a layer such as (Conv) was expected, and '->' stands here"),
    # arrows
    ("(Input)(3,8,8)‸(ReLU)", "an arrow '->' was expected behind the input, and '(ReLU)' stands here"),
    ("(Input)(3,8,8)‸=>(ReLU)", "an arrow '->' was expected behind the input, and '=>' stands here"),
    (START + "(ReLU) ‸(Tanh)", "an arrow '->' or the end was expected, and '(Tanh)' stands here"),
    (START + "(ReLU)‸-->(Tanh)", "an arrow '->' or the end was expected, and '-->' stands here"),
    (START + "(ReLU) ‸add[(ReLU)|]", "an arrow '->' or the end was expected, and 'add' stands here"),
    (START + "(ReLU) ‸2*(ReLU)", "an arrow '->' or the end was expected, and '2' stands here"),
    (START + "(ReLU) ‸x:(ReLU)", "an arrow '->' or the end was expected, and 'x' stands here"),
    (START + "cat[(ReLU) ‸(Tanh)|]", "an arrow '->', '|' or ']' was expected, and '(Tanh)' stands here"),
    # layers
    (START + "(‸Convv)6c5w", "no layer is called (Convv)", "nearest: (Conv), (DWConv)"),
    (START + "(‸Re1u)", "no layer is called (Re1u)", "nearest: (ReLU), (ReLU6), (GELU)"),
    ("(‸Inpt)(3,8,8)->(ReLU)", "no layer is called (Inpt)", "nearest: (Input), (LN)"),
    (START + "(‸qqq)", "no layer is called (qqq)", "there are: " + ", ".join(f"({k.name})" for k in KINDS)),
    (START + "(‸" + "z" * 99 + ")", "no layer is called (" + "z" * 40 + "…)",
     "there are: " + ", ".join(f"({k.name})" for k in KINDS)),
    (START + "‸()", "a layer's name was expected between the parentheses"),
    (START + "‸(Conv 6c5w->(ReLU)", "the parenthesis opened here is never closed: ')' was expected"),
    (START + "‸(Conv", "the parenthesis opened here is never closed: ')' was expected"),
    (START + "‸Conv 6c5w", "a layer's name stands in parentheses: (Conv) was expected, and 'Conv' stands here"),
    (START + "‸what", "a layer such as (Conv) was expected, and 'what' stands here"),
    (START + "‸10", "a layer such as (Conv) was expected, and '10' stands here"),
    (START + "(ReLU)->‸(Input)(3,8,8)", "(Input) stands once, in front of everything"),
    # settings
    (START + "‸(Conv)6c", "(Conv) needs w (width, along M)", EXAMPLE),
    (START + "‸(Conv)5w", "(Conv) needs c (kernels)", EXAMPLE),
    (START + "‸(fc)", "(fc) needs c (numbers that come out)", "for example: (fc)10"),
    (START + "(Conv)6c5w3‸q", "(Conv) has no setting 'q'", CONV_TAKES),
    (START + "(fc)10‸w", "(fc) has no setting 'w'", "(fc) takes c (numbers that come out), nobias"),
    (START + "(ReLU)3‸w", "(ReLU) has no setting 'w'", "(ReLU) takes no settings"),
    (START + "(ReLU)‸3", "3 has no letter that says what it is", "(ReLU) takes no settings"),
    (START + "(Conv)‸64 5w", "64 has no letter that says what it is", CONV_TAKES),
    (START + "(Conv)6c5w‸6c", "(Conv) has its c (kernels) twice"),
    (START + "(fc)10 ‸20", "(fc) has its c (numbers that come out) twice"),
    (START + "(Conv)6c ‸w", "a number was expected before 'w'", EXAMPLE),
    (START + "(Conv)‸ac5w", "(Conv) has no setting 'ac'", CONV_TAKES),
    (START + "(Conv)6c5w ‸nobais", "(Conv) has no setting 'nobais'", "nearest: nobias"),
    (START + "(Conv)6c5w nobias ‸nobias", "(Conv) has nobias twice"),
    (START + "(Conv)6c5w‸²", "an arrow '->' or the end was expected, and '²' stands here"),
    # numbers
    (START + "(Conv)‸-6c5w", "(Conv) c is -6, and at least 1 was expected"),
    (START + "(Conv)‸0c5w", "(Conv) c is 0, and at least 1 was expected"),
    (START + "(Conv)6c5w‸-1p", "(Conv) p is -1, and at least 0 was expected"),
    (START + "(Conv)‸6.5c5w", "(Conv) c is 6.5, and a whole number was expected"),
    (START + "(Conv)‸1000000000001c5w",
     "(Conv) c has 1,000,000,000,001, and the largest size taken is 1,000,000,000,000"),
    (START + "(Conv)‸" + "9" * 5000 + "c5w",
     "(Conv) c is a number of 5000 digits, and the largest size taken is 1,000,000,000,000"),
    (START + "(Dropout)‸1.0", "(Dropout) r is 1.0, and a share from 0 up to, not including, 1 was expected"),
    (START + "(Dropout)‸-.5", "(Dropout) r is -.5, and a share from 0 up to, not including, 1 was expected"),
    # the input
    ("(Input)(3,‸0,8)->(ReLU)", "a size of the input is 0, and at least 1 was expected"),
    ("(Input)(‸-3,8)->(ReLU)", "a size of the input is -3, and at least 1 was expected"),
    ("(Input)(3,‸a,8)->(ReLU)", "a size of the input was expected, a whole number, and 'a' stands here"),
    ("(Input)(3,‸8.5)->(ReLU)", "a size of the input is 8.5, and a whole number was expected"),
    ("(Input)(‸)->(ReLU)", "a size of the input was expected, a whole number, and ')' stands here"),
    ("(Input)(3 ‸8)->(ReLU)", "',' or ')' was expected behind a size of the input, and '8' stands here"),
    ("(Input)‸(3,8->(ReLU)", "the input's sizes, opened here, are never closed: ')' was expected"),
    ("‸(3,8", "the input's sizes, opened here, are never closed: ')' was expected"),
    ("1,1,1,1,1‸->(ReLU)",
     "the input has more than 4 sizes: (n), (c,M), (c,M,N) or (c,D,M,N) were expected, without the batch"),
    ("‸2*(ReLU)", "the network has no input sizes", NO_INPUT),
    # brackets
    (START + "cat‸[(ReLU)|(ReLU)", "the bracket opened here is never closed: ']' was expected"),
    (START + "cat‸[", "the bracket opened here is never closed: ']' was expected"),
    (START + "cat[(ReLU)|add‸[(ReLU)|", "the bracket opened here is never closed: ']' was expected"),
    (START + "cat[(ReLU)->‸", "a layer was expected, and the text ends here"),
    (START + "cat‸[]", "cat[] is empty: a layer was expected between its brackets"),
    (START + "dense‸[ ]", "dense[] is empty: a layer was expected between its brackets"),
    (START + "‸[]", "nothing stands between these brackets: a layer was expected"),
    (START + "‸add[(ReLU)]", "add[ ] joins two branches or more, and has one",
     "an empty branch is the input itself: add[ ... | ]"),
    (START + "‸dense[(ReLU)|(ReLU)]", "dense[ ] takes one chain and joins the input to what comes out of it",
     "to join the input to several, write cat[ | ... | ... ]"),
    (START + "‸[(ReLU)|(ReLU)]",
     "a '[' with several branches needs a word in front that says how they are joined",
     "there are: add[, cat[, mul[, dense["),
    (START + "‸concat[(ReLU)|]", "'concat' joins no branches", "nearest: cat"),
    (START + "‸sum[(ReLU)|]", "'sum' joins no branches", "there are: add, cat, mul, dense"),
    (START + "(ReLU)‸]", "this ']' closes a bracket that was never opened"),
    (START + "(ReLU)‸|(ReLU)", "'|' stands between branches, and no bracket is open",
     "branches are written cat[ ... | ... ] or add[ ... | ... ]"),
    ("8->" + "[" * 50 + "‸" + "[" * 5000, "brackets are nested more than 50 deep"),
    # repetition
    (START + "‸0*(ReLU)", "the number of repetitions is 0, and at least 1 was expected"),
    (START + "‸-2*(ReLU)", "the number of repetitions is -2, and at least 1 was expected"),
    (START + "‸1.5*(ReLU)", "the number of repetitions is 1.5, and a whole number was expected"),
    (START + "x: ‸100001*(ReLU)", REPEATS.format("100,001")),
    (START + "‸1000*[1000*[(ReLU)]]", REPEATS.format("1,000,000")),
    (START + "‸50001*add[(ReLU)|]", REPEATS.format("100,002")),
    ("‸8->99999*(ReLU)->(ReLU)->(ReLU)", REPEATS.format("100,001")),
    # labels
    (START + "a:(ReLU)->‸a:(ReLU)", "two layers of one scope are labelled 'a'"),
    (START + "cat[a:(ReLU)|‸a:(ReLU)]", "two layers of one scope are labelled 'a'"),
    (START + "‸loss:(ReLU)", "no layer can be labelled 'loss': the training loss has that name"),
    # shapes
    ("3,4,4->‸(Conv)6c5w", "conv1 (convolution) does not take an input of shape (1, 3, 4, 4)",
     "the kernel covers 5, and the input (1, 3, 4, 4) is 4 wide"),
    ("100->x: ‸(Conv)6c5w", "x needs an image, and its input has shape (1, 100)"),
    ("100->‸(DWConv)3w", "dwconv1 needs an image, and its input has shape (1, 100)"),
    ("100->‸(Pool)3w", "maxpool1 needs an image, and its input has shape (1, 100)"),
    ("100->‸(GAP)", "globalavgpool1 needs an image, and its input has shape (1, 100)"),
    (START + "[(ReLU)->‸(Conv)6c3w2g]",
     "block1.conv1: 3 input and 6 output channels do not split into 2 groups"),
    (START + "‸add[(Conv)6c3w1p|]",
     "add1: the branches end in (1, 6, 8, 8) and (1, 3, 8, 8), which do not add up",
     "a (Conv) or (fc) on the empty branch can bring it to the other's shape"),
    (START + "‸mul[(fc)3|]", "mul1: the branches end in (1, 3) and (1, 3, 8, 8)"),
    (START + "2*‸mul[(Conv)6c3w1p|]", "repeat1.1 (mul) does not take an input of shape (1, 6, 8, 8)",
     "mul: shapes (1, 6, 8, 8) and (1, 3, 8, 8) do not broadcast"),
    (START + "‸cat[(Conv)6c3w|]", "cat1 (concatenate) does not take an input of shape (1, 6, 6, 6)",
     "shapes (1, 6, 6, 6) and (1, 3, 8, 8) do not join along axis 1"),
    (START + "60*‸cat[|]",  # 3·2^39
     "what comes out of repeat1.39 has 1,649,267,441,664, and the largest size taken is 1,000,000,000,000"),
    ("9,1000000,1000000->‸(fc)1",
     "the flattened input (1, 9, 1000000, 1000000) has 9,000,000,000,000, and the largest size taken is "
     "1,000,000,000,000"),
    ("3,8->‸(Conv)6c3w2h",
     "h is the window's size along a second image axis, and the input (1, 3, 8) has 1 behind its batch and "
     "channels"),
    (START + "‸(Conv)6c3w2t",
     "t is the window's size along a third image axis, and the input (1, 3, 8, 8) has 2 behind its batch and "
     "channels"),
    (START + "‸(Conv)6c4w same", "'same' pads both sides alike, and the window covers 4, which is even"),
    (START + "‸(Conv)6c3w1p same", "'same' works out the padding, and p gives it too"),
    (START + "‸(MaxPool)2w2p", "a pooling window 2 wide takes at most 1 of padding, and p is 2",
     "a window would lie in nothing but padding"),
    (START + "‸(MaxPool)9w", "maxpool1 (max_pool) does not take an input of shape (1, 3, 8, 8)",
     "a pooling window 9 wide on an input (1, 3, 8, 8)"),
    (START + "(ReLU)->‸(Embedding)9v3c", "an embedding picks rows by whole numbers, and its input is float32",
     "it stands right behind the input"),
    (START + "‸(Attention)4h", "attention needs a sequence (T, n), and its input has shape (1, 3, 8, 8)"),
    ("9,8->‸(Attention)3h", "8 numbers a token do not split into 3 heads"),
    (START + "‸(LN)",
     "a layer norm takes vectors (n) or a sequence (T, n), and the input (1, 3, 8, 8) is an image",
     "(BN) normalises the channels of an image"),
]  # fmt: skip


@pytest.mark.parametrize("case", BAD, ids=[case[0][-50:] for case in BAD])
def test_bad_input_is_pointed_at(case: tuple[str, ...]) -> None:
    marked, message, *hints = case
    text, place = marked.replace("‸", ""), marked.index("‸")
    with pytest.raises(NotationError, match=re.escape(message)) as caught:
        network(text)
    error = caught.value
    assert error.message == message
    assert error.position == place
    assert error.text == text
    line, caret, *rest = error.hints
    assert rest == hints
    assert caret.strip() == "^"
    if len(text) <= 72:
        assert line == text
        assert caret == " " * place + "^"


def test_messages_hold_no_control_characters() -> None:
    with pytest.raises(NotationError, match=re.escape("no layer is called (Co n)")) as caught:
        network("8->(Co\x1bn)")
    assert all(line.isprintable() for line in (caught.value.message, *caught.value.hints))


def test_an_empty_text_has_nothing_to_point_at() -> None:
    for text in ("", "  \n"):
        with pytest.raises(
            NotationError, match="the notation is empty, and a network was expected"
        ):
            network(text)


def test_long_lines_are_cut_around_the_place() -> None:
    text = "8->" + "(ReLU)->" * 50 + "(Rlu)" + "->(ReLU)" * 50
    with pytest.raises(NotationError, match="no layer is called") as caught:
        network(text)
    line, caret, *_ = caught.value.hints
    assert len(line) == 74  # 72 and the two …
    assert line[0] == line[-1] == "…"
    assert line[caret.index("^") :].startswith("Rlu)->")


def test_line_breaks_keep_the_caret_in_its_place() -> None:
    with pytest.raises(NotationError, match="no layer is called") as caught:
        network("8\n->\t(ReLU)\r\n->(Rlu)")
    line, caret, *_ = caught.value.hints
    assert line == "8 -> (ReLU)  ->(Rlu)"
    assert line[caret.index("^") :] == "Rlu)"


# -- anything at all -----------------------------------------------------------------------------------

VALID = [
    "(Input)(3,16,16)->(Conv)6c5w1s0p->(ReLU)->(Pool)2w->(fc)10->(Softmax)",
    "(Input)(8,9,9)->a: add[(Conv)8c3w1p nobias->(BN)|]->2*dense[(Conv)4c3w same]->(GAP)->(fc)3",
    "4,8,8->cat[(Conv)4c1w|b: 2*[(DWConv)3w1p2m]| |(AvgPool)3w1s1p]->(LRN)->(Dropout)0.2->(Flatten)",
    "6->add[(Embedding)9v8c|(Embedding)6v8c]->2*[add[(LN)->(Attention)2h causal|]]->(Linear)5",
    "2x7x8x9→(Conv)4c3w2h1t2d1p→mul[(GAP)→(Sigmoid)|]→(MaxPool)2w ceil→(GELU)",
]
PIECES = [
    "->", "→", "(", ")", "[", "]", "|", "*", ":", ",", "x", "-", ".", " ", "\n", "0", "3", "7", "16", "-1",
    "(Conv)", "(fc)", "(BN)", "(MaxPool)", "(GAP)", "(Embedding)", "(Attention)", "(LN)", "(Input)", "(ReLU)",
    "add[", "cat[", "mul[", "dense[", "c", "w", "h", "s", "p", "g", "same", "nobias", "causal", "²", "٣", "\0",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A valid network with a few pieces cut out, doubled, exchanged or put in."""
    text = draw(st.sampled_from(VALID))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        stop = draw(st.integers(start, min(len(text), start + 12)))
        cut = draw(st.sampled_from(["", text[start:stop] * 2, draw(st.sampled_from(PIECES))]))
        text = text[:start] + cut + text[stop:]
    return text


def refusal(text: str, mode: str) -> WeighError | None:
    """What reading raised; None where it did not, and the Program is whole."""
    try:
        tree = parse(text)
        if (
            sum(item.layers for item in tree.chain) > 200
        ):  # a Program as large as this takes seconds
            return None
        program = network(text, mode=mode)
    except WeighError as error:
        return error
    assert loads(dumps(program)) == program
    op_costs(program)
    return None


def read_or_refused(text: str, mode: str) -> None:
    error = refusal(text, mode)
    if error is not None:
        assert isinstance(error, NotationError), repr(error)
        assert error.message
        assert 0 <= error.position <= len(text)


@settings(max_examples=600, deadline=None)
@given(mutated(), st.sampled_from(["inference", "training"]))
def test_mutated_networks_are_read_or_refused(text: str, mode: str) -> None:
    read_or_refused(text, mode)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join)))
def test_any_text_is_read_or_refused(text: str) -> None:
    is_notation(text)
    read_or_refused(text, "inference")


@pytest.mark.parametrize("text", VALID)
def test_the_fuzz_starts_from_valid_networks(text: str) -> None:
    for mode in ("inference", "training"):
        assert network(text, mode=mode).complete


@pytest.mark.parametrize(
    "text", [*VALID, "6->(BN)->(fc)3", "6,8->(BN)->(LRN)->(Conv)4c3w->(BN)", "2,7,8,9->(BN)->(LRN)"]
)
def test_every_operator_has_its_formula(text: str) -> None:
    """At vectors, signals, images, volumes and sequences: with the sizes put in it is the count."""
    program = network(text, mode="training", batch=2)
    for op, cost in zip(program.ops, op_costs(program), strict=True):
        rule = rule_of(op.kind)
        assert rule is not None
        for count, formula in rule.formulas(op).items():
            assert formula.value == getattr(cost, count), (op.kind, count, formula.text)


# -- a witness ------------------------------------------------------------------------------------------


@pytest.mark.torch
@pytest.mark.parametrize("backward", [False, True])
def test_pytorch_counts_the_same(backward: bool) -> None:
    """PyTorch's own counter on the same networks: parameters, and FLOPs at 2 a MAC.

    Its weight gradient of a grouped convolution counts as if there was one group. In the first network
    that is 8 groups of 16·9·9·8·2 = 20,736 MACs, 7 times too many, and 4 groups of 4·4·9·8·2 = 2,304, 3 times.
    """
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    nn = torch.nn
    pairs = {
        "3,31,29->(Conv)8c3w5h2s1p nobias->(BN)->(ReLU)->(MaxPool)3w2s1p ceil"
        "->(DWConv)3w2d2m same->(Conv)4c1w4g->(GELU)->(AvgPool)2w->(fc)10": nn.Sequential(
            nn.Conv2d(3, 8, (3, 5), 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.Conv2d(8, 16, 3, 1, 2, 2, 8),
            nn.Conv2d(16, 4, 1, groups=4), nn.GELU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(64, 10),
        ),
        "2,9,12,13->(Conv)4c3w2h1t->(SiLU)->(MaxPool)2w1t->(Conv)6c3w": nn.Sequential(
            nn.Conv3d(2, 4, (1, 3, 2)), nn.SiLU(), nn.MaxPool3d((1, 2, 2)), nn.Conv3d(4, 6, 3)
        ),
        "2,40->(Conv)4c5w2s->(Tanh)->(LRN)->(Conv)4c3w->(Softmax)->(Linear)5->(GAP)->(fc)3": nn.Sequential(
            nn.Conv1d(2, 4, 5, 2), nn.Tanh(), nn.LocalResponseNorm(5), nn.Conv1d(4, 4, 3),
            nn.Softmax(2), nn.Linear(16, 5), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 3),
        ),
    }  # fmt: skip
    excess = [2 * (7 * 20_736 + 3 * 2_304) if backward else 0, 0, 0]
    for (text, module), more in zip(pairs.items(), excess, strict=True):
        program = network(text, batch=2, mode="training" if backward else "inference", loss="mean")
        counter = FlopCounterMode(display=False)
        with counter:
            result = module(torch.zeros(program.inputs[0].shape))
            if backward:
                result.mean().backward()
        assert tuple(result.shape) == program.outputs[0].shape
        assert parameters(program).total == sum(p.numel() for p in module.parameters())
        assert compute(program).total.flops + more == counter.get_total_flops()


# -- long and light ------------------------------------------------------------------------------------


def test_a_thousand_layers() -> None:
    text = "8,16,16" + "->add[(Conv)8c3w1p->(BN)->(ReLU)|]" * 250
    assert len(network(text).ops) == 1000


def test_reading_imports_no_third_party() -> None:
    code = (
        "import sys; from weighbridge.frontends.notation import read; "
        "from weighbridge.workload import Workload; read('8->(fc)3', Workload(mode='training')); "
        "print(sorted({name.partition('.')[0] for name in sys.modules} "
        "- set(sys.stdlib_module_names)))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(Path(__file__).parents[1] / "src")},
    )
    assert done.stdout.strip() == "['__main__', 'weighbridge']"


# -- the document --------------------------------------------------------------------------------------


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading of docs/notation.md."""
    text = DOCUMENT.read_text(encoding="utf-8").partition(f"## {heading}\n")[2]
    lines = text.partition("\n## ")[0].splitlines()
    table = [line for line in lines if line.startswith("|")][2:]
    return [
        [c.strip().replace("\\|", "|") for c in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in table
    ]


def number(cell: str) -> int:
    return int(cell.replace(",", ""))


def test_the_documents_table_of_examples() -> None:
    found = rows("By example")
    assert len(found) > 10
    for text, count, products, _ in found:
        assert (params(text.strip("`")), macs(text.strip("`"))) == (
            number(count),
            number(products),
        ), text


def test_the_documents_networks_read() -> None:
    blocks = re.findall(r"```notation\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        assert network(block).complete


def test_the_documents_scopes() -> None:
    for text, names in rows("Names of layers"):
        expected = [name.strip(" `") for name in names.split(",")]
        assert scopes("8,9,9->" + text.strip("`")) == expected, text


def test_the_document_lists_every_layer() -> None:
    listed = {layer: (written, flags) for layer, written, flags in rows("Layers")}
    expected = {}
    for kind in KINDS:
        others = f" ({', '.join(kind.other_names)})" if kind.other_names else ""
        letters = (
            (f"**`{letter}`**" if letter == kind.bare else f"`{letter}`")
            + f" {setting.meaning}"
            + (f" = {setting.default}" if setting.default else "")
            for letter, setting in kind.letters.items()
        )
        expected[f"`({kind.name})`{others}"] = ("; ".join(letters), ", ".join(kind.flags))
    assert listed == expected


def test_the_document_names_every_join() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert all(f'"{how}"' in text for how in JOINS)
