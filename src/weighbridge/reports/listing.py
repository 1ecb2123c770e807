"""What there is: operators with a rule by family, networks by where they are from."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from ..analyses.weighing import Json
from ..errors import UsageError, nearest
from ..ops import Operator, rules
from ..units import plural
from . import json
from .table import Line, labelled, plain, written

NAMES_WIDTH = 100
"""Characters in a line of names where there is no terminal to fit."""


def operators(family: str | None, *, width: int | None, color: bool) -> str:
    """The operators that have a rule, family by family.

    Raises:
        UsageError: there is no such family.
    """
    lines: list[Line] = []
    for name, members in _families(family).items():
        lines.append(plain(name, "bold"))
        for rule in members:
            lines.extend(labelled(f"  {rule.kind:<32}", _told(rule), width=width))
        lines.append(())
    known = sum(len(members) for members in _families(family).values())
    lines.append(plain(f"{plural(known, 'operator')} with a rule"))
    return written(lines, color=color)


def operators_json(family: str | None) -> str:
    """The same as JSON: kind, family, summary, PyTorch's spellings.

    Raises:
        UsageError: there is no such family.
    """
    entries: list[Json] = [
        {
            "kind": rule.kind,
            "family": rule.family,
            "summary": rule.summary,
            "aten": list(rule.aten),
        }
        for members in _families(family).values()
        for rule in members
    ]
    return json.render({"operators": entries})


def networks(names: Mapping[str, Sequence[str]], *, width: int | None, color: bool) -> str:
    """The names of networks, frontend by frontend."""
    lines: list[Line] = []
    for frontend, known in names.items():
        amount = plural(len(known), "name") if known else "not installed"
        lines.append(plain(f"{frontend}: {amount}", "bold"))
        joined = textwrap.wrap("  ".join(known), (width or NAMES_WIDTH) - 2, break_on_hyphens=False)
        lines.extend(plain(f"  {line}") for line in joined)
        lines.append(())
    lines.append(plain("hf: and the path of a transformers config, as in hf:config.json"))
    return written(lines, color=color)


def networks_json(names: Mapping[str, Sequence[str]]) -> str:
    """The same as JSON."""
    return json.render({frontend: list(known) for frontend, known in names.items()})


def _families(family: str | None) -> dict[str, list[Operator]]:
    families: dict[str, list[Operator]] = {}
    for rule in rules():
        families.setdefault(rule.family, []).append(rule)
    if family is None:
        return families
    if family not in families:
        near = nearest(family, families)
        raise UsageError(
            f"no family of operators is called {family!r}",
            *([f"nearest: {', '.join(near)}"] if near else []),
            f"there are: {', '.join(families)}",
        )
    return {family: families[family]}


def _told(rule: Operator) -> str:
    return rule.summary + (f" [aten: {', '.join(rule.aten)}]" if rule.aten else "")
