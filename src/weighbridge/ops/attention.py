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
        masked = pairs if len(op.inputs) == 4 else 0
        return Cost(
            macs=macs,
            multiplications=macs + pairs,
            # products summed; max subtracted; exponentials summed; the mask added; log-sum-exp
            additions=macs - pairs - outputs + pairs + pairs - rows + masked + rows,
            comparisons=pairs - rows,
            divisions=outputs,
            transcendentals=pairs + rows,
        )

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        return _attention_axes(op.inputs[0].shape, tuple(t.shape for t in op.inputs))

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
        sums = 2 * pairs + rows * q[-1] + heads * k[-2] * (k[-1] + v[-1])
        return Cost(
            macs=macs,
            multiplications=macs + 3 * pairs + rows * v[-1],
            additions=macs - sums + 2 * pairs + rows * (v[-1] - 1),
            transcendentals=pairs,
        )

    def axes(self, op: Op) -> tuple[tuple[str | int, ...], ...]:
        return _attention_axes(op.inputs[1].shape, tuple(t.shape for t in op.inputs))


def _attention_axes(q: Shape, shapes: tuple[Shape, ...]) -> tuple[tuple[str | int, ...], ...]:
    """Names by size: heads H, queries S, keys T and head widths E, F where they differ from S, E."""
    k, v = (shapes[1], shapes[2]) if shapes[0] == q else (shapes[2], shapes[3])
    same_length, same_width, same_heads = q[-2] == k[-2], q[-1] == v[-1], q[1] == k[1]
    keys, width, groups = (
        "S" if same_length else "T",
        "E" if same_width else "F",
        "H" if same_heads else "G",
    )
    queries: tuple[str | int, ...] = ("B", "H", "S", "E")
    keyed: tuple[str | int, ...] = ("B", groups, keys, "E")
    valued: tuple[str | int, ...] = ("B", groups, keys, width)
    result: tuple[str | int, ...] = ("B", "H", "S", width)
    if shapes[0] == q and len(shapes) <= 4:
        mask = tuple(
            1 if size == 1 else name
            for name, size in zip(
                ("B", "H", "S", keys)[4 - len(shapes[3]) :] if len(shapes) == 4 else (),
                shapes[3] if len(shapes) == 4 else (),
                strict=True,
            )
        )
        return (queries, keyed, valued, mask)[: len(shapes)]
    return (result, queries, keyed, valued, result, ("B", "H", "S"))


register(Attention(), AttentionBackward())
