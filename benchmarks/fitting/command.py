"""The command: fits what published times say of devices, and writes it into the package."""

from __future__ import annotations

from benchmarks.fitting import compiled, networks, neusight
from benchmarks.fitting.writing import write


def main(arguments: list[str]) -> int:
    """Fits every device that was measured, or those that are named."""
    steps = {key: fitted.efficiencies for key, fitted in networks.fit_networks().items()}
    found, found_compiled = {**neusight.fit_all(), **steps}, dict(compiled.fit_all())
    if not found:
        print("no published times are here: they are in ../shared/data/published")
        return 1
    for key in sorted(found.keys() | found_compiled.keys()):
        if arguments and key not in arguments:
            continue
        write(key, found.get(key), found_compiled.get(key))
        for what, fitted in (("eager", found.get(key)), ("compiled", found_compiled.get(key))):
            if fitted is not None:
                classes = (f"{kind} {share}" for kind, share in fitted.classes.items())
                print(key, what, *classes)
    return 0
