"""The zoo: names, inputs, depths, and every network against sums by hand, torchvision and transformers."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from weighbridge.analyses.weighing import Weighing
from weighbridge.errors import ShapeError, UsageError
from weighbridge.frontends import zoo
from weighbridge.ops import optimizers
from weighbridge.program import Program
from weighbridge.workload import InputSpec, Workload

if TYPE_CHECKING:
    import torch

NETWORKS = tuple(name for members in zoo.FAMILIES.values() for name in members)

INFERENCE = Workload()
TRAINING = Workload(
    mode="training", optimizer=optimizers.optimizer("sgd", momentum=0.9), input_gradient=True
)


@cache
def weighed(name: str, workload: str = "inference") -> Weighing:
    return Weighing(program=zoo.read(name, TRAINING if workload == "training" else INFERENCE))


def shapes(program: Program) -> dict[str | None, tuple[int, ...]]:
    return {tensor.name: tensor.shape for tensor in program.parameters}


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("vgg16", "vgg16"),
        ("VGG D", "vgg16"),
        ("vgg-d", "vgg16"),
        ("vgg_e", "vgg19"),
        ("VGG-A-LRN", "vgg-a-lrn"),
        ("vgg16_bn", "vgg16-bn"),
        ("ResNet-50", "resnet50"),
        ("resnet50-v1.5", "resnet50"),
        ("ResNet50 v1", "resnet50-v1"),
        ("MobileNetV2", "mobilenet_v2"),
        ("vit-b-16", "vit_b_16"),
        ("bert-base-uncased", "bert-base"),
        ("GPT-2", "gpt2"),
        ("LeNet-5", "lenet5"),
        ("inception v1", "googlenet"),
        ("resnet5", None),
        ("", None),
    ],
)
def test_a_name_is_read_whatever_its_case_and_separators(asked: str, name: str | None) -> None:
    assert zoo.canonical(asked) == name


def test_every_name_is_listed_once_and_leads_to_a_network() -> None:
    assert len(set(zoo.names())) == len(zoo.names())
    assert set(zoo.names()) == {*NETWORKS, *zoo.ALIASES}
    for name in zoo.names():
        assert zoo.canonical(name) == zoo.ALIASES.get(name, name)


def test_every_file_of_the_folder_is_a_family_of_the_registry() -> None:
    folder = Path(zoo.__file__).parent
    files = {path.stem for path in folder.glob("*.py")} - {"__init__", "network"}
    assert files == set(zoo.FAMILIES)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_described_under_its_own_name(name: str) -> None:
    network = zoo.describe(name.upper())
    assert network.name == name
    assert network.title
    assert str(network.year) in network.citation
    assert network.inputs


def test_the_names_need_neither_a_framework_nor_a_family_nor_an_operator() -> None:
    code = (
        "import sys; from weighbridge.frontends import zoo; zoo.names(); zoo.canonical('VGG D');"
        "print(*(m for m in sys.modules if m in ('torch', 'sympy', 'rich', 'click')"
        " or m.startswith(('weighbridge.frontends.zoo.', 'weighbridge.ops'))))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["weighbridge.frontends.zoo.network"]


# -- every network ---------------------------------------------------------------------------------


def test_every_network_builds_in_inference_and_training_with_all_operators_known() -> None:
    for name in NETWORKS:
        for workload in ("inference", "training"):
            found = weighed(name, workload)
            assert found.compute.uncounted == ()
            assert found.program.source == f"zoo:{name}"
            assert (found.program.network, found.program.frontend) == (name, "zoo")
            assert found.program.complete
        assert weighed(name, "training").parameters == weighed(name).parameters


def test_training_reaches_every_parameter_and_updates_it_once() -> None:
    untrained = {"bert-base": {"pooler.dense.weight", "pooler.dense.bias"}}  # no part of its loss
    for name in NETWORKS:
        program = weighed(name, "training").program
        updated = [str(op.inputs[0].name) for op in program.phase("update")]
        wanted = {str(parameter) for parameter in shapes(program)} - untrained.get(name, set())
        assert sorted(updated) == sorted(wanted)


def weight_layers(program: Program) -> int:
    """Weight layers on the longest path: a convolution, or a product with (a view of) a parameter."""
    weights = {tensor.id for tensor in program.parameters}
    deep: dict[int, int] = {}
    for op in program.phase("forward"):
        trained = any(tensor.id in weights for tensor in op.inputs)
        if op.kind in ("reshape", "transpose") and trained:
            weights.update(tensor.id for tensor in op.outputs)
            continue
        here = 1 if trained and op.kind in ("convolution", "matmul") else 0
        below = max((deep.get(tensor.id, 0) for tensor in op.inputs), default=0)
        deep.update((tensor.id, here + below) for tensor in op.outputs)
    return max(deep.values())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_depth_said_is_the_longest_path_through_weight_layers(name: str) -> None:
    assert zoo.describe(name).depth == weight_layers(weighed(name).program)


@pytest.mark.parametrize(
    ("name", "depth"),
    [  # as the papers count
        ("vgg-a-lrn", 11), ("vgg16", 16), ("vgg19", 19), ("googlenet", 22), ("alexnet-2012", 8),
        ("resnet18", 18), ("resnet34", 34), ("resnet50", 50), ("resnet101", 101), ("resnet152", 152),
        ("densenet121", 121), ("densenet169", 169), ("densenet201", 201), ("densenet161", 161),
    ],
)  # fmt: skip
def test_depths_are_those_that_the_papers_count(name: str, depth: int) -> None:
    assert zoo.describe(name).depth == depth


def test_dropout_runs_in_training_only() -> None:
    def dropped(workload: str) -> list[str]:
        forward = weighed("alexnet", workload).program.phase("forward")
        return [op.scope for op in forward if op.kind == "dropout"]

    assert dropped("inference") == []
    assert dropped("training") == ["classifier.0", "classifier.3"]


# -- against sums by hand and published figures ----------------------------------------------------


def test_lenet_of_today_by_hand() -> None:
    found = weighed("lenet5")
    # conv1 6*(25+1) = 156; conv2 16*(6*25+1) = 2416; 120*(400+1) = 48120; 84*121 = 10164; 10*85 = 850
    assert found.parameters.total == 156 + 2416 + 48120 + 10164 + 850 == 61_706
    # conv1 28*28*6*25 = 117600; conv2 10*10*16*150 = 240000; 400*120, 120*84, 84*10
    assert found.compute.forward.macs == 117_600 + 240_000 + 48_000 + 10_080 + 840


def test_lenet_of_1998_holds_the_papers_60_000_parameters_and_340_908_connections() -> None:
    found = weighed("lenet5-1998")
    # Section II.B: C1 156, S2 12, C3 1516, S4 32, C5 48120, F6 10164
    rows = {layer.scope: layer.params for layer in found.layers(depth=1) if layer.params}
    assert rows == {"c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48_120, "f6": 10_164}
    assert found.parameters.total == 60_000
    assert found.parameters.buffers == 84 * 10  # the fixed centres of the output
    # Connections are products and biases: C1 122304, C3 151600, C5 48120, F6 10164
    macs = {layer.scope: layer.forward.macs for layer in found.layers(depth=1)}
    assert macs["c1"] + 28 * 28 * 6 == 122_304
    assert macs["c3"] + 10 * 10 * 16 == 151_600
    assert macs["c5"] + 120 == 48_120
    assert macs["f6"] + 84 == 10_164


def test_alexnet_of_2012_by_hand() -> None:
    found = weighed("alexnet-2012")
    convolutions = (
        96 * 364 + 256 * (48 * 25 + 1) + 384 * (256 * 9 + 1) + (384 + 256) * (192 * 9 + 1)
    )
    assert found.parameters.total == convolutions + 4096 * 9217 + 4096 * 4097 + 1000 * 4097
    assert found.parameters.total == 60_965_224
    # 55*55*96*363 + 27*27*256*1200 + 13*13*(384*2304 + 384*1728 + 256*1728) + 58,621,952 linear
    images = 55 * 55 * 96 * 363 + 27 * 27 * 256 * 1200
    images += 13 * 13 * (384 * 2304 + 384 * 1728 + 256 * 1728)
    assert found.compute.forward.macs == images + 9216 * 4096 + 4096 * 4096 + 4096 * 1000


@pytest.mark.parametrize(
    ("name", "millions"),
    [  # Simonyan and Zisserman 2015, table 2 (A prints 133)
        ("vgg11", 132.863), ("vgg-a-lrn", 132.863), ("vgg13", 133.048), ("vgg-c", 133.639),
        ("vgg16", 138.358), ("vgg19", 143.667),
    ],
)  # fmt: skip
def test_vgg_holds_what_its_table_prints(name: str, millions: float) -> None:
    printed = {"vgg-c": 134, "vgg16": 138, "vgg19": 144}.get(name, 133)
    assert round(weighed(name).parameters.total / 1e6, 3) == millions
    assert round(weighed(name).parameters.total / 1e6) == printed


def test_vgg_c_adds_three_1x1_convolutions_to_b() -> None:
    # 256*(256+1) + 2 * 512*(512+1)
    extra = weighed("vgg-c").parameters.total - weighed("vgg13").parameters.total
    assert extra == 256 * 257 + 2 * 512 * 513


def test_the_normalisation_of_vgg_a_lrn_has_no_parameters() -> None:
    program = weighed("vgg-a-lrn").program
    assert [op.scope for op in program.ops if op.kind == "local_response_norm"] == ["features.2"]


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [
        ("resnet18", 11_689_512, 1_814_073_344),
        ("resnet50", 25_557_032, 4_089_184_256),
        # torchvision's documented figures, GMACs 0.714, 0.301, 17.56
        ("alexnet", 61_100_840, 714_188_480),
        ("mobilenet_v2", 3_504_872, 300_774_272),
        ("vit_b_16", 86_567_656, 17_563_828_224),
    ],
)
def test_networks_cost_what_others_say_that_they_cost(name: str, params: int, macs: int) -> None:
    found = weighed(name)
    assert (found.parameters.total, found.compute.forward.macs) == (params, macs)


def test_resnet18_forward_and_backward_is_pytorchs_own_witness() -> None:
    found = weighed("resnet18", "training").compute
    assert found.forward.flops + found.backward.flops == 10_884_440_064


@pytest.mark.parametrize(
    ("name", "billions"),
    [("resnet18-v1", 1.8), ("resnet34-v1", 3.6), ("resnet50-v1", 3.8), ("resnet101-v1", 7.6),
     ("resnet152-v1", 11.3)],
)  # fmt: skip
def test_resnet_v1_computes_what_table_1_prints(name: str, billions: float) -> None:
    # He et al. 2016, table 1, in multiply-adds, cut off or rounded to one decimal: 3.66 is printed 3.6
    found = weighed(name).compute.forward.macs / 1e9
    assert billions in (round(found, 1), math.floor(found * 10) / 10)


def test_v1_and_v1_5_hold_the_same_parameters_and_differ_in_the_strided_3x3s() -> None:
    old, new = weighed("resnet50-v1"), weighed("resnet50")
    assert shapes(old.program) == shapes(new.program)
    # In the first block of stages 2 to 4 the 1x1 runs on a quarter of the places. Before: 1x1 of 2w to w
    # (w = 128, 256, 512) on 56, 28, 14 squared.
    saved = sum(
        2 * width * width * (side * side - side * side // 4)
        for width, side in ((128, 56), (256, 28), (512, 14))
    )
    assert new.compute.forward.macs - old.compute.forward.macs == saved
    assert weighed("resnet34-v1").compute.forward == weighed("resnet34").compute.forward


def test_the_separable_googlenet_has_the_2712_weights_of_the_table() -> None:
    found = weighed("googlenet-separable")
    weights = {n: s for n, s in shapes(found.program).items() if str(n).startswith("conv1.")}
    # 7*7*3*8 + 24*64 = 1176 + 1536 = 2712, and 64 biases
    assert sum(math.prod(s) for n, s in weights.items() if str(n).endswith("weight")) == 2712
    assert sum(math.prod(s) for s in weights.values()) == 2712 + 64
    rows = {layer.scope: layer.forward.macs for layer in found.layers(depth=1)}
    assert rows["conv1"] == 2712 * 112 * 112


def test_googlenet_is_the_papers_in_its_kernels() -> None:
    # An inception module's weights, from its row of table 1: 3a reads 192 channels
    found = {
        n: s for n, s in shapes(weighed("googlenet").program).items() if "inception3a" in str(n)
    }
    weights = sum(math.prod(s) for s in found.values() if len(s) == 4)
    assert weights == 192 * (64 + 96 + 16 + 32) + 96 * 128 * 9 + 16 * 32 * 25
    assert sum(math.prod(s) for s in found.values() if len(s) == 1) == 64 + 96 + 128 + 16 + 32 + 32


def test_auxiliary_classifiers_are_held_always_and_run_in_training_only() -> None:
    at_rest, training = (
        weighed("googlenet-aux").program,
        weighed("googlenet-aux", "training").program,
    )
    assert not any(op.scope.startswith("aux") for op in at_rest.ops)
    assert {op.scope.partition(".")[0] for op in training.ops} > {"aux1", "aux2"}
    assert [t.shape for t in at_rest.outputs] == [(1, 1000)]
    assert [t.shape for t in training.outputs] == [(1, 1000)] * 3
    # a head: (512 or 528 channels + bias) * 128, 1024 * (2048 + 1), 1000 * (1024 + 1)
    heads = (512 + 528 + 2) * 128 + 2 * (1024 * 2049 + 1000 * 1025)
    assert (
        weighed("googlenet-aux").parameters.total == weighed("googlenet").parameters.total + heads
    )
    # what never runs takes no memory but its parameters'
    assert {t.storage for t in at_rest.tensors} == {s.id for s in at_rest.storages}


def test_auxiliary_losses_weigh_three_tenths() -> None:
    program = weighed("googlenet-aux", "training").program
    scaled = [op for op in program.phase("forward") if op.scope == "loss" and op.kind == "mul"]
    assert len(scaled) == 2


def test_gpt2s_head_is_its_table_of_words_under_a_second_name() -> None:
    found = weighed("gpt2", "training")
    # 50257*768 + 1024*768 + 12*(12*768^2 + 13*768) + 2*768
    assert found.parameters.total == 51_281 * 768 + 12 * (12 * 768**2 + 13 * 768) + 2 * 768
    assert found.parameters.total == 124_439_808
    assert dict(found.program.aliases) == {"lm_head.weight": "transformer.wte.weight"}
    assert found.parameters.shared == 50257 * 768
    # its gradient is the sum of the head's and the embedding's
    (update,) = [
        op for op in found.program.phase("update") if op.inputs[0].name == "transformer.wte.weight"
    ]
    (made,) = [op for op in found.program.ops if update.inputs[1].id in {t.id for t in op.outputs}]
    assert made.kind == "add"


def test_bert_ends_in_hidden_states_whose_mean_is_its_loss() -> None:
    program = weighed("bert-base", "training").program
    assert [tensor.shape for tensor in program.outputs] == [(1, 128, 768), (1, 768)]
    (loss,) = [op for op in program.phase("forward") if op.scope == "loss"]
    assert (loss.kind, loss.inputs) == ("mean", program.outputs[:1])
    asked = zoo.read("bert-base", Workload(mode="training", loss="cross-entropy"))
    assert "nll_loss" in {op.kind for op in asked.ops}


def test_a_causal_network_counts_the_pairs_that_attend() -> None:
    # 4 tokens: 1 + 2 + 3 + 4 = 10 pairs of 64 + 64 products, 12 heads, 12 blocks; and 12 * 768^2 products a
    # token and block, and the head
    program = zoo.read("gpt2", Workload(inputs=(InputSpec(shape=(4,)),)))
    macs = Weighing(program=program).compute.forward.macs
    assert macs == 12 * 12 * 10 * 128 + 12 * 4 * 12 * 768**2 + 4 * 768 * 50257


def test_the_documents_table_is_the_zoos() -> None:
    text = (Path(__file__).parents[1] / "docs" / "zoo.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| `")]
    printed = {row[0].strip(" `"): [cell.strip() for cell in row[2:6]] for row in rows}
    expected = {}
    for name in NETWORKS:
        found, network = weighed(name), zoo.describe(name)
        sizes = " x ".join(str(size) for size in network.inputs[0].shape)
        params, macs = found.parameters.total, found.compute.forward.macs
        expected[name] = [sizes, str(network.depth), f"{params:,}", f"{macs:,}"]
    assert printed == expected


# -- inputs ----------------------------------------------------------------------------------------


def test_the_program_says_which_inputs_were_used() -> None:
    assert weighed("alexnet-2012").program.workload.inputs[0].shape == (3, 227, 227)
    program = zoo.read("resnet18", Workload(batch=2, inputs=(InputSpec(shape=(3, 96, 64)),)))
    assert program.workload.inputs == (InputSpec(shape=(3, 96, 64), name="input"),)
    assert program.inputs[0].shape == (2, 3, 96, 64)


def test_tokens_stay_whole_numbers_when_only_their_length_is_given() -> None:
    program = zoo.read("bert-base", Workload(inputs=(InputSpec(shape=(16,)),)))
    assert (program.inputs[0].dtype, program.inputs[0].name) == ("int64", "input_ids")


def test_an_image_of_half_the_side_takes_a_quarter_of_the_products_of_convolutions() -> None:
    # every map of resnet18 halves exactly from 448 to 224; only fc, 512*1000, stays
    small = weighed("resnet18").compute.forward.macs - 512_000
    large = zoo.read("resnet18", Workload(inputs=(InputSpec(shape=(3, 448, 448)),)))
    assert Weighing(program=large).compute.forward.macs - 512_000 == 4 * small


def test_googlenet_takes_images_as_small_as_torchvision_says() -> None:
    # meta['min_size'] is 15: maps of 8, 4, 2, 1, 1, the last two from windows wider than their image
    program = zoo.read("googlenet-bn", Workload(inputs=(InputSpec(shape=(3, 15, 15)),)))
    assert program.outputs[0].shape == (1, 1000)


# -- what does not fit -----------------------------------------------------------------------------


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no network called 'resnet5O'\n  nearest: resnet50"):
        zoo.read("resnet5O", INFERENCE)
    with pytest.raises(UsageError, match=r"no network called 'qqq'\n  it has: lenet5, "):
        zoo.describe("qqq")


@pytest.mark.parametrize(
    ("name", "specs", "error", "message"),
    [
        ("vgg16", ((3, 224, 224),) * 2, UsageError, r"vgg16 takes 1 input, and 2 were given\n  its default is \(3, 224, 224\)"),
        ("vgg16", ((3, 224),), ShapeError, r"vgg16 does not take an input of shape \(3, 224\)\n  it takes 3 axes after the batch, such as \(3, 224, 224\)"),
        ("gpt2", ((3, 224, 224),), ShapeError, r"gpt2 does not take .*\n  it takes 1 axis after the batch"),
        ("resnet50", ((1, 28, 28),), ShapeError, r"conv1 takes 3 channels, and its input \(1, 1, 28, 28\) has 1"),
        ("densenet121", ((1, 64, 64),), ShapeError, r"features\.conv0 takes 3 channels"),
        ("mobilenet_v2", ((4, 64, 64),), ShapeError, r"features\.0\.0 takes 3 channels"),
        ("googlenet", ((1, 64, 64),), ShapeError, r"conv1\.conv takes 3 channels"),
        ("googlenet-separable", ((1, 64, 64),), ShapeError, r"conv1\.depthwise takes 3 channels"),
        ("vgg11", ((3, 8, 8),), ShapeError, r"features\.15 \(max_pool\) does not take an input of shape \(1, 512, 1, 1\)\n  a pooling window 2 wide"),
        ("lenet5", ((3, 32, 32),), ShapeError, r"conv1 takes 1 channels, and its input \(1, 3, 32, 32\) has 3"),
        ("lenet5", ((1, 28, 28),), ShapeError, r"fc1 takes 400 features, and its input \(1, 256\) has 256"),
        ("lenet5-1998", ((1, 28, 28),), ShapeError, r"c5 \(convolution\) does not take an input of shape \(1, 16, 4, 4\)"),
        ("lenet5-1998", ((1, 64, 64),), ShapeError, r"f6 takes 120 features"),
        ("alexnet", ((3, 32, 32),), ShapeError, r"features\.12 \(max_pool\) does not take an input of shape \(1, 256, 1, 1\)"),
        ("alexnet-2012", ((3, 224, 224),), ShapeError, r"fc6 takes 9216 features, and its input \(1, 6400\) has 6400"),
        ("vit_b_16", ((3, 384, 384),), ShapeError, r"encoder\.pos_embedding holds a position for each of the 14 x 14 patches of a 224 x 224 image, and the input has shape \(1, 3, 384, 384\)"),
        ("bert-base", ((513,),), ShapeError, r"embeddings\.position_embeddings holds 512 positions, and the input \(1, 513\) has 513"),
        ("gpt2", ((1025,),), ShapeError, r"transformer\.wpe holds 1024 positions, and the input \(1, 1025\) has 1025"),
    ],
)  # fmt: skip
def test_an_input_that_does_not_fit_is_refused_by_the_layer_that_cannot_take_it(
    name: str, specs: tuple[tuple[int, ...], ...], error: type[Exception], message: str
) -> None:
    inputs = tuple(InputSpec(shape=shape) for shape in specs)
    with pytest.raises(error, match=message):
        zoo.read(name, Workload(inputs=inputs))


def test_numbers_of_the_wrong_kind_are_refused() -> None:
    tokens = Workload(inputs=(InputSpec(shape=(16,), dtype="float32"),))
    with pytest.raises(
        UsageError, match=r"gpt2 reads token numbers, and float32 was given\n  use int64"
    ):
        zoo.read("gpt2", tokens)
    images = Workload(inputs=(InputSpec(shape=(3, 224, 224), dtype="int64"),))
    with pytest.raises(
        UsageError, match=r"vgg16 reads images, and int64 was given\n  use a floating"
    ):
        zoo.read("vgg16", images)


# -- against torchvision and transformers ----------------------------------------------------------

TORCHVISION = tuple(
    name
    for name in NETWORKS
    if not name.startswith(("lenet", "googlenet", "bert", "gpt2"))
    and not name.endswith("-v1")
    and name not in ("alexnet-2012", "vgg-a-lrn", "vgg-c")
)
TRACED = (*TORCHVISION, "googlenet-bn", "googlenet-bn-aux", "bert-base", "gpt2")


@cache
def reference(name: str) -> torch.nn.Module:
    """torchvision's or transformers' module for a network of the zoo, on tensors without data."""
    torch = pytest.importorskip("torch")
    with torch.device("meta"):
        module: torch.nn.Module = _constructor(name)()
    return module.train()


def _constructor(name: str) -> Callable[[], torch.nn.Module]:
    if name in ("bert-base", "gpt2"):
        models = pytest.importorskip("transformers")
        if name == "gpt2":
            return lambda: models.GPT2LMHeadModel(models.GPT2Config())
        return lambda: models.BertModel(models.BertConfig())
    models = pytest.importorskip("torchvision.models")
    if name.startswith("googlenet"):
        return lambda: models.googlenet(aux_logits=name.endswith("-aux"), init_weights=False)
    return getattr(models, name.replace("-", "_"))


@pytest.mark.torch
@pytest.mark.parametrize("name", TRACED)
def test_parameters_and_buffers_are_the_frameworks_one_by_one(name: str) -> None:
    program, module = weighed(name).program, reference(name)
    assert shapes(program) == {n: tuple(p.shape) for n, p in module.named_parameters()}
    assert {(t.name, t.shape, t.dtype) for t in program.buffers} == {
        (n, tuple(b.shape), str(b.dtype).removeprefix("torch.")) for n, b in module.named_buffers()
    }


@pytest.mark.torch
@pytest.mark.parametrize("name", TRACED)
def test_modules_are_the_frameworks_one_by_one(name: str) -> None:
    ours = {module.scope: module.kind for module in weighed(name).program.modules}
    theirs = {scope: type(part).__name__ for scope, part in reference(name).named_modules()}
    theirs.pop("")
    assert ours == theirs


@cache
def counted(name: str) -> tuple[dict[str, int], int, int]:
    """PyTorch's FLOPs: forward by module, all below it included; forward; backward."""
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    module = reference(name)
    (spec,) = zoo.describe(name).inputs
    x = torch.zeros((1, *spec.shape), dtype=getattr(torch, spec.dtype or "float32"), device="meta")
    x.requires_grad_(spec.dtype is None)
    with FlopCounterMode(display=False) as counter:
        output = module(x)
        root = type(module).__name__
        by_module = {
            scope.removeprefix(root).removeprefix("."): sum(flops.values())
            for scope, flops in counter.get_flop_counts().items()
            if scope != "Global"
        }
        forward = counter.get_total_flops()
        if isinstance(output, dict):  # transformers': the first is what the loss is taken of
            output = next(iter(output.values()))
        ends = [output] if isinstance(output, torch.Tensor) else output
        sum(end.sum() for end in ends).backward()
    return by_module, forward, counter.get_total_flops() - forward


