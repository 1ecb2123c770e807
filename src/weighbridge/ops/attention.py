"""Attention, taken whole: softmax(Q K^T / sqrt E) V without the table of scores in memory."""

from __future__ import annotations

from typing import final

from ..dims import Shape, halved, product
from ..program import Op, Tensor
from ..workload import Backend
from .attention_kernels import scratch_bytes
from .base import Cost, Emit, Gradients, Operator, Policy, Scratch, need, register
from .strides import Strides, in_order, permuted


def attended_pairs(
    queries: int, keys: int, *, causal: bool, window: int = 0, chunk: int = 0
) -> int:
    """How many (query, key) pairs are scored, of S queries and T keys counted from the first of each.

    All S*T of them, or those that the mask leaves:

    - causal: key j <= query i. S = T = 4 gives 1 + 2 + 3 + 4 = 10. Longer queries than keys see all keys
      from row T on.
    - with a window of w keys: also |i - j| < w, so that a causal query sees keys i-w+1..i, and one that
      is not causal w-1 more behind it. S = T = 4 and w = 2 give 1 + 2 + 2 + 2, or 2 + 3 + 3 + 2.
    - causal in chunks of c: the keys before it in the query's own chunk. S = 4 and c = 3 give 1 + 2 + 3 + 1.

    A window and a chunk need whole numbers; 0 is none.
    """
    if window:
        behind = 0 if causal else window - 1
        # the keys up to i + behind, less those up to i - window
        return (
            _triangle(queries + behind, keys)
            - _triangle(behind, keys)
            - _triangle(queries - window, keys)
        )
    if chunk:
        whole, rest = divmod(queries, chunk)
        return whole * _triangle(chunk, chunk) + _triangle(rest, chunk)
    if not causal:
        return queries * keys
    if isinstance(queries, int) and isinstance(keys, int) and queries > keys:
        return _triangle(queries, keys)
    return halved(queries * (queries + 1))


def _triangle(rows: int, keys: int) -> int:
    """1 + 2 + 3 + ... over so many rows, none longer than the keys; 0 for no rows or fewer."""
    rows = max(rows, 0)
    slope = min(rows, keys)
    return halved(slope * (slope + 1)) + (rows - slope) * keys


@final
class Attention(Operator):
    """Scaled dot-product attention over heads.

    Shapes: q (B, H, S, E), k (B, G, T, E), v (B, G, T, F), optional mask broadcast to (B, H, S, T)
            -> y (B, H, S, F), and the log-sum-exp (B, H, S) in float32. G divides H (grouped queries).
    Attributes: what is scored, and nothing else is counted:
            `causal`: query i sees keys 0..i;
            `window`: and of them those with |i - j| < window (causal or not);
            `chunk`: causal within chunks of that length;
            `pairs`: so many pairs over all heads and samples, where a table of blocks says which.
            `rate`: what is dropped out of the probabilities in training.
            `kernel`: which of a device's kernels runs it (`attention_kernels`), which says what it takes meanwhile.
            `score`: what a function of the network's own does to each score, as numbers of
            multiplications, additions, comparisons, divisions and transcendental functions;
            `score_backward` the same for its gradient.
    Counts: P pairs a head: P*E products for the scores, P*F for the values; each score is scaled,
            shifted by its row's maximum and exponentiated; each output is divided once. Dropout compares
            a random number and multiplies once a pair.
    Backward: one operator, `attention_backward`, from q, k, v, y and the log-sum-exp.
    Source: Vaswani et al. 2017, equation 1; Dao 2023 (FlashAttention-2), Algorithm 1; for dropout Dao et
            al. 2022 (FlashAttention), Algorithm 2; Beltagy et al. 2020 (Longformer) for windows.
    """

    kind = "attention"
    family = "attention"
    kernel_class = "attention"

    def strides(self, op: Op, given: tuple[Strides, ...]) -> tuple[Strides, ...]:
        # The result is made as (B, S, H, F) and seen as (B, H, S, F).
        y, *rest = (result.shape for result in op.outputs)
        made = (*y[:-3], y[-2], y[-3], y[-1]) if len(y) > 3 else y
        axes = range(len(y))
        order = (*axes[:-3], axes[-2], axes[-3], axes[-1]) if len(y) > 3 else tuple(axes)
        return (permuted(in_order(made), order), *map(in_order, rest))

    def autocast(self, backend: Backend) -> Policy | None:
        return "lower"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        q, k, v = (tensor.shape for tensor in op.inputs[:3])
        need(q[-1] == k[-1], f"attention of queries {q} over keys {k}")
        need(k[:-1] == v[:-1], f"attention over keys {k} with values {v}")
        return ((*q[:-1], v[-1]), q[:-1])

    def dtypes(self, op: Op) -> tuple[str, ...]:
        return (op.inputs[0].dtype, "float32")

    def arithmetic(self, op: Op) -> Cost:
        q, k, v = (tensor.shape for tensor in op.inputs[:3])
        heads = product(q[:-2])
        rows = heads * q[-2]
        pairs = _pairs(op, q, k)
        macs = pairs * (q[-1] + v[-1])
        outputs = rows * v[-1]
        spared = rows * k[-2] - pairs
        masked = pairs if len(op.inputs) == 4 else 0
        dropped = pairs if op.attributes.get("rate") else 0
        return _of_scores(op, "score", pairs) + Cost(
            macs=macs,
            masked_macs=spared * (q[-1] + v[-1]),
            multiplications=macs + pairs + dropped,
            # products summed; max subtracted; exponentials summed; the mask added; log-sum-exp
            additions=macs - pairs - outputs + pairs + pairs - rows + masked + rows,
            comparisons=pairs - rows + dropped,
            divisions=outputs,
            transcendentals=pairs + rows,
        )

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        q, k, v, *masks = (tensor.shape for tensor in op.inputs)
        queries, keys, values, _ = _attention_axes(op, q, k, v)
        scores = (*queries[:-1], keys[-2])
        return (
            queries,
            keys,
            values,
            *(
                tuple(
                    1 if size == 1 else name
                    for name, size in zip(scores[len(scores) - len(mask) :], mask, strict=True)
                )
                for mask in masks
            ),
        )

    def scratch(self, op: Op, backend: Backend) -> Scratch:
        return _scratch(op, op.inputs[:2], backward=False)

    def backward(self, op: Op, grads: Gradients, wanted: tuple[bool, ...], emit: Emit) -> Gradients:
        dy = grads[0]
        assert dy is not None
        made = emit("attention_backward", dy, *op.inputs[:3], *op.outputs, **op.attributes)
        return (*made, *(None for _ in op.inputs[3:]))


