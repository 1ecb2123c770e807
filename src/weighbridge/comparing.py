"""Comparing: several networks under the same settings, side by side.

    >>> import weighbridge
    >>> found = weighbridge.compare(["vgg16", "resnet50"])
    >>> [network.params for network in found.comparison.networks]
    [138357544, 25557032]

A :class:`ComparisonReport` prints as the table of `weigh compare`, shows as HTML in a notebook, and gives plain data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack, final

from .analyses.comparison import Comparison
from .analyses.comparison import compare as compare_weighings
from .analyses.weighing import Json
from .api import weigh
from .errors import UsageError
from .program import Program
from .reports.tabled import TabledReport
from .settings import Inputs, Settings

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch.nn import Module

    from .reports.sheet import Sheet

By = Literal["network", "module"]


def compare(
    models: Sequence[str | Program | Module | Callable[..., object]],
    inputs: Inputs | None = None,
    *,
    depth: int = 1,
    **settings: Unpack[Settings],
) -> ComparisonReport:
    """Weighs several networks under the same settings and lays them side by side.

    `depth` says which level of modules is compared; the settings are those of :func:`weigh` that say
    how a network is used. Operations are compared in MACs.

    Raises:
        UsageError, WeighError: as :func:`weigh` does, or no network is given.
    """
    if not models:
        raise UsageError("nothing to compare", "name two networks or more")
    reports = [weigh(model, inputs, **settings) for model in models]
    weighings = [report.weighing for report in reports]
    return ComparisonReport(compare_weighings(weighings, depth=depth))


@final
class ComparisonReport(TabledReport):
    """Networks side by side. Printed, it is the table and what the figures say."""

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison

    def sheet(self, by: By = "network") -> Sheet:
        """One row a network, or a module of each."""
        from .reports.comparison import module_sheet, network_sheet

        return network_sheet(self.comparison) if by == "network" else module_sheet(self.comparison)

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

    def save(self, path: str | Path, *, by: By = "network") -> None:
        """Writes a file in the form that its suffix names: .json .csv .md .tex .html .txt.

        Raises:
            UsageError: the suffix names no form, or the file cannot be written.
        """
        self._save(path, lambda: self.sheet(by), lambda: self.screen(by=by))
