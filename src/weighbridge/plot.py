"""Pictures for papers and slides, each of what an analysis found.

    >>> from weighbridge import plot
    >>> picture = plot.depth(["vgg16", "resnet50"])
    >>> picture.save("depth.svg", span=1)  # doctest: +SKIP

A :class:`Picture` prints as the table of its figures, shows itself in a notebook, and saves as .png .svg .pdf, or as
the table: .json .csv .md .tex .html .txt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Unpack, final

from . import frontends
from .analyses.growth import Axis, Growth
from .analyses.growth import growth as grown
from .analyses.pareto import MEASURES, Measure
from .analyses.standing import Standing, standing
from .analyses.time.step import Estimate, step_time
from .analyses.weighing import Json, Weighing
from .api import Report, weigh
from .devices import Device
from .errors import UsageError, WeighError
from .network import Network
from .program import Program
from .reports import files
from .reports.plots import growth as growth_picture
from .reports.plots import memory as memory_picture
from .reports.plots import networks as networks_picture
from .reports.plots import panels, style
from .reports.plots.style import Span, told
from .reports.screen import coverage, title
from .reports.sheet import Sheet
from .reports.table import Line, labelled, render, written
from .reports.tabled import TabledReport
from .rooms import HERE, On, backend, clock, rooms
from .running import published_accuracy
from .settings import Inputs, Settings
from .units import plural
from .workload import check_choice

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch.nn import Module

DEPTHS = (
    "alexnet", "vgg11", "vgg13", "vgg16", "vgg19", "googlenet", "resnet18", "resnet34", "resnet50", "resnet101",
    "resnet152", "densenet121", "densenet161", "densenet169", "densenet201", "mobilenet_v2", "vit_b_16",
)  # fmt: skip
"""The zoo's networks for ImageNet, one reading of each."""

LISTED = 20
"""So many names have room below a picture."""

GROUPS = ("zoo", "torchvision")
"""Frontends whose networks can all be named at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """How a picture is drawn over so many columns of a paper."""

    inches: Callable[[Span], style.Size]
    draw: Callable[[Figure, Span], None]


@final
class Picture(TabledReport):
    """A picture with the figures that it shows. Printed, it is their table.

    `remarks` say what it shows, where that is from, and what was left out.
    """

    def __init__(
        self,
        name: str,
        drawing: Drawing,
        sheet: Sheet,
        record: dict[str, Json],
        *,
        title: str,
        remarks: Sequence[str],
    ) -> None:
        self.name = name
        self._title = title
        self._remarks = tuple(remarks)
        self._drawing = drawing
        self._sheet = sheet
        self._record = record

    @property
    def title(self) -> str:
        return self._title

    @property
    def remarks(self) -> Sequence[str]:
        return self._remarks

    def sheet(self) -> Sheet:
        """The figures as a table."""
        return self._sheet

    def screen(self, *, width: int | None = None, color: bool = False) -> str:
        """What `weigh plot` prints where no file is named."""
        blank: Line = ()
        lines = [*labelled("", self.title, width=width, style="bold"), blank]
        lines += render(self._sheet, width=width)
        for remark in self.remarks:
            lines += [blank, *labelled("", remark, width=width)]
        return written(lines, color=color)

    def __repr__(self) -> str:
        return f"<weighbridge.plot.Picture {self.name}: {self.title}>"

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows; the table's text in its place where there is no matplotlib."""
        if find_spec("matplotlib") is None:
            return None
        return style.rendered(".png", self._drawing.inches(2), self._over(2))

    def to_dict(self) -> dict[str, Json]:
        """The figures as plain data."""
        return {
            "picture": self.name,
            "title": self.title,
            **self._record,
            "remarks": list(self.remarks),
        }

    def save(self, path: str | Path, *, span: Span = 2) -> None:
        """Writes a picture, .png .svg .pdf, over one column of a paper or two, or the table in another form.

        Raises:
            UsageError: the suffix names no form, the file cannot be written, or there are not 1 or 2 columns.
            WeighError: a picture, and matplotlib is not installed.
        """
        style.check_span(span)
        if files.suffix_of(Path(path), also=files.PICTURES) in files.PICTURES:
            style.save(path, self._drawing.inches(span), self._over(span))
        else:
            super().save(path)

    def _over(self, span: Span) -> Callable[[Figure], None]:
        return lambda figure: self._drawing.draw(figure, span)


