"""The record that a page carries: what the analyses found, in the form that its program reads.

The head is plain JSON. A position of the knobs is packed apart from it, deflated and in base64, and unpacked when a
reader turns to it. Texts that all positions use stand in one table.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from ...analyses.growing import Growing
from ...analyses.knobs import Knobs, Position, Sized, emptied, held_places, key
from ...analyses.memory.largest import LIMIT
from ...analyses.memory.resident import BLAS_HANDLES, KERNELS, STAYS, basis_of, caches, outside_of
from ...analyses.memory.timeline import CATEGORIES
from ...analyses.sizes import size_of
from ...analyses.time.clock import Clock
from ...analyses.time.step import StepTime, Untimed
from ...analyses.weighing import Json, Weighing
from ...devices import Device, load, names
from ...ops import optimizers
from ...program import PHASES
from ...workload import Workload
from ..formulas import Written
from ..memory import NAMES
from ..screen import COUNTS, provenance
from . import graph
from .packing import climbs, growing, packed
from .times import Sorts, told

NEVER = -2
"""Stands for the operator at which a storage is born or freed where there is none."""

SIZE = "@"
"""Stands where the size of an input does."""


class Texts:
    """A table of texts, each once."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def place(self, text: str) -> int:
        return self._places.setdefault(text, len(self._places))

    @property
    def all(self) -> list[Json]:
        return list(self._places)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the page was asked for beside the network: the name that a user gives it, sizes, devices, and formulas.

    `devices` are those to choose from, the one that is chosen first where `placed`; `clocks` are theirs, None where a page
    cannot tell the time by one, and `times` of the step as it was asked for, where the page cannot work that out.
    `rest` is what the command is given that no knob sets. `said` is a verdict that the page cannot work out anew, and
    `advice` what makes the step fit.
    """

    name: str
    inputs_given: bool
    rest: str
    devices: tuple[Device, ...]
    clocks: tuple[Clock | None, ...]
    times: tuple[StepTime | Untimed | None, ...]
    placed: bool
    said: tuple[str, ...]
    advice: str
    formulas: Mapping[str, Formulas]


@dataclass(frozen=True, slots=True, kw_only=True)
class Formulas:
    """The formulas of a layer, each with how often it occurs and its operator at every batch; `rest` are not shown."""

    lines: tuple[tuple[Written, Sized], ...]
    rest: int


def record(weighing: Weighing, knobs: Knobs, asked: Asked) -> dict[str, Json]:
    """Everything that the page's program reads."""
    program = weighing.program
    texts, sorts = Texts(), Sorts()
    entries: list[Json] = [_entry(position, texts, sorts) for position in knobs.positions]
    drawn = graph.record(program, texts.place)
    margins: dict[str, Json] = {
        "fewer": KERNELS[0],
        "more": KERNELS[1],
        "handles": BLAS_HANDLES,
        "limit": LIMIT,
    }
    return {
        "network": program.network,
        "origin": provenance(program),
        "batch": program.workload.batch,
        "size": _size(program.workload),
        "convention": weighing.convention,
        "convention_text": COUNTS.get(weighing.convention, "1 MAC = 2 FLOPs"),
        "unit": weighing.unit,
        "names": texts.all,
        "categories": [*CATEGORIES],
        "category_names": {str(category): name for category, name in NAMES.items()},
        "phases": [*PHASES],
        "stays": [category for category in CATEGORIES if category in STAYS],
        "positions": entries,
        "refused": [
            f"{' '.join(options(one.workload)) or 'inference'}: {one.why}" for one in knobs.refused
        ],
        "devices": [
            {
                **_device(device),
                "clock": None if clock is None else packed(sorts.clock(clock, program.workload)),
                "told": None if time is None else packed(told(time)),
            }
            for device, clock, time in zip(asked.devices, asked.clocks, asked.times, strict=True)
        ],
        "clocks": sorts.record(),
        "device": on(asked.devices[0]) if asked.placed else None,
        "margins": margins,
        "said": list(asked.said),
        "advice": asked.advice,
        "command": {
            "network": shlex.quote(asked.name),
            "inputs": _inputs(program.workload),
            "inputs_given": asked.inputs_given,
            "rest": asked.rest,
        },
        "formulas": {scope: _formulas(found) for scope, found in asked.formulas.items()},
        "graph": drawn,
        "details": {module.scope: module.detail for module in program.modules if module.detail},
    }


