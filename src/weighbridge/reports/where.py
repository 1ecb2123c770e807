"""Where: the verdict in a line (L23), and every device with what the step takes there."""

from __future__ import annotations

from collections.abc import Iterator

from ..analyses.run import Run
from ..analyses.weighing import Json
from ..analyses.where import Where
from ..units import count, integer, memory, money, plural
from .run import (
    SCHEMA,
    UNKNOWN,
    cost_cell,
    currency,
    limit,
    offer,
    rate_cell,
    record,
    span,
    spelled,
    time_cell,
    told,
)
from .sheet import Cell, Column, Figure, Row, Sheet, Size
from .side_by_side import short
from .table import Line, labelled, render
from .time import rests_on
from .verdict import SHORT_ANSWERS

GIB = 2**30


def screen(found: Where, *, top: int | None, width: int | None) -> tuple[Line, ...]:
    """What `weigh where` prints below the heading."""
    blank: Line = ()
    lines = list(labelled(f"  {headline(found)}", reason(found), width=width))
    for text in further(found):
        lines.extend(labelled("   ", text, width=width))
    lines += [blank, *render(sheet(found, top=top), width=width)]
    for text in basis(found, top=top):
        lines.extend(labelled("", text, width=width, style="dim"))
    return tuple(lines)


def verdict(found: Where) -> str:
    """The answer in one line: 'runs here: ...', 'needs a GPU with at least 9 GiB: ...'."""
    return f"{headline(found)}: {reason(found)}"


def headline(found: Where) -> str:
    """The answer in a few words."""
    if found.runs_here is not None:
        return "runs here"
    need = f"needs a GPU with at least {integer(found.needs_bytes // GIB)} GiB"
    if any(
        run.resident is not None and run.resident.answer == "too close to call"
        for run in found.here
    ):
        return f"too close to call here; surely {need}"
    return need


def reason(found: Where) -> str:
    """The memory and the time here; else where it is cheapest."""
    here = found.runs_here
    if here is not None:
        return f"{_memory(here)}; {_time(here)}"
    return _cheapest(found)


def further(found: Where) -> Iterator[str]:
    """What else there is to say: why not here, what renting would cost, and where it is fastest."""
    if found.runs_here is not None:
        yield from found.runs_here.hints
        if found.cheapest is not None:
            yield _cheapest(found)
    else:
        for run in found.here:
            yield f"not here: {_memory(run)}"
    if found.fastest is not None:
        yield f"fastest: {_name(found.fastest)}, {_time(found.fastest)}"
    if not any(run.fits for run in found.runs):
        yield "none of these surely holds it; what would make it smaller: weigh fit"


def sentences(found: Where) -> tuple[str, ...]:
    """The verdict and what belongs to it as plain lines, for what stands below a table in a file."""
    return (verdict(found), *further(found), *basis(found, top=None))


def _name(run: Run) -> str:
    assert run.device is not None
    return short(run.device)


def _memory(run: Run) -> str:
    assert run.resident is not None
    taken, capacity = run.resident.total, run.resident.capacity_bytes
    of = "" if capacity is None else f" of {memory(capacity)}"
    return f"{_name(run)}, ~{memory(taken.expected)}{of}"


def _time(run: Run) -> str:
    """'~312 ms a step, ~26.0 min an epoch'; what of it is known."""
    if run.pace is None:
        return f"its time is not known, since {run.unknown}"
    parts = [f"{told(run.pace.step)} a step"]
    if run.total is not None:
        parts.append(f"{told(run.total)} for {run.epochs:g} epochs")
    elif run.epoch is not None:
        parts.append(f"{told(run.epoch)} an epoch")
    elif run.samples_per_s is not None:
        parts.append(f"{count(run.samples_per_s)} samples a second")
    return ", ".join(parts)


def _cheapest(found: Where) -> str:
    run = found.cheapest
    if run is None or run.rented is None:
        return "no instance that it surely fits has a known price and time"
    cost, of = _cost(run)
    assert cost is not None
    return (
        f"cheapest to rent is {_name(run)}, about {money(cost, run.rented.currency)} {of}: "
        f"{_time(run)}; {offer(run.rented)}"
    )


