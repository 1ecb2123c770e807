"""Running: from a step to a training run, and to the machines that it may run on.

    >>> import weighbridge
    >>> race = weighbridge.run(["deep:10@2.4h", "shallow:100@1.5min"])
    >>> race.first.network
    'shallow'

:func:`run` compares networks by their time to train, :func:`where` devices for one network. Both reports print as the
screens of `weigh run` and `weigh where`, show as HTML in a notebook, and give plain data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack, final

from . import devices, frontends
from .analyses.memory.largest import Room
from .analyses.run import (
    Accuracy,
    Race,
    Run,
    Schedule,
    Terms,
    by_hand,
    check_epochs,
    check_rate,
    race,
    stepping,
)
from .analyses.run import run as run_on
from .analyses.weighing import Json, Weighing
from .analyses.where import Found, Order, Site, Where
from .analyses.where import where as look_around
from .errors import UsageError
from .network import Network
from .program import Program
from .reports.sheet import Sheet
from .reports.tabled import TabledReport
from .rooms import HERE, On, backend, clock, rooms
from .settings import Inputs, Settings
from .workload import Workload, check_choice

if TYPE_CHECKING:
    from torch.nn import Module

    Model = str | Module | Callable[..., object]

ALL = "all"
"""The whole catalogue, where devices are named."""

EVERYWHERE = f"{HERE},{ALL}"

FOUND: Mapping[str, Found] = {HERE: "here", ALL: "catalogue"}

ORDERS: tuple[Order, ...] = ("time", "cost", "memory")

SECONDS = {
    "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "day": 86400.0, "days": 86400.0,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A network that might be trained: for how many epochs, and the time of an epoch or a step where that was measured.

    Of a candidate with a time nothing is built, and `model` may be any name.
    """

    model: Model
    epochs: float | None = None
    epoch_s: float | None = None
    step_s: float | None = None

    @property
    def measured(self) -> bool:
        return self.epoch_s is not None or self.step_s is not None


def run(
    models: str | Sequence[Model | Candidate],
    inputs: Inputs | None = None,
    *,
    on: On | None = None,
    epochs: float | None = None,
    loader: float | None = None,
    prices: str | Path | None = None,
    context: str | int | None = None,
    alloc_conf: str | None = None,
    strict: bool = False,
    **settings: Unpack[Settings],
) -> RunReport:
    """Networks by their time to train: epochs x steps an epoch x time of a step, on each of the devices.

    Args:
        models: 'resnet50:90' is resnet50 for 90 epochs; 'deep:10@2.4h' has a measured epoch, 'net:90@310ms/step' a
            measured step. Also modules and callables, in a `Candidate` with epochs of their own.
        inputs, settings: as of :func:`weighbridge.weigh`; `dataset` is the samples of an epoch, `learning_rule` says
            when weights are updated, and `train` is 'sgd' unless another optimizer is named.
        on: the devices. 'here' is this machine. Of measured times the one that they were measured on.
        epochs: for all that have none of their own.
        loader: samples a second that data loading gives; a step takes no less.
        prices: a file of instances and their prices, as docs/devices.md describes; they come before those known.
        context, alloc_conf, strict: as of :func:`weighbridge.weigh`.

    Raises:
        UsageError: something is asked for that does not exist or makes no sense.
        WeighError: a network cannot be built, run or read.
        StrictError: `strict`, and an operator has no rule.
    """
    candidates = [_candidate(model) for model in ([models] if isinstance(models, str) else models)]
    if not candidates:
        raise UsageError("nothing to run", "name a network and its epochs: weigh run resnet50:90")
    if epochs is not None:
        check_epochs(epochs)
        candidates = [replace(c, epochs=c.epochs or epochs) for c in candidates]
    terms = _terms(loader, prices)
    settings = _training(settings)
    places = () if on is None else rooms(on, context=context, alloc_conf=alloc_conf)
    runs: list[Run] = []
    for candidate in candidates:
        if candidate.measured:
            runs.append(_measured(candidate, inputs, settings, places, terms))
        else:
            runs.extend(_predicted(candidate, inputs, settings, places, terms, strict=strict))
    return RunReport(race(runs))


