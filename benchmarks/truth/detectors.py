"""Published memory of training Faster R-CNN: torchvision, detectron2 and MMDetection, two images a GPU.

A detector's step asks for values (which anchor matches which box, what overlaps), so that it runs on data here: noise,
seven boxes an image, untrained weights. How a row is read was written before anything was predicted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

import torch
from torch import Tensor, nn

from benchmarks.truth.reading import Row, exactly, on, read, traced
from weighbridge.analyses.memory.resident import Interval
from weighbridge.workload import Optimizer, Workload

NOTES = (
    "- Detection: 0.52 to 0.74 GB are missing in the four rows of detectron2 and MMDetection. cuDNN's workspaces are not "
    "predicted; a Winograd transform in steps of the pyramid's largest 3 x 3 convolution would take 0.62 GB, 2.25 times the "
    "275 MB that go in and out. That it was taken is not shown.",
    "- torchvision's detector: more than half is missing. The figure is of May 2019, when non-maximum suppression of a batch "
    "was written so that its table of overlaps was much larger, as its maintainers say in issue 1150; how much that was is not "
    "known, and it is today's network here.",
    "- detectron2's and MMDetection's other networks, masks and keypoints were not tried: a step on data takes a minute each.",
)

GIB = 2**30
HEIGHT, WIDTH, BOXES = 800, 1333, 7


def detection() -> Iterator[Row]:
    """Faster R-CNN with a ResNet and a feature pyramid in float32, SGD with momentum, eight V100, two images each.

    The figure is the largest `max_memory_allocated` of a run, in GiB as their loggers divide it, printed with one decimal.
    Images are grouped by aspect ratio in all three, and brought to 800 pixels, 1333 at most: the largest batch is two images
    of 800 x 1333, padded to 1344. torchvision's network stands for all three, with what they freeze: the stem and the first
    stage; of the other norms, torchvision and detectron2 freeze all (a product and a sum), MMDetection the statistics alone.
    Training is distributed, and gradients are once more in the buckets that are sent: their bytes are added.
    """
    for source, table, named, memory, rows in (
        ("torchvision", "torchvision_detection_runtime_v100.csv", "model", "memory_gb", TORCHVISION),
        ("detectron2", "detectron2_zoo_detection.csv", "config_row", "train_mem_gb", DETECTRON2),
        ("MMDetection", "mmdet_train_memory.csv", "name", "train_memory_gb", MMDETECTION),
    ):  # fmt: skip
        for row in read(table):
            if row[named] in rows:
                depth = rows[row[named]]
                yield Row(
                    source=source,
                    network=f"Faster R-CNN, ResNet-{depth} FPN, 2 images",
                    metric="allocated",
                    published_bytes=int(float(row[memory]) * GIB),
                    predicted=step_of(depth, frozen=source != "MMDetection"),
                )


TORCHVISION: Mapping[str, int] = {"Faster R-CNN ResNet-50 FPN": 50}
DETECTRON2: Mapping[str, int] = {"faster_rcnn_R_50_FPN_1x": 50, "faster_rcnn_R_101_FPN_3x": 101}
MMDETECTION: Mapping[str, int] = {
    "faster-rcnn_r50_fpn_1x_coco": 50,
    "faster-rcnn_r101_fpn_1x_coco": 101,
}


@cache
def step_of(depth: int, *, frozen: bool) -> Interval:
    """A step of one of the GPUs, and the buckets."""
    torch.manual_seed(0)
    model = detector(depth, frozen=frozen)
    boxes = torch.tensor(
        [[10 + 90 * i, 10 + 60 * i, 200 + 100 * i, 300 + 70 * i] for i in range(BOXES)]
    )
    target = {"boxes": boxes.float(), "labels": torch.ones(BOXES, dtype=torch.int64)}
    workload = Workload(
        mode="training",
        batch=2,
        optimizer=Optimizer(name="sgd", settings={"momentum": 0.9}),
        own_loss=_sum,
    )
    examples = {"images": list(torch.rand(2, 3, HEIGHT, WIDTH)), "targets": [target, target]}
    found = on(traced(model, workload, examples), "v100-16gb")
    buckets = sum(p.nbytes for p in model.parameters() if p.requires_grad)
    return found.allocated + exactly(buckets)


def _sum(losses: Mapping[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()


def detector(depth: int, *, frozen: bool) -> nn.Module:
    """Untrained, the stem and the first stage frozen, and the norms as the source has them."""
    from torchvision import models
    from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
    from torchvision.ops import FrozenBatchNorm2d

    norm = FrozenBatchNorm2d if frozen else nn.BatchNorm2d
    network = models.get_model(f"resnet{depth}", weights=None, norm_layer=norm)
    detector: nn.Module = models.detection.FasterRCNN(_resnet_fpn_extractor(network, 3), 91)
    detector.train()
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return detector
