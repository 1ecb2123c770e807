"""What a Python program calls: weigh a network, look up what is known.

    >>> import weighbridge
    >>> report = weighbridge.weigh("vgg16", batch=8)
    >>> report.parameters.total
    138357544

A :class:`Report` prints as the table, shows as HTML in a notebook, and gives its figures as plain data. What only
some questions need (devices, the allocator, every report) is loaded when one of them is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Literal,
    Protocol,
    TypedDict,
    Unpack,
    final,
)

from . import frontends
from .analyses.compute import CONVENTIONS, Compute, Convention, Uncounted
from .analyses.parameters import Parameters
from .analyses.weighing import Json, Weighing
from .errors import UsageError
from .network import Network
from .ops import Cost, Operator, rules
from .program import Phase, Program
from .settings import Inputs, Settings
from .workload import Workload, check_choice

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch.nn import Module

    from .analyses.layers import Layer
    from .analyses.memory.largest import Largest, Placed, Room
    from .analyses.memory.resident import Resident
    from .analyses.memory.timeline import Round
    from .analyses.memory.usage import Memory
    from .analyses.space import Space
    from .analyses.time.step import StepTime, Untimed
    from .devices import Device
    from .papers import PaperTable
    from .reports.sheet import Sheet
    from .reports.table import Line
    from .rooms import On

MemoryBy = Literal["step", "role", "module", "tensor"]


class Choice(TypedDict, total=False):
    """What a table shows: how deep, every copy of a block, which columns, formulas, a row of what."""

    depth: int | None
    each: bool
    columns: Sequence[str] | None
    formulas: bool
    by: Literal["module", "operator"]


class Printer(Protocol):
    """IPython's printer, as far as it is used."""

    def text(self, text: str) -> None:
        """Prints the text."""


def weigh(
    model: str | Program | Module | Callable[..., object],
    inputs: Inputs | None = None,
    *,
    on: On | None = None,
    context: str | int | None = None,
    alloc_conf: str | None = None,
    convention: Convention = "macs",
    strict: bool = False,
    **settings: Unpack[Settings],
) -> Report:
    """Weighs a network: its parameters, operations and bytes, by layer.

    Args:
        model: a name ('resnet50', 'timm:resnet50'), a line of notation, 'file.py:Name' (which runs the
            file), a PyTorch module or a callable, or a Program.
        inputs: shapes without the batch axis; found where they can be when left out. For a module or a
            callable also its arguments themselves, nested as it takes them: example tensors (of which
            shape and dtype are used, batch axis included) and shapes in mappings and sequences.
        on: devices to place the step on: 'rtx-4090', 'rtx-4090,a100-80gb', '24GiB', 'cpu:32GiB', 'here'. The
            backend is theirs where they agree and none is asked for.
        context: bytes that are taken beside tensors, or '512MiB', in place of what the devices' cards say.
        alloc_conf: a value of PYTORCH_CUDA_ALLOC_CONF.
        convention: how totals are counted: 'macs', 'lecture', 'exact' or 'paper'.
        strict: refuse a weighing in which an operator was not counted.
        settings: how the network is used, such as `batch=32, train="adamw"`:
            :class:`~weighbridge.settings.Settings` lists them all.

    Raises:
        UsageError: something is asked for that does not exist or makes no sense.
        WeighError: the network cannot be built, run or read.
        StrictError: `strict`, and an operator has no rule.
    """
    check_choice("convention", convention, tuple(CONVENTIONS))
    places: tuple[Room, ...] = ()
    if on is not None:
        from .rooms import backend, rooms

        places = rooms(on, context=context, alloc_conf=alloc_conf)
        kernels = {backend(room.device) for room in places}
        if len(kernels) == 1 and "backend" not in settings:
            settings["backend"] = kernels.pop()
    network = Network(model, inputs)
    program = network.program(network.workload(settings))
    weighing = Weighing(program=program, convention=convention)
    if strict:
        weighing.check_strict()
    return Report(weighing, network, places)


