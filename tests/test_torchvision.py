"""torchvision and timm by name: their documented sizes, parameters and multiply-adds."""

import pytest

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")

from torchvision.models import get_model_weights, list_models  # noqa: E402

from weighbridge.analyses.compute import compute  # noqa: E402
from weighbridge.analyses.parameters import parameters  # noqa: E402
from weighbridge.errors import UsageError, WeighError  # noqa: E402
from weighbridge.frontends import timm  # noqa: E402
from weighbridge.frontends import torchvision as frontend  # noqa: E402
from weighbridge.frontends.torch import trace  # noqa: E402
from weighbridge.workload import InputSpec, Workload  # noqa: E402

pytestmark = pytest.mark.torch

CLASSIFIERS = tuple(list_models(module=torchvision.models))

SLICE = (
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "inception_v3",
    "maxvit_t", "mnasnet0_5", "mobilenet_v3_small", "regnet_y_400mf", "resnet18", "resnext50_32x4d",
    "mobilenet_v2", "shufflenet_v2_x0_5", "squeezenet1_0", "swin_v2_t", "vgg11_bn", "vit_b_32", "vit_h_14",
)  # fmt: skip
"""At least one of every family."""


def agrees(name):
    """Parameters and multiply-adds against what the weights' metadata publishes.

    torchvision prints GMACs to three decimals (and calls them GFLOPs, `_ops`), worked out by fvcore:
    https://github.com/pytorch/vision/pull/6936.
    """
    program = frontend.read(name, Workload())
    meta = get_model_weights(name).DEFAULT.meta
    found = compute(program)
    assert parameters(program).total == meta["num_params"]
    assert round(found.forward.macs / 1e9, 3) == pytest.approx(meta["_ops"], abs=1e-9)
    assert found.uncounted == ()
    return meta, found