def where(
    model: Model,
    inputs: Inputs | None = None,
    *,
    on: On | None = None,
    sort: Order = "time",
    epochs: float | None = None,
    loader: float | None = None,
    prices: str | Path | None = None,
    context: str | int | None = None,
    alloc_conf: str | None = None,
    **settings: Unpack[Settings],
) -> WhereReport:
    """Where a step may be run: on this machine, on devices that are named, or anywhere in the catalogue.

    Args:
        model, inputs, settings: as of :func:`weighbridge.weigh`; with a `dataset`, epochs have a time and a price.
        on: the devices; 'here' is this machine, 'all' the catalogue. Both where nothing is said.
        sort: by 'time', by 'cost', or by 'memory', the smallest device first.
        epochs, loader, prices, context, alloc_conf: as of :func:`run`.

    Raises:
        UsageError: something is asked for that does not exist or makes no sense.
        WeighError: the network cannot be built, run or read.
    """
    check_choice("order", sort, ORDERS)
    if isinstance(model, Program):
        raise UsageError(
            "a Program is one step of one backend's kernels, and where builds the step for others",
            "give what it was made from: a name, a module or a callable",
        )
    if epochs is not None:
        check_epochs(epochs)
        if settings.get("dataset") is None:
            raise UsageError(
                f"{epochs:g} epochs of how many samples?", "say it, as in --dataset 1281167"
            )
    network = Network(model, inputs)
    asked = network.workload(settings)
    sites, without = _sites(EVERYWHERE if on is None else on, context, alloc_conf)
    chosen = settings.get("backend")
    found = look_around(
        network.program,
        asked,
        sites,
        _terms(loader, prices),
        backend=backend if chosen is None else lambda _: chosen,
        without=without,
        network=_name(model),
        epochs=epochs,
        order=sort,
    )
    return WhereReport(found)


@final
class RunReport(TabledReport):
    """Networks by their time to train. Printed, it is the screen of `weigh run`."""

    def __init__(self, found: Race) -> None:
        self.race = found

    @property
    def runs(self) -> tuple[Run, ...]:
        """Every network on every device, the fastest first."""
        return self.race.runs

    @property
    def first(self) -> Run:
        """The run that ends first.

        Raises:
            UsageError: of none is the time known.
        """
        if not self.race.timed:
            raise UsageError(
                "the time of no run is known", *dict.fromkeys(r.unknown for r in self.runs)
            )
        return self.race.timed[0]

    @property
    def title(self) -> str:
        from .reports.run import title

        return title(self.race)

    @property
    def remarks(self) -> Sequence[str]:
        from .reports.run import remarks

        return remarks(self.race)

    def sheet(self) -> Sheet:
        """A row for each network on each device."""
        from .reports.run import sheet

        return sheet(self.race)

    def screen(self, *, width: int | None = None, color: bool = False) -> str:
        """Everything that `weigh run` prints."""
        from .reports.run import screen

        return screen(self.race, width=width, color=color)

    def __repr__(self) -> str:
        return f"<weighbridge.RunReport of {', '.join(run.network for run in self.runs)}>"

    def to_dict(self) -> dict[str, Json]:
        """The JSON contract `weighbridge-runs/1` as plain data."""
        from .reports.run import to_dict

        return to_dict(self.race)


@final
class WhereReport(TabledReport):
    """A step on many devices. Printed, it is the screen of `weigh where`."""

    def __init__(self, found: Where) -> None:
        self.found = found
        self.weighing = Weighing(program=found.program)

    @property
    def runs(self) -> tuple[Run, ...]:
        """The step on every device, those that it fits first, in the order that was asked for."""
        return self.found.runs

    @property
    def verdict(self) -> str:
        """The answer in one line."""
        from .reports.where import verdict

        return verdict(self.found)

    @property
    def title(self) -> str:
        from .reports.screen import title

        return title(self.weighing)

    @property
    def remarks(self) -> Sequence[str]:
        from .reports.screen import remarks
        from .reports.where import sentences

        return (*sentences(self.found), *remarks(self.weighing))

    def sheet(self, *, top: int | None = None) -> Sheet:
        """A row a device; of so many."""
        from .reports.where import sheet

        return sheet(self.found, top=top)

    def screen(
        self, *, top: int | None = None, width: int | None = None, color: bool = False
    ) -> str:
        """Everything that `weigh where` prints."""
        from .reports.screen import framed
        from .reports.where import screen

        body = screen(self.found, top=top, width=width)
        return framed(self.weighing, body, width=width, color=color)

    def __repr__(self) -> str:
        return f"<weighbridge.WhereReport of {self.found.program.network}: {self.verdict}>"

    def to_dict(self) -> dict[str, Json]:
        """The JSON contract `weighbridge-runs/1` as plain data."""
        from .reports.where import to_dict

        return to_dict(self.found)

    def save(self, path: str | Path, *, top: int | None = None) -> None:
        """Writes a file in the form that its suffix names: .json .csv .md .tex .html .txt.

        Raises:
            UsageError: the suffix names no form, or the file cannot be written.
        """
        self._save(path, lambda: self.sheet(top=top), lambda: self.screen(top=top))