# -- networks compared ---------------------------------------------------------------------------


def tradeoff(
    networks: str | Sequence[str] = "zoo",
    *,
    x: str | Sequence[str] | None = None,
    on: On | None = None,
    **settings: Unpack[Settings],
) -> Picture:
    """What networks reach over what they cost (L18), with those that no other beats on a line.

    Args:
        networks: names, or 'zoo' and 'torchvision' for all that they have.
        x: of 'params', 'macs', 'memory' and 'time'; all that are known where none is given.
        on: the device of the time.
        settings: as of :func:`weighbridge.weigh`.

    Raises:
        UsageError: there is no such measure or device, time is asked for on none, or nobody published what any of the
            networks reaches.
        WeighError: a network that was named cannot be built, run or read.
    """
    measures = _measures(x, on)
    device = _device(on)
    known = _published(_expanded(networks))
    chosen = [entry for entry in known if entry.top1 is not None]
    without = [entry.name for entry in known if entry.top1 is None]
    for entry in known:
        if entry.top1 is None and not entry.grouped:
            weigh(entry.name, **settings)  # which says so where no network is called that
    if not chosen:
        raise UsageError(
            f"nobody is known to have published what {_listed(without)} reach",
            "name networks of the zoo or of torchvision that classify ImageNet",
        )
    standings, left = _standings(chosen, device, settings)
    drawn = networks_picture.tradeoff(standings, measures)
    said = [
        f"{_at(standings)}; top-1 accuracy on ImageNet's validation set, one crop, as published with "
        "torchvision's weights, of the first recipe where there are several; the dashed line joins the networks "
        "that no other beats in both",
        *_on(device),
    ]
    return _compared(
        "tradeoff",
        drawn,
        standings,
        "Accuracy over cost",
        [*said, *_without(_listed(without)), *left],
        device,
        measures,
        below=[*said, *_without(_counted(without)), *left],
    )


def depth(networks: str | Sequence[str] = DEPTHS, **settings: Unpack[Settings]) -> Picture:
    """Depth against parameters, operations and memory (L20).

    Raises:
        WeighError: a network that was named cannot be built, run or read.
    """
    standings, left = _standings(_expanded(networks), None, settings)
    remarks = [
        f"{_at(standings)}; depth counts convolutions and matrix products with trained weights along the longest path",
        *left,
    ]
    return _compared(
        "depth",
        networks_picture.depth(standings),
        standings,
        "Deeper networks need not be heavier",
        remarks,
    )


def densenet_figure3() -> Picture:
    """DenseNet's figure 3 (L18): validation error of ResNets and DenseNets over parameters and over FLOPs.

    Parameters and FLOPs are the tool's own, errors are those that the authors published.
    """
    from .papers.accuracy import figure3

    found = figure3()
    named = [
        _Named(name=f"zoo:{name}", top1=1 - error, origin=source)
        for name, (error, source) in found.errors.items()
    ]
    standings, _ = _standings(named, None, {})
    sources = ", ".join(dict.fromkeys(one.origin for one in standings))
    remarks = [
        f"Errors: {found.setting}; from {sources}. Parameters and FLOPs: counted here, of one image of "
        "3 x 224 x 224. ResNets with the stride in the 3x3 convolution, as their errors were measured. "
        f"After {found.citation}, figure 3",
    ]
    return _compared(
        "densenet-figure3",
        networks_picture.figure3(standings),
        standings,
        "ResNet against DenseNet: error over parameters and over operations",
        remarks,
        errors=True,
    )


# -- one network ---------------------------------------------------------------------------------


