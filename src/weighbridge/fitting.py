"""Fitting: will a step fit on a device, how large may it be, and what would make it fit?

    >>> import weighbridge
    >>> found = weighbridge.fit("resnet18", train="adamw", batch=64, on="rtx-4090")
    >>> found.resident.answer
    'fits'

A :class:`FitReport` prints as the screen of `weigh fit`, shows as HTML in a notebook, and gives plain data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Unpack, final

from .analyses.memory.fit import Change, Fit
from .analyses.memory.fit import fit as weigh_fit
from .analyses.memory.largest import Binding, Largest, Placed
from .analyses.memory.resident import Resident
from .analyses.weighing import Json, Weighing
from .errors import UsageError
from .network import Network
from .program import Program
from .reports.screen import framed, title
from .reports.screen import remarks as coverage
from .reports.sheet import Sheet
from .reports.tabled import TabledReport
from .rooms import HERE, On, backend, rooms
from .settings import Inputs, Settings

if TYPE_CHECKING:
    from torch.nn import Module


def fit(
    model: str | Module | Callable[..., object],
    inputs: Inputs | None = None,
    *,
    on: On | None,
    context: str | int | None = None,
    alloc_conf: str | None = None,
    **settings: Unpack[Settings],
) -> FitReport:
    """Whether a step of the network fits on a device, the largest that does, and what would make it fit.

    Args:
        model, inputs, settings: as of :func:`weighbridge.weigh`. The backend is the device's.
        on: one device. 'here' is this machine's first GPU, where it has one, else its memory.
        context: bytes that are taken beside tensors, or '512MiB', in place of what the device's card says.
        alloc_conf: a value of PYTORCH_CUDA_ALLOC_CONF.

    Raises:
        UsageError: no device is named or there is no such device, or nobody says how much memory it has.
        WeighError: the network cannot be built, run or read.
    """
    if isinstance(model, Program):
        raise UsageError(
            "a Program is one step under one workload, and fit builds the step at others",
            "give what it was made from: a name, a module or a callable",
        )
    if on is None:
        raise UsageError("fit on which device?", "name one, as in --on rtx-4090, or --here")
    room, *others = rooms(on, context=context, alloc_conf=alloc_conf)
    if others and on != HERE:
        raise UsageError(
            f"fit is of one device, and {len(others) + 1} are named",
            f"name one of them, as in --on {room.device.key or room.device.name}",
        )
    if "backend" not in settings:
        settings["backend"] = backend(room.device)
    network = Network(model, inputs)
    return FitReport(weigh_fit(network.program, network.workload(settings), room))


@final
class FitReport(TabledReport):
    """What was found about a step on a device. Printed, it is the screen of `weigh fit`."""

    def __init__(self, found: Fit) -> None:
        self.found = found
        self.weighing = Weighing(program=found.program)

    def __bool__(self) -> bool:
        """Whether the step surely fits."""
        return bool(self.found.resident)

    @property
    def resident(self) -> Resident:
        """What the step takes of the device, with the answer."""
        return self.found.resident

    @property
    def max_batch(self) -> int:
        """The largest batch that fits; 0 where none does."""
        return self.found.batch.size

    @property
    def largest_batch(self) -> Largest:
        """The largest batch, with the loops built at it and after it."""
        return self.found.batch

    @property
    def largest_size(self) -> Largest | None:
        """The largest image or sequence at the batch; None where the network has neither."""
        return self.found.size

    @property
    def binds(self) -> Binding:
        """What takes most at the peak."""
        return self.found.binds

    @property
    def changes(self) -> tuple[Change, ...]:
        """What would make the step smaller, in the order of advice."""
        return self.found.changes

    @property
    def title(self) -> str:
        return title(self.weighing)

    def sheet(self) -> Sheet:
        """The changes, a row each."""
        from .reports.fit import change_sheet

        return change_sheet(self.found)

    def screen(self, *, width: int | None = None, color: bool = False) -> str:
        """Everything that `weigh fit` prints."""
        from .reports.fit import screen

        return framed(self.weighing, screen(self.found, width=width), width=width, color=color)

    def __repr__(self) -> str:
        found = self.found
        return f"<weighbridge.FitReport of {found.program.network}: {found.resident.answer} {found.device.name}>"

    @property
    def _placed(self) -> Placed:
        return Placed(resident=self.found.resident, largest=self.found.batch)

    @property
    def remarks(self) -> Sequence[str]:
        from .reports.fit import sizes
        from .reports.verdict import sentences

        return (*sentences(self._placed), *sizes(self.found), *coverage(self.weighing))

    def to_dict(self) -> dict[str, Json]:
        """The JSON contract with `devices` and `fit`."""
        from .reports.fit import to_dict

        return to_dict(self.found, self.weighing)
