"""What the zoo says about a network, and what the file of a family must offer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ...workload import InputSpec

if TYPE_CHECKING:
    from ...builder import Builder
    from ...program import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network of the zoo: where it was published, what goes in, how deep it is.

    `inputs` are the default inputs, without the batch axis. `depth` counts weight layers
    (convolutions and matrix products with trained weights) along the longest path from input to
    output, as papers do. `note` says which reading of the publication this is, where there are several.
    """

    name: str
    title: str
    citation: str
    year: int
    inputs: tuple[InputSpec, ...]
    depth: int
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """Where a network ends: its outputs, and how training turns them into one loss.

    `loss_weights` weigh the losses of several outputs, 0 leaving one out. `loss` is what the workload's loss 'auto'
    means for this network.
    """

    outputs: tuple[Tensor, ...]
    loss_weights: tuple[float, ...] = ()
    loss: str = "auto"


class Family(Protocol):
    """A file of the zoo: the networks of one family, and the function that builds any of them."""

    NETWORKS: Mapping[str, Network]

    def build(self, net: Builder, name: str, x: Tensor) -> Ends:
        """Runs network `name` on the input `x`, batch axis included.

        Raises:
            ShapeError: the input does not fit; the message names the layer and the shapes.
        """


IMAGENET = InputSpec(shape=(3, 224, 224), name="input")
"""A colour image of ImageNet's usual size, channels first."""


def networks(*entries: Network) -> Mapping[str, Network]:
    """The entries by name."""
    return {entry.name: entry for entry in entries}