@final
class Report:
    """What was found about one network under one workload.

    Printed, it is the table; in a notebook, an HTML table. `weighing` holds the analyses.
    """

    def __init__(
        self,
        weighing: Weighing,
        network: Network | None = None,
        rooms: Sequence[Room] = (),
    ) -> None:
        self.weighing = weighing
        self._network = network or Network(weighing.program)
        self._rooms = tuple(rooms)

    # -- queries ---------------------------------------------------------------------------------

    @property
    def program(self) -> Program:
        return self.weighing.program

    @property
    def network(self) -> str:
        return self.program.network

    @property
    def source(self) -> str:
        """Where the network came from, such as 'zoo:vgg16' or 'torchvision:resnet50'."""
        return self.program.source

    @property
    def workload(self) -> Workload:
        """What the step is, with the inputs that were used."""
        return self.program.workload

    @property
    def parameters(self) -> Parameters:
        return self.weighing.parameters

    @property
    def compute(self) -> Compute:
        """Cost by phase: `compute.forward.macs`, `compute.backward.additions`, ..."""
        return self.weighing.compute

    @property
    def space(self) -> Space:
        """Bytes by what they are for, and the textbook's operational space."""
        return self.weighing.space

    @property
    def memory(self) -> Memory:
        """Tensors over the steps of a loop: `memory.peak_bytes`, `.categories`, `.timeline`, `.alive_at_peak`."""
        return self.weighing.memory

    @cached_property
    def placed(self) -> tuple[Placed, ...]:
        """The step on each of the devices that were named, with the largest batch that fits there."""
        if not self._rooms:
            return ()
        from .analyses.memory.largest import Placed

        return tuple(
            Placed(
                resident=self._resident(room),
                largest=None if room.device.capacity_bytes is None else self._largest(room),
            )
            for room in self._rooms
        )

    def fits(
        self, on: On, *, context: str | int | None = None, alloc_conf: str | None = None
    ) -> Resident:
        """What the step takes of a device; true where it surely fits: `if report.fits("a100-80gb"):`.

        Raises:
            UsageError: there is no such device, several are named, or nobody says how much memory it has.
        """
        from .analyses.memory.resident import capacity_of

        room = _one(on, context, alloc_conf)
        capacity_of(room.device)
        return self._resident(room)

    def largest_batch(
        self, on: On, *, context: str | int | None = None, alloc_conf: str | None = None
    ) -> Largest:
        """The largest batch that fits on a device, with the loops built at it and after it.

        Raises:
            UsageError: as :meth:`fits` does, or the report is of a Program, which has one batch.
        """
        return self._largest(_one(on, context, alloc_conf))

    def max_batch(
        self, on: On, *, context: str | int | None = None, alloc_conf: str | None = None
    ) -> int:
        """The largest batch that fits on a device; 0 where none does. Raises as :meth:`largest_batch` does."""
        return self.largest_batch(on, context=context, alloc_conf=alloc_conf).size

    @cached_property
    def times(self) -> tuple[StepTime | Untimed, ...]:
        """The time of a step on each of the devices that were named, or why it is not known."""
        if not self._rooms:
            return ()
        from .analyses.time.step import step_time_or_why
        from .rooms import clock

        return tuple(
            step_time_or_why(
                self._program_on(room.device), clock(room.device, self.workload.precision)
            )
            for room in self._rooms
        )

    def time(self, on: On) -> StepTime:
        """How long a step takes on a device: `report.time("rtx-4090").seconds`.

        Raises:
            UsageError: there is no such device, several are named, or it has no rate for what the step computes.
        """
        from .analyses.time.step import step_time
        from .rooms import clock

        device = _one(on, None, None).device
        return step_time(self._program_on(device), clock(device, self.workload.precision))

    @property
    def _known_times(self) -> tuple[StepTime, ...]:
        if not self._rooms:
            return ()
        from .analyses.time.step import StepTime

        return tuple(time for time in self.times if isinstance(time, StepTime))

    def _resident(self, room: Room) -> Resident:
        from .analyses.memory.timeline import lifetimes

        program = self._program_on(room.device)
        return room.resident(
            self.memory.lifetimes if program is self.program else lifetimes(program)
        )

    def _program_on(self, device: Device) -> Program:
        """The step with the device's kernels."""
        workload = self._workload_on(device)
        if self._network.fixed or workload.backend == self.workload.backend:
            return self.program
        return self._network.program(workload)

    def _largest(self, room: Room) -> Largest:
        from .analyses.memory.largest import largest_batch

        return largest_batch(self._network.program, self._workload_on(room.device), room)

    def _workload_on(self, device: Device) -> Workload:
        from .rooms import backend

        return replace(self.workload, backend=backend(device))

    @property
    def warnings(self) -> tuple[str, ...]:
        return self.weighing.warnings

    @property
    def uncounted(self) -> tuple[Uncounted, ...]:
        """Operators without a rule, with how often they ran and the bytes that went through them."""
        return self.weighing.compute.uncounted

    def layers(self, depth: int | None = None) -> tuple[Layer, ...]:
        """Cost by module, folded to the depth; every operator and parameter is in exactly one row."""
        return self.weighing.layers(depth)

    def by_operator(self, phase: Phase | None = None) -> Mapping[str, tuple[int, Cost]]:
        """From the kind of operator to how often it ran and what that cost, dearest first."""
        return self.weighing.by_operator(phase)

    # -- for people ------------------------------------------------------------------------------

    def sheet(
        self,
        *,
        depth: int | None = None,
        each: bool = True,
        columns: Sequence[str] | None = None,
        formulas: bool = False,
        by: Literal["module", "operator"] = "module",
    ) -> Sheet:
        """Columns, rows and totals, before they are given a form.

        Without `each`, the copies of a repeated block are added up on one row.

        Raises:
            UsageError: there is no such column, or columns or formulas are asked for by operator.
        """
        if by == "operator":
            from .reports.operators import operator_sheet

            if columns is not None or formulas:
                raise UsageError(
                    "columns and formulas are of layers, and rows by operator were asked for",
                    "leave out by='operator', or columns and formulas",
                )
            return operator_sheet(self.weighing, times=self._known_times)
        from .reports.layers import layer_sheet

        return layer_sheet(
            self.weighing,
            depth=depth,
            columns=columns,
            formulas=formulas,
            merge=not each,
            times=self._known_times,
        )

    def table(
        self,
        *,
        depth: int | None = None,
        each: bool = False,
        columns: Sequence[str] | None = None,
        formulas: bool = False,
        width: int | None = None,
    ) -> str:
        """The table of layers alone; `depth` None shows as many levels as fit a screen.

        Raises:
            UsageError: there is no such column.
        """
        from .reports.table import render, written

        sheet = self.sheet(
            depth=self._depth(depth, each), each=each, columns=columns, formulas=formulas
        )
        return written(render(sheet, width=width), color=False)

    def screen(
        self,
        *,
        depth: int | None = None,
        each: bool = False,
        columns: Sequence[str] | None = None,
        formulas: bool = False,
        by: Literal["module", "operator"] = "module",
        width: int | None = None,
        color: bool = False,
    ) -> str:
        """Everything that `weigh NETWORK` prints."""
        from .reports.screen import screen

        sheet = self.sheet(
            depth=self._depth(depth, each), each=each, columns=columns, formulas=formulas, by=by
        )
        above = self._verdicts(width)
        return screen(
            self.weighing, sheet, above=above, below=self._of_the_time, width=width, color=color
        )

    @cached_property
    def _of_the_time(self) -> tuple[str, ...]:
        """What the table's times call for: which layers wait for their weights."""
        if len(self._known_times) != 1:
            return ()
        from .analyses.time.outsized import outsized
        from .reports.time import waiting

        (time,) = self._known_times
        found = outsized(time, None if self._network.fixed else self._network.program)
        return () if found is None else (waiting(found, time.program.workload.batch),)

    def _verdicts(self, width: int | None) -> tuple[Line, ...]:
        if not self._rooms:
            return ()
        from .reports.side_by_side import verdicts

        return verdicts(self.placed, self.times, width=width)

    def _below(self) -> tuple[str, ...]:
        """What stands below a table in a file: the verdicts, and the coverage."""
        from .reports.screen import remarks

        if not self._rooms:
            return remarks(self.weighing)
        from .reports.side_by_side import sentences

        return (
            *sentences(self.placed, self.times),
            *self._of_the_time,
            *remarks(self.weighing),
        )

    def tree(
        self, *, depth: int | None = None, width: int | None = None, color: bool = False
    ) -> str:
        """The module tree as `repr(model)` shows it, with each module's parameters and operations."""
        from .reports.screen import framed
        from .reports.tree import tree

        return framed(self.weighing, tree(self.weighing, depth=depth), width=width, color=color)

    def space_screen(self, *, width: int | None = None, color: bool = False) -> str:
        """Space in every precision, by both textbook accountings, every optimizer and learning rule."""
        from .reports.screen import framed
        from .reports.space import space

        return framed(self.weighing, space(self.weighing, width=width), width=width, color=color)

    def memory_sheet(self, by: MemoryBy = "step", *, depth: int | None = None) -> Sheet:
        """The curve over a step, or what is alive at the peak by role, by module, or the largest tensors."""
        from .reports import memory

        usage = self.memory
        if by == "step":
            return memory.curve_sheet(usage, usage.timeline.round)
        if by == "module":
            return memory.module_sheet(usage, depth=depth)
        return memory.role_sheet(usage) if by == "role" else memory.tensor_sheet(usage)

    def memory_screen(
        self,
        *,
        step: Round | None = None,
        depth: int | None = None,
        width: int | None = None,
        color: bool = False,
    ) -> str:
        """Everything that `weigh memory NETWORK` prints; `step` None shows the step with the peak."""
        from .reports import memory
        from .reports.screen import framed
        from .reports.verdict import verdict

        body = memory.screen(self.weighing, round=step, depth=depth, width=width)
        above = [line for placed in self.placed for line in verdict(placed, width=width)]
        body = (*above, (), *body) if above else body
        return framed(self.weighing, body, width=width, color=color)

    def save_memory(self, path: str | Path, by: MemoryBy = "step") -> None:
        """Writes memory over the step in the form that the suffix names, as :meth:`save` does.

        Raises:
            UsageError: the suffix names no form, or the file cannot be written.
        """
        from .reports import files
        from .reports.screen import title

        files.save(
            path,
            json=self.memory_json,
            screen=self.memory_screen,
            formed=lambda suffix: files.formed(
                self.memory_sheet(by),
                suffix,
                title=title(self.weighing),
                footing=self._below(),
            ),
        )

    def memory_json(self) -> str:
        """The JSON contract with the curve and what is alive at the peak."""
        from .reports import json, memory

        whole = self.to_dict()
        held = whole["memory"]
        assert isinstance(held, dict)
        return json.render({**whole, "memory": {**held, **memory.record(self.memory)}})

    def __str__(self) -> str:
        return self.screen()

    def __repr__(self) -> str:
        from .reports.screen import coverage

        return f"<weighbridge.Report of {self.network}: {coverage(self.weighing)}>"

    def _repr_html_(self) -> str:
        from .reports import html
        from .reports.screen import title

        sheet = self.sheet(depth=self._depth(None, each=False), each=False)
        table = html.render(sheet, title=title(self.weighing), footing=self._below())
        return html.framed(self._page(notebook=True), table, title=self.network)

    def _repr_pretty_(self, printer: Printer, cycle: bool) -> None:
        """What IPython's terminal shows: the table."""
        printer.text("<weighbridge.Report>" if cycle else str(self))

    # -- for programs and files ------------------------------------------------------------------

    def to_dict(self) -> dict[str, Json]:
        """The JSON contract `weighbridge/1` as plain data."""
        whole = self.weighing.to_dict()
        if not self._rooms:
            return whole
        from .reports.verdict import record

        places = zip(self.placed, self.times, strict=True)
        return {**whole, "devices": [record(placed, time) for placed, time in places]}

    def to_json(self) -> str:
        """The JSON contract as text; every count a whole number in full."""
        from .reports import json

        return json.render(self.to_dict())

    def to_csv(self, **choice: Unpack[Choice]) -> str:
        """The layers as CSV, all levels unless a depth is given."""
        return self._formed(".csv", choice)

    def to_markdown(self, **choice: Unpack[Choice]) -> str:
        """The layers as a Markdown table."""
        return self._formed(".md", choice)

    def to_latex(self, **choice: Unpack[Choice]) -> str:
        """The layers as a LaTeX tabular that needs no package."""
        return self._formed(".tex", choice)

    def to_html(self, **choice: Unpack[Choice]) -> str:
        """The layers as an HTML table, whole in itself."""
        return self._formed(".html", choice)

    def page(self) -> str:
        """The report as one file for a browser: figures, layers and memory, with knobs that recompute them.

        Raises:
            WeighError: the network cannot be built again.
        """
        return self._page(notebook=False)

    def _page(self, *, notebook: bool) -> str:
        from .pages import render

        sheet = self.sheet(depth=self._depth(None, each=False), each=False)
        return render(
            self.weighing,
            self._network,
            self._rooms,
            self.placed,
            self.times,
            sheet,
            notebook=notebook,
        )

    def to_dataframe(self, **choice: Unpack[Choice]) -> DataFrame:
        """The layers as a pandas DataFrame, all levels unless a depth is given.

        Raises:
            WeighError: pandas is not installed.
        """
        from .reports import dataframe

        return dataframe.render(self.sheet(**choice))

    def save(self, path: str | Path, **choice: Unpack[Choice]) -> None:
        """Writes a file in the form that its suffix names: .json .csv .md .tex .html .txt.

        .html is the page; where something is chosen that only a table has, it is the table.

        Raises:
            UsageError: the suffix names no form, or the file cannot be written.
        """
        from .reports import files

        def formed(suffix: str) -> str:
            if suffix == ".html" and not _of_a_table(choice):
                return self.page()
            return self._formed(suffix, choice)

        files.save(path, json=self.to_json, screen=lambda: self.screen(**choice), formed=formed)

    def _formed(self, suffix: str, choice: Choice) -> str:
        from .reports import files
        from .reports.screen import title

        if suffix != ".csv":  # what a person reads is folded to what a screen takes
            each = choice.get("each", False)
            choice = {**choice, "each": each, "depth": self._depth(choice.get("depth"), each)}
        return files.formed(
            self.sheet(**choice),
            suffix,
            title=title(self.weighing),
            footing=self._below(),
        )

    def _depth(self, depth: int | None, each: bool) -> int | None:
        if depth is not None:
            return depth
        from .reports.layers import fitting_depth

        return fitting_depth(self.weighing, merge=not each)


