"""The command: fits what published times say of devices, and writes it into the package."""

from __future__ import annotations

from benchmarks.fitting import neusight
from benchmarks.fitting.writing import write


def main(arguments: list[str]) -> int:
    """Fits every device that was measured, or those that are named."""
    found = neusight.fit_all()
    if not found:
        print("no published times are here: they are in ../shared/data/published")
        return 1
    for key, efficiencies in found.items():
        if not arguments or key in arguments:
            write(key, efficiencies)
            print(key, *(f"{kind} {share}" for kind, share in efficiencies.classes.items()))
    return 0
