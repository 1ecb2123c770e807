"""The commands that weigh networks: one, several beside each other, its memory, and whether it fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from .delivery import (
    check_output,
    check_views,
    deliver,
    devices_of,
    hand_on,
    keywords,
    look_of,
    place_of,
    progress,
    read_inputs,
)
from .group import COMMAND, EXAMPLES, EXITS, Sectioned, main
from .options import (
    complete_model,
    counting_options,
    device_options,
    output_options,
    timed_options,
    workload_options,
)

if TYPE_CHECKING:
    from ..analyses.memory.timeline import Round
    from ..api import Choice, MemoryBy
    from ..reports.comparison import By


@main.command(
    COMMAND, cls=Sectioned, hidden=True, epilog=f"{EXAMPLES}\n{EXITS}", options_metavar="[OPTIONS]"
)
@click.argument("model", shell_complete=complete_model)
@workload_options
@device_options
@counting_options
@click.option(
    "--depth",
    type=click.IntRange(min=0),
    metavar="N",
    help="Levels of modules. [what fits a screen]",
)
@click.option("--each", is_flag=True, help="Every copy of a repeated block on a row of its own.")
@click.option(
    "--columns", metavar="A,B,...", help="Such as kind,kernel,params,macs,share,activation."
)
@click.option("--formulas", is_flag=True, help="The formula of every layer, and its sizes.")
@click.option(
    "--by", type=click.Choice(("module", "operator")), default="module", help="A row each. [module]"
)
@click.option("--tree", is_flag=True, help="The module tree, each module with what it weighs.")
@click.option(
    "--space", is_flag=True, help="Disk and memory: precisions, optimizers, learning rules."
)
@output_options
def model(
    model: str,
    depth: int | None,
    each: bool,
    columns: str | None,
    formulas: bool,
    by: Literal["module", "operator"],
    tree: bool,
    space: bool,
    as_json: bool,
    output: str | None,
    width: int | None,
    color: bool | None,
    inputs: tuple[str, ...],
    **settings: object,
) -> None:
    """Weighs MODEL: a name, a line of notation, file.py:Name (which runs the file)."""
    from ..api import weigh
    from ..reports.layers import check_columns

    place = place_of(settings)
    chosen = None if columns is None else tuple(name.strip() for name in columns.split(","))
    check_columns(chosen or ())
    views = {"--tree": tree, "--space": space, "--json": as_json, "--by operator": by == "operator"}
    check_views(views, {"--columns": columns is not None, "--formulas": formulas, "--each": each})
    check_output(output, text_of="--tree" if tree else "--space" if space else "", as_json=as_json)
    choice: Choice = {"depth": depth, "columns": chosen, "formulas": formulas, "by": by}
    if each:
        choice["each"] = True
    with progress(model):
        report = weigh(model, read_inputs(inputs), **place, **keywords(settings))
        _ = report.placed  # works at it while it says so
        if output is not None and not (tree or space):
            report.save(output, **choice)
            return
    look = look_of(output, width, color)
    if tree:
        deliver(report.tree(depth=depth, **look), output)
    elif space:
        deliver(report.space_screen(**look), output)
    elif as_json:
        deliver(report.to_json())
    else:
        deliver(report.screen(**choice, **look))


@main.command(short_help="Networks side by side, with ratios to the first.")
@click.argument("models", nargs=-1, required=True, shell_complete=complete_model)
@workload_options
@timed_options
@click.option(
    "--by",
    type=click.Choice(("network", "module", "map", "path")),
    default="network",
    help="A row each: networks, their modules, or where they align: maps of one size, modules of one path. [network]",
)
@click.option(
    "--depth", type=click.IntRange(min=1), default=1, metavar="N", help="Level of modules. [1]"
)
@output_options
def compare(
    models: tuple[str, ...],
    on: str | None,
    here: bool,
    by: By,
    depth: int,
    as_json: bool,
    output: str | None,
    width: int | None,
    color: bool | None,
    inputs: tuple[str, ...],
    **settings: object,
) -> None:
    """Networks side by side: depth, parameters, operations, memory, time, accuracy, and ratios to the first.

    \b
    Examples:
      weigh compare vgg16 googlenet resnet50 densenet121
      weigh compare vgg16 resnet50 --on rtx-4090 -o compare.html
      weigh compare googlenet --by module
    """
    from ..comparing import compare as compare_models

    check_output(output, text_of="", as_json=as_json)
    with progress(", ".join(models)):
        report = compare_models(
            models,
            read_inputs(inputs),
            depth=depth,
            on=devices_of(on, here),
            **keywords(settings),
        )
    if output is not None:
        report.save(output, by=by)
    elif as_json:
        deliver(report.to_json())
    else:
        deliver(report.screen(by=by, **look_of(output, width, color)))


@main.command(short_help="Memory over a step: the curve, and what is alive at its peak.")
@click.argument("model", shell_complete=complete_model)
@workload_options
@device_options
@click.option(
    "--step", type=click.Choice(("first", "later")), help="Which step. [the one with the peak]"
)
@click.option("--depth", type=click.IntRange(min=1), metavar="N", help="Levels of modules.")
@click.option(
    "--by",
    type=click.Choice(("step", "role", "module", "tensor")),
    default="step",
    help="Which table -o writes. [step]",
)
@output_options
def memory(
    model: str,
    step: Round | None,
    depth: int | None,
    by: MemoryBy,
    as_json: bool,
    output: str | None,
    width: int | None,
    color: bool | None,
    inputs: tuple[str, ...],
    **settings: object,
) -> None:
    """Memory over one step of a loop: the curve, and what is alive at its peak, by role and by module.

    \b
    Examples:
      weigh memory resnet50 --batch 64 --train sgd
      weigh memory gpt2 --train adamw --step first
      weigh memory resnet50 --train adamw -o curve.csv
    """
    from ..api import weigh

    place = place_of(settings)
    check_output(output, text_of="", as_json=as_json)
    with progress(model):
        report = weigh(model, read_inputs(inputs), **place, **keywords(settings))
        _ = report.placed
    if output is not None:
        report.save_memory(output, by)
    elif as_json:
        deliver(report.memory_json())
    else:
        deliver(report.memory_screen(step=step, depth=depth, **look_of(output, width, color)))


@main.command(short_help="Does it fit? The largest batch, what binds, what would make it fit.")
@click.argument("model", shell_complete=complete_model)
@workload_options
@device_options
@output_options
def fit(
    model: str,
    as_json: bool,
    output: str | None,
    width: int | None,
    color: bool | None,
    inputs: tuple[str, ...],
    strict: bool,
    **settings: object,
) -> None:
    """Whether a step fits on a device, the largest batch that does, and what would make it fit.

    \b
    Examples:
      weigh fit resnet50 --train adamw --on rtx-4090
      weigh fit mynet.py:Net --train adamw --here
    """
    from ..fitting import fit as weigh_fit

    place = place_of(settings)
    check_output(output, text_of="", as_json=as_json)
    with progress(model):
        report = weigh_fit(model, read_inputs(inputs), **place, **keywords(settings))
    if strict:
        report.weighing.check_strict()
    if output is not None:
        report.save(output)
    else:
        hand_on(report, as_json=as_json, width=width, color=color)
