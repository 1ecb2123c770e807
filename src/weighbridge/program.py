"""The Program: one step of a network under a workload, as a list of operators on tensors.

This is the ground floor. Frontends write Programs, analyses read them, nobody invents another
representation. Everything here is frozen and plain: a Program can be compared, stored and read back.

The operators stand in the order in which they run: forward, backward, update. Each names the tensors
that it reads and those that it makes. A tensor is a view of a storage; storages are what takes memory,
and are born and freed at an operator's index. What an operator *costs* is not here: that is `ops`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import prod
from typing import Literal

from .dims import Shape, bytes_of
from .workload import InputSpec, Optimizer, Workload

Role = Literal[
    "parameter",
    "buffer",
    "input",
    "activation",  # what a layer hands on
    "saved",  # kept for backward beside the activations: indices, masks, statistics
    "activation_gradient",
    "gradient",  # of a parameter
    "optimizer_state",
    "temporary",
]
Phase = Literal["forward", "backward", "update"]
PHASES: tuple[Phase, ...] = ("forward", "backward", "update")

AttributeValue = int | float | bool | str | None | tuple["AttributeValue", ...]
Attributes = Mapping[str, AttributeValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A view of a storage: shape, dtype, and what it is for.

    `name` is the dotted path of a parameter, buffer or input, and None for what is computed.
    `trainable` is true of a parameter whose gradient is wanted.
    """

    id: int
    shape: Shape
    dtype: str
    role: Role
    storage: int
    name: str | None = None
    trainable: bool = False

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes that the elements take, whether or not the storage holds more."""
        return bytes_of(prod(self.shape), self.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Bytes in memory, from the operator that allocates them until after the one that last needs them.

    `birth` is the index of an operator, or -1 for what is there before the step begins.
    `death` is the index of the operator after which it is free, or None where it outlives the step.
    """

    id: int
    bytes: int
    birth: int = -1
    death: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One operator as it runs: its kind, what it reads, what it makes.

    `kind` is a key of the operator registry; for an operator without a rule it is the framework's
    own name. `name` is always the framework's own name. `scope` is the dotted path of the module
    that ran it, '' for the network itself.
    """

    kind: str
    name: str
    scope: str
    phase: Phase
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    attributes: Attributes = field(default_factory=dict)

    def integer(self, key: str, default: int | None = None) -> int:
        """The whole-number attribute `key`."""
        value = self.attributes.get(key, default)
        if not isinstance(value, int):
            raise TypeError(f"{self.kind}: attribute {key!r} is {value!r}, not a whole number")
        return value

    def integers(self, key: str) -> tuple[int, ...]:
        """The attribute `key`, a tuple of whole numbers such as a stride."""
        value = self.attributes[key]
        if not isinstance(value, tuple):
            raise TypeError(f"{self.kind}: attribute {key!r} is {value!r}, not a tuple")
        return tuple(item for item in value if isinstance(item, int))

    def flag(self, key: str) -> bool:
        """The attribute `key` as yes or no; no where it is absent."""
        return bool(self.attributes.get(key, False))

    @property
    def signature(self) -> object:
        """All that a rule reads of it. Networks repeat themselves, and their layers need counting once."""
        return (
            self.kind,
            tuple([(tensor.shape, tensor.dtype) for tensor in self.inputs]),
            tuple([(tensor.shape, tensor.dtype) for tensor in self.outputs]),
            tuple([made.storage == read.storage for made in self.outputs for read in self.inputs]),
            tuple(self.attributes.items()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A named part of the network: its dotted path, its class, and what its `repr` adds."""

    scope: str
    kind: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One step of one network under one workload.

    `frontend` names what read the network and `rung` how it was run ('declared' for networks that
    are described, 'meta' for PyTorch without data). `parameters` and `buffers` list each tensor once,
    also those that no operator reads; `aliases` gives the further names of tied ones. `complete` is
    false where the program stopped half-way, and `warnings` then say where.
    """

    network: str
    source: str
    frontend: str
    rung: str
    workload: Workload
    ops: tuple[Op, ...]
    storages: tuple[Storage, ...]
    modules: tuple[Module, ...]
    parameters: tuple[Tensor, ...]
    buffers: tuple[Tensor, ...] = ()
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    complete: bool = True

    def phase(self, phase: Phase) -> Iterator[Op]:
        """The operators of one phase, in order."""
        return (op for op in self.ops if op.phase == phase)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Every tensor once, in the order of first appearance."""
        seen: dict[int, Tensor] = {}
        for tensor in (*self.parameters, *self.buffers, *self.inputs):
            seen.setdefault(tensor.id, tensor)
        for op in self.ops:
            for tensor in (*op.inputs, *op.outputs):
                seen.setdefault(tensor.id, tensor)
        return tuple(seen.values())