def _entry(position: Position, texts: Texts, sorts: Sorts) -> dict[str, Json]:
    precision, optimizer, checkpointing = key(position.workload)
    lattice = position.lattice
    return {
        "precision": precision,
        "optimizer": optimizer,
        "checkpointing": checkpointing,
        "options": " ".join(options(position.workload)),
        "smallest": position.smallest,
        "largest": position.largest,
        "fixed": position.fixed,
        "lattice": None if lattice is None else asdict(lattice),
        "one_size": position.one_size,
        "packed": packed(_position(position, texts, sorts)),
    }


def _position(position: Position, texts: Texts, sorts: Sorts) -> dict[str, Json]:
    lives, ops = position.lifetimes, position.program.ops
    phases = {phase: place for place, phase in enumerate(PHASES)}
    categories = {category: place for place, category in enumerate(CATEGORIES)}
    held = held_places(lives)
    return {
        "contract": emptied(position.contract),
        "figures": growing(position.figures),
        "lives": {
            "bytes": growing(position.bytes),
            "birth": climbs(life.birth for life in lives),
            "first": climbs(NEVER if life.first is None else life.first for life in lives),
            "death": climbs(NEVER if life.death is None else life.death for life in lives),
            "category": [categories[life.category] for life in lives],
            "scope": climbs(texts.place(life.scope) for life in lives),
            "maker": climbs(texts.place(life.maker) for life in lives),
            "held": [[place, of] for place, of in held.items()],
        },
        "ops": {
            "name": [texts.place(op.name) for op in ops],
            "scope": [texts.place(op.scope) for op in ops],
            "phase": [phases[op.phase] for op in ops],
        },
        "kernels": [sorts.herds(growth) for growth in position.kernels],
    }


def _size(workload: Workload) -> Json:
    """What the size of the input is called, and how large it is; None where it has no one size."""
    size = size_of(workload)
    return None if size is None else asdict(size)


def _inputs(workload: Workload) -> list[Json]:
    """What the command is given for the inputs: the text around each place where their size stands."""
    several = len(workload.inputs) > 1
    sized = size_of(workload) is not None
    options = []
    for spec in workload.inputs:
        name = f"{spec.name}=" if several and spec.name else ""
        held = len(spec.shape) - (2 if len(spec.shape) == 3 else 1) if sized else len(spec.shape)
        sizes = ",".join([*map(str, spec.shape[:held]), *[SIZE] * (len(spec.shape) - held)])
        options.append(f"--input {shlex.quote(name + (sizes or '()'))}")
    return [*" ".join(options).split(SIZE)]


def _formulas(found: Formulas) -> dict[str, Json]:
    return {
        "lines": [
            {
                "times": len(written.ops),
                "text": written.text,
                "value": growing(sized.operations),
                "names": [name for name in sized.names if name in written.sizes],
                "sizes": growing(_chosen(sized, written)),
            }
            for written, sized in found.lines
        ],
        "rest": found.rest,
    }


def _chosen(sized: Sized, written: Written) -> Growing:
    """The sizes that stand in the formula."""
    kept = [place for place, name in enumerate(sized.names) if name in written.sizes]
    return sized.sizes.chosen(kept)


def _device(device: Device) -> dict[str, Json]:
    outside = outside_of(device)
    return {
        "key": on(device),
        "card": device.key,
        "name": device.name,
        "capacity": device.capacity_bytes,
        "outside": [outside.low, outside.expected, outside.high],
        "cached": caches(device),
        "basis": basis_of(device),
        "workspace": device.cublas_workspace_bytes or 0,
    }


def on(device: Device) -> str:
    """What `--on` is given for a device: its key, the size that it was bought with, or a size alone."""
    if device.key in names() and load(device.key).memory_bytes == device.memory_bytes:
        return device.key
    size = f"{(device.capacity_bytes or 0) / 2**20:g}MiB"
    return f"{device.key}:{size}" if device.key else size


def options(workload: Workload) -> Iterator[str]:
    """What the command is given for what the knobs set, the batch apart."""
    chosen = workload.optimizer
    if chosen is not None:
        yield f"--train {shlex.quote(chosen.name)}"
        for setting in ("momentum", "weight_decay"):
            value = chosen.settings.get(setting)
            if value and value != optimizers.UPDATES[chosen.name].defaults.get(setting):
                yield f"--{setting.replace('_', '-')} {value:g}"
        if chosen.settings.get("nesterov"):
            yield "--nesterov"
        if chosen.implementation != "auto":
            yield f"--optimizer-implementation {chosen.implementation}"
    if workload.precision != "float32":
        yield f"--precision {workload.precision}"
    if workload.checkpointing != "none":
        yield f"--checkpoint {workload.checkpointing}"
