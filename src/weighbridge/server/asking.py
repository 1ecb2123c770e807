"""What may be asked: the parameters of a request, checked before a worker hears of them.

A network is a name that a frontend lists, a line of notation, or `upload:` and the name that an upload was given.
Whatever would be read from a disk or run (`file.py:Name`, `hf:path`, an optimizer of one's own) is refused here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from ..analyses.compute import CONVENTIONS
from ..analyses.weighing import Json
from ..errors import UsageError
from ..frontends import BARE, notation
from ..ops.optimizers import SYNONYMS, UPDATES
from ..workload import CHECKPOINTINGS, PRECISIONS, check_choice

LONGEST = 8_000
"""Characters of a parameter. DenseNet-121 as notation takes a tenth."""

LARGEST_UPLOAD = 2**20
"""Bytes of a configuration. Those of transformers take 1 to 100 kB."""

UPLOADED = "upload"

PARAMETERS: Mapping[str, Mapping[str, Json]] = {
    "model": {
        "description": "A name ('resnet50', 'timm:convnext_tiny'), a line of notation, or upload:NAME.",
        "type": "string", "minLength": 1, "maxLength": LONGEST,
    },
    "batch": {"description": "Samples in a step.", "type": "integer", "minimum": 1, "default": 1},
    "input": {
        "description": "Sizes without the batch, '3,224,224'; name=SHAPE, SHAPE:dtype. Repeat for several.",
        "type": "array", "items": {"type": "string", "maxLength": 200}, "maxItems": 20,
    },
    "train": {
        "description": "The optimizer of a training step; without it, inference.",
        "type": "string", "enum": [*sorted({*UPDATES, *SYNONYMS})],
    },
    "precision": {"description": "What is computed in.", "type": "string", "enum": list(PRECISIONS)},
    "checkpointing": {
        "description": "What if every repeated block were checkpointed?",
        "type": "string", "enum": list(CHECKPOINTINGS),
    },
    "convention": {"description": "What a total counts.", "type": "string", "enum": list(CONVENTIONS)},
    "on": {"description": "Devices, 'rtx-4090,cpu:32GiB'.", "type": "string", "maxLength": 200},
}  # fmt: skip
"""The parameters, each with its JSON Schema."""

_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")


def read(given: Iterable[tuple[str, str]]) -> dict[str, Json]:
    """The parameters of a request by name, as a worker takes them.

    Raises:
        UsageError: there is no such parameter, it is there twice, or it makes no sense.
    """
    found: dict[str, Json] = {}
    inputs: list[Json] = []
    for name, value in given:
        check_choice("parameter", name, tuple(PARAMETERS))
        if len(value) > LONGEST:
            raise UsageError(f"{name} has {len(value):,} characters; expected at most {LONGEST:,}")
        if name == "input":
            inputs.append(value)
        elif name in found:
            raise UsageError(f"{name} is given twice", "give it once; only input is repeated")
        else:
            found[name] = _whole(value) if name == "batch" else value
    if "model" not in found:
        raise UsageError("no model is given", "as in ?model=resnet50")
    check_model(str(found["model"]))
    for name in ("train", "precision", "checkpointing", "convention"):
        if name in found:
            _check(name, str(found[name]))
    if inputs:
        found["input"] = inputs
    return found


def sizes(given: Json) -> list[Json]:
    """The sizes of inputs that go with notation.

    Raises:
        UsageError: they are no list of short texts.
    """
    texts: list[Json] = given if isinstance(given, list) else [None]
    if not all(isinstance(text, str) and len(text) <= LONGEST for text in texts):
        raise UsageError("expected the sizes of inputs as a list of texts", "as in ['3,224,224']")
    return texts


def _check(name: str, value: str) -> None:
    known = {
        "train": (*UPDATES, *SYNONYMS),
        "precision": PRECISIONS,
        "checkpointing": CHECKPOINTINGS,
        "convention": tuple(CONVENTIONS),
    }
    check_choice("optimizer" if name == "train" else name, value, known[name])


def _whole(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,12}", text) is None:
        raise UsageError(f"batch is {text[:40]!r}, which is not a whole number from 1 on")
    return int(text)


def check_model(model: str) -> None:
    """Refuses what is neither a name, nor notation, nor an upload.

    Raises:
        UsageError: it is something that would be opened or run.
    """
    prefix, colon, name = model.partition(":")
    if colon and prefix in (*BARE, UPLOADED) and _NAME.fullmatch(name):
        return
    if colon and prefix in (*BARE, UPLOADED):
        raise UsageError(
            f"{name[:60]!r} is no name of {prefix}", "a name has letters, digits, _ . + and - only"
        )
    if colon and prefix == "hf":
        raise UsageError(
            "the server opens no path, and hf: is followed by one",
            "upload the config.json, or weigh it by the command: weigh hf:path/to/config.json",
        )
    if notation.is_notation(model):
        return
    if ".py" in model:
        raise UsageError(
            "the server runs no Python, and a .py file would be run",
            "weigh it by the command: weigh file.py:Name",
        )
    if _NAME.fullmatch(model) is None:
        raise UsageError(
            f"{model[:60]!r} is neither a name nor notation",
            "a name has letters, digits, _ . + and - only: resnet50, timm:convnext_tiny",
            "notation has arrows between its layers: (Input)(3,224,224)->(Conv)6c5w1s0p",
            "the server opens no path",
        )


def read_upload(content: bytes) -> None:
    """Refuses an upload that is no configuration of transformers: the only kind of file that is read today.

    Raises:
        UsageError: it is another kind of file, names code, or is no configuration.
    """
    if (
        content[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
        or content[:4] == b"PK\x03\x04"
    ):
        raise UsageError(
            "this is a pickle or an archive of one, which can run code: it is never read",
            "upload the network's config.json",
        )
    try:
        record = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        raise UsageError(
            "this is not JSON",
            "a configuration of transformers is: config.json; no other kind of file is read yet",
        ) from None
    if not isinstance(record, dict) or not isinstance(record.get("model_type"), str):
        raise UsageError(
            "this is no configuration of transformers: it has no model_type",
            "it looks like: {'model_type': 'bert', 'architectures': ['BertForMaskedLM'], ...}",
        )
    if "auto_map" in record:
        raise UsageError(
            "the configuration names code of its own (auto_map), and a configuration's code is never run"
        )
