"""Published accuracies of the zoo's networks, by their source: a file of `accuracies` each.

Those of torchvision's weights are all of one protocol: one crop of 224 x 224 from an image whose shorter side is 256.
Papers cut ten crops, or a larger one, so that their figures would not stand beside these.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from ..analyses.run import Accuracy


def accuracy(network: str) -> Accuracy | None:
    """What a network was published to reach, by the zoo's own name for it; None where nobody says."""
    return _accuracies("torchvision").get(network)


@cache
def _accuracies(source: str) -> Mapping[str, Accuracy]:
    folder = resources.files(__package__).joinpath("accuracies")
    table = tomllib.loads(folder.joinpath(f"{source}.toml").read_text(encoding="utf-8"))
    return {
        name: Accuracy(
            top1=row["top1"] / 100,
            top5=row["top5"] / 100,
            dataset=table["dataset"],
            source=f"{table['title']}: {row['member']}",
            url=table["url"],
        )
        for name, row in table["networks"].items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure3:
    """Errors by network, each with who published it, and the setting that all of them share."""

    citation: str
    setting: str
    errors: Mapping[str, tuple[float, str]]


def figure3() -> Figure3:
    """The networks of DenseNet's figure 3 that the zoo has, with their published validation errors, 0 to 1."""
    folder = resources.files(__package__).joinpath("accuracies")
    table = tomllib.loads(folder.joinpath("densenet-figure3.toml").read_text(encoding="utf-8"))
    return Figure3(
        citation=table["citation"],
        setting=table["setting"],
        errors={
            name: (row["top1_error"] / 100, table["sources"][row["source"]])
            for name, row in table["networks"].items()
        },
    )
