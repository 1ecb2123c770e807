"""Parameters and multiply-adds of classification networks, as five libraries published them.

Each counts in its own way, and the ways are part of what is tested: Keras counts batch statistics among the
parameters and gives ResNet's convolutions biases; pycls adds the classifier's biases to the multiply-adds.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from functools import cache

import pytest

from weighbridge.analyses.weighing import Weighing
from weighbridge.frontends import zoo
from weighbridge.workload import InputSpec, Workload


@cache
def weighed(name: str) -> Weighing:
    return Weighing(program=zoo.read(name, Workload()))


def params(name: str) -> int:
    return weighed(name).parameters.total


def macs(name: str) -> int:
    return weighed(name).compute.forward.macs


def statistics(name: str) -> int:
    """Running means and variances: the buffers that are not counters."""
    return sum(
        tensor.elements for tensor in weighed(name).program.buffers if tensor.dtype == "float32"
    )


def rounded(value: int, unit: int, places: int) -> Decimal:
    return (Decimal(value) / unit).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)


def row_of(rows, column, value):
    return next(row for row in rows if row[column] == value)


# -- torchvision: its weights' metadata, exact parameters and GMACs to three places ------------------

TORCHVISION = {
    "alexnet": "AlexNet",
    "densenet121": "DenseNet121",
    "densenet161": "DenseNet161",
    "densenet169": "DenseNet169",
    "densenet201": "DenseNet201",
    "googlenet-bn": "GoogLeNet",
    "resnet18": "ResNet18",
    "resnet34": "ResNet34",
    "resnet50": "ResNet50",
    "resnet101": "ResNet101",
    "resnet152": "ResNet152",
    "vgg11": "VGG11",
    "vgg13": "VGG13",
    "vgg16": "VGG16",
    "vgg19": "VGG19",
    "vgg11-bn": "VGG11_BN",
    "vgg13-bn": "VGG13_BN",
    "vgg16-bn": "VGG16_BN",
    "vgg19-bn": "VGG19_BN",
    "vit_b_16": "ViT_B_16",
}


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision(published, name):
    rows = published("static/torchvision_classification_weights_meta.csv")
    row = row_of(rows, "weights_enum", f"{TORCHVISION[name]}_Weights")
    assert params(name) == int(row["num_params"])
    assert rounded(macs(name), 10**9, 3) == Decimal(row["gmacs_ops"])


# -- pycls: exact, the classifier's biases counted as multiply-adds ------------------------------------

PYCLS = {"resnet50": "R-50", "resnet101": "R-101", "resnet152": "R-152"}


@pytest.mark.parametrize("name", PYCLS)
def test_pycls(published, name):
    rows = published("static/pycls_model_complexity.csv")
    row = row_of(rows, "config", f"configs/dds_baselines/resnet/{PYCLS[name]}-1x64d_dds_8gpu.yaml")
    assert params(name) == int(row["params"])
    assert macs(name) + 1000 == int(row["flops_are_macs"])
    # 'acts': what convolutions, the classifier and the pooling put out.
    counted = ("convolution", "matmul", "max_pool")
    acts = sum(op.outputs[0].elements for op in weighed(name).program.ops if op.kind in counted)
    assert acts == int(row["acts"])


# -- Keras: exact, batch statistics counted ---------------------------------------------------------------

KERAS = {
    "vgg16": "VGG16",
    "vgg19": "VGG19",
    "densenet121": "DenseNet121",
    "densenet169": "DenseNet169",
    "densenet201": "DenseNet201",
    "mobilenet_v2": "MobileNetV2",
    "resnet50-v1": "ResNet50",
    "resnet101-v1": "ResNet101",
    "resnet152-v1": "ResNet152",
}


@pytest.mark.parametrize("name", KERAS)
def test_keras(published, name):
    rows = published("static/keras_applications_params_k80.csv")
    row = row_of(rows, "model", KERAS[name])
    # Keras' ResNet has a bias on every convolution, as many as the norm behind it has running means.
    biases = statistics(name) // 2 if name.startswith("resnet") else 0
    assert params(name) + statistics(name) + biases == int(row["params_exact_incl_bn_stats"])


# -- convnet-burden: what the parameters take, in MB of 2^20 bytes ---------------------------------------

BURDEN = {
    "vgg16": "vgg-vd-16",
    "vgg19": "vgg-vd-19",
    "googlenet-aux": "googlenet",
    "resnet18": "resnet18",
    "resnet34": "resnet34",
    "resnet50-v1": "resnet-50",
    "resnet101-v1": "resnet-101",
    "resnet152-v1": "resnet-152",
    "densenet121": "densenet121",
    "densenet161": "densenet161",
    "densenet169": "densenet169",
    "densenet201": "densenet201",
}


@pytest.mark.parametrize("name", BURDEN)
def test_convnet_burden(published, name):
    rows = published("static/convnet_burden_classification.csv")
    row = row_of(rows, "model", BURDEN[name])
    program = zoo.read(name, Workload(mode="training" if name.endswith("-aux") else "inference"))
    held = Weighing(program=program).parameters.bytes + 4 * statistics(name)
    assert abs(held / 2**20 - int(row["param_mem"].removesuffix(" MB"))) < 1
    # Their FLOPs have biases, ReLU and pooling beside the multiply-adds: less than 1 % more.
    least, most = (rounded(share * macs(name) // 100, 10**9, 0) for share in (100, 101))
    assert row["flops_fma_as_one"] in (f"{least} GFLOPs", f"{most} GFLOPs")


def test_convnet_burden_on_alexnet(published):
    """The two-group network of 2012, at the 227 pixels that make its first image 55x55 without padding."""
    row = row_of(published("static/convnet_burden_classification.csv"), "model", "alexnet")
    size = int(row["input_size"].partition(" x ")[0])
    workload = Workload(inputs=(InputSpec(shape=(3, size, size)),))
    weighing = Weighing(program=zoo.read("alexnet-2012", workload))
    assert rounded(weighing.parameters.bytes, 2**20, 0) == int(row["param_mem"].removesuffix(" MB"))
    theirs = int(row["flops_fma_as_one"].removesuffix(" MFLOPs"))
    ours = weighing.compute.forward.macs
    assert ours / 10**6 <= theirs < 1.01 * ours / 10**6


# -- timm: millions of parameters to two places -------------------------------------------------------------

TIMM = {
    "resnet18": "resnet18.tv_in1k",
    "resnet34": "resnet34.tv_in1k",
    "resnet50": "resnet50.tv_in1k",
    "resnet101": "resnet101.tv_in1k",
    "resnet152": "resnet152.tv_in1k",
    "densenet121": "densenet121.tv_in1k",
    "densenet161": "densenet161.tv_in1k",
    "densenet169": "densenet169.tv_in1k",
    "densenet201": "densenet201.tv_in1k",
    "vgg11": "vgg11.tv_in1k",
    "vgg19-bn": "vgg19_bn.tv_in1k",
    "mobilenet_v2": "mobilenetv2_100.ra_in1k",
    "vit_b_16": "vit_base_patch16_224.augreg_in1k",
}


@pytest.mark.parametrize("name", TIMM)
def test_timm(published, name):
    row = row_of(published("timm/results-imagenet.csv"), "model", TIMM[name])
    assert rounded(params(name), 10**6, 2) == Decimal(row["param_count"])
