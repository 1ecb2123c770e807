"""Gradients of each sample: the lecture's accounting of a batch (L5), and what differentially private training pays.

A rewriting of Programs. Backward leaves a gradient of every parameter for every sample, a batch of them in
place of their sum, and the update begins with summing them up. The arithmetic of backward is the same:
the sum over samples is put off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .program import Op, Program, Storage, Tensor


def gradients_of(program: Program) -> Mapping[int, int]:
    """The storages that backward leaves parameters' gradients in, each with the operator that ends it."""
    born = {s.id for s in program.storages if s.birth >= 0 and s.death is None}
    found: dict[int, int] = {}
    for index, op in enumerate(program.ops):
        if op.phase != "backward":
            continue
        for tensor in op.outputs:
            if tensor.storage in born and (tensor.role == "gradient" or tensor.storage in found):
                found[tensor.storage] = index
    return found


def per_sample(program: Program) -> Program:
    """The program with a gradient of each sample; the program itself where it has no gradients."""
    ends = gradients_of(program)
    if not ends:
        return program
    batch = program.workload.batch
    last = dict(_last_tensors(program, ends))
    split = next((i for i, op in enumerate(program.ops) if op.phase == "update"), len(program.ops))
    next_tensor = 1 + max(tensor.id for tensor in program.tensors)
    next_storage = 1 + max(storage.id for storage in program.storages)
    samples: dict[int, Tensor] = {}
    sums: dict[int, Tensor] = {}
    summing: list[Op] = []
    for place, (storage, tensor) in enumerate(last.items()):
        samples[storage] = replace(
            tensor, id=next_tensor + 2 * place, shape=(batch, *tensor.shape), role="gradient"
        )
        sums[storage] = replace(
            tensor, id=next_tensor + 2 * place + 1, storage=next_storage + place, role="gradient"
        )
        summing.append(
            Op(
                kind="sum",
                name="sum",
                scope=program.ops[ends[storage]].scope,
                phase="update",
                inputs=(samples[storage],),
                outputs=(sums[storage],),
                attributes={"axes": (0,)},
            )
        )
    if split == len(program.ops):  # nothing is updated: nobody sums up
        summing = []
    shift = len(summing)
    moved = {storage: total.storage for storage, total in sums.items()}

    def updated(tensor: Tensor) -> Tensor:
        return replace(tensor, storage=moved.get(tensor.storage, tensor.storage))

    ops = [
        *program.ops[:split],
        *summing,
        *(
            replace(
                op,
                inputs=tuple(map(updated, op.inputs)),
                outputs=tuple(map(updated, op.outputs)),
            )
            for op in program.ops[split:]
        ),
    ]

    def later(index: int) -> int:
        return index + shift if index >= split else index

    storages = [
        replace(
            storage,
            bytes=storage.bytes * batch if storage.id in ends else storage.bytes,
            birth=later(storage.birth),
            death=None if storage.death is None else later(storage.death),
        )
        for storage in program.storages
    ]
    sizes = {storage.id: storage.bytes for storage in program.storages}
    storages += [
        Storage(id=total.storage, bytes=sizes[storage], birth=split + place, death=None)
        for place, (storage, total) in enumerate(sums.items())
        if summing
    ]
    return replace(program, ops=tuple(ops), storages=tuple(storages))


def _last_tensors(program: Program, ends: Mapping[int, int]) -> list[tuple[int, Tensor]]:
    """Each gradient as the operator that ends it leaves it."""
    return [
        (storage, next(t for t in program.ops[index].outputs if t.storage == storage))
        for storage, index in ends.items()
    ]
