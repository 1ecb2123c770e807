"""weighbridge weighs a deep neural network before it runs.

    import weighbridge

    report = weighbridge.weigh("resnet50", batch=32, train="sgd")
    print(report)

Importing it loads nothing: each name below is fetched from its module when it is first used.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as in `typing`, which takes longer to import than all of this

if TYPE_CHECKING:
    from .api import PaperReport as PaperReport
    from .api import Report as Report
    from .api import networks as networks
    from .api import operators as operators
    from .api import paper as paper
    from .api import weigh as weigh
    from .comparing import ComparisonReport as ComparisonReport
    from .comparing import compare as compare
    from .errors import NotationError as NotationError
    from .errors import ShapeError as ShapeError
    from .errors import StrictError as StrictError
    from .errors import UsageError as UsageError
    from .errors import WeighError as WeighError
    from .fitting import FitReport as FitReport
    from .fitting import fit as fit
    from .measuring import MeasureReport as MeasureReport
    from .measuring import calibrate as calibrate
    from .measuring import measure as measure
    from .ops.base import Cost as Cost
    from .ops.custom import forget_rule as forget_rule
    from .ops.custom import rule as rule
    from .program import Op as Op
    from .program import Program as Program
    from .rooflines import RooflineReport as RooflineReport
    from .rooflines import roofline as roofline
    from .running import Candidate as Candidate
    from .running import RunReport as RunReport
    from .running import WhereReport as WhereReport
    from .running import run as run
    from .running import where as where
    from .scales import Scale as Scale
    from .scales import scale as scale
    from .sweeping import SweepReport as SweepReport
    from .sweeping import sweep as sweep
    from .workload import InputSpec as InputSpec
    from .workload import Workload as Workload

__version__ = "0.1.0"

_HOMES = {
    "api": ("PaperReport", "Report", "networks", "operators", "paper", "weigh"),
    "comparing": ("ComparisonReport", "compare"),
    "errors": ("NotationError", "ShapeError", "StrictError", "UsageError", "WeighError"),
    "fitting": ("FitReport", "fit"),
    "measuring": ("MeasureReport", "calibrate", "measure"),
    "ops.base": ("Cost",),
    "ops.custom": ("forget_rule", "rule"),
    "program": ("Op", "Program"),
    "rooflines": ("RooflineReport", "roofline"),
    "running": ("Candidate", "RunReport", "WhereReport", "run", "where"),
    "scales": ("Scale", "scale"),
    "sweeping": ("SweepReport", "sweep"),
    "workload": ("InputSpec", "Workload"),
}  # fmt: skip

_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["__version__", *_HOME_OF]  # noqa: PLE0604 - the names are texts, all of them


def __getattr__(name: str) -> object:
    if name not in _HOME_OF and name != "plot":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if name == "plot":
        return import_module(".plot", __name__)
    return getattr(import_module(f".{_HOME_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
