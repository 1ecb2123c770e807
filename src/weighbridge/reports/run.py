"""Runs: networks by their time to train, on each device, with what that takes in energy and money."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

from ..analyses.run import Limit, Race, Run, Schedule, beaten, fewer_epochs_lose
from ..analyses.time.step import Estimate
from ..analyses.weighing import Json
from ..devices import Device, Instance
from ..units import count, duration, durations, energy, integer, memory, money, percent, plural
from .sheet import Cell, Column, Figure, Row, Sheet
from .side_by_side import short
from .table import Line, labelled, render, written
from .time import LIMITS, rests_on
from .verdict import SHORT_ANSWERS, interval_record

SCHEMA = "weighbridge-runs/1"

AN_UPDATE = {
    "sample": "an update a sample",
    "batch": "an update a batch",
    "epoch": "an update an epoch",
}

UNKNOWN = "?"
NOT_APPLICABLE = "-"

GIB = 2**30


def screen(race: Race, *, width: int | None, color: bool) -> str:
    """Everything that `weigh run` prints."""
    blank: Line = ()
    lines = [*labelled("run", title(race), width=width), blank, *render(sheet(race), width=width)]
    for sentence in findings(race):
        lines += [blank, *labelled("", sentence, width=width)]
    lines.append(blank)
    for text in basis(race):
        lines.extend(labelled("", text, width=width, style="dim"))
    return written(lines, color=color)


def title(race: Race) -> str:
    """What is run: '3 networks · 1,281,167 samples an epoch · training, sgd · an update a batch: 5,005 an epoch'."""
    names = tuple(dict.fromkeys(run.network for run in race.runs))
    parts = [plural(len(names), "network") if len(names) > 1 else names[0]]
    schedules = [run.schedule for run in race.runs if run.schedule is not None]
    if schedules:
        parts.append(f"{integer(schedules[0].dataset)} samples an epoch")
    batches = {run.batch for run in race.runs if run.batch is not None}
    if len(batches) == 1:
        parts.append(f"batch {integer(batches.pop())}")
    workload = next((run.workload for run in race.runs if run.workload is not None), None)
    if workload is not None:
        optimizer = "" if workload.optimizer is None else f", {workload.optimizer.text}"
        parts.append(f"training{optimizer}, {workload.precision}")
        parts.append(AN_UPDATE[workload.learning_rule])
    known = tuple(dict.fromkeys(run.device for run in race.runs))
    if len(known) == 1 and known[0] is not None:
        parts.append(f"on {short(known[0])}")
    return " · ".join(parts)


def sheet(race: Race) -> Sheet:
    """A row for each network on each device, the fastest first."""
    several = len({run.device for run in race.runs}) > 1
    whole = Sheet(
        subject="network",
        columns=(
            Column(key="device", title="on", align="left", rank=0 if several else 9),
            Column(key="fits", title="fits?", align="left", rank=2),
            Column(key="batch", title="batch", rank=6),
            Column(key="updates", title="updates an epoch", rank=8),
            Column(key="step", title="step", data_unit="s", rank=5),
            Column(key="rate", title="samples/s", rank=7),
            Column(key="epoch", title="epoch", data_unit="s", rank=2),
            Column(key="epochs", title="epochs"),
            Column(key="total", title="to train", data_unit="s"),
            Column(key="between", title="between", rank=4),
            Column(key="energy", title="energy", data_unit="J", rank=3),
            Column(key="cost", title="cost", data_unit=currency(race.runs), rank=1),
            Column(key="accuracy", title="top-1", rank=2),
        ),
        rows=tuple(_row(run) for run in race.runs),
        notes_title="note",
    )
    return told_columns(whole)


def told_columns(sheet: Sheet) -> Sheet:
    """The sheet without columns in which no row says anything."""
    told = [
        place
        for place in range(len(sheet.columns))
        if any(row.cells[place] not in (UNKNOWN, NOT_APPLICABLE, None) for row in sheet.rows)
    ]
    return replace(
        sheet,
        columns=tuple(sheet.columns[place] for place in told),
        rows=tuple(
            replace(row, cells=tuple(row.cells[place] for place in told)) for row in sheet.rows
        ),
    )


def _row(run: Run) -> Row:
    where = "" if run.device is None else f" on {spelled(run.device)}"
    return Row(
        path=f"{run.network}{where}",
        name=run.network,
        cells=(
            NOT_APPLICABLE if run.device is None else spelled(run.device),
            NOT_APPLICABLE if run.resident is None else SHORT_ANSWERS[run.resident.answer],
            _batch(run),
            None if run.schedule is None else run.schedule.updates,
            time_cell(None if run.pace is None else run.pace.step),
            rate_cell(run),
            time_cell(run.epoch),
            UNKNOWN if run.epochs is None else f"{run.epochs:g}",
            time_cell(run.total),
            span(run.total),
            energy_cell(run),
            cost_cell(run.cost, run),
            UNKNOWN if run.accuracy is None else percent(run.accuracy.top1),
        ),
        notes=tuple(notes(run)),
    )


def _batch(run: Run) -> str:
    """'256', or '2 x 128' where micro-batches add up to an update."""
    if run.schedule is None:
        return NOT_APPLICABLE
    batch, micro = run.schedule.batch, run.schedule.accumulation
    return integer(batch) if micro == 1 else f"{integer(micro)} x {integer(batch)}"


def notes(run: Run) -> Iterator[str]:
    """What a reader of the row must know: why there is no time, and what became of a batch that does not fit."""
    if run.largest is not None and run.batch is not None and run.resident is not None:
        if not run.largest:
            yield (
                f"a batch of {integer(run.batch)} does not fit, nor does one of 1: "
                f"it takes up to {memory(run.resident.total.high)}"
            )
            return
        yield f"a batch of {integer(run.batch)} does not fit; the largest that does is {integer(run.largest)}"
        if run.schedule is not None and run.workload is not None and run.workload.training:
            yield (
                f"so {integer(run.schedule.accumulation)} micro-batches of {integer(run.schedule.batch)} go into "
                "an update; batch normalisation, if there is any, sees a micro-batch alone"
            )
    if run.resident is not None and run.resident.answer == "too close to call":
        yield "too close to call: it may not fit"
    if run.resident is not None and run.pace is None:
        yield f"its time is not known: {'; '.join((run.unknown, *run.hints))}"
    if not run.complete:
        yield "the network stopped half-way: figures are of what ran, and lower bounds"
    if run.pace is not None and run.pace.uncounted:
        yield f"{plural(run.pace.uncounted, 'operator')} without a rule, which the time lacks"
    if run.pace is not None and run.pace.limit == "data loading":
        yield "data loading takes longer than the step, which waits for it"


def findings(race: Race) -> tuple[str, ...]:
    """What the times say: which is first, that fewer epochs need not be faster, and what accuracy says of that."""
    placed = [(device, race.on(device)) for device in race.devices if len(race.on(device)) > 1]
    accuracies = [tuple(_at_equal_accuracy(runs)) for _, runs in placed]
    found = [text for device, runs in placed for text in _first(runs, device)]
    if len(set(accuracies)) == 1:  # the same on every device
        return (*found, *accuracies[0])
    for (device, _), texts in zip(placed, accuracies, strict=True):
        found.extend(f"{_on(device)}{text}".strip() for text in texts)
    return tuple(found)


def _on(device: Device | None) -> str:
    return "" if device is None else f"On {short(device)}: "


def _first(runs: Sequence[Run], device: Device | None) -> Iterator[str]:
    """Who is first if all end equally good, and whether that is the network of fewest epochs (L22)."""
    first, second = runs[:2]
    assert first.total is not None
    assert second.total is not None
    where = "" if device is None else f" on {short(device)}"
    close = ""
    if first.total.high > second.total.low:
        close = f", though the interval of {second.network} overlaps its own"
    yield (
        f"First{where} if all end equally good: {first.network}, {told(first.total)} against "
        f"{told(second.total)} of {second.network}{close}."
    )
    lost = fewer_epochs_lose(runs)
    if lost is not None:
        fewest, fastest = lost
        assert fewest.total is not None
        yield (
            f"Fewer epochs are not faster{where}: {fewest.network} needs {fewest.epochs:g} and "
            f"{told(fewest.total)}, {fastest.network} {fastest.epochs:g} and {told(first.total)}."
        )


def _at_equal_accuracy(runs: Sequence[Run]) -> Iterator[str]:
    """Whom no network of the same published accuracy beats, and who is beaten; where two have one."""
    known = [run for run in runs if run.accuracy is not None]
    if len(known) < 2:
        return
    losers = beaten(runs)
    lost_names = {pair.run.network for pair in losers}
    best = [_accurate(run) for run in known if run.network not in lost_names]
    yield f"At equal published accuracy or better none is faster than {' or '.join(best)}."
    for winner in dict.fromkeys(pair.by.network for pair in losers):
        pairs = [pair for pair in losers if pair.by.network == winner]
        slower = ", ".join(_accurate(pair.run) for pair in pairs)
        yield f"Slower and published as no more accurate than {_accurate(pairs[0].by)}: {slower}."


def _accurate(run: Run) -> str:
    """'resnet50 (76.1 %)'."""
    assert run.accuracy is not None
    return f"{run.network} ({percent(run.accuracy.top1)})"


def basis(race: Race) -> Iterator[str]:
    """What the figures rest on."""
    if any(run.pace is not None for run in race.runs):
        yield "time to train = epochs x steps an epoch x time of a step; evaluation and the like are not counted"
    yield from _times(race.runs)
    if any(run.epoch is not None and run.pace is None for run in race.runs):
        yield "times without an interval were given by hand"
    if any(run.energy_j is not None for run in race.runs):
        yield "energy: the device's TDP for the whole time, an upper bound; the machine around it is not counted"
    for run in _by_device(race.runs):
        if run.rented is not None:
            yield f"cost: {offer(run.rented)}"
    sources = dict.fromkeys(
        run.accuracy.source.partition(":")[0] + f", {run.accuracy.dataset}"
        for run in race.runs
        if run.accuracy is not None
    )
    for source in sources:
        yield f"top-1: {source}, after the epochs of their own recipe"


def _times(runs: Sequence[Run]) -> Iterator[str]:
    """What the times rest on, each once with the devices that it is said of."""
    told: dict[str, list[str]] = {}
    for run in _by_device(runs):
        if run.pace is not None and run.device is not None:
            found = run.pace
            rests = rests_on(found.step.basis, found.rated, run.device, found.extrapolating)
            told.setdefault(rests, []).append(short(run.device))
    for rests, names in told.items():
        of = "" if len(told) == 1 else f" on {', '.join(names)}"
        yield f"time{of}, nine cases in ten between: {rests}"


def _by_device(runs: Sequence[Run]) -> tuple[Run, ...]:
    """A run of each device."""
    return tuple({run.device: run for run in runs if run.device is not None}.values())


def remarks(race: Race) -> tuple[str, ...]:
    """What stands below the table in a file."""
    return (*findings(race), *basis(race))


def offer(instance: Instance) -> str:
    """'RTX 4090 at runpod, 0.34 USD an hour (2026-03-10, lowest rate, may be interrupted)'."""
    about = ", ".join(filter(None, (instance.date or "no date", instance.terms, instance.region)))
    whole = f" for {instance.count} devices, of which one is used" if instance.count > 1 else ""
    price = money(instance.price_per_hour, instance.currency)
    return f"{instance.name} at {instance.provider}, {price} an hour{whole} ({about})"


def spelled(device: Device) -> str:
    """A device as it is typed after --on: its key, with the memory that was chosen for it."""
    if not device.key or device.key == "here":
        return device.key or device.name
    if device.name.endswith(" here"):
        return f"{device.key} here"
    chosen = device.kind in ("apple", "cpu", "board") and device.memory_bytes is not None
    return f"{device.key}:{(device.memory_bytes or 0) // GIB}GiB" if chosen else device.key


def told(time: Estimate) -> str:
    """'~2.50 h'; a time that was given by hand has no sign."""
    return f"{'' if time.low == time.high else '~'}{duration(time.value)}"


def span(time: Estimate | None) -> str:
    """'2.10 h to 3.40 h'; nothing where there is no interval."""
    if time is None or time.low == time.high:
        return NOT_APPLICABLE
    return durations(time.low, time.high)


def limit(found: Limit) -> str:
    """What most of the time goes to, as it is said."""
    return found if found == "data loading" else LIMITS[found]


def time_cell(time: Estimate | None) -> Cell:
    """Seconds, and as a person reads them."""
    return UNKNOWN if time is None else Figure(value=time.value, text=told(time))


def rate_cell(run: Run) -> Cell:
    """Samples a second."""
    rate = run.samples_per_s
    return UNKNOWN if rate is None else Figure(value=rate, text=f"~{count(rate)}")


def energy_cell(run: Run) -> Cell:
    """Joules, an upper bound."""
    joules = run.energy_j
    return UNKNOWN if joules is None else Figure(value=joules, text=f"<= {energy(joules)}")


def currency(runs: Sequence[Run]) -> str:
    """What costs are in: of several currencies none."""
    found = {run.rented.currency for run in runs if run.rented is not None}
    return found.pop() if len(found) == 1 else ""


def cost_cell(cost: float | None, run: Run) -> Cell:
    """Money, in the instance's currency; for a time that was given by hand without a sign."""
    if run.rented is None or cost is None:
        return UNKNOWN
    sign = "" if run.pace is None else "~"
    return Figure(value=cost, text=f"{sign}{money(cost, run.rented.currency)}")


