"""Memory over a training loop's step: the curve, and what is alive at its peak.

Without a device these are the bytes of tensors alone, exactly. What an allocator and a machine make of
them is `verdict`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..analyses.memory.timeline import CATEGORIES, Category, Lifetime, Peak, Round
from ..analyses.memory.usage import Memory, Part, Stretch
from ..analyses.weighing import Json, Weighing
from ..units import memory
from .sheet import Cell, Column, Level, Row, Sheet, Size, shares, summed
from .table import Line, labelled, render

NAMES: Mapping[Category, str] = {
    "parameter": "parameters",
    "buffer": "buffers",
    "optimizer_state": "optimizer state",
    "gradient": "gradients",
    "input": "inputs",
    "held": "held outputs",
    "saved_activation": "saved activations",
    "activation_gradient": "activation gradients",
    "temporary": "temporaries",
    "workspace": "workspace",
}
"""Categories as a person reads them."""

SHORT: Mapping[Category, tuple[str, int]] = {
    "parameter": ("params", 4),
    "buffer": ("buffers", 6),
    "optimizer_state": ("optimizer", 4),
    "gradient": ("grads", 2),
    "input": ("inputs", 6),
    "held": ("held", 5),
    "saved_activation": ("saved", 1),
    "activation_gradient": ("act. grads", 2),
    "temporary": ("temporary", 3),
    "workspace": ("workspace", 3),
}
"""Categories as headings, and how soon their column leaves where there is little room."""

MEANINGS: Mapping[Category, str] = {
    "parameter": "the weights",
    "buffer": "state that is not trained",
    "optimizer_state": "what the optimizer keeps for each weight",
    "gradient": "of the weights",
    "input": "the batch",
    "held": "outputs of the step before that the loop's variables still name",
    "saved_activation": "made in forward, kept for backward",
    "activation_gradient": "of what lies between the layers",
    "temporary": "made and freed within a phase",
    "workspace": "scratch of a kernel while it runs",
}

LARGEST = 10
"""Tensors that are named at the peak."""


def screen(
    weighing: Weighing, *, round: Round | None, depth: int | None, width: int | None
) -> tuple[Line, ...]:
    """What `weigh memory` prints between the heading and the footing; `round` None: the step with the peak."""
    usage = weighing.memory
    blank: Line = ()
    step = round or usage.timeline.round
    return (
        *summary(weighing, width=width),
        blank,
        *_block(f"over {_step(weighing, step)}", curve_sheet(usage, step), width),
        blank,
        *_block("at the peak, by what it is for", role_sheet(usage), width),
        blank,
        *_block("at the peak, by module", module_sheet(usage, depth=depth), width),
        blank,
        *_block(f"the {LARGEST} largest tensors there", tensor_sheet(usage), width),
    )


def summary(weighing: Weighing, *, width: int | None) -> tuple[Line, ...]:
    """Peak and place, first step and later ones, and what stays between steps."""
    usage = weighing.memory
    rows = [("peak", f"{memory(usage.peak_bytes)} of tensors, {place(usage.peak)}")]
    if weighing.program.workload.training:
        rows.append(("first step", _peak_of(usage.first.peak)))
        rows.append(("later steps", _peak_of(usage.later.peak)))
    rows.append(("after a step", f"{memory(usage.later.kept)} stay"))
    return tuple(
        line for label, text in rows for line in labelled(f"  {label:<12}", text, width=width)
    )


def place(peak: Peak) -> str:
    """'in layer4.2.relu, backward: threshold_backward'."""
    if peak.phase is None:
        return "before the step"
    return f"in {peak.scope or 'the network itself'}, {peak.phase}: {peak.name}"


def curve_sheet(usage: Memory, round: Round) -> Sheet:
    """The step by stretches of modules: how much at most, drawn, and of what."""
    stretches = usage.curve(round)
    used = [name for name in CATEGORIES if any(name in s.categories for s in stretches)]
    phases = (None, *(stretch.phase for stretch in stretches))
    rows = tuple(
        Row(
            path=_where(usage, stretch),
            name="" if stretch.phase == before and before else stretch.phase or "before",
            cells=(
                _modules(usage, stretch),
                Size(bytes=stretch.bytes),
                Level(tenths=stretch.tenths, mark="peak" if stretch.peak else ""),
                *(_size(stretch.categories.get(name)) for name in used),
            ),
        )
        for before, stretch in zip(phases, stretches, strict=False)
    )
    return Sheet(
        subject="phase",
        columns=(
            Column(key="module", title="module", align="left"),
            Column(key="bytes", title="at most"),
            Column(key="curve", title="", align="left"),
            *_columns(used),
        ),
        rows=rows,
    )


def role_sheet(usage: Memory) -> Sheet:
    """What is alive at the peak by what it is for."""
    sizes = usage.categories
    rows = tuple(
        Row(
            path=name,
            name=NAMES[name],
            cells=(Size(bytes=size), share, MEANINGS[name]),
        )
        for (name, size), share in zip(sizes.items(), shares(list(sizes.values())), strict=True)
    )
    return _totalled(
        Sheet(
            subject="for",
            columns=(
                Column(key="bytes", title="bytes"),
                Column(key="share", title="share", unit="%"),
                Column(key="meaning", title="", align="left", rank=1),
            ),
            rows=rows,
        )
    )


def module_sheet(usage: Memory, *, depth: int | None) -> Sheet:
    """What modules hold at the peak, by category."""
    parts = usage.modules(depth=depth)
    used = [name for name in CATEGORIES if any(name in part.categories for part in parts)]
    rows = tuple(
        Row(
            path=_module(usage, part),
            name=_module(usage, part),
            cells=(Size(bytes=part.bytes), share, *(_size(part.categories.get(n)) for n in used)),
        )
        for part, share in zip(parts, shares([part.bytes for part in parts]), strict=True)
    )
    return _totalled(
        Sheet(
            subject="module",
            columns=(
                Column(key="bytes", title="bytes"),
                Column(key="share", title="share", unit="%"),
                *_columns(used),
            ),
            rows=rows,
        )
    )


def tensor_sheet(usage: Memory) -> Sheet:
    """The largest tensors at the peak."""
    alive = usage.alive_at_peak[:LARGEST]
    return Sheet(
        subject="tensor",
        columns=(
            Column(key="bytes", title="bytes"),
            Column(key="shape", title="shape", align="left"),
            Column(key="dtype", title="dtype", align="left", rank=2),
            Column(key="for", title="for", align="left", rank=1),
        ),
        rows=tuple(
            Row(
                path=_tensor(life),
                name=_tensor(life),
                cells=(
                    Size(bytes=life.bytes),
                    ",".join(map(str, life.shape)) or "scalar",
                    life.dtype,
                    NAMES[life.category],
                ),
            )
            for life in alive
        ),
    )


def record(usage: Memory) -> dict[str, Json]:
    """The curve and what is alive at the peak, as plain data."""
    return {
        "curve": {
            "first_step": [_stretch(stretch) for stretch in usage.curve("first")],
            "later_steps": [_stretch(stretch) for stretch in usage.curve("later")],
        },
        "at_peak": {
            "modules": [
                {
                    "scope": part.scope,
                    "bytes": part.bytes,
                    **{f"{name}_bytes": size for name, size in part.categories.items()},
                }
                for part in usage.modules()
            ],
            "largest": [
                {
                    "maker": life.maker,
                    "scope": life.scope,
                    "shape": list(life.shape),
                    "dtype": life.dtype,
                    "category": life.category,
                    "bytes": life.bytes,
                }
                for life in usage.alive_at_peak[:LARGEST]
            ],
        },
    }


def _stretch(stretch: Stretch) -> dict[str, Json]:
    return {
        "phase": stretch.phase,
        "scope": stretch.scope,
        "until": stretch.until,
        "operator": stretch.operator,
        "bytes": stretch.bytes,
        **{f"{name}_bytes": size for name, size in stretch.categories.items()},
    }


def _block(title: str, sheet: Sheet, width: int | None) -> tuple[Line, ...]:
    return (*labelled(title, "", width=width), *render(sheet, width=width))


def _totalled(sheet: Sheet) -> Sheet:
    columns = zip(*(row.cells for row in sheet.rows), strict=True)
    return Sheet(
        subject=sheet.subject,
        columns=sheet.columns,
        rows=sheet.rows,
        totals=tuple(summed(cells) for cells in columns),
    )


def _step(weighing: Weighing, round: Round) -> str:
    if not weighing.program.workload.training:
        return "a step"
    return "the first step" if round == "first" else "every step after the first"


def _peak_of(peak: Peak) -> str:
    return f"{memory(peak.bytes)} {place(peak)}"


def _where(usage: Memory, stretch: Stretch) -> str:
    modules = _modules(usage, stretch)
    return f"{stretch.phase} {modules}".rstrip() if stretch.phase else "before the step"


def _modules(usage: Memory, stretch: Stretch) -> str:
    """The module, or from which to which; the network's name for what it does itself."""
    if stretch.phase is None or stretch.phase == "update":
        return ""
    names = [scope or usage.program.network for scope in (stretch.scope, stretch.until)]
    return " to ".join(dict.fromkeys(names))


def _module(usage: Memory, part: Part) -> str:
    if part.scope is None:
        return "all others"
    return part.scope or usage.program.network


def _tensor(life: Lifetime) -> str:
    scope = f"{life.scope}: " if life.scope and not life.maker.startswith(life.scope) else ""
    return f"{scope}{life.maker}"


def _columns(used: Iterable[Category]) -> Iterator[Column]:
    for name in used:
        title, rank = SHORT[name]
        yield Column(key=name, title=title, rank=rank)


def _size(size: int | None) -> Cell:
    return None if size is None else Size(bytes=size)
