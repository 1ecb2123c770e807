"""The commands that draw: networks compared, and one network's growth, roofline and memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from ..errors import UsageError, nearest
from .delivery import check_output, devices_of, hand_on, keywords, progress, read_inputs
from .group import main
from .options import (
    complete_device,
    complete_model,
    drawn_options,
    with_options,
    workload_options,
)
from .timing import roofline

if TYPE_CHECKING:
    from ..analyses.growth import Axis
    from ..plot import Picture
    from ..reports.plots.style import Span

Command = TypeVar("Command", bound=Callable[..., object])


class Pictures(click.Group):
    """The pictures by name."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            near = nearest(args[0], tuple(self.commands))
            raise UsageError(
                f"no picture is called {args[0]!r}",
                *([f"nearest: {', '.join(near)}"] if near else []),
                f"there are: {', '.join(sorted(self.commands))}",
            )
        return super().resolve_command(ctx, args)


@main.group(cls=Pictures, short_help="Pictures for papers and slides: PNG, SVG, PDF.")
def plot() -> None:
    """Pictures for papers and slides: -o FILE.png, .svg or .pdf. Without -o the figures are printed as a table.

    \b
    Examples:
      weigh plot tradeoff --networks zoo --on rtx-4090 -o tradeoff.svg
      weigh plot densenet-figure3 -o figure3.pdf --span 1
      weigh plot memory resnet50 --batch 32 --train adamw -o memory.png
    """


def networks_option(command: Command) -> Command:
    """Which networks are compared."""
    option = click.option(
        "--networks",
        metavar="A,B,...",
        help="Names; zoo and torchvision stand for all that they have. [the zoo's]",
    )
    return with_options((option,), command)


def device_option(command: Command) -> Command:
    """Which device the time is of."""
    options = (
        click.option(
            "--on",
            metavar="DEVICE",
            shell_complete=complete_device,
            help="The device of the time: rtx-4090, cpu. All: weigh devices.",
        ),
        click.option(
            "--here", is_flag=True, help="On this machine: its first GPU, else its processor."
        ),
    )
    return with_options(options, command)


def show(
    picture: Picture,
    span: Span,
    as_json: bool,
    output: str | None,
    width: int | None,
    color: bool | None,
) -> None:
    """To the file, or its table to stdout."""
    if output is not None:
        picture.save(output, span=span)
    else:
        hand_on(picture, as_json=as_json, width=width, color=color)


def checked(output: str | None, as_json: bool) -> None:
    """Refuses a file of no form, before anything is weighed."""
    from ..reports.files import PICTURES

    check_output(output, text_of="", as_json=as_json, also=PICTURES)


@plot.command(short_help="Accuracy over parameters, operations, memory and time.")
@networks_option
@click.option(
    "--x",
    metavar="A,B,...",
    help="Of params, macs, memory, time. [all; time where --on says of what]",
)
@device_option
@click.option("--batch", type=int, default=1, metavar="N", help="Samples in a step. [1]")
@drawn_options
def tradeoff(
    networks: str | None,
    x: str | None,
    on: str | None,
    here: bool,
    batch: int,
    span: Span,
    as_json: bool,
    output: str | None,
    width: int | None,
    color: bool | None,
) -> None:
    """What networks reach over what they cost, with those that no other beats on a line."""
    from .. import plot as pictures

    checked(output, as_json)
    with progress("networks"):
        picture = pictures.tradeoff(networks or "zoo", x=x, on=devices_of(on, here), batch=batch)
    show(picture, span, as_json, output, width, color)


@plot.command(short_help="Depth against parameters, operations and memory.")
@networks_option
@click.option("--batch", type=int, default=1, metavar="N", help="Samples in a step. [1]")
@drawn_options
def depth(
    networks: str | None,
    batch: int,
    span: Span,
    as_json: bool,
    output: str | None,
    width: int | None,
    color: bool | None,
) -> None:
    """Depth against parameters, operations and memory: deeper need not be heavier."""
    from .. import plot as pictures

    checked(output, as_json)
    with progress("networks"):
        picture = pictures.depth(networks or pictures.DEPTHS, batch=batch)
    show(picture, span, as_json, output, width, color)


@plot.command("densenet-figure3", short_help="ResNet against DenseNet, as DenseNet's figure 3.")
@drawn_options
def densenet_figure3(
    span: Span, as_json: bool, output: str | None, width: int | None, color: bool | None
) -> None:
    """Validation error over parameters and over FLOPs: counted here, with published single-crop errors."""
    from .. import plot as pictures

    checked(output, as_json)
    with progress("ResNet and DenseNet"):
        picture = pictures.densenet_figure3()
    show(picture, span, as_json, output, width, color)


@plot.command(short_help="How a step grows with its batch or its input.")
@click.argument("model", shell_complete=complete_model)
@workload_options
@click.option(
    "--over", type=click.Choice(("batch", "size")), default="batch",
    help="What grows: the batch, or the size of the image or the sequence. [batch]",
)  # fmt: skip
@device_option
@drawn_options
def growth(
    model: str,
    over: Axis,
    on: str | None,
    here: bool,
    span: Span,
    as_json: bool,
    output: str | None,
    width: int | None,
    color: bool | None,
    inputs: tuple[str, ...],
    **settings: object,
) -> None:
    """How parameters, operations, peak memory and time of a step grow."""
    from .. import plot as pictures

    checked(output, as_json)
    strict = bool(settings.pop("strict"))
    with progress(model):
        picture = pictures.growth(
            model,
            read_inputs(inputs),
            over=over,
            on=devices_of(on, here),
            strict=strict,
            **keywords(settings),
        )
    show(picture, span, as_json, output, width, color)


@plot.command(short_help="Memory over one step, stacked by what it is for.")
@click.argument("model", shell_complete=complete_model)
@workload_options
@drawn_options
def memory(
    model: str,
    span: Span,
    as_json: bool,
    output: str | None,
    width: int | None,
    color: bool | None,
    inputs: tuple[str, ...],
    **settings: object,
) -> None:
    """Memory over one step, stacked by what it is for, with its peak marked."""
    from .. import plot as pictures

    checked(output, as_json)
    strict = bool(settings.pop("strict"))
    with progress(model):
        picture = pictures.memory(model, read_inputs(inputs), strict=strict, **keywords(settings))
    show(picture, span, as_json, output, width, color)


plot.add_command(roofline)