def to_dict(race: Race) -> dict[str, Json]:
    """The runs and what they say, as plain data."""
    return {
        "schema": SCHEMA,
        "runs": [record(run) for run in race.runs],
        "findings": list(findings(race)),
        "basis": list(basis(race)),
    }


def record(run: Run) -> dict[str, Json]:
    """A run as plain data: seconds, joules, bytes, money."""
    workload = run.workload
    return {
        "network": run.network,
        "device": None if run.device is None else {"key": run.device.key, "name": run.device.name},
        "answer": None if run.resident is None else run.resident.answer,
        "total_bytes": None if run.resident is None else interval_record(run.resident.total),
        "capacity_bytes": None if run.resident is None else run.resident.capacity_bytes,
        "batch": run.batch,
        "largest_batch": run.largest,
        "precision": None if workload is None else workload.precision,
        "learning_rule": None if workload is None else workload.learning_rule,
        "schedule": None if run.schedule is None else _schedule(run.schedule),
        "step_s": None if run.pace is None else estimate_record(run.pace.step),
        "micro_step_s": None if run.pace is None else estimate_record(run.pace.micro),
        "bound": None if run.pace is None else run.pace.limit,
        "samples_per_s": run.samples_per_s,
        "epoch_s": None if run.epoch is None else estimate_record(run.epoch),
        "epochs": run.epochs,
        "total_s": None if run.total is None else estimate_record(run.total),
        "unknown": run.unknown or None,
        "energy_upper_bound_j": run.energy_j,
        "rented": None if run.rented is None else _rented(run.rented),
        "cost": run.cost,
        "cost_of_epoch": run.cost_of_epoch,
        "cost_of_million_samples": run.cost_of_million,
        "accuracy": None if run.accuracy is None else dict(asdict(run.accuracy)),
    }


def estimate_record(time: Estimate) -> dict[str, Json]:
    """A time and between what it lies, as plain data."""
    return {"value": time.value, "low": time.low, "high": time.high, "basis": time.basis}


def _schedule(schedule: Schedule) -> dict[str, Json]:
    return {
        **asdict(schedule),
        "steps_per_epoch": schedule.steps,
        "updates_per_epoch": schedule.updates,
    }


def _rented(instance: Instance) -> dict[str, Json]:
    return {
        "provider": instance.provider,
        "name": instance.name,
        "price_per_hour": instance.price_per_hour,
        "currency": instance.currency,
        "count": instance.count,
        "date": instance.date,
        "terms": instance.terms,
    }
