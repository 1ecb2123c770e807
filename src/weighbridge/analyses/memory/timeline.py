"""The timeline: what is resident while each operator of a training loop's body runs, and where the peak is.

A Program says when each storage is allocated and freed within one step. Around the step is a loop: its
first round finds no optimizer state, every later one finds the state that the round before left, and the
outputs that its variables still name until the network hands over new ones. Gradients are let go of
before the next forward (`zero_grad(set_to_none=True)`, PyTorch's default), or stay and are written over.

Bytes here are what tensors hold, exactly. How an allocator rounds and keeps them is `allocator`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal

from ...dims import Shape
from ...errors import WeighError
from ...ops import rule_of
from ...program import Op, Phase, Program, Role, Storage, Tensor

Category = Literal[
    "parameter",
    "buffer",
    "input",
    "saved_activation",  # made in forward, read in backward or handed to the caller
    "temporary",  # made and freed within a phase
    "activation_gradient",
    "gradient",  # of a parameter
    "optimizer_state",
    "held",  # outputs of the round before that the loop's variables still name
    "workspace",  # scratch of a kernel, for as long as it runs
]
CATEGORIES: tuple[Category, ...] = (
    "parameter",
    "buffer",
    "optimizer_state",
    "gradient",
    "input",
    "held",
    "saved_activation",
    "activation_gradient",
    "temporary",
    "workspace",
)
"""In the order in which a picture stacks them: what stays at the bottom, what comes and goes on top."""

Round = Literal["first", "later"]

START = -1
"""The moment before the first operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetime:
    """A storage in a round of the loop: allocated as operator `birth` begins, freed when `death` has run.

    `birth` is START for what is there before the round, `death` is None for what it leaves behind. `first` is
    the birth in the first round of all, None for what that round does not have.
    `scope` is the module that made it or that it belongs to, `maker` the operator or the tensor's name,
    `shape` and `dtype` are those of the first tensor in it.
    """

    storage: int
    bytes: int
    birth: int
    first: int | None
    death: int | None
    category: Category
    scope: str
    maker: str
    shape: Shape
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The moment at which most is allocated: while which operator runs, and what is there then.

    `operator` is its index in the program, START for the moment before the first. `alive` lists the
    storages, largest first.
    """

    bytes: int
    operator: int
    name: str
    scope: str
    phase: Phase | None
    alive: tuple[Lifetime, ...]

    def by_category(self) -> Mapping[Category, int]:
        """Bytes at the peak by category; all of them together are `bytes`."""
        totals: dict[Category, int] = dict.fromkeys(CATEGORIES, 0)
        for life in self.alive:
            totals[life.category] += life.bytes
        return {category: size for category, size in totals.items() if size}

    def by_scope(self, depth: int) -> Mapping[str, int]:
        """Bytes at the peak by module, folded to `depth` parts of its path, largest first."""
        totals: dict[str, int] = {}
        for life in self.alive:
            scope = ".".join(life.scope.split(".")[:depth])
            totals[scope] = totals.get(scope, 0) + life.bytes
        return dict(sorted(totals.items(), key=lambda entry: -entry[1]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """One round of the loop: bytes allocated while each operator runs, altogether and by category.

    `allocated[i]` counts operator i's results and what it is the last to read. `kept` are the bytes that
    are there when the round is over, before gradients are let go of.
    """

    round: Round
    allocated: tuple[int, ...]
    categories: Mapping[Category, tuple[int, ...]]
    kept: int
    peak: Peak


def lifetimes(program: Program) -> tuple[Lifetime, ...]:
    """Every storage of a round of the loop, in the order in which later rounds allocate them."""
    born_in = _first_tensors(program)
    backward, updates = _first_of(program, "backward"), _first_of(program, "update")
    found: list[Lifetime] = []
    for storage in program.storages:
        first = born_in.get(storage.id)
        if first is None:
            continue  # nothing reads or makes it
        tensor, maker = first
        category = _category(tensor.role, storage, backward)
        found.append(
            Lifetime(
                storage=storage.id,
                bytes=storage.bytes,
                birth=storage.birth,
                first=updates if category == "optimizer_state" else storage.birth,
                death=storage.death,
                category=category,
                scope=_scope(tensor, maker),
                maker=tensor.name or ("" if maker is None else maker.name),
                shape=tensor.shape,
                dtype=tensor.dtype,
            )
        )
    found += _scratch(program)
    found += _held(program, found)
    return tuple(sorted(found, key=lambda life: life.birth))


def timeline(program: Program, round: Round = "later") -> Timeline:
    """What is allocated over a round of the loop.

    Raises:
        WeighError: the program has no operators.
    """
    if not program.ops:
        raise WeighError("there is no memory over time: no operator ran")
    lives = in_round(lifetimes(program), round)
    count = len(program.ops)
    categories = {
        category: tuple(_running(count, (life for life in lives if life.category == category)))
        for category in CATEGORIES
    }
    allocated = tuple(map(sum, zip(*categories.values(), strict=True)))
    return Timeline(
        round=round,
        allocated=allocated,
        categories={name: sizes for name, sizes in categories.items() if any(sizes)},
        kept=sum(life.bytes for life in lives if life.death is None),
        peak=_peak(program, lives, allocated),
    )


def in_round(lives: Iterable[Lifetime], round: Round) -> tuple[Lifetime, ...]:
    """The storages of one round, each with its birth in that round."""
    if round == "later":
        return tuple(lives)
    return tuple(
        life if life.first == life.birth else replace(life, birth=life.first)
        for life in lives
        if life.first is not None
    )


def _first_of(program: Program, phase: Phase) -> int:
    """The index of the first operator of a phase; the number of operators where there is none."""
    ops = program.ops
    return next((index for index, op in enumerate(ops) if op.phase == phase), len(ops))


def _first_tensors(program: Program) -> Mapping[int, tuple[Tensor, Op | None]]:
    """The first tensor in each storage, and the operator that made it, if one did.

    What turns out to be a parameter's gradient is one from the start, whatever it is a view of.
    """
    found: dict[int, tuple[Tensor, Op | None]] = {}
    for tensor in (*program.parameters, *program.buffers, *program.inputs):
        found.setdefault(tensor.storage, (tensor, None))
    for op in program.ops:
        for tensor in (*op.inputs, *op.outputs):
            first = found.setdefault(tensor.storage, (tensor, op))
            if tensor.role == "gradient" and first[0].role != "gradient":
                found[tensor.storage] = (replace(first[0], role="gradient"), first[1])
    return found


def _category(role: Role, storage: Storage, first_backward: int) -> Category:
    if role in ("activation", "saved"):
        lasts = storage.death is None or storage.death >= first_backward
        return "saved_activation" if storage.birth < first_backward and lasts else "temporary"
    return role  # type: ignore[return-value]  # the other roles are categories


def _scope(tensor: Tensor, maker: Op | None) -> str:
    if tensor.name is not None and tensor.role in ("parameter", "buffer"):
        return tensor.name.rpartition(".")[0]
    return "" if maker is None else maker.scope


def _scratch(program: Program) -> Iterator[Lifetime]:
    """What operators take beside operands and results, numbered below every storage of the program."""
    last = len(program.ops) - 1
    ends = {op.phase: index for index, op in enumerate(program.ops)}
    turning = program.workload.layout != "channels-last"
    number = -1 - len(program.storages)
    for index, op in enumerate(program.ops):
        rule = rule_of(op.kind)
        if rule is None:
            continue
        scratch = rule.scratch(op, program.workload.backend)
        for size, death in (
            (scratch.running - scratch.lingering + turning * scratch.turned, index),
            (scratch.lingering, min(index + 1, last)),
            (scratch.lasting, ends[op.phase]),
        ):
            if size:
                number -= 1
                yield Lifetime(
                    storage=number,
                    bytes=size,
                    birth=index,
                    first=index,
                    death=death,
                    # an optimizer's are tensors like others, a kernel's are its own
                    category="temporary" if op.phase == "update" else "workspace",
                    scope=op.scope,
                    maker=op.name,
                    shape=(size,),
                    dtype="uint8",
                )


def held_as(storage: int) -> int:
    """The number by which the loop holds an output's storage of the round before."""
    return -1 - storage


