"""What was measured of devices: the shares of their peaks that were fitted, one file a device.

`fitted/<device>.toml` is written by `python -m benchmarks fit` from published times, and read here:

    dispatch_s = 7e-6                   # the host's time for an operator of an eager program
    low = 0.85                          # a step takes from low to high times its prediction, in 90 of 100 cases
    high = 1.18                         # that were not used in fitting
    basis = "..."                       # what that rests on, in one sentence
    overlap = 3.3                       # how far arithmetic and traffic overlap, and how much faster the last cache is
    cached = 0.6                        # (`Efficiencies`)
    beyond_cache = 0.2                  # share of the bandwidth at which a kernel's bytes beyond half the last cache add

    default = { compute = 0.6, bandwidth = 0.9, launch_s = 3e-6 }      # of classes that were not measured

    [intervals]                         # low and high of steps of one sort, and of those that are extrapolating
    "training, channels-last" = [0.9, 1.2]

    [[classes]]
    kind = "norm"                       # a class of kernels, and which way
    part = "forward"
    compute = 0.9                       # shares of the peak rate and of the bandwidth
    bandwidth = 0.9
    launch_s = 3e-6
    half_rows = 44                      # of a product: with so many rows it reaches half of that (0, if left out)
    sizes = [3e7, 4e9]                  # from and to what size such kernels were measured (`Kernel.size`)

    [compiled]                          # the same of programs that were compiled; a file has either or both
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from math import inf
from types import MappingProxyType
from typing import Any

from .efficiency import Efficiencies, Efficiency


def measured() -> Mapping[str, Efficiencies]:
    """What was fitted of every device that was measured, by its key: of eager programs."""
    return MappingProxyType(
        {key: fitted(table) for key, table in _tables().items() if "default" in table}
    )


def measured_compiled() -> Mapping[str, Efficiencies]:
    """What was fitted of compiled programs, by the device's key."""
    return MappingProxyType(
        {key: fitted(table["compiled"]) for key, table in _tables().items() if "compiled" in table}
    )


@cache
def _tables() -> Mapping[str, dict[str, Any]]:
    files = resources.files(__package__).joinpath("fitted").iterdir()
    named = sorted((file.name.removesuffix(".toml"), file) for file in files)
    return {key: tomllib.loads(file.read_text(encoding="utf-8")) for key, file in named}


def fitted(table: Mapping[str, Any]) -> Efficiencies:
    """What a file says."""
    return Efficiencies(
        default=_efficiency(table["default"]),
        dispatch_s=table["dispatch_s"],
        low=table["low"],
        high=table["high"],
        basis=table["basis"],
        classes={(entry["kind"], entry["part"]): _efficiency(entry) for entry in table["classes"]},
        overlap=table["overlap"],
        cached=table["cached"],
        beyond_cache=table.get("beyond_cache"),
        intervals={sort: (low, high) for sort, (low, high) in table["intervals"].items()},
    )


def _efficiency(table: Mapping[str, Any]) -> Efficiency:
    least, most = table.get("sizes", (0.0, inf))
    return Efficiency(
        compute=table["compute"],
        bandwidth=table["bandwidth"],
        launch_s=table["launch_s"],
        half_rows=table.get("half_rows", 0.0),
        least=least,
        most=most,
    )
