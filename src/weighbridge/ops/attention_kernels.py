"""Kernels of attention: which of them a device runs a call with, and what that keeps.

One table for CUDA and one for the CPU, read from the top: the first kernel that takes the call runs it. All of
them keep the queries, keys, values and the result for backward. What they keep beside those:

| kernel | keeps | takes (CUDA) | takes (CPU) |
|---|---|---|---|
| flash | the log-sum-exp of each row in float32 | half precision, heads alike in width and up to 256, no mask, square if causal, compute capability 8.0 on | heads alike in width, any mask, no dropout |
| efficient | the log-sum-exp, rows padded to 32 | float32 and half precision, widths divisible by what tensor cores load, no groups | - |
| math | the scores after softmax, S x T a head, in float32; with dropout also a mask and what it leaves | everything else | everything else |

Source: PyTorch 2.14, ATen/native/transformers/cuda/sdp_utils.cpp (`use_flash_attention`,
`use_mem_efficient_attention`, `minimum_gemm_alignment`), sdp_utils_cpp.cpp, cuda/attention.cu
(`_flash_attention_forward`, `_efficient_attention_forward`), attention.cpp
(`_scaled_dot_product_attention_math`). cuDNN's kernel, which newer cards may prefer, keeps what flash keeps. Two numbers of 8 bytes,
the state of the random numbers, are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..dims import Shape, product
from ..workload import Backend

Name = Literal["flash", "efficient", "math"]

AMPERE = (8, 0)
"""The compute capability that is assumed where none is known: flash kernels run from here on."""

HALF = ("float16", "bfloat16")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionCall:
    """q (B, H, S, E), k (B, G, T, E), v (B, G, T, F), and how they attend."""

    q: Shape
    k: Shape
    v: Shape
    dtype: str
    causal: bool = False
    masked: bool = False
    dropout: bool = False
    gradients: bool = True

    @property
    def grouped(self) -> bool:
        return self.q[1] != self.k[1]

    @property
    def scores(self) -> Shape:
        return (*self.q[:-1], self.k[-2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One tensor that a kernel keeps for backward beside operands, result and log-sum-exp."""

    name: str
    shape: Shape
    dtype: str


def attention_kernel(
    call: AttentionCall, backend: Backend, capability: tuple[int, int] = AMPERE
) -> Name:
    """The kernel that runs the call on the backend."""
    if backend == "cpu":
        plain = call.q[-1] == call.v[-1] and not call.dropout
        return "flash" if plain else "math"
    if _flash_takes(call, capability):
        return "flash"
    return "efficient" if _efficient_takes(call, capability) else "math"


def _flash_takes(call: AttentionCall, capability: tuple[int, int]) -> bool:
    return (
        capability >= AMPERE
        and call.dtype in HALF
        and not call.masked
        and call.q[-1] == call.v[-1] <= 256
        and not (call.causal and call.q[-2] != call.k[-2])
        and not _too_wide_for_small_cards(call, capability)
    )


def _too_wide_for_small_cards(call: AttentionCall, capability: tuple[int, int]) -> bool:
    """Backward of wide heads takes more shared memory than cards of 8.6 to 8.9 have."""
    if not (call.gradients and (8, 6) <= capability <= (8, 9)):
        return False
    return 192 < call.q[-1] <= 224 or (call.q[-1] > 224 and call.dropout)


def _efficient_takes(call: AttentionCall, capability: tuple[int, int]) -> bool:
    if call.grouped or call.dtype not in ("float32", *HALF):
        return False
    if call.dtype == "bfloat16" and capability < AMPERE:
        return False
    aligned = _alignment(call.dtype, capability)
    return call.q[-1] % aligned == 0 and call.v[-1] % aligned == 0


def _alignment(dtype: str, capability: tuple[int, int]) -> int:
    """Elements that a width must be a multiple of: 16 bytes where tensor cores load them."""
    half = dtype in HALF
    tensor_cores = capability >= AMPERE or (half and capability >= (7, 0))
    least = 4 if capability >= AMPERE else 1
    return max(least, 8 if half else 4) if tensor_cores else least


def log_sum_exp_rows(kernel: Name, backend: Backend, queries: int) -> int:
    """Rows of the log-sum-exp that the kernel allocates for so many queries."""
    return -(-queries // 32) * 32 if kernel == "efficient" and backend == "cuda" else queries


def keeps(call: AttentionCall, kernel: Name) -> tuple[Kept, ...]:
    """What the kernel keeps beside q, k, v, the result and the log-sum-exp, but for single numbers."""
    return _math_keeps(call) if kernel == "math" else ()


def _math_keeps(call: AttentionCall) -> tuple[Kept, ...]:
    """Operands scaled, and in float32 where they are in half precision; the scores after softmax."""
    wide = "float32" if call.dtype in HALF else call.dtype
    keys = (*call.q[:2], *call.k[2:])
    values = (*call.q[:2], *call.v[2:])
    found = [
        Kept(name="scaled_queries", shape=call.q, dtype=wide),
        Kept(name="scaled_keys", shape=keys, dtype=wide),
        Kept(name="scores", shape=call.scores, dtype=wide),
    ]
    if call.grouped or wide != call.dtype:
        found.append(Kept(name="values", shape=values, dtype=wide))
    if call.dropout:
        found += [
            Kept(name="mask", shape=call.scores, dtype="bool"),
            Kept(name="scores_left", shape=call.scores, dtype=wide),
        ]
    return tuple(found)


def scratch_bytes(kernel: str, dtype: str, q: Shape, k: Shape, *, backward: bool) -> int:
    """What the kernel takes while it runs and gives back: sums in float32, and tables of scores.

    Flash sums the queries' gradients in float32, rows padded to 128 and widths to 32 (64 above 128), and keeps
    a sum a row. Efficient does where it computes in half precision; in float32 it multiplies gradient and
    result and keeps a sum a row. With groups, flash writes gradients of keys and values a head.
    """
    heads, queries, width = product(q[:-2]), q[-2], q[-1]
    wide = 8 if dtype == "float64" else 4
    if kernel == "math":  # scores before softmax; their gradients before and after it
        return heads * queries * k[-2] * wide * (2 if backward else 1)
    if not backward:
        return 0
    if kernel == "flash":
        rows = -(-queries // 128) * 128
        step = 32 if width <= 128 else 64
        sums = heads * rows * (-(-width // step) * step + 1) * 4
        a_head = 2 * heads * k[-2] * width * 2 if q[:-2] != k[:-2] else 0
        return sums + a_head
    if kernel == "efficient":
        return heads * queries * (width + 1) * 4
    return 0
