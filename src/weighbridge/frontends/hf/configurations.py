"""Configurations: a file on disk, as plain data and as transformers' own object."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...errors import UsageError, WeighError, nearest

Record = Mapping[str, Any]
"""A configuration as plain data: what JSON holds."""

Config = Any  # transformers.PreTrainedConfig: its fields differ by network


def file_of(path: Path) -> Path:
    """The configuration's file: the path itself, or `config.json` in the folder that it names."""
    return path / "config.json" if path.is_dir() else path


def record_of(path: Path) -> Record:
    """The configuration as plain data.

    Raises:
        UsageError: there is none, or it is not a configuration.
        WeighError: it names code of its own.
    """
    file = file_of(path)
    if not file.is_file():
        raise UsageError(
            f"there is no configuration at {path}",
            "give the path of a config.json, or of the folder that holds it: hf:path/to/config.json",
            "configurations are read from disk and never fetched",
        )
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{file} is not JSON: {error}") from error
    if not isinstance(record, dict) or "model_type" not in record:
        raise UsageError(
            f"{file} is no configuration of transformers: it has no model_type",
            "it looks like: {'model_type': 'bert', 'architectures': ['BertForMaskedLM'], ...}",
        )
    if "auto_map" in record:
        raise WeighError(
            f"{file} names code of its own (auto_map), and a configuration's code is never run",
            "write a Python file that builds the network: weigh net.py:build",
        )
    return record


def configuration(path: Path, record: Record) -> Config:
    """The configuration as transformers holds it, set to keep nothing from token to token.

    Raises:
        UsageError: transformers has no such type of network.
        WeighError: transformers does not take the file.
    """
    from transformers import AutoConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = record["model_type"]
    known = tuple(CONFIG_MAPPING)
    if kind not in known:
        near = nearest(str(kind), known)
        raise UsageError(
            f"transformers has no networks of type {kind!r}",
            *([f"nearest: {', '.join(near)}"] if near else []),
        )
    try:
        config = AutoConfig.from_pretrained(
            str(file_of(path)), local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        raise WeighError(
            f"transformers does not take {file_of(path)}: {type(error).__name__}: {error}"
        ) from error
    for part in parts(config):
        part.use_cache = False
    return config


def parts(config: Config) -> Iterator[Config]:
    """The configuration, and those of the networks that it is put together from, outermost first."""
    from transformers import PreTrainedConfig

    yield config
    for value in list(vars(config).values()):
        if isinstance(value, PreTrainedConfig):
            yield from parts(value)


def found(config: Config, *names: str) -> Any:
    """The first of the fields that the configuration or a part of it has set; None where none has."""
    for name in names:
        for part in parts(config):
            value = getattr(part, name, None)
            if value is not None:
                return value
    return None
