"""Run: from a step to a training run on a device: how long, at most what energy, for what money.

    time to train = epochs x steps an epoch x time of a step

A step under its learning rule (L8) holds one sample, a batch, or a batch of many that go into one update. An
update a sample is a step of one sample, N of them an epoch. An update a batch is ceil(N / B) steps. An update an
epoch, as frameworks do it, adds up the gradients of ceil(N / B) micro-steps, forward and backward alone, and
updates once. The last batch of an epoch counts as a whole one, and the first micro-step of an update, which has
nothing to add its gradients to, as the others.

Data loading is a rate that is given: a step takes the longer of its own time and of its batch's loading, which
goes on beside it. Not counted: the first step's warm-up, evaluation after an epoch, checkpoints that are
written, and whatever the host does besides.

Energy is the device's TDP for the whole time: an upper bound of what the device takes, without the machine
around it. Cost is the price of a whole instance, however many devices it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import isfinite
from typing import Literal

from ..devices import Device, Instance
from ..errors import UsageError
from ..program import Program
from ..units import integer
from ..workload import Precision, Workload
from .memory.fit import MICRO_STEPS, micro_batches
from .memory.largest import Build, Room, largest_batch
from .memory.resident import Resident
from .memory.timeline import lifetimes
from .time import step as steps
from .time.clock import Clock
from .time.execution import Launch, launches
from .time.step import Estimate, step_time

Limit = steps.Limit | Literal["data loading"]
"""What most of a step's time goes to: what it does of the step itself, or the loader."""

