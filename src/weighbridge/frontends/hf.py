"""transformers: a network from its configuration, `hf:path/to/config.json` or the folder that holds it.

The configuration is read from disk and the network built from it, without weights and without asking
any server. A configuration that brings its own code (`auto_map`) is refused: no code is ever run that
the user did not write or install.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError, WeighError, nearest
from ..program import Program
from ..workload import InputSpec, Workload

if TYPE_CHECKING:
    from torch import nn

_FULL: Mapping[str, object] = {
    "find_packed_sequence_indices": lambda *_, **__: None,
    "fast_all": lambda *_, **__: True,
}
"""Questions about values that `transformers.masking_utils` asks, and the answers for full sequences."""

LENGTH = 512
"""Tokens in a sequence where none are asked for, or as many as the network takes if fewer."""

Config = Any  # transformers.PreTrainedConfig: its fields differ by network


def installed() -> bool:
    """Whether transformers can be imported; without importing it."""
    return find_spec("transformers") is not None and find_spec("torch") is not None


def names() -> tuple[str, ...]:
    """None: networks of transformers go by the path of their configuration."""
    return ()


def knows(name: str) -> bool:
    """Whether the text is the path of a configuration."""
    return _config_path(Path(name)).is_file()


def read(name: str, workload: Workload) -> Program:
    """The network of the configuration at the path; without given inputs, what its kind of network takes.

    A single given shape of one axis is the length of the sequence.

    Raises:
        UsageError: transformers is not installed, or there is no such configuration.
        WeighError: the configuration brings its own code, or the network cannot be built or run.
    """
    path = Path(name)
    record = _record(path)
    if not installed():
        raise UsageError("transformers is not installed", "try: pip install 'weighbridge[hf]'")
    from .torch import trace
    from .torch.building import build

    config = _config(path, record)
    config.use_cache = False
    model = build(partial(_make, config, record), f"hf:{name}")
    # It looks for padding in the values of its input, only to warn of it.
    model.warn_if_padding_and_no_attention_mask = _nothing  # type: ignore[assignment]
    workload, notes = _with_inputs(name, model, config, workload)
    program = trace(
        model, workload, network=_title(path, model), source=f"hf:{name}", frontend="transformers"
    )
    return replace(program, warnings=(*program.warnings, *notes))


@contextmanager
def full_sequences() -> Iterator[None]:
    """Lets transformers know, while it lasts, that every row is one sequence without padding.

    It looks for packed or padded sequences in the values of its inputs, of which there are none, to
    choose between a plain causal attention and one with an explicit mask. Does nothing where
    transformers is not loaded.
    """
    masking = sys.modules.get("transformers.masking_utils")
    before = {name: getattr(masking, name) for name in _FULL if hasattr(masking, name)}
    for name in before:
        setattr(masking, name, _FULL[name])
    try:
        yield
    finally:
        for name, function in before.items():
            setattr(masking, name, function)


def _config_path(path: Path) -> Path:
    return path / "config.json" if path.is_dir() else path


def _record(path: Path) -> Mapping[str, Any]:
    """The configuration as plain data.

    Raises:
        UsageError: there is none, or it is not a configuration.
        WeighError: it names code of its own.
    """
    file = _config_path(path)
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


def _config(path: Path, record: Mapping[str, Any]) -> Config:
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
        return AutoConfig.from_pretrained(
            str(_config_path(path)), local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        raise WeighError(
            f"transformers does not take {_config_path(path)}: {type(error).__name__}: {error}"
        ) from error


def _make(config: Config, record: Mapping[str, Any]) -> nn.Module:
    """The first of the configuration's architectures, or the bare network where it names none."""
    import transformers

    names = record.get("architectures") or []
    kind = getattr(transformers, names[0], None) if names else None
    make = transformers.AutoModel.from_config if kind is None else kind._from_config
    try:
        made: nn.Module = make(config, attn_implementation="sdpa")
    except ValueError as error:
        # Networks whose attention is not plain (a learnt score, a window) have no other.
        if "scaled_dot_product_attention" not in str(error):
            raise
        made = make(config, attn_implementation="eager")
    return made


def _nothing(*_: object) -> None:
    """Warns of nothing."""


def _title(path: Path, model: nn.Module) -> str:
    stem = path.name if path.is_dir() else path.stem
    return type(model).__name__ if stem == "config" else stem


def _with_inputs(
    name: str, model: nn.Module, config: Config, workload: Workload
) -> tuple[Workload, tuple[str, ...]]:
    """The workload with the inputs of the network, and a remark where a size was chosen here."""
    given = workload.inputs
    length = given[0].shape[0] if len(given) == 1 and len(given[0].shape) == 1 else None
    if given and length is None:
        return workload, ()
    main = getattr(model, "main_input_name", "input_ids")
    if main == "pixel_values" and length is None:
        return replace(workload, inputs=(_image(name, config),)), ()
    if main != "input_ids":
        if length is not None:
            return workload, ()
        raise UsageError(
            f"no input shape is known for {name}: {type(model).__name__} takes {main}",
            "give one without the batch axis: --input 3,224,224",
        )
    longest = getattr(config, "max_position_embeddings", None) or getattr(
        config, "n_positions", None
    )
    tokens = length or min(LENGTH, longest or LENGTH)
    inputs = [InputSpec(shape=(tokens,), dtype="int64", name="input_ids")]
    if getattr(config, "is_encoder_decoder", False):
        inputs.append(InputSpec(shape=(tokens,), dtype="int64", name="decoder_input_ids"))
    notes = () if length else (f"{tokens} tokens a sequence; another length: --input 1024",)
    return replace(workload, inputs=tuple(inputs)), notes


def _image(name: str, config: Config) -> InputSpec:
    """The image that a vision network's configuration describes, (channels, height, width)."""
    size = getattr(config, "image_size", None)
    if size is None:
        raise UsageError(
            f"no input shape is known for {name}: its configuration has no image_size",
            "give one without the batch axis: --input 3,224,224",
        )
    sides = (size, size) if isinstance(size, int) else tuple(size)
    channels = int(getattr(config, "num_channels", 3))
    return InputSpec(shape=(channels, int(sides[0]), int(sides[-1])), name="pixel_values")
