"""Throughputs: timm's published times of whole networks, and the steps that they are times of.

`benchmark.py` of timm runs forward passes, or training steps, with automatic mixed precision at a batch that fits, cuDNN
choosing its algorithms, and waits for the device after each. What it ran, as far as it can be known:

- with `--fast-norm`: networks with group norms cost what norms of half precision cost, not what casting to float32 and
  back does, so norms of timm's own classes are computed in half precision here, where timm used those at the time;
- attention in one kernel on PyTorch 2.4, spelled out as products and a softmax on PyTorch 1.12 and 1.13; where no one
  kernel takes it, in half precision (PyTorch computes that in float32 since 2.5);
- plain SGD of timm's, one parameter after the other, no gradient scaler.

The networks are those of the timm that is installed. A row whose number of parameters is another than theirs is of
another network under the same name, and is not covered.
"""

from __future__ import annotations

import csv
import gzip
import pickle
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from benchmarks.fitting.growth import Step, step_of
from benchmarks.fitting.split import family, held_out
from benchmarks.keeping import FORM, kept_whole
from weighbridge.errors import WeighError
from weighbridge.ops.kernel import Kernel
from weighbridge.program import Program
from weighbridge.workload import InputSpec, Layout, Workload

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "published" / "timm"
CACHE = Path(__file__).parents[2] / "build" / "timm"

BATCH = 8
"""The batch that networks are traced at; all else follows (`growth`)."""

SAME = 0.02
"""By how much numbers of parameters may differ, as the files round them to 10,000."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One published file: which device, which steps, and how attention ran."""

    name: str
    device: str
    layout: Layout
    training: bool = False
    fused: bool = True

    @property
    def path(self) -> Path:
        return PUBLISHED / f"benchmark-{self.name}.csv"

    @property
    def sort(self) -> str:
        """The sort of its steps, as intervals are told apart."""
        return f"{'training' if self.training else 'inference'}, {self.layout}"

    @property
    def folder(self) -> Path:
        """Where the steps of its networks are kept."""
        how = "training" if self.training else "fused" if self.fused else "explicit"
        return CACHE / FORM / f"{how}-{self.layout}"


