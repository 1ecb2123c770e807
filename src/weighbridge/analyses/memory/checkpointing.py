"""Activation checkpointing: what if a block's activations were computed again instead of kept?

A rewriting of Programs. Every operator that a block runs forward is run again right before the block's
first backward operator that wants one of its results, as `torch.utils.checkpoint` does it without
reentry: up to the last result that is wanted, and no further. Forward's own results are then free after
their last use in forward; the second ones live as long in backward as the first ones did.

Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ...errors import UsageError
from ...program import Op, Program, Storage, Tensor
from ...units import plural
from ...workload import within
from .timeline import timeline

_CONTAINERS = frozenset({"Sequential", "ModuleList", "ModuleDict", ""})
"""Modules that only hold others."""


def repeated_blocks(program: Program) -> Mapping[str, tuple[str, ...]]:
    """Classes of modules that occur more than once and hold others, with the scopes of their modules.

    A class counts once: blocks inside blocks of the same class are left out.
    """
    parents = {module.scope.rpartition(".")[0] for module in program.modules if module.scope}
    found: dict[str, list[str]] = {}
    for module in program.modules:
        if module.scope not in parents or module.kind in _CONTAINERS or not module.scope:
            continue
        scopes = found.setdefault(module.kind, [])
        if not any(within(module.scope, scope) for scope in scopes):
            scopes.append(module.scope)
    return {kind: tuple(scopes) for kind, scopes in found.items() if len(scopes) > 1}


def blocks_checkpointed(program: Program) -> Program:
    """The program with every repeated block checkpointed: those of the class that leaves the lowest peak.

    Networks repeat things inside things (stages of blocks of layers); which of them it pays to run again
    is what the peaks say. The program's warnings name the class.

    Raises:
        UsageError: the program does not train, or has no repeated blocks that keep anything.
    """
    _check_training(program)
    found: list[tuple[int, str, Program]] = []
    for kind, scopes in repeated_blocks(program).items():
        if any(next(_runs(program, scope), None) for scope in scopes):
            rewritten = checkpointed(program, scopes)
            what = f"checkpointed: {plural(len(scopes), 'block')} of class {kind}"
            found.append((timeline(rewritten).peak.bytes, what, rewritten))
    if not found:
        raise UsageError(
            f"no module with parts occurs twice in {program.network}: there are no blocks to checkpoint"
        )
    _, what, best = min(found, key=lambda entry: entry[0])
    return replace(best, warnings=(*program.warnings, what))


def checkpointed(program: Program, blocks: Iterable[str]) -> Program:
    """The program with the modules of these scopes checkpointed.

    Raises:
        UsageError: the program does not train, or none of the blocks runs.
    """
    _check_training(program)
    runs = [run for block in dict.fromkeys(blocks) for run in _runs(program, block)]
    if not runs:
        raise UsageError("none of the blocks to checkpoint keeps anything for backward")
    return _Rewriting(program, runs).program()


def _check_training(program: Program) -> None:
    if not program.workload.training:
        raise UsageError("checkpointing is for training: inference keeps no activations")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One time that a block runs forward, and what its backward wants of that.

    The operators `again` run a second time before operator `before`. `readers` are the block's backward
    operators that read results, `wanted` each result's storage with the last that reads it.
    """

    again: range
    readers: frozenset[int]
    wanted: Mapping[int, int]
    before: int


def _runs(program: Program, block: str) -> Iterator[_Run]:
    """Each time that the block runs forward, and what backward wants of it."""
    ops = program.ops
    own = [index for index, op in enumerate(ops) if within(op.scope, block)]
    backward = [index for index in own if ops[index].phase == "backward"]
    births = {storage.id: storage.birth for storage in program.storages}
    for first, last in _stretches([index for index in own if ops[index].phase == "forward"]):
        wanted: dict[int, list[int]] = {}
        for index in backward:
            for tensor in ops[index].inputs:
                if first <= births[tensor.storage] <= last:
                    wanted.setdefault(tensor.storage, []).append(index)
        if wanted:
            stop = max(
                index
                for index in range(first, last + 1)
                if any(tensor.storage in wanted for tensor in ops[index].outputs)
            )
            readers = sorted({index for indices in wanted.values() for index in indices})
            yield _Run(
                again=range(first, stop + 1),
                readers=frozenset(readers),
                wanted={storage: max(indices) for storage, indices in wanted.items()},
                before=readers[0],
            )


