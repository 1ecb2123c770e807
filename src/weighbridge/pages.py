"""Pages: a report as one file that recomputes itself when a knob is moved (`reports/page`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from . import papers
from .analyses.knobs import DESCRIBED, Knobs, Position, knobs, only, position, sized
from .analyses.memory.fit import fit
from .analyses.memory.largest import Placed, Room
from .analyses.time.clock import Clock
from .analyses.time.step import StepTime, Untimed
from .analyses.weighing import Weighing
from .devices import Device, load_all
from .errors import WeighError
from .frontends import zoo
from .network import Network
from .program import Op, Program
from .reports import page
from .reports.formulas import Board, Written
from .reports.page.published import Published, published
from .reports.page.record import Asked, Formulas, on, record
from .reports.sheet import Sheet
from .reports.side_by_side import sentences
from .reports.verdict import between
from .rooms import backend, clock
from .workload import Workload

SAVED = "report.save('report.html')"


def render(
    weighing: Weighing,
    network: Network,
    rooms: Sequence[Room],
    placed: Sequence[Placed],
    times: Sequence[StepTime | Untimed],
    sheet: Sheet,
    *,
    notebook: bool = False,
) -> str:
    """The page of a weighing, placed and timed on the devices of some rooms; `sheet` is its table.

    In a notebook, where nobody asked for a page and waits for it, nothing else is built that takes long.
    """
    settings = any(room.settings is not None for room in rooms)
    asked_for = _asked_for(weighing, network, notebook=notebook)
    formulas = _formulas(weighing, network, asked_for)
    devices = () if settings else _offered(weighing, rooms)
    clocks = tuple(map(_clock, devices))
    asked = Asked(
        name=network.given or weighing.program.network,
        inputs_given=network.inputs_given,
        rest=" ".join(rest(weighing)),
        devices=devices,
        clocks=clocks,
        times=tuple(_untold(devices, clocks, rooms, times, asked_for)),
        placed=bool(rooms) and not settings,
        said=sentences(placed, times) if settings else (),
        advice=_advice(weighing, network, rooms, placed),
        formulas=formulas,
    )
    turned = Knobs(positions=(asked_for,), refused=())
    if not network.fixed and not notebook:
        turned = knobs(
            network.program, weighing.program, convention=weighing.convention, asked=asked_for
        )
    found = record(weighing, turned, asked)
    return page.render(
        weighing, found, placed=placed, times=times, sheet=sheet, papers=_papers(weighing)
    )


def _papers(weighing: Weighing) -> tuple[Published, ...]:
    """The published table of the network's family, where there is one: tables are named by families."""
    _, _, name = weighing.program.source.partition(":")
    family = zoo.family(name)
    if family not in papers.names():
        return ()
    return (published(papers.table(family), zoo.canonical(name) or name),)


def _asked_for(weighing: Weighing, network: Network, *, notebook: bool) -> Position:
    """The position of the knobs that was asked for; of one batch where the network is a Program, which is one step."""
    program, convention = weighing.program, weighing.convention
    if network.fixed:
        why = "this is one step as it ran, and cannot be built again"
        return only(program, why, convention=convention)
    if notebook and program.rung != DESCRIBED:
        return only(program, f"{SAVED} has the others", convention=convention)
    return position(network.program, program.workload, convention=convention)


def _offered(weighing: Weighing, rooms: Sequence[Room]) -> tuple[Device, ...]:
    """The devices that were named, and every other on which the same kernels run, as far as their memory is known."""
    named = tuple(room.device for room in rooms if room.device.capacity_bytes is not None)
    kernels = weighing.program.workload.backend
    others = (
        device
        for device in load_all()
        if device.capacity_bytes is not None
        and backend(device) == kernels
        and on(device) not in set(map(on, named))
    )
    return (*named, *sorted(others, key=lambda device: device.name))


def _clock(device: Device) -> Clock | None:
    """The device's clock; None where it is the curves of this machine's calibration, which pages do not carry."""
    found = clock(device, "float32")
    return found if found.measured is None else None


def _untold(
    devices: Sequence[Device],
    clocks: Sequence[Clock | None],
    rooms: Sequence[Room],
    times: Sequence[StepTime | Untimed],
    asked: Position,
) -> Iterator[StepTime | Untimed | None]:
    """The time of the step that was asked for on each device, where it is known and the page cannot work it out."""
    known = {on(room.device): time for room, time in zip(rooms, times, strict=True)}
    covered = any(each.covers(asked.workload.batch) for each in asked.kernels)
    for device, rates in zip(devices, clocks, strict=True):
        yield None if rates is not None and covered else known.get(on(device))


def _advice(
    weighing: Weighing, network: Network, rooms: Sequence[Room], placed: Sequence[Placed]
) -> str:
    """The first of what would make the step fit on the first device; nothing where it does."""
    if not placed or network.fixed or placed[0].resident.answer in ("fits", None):
        return ""
    changes = fit(network.program, weighing.program.workload, rooms[0]).changes
    if not changes or changes[0].resident.answer != "fits":
        return "no change that is known here makes it fit"
    best = changes[0]
    note = f" ({best.note})" if best.note else ""
    return f"makes it fit: {best.text}{note}, peak {between(best.resident.total)}"


def _formulas(weighing: Weighing, network: Network, asked: Position) -> dict[str, Formulas]:
    """The formulas of every layer that has one, at every batch and size where they are known to be."""
    board = Board(weighing)
    found = {layer.scope: board.formulas(layer) for layer in weighing.layers()}
    lines: list[Written] = [line for shown, _ in found.values() for line in shown]
    ops: list[Op] = [line.ops[0] for line in lines]

    def build(workload: Workload) -> Program:
        if asked.fixed is not None:
            raise WeighError(asked.fixed)
        return network.program(workload)

    grown = iter(
        sized(build, weighing.program, ops, lattice=asked.lattice, convention=weighing.convention)
    )
    return {
        scope: Formulas(lines=tuple((line, next(grown)) for line in shown), rest=len(rest))
        for scope, (shown, rest) in found.items()
        if shown
    }


def rest(weighing: Weighing) -> Iterator[str]:
    """What the command is given beside what the knobs set."""
    workload = weighing.program.workload
    if weighing.convention != "macs":
        yield f"--convention {weighing.convention}"
    for option, asked in (
        (f"--accumulate {workload.accumulation}", workload.accumulation > 1),
        (f"--loss {workload.loss}", workload.loss != "auto"),
        ("--keep-gradients", not workload.set_to_none),
        ("--per-sample-gradients", workload.per_sample_gradients),
        ("--input-gradient", workload.input_gradient),
        ("--grad", not workload.no_grad),
        ("--channels-last", workload.layout == "channels-last"),
        ("--compile", workload.compiled),
        (f"--threads {workload.threads}", workload.threads is not None),
        *((f"--train-only {scope}", True) for scope in workload.trained),
    ):
        if asked:
            yield option
