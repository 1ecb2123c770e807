"""The zoo: published networks in the project's own layers, without any framework.

A file here is a family of networks. Modules carry the paths that torchvision and transformers give
them wherever those have the network too, so that the network built here and the same one traced by
PyTorch can be laid side by side. Importing this package loads no family and no operator: names are kept
here, and the rest comes when a network is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, cast

from ...errors import ShapeError, UsageError, nearest
from ...units import plural
from ...workload import InputSpec, Workload
from .network import Ends, Family, Network

if TYPE_CHECKING:
    from ...program import Program

__all__ = [
    "ALIASES",
    "FAMILIES",
    "Ends",
    "Network",
    "canonical",
    "describe",
    "family",
    "names",
    "read",
]

# fmt: off
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "lenet": ("lenet5", "lenet5-1998"),
    "alexnet": ("alexnet", "alexnet-2012"),
    "vgg": (
        "vgg11", "vgg-a-lrn", "vgg13", "vgg-c", "vgg16", "vgg19",
        "vgg11-bn", "vgg13-bn", "vgg16-bn", "vgg19-bn",
    ),
    "googlenet": (
        "googlenet", "googlenet-aux", "googlenet-separable", "googlenet-separable-aux",
        "googlenet-bn", "googlenet-bn-aux",
    ),
    "resnet": (
        "resnet18", "resnet34", "resnet50", "resnet101", "resnet152",
        "resnet18-v1", "resnet34-v1", "resnet50-v1", "resnet101-v1", "resnet152-v1",
    ),
    "densenet": ("densenet121", "densenet169", "densenet201", "densenet161"),
    "mobilenet": ("mobilenet_v2",),
    "vit": ("vit_b_16",),
    "bert": ("bert-base",),
    "gpt2": ("gpt2",),
}
"""The networks of each family; a family is a file of this folder."""

ALIASES: Mapping[str, str] = {
    "lenet": "lenet5",
    "vgg-a": "vgg11", "vgg-b": "vgg13", "vgg-d": "vgg16", "vgg-e": "vgg19",
    "inception-v1": "googlenet",
    "resnet18-v1.5": "resnet18", "resnet34-v1.5": "resnet34", "resnet50-v1.5": "resnet50",
    "resnet101-v1.5": "resnet101", "resnet152-v1.5": "resnet152",
    "mobilenetv2": "mobilenet_v2",
    "vit-b-16": "vit_b_16",
    "bert": "bert-base", "bert-base-uncased": "bert-base",
    "gpt2-small": "gpt2",
}
"""Further names, and the network each means."""
# fmt: on


def _folded(name: str) -> str:
    """A name as it is compared: 'VGG D', 'vgg_d' and 'vgg-d' are one."""
    return "".join(character for character in name.lower() if character not in " -_.")


_FAMILY_OF = {name: family for family, members in FAMILIES.items() for name in members}
_CANONICAL = {_folded(name): name for name in _FAMILY_OF} | {
    _folded(alias): name for alias, name in ALIASES.items()
}


def names() -> tuple[str, ...]:
    """Every name that the zoo answers to: the networks', then their aliases."""
    return (*_FAMILY_OF, *ALIASES)


def canonical(name: str) -> str | None:
    """The zoo's own name for a network, or None where it has none.

    Case, spaces, hyphens, underscores and dots do not matter: 'ResNet-50' is 'resnet50'.
    """
    return _CANONICAL.get(_folded(name))


def family(name: str) -> str | None:
    """The family of a network, or None where the zoo does not have it."""
    return _FAMILY_OF.get(canonical(name) or "")


def describe(name: str) -> Network:
    """Title, paper, default inputs and depth of a network.

    Raises:
        UsageError: the zoo has no network of that name.
    """
    known = _known(name)
    return _family(known).NETWORKS[known]


def read(name: str, workload: Workload) -> Program:
    """The network under the workload, as a Program.

    The workload's inputs replace the default ones (another image size, another sequence length); the
    program's workload says which were used.

    Raises:
        UsageError: the zoo has no network of that name, or the workload's inputs are too many, or of
            the wrong kind of number.
        ShapeError: an input does not fit the network; the message names the layer.
    """
    from ...builder import Builder  # the operators' rules come with it

    known = _known(name)
    family = _family(known)
    specs = _inputs(family.NETWORKS[known], workload.inputs)
    net = Builder(replace(workload, inputs=specs))
    (x,) = (
        net.input((workload.batch, *spec.shape), dtype=spec.dtype, name=spec.name or "input")
        for spec in specs
    )
    ends = family.build(net, known, x)
    return net.build(
        network=known,
        source=f"zoo:{known}",
        frontend="zoo",
        outputs=ends.outputs,
        loss_weights=ends.loss_weights,
        loss=ends.loss,
    )


def _known(name: str) -> str:
    known = canonical(name)
    if known is None:
        near = nearest(name, names())
        raise UsageError(
            f"the zoo has no network called {name!r}",
            f"nearest: {', '.join(near)}" if near else f"it has: {', '.join(_FAMILY_OF)}",
        )
    return known


def _family(known: str) -> Family:
    return cast(Family, import_module(f".{_FAMILY_OF[known]}", __name__))


def _inputs(network: Network, given: tuple[InputSpec, ...]) -> tuple[InputSpec, ...]:
    """The inputs to use: those given, with what they leave open filled in from the default ones."""
    if not given:
        return network.inputs
    if len(given) != len(network.inputs):
        raise UsageError(
            f"{network.name} takes {plural(len(network.inputs), 'input')}, "
            f"and {len(given)} were given",
            f"its default is {' and '.join(str(spec.shape) for spec in network.inputs)}",
        )
    return tuple(
        _input(network, usual, spec) for usual, spec in zip(network.inputs, given, strict=True)
    )


def _input(network: Network, usual: InputSpec, given: InputSpec) -> InputSpec:
    if len(given.shape) != len(usual.shape):
        rank = len(usual.shape)
        raise ShapeError(
            f"{network.name} does not take an input of shape {given.shape}",
            f"it takes {'1 axis' if rank == 1 else f'{rank} axes'} after the batch, "
            f"such as {usual.shape}",
        )
    dtype = given.dtype or usual.dtype
    if dtype is not None and _whole(dtype) != (usual.dtype is not None):
        raise UsageError(
            f"{network.name} reads {'token numbers' if usual.dtype else 'images'}, "
            f"and {dtype} was given",
            f"use {usual.dtype}" if usual.dtype else "use a floating-point dtype such as float32",
        )
    return InputSpec(shape=given.shape, dtype=dtype, name=given.name or usual.name)


def _whole(dtype: str) -> bool:
    return dtype.startswith(("int", "uint", "bool"))
