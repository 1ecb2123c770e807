"""Architectures: the class of a configuration's network, and the network built without weights."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ...errors import UsageError
from .configurations import Config, Record

if TYPE_CHECKING:
    from torch import nn

Kind = Any  # a subclass of transformers.PreTrainedModel


def class_of(config: Config, record: Record) -> tuple[Kind, tuple[str, ...]]:
    """The class of the network, and a remark where it is not the one that the configuration names.

    That is the first of its `architectures`; else the one that transformers gives to its type; else, for
    parts of larger networks, the class in the type's own module that is built from such a configuration.

    Raises:
        UsageError: it needs a package that is not installed, or there is no network of that type.
    """
    asked = (record.get("architectures") or [None])[0]
    try:
        named = None if asked is None else _named(asked, config)
        if named is not None and _runs(named):
            return named, ()
        usual = _usual(config)
    except ImportError as error:
        raise missing_package(record, error) from error
    if usual is None:
        raise UsageError(
            f"transformers has no network for configurations of type {record['model_type']!r} that "
            "runs by itself",
            "it is a part of a larger network, or holds several that run one after another: "
            "weigh the configuration of the whole, or of one of them",
        )
    if asked is None:
        return usual, ()
    return usual, (f"transformers has no {asked}: weighed as {usual.__name__}",)


def make(kind: Kind, config: Config) -> nn.Module:
    """The network, with fused attention where it has it, and its experts' products grouped."""
    try:
        made: nn.Module = kind._from_config(config, attn_implementation="sdpa")
    except ValueError as error:
        # Networks whose attention is not plain (a learnt score, a window) have no other.
        if "scaled_dot_product_attention" not in str(error):
            raise
        made = kind._from_config(config, attn_implementation="eager")
    return made


def _named(name: str, config: Config) -> Kind | None:
    """The class of that name, wherever transformers keeps it; None where it has none."""
    import transformers

    for module in _modules(config):
        if hasattr(module, name):
            return getattr(module, name)
    return getattr(transformers, name, None)


def _usual(config: Config) -> Kind | None:
    """What transformers builds for configurations like this one, heads left aside."""
    from transformers.models.auto import modeling_auto

    mapping: Any = modeling_auto.MODEL_MAPPING
    try:
        kinds = mapping.get(type(config), None)
    except ValueError:  # it names a class that transformers does not have
        kinds = None
    kind = kinds[0] if isinstance(kinds, list | tuple) else kinds
    if kind is not None and _takes(kind, config) and _runs(kind):
        return kind
    own = [each for module in _modules(config) for each in _own(module, config)]
    stem = type(config).__name__.removesuffix("Config")
    bare = [each for each in own if each.__name__.endswith("Model")]
    same = [each for each in bare if each.__name__ == f"{stem}Model"]
    # Of what is left the last is the whole: a module defines parts before what holds them. Where there
    # is nothing, another type's network takes the configuration (timm's in a wrapper).
    wrapped = [] if kind is None or not _runs(kind) else [kind]
    return next(iter((*same, *bare, *reversed(own), *wrapped)), None)


def _modules(config: Config) -> Iterator[ModuleType]:
    """The modules with the networks of the configuration's type, which lie beside its own."""
    home = type(config).__module__.rpartition(".")[0]
    for folder in import_module(home).__path__:
        for file in sorted(Path(folder).glob("modeling_*.py")):
            yield import_module(f"{home}.{file.stem}")


def _own(module: ModuleType, config: Config) -> Iterator[Kind]:
    """The networks that the module defines for exactly this type of configuration, in its order."""
    from transformers import PreTrainedModel

    for value in vars(module).values():
        if not isinstance(value, type) or value.__module__ != module.__name__:
            continue
        if issubclass(value, PreTrainedModel) and _takes(value, config) and _runs(value):
            yield value


def _takes(kind: Kind, config: Config) -> bool:
    return kind.config_class is None or isinstance(config, kind.config_class)


def _runs(kind: Kind) -> bool:
    """Whether it has a forward: some are only a house for several networks that run by themselves."""
    from torch import nn

    return kind.forward is not nn.Module.forward


def missing_package(record: Record, error: ImportError) -> UsageError:
    """Says which package the network needs that is not installed."""
    package = _package(error)
    return UsageError(
        f"networks of type {record['model_type']!r} need a package that is not installed: {package}",
        *([f"try: pip install {package}"] if " " not in package else []),
    )


def _package(error: ImportError) -> str:
    """The package's name where Python or transformers tells it, and otherwise all that is said."""
    text = " ".join(str(error).split())
    named = re.search(r"requires the (\S+) library", text)
    return error.name or (named[1] if named else text)