def growth(
    model: str | Program | Module | Callable[..., object],
    inputs: Inputs | None = None,
    *,
    over: Axis = "batch",
    on: On | None = None,
    strict: bool = False,
    **settings: Unpack[Settings],
) -> Picture:
    """How parameters, operations, peak memory and time of a step grow with its batch, or with its input's size.

    Args:
        model, inputs, settings: as of :func:`weighbridge.weigh`.
        over: 'batch', or 'size': of the image, or of the sequence.
        on: the device of the time; without one there is none.
        strict: refuse a network in which an operator was not counted.

    Raises:
        UsageError: the input has no size that could grow, or the network is a Program, which cannot.
        WeighError: the network cannot be built, run or read.
    """
    check_choice("growth", over, ("batch", "size"))
    device = _device(on)
    if device is not None and "backend" not in settings:
        settings["backend"] = backend(device)
    network = Network(model, inputs)
    if network.fixed:
        raise UsageError(
            "a Program is one step as it ran, and cannot grow", "give the network that it is of"
        )
    found: Growth = grown(
        network.program,
        network.workload(settings),
        over,
        timed=None if device is None else lambda program: _seconds(program, device),
    )
    first = Weighing(program=found.first)
    if strict:
        first.check_strict()
    workload = found.first.workload
    step = f"training with {workload.optimizer.name}" if workload.optimizer else "inference"
    batch = "" if over == "batch" else f", batch {workload.batch}"
    remarks = [
        f"One step of {step}{batch}, {workload.precision}: operations of all its phases, peak of its tensors",
        *_on(device),
        *_refused(found),
        coverage(first),
    ]
    name = f"{found.first.network}: growth with the {found.what}"
    below = told(remarks)
    return Picture(
        "growth",
        Drawing(
            inches=lambda span: growth_picture.inches(found, span),
            draw=lambda figure, span: growth_picture.draw(
                figure, found, title=name, told=below, span=span
            ),
        ),
        growth_picture.sheet(found),
        growth_picture.record(found),
        title=name,
        remarks=remarks,
    )


def memory(
    model: str | Program | Module | Callable[..., object],
    inputs: Inputs | None = None,
    *,
    strict: bool = False,
    **settings: Unpack[Settings],
) -> Picture:
    """Memory over one step, stacked by what it is for, with its peak marked.

    Raises: as :func:`weighbridge.weigh` does.
    """
    from .reports.memory import curve_sheet, record

    report: Report = weigh(model, inputs, strict=strict, **settings)
    weighing = report.weighing
    usage = report.memory
    name = title(weighing)
    remarks = [
        f"Tensors over {'the first' if usage.timeline.round == 'first' else 'a later'} step of a loop, exactly; what an allocator keeps beside them is not "
        "in it",
        coverage(weighing),
    ]
    below = told(remarks)
    return Picture(
        "memory",
        Drawing(
            inches=memory_picture.inches,
            draw=lambda figure, span: memory_picture.draw(
                figure, weighing, title=name, told=below, span=span
            ),
        ),
        curve_sheet(usage, usage.timeline.round),
        {"memory": record(usage)},
        title=name,
        remarks=remarks,
    )


# -- what they share -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    """A network by name; one of a group may be left out where it cannot be weighed."""

    name: str
    top1: float | None = None
    origin: str = ""
    grouped: bool = False


def _compared(
    name: str,
    drawn: Sequence[panels.Panel],
    standings: Sequence[Standing],
    title: str,
    remarks: Sequence[str],
    device: Device | None = None,
    fronts: Sequence[Measure] = (),
    errors: bool = False,
    below: Sequence[str] | None = None,
) -> Picture:
    """A picture of networks; `below` is what stands below it, where that is not all the remarks."""
    sentences = told(remarks if below is None else below)
    return Picture(
        name,
        Drawing(
            inches=lambda span: panels.inches(drawn, span),
            draw=lambda figure, span: panels.draw(
                figure, drawn, title=title, told=sentences, span=span
            ),
        ),
        networks_picture.sheet(
            standings, on="" if device is None else device.name, fronts=fronts, errors=errors
        ),
        networks_picture.record(standings, fronts=fronts),
        title=title,
        remarks=remarks,
    )


def _measures(x: str | Sequence[str] | None, on: On | None) -> tuple[Measure, ...]:
    if x is None:
        return tuple(measure for measure in MEASURES if measure != "time" or on is not None)
    asked = [part.strip() for part in x.split(",")] if isinstance(x, str) else list(x)
    for measure in asked:
        check_choice("measure", measure, MEASURES)
    if "time" in asked and on is None:
        raise UsageError("the time on which device?", "name one, as in --on rtx-4090, or --here")
    return tuple(measure for measure in MEASURES if measure in asked)


