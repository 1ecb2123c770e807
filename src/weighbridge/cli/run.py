"""The commands that turn a step into a training run: how long it takes, and where it may be done."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from .delivery import (
    check_output,
    deliver,
    hand_on,
    keywords,
    look_of,
    place_of,
    progress,
    read_inputs,
)
from .group import main
from .options import (
    complete_model,
    device_options,
    output_options,
    with_options,
    workload_options,
)

if TYPE_CHECKING:
    from ..analyses.where import Order

Command = TypeVar("Command", bound=Callable[..., object])


def run_options(command: Command) -> Command:
    """How an epoch goes, and what it costs."""
    options = (
        click.option("--dataset", type=int, metavar="N", help="Samples in an epoch."),
        click.option("--epochs", metavar="N", help="Epochs, of networks that have none of their own."),
        click.option(
            "--rule", "learning_rule", type=click.Choice(("sample", "batch", "epoch")), default="batch",
            help="An update a sample, a batch or an epoch. [batch]",
        ),
        click.option(
            "--loader", type=float, metavar="RATE",
            help="Samples a second that data loading gives: a step takes no less. [no limit]",
        ),
        click.option(
            "--prices", type=click.Path(dir_okay=False), metavar="FILE",
            help="Your own instances and prices, beside those known: docs/devices.md. [weighbridge/instances.toml in "
            "the configuration folder]",
        ),
    )  # fmt: skip
    return with_options(options, command)


@main.command(short_help="Networks by their time to train, with energy and cost.")
@click.argument(
    "models",
    nargs=-1,
    required=True,
    metavar="NAME:EPOCHS[@TIME]...",
    shell_complete=complete_model,
)
@run_options
@workload_options
@device_options
@output_options
def run(
    models: tuple[str, ...],
    epochs: str | None,
    as_json: bool,
    output: str | None,
    width: int | None,
    color: bool | None,
    inputs: tuple[str, ...],
    **settings: object,
) -> None:
    """Networks by their time to train: epochs x steps an epoch x time of a step, on each device.

    The epochs stand behind a colon; behind an @ the time of an epoch, or of a step, that you measured.
    Without --train the optimizer is sgd.

    \b
    Examples:
      weigh run resnet50:90 vgg16:74 --dataset 1281167 --batch 256 --on a100-80gb,rtx-4090
      weigh run deep:10@2.4h shallow:100@1.5min
      weigh run resnet50:90@310ms/step --dataset 1281167 --batch 256
    """
    from ..running import epochs_of
    from ..running import run as run_all

    place = place_of(settings)
    check_output(output, text_of="", as_json=as_json)
    with progress(", ".join(models)):
        report = run_all(
            models, read_inputs(inputs), epochs=epochs_of(epochs), **place, **keywords(settings)
        )
    if output is not None:
        report.save(output)
    else:
        hand_on(report, as_json=as_json, width=width, color=color)


@main.command(short_help="Where a network runs: here, on a device, on which to rent.")
@click.argument("model", shell_complete=complete_model)
@click.option(
    "--sort", type=click.Choice(("time", "cost", "memory")), default="time",
    help="Which device comes first: the fastest, the cheapest to rent, the smallest. [time]",
)  # fmt: skip
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="Devices shown. [all]")
@run_options
@workload_options
@device_options
@output_options
def where(
    model: str,
    sort: Order,
    top: int | None,
    epochs: str | None,
    as_json: bool,
    output: str | None,
    width: int | None,
    color: bool | None,
    inputs: tuple[str, ...],
    strict: bool,
    **settings: object,
) -> None:
    """Where a step runs: the answer in a line, then every device with memory, time and money.

    Without --on it looks at this machine and at the whole catalogue: --on here,all.

    \b
    Examples:
      weigh where resnet50 --train adamw --batch 64
      weigh where resnet50 --train sgd --batch 256 --dataset 1281167 --epochs 90 --sort cost --top 10
      weigh where gpt2 --on here,rtx-4090,m2-max:64GiB
    """
    from ..running import epochs_of
    from ..running import where as look

    place = place_of(settings)
    check_output(output, text_of="", as_json=as_json)
    with progress(model):
        report = look(
            model,
            read_inputs(inputs),
            sort=sort,
            epochs=epochs_of(epochs),
            **place,
            **keywords(settings),
        )
    if strict:
        report.weighing.check_strict()
    if output is not None:
        report.save(output, top=top)
    elif as_json:
        deliver(report.to_json())
    else:
        deliver(report.screen(top=top, **look_of(output, width, color)))