def _stretches(indices: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Neighbouring indices as (first, last)."""
    start = 0
    for position in range(1, len(indices) + 1):
        if position == len(indices) or indices[position] != indices[position - 1] + 1:
            yield indices[start], indices[position - 1]
            start = position


class _Rewriting:
    """The program's operators with those of the runs inserted again."""

    def __init__(self, program: Program, runs: Sequence[_Run]) -> None:
        self.old = program
        self.runs = runs
        self.ops: list[Op] = []
        self.place: dict[int, int] = {}
        """Where each old operator stands now."""
        self.uses: dict[int, list[int]] = {}
        """The old operators that read or write a storage."""
        for index, op in enumerate(program.ops):
            for storage in {tensor.storage for tensor in (*op.inputs, *op.outputs)}:
                self.uses.setdefault(storage, []).append(index)
        self.storages = {storage.id: storage for storage in program.storages}
        self.next_tensor = 1 + max(tensor.id for tensor in program.tensors)
        self.next_storage = 1 + max(self.storages)
        self.made: list[Storage] = []

    def program(self) -> Program:
        starting = {run.before: run for run in self.runs}
        renamed: dict[int, _Renaming] = {}
        copied: list[tuple[_Run, _Renaming, dict[int, int]]] = []
        for index, op in enumerate(self.old.ops):
            run = starting.get(index)
            if run is not None:
                renaming, places = self._run_again(run)
                copied.append((run, renaming, places))
                renamed.update(dict.fromkeys(run.readers, renaming))
            self.place[index] = len(self.ops)
            self.ops.append(renamed[index].op(op) if index in renamed else op)
        freed: dict[int, int | None] = {}
        for run, renaming, places in copied:
            self._live_again(run, renaming.copies, places)
            for storage in run.wanted:
                freed[storage] = self._last_use(storage, run.readers)
        return replace(
            self.old,
            ops=tuple(self.ops),
            storages=(*(self._moved(s, freed) for s in self.old.storages), *self.made),
        )

    def _run_again(self, run: _Run) -> tuple[_Renaming, dict[int, int]]:
        """Appends the run's operators; returns what they make now, and where each of them stands."""
        copies: dict[int, int] = {}
        places: dict[int, int] = {}
        for index in run.again:
            for tensor in self.old.ops[index].outputs:
                if self.storages[tensor.storage].birth == index and tensor.storage not in copies:
                    copies[tensor.storage] = self.next_storage
                    self.next_storage += 1
        renaming = _Renaming(self, copies)
        for index in run.again:
            places[index] = len(self.ops)
            self.ops.append(replace(renaming.op(self.old.ops[index]), phase="backward"))
        return renaming, places

    def _live_again(self, run: _Run, copies: Mapping[int, int], places: Mapping[int, int]) -> None:
        """What is wanted lives until it was read, the rest as long as it did forward."""
        end = max(places.values())
        for storage, copy in copies.items():
            old = self.storages[storage]
            last = run.wanted.get(storage)
            death = end if old.death is None else places.get(old.death, end)
            self.made.append(
                Storage(
                    id=copy,
                    bytes=old.bytes,
                    birth=places[old.birth],
                    death=death if last is None else self.place[last],
                )
            )

    def _last_use(self, storage: int, but: frozenset[int]) -> int | None:
        """Where a result is last used by others than these, by its old place; None if the caller keeps it."""
        if any(tensor.storage == storage for tensor in self.old.outputs):
            return None
        return max(index for index in self.uses[storage] if index not in but)

    def _moved(self, storage: Storage, freed: Mapping[int, int | None]) -> Storage:
        death = freed.get(storage.id, storage.death)
        return replace(
            storage,
            birth=storage.birth if storage.birth < 0 else self.place[storage.birth],
            death=None if death is None else self.place[death],
        )


class _Renaming:
    """Puts storages in the place of others; each tensor in them gets a new number, the same every time."""

    def __init__(self, rewriting: _Rewriting, copies: Mapping[int, int]) -> None:
        self.rewriting = rewriting
        self.copies = copies
        self.tensors: dict[int, Tensor] = {}

    def op(self, op: Op) -> Op:
        return replace(
            op,
            inputs=tuple(map(self._tensor, op.inputs)),
            outputs=tuple(map(self._tensor, op.outputs)),
        )

    def _tensor(self, tensor: Tensor) -> Tensor:
        copy = self.copies.get(tensor.storage)
        if copy is None:
            return tensor
        if tensor.id not in self.tensors:
            self.tensors[tensor.id] = replace(tensor, id=self.rewriting.next_tensor, storage=copy)
            self.rewriting.next_tensor += 1
        return self.tensors[tensor.id]