@final
class AttentionBackward(Operator):
    """The gradients of attention, with the scores computed again and not kept.

    Shapes: dy (B, H, S, F), q, k, v, y, log-sum-exp -> dq, dk, dv as q, k, v.
    Counts: five products a pair where forward had two: the scores again and dq, dk over E, dp and dv
            over F. Each pair takes an exponential, two multiplications and two subtractions; a row
            takes the sum of dy * y. Dropout draws its mask again, a comparison a pair, and multiplies the
            probabilities and their gradients with it.
    Attributes: as `attention`.
    Source: Dao 2023 (FlashAttention-2), Algorithm 2; for dropout Dao et al. 2022, Algorithm 4.
    """

    kind = "attention_backward"
    family = "attention"
    kernel_class = "attention"
    kernel_part = "backward"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return tuple(tensor.shape for tensor in op.inputs[1:4])

    def arithmetic(self, op: Op) -> Cost:
        q, k, v = (tensor.shape for tensor in op.inputs[1:4])
        heads = product(q[:-2])
        rows = heads * q[-2]
        pairs = _pairs(op, q, k)
        macs = pairs * (3 * q[-1] + 2 * v[-1])
        spared = rows * k[-2] - pairs
        sums = 2 * pairs + rows * q[-1] + heads * k[-2] * (k[-1] + v[-1])
        dropped = pairs if op.attributes.get("rate") else 0
        again = _of_scores(op, "score", pairs) + _of_scores(op, "score_backward", pairs)
        return again + Cost(
            macs=macs,
            masked_macs=spared * (3 * q[-1] + 2 * v[-1]),
            multiplications=macs + 3 * pairs + 2 * dropped + rows * v[-1],
            additions=macs - sums + 2 * pairs + rows * (v[-1] - 1),
            comparisons=dropped,
            transcendentals=pairs,
        )

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        q, k, v = (tensor.shape for tensor in op.inputs[1:4])
        queries, keys, values, result = _attention_axes(op, q, k, v)
        kept = (tensor.shape for tensor in op.inputs[6:])
        return (result, queries, keys, values, result, queries[:-1], *kept)

    def scratch(self, op: Op, backend: Backend) -> Scratch:
        return _scratch(op, op.inputs[1:3], backward=True)


def _scratch(op: Op, operands: tuple[Tensor, ...], *, backward: bool) -> Scratch:
    q, k = operands
    kernel = op.attributes.get("kernel")
    if not isinstance(kernel, str):
        return Scratch()
    return Scratch(running=scratch_bytes(kernel, q.dtype, q.shape, k.shape, backward=backward))


def _pairs(op: Op, q: Shape, k: Shape) -> int:
    """The pairs that are scored, over all heads and samples."""
    if "pairs" in op.attributes:
        return op.integer("pairs")
    return product(q[:-2]) * attended_pairs(
        q[-2],
        k[-2],
        causal=op.flag("causal"),
        window=op.integer("window", 0),
        chunk=op.integer("chunk", 0),
    )


def _of_scores(op: Op, attribute: str, pairs: int) -> Cost:
    """What a function of the network's own does to so many scores."""
    if attribute not in op.attributes:
        return Cost()
    multiplications, additions, comparisons, divisions, transcendentals = op.integers(attribute)
    return Cost(
        multiplications=multiplications * pairs,
        additions=additions * pairs,
        comparisons=comparisons * pairs,
        divisions=divisions * pairs,
        transcendentals=transcendentals * pairs,
    )


def _attention_axes(op: Op, q: Shape, k: Shape, v: Shape) -> tuple[tuple[str | int, ...], ...]:
    """Names of the axes of q, k, v and y: heads H, queries S, head width E; where they differ from
    those, groups of keys G, keys T, width of the values F.

    Where a table says what is scored, everything but the widths stays a number; lengths do with a window
    or chunks, and where causal queries are longer than their keys, for which there is no formula in both.
    """
    lead: tuple[str | int, ...] = ("B", "H")[: len(q) - 2]
    keyed: tuple[str | int, ...] = lead if q[:-2] == k[:-2] else ("B", "G")
    length: str | int = "S"
    keys: str | int = "T"
    if "pairs" in op.attributes:
        lead, keyed, length, keys = q[:-2], k[:-2], q[-2], k[-2]
    elif op.integer("window", 0) or op.integer("chunk", 0) or (op.flag("causal") and q[-2] > k[-2]):
        length, keys = q[-2], k[-2]
    keys = length if q[-2] == k[-2] else keys
    width = "E" if q[-1] == v[-1] else "F"
    return (
        (*lead, length, "E"),
        (*keyed, keys, "E"),
        (*keyed, keys, width),
        (*lead, length, width),
    )


register(Attention(), AttentionBackward())
