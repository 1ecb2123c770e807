"""Knobs: one step under every setting that a reader may turn to, so that nothing need be built again.

A *position* is a workload (precision, optimizer, checkpointing) at every batch at once, and at evenly spaced sizes of its
images or sequences. A network runs the same operators at all of them, and every whole number about them (a count, a
storage's bytes, an axis) is a polynomial in both. Programs at neighbouring batches and sizes give the polynomials
exactly; one far away, the smallest size and the batch of 1 check them. Where they fail, the position is of the one size,
or of the one batch, that was asked for, and says why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ..errors import WeighError
from ..ops import optimizers, rule_of
from ..program import Op, Program
from ..workload import DTYPE_OF, Checkpointing, Optimizer, Precision, Workload
from .compute import Convention
from .growing import Degrees, Growing, constant, solved, solved_over_sizes
from .memory.checkpointing import repeated_blocks
from .memory.scaling import UnscalableError, check_operators
from .memory.timeline import Lifetime, held_as, lifetimes
from .sizes import Lattice, lattices, resized, size_of, strides
from .time.whatifs import Growth, alone, growths
from .weighing import Json, Weighing

Build = Callable[[Workload], Program]

PRECISIONS: tuple[Precision, ...] = ("float32", "amp-bf16", "bf16")
"""What most people train and infer in; fp16 takes the bytes of bf16, but for the scale of a loss."""

OPTIMIZERS = ("sgd", "momentum", "adam", "adamw", "adafactor", "adam8bit")
"""Those that most people train with, one of each amount of state: none, one number a weight, two, sums of rows and
columns, two bytes."""


DESCRIBED = "declared"
"""The rung of networks that are described layer by layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A step under one workload, at every batch from `smallest` to `largest`, None where there is no end.

    `program` is the step at one of them. `contract` is its weighing as plain data, peaks left out, whose
    numbers in the order in which they stand are `figures`. `lifetimes` are its storages, with their
    `bytes`. `kernels` are those of the step. `fixed` says why there is only one batch. `lattice` is the sizes that it is known at too, and where there is
    only one, `one_size` says why.
    """

    program: Program
    smallest: int
    largest: int | None
    fixed: str | None
    lattice: Lattice | None
    one_size: str | None
    contract: dict[str, Json]
    figures: Growing
    lifetimes: tuple[Lifetime, ...]
    bytes: Growing
    kernels: tuple[Growth, ...] = ()

    @property
    def workload(self) -> Workload:
        return self.program.workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A position that the network cannot take, and why."""

    workload: Workload
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """The positions that a reader may turn to, the one that was asked for first."""

    positions: tuple[Position, ...]
    refused: tuple[Refused, ...]


def knobs(
    build: Build,
    program: Program,
    *,
    convention: Convention = "macs",
    asked: Position | None = None,
) -> Knobs:
    """Every position around the one of `program`, which `build` makes under its workload; `asked` where it is known.

    Raises:
        WeighError: the network cannot be built again under the workload that it was built under.
    """
    if asked is None:
        asked = position(build, program.workload, convention=convention)
    found, refused = [asked], []
    steps = {_step(asked.workload): _Neighbour.of(asked)}
    for workload in _workloads(program):
        try:
            like = steps.get(_step(workload))
            turned = None if like is None else like.updated(build(workload), convention)
            if turned is None:
                turned = position(build, workload, convention=convention, like=asked)
                steps.setdefault(_step(workload), _Neighbour.of(turned))
            found.append(turned)
        except WeighError as error:
            refused.append(Refused(workload=workload, why=error.message))
    return Knobs(positions=tuple(found), refused=tuple(refused))


def _step(workload: Workload) -> tuple[str, str, str]:
    """What forward and backward depend on, of what the knobs turn: all but the rule of the update."""
    return (workload.precision, workload.mode, workload.checkpointing)