def _cost(run: Run) -> tuple[float | None, str]:
    """What a run costs, and of what: all epochs, an epoch, or a million samples."""
    if run.total is not None:
        return run.cost, f"for {run.epochs:g} epochs"
    if run.epoch is not None:
        return run.cost_of_epoch, "an epoch"
    return run.cost_of_million, "a million samples"


def sheet(found: Where, *, top: int | None = None) -> Sheet:
    """A row a device, those that it fits first; of so many."""
    first = found.runs[0] if found.runs else None
    epoch = first is not None and first.schedule is not None
    total = first is not None and first.epochs is not None
    priced = "cost" if total else "cost, an epoch" if epoch else "cost, 1 M samples"
    columns = [
        Column(key="fits", title="fits?", align="left"),
        Column(key="memory", title="memory", rank=2),
        Column(key="peak", title="peak", data_unit="bytes", rank=6),
        Column(key="step", title="step", data_unit="s"),
        Column(key="between", title="between", rank=3),
        Column(key="rate", title="samples/s", rank=5),
        *(
            [Column(key="epoch", title="epoch", data_unit="s", rank=4 if total else 1)]
            if epoch
            else []
        ),
        *([Column(key="total", title="to train", data_unit="s")] if total else []),
        Column(key="price", title="an hour", rank=7),
        Column(key="cost", title=priced, data_unit=currency(found.runs)),
        Column(key="bound", title="bound by", align="left", rank=1),
    ]
    return Sheet(
        subject="device",
        columns=tuple(columns),
        rows=tuple(_row(run, epoch=epoch, total=total) for run in found.runs[:top]),
    )


def _row(run: Run, *, epoch: bool, total: bool) -> Row:
    assert run.device is not None
    assert run.resident is not None
    capacity = run.resident.capacity_bytes
    peak = run.resident.total.expected
    step = None if run.pace is None else run.pace.step
    cells: list[Cell] = [
        SHORT_ANSWERS[run.resident.answer],
        UNKNOWN if capacity is None else Size(bytes=capacity),
        Figure(value=peak, text=f"~{memory(peak)}"),
        time_cell(step),
        span(step),
        rate_cell(run),
        *([time_cell(run.epoch)] if epoch else []),
        *([time_cell(run.total)] if total else []),
        _hour(run),
        cost_cell(_cost(run)[0], run),
        UNKNOWN if run.pace is None else limit(run.pace.limit),
    ]
    return Row(path=spelled(run.device), name=spelled(run.device), cells=tuple(cells))


def _hour(run: Run) -> Cell:
    """The price an hour of the instance that would be rented."""
    if run.rented is None:
        return UNKNOWN
    return money(run.rented.price_per_hour, run.rented.currency)


def basis(found: Where, *, top: int | None) -> Iterator[str]:
    """What the figures rest on, and what is not shown."""
    shown = found.runs if top is None else found.runs[:top]
    if len(shown) < len(found.runs):
        more = found.runs[len(shown) :]
        fit = sum(run.fits for run in more)
        yield f"and {plural(len(more), 'device')} more, {integer(fit)} of which it fits"
    if found.without:
        yield (
            f"{plural(len(found.without), 'processor')} of the catalogue are left out, their memory being their "
            f"buyer's choice: --on {found.without[0].key}:32GiB"
        )
    bases = dict.fromkeys(
        rests_on(run.pace.step.basis, run.pace.rated, run.device, run.pace.extrapolating)
        for run in shown
        if run.pace is not None and run.device is not None
    )
    if len(bases) == 1:
        yield f"time: {next(iter(bases))}"
    elif bases:
        yield "time: each device's basis is in --json"
    yield "a price is of a whole instance, the cheapest an hour; dates and terms are in --json"


def to_dict(found: Where) -> dict[str, Json]:
    """The verdict and every device as plain data."""
    return {
        "schema": SCHEMA,
        "network": found.program.network,
        "verdict": verdict(found),
        "needs_bytes": found.needs_bytes,
        "here": [spelled(run.device) for run in found.here if run.device is not None],
        "cheapest": _key(found.cheapest),
        "fastest": _key(found.fastest),
        "runs": [record(run) for run in found.runs],
        "without": [device.key for device in found.without],
    }


def _key(run: Run | None) -> Json:
    return None if run is None or run.device is None else spelled(run.device)