HOUR = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """What a network was published to reach: `top1` and `top5` are shares, 0 to 1, of a data set's images."""

    top1: float
    top5: float
    dataset: str
    source: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How an epoch goes through a data set: steps of `batch` samples, `accumulation` of them to an update."""

    dataset: int
    batch: int
    accumulation: int

    @property
    def steps(self) -> int:
        """Steps an epoch; the last one may be smaller."""
        return -(-self.dataset // self.batch)

    @property
    def updates(self) -> int:
        """Updates an epoch: N, ceil(N / B) or 1 by the learning rules."""
        return -(-self.steps // self.accumulation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step that is built, with its launches, which are the same on every device of a backend.

    `adding` is the same without its update, where several micro-steps go into one.
    """

    program: Program
    launched: tuple[Launch, ...]
    adding: Step | None = None

    @classmethod
    def of(cls, program: Program) -> Step:
        """The step of a program."""
        adding = None
        if program.workload.accumulation > 1:
            ops = tuple(op for op in program.ops if op.phase != "update")
            part = replace(program, ops=ops)
            adding = cls(program=part, launched=tuple(launches(part)))
        return cls(program=program, launched=tuple(launches(program)), adding=adding)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long steps take: one that ends in an update, and one that only adds to the gradients.

    `rated` is the device whose rates were taken, `extrapolating` are classes of kernels that were not measured.
    `uncounted` operators have no rule, and so no time.
    """

    step: Estimate
    micro: Estimate
    limit: Limit
    rated: Device
    extrapolating: tuple[str, ...] = ()
    uncounted: int = 0

    def epoch(self, schedule: Schedule) -> Estimate:
        """An epoch: every step, of which so many end in an update."""
        adding = schedule.steps - schedule.updates
        return summed((self.step * schedule.updates, self.micro * adding))


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is the same of all runs: how devices tell time, instances to rent, samples a second that are loaded."""

    clock: Callable[[Device, Precision], Clock]
    instances: tuple[Instance, ...] = ()
    samples_per_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One network on one device.

    `batch` is what was asked for; where it does not fit, `largest` is the largest that does (0: none) and the
    schedule has micro-batches of at most that. `workload` is one step as it runs; `resident` what that takes of
    the device. `epoch` may also be given by hand, with nothing else known. `unknown` says why a time is not
    known, and `hints` what to do about it. `rented` is the instance of the lowest price. `complete` is false where
    the network stopped half-way.
    """

    network: str
    device: Device | None = None
    workload: Workload | None = None
    batch: int | None = None
    largest: int | None = None
    resident: Resident | None = None
    schedule: Schedule | None = None
    pace: Pace | None = None
    epoch: Estimate | None = None
    epochs: float | None = None
    unknown: str = ""
    hints: tuple[str, ...] = ()
    rented: Instance | None = None
    accuracy: Accuracy | None = None
    complete: bool = True

    @property
    def total(self) -> Estimate | None:
        """The time to train."""
        return None if self.epoch is None or self.epochs is None else self.epoch * self.epochs

    @property
    def samples_per_s(self) -> float | None:
        """Samples that steps go through in a second."""
        if self.pace is None or self.workload is None:
            return None
        accumulation = self.workload.accumulation
        cycle = self.pace.step.value + (accumulation - 1) * self.pace.micro.value
        return accumulation * self.workload.batch / cycle

    @property
    def energy_j(self) -> float | None:
        """The device's TDP for the time to train: an upper bound of what it takes."""
        return None if self.total is None else self.energy_of(self.total)

    def energy_of(self, time: Estimate) -> float | None:
        """The device's TDP for a time."""
        if self.device is None or self.device.tdp_w is None:
            return None
        return self.device.tdp_w * time.value

    @property
    def cost(self) -> float | None:
        """The price of the rented instance for the time to train, in its currency."""
        return None if self.total is None else self.cost_of(self.total)

    @property
    def cost_of_epoch(self) -> float | None:
        """The same for one epoch."""
        return None if self.epoch is None else self.cost_of(self.epoch)

    @property
    def cost_of_million(self) -> float | None:
        """The same for a million samples."""
        rate = self.samples_per_s
        if rate is None or self.rented is None:
            return None
        return 1e6 / rate / HOUR * self.rented.price_per_hour

    def cost_of(self, time: Estimate) -> float | None:
        """The price of the rented instance for a time."""
        return None if self.rented is None else time.value / HOUR * self.rented.price_per_hour

    @property
    def fits(self) -> bool:
        """Whether what runs surely fits."""
        return self.resident is not None and bool(self.resident)


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """Runs, the fastest first; those of unknown time last."""

    runs: tuple[Run, ...]

    @property
    def timed(self) -> tuple[Run, ...]:
        return tuple(run for run in self.runs if run.total is not None)

    @property
    def devices(self) -> tuple[Device | None, ...]:
        """The devices, in the order in which their fastest runs end."""
        return tuple(dict.fromkeys(run.device for run in self.timed))

    def on(self, device: Device | None) -> tuple[Run, ...]:
        """The runs on a device whose time is known, the fastest first."""
        return tuple(run for run in self.timed if run.device == device)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beaten:
    """A run that another one beats: no slower to train, and published as no less accurate."""

    run: Run
    by: Run


def race(runs: Iterable[Run]) -> Race:
    """The runs in the order in which they end."""
    return Race(runs=tuple(sorted(runs, key=_ends)))


def _ends(run: Run) -> tuple[bool, float]:
    return (True, 0.0) if run.total is None else (False, run.total.value)


def beaten(runs: Sequence[Run]) -> tuple[Beaten, ...]:
    """Of runs on one device, fastest first, those that a faster and no less accurate one beats, by the most accurate."""
    found: dict[str, Beaten] = {}
    for faster, slower in combinations(runs, 2):
        if faster.accuracy is None or slower.accuracy is None:
            continue
        if faster.accuracy.dataset != slower.accuracy.dataset:
            continue
        best = found.get(slower.network)
        if faster.accuracy.top1 >= slower.accuracy.top1 and (
            best is None or best.by.accuracy is None or faster.accuracy.top1 > best.by.accuracy.top1
        ):
            found[slower.network] = Beaten(run=slower, by=faster)
    return tuple(found.values())