def heads_and_pairs(name: str) -> tuple[int, int, int]:
    """Heads of all blocks; pairs that one scores here; pairs of the full square."""
    if name == "vit_b_16":
        return 12 * 12, 197**2, 197**2  # 14 * 14 patches and the class token
    if name == "bert-base":
        return 12 * 12, 128**2, 128**2
    if name == "gpt2":
        return 12 * 12, 1024 * 1025 // 2, 1024**2
    return 0, 0, 0


@pytest.mark.torch
@pytest.mark.parametrize("name", TRACED)
def test_forward_flops_are_pytorchs_module_by_module(name: str) -> None:
    found = weighed(name, "training")
    by_module, forward, _ = counted(name)
    heads, pairs, square = heads_and_pairs(name)
    # PyTorch counts a causal attention as the full square, 2 * (64 + 64) FLOPs a pair
    unseen = 256 * heads * (square - pairs)
    assert found.compute.forward.flops == forward - unseen
    attending = [op.scope for op in found.program.phase("forward") if op.kind == "attention"]
    ours: Counter[str] = Counter()
    for layer in found.layers():
        for scope in ancestors(layer.scope):
            ours[scope] += layer.forward.flops
    for place in attending:
        for scope in ancestors(place):
            ours[scope] += unseen // len(attending)
    assert {scope: ours[scope] for scope in by_module} == by_module


def ancestors(scope: str) -> list[str]:
    """The module, those around it, and the network itself."""
    parts = scope.split(".") if scope else []
    return [".".join(parts[:depth]) for depth in range(len(parts) + 1)]


@pytest.mark.torch
@pytest.mark.parametrize("name", TRACED)
def test_backward_flops_are_pytorchs(name: str) -> None:
    heads, pairs, square = heads_and_pairs(name)
    # Without data PyTorch runs attention's backward as four products a pair of the full square, 64 wide;
    # here it is five, the scores computed again, as the kernels do that never store them.
    attention = 2 * 64 * heads * (5 * pairs - 4 * square)
    assert weighed(name, "training").compute.backward.flops == (
        counted(name)[2] + attention - grouped_excess(name)
    )


def grouped_excess(name: str) -> int:
    """What PyTorch's counter has too much: it takes the weight gradient of a grouped convolution for dense.

    `conv_backward_flop` is given the groups and does not use them for grad_weight, which it counts as
    c * k * kernel * output where c/groups * k * kernel * output is run.
    """
    return sum(
        2 * (op.integer("groups") - 1) * math.prod(op.inputs[1].shape[1:]) * op.outputs[0].elements
        for op in weighed(name).program.ops
        if op.kind == "convolution"
    )