def _of_a_table(choice: Choice) -> bool:
    """Whether something is chosen that only a table has: how deep, which columns, formulas, rows of what."""
    usual: Choice = {
        "depth": None, "each": False, "columns": None, "formulas": False, "by": "module",
    }  # fmt: skip
    return any(value != usual[name] for name, value in choice.items())  # type: ignore[literal-required]


def _one(on: On, context: str | int | None, alloc_conf: str | None) -> Room:
    """The one device that is named.

    Raises:
        UsageError: there is no such device, or several are named.
    """
    from .rooms import rooms

    room, *others = rooms(on, context=context, alloc_conf=alloc_conf)
    if others:
        raise UsageError(
            f"{len(others) + 1} devices are named, and one is asked about",
            f"one of them is {room.device.key or room.device.name}",
        )
    return room


@final
class PaperReport:
    """A published table beside the computed one."""

    def __init__(self, table: PaperTable) -> None:
        self.table = table

    def screen(self, *, width: int | None = None, color: bool = False) -> str:
        """Everything that `weigh paper NAME` prints."""
        from .reports import paper

        return paper.render(self.table, width=width, color=color)

    def __str__(self) -> str:
        return self.screen()

    def to_dict(self) -> dict[str, Json]:
        """Every cell, published and computed, as plain data."""
        from .reports import paper

        return paper.to_dict(self.table)

    def to_json(self) -> str:
        """The same as text."""
        from .reports import json

        return json.render(self.to_dict())


def paper(name: str) -> PaperReport:
    """A published table by its network's name ('vgg', 'googlenet', 'resnet', 'densenet').

    Raises:
        UsageError: there is no such table.
    """
    from . import papers

    check_choice("paper", name, papers.names())
    return PaperReport(papers.table(name))


def networks(frontend: str | None = None) -> dict[str, tuple[str, ...]]:
    """The names that each frontend answers to; none for a frontend whose package is not installed.

    Raises:
        UsageError: no frontend is called so.
    """
    if frontend is not None:
        check_choice("frontend", frontend, frontends.BARE)
    chosen = frontends.BARE if frontend is None else (frontend,)
    return {name: frontends.names(name) for name in chosen}


def operators() -> tuple[Operator, ...]:
    """Every operator that has a rule."""
    return rules()
