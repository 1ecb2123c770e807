"""The API described as OpenAPI 3.1, of the same parameters that are checked, and the schema that ships."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast

from .. import __version__
from ..analyses.weighing import Json
from ..reports.json import schema
from .asking import LARGEST_UPLOAD, LONGEST, PARAMETERS


def openapi() -> dict[str, Json]:
    """The description that `/openapi.json` answers."""
    weighed = cast(Json, _moved(schema()))
    asked: list[Json] = [_parameter(name) for name in PARAMETERS]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "weighbridge",
            "version": __version__,
            "description": "Weighs a neural network before it runs. Every error is one message with its hints.",
        },
        "paths": {
            "/api/weigh": {
                "get": _operation(
                    "weigh", "The figures of a network, by the contract weighbridge/1.",
                    _content("Weighing"), parameters=asked, fails=("400", "422", "429"),
                )
            },
            "/page": {
                "get": _operation(
                    "page", "The page of a network.", {"text/html": {"schema": {"type": "string"}}},
                    parameters=asked, fails=("400", "422", "429"), failing={"text/html": {"schema": {"type": "string"}}},
                )
            },
            "/api/notation": {
                "post": _operation(
                    "notation", "Whether notation can be read; where it cannot, and why.", _content("Reading"),
                    body={"application/json": {"schema": {
                        **_object({"text": {"type": "string", "maxLength": LONGEST}}),
                        "properties": {
                            "text": {"type": "string", "maxLength": LONGEST},
                            "input": dict(PARAMETERS["input"]),
                        },
                    }}},
                    fails=("400", "413", "415", "422", "429"),
                )
            },
            "/api/upload": {
                "post": _operation(
                    "upload",
                    f"Takes a config.json of transformers, at most {LARGEST_UPLOAD:,} bytes, and names it.",
                    _content("Upload"),
                    body={"application/json": {"schema": {"$ref": "#/components/schemas/Configuration"}}},
                    fails=("400", "413", "415"),
                )
            },
            "/api/networks": {
                "get": _operation("networks", "The names of networks, by where they are from.", _content("Networks"))
            },
            "/api/devices": {
                "get": _operation("devices", "Every device that is known.", _content("Devices"))
            },
        },
        "components": {
            "schemas": {
                "Weighing": weighed,
                "Error": _object({"error": {"$ref": "#/components/schemas/Complaint"}}),
                "Complaint": _object({
                    "message": {"type": "string"},
                    "hints": {"type": "array", "items": {"type": "string"}},
                    "position": {"type": ["integer", "null"]},
                }),
                "Reading": {
                    "oneOf": [
                        {"$ref": "#/components/schemas/Error"},
                        _object({
                            "error": {"type": "null"}, "network": {"type": "string"}, "params": {"type": "integer"},
                            "macs": {"type": "integer"}, "output": {"type": "array", "items": {"type": "integer"}},
                        }),
                    ]
                },
                "Configuration": {
                    "type": "object", "required": ["model_type"],
                    "properties": {"model_type": {"type": "string"}, "auto_map": False},
                },
                "Upload": _object({"model": {"type": "string"}}),
                "Networks": {
                    "type": "object",
                    "additionalProperties": {"type": "array", "items": {"type": "string"}},
                },
                "Devices": _object({"devices": {"type": "array", "items": {"type": "object"}}}),
            }
        },
    }  # fmt: skip


def _parameter(name: str) -> Json:
    found: dict[str, Json] = {"name": name, "in": "query", "required": name == "model"}
    found["schema"] = {
        key: value for key, value in PARAMETERS[name].items() if key != "description"
    }
    found["description"] = PARAMETERS[name]["description"]
    return found


def _operation(
    name: str,
    summary: str,
    content: Json,
    *,
    parameters: list[Json] | None = None,
    body: Json = None,
    fails: tuple[str, ...] = ("429",),
    failing: Json = None,
) -> Json:
    wrong: Json = {"description": "one message", "content": failing or _content("Error")}
    refused: Json = {"description": "not for this address or site", "content": _content("Error")}
    answers: dict[str, Json] = {
        "200": {"description": "the answer", "content": content},
        "403": refused,
        "421": refused,
        **dict.fromkeys(fails, wrong),
    }
    found: dict[str, Json] = {"operationId": name, "summary": summary, "responses": answers}
    if parameters is not None:
        found["parameters"] = parameters
        answers["400"] = wrong
    if body is not None:
        found["requestBody"] = {"required": True, "content": body}
    return found


def _content(name: str) -> dict[str, Json]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def _object(properties: Mapping[str, Json]) -> dict[str, Json]:
    return {"type": "object", "required": list(properties), "properties": dict(properties)}


def _moved(contract: Mapping[str, Json]) -> Mapping[str, Json]:
    """The schema as a part of another: its references with their new place in front."""
    text = json.dumps(
        {key: value for key, value in contract.items() if key not in ("$id", "$schema")}
    )
    return cast(
        Mapping[str, Json],
        json.loads(text.replace('"#/$defs/', '"#/components/schemas/Weighing/$defs/')),
    )
