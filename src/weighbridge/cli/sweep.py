"""The command that asks many what-ifs at once."""

from __future__ import annotations

import click

from .delivery import (
    check_output,
    hand_on,
    keywords,
    place_of,
    progress,
    read_inputs,
)
from .group import main
from .options import complete_model, device_options, output_options, workload_options


@main.command(short_help="Batches, precisions and devices at once: which is fastest.")
@click.argument("model", shell_complete=complete_model)
@click.option("--batches", default="1:256", metavar="A:B[:STEP],...", help="Which batches. [1:256]")
@click.option("--precisions", metavar="A,B,...", help="Which precisions. [that of --precision]")
@workload_options
@device_options
@output_options
def sweep(
    model: str,
    batches: str,
    precisions: str | None,
    as_json: bool,
    output: str | None,
    width: int | None,
    color: bool | None,
    inputs: tuple[str, ...],
    strict: bool,
    **settings: object,
) -> None:
    """A step at many batches, in several precisions, on several devices: which is fastest, which fits.

    \b
    Examples:
      weigh sweep resnet50 --train sgd --on rtx-4090,a100-80gb
      weigh sweep resnet50 --batches 8:512:8 --precisions float32,amp-fp16 --on rtx-4090 -o sweep.csv
    """
    from ..sweeping import batches_of, precisions_of
    from ..sweeping import sweep as swept

    place = place_of(settings)
    check_output(output, text_of="", as_json=as_json)
    del settings["batch"]
    with progress(model):
        report = swept(
            model,
            read_inputs(inputs),
            batches=batches_of(batches),
            precisions=None if precisions is None else precisions_of(precisions),
            **place,
            **keywords(settings),
        )
    if strict:
        report.weighing.check_strict()
    if output is not None:
        report.save(output)
    else:
        hand_on(report, as_json=as_json, width=width, color=color)