Terms = tuple[int | float, dict[Degrees, int]]
"""Of one number: what it is at a batch of 0, and what grows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Neighbour:
    """A position, and what of it grows, by where it stands."""

    position: Position
    growing: Mapping[object, Terms]

    @classmethod
    def of(cls, position: Position) -> _Neighbour:
        growing: dict[object, Terms] = {}
        places = _places(position.contract, position.lifetimes)
        for found in (position.figures, position.bytes):
            here, places = places[: len(found.zero)], places[len(found.zero) :]
            for degrees, column in found.terms:
                for place, zero, value in zip(here, found.zero, column, strict=True):
                    if value:
                        growing.setdefault(place, (zero, {}))[1][degrees] = value
        return cls(position=position, growing=growing)

    def updated(self, program: Program, convention: Convention) -> Position | None:
        """The position with another rule of update: what forward and backward take grows as it does here.

        Updates are of parameters, which no batch makes larger. None where a size does, and where forward and backward
        are not the same after all.
        """
        if ".parameters.total" in self.growing:
            return None
        snapshot = _Snapshot(program, convention)
        left = dict(self.growing)
        places = _places(snapshot.contract, snapshot.lifetimes)
        rows = [
            left.pop(place, (value, {}))
            for place, value in zip(places, snapshot.numbers, strict=True)
        ]
        if left:
            return None
        degrees = dict.fromkeys(each for _, grown in rows for each in grown)
        found = Growing.of(
            (zero for zero, _ in rows),
            {each: [grown.get(each, 0) for _, grown in rows] for each in degrees},
        )
        if found.at(program.workload.batch) != snapshot.numbers:
            return None
        like = self.position
        updated = snapshot.position(
            found,
            smallest=like.smallest,
            largest=like.largest,
            fixed=like.fixed,
            lattice=like.lattice,
            one_size=like.one_size,
        )
        return replace(updated, kernels=tuple(each.updated(program) for each in like.kernels))


def _places(contract: Json, lives: Sequence[Lifetime]) -> list[object]:
    """A name for each number of a snapshot, the same in programs that differ in their update alone."""
    found: list[object] = []
    _gather_paths(contract, "", found)
    seen: Counter[object] = Counter()
    for life in lives:
        place = (life.birth, life.category, life.scope, life.maker)
        seen[place] += 1
        found.append((*place, seen[place]))
    return found


def _gather_paths(record: Json, path: str, found: list[object]) -> None:
    """Adds where each number of plain data stands, in the order of :func:`numbers`."""
    if isinstance(record, int | float) and not isinstance(record, bool):
        found.append(path)
    elif isinstance(record, dict):
        for name, value in record.items():
            _gather_paths(value, f"{path}.{name}", found)
    elif isinstance(record, list):
        for index, value in enumerate(record):
            _gather_paths(value, f"{path}.{index}", found)


def position(
    build: Build,
    workload: Workload,
    *,
    convention: Convention = "macs",
    like: Position | None = None,
) -> Position:
    """The step under a workload at every batch and size; at its own alone where there are no polynomials.

    `like` is one whose sizes are known: this one mostly has the same.

    Raises:
        WeighError: the network cannot be built under the workload.
    """
    build = _remembered(build)
    asked = _Snapshot(build(workload), convention)

    def at(batch: int, size: int | None) -> _Snapshot:
        other = replace(asked.program.workload, batch=batch)
        return _Snapshot(build(other if size is None else resized(other, size)), convention)

    try:
        found = _Solver(at, asked).solved(like)
        return replace(found, kernels=growths(build, workload, found.lattice))
    except WeighError as error:
        return only(asked.program, error.message, convention=convention)


def only(program: Program, why: str, *, convention: Convention = "macs") -> Position:
    """The step at its own batch and size and no other."""
    snapshot = _Snapshot(program, convention)
    batch = program.workload.batch
    found = snapshot.position(
        constant(snapshot.numbers),
        smallest=batch,
        largest=batch,
        fixed=why,
        lattice=None,
        one_size=why,
    )
    return replace(found, kernels=(alone(program),))


def _remembered(build: Build) -> Build:
    """Builds each program once: storages and kernels are solved from the same ones."""
    known: dict[str, Program] = {}

    def built(workload: Workload) -> Program:
        name = repr(workload)
        if name not in known:
            known[name] = build(workload)
        return known[name]

    return built


class _Snapshot:
    """A program, and every number about it in one row."""

    def __init__(self, program: Program, convention: Convention) -> None:
        self.program = program
        self.lifetimes = lifetimes(program)
        self.contract = Weighing(program=program, convention=convention).counts()
        self.words = emptied(self.contract)
        self.figures = tuple(numbers(self.contract))
        self.bytes = tuple(life.bytes for life in self.lifetimes)
        self.numbers = (*self.figures, *self.bytes)

    def check_like(self, other: _Snapshot) -> None:
        """Refuses the program of another batch or size that is not this one with other numbers.

        Raises:
            UnscalableError: operators, lifetimes, or what is said about them differ.
        """
        check_operators(self.program, other.program)
        for one, two in zip(self.lifetimes, other.lifetimes, strict=True):
            if _place(one) != _place(two):
                raise UnscalableError(
                    f"what {one.maker} makes lives longer at one size than at another"
                )
        if self.words != other.words:
            raise UnscalableError("its layers are others at one size than at another")

    def position(
        self,
        found: Growing,
        *,
        smallest: int,
        largest: int | None,
        fixed: str | None,
        lattice: Lattice | None,
        one_size: str | None,
    ) -> Position:
        figures, held = found.cut(len(self.figures), len(self.bytes))
        return Position(
            program=self.program,
            smallest=smallest,
            largest=largest,
            fixed=fixed,
            lattice=lattice,
            one_size=one_size,
            contract=self.contract,
            figures=figures,
            lifetimes=self.lifetimes,
            bytes=held,
        )


class _Solver:
    """The polynomials of the snapshots that `at` takes at a batch and a size, around the one that was asked for."""

    def __init__(self, at: Callable[[int, int | None], _Snapshot], asked: _Snapshot) -> None:
        self._at = at
        self._asked = asked
        self._batch = asked.program.workload.batch
        self._size = size_of(asked.program.workload)
        self._start = max(self._batch, 2)

    def solved(self, like: Position | None) -> Position:
        """The position, at the sizes of `like` where it has them.

        Raises:
            UnscalableError: there are no polynomials that hold at the batch that was asked for and far away.
            WeighError: the network cannot be built at those batches.
        """
        found, lattice, one_size = self._over_sizes(like)
        if found is None:
            found = solved(self._row, self._start)
        smallest = 2
        if lattice is not None and self._holds(found, 1, lattice, lattice.least):
            smallest = 1
        else:
            smallest = 1 if self._holds(found, 1) else 2
            if lattice is not None:
                lattice = self._from_smaller(found, smallest, lattice)
        if self._batch < smallest:
            raise UnscalableError("a batch of 1 runs otherwise than larger ones")
        return self._asked.position(
            found,
            smallest=smallest,
            largest=None,
            fixed=None,
            lattice=lattice,
            one_size=one_size,
        )

    def _over_sizes(
        self, like: Position | None
    ) -> tuple[Growing | None, Lattice | None, str | None]:
        """The polynomials over sizes, and which; or why there is only one."""
        size = self._size
        if size is None:
            return None, None, "its input is neither a square image nor sequences of one length"
        if like is not None and like.lattice is None:
            return None, None, like.one_size
        tried = list(strides(self._asked.program, size))
        if like is not None and like.lattice is not None:
            tried.sort(key=like.lattice.stride.__ne__)
        refused: dict[int, str] = {}
        for stride in tried:
            if any(coarser % stride == 0 and coarser * stride > 0 for coarser in refused):
                continue  # it has those sizes too
            for lattice in lattices(size, stride):
                try:
                    found = solved_over_sizes(
                        partial(self._row_on, lattice),
                        self._start,
                        lattice.most,
                        degree=lattice.degree,
                    )
                    return found, lattice, None
                except WeighError as error:
                    refused.setdefault(stride, error.message)
        return None, None, next(iter(refused.values()))

    def _from_smaller(self, found: Growing, smallest: int, lattice: Lattice) -> Lattice:
        """The lattice from its smallest size at which the polynomials hold."""
        for least in (lattice.least, lattice.least // 2):
            if self._holds(found, smallest, lattice, least):
                return replace(lattice, least=least)
        return replace(lattice, least=0)

    def _holds(
        self, found: Growing, batch: int, lattice: Lattice | None = None, steps: int = 0
    ) -> bool:
        try:
            row = self._row(batch) if lattice is None else self._row_on(lattice, batch, steps)
        except WeighError:
            return False
        return found.at(batch, steps) == row

    def _row_on(self, lattice: Lattice, batch: int, steps: int) -> Sequence[int | float]:
        return self._row(batch, lattice.size(steps) if steps else None)

    def _row(self, batch: int, size: int | None = None) -> Sequence[int | float]:
        own = batch == self._batch and size is None
        snapshot = self._asked if own else self._at(batch, size)
        self._asked.check_like(snapshot)
        return snapshot.numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """An operator at every batch: its operations, and the sizes that its formula has names for."""

    operations: Growing
    names: tuple[str, ...]
    sizes: Growing


def sized(
    build: Build,
    program: Program,
    ops: Sequence[Op],
    *,
    lattice: Lattice | None = None,
    convention: Convention = "macs",
) -> tuple[Sized, ...]:
    """Some operators of the program at every batch and size; at its own alone where there are no polynomials."""
    places = {id(op): index for index, op in enumerate(program.ops)}
    chosen = [places[id(op)] for op in ops]
    names = [tuple(sizes_of(op)) for op in ops]

    def of(other: Program) -> Sequence[int | float]:
        weighing = Weighing(program=other, convention=convention)
        row: list[int | float] = []
        for index, known in zip(chosen, names, strict=True):
            sizes = sizes_of(other.ops[index])
            if tuple(sizes) != known:
                raise UnscalableError("axes that are told apart at one batch are not at another")
            row += [weighing.operations((other.ops[index],)), *sizes.values()]
        return row

    def at(batch: int, steps: int = 0) -> Sequence[int | float]:
        workload = replace(program.workload, batch=batch)
        other = build(resized(workload, lattice.size(steps)) if lattice and steps else workload)
        check_operators(program, other)
        return of(other)

    start = max(program.workload.batch, 2)
    try:
        if lattice is None:
            found = solved(at, start)
        else:
            found = solved_over_sizes(at, start, lattice.most, degree=lattice.degree)
    except WeighError:
        found = constant(of(program))
    pieces = iter(found.cut(*(length for known in names for length in (1, len(known)))))
    return tuple(Sized(operations=next(pieces), names=known, sizes=next(pieces)) for known in names)


def emptied(record: Json) -> Json:
    """Plain data without its numbers: a 0 stands for each."""
    if isinstance(record, dict):
        return {name: emptied(value) for name, value in record.items()}
    if isinstance(record, list):
        return [emptied(value) for value in record]
    if isinstance(record, int | float) and not isinstance(record, bool):
        return 0
    return record


def numbers(record: Json) -> list[int | float]:
    """The numbers of plain data, in the order in which they stand."""
    found: list[int | float] = []
    _gather(record, found)
    return found


def _gather(record: Json, found: list[int | float]) -> None:
    """Adds the numbers; a function of its own and no generator, since a page has half a million of them."""
    if isinstance(record, int | float) and not isinstance(record, bool):
        found.append(record)
    elif isinstance(record, dict):
        for value in record.values():
            _gather(value, found)
    elif isinstance(record, list):
        for value in record:
            _gather(value, found)


def held_places(lives: Sequence[Lifetime]) -> Mapping[int, int]:
    """From the place of an output that a loop still holds to the place of the output that it is."""
    places = {life.storage: place for place, life in enumerate(lives)}
    return {
        place: places[held_as(life.storage)]
        for place, life in enumerate(lives)
        if life.category == "held"
    }


def _place(life: Lifetime) -> tuple[object, ...]:
    return (life.storage, life.birth, life.first, life.death, life.category, len(life.shape))


def _workloads(program: Program) -> Iterator[Workload]:
    """The workloads around one: every precision, optimizer and checkpointing, with everything else as it is.

    A network that is described is built in a fraction of a second, and every combination is there; one that is
    traced takes seconds, and one thing at a time is turned.
    """
    asked = program.workload
    seen = {key(asked)}
    optimizer_names = (asked.optimizer, *map(optimizers.optimizer, OPTIMIZERS))
    checkpointings: tuple[Checkpointing, ...] = (
        ("none", "blocks") if repeated_blocks(program) else ("none",)
    )
    for precision in dict.fromkeys((asked.precision, *PRECISIONS)):
        for optimizer in (None, *optimizer_names):
            for checkpointing in checkpointings if optimizer is not None else ("none",):
                if asked.dtype != "float32" and precision != asked.precision:
                    continue  # parameters of another dtype were asked for
                workload = _turned(asked, precision, optimizer, checkpointing)
                far = program.rung != DESCRIBED and _turns(asked, workload) > 1
                if key(workload) not in seen and not far:
                    seen.add(key(workload))
                    yield workload


def _turns(one: Workload, other: Workload) -> int:
    """How many knobs stand otherwise; inference has no checkpointing to turn."""
    pairs = list(zip(key(one), key(other), strict=True))
    if not (one.training and other.training):
        pairs = pairs[:2]
    return sum(a != b for a, b in pairs)


def _turned(
    asked: Workload,
    precision: Precision,
    optimizer: Optimizer | None,
    checkpointing: Checkpointing,
) -> Workload:
    if precision in DTYPE_OF:  # what goes in follows, unless it is of a dtype of its own
        inputs = tuple(
            replace(spec, dtype=None) if spec.dtype == asked.dtype else spec
            for spec in asked.inputs
        )
        asked = replace(asked, inputs=inputs)
    if optimizer is None:
        return replace(
            asked,
            mode="inference",
            precision=precision,
            optimizer=None,
            checkpointing="none",
            accumulation=1,
            trained=(),
            set_to_none=True,
            per_sample_gradients=False,
            input_gradient=False,
        )
    return replace(
        asked,
        mode="training",
        precision=precision,
        optimizer=optimizer,
        checkpointing=checkpointing,
        no_grad=True,
    )


def key(workload: Workload) -> tuple[str, str, str]:
    """What tells positions apart: precision, optimizer ('' in inference), checkpointing."""
    text = workload.optimizer.text if workload.optimizer else ""
    return (workload.precision, text if workload.training else "", workload.checkpointing)


def sizes_of(op: Op) -> Mapping[str, int]:
    """The sizes of an operator's operands by the names that its formula has for them."""
    rule = rule_of(op.kind)
    found: dict[str, int] = {}
    if rule is not None:
        for names, tensor in zip(rule.axes(op), op.inputs, strict=True):
            for name, size in zip(names, tensor.shape, strict=True):
                if isinstance(name, str):
                    found.setdefault(name, size)
    return found
