"""Rooflines: what bounds each piece of a step on a device, and how near it comes to that.

    >>> import weighbridge
    >>> found = weighbridge.roofline("vgg16", on="rtx-4090", by="layer")
    >>> found.pieces[0].bound
    'memory'

A :class:`RooflineReport` prints as the screen of `weigh roofline`, shows as HTML in a notebook, draws itself, and
gives plain data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack, final

from .analyses.time.outsized import Outsized, outsized
from .analyses.time.roofline import BY, By, Piece, Roofline
from .analyses.time.roofline import roofline as drawn_up
from .analyses.time.step import step_time
from .analyses.weighing import Json, Weighing
from .errors import UsageError
from .network import Network
from .program import Program
from .reports import files
from .reports.plots import style
from .reports.plots.style import Span
from .reports.screen import remarks as coverage
from .reports.screen import title
from .reports.sheet import Sheet
from .reports.tabled import TabledReport
from .rooms import HERE, On, backend, clock, rooms
from .settings import Inputs, Settings
from .workload import check_choice

if TYPE_CHECKING:
    from torch.nn import Module


def roofline(
    model: str | Program | Module | Callable[..., object],
    inputs: Inputs | None = None,
    *,
    on: On | None,
    by: By = "class",
    depth: int | None = None,
    **settings: Unpack[Settings],
) -> RooflineReport:
    """What bounds each piece of a step on a device: arithmetic, memory traffic, or launching kernels.

    Args:
        model, inputs, settings: as of :func:`weighbridge.weigh`. The backend is the device's.
        on: one device. 'here' is this machine's first GPU, where it has one, else its processor.
        by: what a piece is: a 'class' of kernels, a 'layer' or an 'operator'.
        depth: how many levels of modules are told apart by layer; as many as a screen takes where none is given.

    Raises:
        UsageError: no device is named or there is no such device, or nobody says how fast it is.
        WeighError: the network cannot be built, run or read.
    """
    check_choice("piece of a step", by, BY)
    if on is None:
        raise UsageError(
            "the roofline of which device?", "name one, as in --on rtx-4090, or --here"
        )
    room, *others = rooms(on)
    if others and on != HERE:
        raise UsageError(
            f"a roofline is of one device, and {len(others) + 1} are named",
            f"name one of them, as in --on {room.device.key or room.device.name}",
        )
    if "backend" not in settings:
        settings["backend"] = backend(room.device)
    network = Network(model, inputs)
    program = network.program(network.workload(settings))
    weighing = Weighing(program=program)
    if by == "layer" and depth is None:
        from .reports.layers import fitting_depth

        depth = fitting_depth(weighing, merge=False)
    time = step_time(program, clock(room.device, program.workload.precision))
    waits = outsized(time, None if network.fixed else network.program)
    return RooflineReport(weighing, drawn_up(time, by, depth=depth), waits)


@final
class RooflineReport(TabledReport):
    """What was found about a step on a device. Printed, it is the screen of `weigh roofline`.

    `waits` are the layers that take a share of the time out of all proportion, waiting for their weights.
    """

    def __init__(self, weighing: Weighing, found: Roofline, waits: Outsized | None = None) -> None:
        self.weighing = weighing
        self.found = found
        self.waits = waits

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """What the step consists of, slowest first."""
        return self.found.pieces

    def sheet(self) -> Sheet:
        """A row a piece."""
        from .reports.roofline import piece_sheet

        return piece_sheet(self.found)

    def screen(self, *, width: int | None = None, color: bool = False) -> str:
        """Everything that `weigh roofline` prints."""
        from .reports.roofline import screen

        return screen(self.weighing, self.found, self.waits, width=width, color=color)

    def __repr__(self) -> str:
        found = self.found
        return (
            f"<weighbridge.RooflineReport of {found.time.program.network} on {found.device.name}>"
        )

    @property
    def title(self) -> str:
        return title(self.weighing)

    @property
    def remarks(self) -> Sequence[str]:
        from .reports.roofline import remarks

        return (*remarks(self.found, self.waits), *coverage(self.weighing))

    def to_dict(self) -> dict[str, Json]:
        """The JSON contract with `roofline`."""
        from .reports.roofline import record

        return {**self.weighing.to_dict(), "roofline": record(self.found)}

    def save(self, path: str | Path, *, span: Span = 2) -> None:
        """Writes a picture, .png .svg .pdf, over one column of a paper or two, or another form: .json .csv .md .tex .html .txt.

        Raises:
            UsageError: the suffix names no form, the file cannot be written, or there are not 1 or 2 columns.
            WeighError: a picture, and matplotlib is not installed.
        """
        style.check_span(span)
        if files.suffix_of(Path(path), also=files.PICTURES) in files.PICTURES:
            from .reports.plots import roofline
            from .reports.roofline import basis, said

            below = (said(self.found), basis(self.found), coverage(self.weighing)[0])
            style.save(
                path,
                roofline.inches(self.found, span),
                lambda figure: roofline.draw(
                    figure, self.found, title=self.title, told=style.told(below), span=span
                ),
            )
        else:
            super().save(path)