def _device(on: On | None) -> Device | None:
    if on is None:
        return None
    room, *others = rooms(on)
    if others and on != HERE:
        raise UsageError(
            f"a picture's time is of one device, and {len(others) + 1} are named",
            f"name one of them, as in --on {room.device.key or room.device.name}",
        )
    return room.device


def _on(device: Device | None) -> tuple[str, ...]:
    if device is None:
        return ()
    return (
        f"time: predicted on {device.name}; in nine cases of ten it lies within the bar or the band",
    )


def _expanded(networks: str | Sequence[str]) -> tuple[_Named, ...]:
    """The networks that are named, a group's by name; what the zoo has is not taken from torchvision once more."""
    asked = networks.split(",") if isinstance(networks, str) else networks
    found: dict[str, _Named] = {}
    for entry in filter(None, map(str.strip, asked)):
        if entry not in GROUPS:
            found.setdefault(entry, _Named(name=entry))
            continue
        if not frontends.installed(entry):
            raise UsageError(f"{entry} is not installed", "try: pip install 'weighbridge[torch]'")
        for name in _members(entry):
            found.setdefault(f"{entry}:{name}", _Named(name=f"{entry}:{name}", grouped=True))
    if not found:
        raise UsageError("no network is named", "name some, or all of one place: zoo, torchvision")
    return tuple(found.values())


def _members(group: str) -> tuple[str, ...]:
    if group == "zoo":
        from .frontends.zoo import FAMILIES

        return tuple(name for family in FAMILIES.values() for name in family)
    return tuple(
        name
        for name in frontends.names(group)
        if not frontends.has("zoo", name) and not name.startswith("quantized_")
    )


def _published(named: Sequence[_Named]) -> tuple[_Named, ...]:
    """The networks with what they were published to reach, as far as somebody did."""
    found = []
    for one in named:
        prefix, colon, name = one.name.partition(":")
        frontend, bare = (prefix, name) if colon else (_home(one.name), one.name)
        accuracy = published_accuracy(frontend, bare)
        if accuracy is not None:
            one = replace(one, top1=accuracy.top1, origin=accuracy.source)
        found.append(one)
    return tuple(found)


def _home(name: str) -> str:
    """Which frontend a name without a prefix is taken from, of those whose accuracies are known."""
    return next((group for group in GROUPS if frontends.has(group, name)), "")


def _standings(
    named: Sequence[_Named], device: Device | None, settings: Settings
) -> tuple[tuple[Standing, ...], tuple[str, ...]]:
    """The networks weighed, and a sentence for each that could not be, of those that only their group named."""
    if device is not None and "backend" not in settings:
        settings["backend"] = backend(device)
    found: list[Standing] = []
    left: list[str] = []
    for one in named:
        try:
            weighing = weigh(one.name, **settings).weighing
            seconds = None if device is None else _seconds(weighing.program, device)
        except UsageError:
            raise
        except WeighError as error:
            if not one.grouped:
                raise
            left.append(f"left out: {one.name}: {error.message}")
            continue
        found.append(standing(weighing, seconds=seconds, top1=one.top1, origin=one.origin))
    if not found:
        raise WeighError("none of the networks can be weighed so", *left[:3])
    return tuple(found), tuple(left)


def _seconds(program: Program, device: Device) -> Estimate:
    return step_time(program, clock(device, program.workload.precision)).seconds


def _refused(found: Growth) -> tuple[str, ...]:
    """At which sizes there is no step, and why at the first of them."""
    if not found.refused:
        return ()
    sizes = ", ".join(str(size) for size, _ in found.refused)
    return (f"not at {found.what} {sizes}: {found.refused[0][1]}",)


def _at(standings: Sequence[Standing]) -> str:
    return (
        f"{plural(len(standings), 'network')}, batch {standings[0].batch}, each at its own input size; "
        "1 MAC = 2 FLOPs"
    )


def _without(names: str) -> tuple[str, ...]:
    return (f"left out, since nobody published what they reach: {names}",) if names else ()


def _counted(named: Sequence[str]) -> str:
    """The names, or how many they are where a picture has no room for them."""
    if len(named) <= LISTED:
        return _listed(named)
    return f"{plural(len(named), 'network')}, which the table names"


def _listed(named: Sequence[str]) -> str:
    return ", ".join(name.partition(":")[2] or name for name in named)