def candidate(text: str) -> Candidate:
    """A candidate as it is typed: a network, its epochs after a colon, and a measured time after an @.

        resnet50:90    timm:resnet50:90    mynet.py:Net:90    deep:10@2.4h    net:90@310ms/step

    Raises:
        UsageError: the epochs or the time are no number above zero.
    """
    named, at, time = text.rpartition("@")
    head = named if at else text
    name, colon, epochs = head.rpartition(":")
    found = Candidate(model=head)
    if colon and name and _is_number(epochs):
        check_epochs(float(epochs))
        found = Candidate(model=name, epochs=float(epochs))
    elif colon and name and not _belongs(name):
        raise UsageError(
            f"the epochs of {name} are {epochs!r}, which is no number",
            f"write how many after the colon, as in {name}:90",
        )
    if not at:
        return found
    if not named:
        raise UsageError(f"{text!r} has a time and no name", "write whose it is: deep:10@2.4h")
    amount, slash, of = time.partition("/")
    if slash and of not in ("epoch", "step"):
        raise UsageError(
            f"{time!r} is the time of neither an epoch nor a step",
            "write an epoch's as in deep:10@2.4h, a step's as in deep:10@310ms/step",
        )
    seconds = _seconds(amount)
    return replace(found, step_s=seconds) if of == "step" else replace(found, epoch_s=seconds)


def epochs_of(text: str | None) -> float | None:
    """A number of epochs as it is typed; None where nothing is.

    Raises:
        UsageError: it is no number.
    """
    if text is None:
        return None
    if not _is_number(text):
        raise UsageError(f"{text!r} epochs: that is no number", "give how many, as in --epochs 90")
    return float(text)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", text.strip().lower()) is not None


def _belongs(name: str) -> bool:
    """Whether what follows a colon is part of the network's name: 'zoo:resnet50', 'mynet.py:Net'."""
    from .frontends import PACKAGES

    return name.partition(":")[0] in PACKAGES or name.endswith(".py")


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+\.?\d*|\.\d+) *([a-z]+)", text.strip().lower())
    if found is None or found[2] not in SECONDS or not float(found[1]):
        raise UsageError(
            f"{text.strip()!r} is no time",
            "write a number above zero and us, ms, s, min, h or d, as in 2.4h",
        )
    return float(found[1]) * SECONDS[found[2]]


def _candidate(model: Model | Candidate) -> Candidate:
    if isinstance(model, Candidate):
        if model.epochs is not None:
            check_epochs(model.epochs)
        return model
    return candidate(model) if isinstance(model, str) else Candidate(model=model)


def _name(model: Model) -> str:
    return model if isinstance(model, str) else getattr(model, "__name__", type(model).__name__)


def _terms(loader: float | None, prices: str | Path | None) -> Terms:
    if loader is not None:
        check_rate(loader)
    own = None if prices is None else Path(prices)
    return Terms(clock=clock, instances=devices.instances(own=own), samples_per_s=loader)


def _training(settings: Settings) -> Settings:
    """The settings with an optimizer: a run trains."""
    if settings.get("train", "sgd") is None:
        raise UsageError("a run trains, and train is None", "leave it out for sgd, or name another")
    found = settings.copy()
    found.setdefault("train", "sgd")
    return found


def _epochs(candidate: Candidate) -> float:
    if candidate.epochs is None:
        name = _name(candidate.model)
        raise UsageError(
            f"nobody says for how many epochs {name} is trained",
            f"write them after a colon, as in {name}:90, or for all with --epochs 90",
        )
    return candidate.epochs


