"""Rules of the user's for PyTorch's own operators, refused where they would have no effect."""

from __future__ import annotations

import torch
from torch._ops import OpOverloadPacket

from ...errors import UsageError
from ...ops import rules
from ...ops.custom import CustomRule
from .translation import Handling, translation_of


def check_rules() -> None:
    """Looks at the rules for operators of PyTorch's own (`aten::...`); others are the user's affair.

    Raises:
        UsageError: PyTorch has no such operator, it never runs as one, or it is counted already.
    """
    for rule in rules():
        if isinstance(rule, CustomRule) and rule.kind.startswith("aten."):
            reason = _without_effect(rule.kind.removeprefix("aten."))
            if reason:
                raise UsageError(
                    f"the rule for {rule.name} has no effect: {reason}",
                    rule.place,
                    f"take it out: weighbridge.forget_rule({rule.name!r})",
                )


def _without_effect(name: str) -> str:
    """Why a rule for the operator `aten::name` counts nothing, '' where it does count."""
    operator: OpOverloadPacket | None = getattr(torch.ops.aten, name, None)
    if operator is None:
        return "PyTorch has no operator of that name"
    names: list[str] = operator.overloads()  # type: ignore[no-untyped-call]
    overloads = [
        overload
        for overload in (getattr(operator, each) for each in names)
        if not any(argument.is_out for argument in overload._schema.arguments)
    ]
    composite = torch._C.DispatchKey.CompositeImplicitAutograd
    if all(overload.has_kernel_for_dispatch_key(composite) for overload in overloads):
        return "PyTorch takes it apart into other operators before any runs"
    known = [translation_of(overload) for overload in overloads]
    if all(each.kind != f"aten.{name}" or each.handling is not Handling.RECORDED for each in known):
        return "the operator is counted already"
    return ""