@pytest.mark.parametrize("name", SLICE)
def test_published_parameters_and_operations(name):
    agrees(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_published_parameters_and_operations_of_every_classifier(name):
    meta, found = agrees(name)
    print(
        f"{name:20} {meta['num_params']:>11,}  {found.forward.macs / 1e9:8.3f}  {meta['_ops']:8.3f}"
    )


def test_there_are_eighty_classifiers_and_one_of_each_family_is_in_the_slice():
    assert len(CLASSIFIERS) >= 80
    # the module that builds a network is its family
    family = {name: torchvision.models.get_model_builder(name).__module__ for name in CLASSIFIERS}
    assert {family[name] for name in SLICE} == set(family.values())


def test_resnet_18_is_the_figure_of_pytorchs_own_test():
    """torch/testing, test_flop_counter.py: 10,884,440,064 FLOPs forward and backward with the input."""
    program = frontend.read("resnet18", Workload(mode="training", input_gradient=True))
    found = compute(program)
    assert found.forward.macs == 1_814_073_344
    assert found.forward.flops + found.backward.flops == 10_884_440_064


def test_the_program_says_where_it_comes_from():
    program = frontend.read("resnet18", Workload(batch=4))
    assert (program.network, program.source, program.frontend) == (
        "resnet18", "torchvision:resnet18", "torchvision"
    )  # fmt: skip
    assert program.workload.inputs == (InputSpec(shape=(3, 224, 224), dtype="float32"),)
    assert program.inputs[0].shape == (4, 3, 224, 224)
    assert program.modules[0].kind == "ResNet"


def test_documented_sizes():
    sizes = {
        "inception_v3": (3, 299, 299),
        "vit_h_14": (3, 518, 518),  # its best weights, at the size of their fine-tuning
        "efficientnet_b7": (3, 600, 600),
        "r3d_18": (3, 16, 112, 112),
        "fcn_resnet50": (3, 520, 520),
        "fasterrcnn_resnet50_fpn": (3, 512, 512),
    }
    for name, shape in sizes.items():
        assert frontend.documented_inputs(name)[0].shape == shape, name


def test_a_given_size_is_the_networks():
    program = frontend.read("vit_b_16", Workload(inputs=(InputSpec(shape=(3, 384, 384)),)))
    # (384 / 16)^2 patches and a class token, each with a position
    assert next(t for t in program.parameters if "pos_embedding" in (t.name or "")).shape == (
        1, 577, 768
    )  # fmt: skip


def test_googlenets_heads_are_there_when_it_trains():
    inference = frontend.read("googlenet", Workload())
    assert inference.warnings == ("without the auxiliary heads, which only training uses",)
    training = frontend.read("googlenet", Workload(mode="training", batch=2))
    # 13,004,888 with both heads, torchvision's own count for aux_logits=True
    assert parameters(training).total == 13_004_888
    losses = [op for op in training.phase("forward") if op.scope == "loss"]
    assert [op.kind for op in losses].count("nll_loss") == 3
    assert [op.kind for op in losses].count("mul") == 2


def test_what_quantisation_starts_from():
    program = frontend.read("quantized_resnet18", Workload())
    assert compute(program).forward.macs == 1_814_073_344
    assert program.warnings == ("weighed in floating point, as it is before quantisation",)


def test_segmentation_and_video_run_too():
    clip = frontend.read("r3d_18", Workload())
    assert compute(clip).forward.macs / 1e9 == pytest.approx(40.697, abs=5e-4)  # weights' metadata
    image = frontend.read("lraspp_mobilenet_v3_large", Workload())
    assert parameters(image).total == 3_221_538  # weights' metadata


def test_names_that_are_not_there():
    with pytest.raises(UsageError, match="torchvision has no network called 'resnet5O'") as caught:
        frontend.read("resnet5O", Workload())
    assert "nearest: resnet50" in str(caught.value)
    assert frontend.knows("resnet50")
    assert not frontend.knows("resnet51")


@pytest.mark.parametrize(
    "name", ["deeplabv3_mobilenet_v3_large", "fcn_resnet50", "s3d", "swin3d_t"]
)
def test_published_operations_of_other_tasks(name):
    """With the auxiliary head, which runs beside the main one, and on clips of 16 frames."""
    agrees(name)


DETECTORS = {
    # What differs is the boxes that random images gave with trained weights: none, or one with keypoints.
    # A proposal in the box head: 256 * 7 * 7 * 1024 + 1024^2 + 1024 * 91 * 5 MACs, 14.36 M.
    "fasterrcnn_resnet50_fpn": 0,
    "fasterrcnn_resnet50_fpn_v2": 0,
    "maskrcnn_resnet50_fpn_v2": 0,
    "fasterrcnn_mobilenet_v3_large_fpn": 1000 * 14_359_552,
    "fasterrcnn_mobilenet_v3_large_320_fpn": 150 * 14_359_552,
    # A detection in the mask head: four convolutions of 256 to 256 on 14 x 14, one transposed to 28 x 28,
    # and one mask for each of 91 classes.
    "maskrcnn_resnet50_fpn": 100 * (4 * 256**2 * 9 * 14**2 + 256**2 * 4 * 14**2 + 256 * 91 * 28**2),
    # In the keypoint head: eight of 512 on 14 x 14, and 17 keypoints, transposed by 4 x 4. One was found.
    "keypointrcnn_resnet50_fpn": 99 * (14**2 * 9 * 512 * (256 + 7 * 512) + 14**2 * 16 * 512 * 17),
    "fcos_resnet50_fpn": 0,
    "retinanet_resnet50_fpn": 0,
    "retinanet_resnet50_fpn_v2": 0,
    "ssd300_vgg16": 0,
    "ssdlite320_mobilenet_v3_large": 0,
}
"""MACs that torchvision's documentation lacks, which counts the boxes that were found in noise."""


def finds_as_many_boxes_as_it_may(name):
    program = frontend.read(name, Workload())
    meta = get_model_weights(name).DEFAULT.meta
    found = compute(program)
    assert (program.rung, program.complete) == ("real", True)
    assert parameters(program).total == meta["num_params"]
    documented = found.forward.macs - DETECTORS[name]
    assert round(documented / 1e9, 3) == pytest.approx(meta["_ops"], abs=1.1e-3)
    assert found.uncounted == ()
    return program


def test_a_detector_of_boxes_in_one_stage():
    program = finds_as_many_boxes_as_it_may("ssdlite320_mobilenet_v3_large")
    assert "torchvision/models/detection/" in program.warnings[0]


def test_a_detector_of_boxes_in_two_stages():
    program = finds_as_many_boxes_as_it_may("fasterrcnn_mobilenet_v3_large_320_fpn")
    assert program.warnings[1] == (
        "counted for as many boxes as it lets through: 150 proposals and 100 detections an image"
    )
    assert program.inputs[0].shape == (1, 3, 512, 512)


@pytest.mark.slow
@pytest.mark.parametrize("name", DETECTORS)
def test_published_parameters_and_operations_of_detectors(name):
    finds_as_many_boxes_as_it_may(name)


def test_a_deformable_convolution_learns():
    ops = torchvision.ops

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.places = torch.nn.Conv2d(3, 18, 3, padding=1)
            self.mask = torch.nn.Conv2d(3, 9, 3, padding=1)
            self.read = ops.DeformConv2d(3, 4, 3, padding=1)

        def forward(self, x):
            return self.read(x, self.places(x), self.mask(x))

    workload = Workload(inputs=(InputSpec(shape=(3, 8, 8)),), batch=2, mode="training", loss="mean")
    found = compute(trace(Net(), workload, network="net", source="test"))
    assert found.uncounted == ()
    products = 2 * 64 * 27  # a channel: 2 images of 64 places, kernels of 3 x 3 x 3
    assert found.forward.macs == products * (18 + 9 + 4)
    # the kernels of all three; and what the deformable one read, whose gradient goes on to places and mask
    assert found.backward.macs == products * (18 + 9 + 4) + products * 4


def test_a_detector_does_not_train_without_boxes():
    with pytest.raises(WeighError, match="a training step of ssd300_vgg16 needs boxes to learn"):
        frontend.read("ssd300_vgg16", Workload(mode="training"))


def test_no_documented_size(monkeypatch):
    monkeypatch.setattr("torchvision.models.get_model_weights", lambda _: None)
    with pytest.raises(UsageError, match="torchvision documents no input size for resnet18"):
        frontend.documented_inputs("resnet18")


@pytest.mark.parametrize("package", [frontend, timm], ids=["torchvision", "timm"])
def test_not_installed(package, monkeypatch):
    monkeypatch.setattr(package, "find_spec", lambda _: None)
    assert not package.installed()
    with pytest.raises(UsageError, match="is not installed"):
        package.read("resnet50", Workload())


def test_a_network_that_cannot_be_built():
    from weighbridge.frontends.torch.building import build

    def make():
        raise ValueError("one width too many")

    with pytest.raises(WeighError, match="thing cannot be built: ValueError: one width too many"):
        build(make, "thing")


def test_networks_that_compute_while_they_are_built():
    """RegNet works out its widths with tensors; its weights still take no memory."""
    from weighbridge.frontends.torch.building import build

    model = build(torchvision.models.regnet_y_400mf, "regnet")
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


# -- timm ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "params", "gmacs"),
    [
        # timm's benchmark-infer-amp-nhwc-pt240-cu124-rtx4090.csv (pytorch-image-models, results/): M, GMACs
        ("resnet50", 25.56, 4.11),
        ("vit_base_patch16_224", 86.57, 17.58),
        ("mixer_b16_224", 59.88, 12.62),
    ],
)
def test_timm_networks(name, params, gmacs):
    pytest.importorskip("timm")
    program = timm.read(name, Workload())
    assert round(parameters(program).total / 1e6, 2) == params
    # the table counts normalisation as well
    assert compute(program).forward.macs / 1e9 == pytest.approx(gmacs, rel=0.01)
    assert compute(program).uncounted == ()


def test_timm_and_torchvision_agree_on_resnet_50():
    pytest.importorskip("timm")
    costs = [compute(module.read("resnet50", Workload())).forward for module in (timm, frontend)]
    assert costs[0].macs == costs[1].macs == 4_089_184_256


def test_timm_names_with_and_without_tags():
    pytest.importorskip("timm")
    assert timm.knows("resnet50.a1_in1k")
    assert "resnet50" in timm.names()
    with pytest.raises(UsageError, match="timm has no network called 'resnet5O'"):
        timm.read("resnet5O", Workload())


def test_a_timm_network_without_a_size(monkeypatch):
    pytest.importorskip("timm")

    def make(_):
        model = torch.nn.Linear(3, 3)
        model.pretrained_cfg = {}
        return model

    monkeypatch.setattr(timm, "_make", make)
    with pytest.raises(UsageError, match="timm documents no input size for resnet50"):
        timm.read("resnet50", Workload())
