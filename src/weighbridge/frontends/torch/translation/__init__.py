"""Translation: PyTorch's operators under our kinds, with our operands and attributes.

Most of PyTorch's spellings mean one of our kinds with the same operands in the same order; those are in
the registry of operators. The others are in this folder, family by family as in `ops`: each is a function
with the operator's own parameters, that returns the kind, the operands in our order and the attributes. An
operator that neither knows keeps its full name as its kind, and is reported as uncounted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from torch import Tensor
from torch._ops import OpOverload

from ....ops import rule_of, spellings
from ....program import Attributes
from . import (
    attention,
    contraction,
    elementwise,
    embedding,
    indexing,
    linear_algebra,
    loss,
    movement,
    normalisation,
    optimizers,
    pooling,
    quantisation,
    reduction,
    resampling,
    spectral,
)
from .reading import Reading, tensors_in

__all__ = ["Handling", "Reading", "Translation", "results_of", "tensors_in", "translation_of"]


class Handling(Enum):
    """What becomes of an operator: most are recorded."""

    RECORDED = "recorded"
    ALLOCATES = "takes memory and writes nothing into it"
    SPREAD = "runs one of the others on each tensor of its lists"
    IGNORED = "does nothing to tensors, or makes another handle to the same one"


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """What is known of an operator before it runs.

    `read` puts a call in our terms. `results` are the outputs that a layer hands on. `in_place` means
    that it writes over an operand. `written` are the arguments, by place and name, that are the results of
    an operator which returns nothing; None where it returns them. `builtin` are PyTorch's own, and `pure`
    those of them that say of no operand that they write into it or return a view of it.
    """

    func: OpOverload

    kind: str
    name: str
    handling: Handling
    read: Callable[[tuple[Any, ...], dict[str, Any]], Reading]
    results: int
    in_place: bool
    written: tuple[tuple[int, str], ...] | None
    builtin: bool
    pure: bool

    def results_in(self, args: tuple[Any, ...], kwargs: dict[str, Any], result: object) -> object:
        """What a call made or wrote over."""
        if self.written is None:
            return result
        return tuple(
            args[place] if place < len(args) else kwargs.get(name) for place, name in self.written
        )


def translation_of(func: OpOverload) -> Translation:
    """How calls of this operator are to be written down."""
    known = _TRANSLATIONS.get(id(func))  # an operator's own hash takes a Python call
    if known is None:
        known = _TRANSLATIONS[id(func)] = _translate(func)
    return known


_TRANSLATIONS: dict[int, Translation] = {}


def results_of(kind: str) -> int:
    """How many results of a kind a layer hands on; of a kind without a rule the first."""
    rule = rule_of(kind)
    return 1 if rule is None else rule.results


def _translate(func: OpOverload) -> Translation:
    namespace, _, name = func._schema.name.partition("::")
    plain = name if name.startswith("__") else name.rstrip("_")
    # Primitives are what PyTorch's own Python takes some operators apart into, under their names.
    kind = spellings("aten").get(plain, "") if namespace in ("aten", "prims") else ""
    special = _READINGS.get(plain if namespace == "aten" else f"{namespace}::{plain}")
    if kind == "fill" and not name.endswith("_"):
        special = movement.filled  # `ones_like(x)` takes x's shape and reads nothing of it
    written = None if func._schema.returns else _written(func)
    in_place = func._schema.is_mutable and (written is not None or name.endswith("_"))
    if special is not None:
        kind = ""  # as its reading says
    unknown = special is None and not kind
    if unknown:
        kind = f"{namespace}.{name}"
    rule = rule_of(kind)
    outs = frozenset(argument.name for argument in func._schema.arguments if argument.is_out)
    return Translation(
        func=func,
        kind=kind,
        name=str(func),
        handling=_handling(namespace, plain),
        read=_unknown(func, kind) if unknown else _reader(special, kind, outs),
        results=len(func._schema.returns) + 99 if rule is None or rule.view else rule.results,
        in_place=in_place,
        written=written,
        builtin=namespace == "aten",
        pure=namespace == "aten" and _is_pure(func),
    )


def _is_pure(func: OpOverload) -> bool:
    schema = func._schema
    return all(argument.alias_info is None for argument in (*schema.arguments, *schema.returns))


def _written(func: OpOverload) -> tuple[tuple[int, str], ...]:
    return tuple(
        (place, argument.name)
        for place, argument in enumerate(func._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    )


_NO_ATTRIBUTES: Attributes = {}
"""One for all operators that have none."""


def _handling(namespace: str, plain: str) -> Handling:
    if namespace in ("prim", "profiler") or plain in _IGNORED:
        return Handling.IGNORED
    if plain.startswith("_foreach_"):
        return Handling.SPREAD
    return Handling.ALLOCATES if plain in _ALLOCATES else Handling.RECORDED


def _reader(
    special: Callable[..., Reading] | None, kind: str, outs: frozenset[str]
) -> Callable[[tuple[Any, ...], dict[str, Any]], Reading]:
    if special is not None and not outs:
        return lambda args, kwargs: special(*args, **kwargs)
    if special is not None:
        return lambda args, kwargs: special(*args, **_without(outs, kwargs))
    return lambda args, kwargs: Reading(kind, _operands(args, kwargs), _NO_ATTRIBUTES)


def _unknown(func: OpOverload, kind: str) -> Callable[[tuple[Any, ...], dict[str, Any]], Reading]:
    """An operator that has no rule, or one of the user's: its other arguments by their own names."""
    names = [argument.name for argument in func._schema.arguments]

    def read(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Reading:
        named = {**dict(zip(names, args, strict=False)), **kwargs}
        attributes = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in named.items()
            if _is_plain(value)
        }
        return Reading(kind, _operands(args, kwargs), attributes)

    return read


def _without(outs: frozenset[str], named: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments but for those that say where results go."""
    return {name: value for name, value in named.items() if name not in outs}


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(entry) for entry in value)
    return isinstance(value, int | float | bool | str)


def _operands(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """Every tensor that goes in; `out=` is where the result goes."""
    if not kwargs:
        return tensors_in(args)
    return tensors_in((*args, *(value for key, value in kwargs.items() if key != "out")))


def _readings() -> Mapping[str, Callable[..., Reading]]:
    """Every family's readings, each operator in one family only."""
    families = (
        attention, contraction, elementwise, embedding, indexing, linear_algebra, loss, movement, normalisation,
        optimizers, pooling, quantisation, reduction, resampling, spectral,
    )  # fmt: skip
    every: dict[str, Callable[..., Reading]] = {}
    for family in families:
        twice = every.keys() & family.READINGS.keys()
        if twice:
            raise ValueError(f"{family.__name__}: {', '.join(sorted(twice))} read in two families")
        every.update(family.READINGS)
    return every


_READINGS = _readings()

_IGNORED = frozenset(
    {"detach", "alias", "lift_fresh", "lift", "is_pinned", "is_same_size", "sym_size", "sym_numel",
     "sym_stride", "sym_storage_offset", "sym_is_contiguous", "size", "stride", "is_contiguous",
     "_has_same_storage_numel", "_assert_async", "_assert_tensor_metadata", "_linalg_check_errors", "promote_types", "equal", "_local_scalar_dense", "_debug_has_internal_overlap"}
)  # fmt: skip

_ALLOCATES = frozenset(
    {
        "empty",
        "empty_like",
        "empty_strided",
        "new_empty",
        "new_empty_strided",
        "empty_permuted",
        "empty_quantized",
        "_empty_affine_quantized",
        "_empty_per_channel_affine_quantized",
        "resize",
        "resize_as",
    }
)