def with_lifetimes(
    storages: Iterable[Storage],
    ops: Sequence[Op],
    keep: Iterable[int],
    calls: Iterable[tuple[int, int]] = (),
    held: Iterable[tuple[int, int]] = (),
) -> tuple[Storage, ...]:
    """Births and deaths by liveness: born where first made, free after the last use.

    For programs that are described and never run. `keep` are the storages that outlive the step. `calls`
    are the first and last operator of each call of a module: who calls one holds what it was given
    until it returns. `held` are storages that a variable names until an operator has run.
    """
    born: dict[int, int] = {}
    used: dict[int, int] = {}
    for index, op in enumerate(ops):
        for tensor in op.inputs:  # first: what an operator writes over was there before it
            born.setdefault(tensor.storage, -1)
            used[tensor.storage] = index
        for tensor in op.outputs:
            born.setdefault(tensor.storage, index)
            used[tensor.storage] = index
    for first, last in calls:
        for op in ops[first : last + 1]:
            for tensor in op.inputs:
                if born[tensor.storage] < first:
                    used[tensor.storage] = max(used[tensor.storage], last)
    for id, last in held:
        used[id] = max(used[id], last)
    kept = frozenset(keep)
    return tuple(
        Storage(
            id=storage.id,
            bytes=storage.bytes,
            birth=born.get(storage.id, -1),
            death=None if storage.id in kept else used.get(storage.id),
        )
        for storage in storages
    )


def dumps(program: Program) -> str:
    """The program as JSON, tensors written once and named by id."""
    record = {
        key: getattr(program, key)
        for key in ("network", "source", "frontend", "rung", "warnings", "complete")
    }
    record["workload"] = asdict(program.workload.plain)
    record["aliases"] = dict(program.aliases)
    record["modules"] = [asdict(module) for module in program.modules]
    record["storages"] = [asdict(storage) for storage in program.storages]
    record["tensors"] = [asdict(tensor) for tensor in program.tensors]
    record["ops"] = [
        {
            "kind": op.kind,
            "name": op.name,
            "scope": op.scope,
            "phase": op.phase,
            "inputs": [tensor.id for tensor in op.inputs],
            "outputs": [tensor.id for tensor in op.outputs],
            "attributes": dict(op.attributes),
        }
        for op in program.ops
    ]
    for group in ("parameters", "buffers", "inputs", "outputs"):
        record[group] = [tensor.id for tensor in getattr(program, group)]
    return json.dumps(record)


def loads(text: str) -> Program:
    """Reads back what :func:`dumps` wrote."""
    record = json.loads(text)
    tensors = {
        entry["id"]: Tensor(**{**entry, "shape": tuple(entry["shape"])})
        for entry in record["tensors"]
    }

    def named(ids: Iterable[int]) -> tuple[Tensor, ...]:
        return tuple(tensors[id] for id in ids)

    workload = dict(record["workload"])
    workload["inputs"] = tuple(
        InputSpec(**{**spec, "shape": tuple(spec["shape"])}) for spec in workload["inputs"]
    )
    workload["trained"] = tuple(workload["trained"])
    if workload["optimizer"] is not None:
        workload["optimizer"] = Optimizer(**workload["optimizer"])
    return Program(
        network=record["network"],
        source=record["source"],
        frontend=record["frontend"],
        rung=record["rung"],
        workload=Workload(**workload),
        ops=tuple(
            Op(
                kind=entry["kind"],
                name=entry["name"],
                scope=entry["scope"],
                phase=entry["phase"],
                inputs=named(entry["inputs"]),
                outputs=named(entry["outputs"]),
                attributes={key: _frozen(value) for key, value in entry["attributes"].items()},
            )
            for entry in record["ops"]
        ),
        storages=tuple(Storage(**entry) for entry in record["storages"]),
        modules=tuple(Module(**entry) for entry in record["modules"]),
        parameters=named(record["parameters"]),
        buffers=named(record["buffers"]),
        inputs=named(record["inputs"]),
        outputs=named(record["outputs"]),
        aliases=record["aliases"],
        warnings=tuple(record["warnings"]),
        complete=record["complete"],
    )


def _frozen(value: object) -> AttributeValue:
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    assert value is None or isinstance(value, int | float | bool | str)
    return value
