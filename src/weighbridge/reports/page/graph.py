"""The section of a page's record that its graph is drawn from."""

from __future__ import annotations

from collections.abc import Callable

from ...analyses.graph import Part, graph
from ...analyses.weighing import Json
from ...program import Program


def record(program: Program, place: Callable[[str], int]) -> dict[str, Json]:
    """Operators with what each reads, and their calls; `place` is where a text stands in the record's table.

    A call is its scope, that of its last copy, where it begins and ends, its copies, and what it runs inside.
    """
    found = graph(program)

    def written(part: Part) -> Json:
        if isinstance(part, int):
            return part
        inside: list[Json] = [written(each) for each in part.inside]
        ends: list[Json] = [place(part.scope), place(part.last), part.begin, part.end, part.copies]
        return [*ends, inside]

    return {
        "kinds": [place(op.kind) for op in found.ops],
        "scopes": [place(op.scope) for op in found.ops],
        "reads": [list(reads) for reads in found.reads],
        "inside": [written(part) for part in found.inside],
        "classes": {
            str(place(module.scope)): place(module.kind)
            for module in program.modules
            if module.kind
        },
    }
