"""Gradient accumulation: the last of the micro-steps that go into one update.

A rewriting of Programs. The gradients of the micro-steps before are there from the start; each new one is
added to them in place as soon as it is whole, and is then free. PyTorch does so in `accumulateGrad`
(torch/csrc/autograd/functions/accumulate_grad.h: `variable_grad += new_grad` where gradients of
gradients are not asked for). The first micro-step, which finds no gradients, takes less.

Gradients that are filled with zeros and kept (`zero_grad(set_to_none=False)`) are found by the next step in the
same way, and added to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .per_sample import gradients_of, per_sample
from .program import Op, Program, Storage, Tensor


def as_the_loop_has_it(program: Program) -> Program:
    """The program of an only step as the workload's loop runs it: what it finds, and how it keeps gradients."""
    if program.workload.per_sample_gradients:
        return per_sample(program)
    return accumulated(program) if program.workload.keeps_gradients else program


def accumulated(program: Program) -> Program:
    """The last micro-step, from a program that is an only step; the program itself where it has no gradients."""
    gradients = gradients_of(program)
    return _Rewriting(program, gradients).program() if gradients else program


class _Rewriting:
    """The program's operators, and one that adds after each that ends a gradient."""

    def __init__(self, program: Program, gradients: Mapping[int, int]) -> None:
        self.old = program
        self.ends: dict[int, list[int]] = {}
        for storage, index in gradients.items():
            self.ends.setdefault(index, []).append(storage)
        self.sums: dict[int, int] = {}
        """From the storage of a new gradient to that of the sum."""
        self.added: dict[int, int] = {}
        """From the storage of a new gradient to where it is added."""
        first = 1 + max(storage.id for storage in program.storages)
        for offset, storage in enumerate(gradients):
            self.sums[storage] = first + offset
        self.next_tensor = 1 + max(tensor.id for tensor in program.tensors)
        self.renamed: dict[int, Tensor] = {}

    def program(self) -> Program:
        ops: list[Op] = []
        place: dict[int, int] = {}
        for index, op in enumerate(self.old.ops):
            place[index] = len(ops)
            ops.append(self._op(op))
            for storage in self.ends.get(index, ()):
                self.added[storage] = len(ops)
                ops.append(self._addition(op, storage))
        bytes_of = {storage.id: storage.bytes for storage in self.old.storages}
        return replace(
            self.old,
            ops=tuple(ops),
            storages=(
                *(self._moved(storage, place) for storage in self.old.storages),
                *(Storage(id=total, bytes=bytes_of[old]) for old, total in self.sums.items()),
            ),
        )

    def _op(self, op: Op) -> Op:
        """The operator on a new gradient in backward, on the sum in the update."""
        updating = op.phase == "update"
        return replace(
            op,
            inputs=tuple(self._tensor(tensor, summed=updating) for tensor in op.inputs),
            outputs=tuple(self._tensor(tensor, summed=updating) for tensor in op.outputs),
        )

    def _addition(self, op: Op, storage: int) -> Op:
        new = next(tensor for tensor in op.outputs if tensor.storage == storage)
        total = self._tensor(new, summed=True)
        return Op(
            kind="add",
            name="add_",
            scope=op.scope,
            phase="backward",
            inputs=(total, self._tensor(new, summed=False)),
            outputs=(total,),
        )

    def _tensor(self, tensor: Tensor, *, summed: bool) -> Tensor:
        if tensor.storage not in self.sums:
            return tensor
        if not summed:
            return replace(tensor, role="temporary") if tensor.role == "gradient" else tensor
        if tensor.id not in self.renamed:
            self.renamed[tensor.id] = replace(
                tensor, id=self.next_tensor, storage=self.sums[tensor.storage], role="gradient"
            )
            self.next_tensor += 1
        return self.renamed[tensor.id]

    def _moved(self, storage: Storage, place: Mapping[int, int]) -> Storage:
        death = None if storage.death is None else place[storage.death]
        return replace(
            storage,
            birth=storage.birth if storage.birth < 0 else place[storage.birth],
            death=self.added.get(storage.id, death),
        )