FILES = (
    File(name="infer-amp-nchw-pt240-cu124-rtx4090", device="rtx-4090", layout="contiguous"),
    File(name="infer-amp-nhwc-pt240-cu124-rtx4090", device="rtx-4090", layout="channels-last"),
    File(
        name="infer-amp-nchw-pt113-cu117-rtx3090",
        device="rtx-3090",
        layout="contiguous",
        fused=False,
    ),
    File(
        name="infer-amp-nhwc-pt113-cu117-rtx3090",
        device="rtx-3090",
        layout="channels-last",
        fused=False,
    ),
    File(
        name="train-amp-nhwc-pt112-cu113-rtx3090",
        device="rtx-3090",
        layout="channels-last",
        training=True,
        fused=False,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One published time, with the step that it is of; `step` is None where the network is not covered."""

    file: File
    network: str
    side: int
    batch: int
    seconds: float
    params_m: float
    gmacs: float
    macts: float
    step: Step | None

    @property
    def held_out(self) -> bool:
        return held_out(self.network)

    @property
    def family(self) -> str:
        return family(self.network)

    def kernels(self) -> Iterator[tuple[int, Kernel]]:
        """How often each kernel runs, at the row's batch; none of a network that is not covered."""
        if self.step is not None:
            for piece in self.step.pieces:
                yield piece.times, piece.at(self.batch / self.step.batch)


def rows(file: File, *, every: int = 1) -> Iterator[Row]:
    """The rows of a file, or one in so many; networks are traced that were not yet."""
    if not file.path.is_file():
        return
    how = "train" if file.training else "infer"
    with file.path.open(encoding="utf-8") as lines:
        found = list(csv.DictReader(lines))
    for row in found[::every]:
        network, side = row["model"], int(row[f"{how}_img_size"])
        params = float(row["param_count"])
        step = step_for(file, network, side)
        if step is not None and abs(step.params / 1e6 - params) > max(SAME * params, 0.011):
            step = None
        yield Row(
            file=file,
            network=network,
            side=side,
            batch=int(row[f"{how}_batch_size"]),
            seconds=float(row[f"{how}_step_time"]) / 1e3,
            params_m=params,
            gmacs=float(row.get(f"{how}_gmacs") or 0),
            macts=float(row.get(f"{how}_macts") or 0),
            step=step,
        )


def step_for(file: File, network: str, side: int) -> Step | None:
    """The step of a network at an image size, from where it was kept, else traced; None where it cannot be.

    What is kept is made anew after a change to the kernels' rules by deleting `build/timm`.
    """
    kept = file.folder / f"{network}@{side}.pickle.gz"
    failed = kept.with_suffix(".failed")
    if kept.exists():
        with gzip.open(kept) as handle:
            step: Step = pickle.load(handle)
        return step
    if failed.exists():
        return None
    kept.parent.mkdir(parents=True, exist_ok=True)
    try:
        program = traced(file, network, side)
    except WeighError as error:
        failed.write_text(str(error), encoding="utf-8")
        return None
    for layout in ("contiguous", "channels-last"):  # the same program, whose tensors lie otherwise
        laid = replace(program, workload=replace(program.workload, layout=layout))
        place = replace(file, layout=layout).folder / kept.name
        with kept_whole(place) as part, gzip.open(part, "wb", compresslevel=3) as handle:
            pickle.dump(step_of(laid), handle)
    return step_for(file, network, side)


# -- tracing -------------------------------------------------------------------------------------------

FAST_NORMS = (
    "GroupNorm", "GroupNorm1", "GroupNorm1NoBias", "GroupNormAct", "LayerNorm2d", "LayerNorm2dNoBias",
    "LayerNormNoBias", "LayerNormAct", "LayerNormAct2d", "LayerNormExp2d",
)  # fmt: skip
"""timm's classes of norms that `--fast-norm` keeps in half precision."""

FAST_LAYER_NORMS = (
    "convnext", "convnextv", "coatnet", "coatnext", "maxvit", "maxxvit", "maxxvitv", "convformer", "caformer",
    "poolformer", "poolformerv", "beit", "beitv", "eva", "nest", "pvt", "convit", "coat", "mvitv", "davit",
)  # fmt: skip
"""Families that used timm's own LayerNorm in its version 1.0.9; the others' was PyTorch's, which stays in float32."""


def traced(file: File, network: str, side: int, batch: int = BATCH) -> Program:
    """A step of a timm network as the file's benchmark ran it.

    Raises:
        WeighError: the installed timm has no such network, or it cannot be traced.
    """
    import timm
    import torch
    from timm.models import is_model

    from weighbridge.frontends.torch import trace
    from weighbridge.frontends.torch.building import build
    from weighbridge.ops.optimizers import optimizer

    if not is_model(network):
        raise WeighError(f"timm {timm.__version__} has no network called {network}")
    workload = Workload(
        batch=batch,
        inputs=(InputSpec(shape=(3, side, side)),),
        precision="amp-fp16",
        layout=file.layout,
    )
    if file.training:  # bfloat16 has the same kernels and no gradient scaler
        sgd = replace(optimizer("sgd", momentum=0.9, nesterov=True), implementation="single")
        workload = replace(
            workload, mode="training", optimizer=sgd, precision="amp-bf16", loss="cross-entropy"
        )
    fast = () if file.training else FAST_NORMS
    if fast and family(network) in FAST_LAYER_NORMS:
        fast = (*fast, "LayerNorm")
    last: Exception | None = None
    timm.layers.set_fused_attn(file.fused)
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)
    try:
        with _fast_norms():
            for settings in ({}, {"img_size": side}):
                try:
                    model = build(partial(_make, network, fast, settings), network)
                    return trace(
                        model, workload, network=network, source=f"timm:{network}", frontend="timm"
                    )
                except (WeighError, AssertionError, RuntimeError, TypeError) as error:
                    last = error
    finally:
        timm.layers.set_fused_attn(True)
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(False)
    raise WeighError(f"{network} at {side} pixels: {last}")


def _make(network: str, fast: tuple[str, ...], settings: Mapping[str, int]) -> object:
    from timm import create_model

    model = create_model(network, pretrained=False, **settings)
    for module in model.modules():
        if type(module).__name__ in fast and hasattr(module, "_fast_norm"):
            module._fast_norm = True
    return model


@contextmanager
def _fast_norms() -> Iterator[None]:
    """timm asks which dtype autocast has on the device of a tensor: here, whatever device that is, half precision."""
    import torch
    from torch.nn import functional

    def layer_norm(x, shape, weight=None, bias=None, eps=1e-5):
        with torch.autocast("cuda", enabled=False):
            return functional.layer_norm(*_halves(x), shape, *_halves(weight, bias), eps)

    def group_norm(x, groups, weight=None, bias=None, eps=1e-5):
        with torch.autocast("cuda", enabled=False):
            return functional.group_norm(*_halves(x), groups, *_halves(weight, bias), eps)

    def _halves(*tensors):
        return [None if tensor is None else tensor.to(torch.float16) for tensor in tensors]

    names = {"fast_layer_norm": layer_norm, "fast_group_norm": group_norm}
    replaced = [
        (module, name, getattr(module, name))
        for module in list(sys.modules.values())
        if getattr(module, "__name__", "").startswith("timm.")
        for name in names
        if hasattr(module, name)
    ]
    try:
        for module, name, _ in replaced:
            setattr(module, name, names[name])
        yield
    finally:
        for module, name, kept in replaced:
            setattr(module, name, kept)


@cache
def everything() -> tuple[Row, ...]:
    """Every row of every file that is here."""
    return tuple(row for file in FILES for row in rows(file))
