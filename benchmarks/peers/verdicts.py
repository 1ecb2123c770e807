"""Compares what a tool answered with what was derived by hand."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.peers.asking import Answer
from benchmarks.peers.cases import Case

NEAR = 0.02
"""Up to here a difference is what a tool adds beyond products, and not something missed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`word` is what to print: 'exact', 'half', 'crashes', ...; `right` whether the number stands, `near`
    whether it does but for what the tool adds beyond products."""

    word: str
    right: bool
    ratio: float | None
    why: str
    near: bool = False


def on_macs(answer: Answer, case: Case, *, more: str = "") -> Verdict:
    """The verdict on multiply-accumulates; `more` is what the tool is known to add beyond products.

    Raises:
        ValueError: nobody derived the case.
    """
    if answer.error is not None:
        return Verdict(word="crashes", right=False, ratio=None, why=answer.error)
    if case.macs is None:
        raise ValueError(f"{case.name} has no expected MACs")
    if answer.macs is None:
        return Verdict(word="-", right=False, ratio=None, why="does not count it")
    ratio = answer.macs / case.macs
    if _equal(answer.macs, case):
        return Verdict(word="exact", right=True, ratio=ratio, why="")
    if answer.macs in case.conventions:
        word = case.conventions[answer.macs]
        return Verdict(word=word, right=True, ratio=ratio, why=f"right by the convention {word!r}")
    if answer.flops is not None and abs(answer.flops / 2 - case.macs) <= NEAR * case.macs:
        why = f"counts FLOPs and no MACs there: {answer.flops:,} FLOPs in all, 2 a MAC"
        return Verdict(word=_distance(ratio), right=False, ratio=ratio, why=why)
    reasons = {macs: why for why, macs in case.readings.items()}
    nearest = min((case.macs, *case.conventions, *reasons), key=lambda n: abs(n - answer.macs))
    if abs(nearest - answer.macs) > NEAR * case.macs:
        return Verdict(word=_distance(ratio), right=False, ratio=ratio, why="")
    if nearest in reasons:
        return Verdict(word=_distance(ratio), right=False, ratio=ratio, why=reasons[nearest])
    word = f"{ratio - 1:+.2%}".replace("%", " %")
    if nearest in case.conventions:
        word = f"~ {case.conventions[nearest]}"
    adds = answer.macs > nearest
    return Verdict(word=word, right=False, ratio=ratio, why=more if adds else "", near=adds)


def on_params(answer: Answer, case: Case) -> str:
    """The verdict on parameters in a word: '=', '-' where they are not counted, or the ratio."""
    if answer.error is not None or answer.params is None or case.params is None:
        return "-"
    if answer.params == case.params:
        return "="
    return f"x {answer.params / case.params:.3g}"


def _equal(macs: int, case: Case) -> bool:
    assert case.macs is not None
    if case.digits is None:
        return macs == case.macs
    return round(macs / 1e9, case.digits) == round(case.macs / 1e9, case.digits)


def _distance(ratio: float) -> str:
    if ratio < 0.0005:
        return "nothing"
    if abs(ratio - 0.5) <= NEAR / 2:
        return "half"
    if ratio < 1:
        decimals = 0 if ratio > 0.01 else 1
        return f"{1 - ratio:.{decimals}%} missing".replace("%", " %")
    return f"{ratio:.3g} x"
