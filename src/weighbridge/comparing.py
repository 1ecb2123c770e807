"""Comparing: several networks under the same settings, side by side.

    >>> import weighbridge
    >>> found = weighbridge.compare(["vgg16", "resnet50"])
    >>> [network.params for network in found.comparison.networks]
    [138357544, 25557032]

A :class:`ComparisonReport` prints as the table of `weigh compare`, shows its page in a notebook, and gives plain data.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack, final

from .analyses.comparison import Comparison, Pace
from .analyses.comparison import compare as compare_weighings
from .analyses.run import Accuracy
from .analyses.time.step import StepTime
from .analyses.weighing import Json, Weighing
from .api import Report, weigh
from .devices import Device
from .errors import UsageError
from .pages import rest
from .program import Program
from .reports import files
from .reports.tabled import TabledReport
from .rooms import On, rooms
from .running import published_accuracy
from .settings import Inputs, Settings, examples, workload

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch.nn import Module

    from .reports.comparison import By
    from .reports.sheet import Sheet


def compare(
    models: Sequence[str | Program | Module | Callable[..., object]],
    inputs: Inputs | None = None,
    *,
    depth: int = 1,
    on: On | None = None,
    **settings: Unpack[Settings],
) -> ComparisonReport:
    """Weighs several networks under the same settings and lays them side by side.

    `depth` says which level of modules is compared, `on` on which devices a step is timed; the settings are those of
    :func:`weigh` that say how a network is used. Operations are compared in MACs.

    Raises:
        UsageError, WeighError: as :func:`weigh` does, or no network is given.
    """
    if not models:
        raise UsageError("nothing to compare", "name two networks or more")
    devices = () if on is None else tuple(room.device for room in rooms(on))
    reports = [weigh(model, inputs, on=devices or None, **settings) for model in models]
    found = compare_weighings(
        [report.weighing for report in reports],
        depth=depth,
        paces=[_paces(report, devices) for report in reports],
        accuracies=[None if inputs else _accuracy(report) for report in reports],
    )
    return ComparisonReport(found, _command(models, reports[0].weighing, inputs, devices))


def _paces(report: Report, devices: Sequence[Device]) -> tuple[Pace, ...]:
    """How long the step takes on each of the devices."""
    return tuple(
        Pace(device=device.name, seconds=time.seconds)
        if isinstance(time, StepTime)
        else Pace(device=device.name, why=time.why)
        for device, time in zip(devices, report.times, strict=True)
    )


def _accuracy(report: Report) -> Accuracy | None:
    """What the network was published to reach, at the input size that it has when none is given."""
    frontend, _, name = report.source.partition(":")
    return published_accuracy(frontend, name)


def _command(
    models: Sequence[object], weighing: Weighing, inputs: Inputs | None, devices: Sequence[Device]
) -> str:
    """The command that prints the same; nothing where a network or its inputs cannot be typed."""
    from .reports.page.record import on, options

    names = [model for model in models if isinstance(model, str)]
    if len(names) < len(models) or examples(inputs) is not None:
        return ""
    given, used = workload(inputs, {}).inputs, weighing.program.workload
    parts = [
        "weigh compare",
        *map(shlex.quote, names),
        *(f"--input {shlex.quote(spec.text)}" for spec in given),
        f"--batch {used.batch}",
        *options(used),
        *rest(weighing),
        *([f"--on {','.join(map(on, devices))}"] if devices else ()),
    ]
    return " ".join(parts)


@final
class ComparisonReport(TabledReport):
    """Networks side by side. Printed, it is the table and what the figures say.

    `command` prints the same, where one can be typed.
    """

    def __init__(self, comparison: Comparison, command: str = "") -> None:
        self.comparison = comparison
        self.command = command

    def sheet(self, by: By = "network") -> Sheet:
        """One row a network, a module of each, or a place where they align: maps of one size, modules of one path."""
        from .reports.comparison import sheet

        return sheet(self.comparison, by)

    def screen(self, *, by: By = "network", width: int | None = None, color: bool = False) -> str:
        """Everything that `weigh compare` prints."""
        from .reports.comparison import screen

        return screen(self.comparison, self.sheet(by), width=width, color=color)

    def __repr__(self) -> str:
        names = ", ".join(network.network for network in self.comparison.networks)
        return f"<weighbridge.ComparisonReport of {names}>"

    @property
    def title(self) -> str:
        return "Networks compared"

    @property
    def remarks(self) -> Sequence[str]:
        from .reports.comparison import basis, findings

        return (*findings(self.comparison), basis(self.comparison))

    def to_dict(self) -> dict[str, Json]:
        """Networks, their modules and the findings as plain data."""
        from .reports.comparison import record

        return record(self.comparison)

    def to_dataframe(self, by: By = "network") -> DataFrame:
        """One row a network, or a module of each.

        Raises:
            WeighError: pandas is not installed.
        """
        from .reports import dataframe

        return dataframe.render(self.sheet(by))

    def _repr_html_(self) -> str:
        from .reports import html

        return html.framed(self.page(), super()._repr_html_(), title=self.title)

    def page(self) -> str:
        """The page: figures side by side, accuracy against cost, and where the networks align."""
        from .reports.page.comparison import render

        return render(self.comparison, self.command, title=self.title, json=self.to_json())

    def save(self, path: str | Path, *, by: By = "network") -> None:
        """Writes a file in the form that its suffix names: .json .csv .md .tex .html .txt.

        `.html` is the page; with another `by`, that table.

        Raises:
            UsageError: the suffix names no form, or the file cannot be written.
        """
        if by == "network" and files.suffix_of(Path(path)) == ".html":
            files.write(Path(path), self.page())
        else:
            self._save(path, lambda: self.sheet(by), lambda: self.screen(by=by))
