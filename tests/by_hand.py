"""One operator on inputs of given shapes, for tests that do the sum beside the call."""

from __future__ import annotations

from weighbridge.ops import Cost, rule_of
from weighbridge.program import AttributeValue, Op, Tensor


def run(kind: str, *shapes: tuple[int, ...], **attributes: AttributeValue) -> Op:
    """The operator on inputs of these shapes, its outputs shaped by the rule."""
    rule = rule_of(kind)
    assert rule is not None
    inputs = tuple(
        Tensor(id=i, shape=shape, dtype="float32", role="activation", storage=i)
        for i, shape in enumerate(shapes)
    )
    draft = Op(
        kind=kind, name=kind, scope="", phase="forward", inputs=inputs, outputs=(), attributes=attributes
    )  # fmt: skip
    outputs = tuple(
        Tensor(id=100 + i, shape=shape, dtype=dtype, role="activation", storage=100 + i)
        for i, (shape, dtype) in enumerate(zip(rule.shapes(draft), rule.dtypes(draft), strict=True))
    )
    return Op(
        kind=kind, name=kind, scope="", phase="forward", inputs=inputs, outputs=outputs, attributes=attributes
    )  # fmt: skip


def cost(op: Op) -> Cost:
    rule = rule_of(op.kind)
    assert rule is not None
    return rule.cost(op)
