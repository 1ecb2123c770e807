"""Attention, taken whole: softmax(Q K^T / sqrt E) V without the table of scores in memory."""

from __future__ import annotations

from typing import final

from ..dims import Shape, halved, product
from ..program import Op
from .base import Cost, Emit, Gradients, Operator, need, register


def attended_pairs(queries: int, keys: int, *, causal: bool) -> int:
    """How many (query, key) pairs are scored.

    All S*T of them, or under a causal mask those with key <= query, counted from the first of each:
    S = T = 4 gives 1 + 2 + 3 + 4 = 10. Longer queries than keys see all keys from row T on.
    """
    if not causal:
        return queries * keys
    if isinstance(queries, int) and isinstance(keys, int) and queries > keys:
        return halved(keys * (keys + 1)) + (queries - keys) * keys
    return halved(queries * (queries + 1))


@final
class Attention(Operator):
    """Scaled dot-product attention over heads.

    Shapes: q (B, H, S, E), k (B, G, T, E), v (B, G, T, F), optional mask broadcast to (B, H, S, T)
            -> y (B, H, S, F), and the log-sum-exp (B, H, S) in float32. G divides H (grouped queries).
    Attributes: `causal`: query i sees keys 0..i only, and only those are counted.
    Counts: P pairs a head: P*E products for the scores, P*F for the values; each score is scaled,
            shifted by its row's maximum and exponentiated; each output is divided once.
    Backward: one operator, `attention_backward`, from q, k, v, y and the log-sum-exp.
    Source: Vaswani et al. 2017, equation 1; Dao 2023 (FlashAttention-2), Algorithm 1.
    """

    kind = "attention"
    family = "attention"

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
        pairs = heads * attended_pairs(q[-2], k[-2], causal=op.flag("causal"))
        macs = pairs * (q[-1] + v[-1])
        outputs = rows * v[-1]
        spared = rows * k[-2] - pairs
        masked = pairs if len(op.inputs) == 4 else 0
        return Cost(
            macs=macs,
            masked_macs=spared * (q[-1] + v[-1]),
            multiplications=macs + pairs,
            # products summed; max subtracted; exponentials summed; the mask added; log-sum-exp
            additions=macs - pairs - outputs + pairs + pairs - rows + masked + rows,
            comparisons=pairs - rows,
            divisions=outputs,
            transcendentals=pairs + rows,
        )

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        q, k, v, *masks = (tensor.shape for tensor in op.inputs)
        queries, keys, values, _ = _attention_axes(q, k, v, causal=op.flag("causal"))
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

    def backward(self, op: Op, grads: Gradients, wanted: tuple[bool, ...], emit: Emit) -> Gradients:
        dy = grads[0]
        assert dy is not None
        made = emit("attention_backward", dy, *op.inputs[:3], *op.outputs, causal=op.flag("causal"))
        return (*made, *(None for _ in op.inputs[3:]))


@final
class AttentionBackward(Operator):
    """The gradients of attention, with the scores computed again and not kept.

    Shapes: dy (B, H, S, F), q, k, v, y, log-sum-exp -> dq, dk, dv as q, k, v.
    Counts: five products a pair where forward had two: the scores again and dq, dk over E, dp and dv
            over F. Each pair takes an exponential, two multiplications and two subtractions; a row
            takes the sum of dy * y.
    Source: Dao 2023 (FlashAttention-2), Algorithm 2.
    """

    kind = "attention_backward"
    family = "attention"

    def shapes(self, op: Op) -> tuple[Shape, ...]:
        return tuple(tensor.shape for tensor in op.inputs[1:4])

    def arithmetic(self, op: Op) -> Cost:
        q, k, v = (tensor.shape for tensor in op.inputs[1:4])
        heads = product(q[:-2])
        rows = heads * q[-2]
        pairs = heads * attended_pairs(q[-2], k[-2], causal=op.flag("causal"))
        macs = pairs * (3 * q[-1] + 2 * v[-1])
        spared = rows * k[-2] - pairs
        sums = 2 * pairs + rows * q[-1] + heads * k[-2] * (k[-1] + v[-1])
        return Cost(
            macs=macs,
            masked_macs=spared * (3 * q[-1] + 2 * v[-1]),
            multiplications=macs + 3 * pairs + rows * v[-1],
            additions=macs - sums + 2 * pairs + rows * (v[-1] - 1),
            transcendentals=pairs,
        )

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        q, k, v = (tensor.shape for tensor in op.inputs[1:4])
        queries, keys, values, result = _attention_axes(q, k, v, causal=op.flag("causal"))
        return (result, queries, keys, values, result, queries[:-1])


def _attention_axes(
    q: Shape, k: Shape, v: Shape, *, causal: bool
) -> tuple[tuple[str | int, ...], ...]:
    """Names of the axes of q, k, v and y: heads H, queries S, head width E; where they differ from
    those, groups of keys G, keys T, width of the values F.

    Causal queries longer than their keys have no formula in both lengths, which then stay numbers.
    """
    lead: tuple[str | int, ...] = ("B", "H")[: len(q) - 2]
    keyed: tuple[str | int, ...] = lead if q[:-2] == k[:-2] else ("B", "G")
    length: str | int = q[-2] if causal and q[-2] > k[-2] else "S"
    keys: str | int = "T" if length == "S" else k[-2]
    keys = length if q[-2] == k[-2] else keys
    width = "E" if q[-1] == v[-1] else "F"
    return (
        (*lead, length, "E"),
        (*keyed, keys, "E"),
        (*keyed, keys, width),
        (*lead, length, width),
    )


register(Attention(), AttentionBackward())
