"""The module tree, as `repr(model)` shows it in PyTorch, with what each module weighs beside it.

A module's figures are of all that it contains, so they do not add up down the page: the table does.
"""

from __future__ import annotations

from ..analyses.layers import Layer, depth_of
from ..analyses.weighing import Weighing
from ..units import integer
from .layers import short_unit
from .sheet import Partial, text
from .table import Line, Span


def tree(weighing: Weighing, *, depth: int | None = None) -> tuple[Line, ...]:
    """The tree down to `depth`, all of it where none is given."""
    subtrees = _subtrees(weighing)
    shown = [scope for scope in subtrees if depth is None or depth_of(scope) <= depth]
    drawn = [(scope, _drawn(subtrees[scope], shown)) for scope in shown]
    margin = max(len(label) for _, label in drawn)
    lines: list[Line] = []
    open_scopes: list[str] = []
    for scope, label in drawn:
        while open_scopes and not _inside(scope, open_scopes[-1]):
            lines.append(_closing(open_scopes.pop()))
        figures = _figures(weighing, subtrees[scope])
        lines.append((Span(text=label.ljust(margin)), Span(text=f"  {figures}", style="cyan")))
        if label.endswith("("):
            open_scopes.append(scope)
    lines.extend(_closing(scope) for scope in reversed(open_scopes))
    return tuple(lines)


def _subtrees(weighing: Weighing) -> dict[str, Layer]:
    """Each module with all that it contains, in the order in which modules are declared.

    Folded to depth d, the row of a module that lies at depth d is all of that module.
    """
    whole = weighing.layers()
    deepest = max(layer.depth for layer in whole)
    found = {
        layer.scope: layer
        for depth in range(deepest + 1)
        for layer in weighing.layers(depth)
        if layer.depth == depth
    }
    return {layer.scope: found[layer.scope] for layer in whole}


def _drawn(layer: Layer, shown: list[str]) -> str:
    """'  (conv1): Conv2d(3, 64, kernel_size=(7, 7))', or with an open bracket where more follows."""
    indent = "  " * layer.depth
    name = f"({layer.name}): " if layer.scope else ""
    inner = any(scope != layer.scope and _inside(scope, layer.scope) for scope in shown)
    return f"{indent}{name}{layer.kind}(" + ("" if inner else f"{layer.detail})")


def _figures(weighing: Weighing, layer: Layer) -> str:
    spent = weighing.operations(layer.ops, "forward")
    count = text(Partial(known=spent) if layer.uncounted else spent)
    return f"{integer(layer.params)} params, {count} {short_unit(weighing)}"


def _inside(scope: str, outer: str) -> bool:
    return not outer or scope == outer or scope.startswith(f"{outer}.")


def _closing(scope: str) -> Line:
    return (Span(text="  " * depth_of(scope) + ")"),)
