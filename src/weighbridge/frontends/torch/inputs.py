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

from ...errors import UsageError, nearest
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
        return _checked(_from_examples(model, workload, examples, rung), model, network)
    if not workload.inputs:
        raise UsageError(
            f"no input shape is known for {network}",
            f"its forward takes {_signature_text(model)}",
            *_how_to_give(_required(model), alone=True),
        )
    names = _parameter_names(model)
    tensors: dict[str, Tensor] = {}
    specs: list[InputSpec] = []
    positional: list[Tensor] = []
    named: dict[str, Tensor] = {}
    for index, spec in enumerate(workload.inputs):
        name = spec.name or (names[index] if index < len(names) else f"input_{index}")
        dtype = spec.dtype or workload.dtype
        if name in tensors:
            raise UsageError(
                f"the input {name!r} is given twice", f"forward takes {_signature_text(model)}"
            )
        tensor = _made((workload.batch, *spec.shape), dtype, workload, rung, name)
        if spec.name is None:
            positional.append(tensor)
        else:
            named[spec.name] = tensor
        tensors[name] = tensor
        specs.append(replace(spec, dtype=dtype))
    given = Arguments(
        positional=tuple(positional),
        named=_nested(named),
        tensors=tensors,
        workload=replace(workload, inputs=tuple(specs)),
    )
    return _checked(given, model, network)


def _nested(named: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of which some lie in others: 'batch.mask' in a mapping, 'images.0' in a list.

    These are the names that :func:`_tensors_by_name` gives, so that what a report names can be typed.
    """
    result: dict[str, Any] = {}
    for name, tensor in named.items():
        *path, last = name.split(".")
        place = result
        for part in path:
            place = place.setdefault(part, {})
            if isinstance(place, Tensor):
                raise UsageError(
                    f"the input {name!r} lies in another input, which is a tensor itself",
                    "give that one a name of its own, or leave it out",
                )
        if last in place:
            raise UsageError(
                f"the input {name!r} is a tensor, and others lie in it",
                "give it a name of its own, or leave it out",
            )
        place[last] = tensor
    return {name: _listed(value) for name, value in result.items()}


def _listed(value: Any) -> Any:
    """A list in place of a mapping whose keys are 0, 1, ..., at every depth."""
    if not isinstance(value, dict):
        return value
    entries = {key: _listed(entry) for key, entry in value.items()}
    if sorted(entries) == sorted(map(str, range(len(entries)))):
        return [entries[str(place)] for place in range(len(entries))]
    return entries


def _checked(given: Arguments, model: nn.Module | Callable[..., object], network: str) -> Arguments:
    """The arguments, if forward takes them as far as Python can tell before it runs.

    Raises:
        UsageError: one is missing, or forward has none of that name, or not so many.
    """
    if isinstance(model, nn.Module) and model._forward_pre_hooks:
        return given  # a hook may give what is missing
    signature = _signature(model, follow=False)
    if signature is None:
        return given
    try:
        signature.bind(*given.positional, **given.named)
    except TypeError as error:
        unknown = [name for name in given.named if name not in signature.parameters]
        near = nearest(unknown[0], signature.parameters) if unknown else ()
        missing = tuple(
            name for name in _required(model)[len(given.positional) :] if name not in given.named
        )
        raise UsageError(
            f"forward of {network} cannot be called with what is given: {error}",
            f"its forward takes {_signature_text(model)}",
            f"it was given: {given.text}",
            *([f"nearest: {', '.join(near)}"] if near else []),
            *(_how_to_give(missing) if missing and not near else ()),
        ) from error
    return given


def _how_to_give(missing: tuple[str, ...], *, alone: bool = False) -> tuple[str, ...]:
    """How to give shapes for the parameters of these names, on the command line and in Python.

    `alone` says that nothing else is given, so that one needs no name.
    """
    if len(missing) < 2:
        each = f"{missing[0]}=" if missing and not alone else ""
        return (
            f"give one without the batch axis: --input {each}3,224,224 "
            f"(in Python: weigh(model, {_in_python(missing[:1] if each else ())}))",
        )
    typed = " ".join(f"--input {name}=SHAPE" for name in missing)
    return (
        f"give one for each, without the batch axis: {typed}, such as 3,224,224 or 512:int64 "
        f"(in Python: weigh(model, {_in_python(missing)}))",
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


def _in_python(names: tuple[str, ...]) -> str:
    """'{"image": (3, 224, 224), "mask": (3, 224, 224)}'."""
    shape = "(3, 224, 224)"
    return "{" + ", ".join(f'"{name}": {shape}' for name in names) + "}" if names else shape


def _required(model: nn.Module | Callable[..., object]) -> tuple[str, ...]:
    """The names of forward's parameters that have no default."""
    signature = _signature(model)
    if signature is None:
        return ()
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return tuple(
        name
        for name, each in signature.parameters.items()
        if each.default is inspect.Parameter.empty and each.kind not in variadic
    )


def _signature_text(model: nn.Module | Callable[..., object]) -> str:
    signature = _signature(model)
    if signature is None:
        return "arguments that Python cannot tell"
    plain = [
        name if each.default is inspect.Parameter.empty else f"{name}=..."
        for name, each in signature.parameters.items()
    ]
    return f"({', '.join(plain)})"


def _signature(
    model: nn.Module | Callable[..., object], *, follow: bool = True
) -> inspect.Signature | None:
    """Forward's signature; without `follow` a decorator's own, which is what is called."""
    forward = model.forward if isinstance(model, nn.Module) else model
    try:
        return inspect.signature(forward, follow_wrapped=follow)
    except (TypeError, ValueError):  # builtins have none
        return None
