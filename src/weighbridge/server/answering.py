"""What a worker answers: the figures, the page, whether notation can be read; and every error as one message."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from ..analyses.weighing import Json
from ..errors import NotationError, UsageError, WeighError

if TYPE_CHECKING:
    from ..analyses.compute import Convention
    from ..api import Report
    from ..workload import InputSpec

LENGTH = 8
"""Bytes in front of what goes between a worker and its parent: how many follow."""

OK, WRONG, IMPOSSIBLE, BROKEN = 200, 400, 422, 500
JSON, HTML = "application/json", "text/html; charset=utf-8"


class Answer(NamedTuple):
    """What goes back: the status of HTTP, the kind of content, the content."""

    status: int
    kind: str
    content: bytes


def complaint(error: Exception, *, status: int | None = None, page: bool = False) -> Answer:
    """An error as one message with its hints."""
    if isinstance(error, WeighError):
        message, hints = error.message, error.hints
        usual = WRONG if isinstance(error, UsageError) else IMPOSSIBLE
    elif isinstance(error, MemoryError | RecursionError):
        what = "is nested deeper" if isinstance(error, RecursionError) else "takes more memory"
        message, hints = f"the network {what} than the server allows", ()
        usual = IMPOSSIBLE
    else:
        message, hints = (
            f"internal error: {type(error).__name__}: {error}",
            ("this is a bug of weighbridge",),
        )
        usual = BROKEN
    if page:
        said = "".join(f"<p>{escape(line)}</p>" for line in (message, *hints))
        text = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>not weighed</title>{said}</html>'
        return Answer(status or usual, HTML, text.encode("utf-8", "replace"))
    told: dict[str, Json] = {"message": message, "hints": list(hints), "position": None}
    if isinstance(error, NotationError):
        told["position"] = error.position
    return Answer(status or usual, JSON, written({"error": told}))


def written(record: Mapping[str, Json]) -> bytes:
    """The record as JSON; half a character that no text can hold becomes a question mark."""
    return json.dumps(record, ensure_ascii=False).encode("utf-8", "replace")


def answer(question: Mapping[str, Json]) -> Answer:
    """The answer to a question, which is an error where that is one."""
    kind = str(question["kind"])
    try:
        return _ANSWERS[kind](question)
    except Exception as error:
        if kind == "notation" and isinstance(error, UsageError):
            return Answer(OK, JSON, complaint(error).content)
        return complaint(error, page=kind == "page")


def _weigh(question: Mapping[str, Json]) -> Answer:
    return Answer(OK, JSON, _report(question).to_json().encode("utf-8", "replace"))


def _page(question: Mapping[str, Json]) -> Answer:
    return Answer(OK, HTML, _report(question).page().encode("utf-8", "replace"))


def _notation(question: Mapping[str, Json]) -> Answer:
    """Whether the text can be read, of an input of those sizes where it says none, and what it comes to."""
    from ..frontends import notation
    from ..workload import Workload

    program = notation.read(
        str(question["text"]), Workload(inputs=tuple(_inputs(question.get("input", []))))
    )
    from ..analyses.weighing import Weighing

    weighing = Weighing(program=program, convention="macs")
    found: dict[str, Json] = {
        "error": None,
        "network": program.network,
        "params": weighing.parameters.total,
        "macs": weighing.compute.forward.macs,
        "output": list(program.outputs[0].shape),
    }
    return Answer(OK, JSON, written(found))


def _networks(question: Mapping[str, Json]) -> Answer:
    from ..api import networks

    return Answer(OK, JSON, written({name: list(known) for name, known in networks().items()}))


def _devices(question: Mapping[str, Json]) -> Answer:
    from ..devices import load_all
    from ..reports.devices import listing_json

    return Answer(OK, JSON, listing_json(load_all()).encode())


def _report(question: Mapping[str, Json]) -> Report:
    from ..api import weigh
    from ..settings import Settings

    asked = dict(question["parameters"])  # type: ignore[arg-type]
    model = str(asked.pop("model"))
    if "upload" in question:
        Path("config.json").write_text(str(question["upload"]), encoding="utf-8")
        model = "hf:config.json"
    inputs = _inputs(asked.pop("input", []))
    on = asked.pop("on", None)
    convention = asked.pop("convention", "macs")
    return weigh(
        model,
        inputs or None,
        on=None if on is None else str(on),
        convention=cast("Convention", convention),
        **cast(Settings, asked),
    )


def _inputs(texts: Json) -> list[InputSpec]:
    from ..settings import read_input

    return [read_input(text) for text in cast("list[str]", texts)]


_ANSWERS: Mapping[str, Callable[[Mapping[str, Json]], Answer]] = {
    "weigh": _weigh,
    "page": _page,
    "notation": _notation,
    "networks": _networks,
    "devices": _devices,
}
