"""Kernel: what a device runs for an operator, as far as its time depends on it.

Most operators are one kernel; views are none; the backward pass of a convolution is two or three. A
kernel says what it computes, what it moves, and to which class it belongs: kernels of a class
run alike, so that one efficiency a class tells how near they come to a device's peaks. Contractions
are also given as the matrix product that they amount to, whose tiles a device shares out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

KernelClass = Literal[
    "matmul",
    "batched matmul",
    "convolution 1x1",
    "convolution",
    "convolution stem",
    "depthwise convolution",
    "large depthwise convolution",
    "wide depthwise convolution",
    "grouped convolution",
    "uneven grouped convolution",
    "attention",
    "recurrent",
    "batch norm",
    "norm",
    "group norm",
    "softmax",
    "activation",
    "elementwise",
    "copy",
    "strided copy",
    "transposition",
    "gather",
    "reduction",
    "pooling",
    "resampling",
    "update",
    "other",
]
"""What runs alike.

`convolution stem` reads images of few channels; a depthwise convolution is large from 6x6 on, where PyTorch does not take
cuDNN's kernels for them, and wide from 8x8 on; one in groups is uneven unless a group reads as many channels as it makes
and they are a power of two, and its gradients are too unless the groups have up to 32 channels and are a multiple of 8:
those take several times as long with channels last; `norm` is over the elements of a sample (layer, RMS), and over groups of its channels `group norm`;
`activation` is pointwise with a transcendental function, `elementwise` without; `copy` moves what lies in
order, `gather` what does not; a `strided copy` brings what lies in another order into the one that a kernel takes, and a
`transposition` is the same by the kernel's own library, for the images of a convolution.
"""

Part = Literal["forward", "backward", "input gradient", "weight gradient"]
"""Which way: `backward` makes all gradients in one kernel, the others one of them."""

KERNEL_CLASSES: tuple[KernelClass, ...] = get_args(KernelClass)
PARTS: tuple[Part, ...] = get_args(Part)

CONTRACTIONS: frozenset[KernelClass] = frozenset(
    {
        "matmul",
        "batched matmul",
        "convolution 1x1",
        "convolution",
        "convolution stem",
        "depthwise convolution",
        "large depthwise convolution",
        "wide depthwise convolution",
        "grouped convolution",
        "uneven grouped convolution",
        "attention",
        "recurrent",
    }
)
"""Classes whose arithmetic is multiply-accumulates, which tensor cores do where a device has them."""

TURNED: frozenset[KernelClass] = frozenset(
    {"convolution", "convolution stem", "grouped convolution", "uneven grouped convolution"}
)
"""Convolutions that matrix units make of images whose channels come last. One of 1x1 is a matrix product either way."""


FOREACH = "foreach"
"""The attribute of an operator that runs on lists of tensors together with the one before it: they share a launch."""

Fusion = Literal["extern", "pointwise", "copy", "window", "reduction"]
"""What a compiler can do with a kernel: leave it to its library; write it into what reads it (`copy` moves only,
and may join several tensors; `window` reads other places than it writes); or write what it reads into it."""

FUSION: Mapping[KernelClass, Fusion] = {
    **dict.fromkeys(KERNEL_CLASSES, "extern"),
    "batch norm": "pointwise",
    "activation": "pointwise",
    "elementwise": "pointwise",
    "copy": "copy",
    "transposition": "copy",
    "gather": "window",
    "pooling": "window",
    "resampling": "window",
    "norm": "reduction",
    "group norm": "reduction",
    "softmax": "reduction",
    "reduction": "reduction",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gemm:
    """`batch` matrix products of (rows x depth) with (depth x columns).

    A convolution is one over its output's places: rows = B * height * width, columns = its kernels,
    depth = c * w * h (Chellapilla et al. 2006, 'High performance convolutional neural networks').
    """

    batch: int
    rows: int
    columns: int
    depth: int

    @property
    def macs(self) -> int:
        return self.batch * self.rows * self.columns * self.depth


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One kernel, or `launches` of them that share its work.

    `dtype` is that of its arithmetic, `macs` its multiply-accumulates, `operations` its other arithmetic.
    `read_bytes` and `write_bytes` count every operand and every result once; of both,
    `image_bytes` are a convolution's images, whose channels lie first or, with `channels_last`, last; `largest_bytes` is
    its largest operand or result, where it is known, and `padded_bytes` are images whose channels are no multiple of 8.
    `gemm` is None for what is
    no contraction, and for those that no matrix product of one size describes. `row_bytes` is what one norm or
    softmax goes over. `waits` says how often a thread waits for memory, one time after the other, where a few threads do
    all of it. One that `gates` multiplies what it reads by a function of it. No launches of its own means
    that it shares those of its like, as the updates of many parameters in one list do.
    """

    kind: KernelClass
    part: Part = "forward"
    dtype: str = "float32"
    macs: int = 0
    operations: int = 0
    read_bytes: int = 0
    write_bytes: int = 0
    image_bytes: int = 0
    channels_last: bool = False
    largest_bytes: int = 0
    padded_bytes: int = 0
    row_bytes: int = 0
    waits: int = 0
    gemm: Gemm | None = None
    launches: int = 1
    gates: bool = False

    @property
    def flops(self) -> int:
        """Two for each multiply-accumulate, and the other arithmetic."""
        return 2 * self.macs + self.operations

    @property
    def traffic_bytes(self) -> int:
        return self.read_bytes + self.write_bytes

    @property
    def size(self) -> int:
        """What its time grows with: the multiply-accumulates of a contraction, the bytes that another moves."""
        return self.macs if self.kind in CONTRACTIONS else self.traffic_bytes

    @property
    def flop_per_byte(self) -> float:
        """Arithmetic intensity; infinite for what moves nothing."""
        return self.flops / self.traffic_bytes if self.traffic_bytes else float("inf")
