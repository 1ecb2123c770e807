"""Published accuracies of the zoo's networks, by their source: a file of `accuracies` each.

Those of torchvision's weights are all of one protocol: one crop of 224 x 224 from an image whose shorter side is 256.
Papers cut ten crops, or a larger one, so that their figures would not stand beside these.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
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