def fewer_epochs_lose(runs: Sequence[Run]) -> tuple[Run, Run] | None:
    """Of runs on one device, fastest first: that of fewest epochs where it is not the first, and the first (L22)."""
    known = [run for run in runs if run.epochs is not None]
    if not known:
        return None
    fewest = min(known, key=lambda run: run.epochs or 0.0)
    first = known[0]
    return (fewest, first) if fewest.epochs != first.epochs else None


def stepping(asked: Workload) -> Workload:
    """The workload of one step under its learning rule.

    Raises:
        UsageError: the data set is smaller than the batch, or the rule leaves no room for what was asked.
    """
    dataset = asked.dataset
    if dataset is not None and dataset < asked.batch and asked.learning_rule != "sample":
        raise UsageError(
            f"a data set of {integer(dataset)} samples has no batch of {integer(asked.batch)}",
            "make the batch smaller or the data set larger",
        )
    if asked.learning_rule == "batch" or not asked.training:
        return asked
    if asked.accumulation > 1:
        raise UsageError(
            f"an update a{'n' if asked.learning_rule == 'epoch' else ''} {asked.learning_rule} "
            f"and {asked.accumulation} batches in an update",
            "leave one of the two out: --rule or --accumulate",
        )
    if asked.learning_rule == "sample":
        return replace(asked, batch=1)
    if dataset is None:
        raise UsageError(
            "an update an epoch, and nobody says of how many samples",
            "give the size of the data set, as in --dataset 50000",
        )
    return replace(asked, accumulation=-(-dataset // asked.batch))


def run(
    build: Build,
    asked: Workload,
    room: Room,
    terms: Terms,
    *,
    network: str,
    epochs: float | None,
    accuracy: Accuracy | None = None,
) -> Run:
    """A training run of the network on a device; a batch that does not fit is made of smaller ones, if any fits.

    Raises:
        UsageError: the learning rule, the data set and the batch make no sense together.
        WeighError: the network cannot be built under the workload.
    """
    workload = stepping(asked)
    program = build(workload)
    resident = room.resident(lifetimes(program))
    largest = None
    if resident.answer == "does not fit":
        adding = replace(program.workload, accumulation=max(workload.accumulation, MICRO_STEPS))
        largest = largest_batch(build, adding, room).size
        if largest:
            workload = _of_micro_batches(asked, workload, largest)
            program = build(workload)
            resident = room.resident(lifetimes(program))
    return placed(
        Step.of(program),
        resident,
        terms,
        network=network,
        epochs=epochs,
        batch=stepping(asked).batch,
        largest=largest,
        accuracy=accuracy,
    )


def _of_micro_batches(asked: Workload, workload: Workload, largest: int) -> Workload:
    """The step with micro-batches of at most so many samples."""
    if asked.learning_rule == "epoch":
        return stepping(replace(asked, batch=largest))
    micro, steps = micro_batches(workload.batch, largest)
    return replace(workload, batch=micro, accumulation=workload.accumulation * steps)


def placed(
    step: Step,
    resident: Resident,
    terms: Terms,
    *,
    network: str,
    epochs: float | None = None,
    batch: int | None = None,
    largest: int | None = None,
    accuracy: Accuracy | None = None,
    lenient: bool = False,
) -> Run:
    """The run of a step that is built, on the device that it takes so much of.

    Time is unknown on a device of unknown bandwidth, and if `lenient` on one without a rate for a dtype of the step.

    Raises:
        UsageError: not `lenient`, and the device has no such rate.
    """
    program = step.program
    device, workload = resident.device, program.workload
    schedule = None
    if workload.dataset is not None:
        schedule = Schedule(
            dataset=workload.dataset, batch=workload.batch, accumulation=workload.accumulation
        )
    found: Pace | None = None
    unknown = ""
    hints: tuple[str, ...] = ()
    if resident.answer == "does not fit":
        unknown = "it does not fit"
    else:
        try:
            found = pace(step, terms.clock(device, workload.precision), terms.samples_per_s)
        except UsageError as error:  # what it takes of memory is known all the same
            if device.bandwidth_bytes_per_s is not None and not lenient:
                raise
            unknown, hints = error.message, error.hints
    return Run(
        network=network,
        device=device,
        workload=workload,
        batch=workload.batch if batch is None else batch,
        largest=largest,
        resident=resident,
        schedule=schedule,
        pace=found,
        epoch=None if found is None or schedule is None else found.epoch(schedule),
        epochs=epochs,
        unknown=unknown,
        hints=hints,
        rented=to_rent(terms.instances, device),
        accuracy=accuracy,
        complete=program.complete,
    )


def pace(step: Step, clock: Clock, samples_per_s: float | None = None) -> Pace:
    """How long a step takes, and its micro-steps where several go into an update.

    Raises:
        UsageError: the device has no rate for a dtype of the step, or no bandwidth, or there is nothing to do.
    """
    whole = step_time(step.program, clock, launched=step.launched)
    found = Pace(
        step=whole.seconds,
        micro=whole.seconds,
        limit="host" if whole.waits_for_host else next(iter(whole.by_bound), "overhead"),
        rated=clock.device,
        extrapolating=whole.extrapolating if clock.efficiencies.classes else (),
        uncounted=whole.uncounted,
    )
    if not found.step.value:
        raise UsageError("nothing of this network takes time")
    if step.adding is not None:
        adding = step.adding
        micro = step_time(adding.program, clock, launched=adding.launched)
        found = replace(found, micro=micro.seconds)
    if samples_per_s is None:
        return found
    loading = step.program.workload.batch / samples_per_s
    return replace(
        found,
        step=_at_least(found.step, loading),
        micro=_at_least(found.micro, loading),
        limit="data loading" if loading > found.step.value else found.limit,
    )


def by_hand(
    network: str, *, epoch_s: float, epochs: float, device: Device | None, terms: Terms
) -> Run:
    """A run of which somebody measured an epoch."""
    return Run(
        network=network,
        device=device,
        epoch=Estimate(value=epoch_s, low=epoch_s, high=epoch_s, basis="given by hand"),
        epochs=epochs,
        rented=None if device is None else to_rent(terms.instances, device),
    )


def to_rent(instances: Sequence[Instance], device: Device) -> Instance | None:
    """The instance with the device that costs least an hour as a whole.

    Of the user's own, where there are any with the device; of those with prices in dollars, where there are any.
    """
    known = [instance for instance in instances if instance.device == device.key]
    known = [instance for instance in known if instance.own] or known
    dollars = [instance for instance in known if instance.currency == "USD"]
    return min(dollars or known, key=lambda instance: instance.price_per_hour, default=None)


def summed(estimates: Iterable[Estimate]) -> Estimate:
    """The sum of times that are too long or too short together, as those of one device are."""
    parts = tuple(estimates)
    return Estimate(
        value=sum(part.value for part in parts),
        low=sum(part.low for part in parts),
        high=sum(part.high for part in parts),
        basis=parts[0].basis,
    )


def _at_least(time: Estimate, seconds: float) -> Estimate:
    return replace(
        time,
        value=max(time.value, seconds),
        low=max(time.low, seconds),
        high=max(time.high, seconds),
    )


def check_rate(samples_per_s: float) -> None:
    """Refuses a rate of data loading that feeds nothing.

    Raises:
        UsageError: it is not above zero.
    """
    if not isfinite(samples_per_s) or samples_per_s <= 0:
        raise UsageError(
            f"a loader of {samples_per_s:g} samples a second",
            "give how many samples a second it loads, more than none: --loader 2000",
        )


def check_epochs(epochs: float) -> None:
    """Refuses a number of epochs in which nothing is trained.

    Raises:
        UsageError: it is not above zero.
    """
    if not isfinite(epochs) or epochs <= 0:
        raise UsageError(f"{epochs:g} epochs", "give how many, more than none: resnet50:90")
