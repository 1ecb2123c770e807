"""What a probe measured, beside the card's figures, and as options to pass."""

from __future__ import annotations

import shlex

from ..analyses.weighing import Json
from ..devices import Device
from ..devices.probing import Probe
from ..units import integer, memory
from . import json
from .sheet import Column, Row, Sheet, Size
from .table import Line, labelled, written
from .table import render as rendered

UNKNOWN = "?"


def render(found: Probe, *, width: int | None, color: bool) -> str:
    """What `weigh probe` prints."""
    blank: Line = ()
    built = f"PyTorch {found.torch_version}, CUDA {found.cuda_version or UNKNOWN}"
    about = f"{memory(found.total_bytes)} · {built} · allocator {found.allocator}"
    lines = [
        *labelled(found.device.name, about, width=width),
        blank,
        *rendered(sheet(found), width=width),
        blank,
        *labelled("", before(found), width=width),
        *labelled("to predict with these", shlex.join(found.options), width=width),
    ]
    return written(lines, color=color)


def before(found: Probe) -> str:
    """Who else held memory of the device."""
    if found.before_bytes is None:
        return "what others held of it before could not be told: nvidia-smi is missing; it is in the context"
    return f"others held {memory(found.before_bytes)} of it before, which is not counted"


def sheet(found: Probe) -> Sheet:
    """Each figure as measured and as the card has it."""
    context, workspace = _context(found.device), found.device.cublas_workspace_bytes
    of_card = UNKNOWN if workspace is None else memory(workspace)
    rows = [
        ("context, one tensor", found.context_bytes, context[0]),
        ("context, kernels loaded", found.loaded_bytes, context[1]),
        ("cuBLAS workspace, main thread", found.cublas_bytes, of_card),
        ("cuBLAS workspace, autograd's thread", found.autograd_cublas_bytes, of_card),
        *((f"cuDNN, {entry.what}", entry.bytes, "-") for entry in found.cudnn),
    ]
    return Sheet(
        subject="",
        columns=(
            Column(key="measured", title="measured"),
            Column(key="bytes", title="bytes", rank=1),
            Column(key="card", title="card", align="left"),
        ),
        rows=tuple(
            Row(path=name, name=name, cells=(Size(bytes=size), integer(size), card))
            for name, size, card in rows
        ),
    )


def render_json(found: Probe) -> str:
    """The same as JSON."""
    record: dict[str, Json] = {
        "device": {"key": found.device.key, "name": found.device.name},
        "total_bytes": found.total_bytes,
        "before_bytes": found.before_bytes,
        "context_bytes": found.context_bytes,
        "loaded_bytes": found.loaded_bytes,
        "cublas_bytes": found.cublas_bytes,
        "autograd_cublas_bytes": found.autograd_cublas_bytes,
        "cudnn": [{"what": entry.what, "bytes": entry.bytes} for entry in found.cudnn],
        "allocator": found.allocator,
        "alloc_conf": found.alloc_conf,
        "torch_version": found.torch_version,
        "cuda_version": found.cuda_version,
        "options": list(found.options),
    }
    return json.render(record)


def _context(device: Device) -> tuple[str, str]:
    """What the card says of an empty context, and of one with kernels."""
    found = device.context_bytes
    if found is None:
        return UNKNOWN, UNKNOWN
    return memory(found.low), f"{memory(found.typical)}, up to {memory(found.high)}"
