"""Inputs: tensors for a network's forward, from a workload or from the user's examples.

They are without data on the first rung of the ladder, and with some on the last.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import UsageError
from ...workload import InputSpec, Workload
from .recording import DTYPE_NAMES
from .rungs import Rung

Examples = Tensor | tuple[object, ...] | list[object] | Mapping[str, object]
"""Arguments of forward: one tensor, positional arguments, or named ones.

Nested as forward takes them. A leaf is a tensor, of which shape and dtype are used, an InputSpec (a shape
without the batch axis), or whatever else forward takes, which is handed on as it is.
"""

DTYPES: Mapping[str, torch.dtype] = {name: dtype for dtype, name in DTYPE_NAMES.items()}
"""PyTorch's dtypes by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What forward is called with, the tensors among it by name, and the workload that says so."""

    positional: tuple[Any, ...]
    named: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    workload: Workload

    @property
    def text(self) -> str:
        """The tensors as one line: 'input (1, 3, 224, 224) float32'."""
        parts = [
            f"{name} {tuple(tensor.shape)} {DTYPE_NAMES[tensor.dtype]}"
            for name, tensor in self.tensors.items()
        ]
        return ", ".join(parts) or "no tensors"


def arguments(
    model: nn.Module | Callable[..., object],
    workload: Workload,
    network: str,
    examples: Examples | None,
    rung: Rung,
) -> Arguments:
    """The arguments of one step, made as the rung makes them.

    Raises:
        UsageError: neither examples nor shapes are given, or PyTorch has no tensor like that.
    """
    if examples is not None:
        return _from_examples(model, workload, examples, rung)
    if not workload.inputs:
        raise UsageError(
            f"no input shape is known for {network}",
            f"its forward takes {_signature_text(model)}",
            "give one without the batch axis: --input 3,224,224 (in Python: weigh(model, (3, 224, 224)))",
        )
    names = _parameter_names(model)
    tensors: dict[str, Tensor] = {}
    specs: list[InputSpec] = []
    positional: list[Tensor] = []
    named: dict[str, Tensor] = {}
    for index, spec in enumerate(workload.inputs):
        name = spec.name or (names[index] if index < len(names) else f"input_{index}")
        dtype = spec.dtype or workload.dtype
        tensor = _made((workload.batch, *spec.shape), dtype, workload, rung, name)
        if spec.name is None:
            positional.append(tensor)
        else:
            named[spec.name] = tensor
        tensors[name] = tensor
        specs.append(replace(spec, dtype=dtype))
    return Arguments(
        positional=tuple(positional),
        named=named,
        tensors=tensors,
        workload=replace(workload, inputs=tuple(specs)),
    )


def _made(
    shape: tuple[int, ...], dtype: str, workload: Workload, rung: Rung, name: str = ""
) -> Tensor:
    if dtype not in DTYPES:
        raise UsageError(
            f"PyTorch has no tensors of dtype {dtype}", f"it has: {', '.join(sorted(DTYPES))}"
        )
    try:
        tensor = rung.made(shape, DTYPES[dtype], name)
    except RuntimeError as error:
        raise UsageError(
            f"an input of shape {shape} is larger than PyTorch can address",
            "make the batch or the input smaller",
        ) from error
    return tensor.requires_grad_(workload.input_gradient and tensor.is_floating_point())


def _from_examples(
    model: nn.Module | Callable[..., object], workload: Workload, examples: Examples, rung: Rung
) -> Arguments:
    given = _placed((examples,) if isinstance(examples, Tensor) else examples, workload, rung)
    named = dict(given) if isinstance(given, Mapping) else {}
    positional = () if isinstance(given, Mapping) else tuple(given)
    names = _parameter_names(model)
    labelled = [
        (names[index] if index < len(names) else f"input_{index}", value)
        for index, value in enumerate(positional)
    ]
    tensors = _tensors_by_name([*labelled, *named.items()])
    batch = next((tensor.shape[0] for tensor in tensors.values() if tensor.dim()), 1)
    specs = tuple(
        InputSpec(shape=tuple(tensor.shape[1:]), dtype=DTYPE_NAMES[tensor.dtype], name=name)
        for name, tensor in tensors.items()
    )
    return Arguments(
        positional=positional,
        named=named,
        tensors=tensors,
        workload=replace(workload, inputs=specs, batch=batch),
    )


def _placed(value: Any, workload: Workload, rung: Rung) -> Any:
    """The same structure with tensors and shapes replaced by tensors of the rung's.

    Mappings that are no dicts (a tokenizer's encoding) stay what they are.
    """
    if isinstance(value, Tensor):
        wanted = workload.input_gradient and value.is_floating_point()
        return rung.copied(value.detach()).requires_grad_(wanted)
    if isinstance(value, InputSpec):
        shape = (workload.batch, *value.shape)
        return _made(shape, value.dtype or workload.dtype, workload, rung)
    if isinstance(value, Mapping):
        entries = {key: _placed(entry, workload, rung) for key, entry in value.items()}
        return entries if type(value) is dict else type(value)(entries)  # type: ignore[call-arg]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_placed(entry, workload, rung) for entry in value))
    if isinstance(value, list | tuple):
        return type(value)(_placed(entry, workload, rung) for entry in value)
    return value


def _tensors_by_name(values: list[tuple[str, object]]) -> dict[str, Tensor]:
    """The tensors in the arguments; those inside a list or mapping by their place in it."""
    found: dict[str, Tensor] = {}
    for name, value in values:
        if isinstance(value, Tensor):
            found[name] = value
        elif isinstance(value, Mapping):
            found.update(_tensors_by_name([(f"{name}.{key}", v) for key, v in value.items()]))
        elif isinstance(value, list | tuple):
            found.update(_tensors_by_name([(f"{name}.{i}", v) for i, v in enumerate(value)]))
    return found


def _parameter_names(model: nn.Module | Callable[..., object]) -> tuple[str, ...]:
    """The names of forward's positional parameters, as far as Python can tell."""
    signature = _signature(model)
    if signature is None:
        return ()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(name for name, each in signature.parameters.items() if each.kind in kinds)


def _signature_text(model: nn.Module | Callable[..., object]) -> str:
    signature = _signature(model)
    if signature is None:
        return "arguments that Python cannot tell"
    plain = [
        name if each.default is inspect.Parameter.empty else f"{name}=..."
        for name, each in signature.parameters.items()
    ]
    return f"({', '.join(plain)})"


def _signature(model: nn.Module | Callable[..., object]) -> inspect.Signature | None:
    try:
        return inspect.signature(model.forward if isinstance(model, nn.Module) else model)
    except (TypeError, ValueError):  # builtins have none
        return None