def _held(program: Program, lives: Sequence[Lifetime]) -> Iterator[Lifetime]:
    """The outputs of the round before, which are freed when the network hands over its new ones.

    With them goes what they hold for a backward that never comes, in inference with autograd on.
    """
    outputs = {tensor.storage for tensor in program.outputs}
    if not program.workload.no_grad:
        outputs |= {life.storage for life in lives if life.category == "saved_activation"}
    handed_over = max(
        (
            index
            for index, op in enumerate(program.ops)
            if op.phase == "forward" and op.scope.partition(".")[0] != "loss"
        ),
        default=START,
    )
    for life in lives:
        if life.storage in outputs and life.birth > START and life.death is None:
            yield Lifetime(
                storage=held_as(life.storage),
                bytes=life.bytes,
                birth=START,
                first=None,
                death=handed_over,
                category="held",
                scope=life.scope,
                maker=life.maker,
                shape=life.shape,
                dtype=life.dtype,
            )


def _running(count: int, lives: Iterable[Lifetime]) -> Iterator[int]:
    """Bytes while each operator runs."""
    change = [0] * (count + 1)
    for life in lives:
        change[max(life.birth, 0)] += life.bytes
        if life.death is not None:
            change[life.death + 1] -= life.bytes
    return accumulate(change[:count])


def _peak(program: Program, lives: Iterable[Lifetime], allocated: tuple[int, ...]) -> Peak:
    most = max(allocated)
    index = allocated.index(most)
    op = program.ops[index]
    alive = [
        life
        for life in lives
        if life.birth <= index and (life.death is None or life.death >= index)
    ]
    return Peak(
        bytes=most,
        operator=index,
        name=op.name,
        scope=op.scope,
        phase=op.phase,
        alive=tuple(sorted(alive, key=lambda life: -life.bytes)),
    )
