"""How a network is used: what one step of it does.

A Workload is data. It says whether a step is inference or training, what goes in, in which precision,
and by which rule the weights are updated. Frontends turn a network and a workload into a Program.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from .dims import BITS, Shape
from .errors import UsageError, nearest
from .units import integer

Mode = Literal["inference", "training"]
LearningRule = Literal["sample", "batch", "epoch"]

LARGEST_DIMENSION = 10**12
"""A size above this is a slip of the keyboard, not a layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """One input of a network: a shape *without* its batch axis, and a dtype (None: the workload's)."""

    shape: Shape
    dtype: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer:
    """An update rule by name, with its settings (`momentum`, `nesterov`, ...).

    Which names there are, what state each keeps and what an update costs is `ops/optimizers.py`'s.
    """

    name: str
    settings: Mapping[str, float | bool] = field(default_factory=dict)

    @property
    def text(self) -> str:
        parts = [self.name]
        for key, value in self.settings.items():
            if value is True:
                parts.append(key)
            elif value:
                parts.append(f"{key} {value:g}")
        return " ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One step: `mode`, the `batch`, what goes in, the precision, and how weights are updated.

    `inputs` empty means that the frontend finds the shapes; a frontend returns the workload with
    the shapes that it used. `input_gradient` asks for the gradient of the inputs too, which a plain
    training step never computes. `loss` is 'auto' (cross-entropy where the output looks like logits,
    the mean elsewhere), 'cross-entropy' or 'mean'.

    `accumulation` micro-steps of `batch` samples each go into one update: the step is then the last of
    them, in which the gradients of those before are there already. `trained` names the modules (dotted
    scopes) or parameters that are trained, everything else being frozen; empty, all are.
    """

    mode: Mode = "inference"
    batch: int = 1
    inputs: tuple[InputSpec, ...] = ()
    dtype: str = "float32"
    optimizer: Optimizer | None = None
    learning_rule: LearningRule = "batch"
    dataset: int | None = None
    input_gradient: bool = False
    loss: str = "auto"
    accumulation: int = 1
    trained: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_dimension(self.batch, "the batch")
        check_dimension(self.accumulation, "the number of micro-steps in an update")
        if self.dataset is not None:
            check_dimension(self.dataset, "the dataset's size")
        for spec in self.inputs:
            for size in spec.shape:
                check_dimension(size, f"the input shape {spec.shape}")
            if spec.dtype is not None:
                check_dtype(spec.dtype)
        check_dtype(self.dtype)

    @property
    def training(self) -> bool:
        return self.mode == "training"

    def trains(self, parameter: str) -> bool:
        """Whether the parameter of that dotted path is trained, as far as the workload says."""
        return not self.trained or any(within(parameter, scope) for scope in self.trained)

    def check_trained(self, parameters: Iterable[str]) -> None:
        """Refuses a choice of what is trained that names nothing in the network of these parameters.

        Raises:
            UsageError: no parameter lies in one of the scopes.
        """
        paths = tuple(parameters)
        scopes = {path.rpartition(".")[0] for path in paths} - {""}
        for scope in self.trained:
            if any(within(path, scope) for path in paths):
                continue
            near = nearest(scope, (*scopes, *paths))
            raise UsageError(
                f"only {scope!r} is to be trained, and the network has no such module with parameters",
                f"nearest: {', '.join(near)}" if near else "its modules: weigh NETWORK --tree",
            )


def within(path: str, scope: str) -> bool:
    """Whether a dotted path is the scope's own or lies under it."""
    return path == scope or path.startswith(f"{scope}.")


def check_dimension(size: int, where: str) -> None:
    """Refuses sizes that no tensor has.

    Raises:
        UsageError: the size is not a whole number from 1 to LARGEST_DIMENSION.
    """
    if isinstance(size, bool) or not isinstance(size, int):
        raise UsageError(f"{where} has {size!r}, which is not a whole number")
    if size < 1:
        raise UsageError(f"{where} has {size}, and a size is at least 1")
    if size > LARGEST_DIMENSION:
        raise UsageError(
            f"{where} has {integer(size)}, and the largest size taken is {integer(LARGEST_DIMENSION)}"
        )


def check_dtype(dtype: str) -> None:
    """Refuses dtypes that have no size.

    Raises:
        UsageError: no dtype has that name.
    """
    if dtype not in BITS:
        near = nearest(dtype, BITS)
        raise UsageError(
            f"no dtype is called {dtype!r}",
            f"nearest: {', '.join(near)}" if near else f"there are: {', '.join(BITS)}",
        )
