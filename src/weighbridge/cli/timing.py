"""The command that says what bounds the time of a step: its roofline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .delivery import check_output, hand_on, keywords, progress, read_inputs
from .group import main
from .options import complete_device, complete_model, drawn_options, workload_options

if TYPE_CHECKING:
    from ..analyses.time.roofline import By
    from ..reports.plots.style import Span


@main.command(short_help="What bounds the time: arithmetic, memory traffic, launches.")
@click.argument("model", shell_complete=complete_model)
@workload_options
@click.option(
    "--on",
    metavar="DEVICE",
    shell_complete=complete_device,
    help="The device: rtx-4090, cpu. All: weigh devices.",
)
@click.option("--here", is_flag=True, help="On this machine: its first GPU, else its processor.")
@click.option(
    "--by",
    type=click.Choice(("class", "layer", "operator")),
    default="class",
    help="A row each. [class of kernels]",
)
@click.option(
    "--depth",
    type=click.IntRange(min=0),
    metavar="N",
    help="Levels of modules, by layer. [what fits a screen]",
)
@drawn_options
def roofline(
    model: str,
    on: str | None,
    here: bool,
    by: By,
    depth: int | None,
    span: Span,
    as_json: bool,
    output: str | None,
    width: int | None,
    color: bool | None,
    inputs: tuple[str, ...],
    strict: bool,
    **settings: object,
) -> None:
    """The roofline of a step on a device: what each piece of it computes and moves, and what bounds its time.

    \b
    Examples:
      weigh roofline densenet121 --batch 32 --train sgd --on rtx-4090
      weigh roofline vgg16 --on cpu --by layer
      weigh roofline densenet121 --on rtx-4090 -o roofline.png
    """
    from ..reports.files import PICTURES
    from ..rooflines import roofline as drawn_up

    check_output(output, text_of="", as_json=as_json, also=PICTURES)
    place = ",".join(filter(None, (on, "here" if here else None))) or None
    with progress(model):
        report = drawn_up(
            model, read_inputs(inputs), on=place, by=by, depth=depth, **keywords(settings)
        )
    if strict:
        report.weighing.check_strict()
    if output is not None:
        report.save(output, span=span)
    else:
        hand_on(report, as_json=as_json, width=width, color=color)
