"""The weighing as JSON, by the contract `weighbridge/1`; its JSON Schema ships with the package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import cast

from ..analyses.weighing import Json

SUFFIX = ".json"


def render(record: Mapping[str, Json]) -> str:
    """The record, indented, whole numbers in full."""
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def schema(contract: str = "weighbridge/1") -> Mapping[str, Json]:
    """The JSON Schema (draft 2020-12) that every report validates against; `weighbridge-runs/1` is of runs."""
    name = f"schema/{contract.replace('/', '-')}.schema.json"
    text = files("weighbridge").joinpath(name).read_text("utf-8")
    return cast(Mapping[str, Json], json.loads(text))