def _measured(
    candidate: Candidate,
    inputs: Inputs | None,
    settings: Settings,
    places: Sequence[Room],
    terms: Terms,
) -> Run:
    """The run of a candidate whose epoch or step was measured, on the device if one is named."""
    name = _name(candidate.model)
    if len(places) > 1:
        raise UsageError(
            f"the time of {name} was measured on one device, and {len(places)} are named",
            "name the one that it was measured on",
        )
    device = places[0].device if places else None
    epochs = _epochs(candidate)
    if candidate.epoch_s is not None:
        return by_hand(name, epoch_s=candidate.epoch_s, epochs=epochs, device=device, terms=terms)
    assert candidate.step_s is not None
    asked = stepping(Network("", inputs).workload(settings))
    schedule = Schedule(
        dataset=_dataset(asked, name), batch=asked.batch, accumulation=asked.accumulation
    )
    step_s = candidate.step_s
    if terms.samples_per_s is not None:
        step_s = max(step_s, schedule.batch / terms.samples_per_s)
    found = by_hand(
        name, epoch_s=schedule.steps * step_s, epochs=epochs, device=device, terms=terms
    )
    return replace(found, schedule=schedule)


def _predicted(
    candidate: Candidate,
    inputs: Inputs | None,
    settings: Settings,
    places: Sequence[Room],
    terms: Terms,
    *,
    strict: bool,
) -> Iterator[Run]:
    """The run of a network on each of the devices."""
    name = _name(candidate.model)
    epochs = _epochs(candidate)
    if not places:
        raise UsageError(
            f"the run of {name} on which device?",
            "name one, as in --on rtx-4090, or --here",
            f"or give the time of an epoch that you measured, as in {name}:{epochs:g}@2.4h",
        )
    network = Network(candidate.model, inputs)
    asked = network.workload(settings)
    _dataset(asked, name)
    published = None
    for place, room in enumerate(places):
        kernels = settings.get("backend") or backend(room.device)
        on_it = replace(asked, backend=kernels)
        program = network.program(stepping(on_it))
        if strict:
            Weighing(program=program).check_strict()
        if not place and inputs is None:
            published = published_accuracy(program.frontend, program.network)
        yield run_on(
            network.program,
            on_it,
            room,
            terms,
            network=name,
            epochs=epochs,
            accuracy=published,
        )


def _dataset(asked: Workload, name: str) -> int:
    if asked.dataset is None:
        raise UsageError(
            f"an epoch of {name} is how many samples?",
            "give the size of the data set, as in --dataset 1281167",
        )
    return asked.dataset


def published_accuracy(frontend: str, name: str) -> Accuracy | None:
    """What a network was published to reach at its own input size; None where nobody says."""
    if frontend == "zoo":
        from .frontends.zoo import canonical
        from .papers.accuracy import accuracy

        return accuracy(canonical(name) or name)
    if frontend != "torchvision" or not frontends.has(frontend, name):
        return None
    from .frontends.torchvision import published

    found = published(name)
    if found is None:
        return None
    weights, top1, top5 = found
    return Accuracy(
        top1=top1,
        top5=top5,
        dataset="ImageNet-1K",
        source=f"torchvision's weights, one crop: {weights}",
        url="https://docs.pytorch.org/vision/stable/models.html",
    )


def _sites(
    on: On, context: str | int | None, alloc_conf: str | None
) -> tuple[list[Site], tuple[devices.Device, ...]]:
    """The devices to look at, and those of the catalogue whose memory is their buyer's choice."""
    if isinstance(on, str):
        on = [entry.strip() for entry in on.split(",") if entry.strip()]
    elif isinstance(on, devices.Device):
        on = [on]
    sites: list[Site] = []
    without: tuple[devices.Device, ...] = ()
    for entry in on:
        known: list[devices.Device] = []
        if entry == ALL:
            cards = devices.load_all()
            known = [d for d in cards if d.capacity_bytes is not None or d.memory_options_bytes]
            without = tuple(card for card in cards if card not in known)
        found = FOUND.get(entry, "named") if isinstance(entry, str) else "named"
        sites.extend(
            Site(room=room, found=found)
            for room in rooms(known or [entry], context=context, alloc_conf=alloc_conf)
        )
    if not sites:
        raise UsageError("no device was named", "name one, as in --on rtx-4090; all: weigh devices")
    return sites, without
