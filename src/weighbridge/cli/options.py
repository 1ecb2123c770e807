"""Options: what several commands take, and the names that a shell completes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import click
from click.shell_completion import CompletionItem

from ..workload import BACKENDS, CHECKPOINTINGS, IMPLEMENTATIONS, PRECISIONS

Command = TypeVar("Command", bound=Callable[..., object])


def workload_options(command: Command) -> Command:
    """How the network is used."""
    options = (
        click.option(
            "--input", "inputs", multiple=True, metavar="SHAPE",
            help="Sizes without the batch: 3,224,224. Repeat for several; name=SHAPE, SHAPE:dtype, "
            "batch.mask=SHAPE inside a mapping, images.0=SHAPE inside a list.",
        ),
        click.option("--batch", type=int, default=1, metavar="N", help="Samples in a step. [1]"),
        click.option("--dtype", default="float32", metavar="DTYPE", help="Of parameters and inputs. [float32]"),
        click.option(
            "--precision", type=click.Choice(PRECISIONS), default="float32",
            help="amp-*: parameters as they are, operators under autocast. [the dtype's]",
        ),
        click.option(
            "--backend", type=click.Choice(BACKENDS), help="Whose kernels run. [the device's; cuda]"
        ),
        click.option(
            "--grad", "no_grad", flag_value=False, default=True,
            help="Inference with autograd on: what backward would need is kept.",
        ),
        click.option("--strict", is_flag=True, help="Exit with 3 if an operator was not counted."),
        click.option(
            "--train", metavar="OPTIMIZER",
            help="A training step with sgd, momentum, nesterov, adagrad, rmsprop, adam, adamw, nadam, radam, "
            "adamax, adadelta, rprop, asgd, adafactor, lion or adam8bit, or file.py:make of your own. Without it: "
            "inference.",
        ),
        click.option("--momentum", type=float, metavar="M", help="For sgd and rmsprop."),
        click.option("--nesterov", is_flag=True, help="For sgd with momentum."),
        click.option("--weight-decay", type=float, metavar="D", help="For any optimizer."),
        click.option(
            "--optimizer-implementation", "implementation", type=click.Choice(IMPLEMENTATIONS),
            default="auto", help="How PyTorch runs the update. [auto: as it does on the backend]",
        ),
        click.option(
            "--loss", metavar="LOSS", default="auto",
            help="auto, cross-entropy, mean, or file.py:function of your own. [auto: cross-entropy of what looks "
            "like logits, else mean]",
        ),
        click.option("--accumulate", type=int, default=1, metavar="N", help="Batches in an update. [1]"),
        click.option(
            "--train-only", "trained", multiple=True, metavar="SCOPE",
            help="The module or parameter that is trained, the rest frozen. Repeat for several.",
        ),
        click.option(
            "--checkpoint", "checkpointing", type=click.Choice(CHECKPOINTINGS), default="none",
            help="blocks: what if every repeated block were checkpointed? [none]",
        ),
        click.option(
            "--keep-gradients", "set_to_none", flag_value=False, default=True,
            help="zero_grad(set_to_none=False): gradients stay between steps.",
        ),
        click.option("--per-sample-gradients", is_flag=True, help="Keep every sample's gradient."),
        click.option("--input-gradient", is_flag=True, help="Train with the inputs' gradient too."),
        click.option(
            "--channels-last", "layout", flag_value="channels-last", default="contiguous",
            help="Images lie channels last (NHWC): another time.",
        ),
        click.option("--compile", "compiled", is_flag=True, help="torch.compile runs the step: another time."),
        click.option(
            "--threads", type=int, metavar="N", help="Of this machine's processor, once that is calibrated. [PyTorch's]"
        ),
    )  # fmt: skip
    return with_options(options, command)


def device_options(command: Command) -> Command:
    """Where it is to run."""
    options = (
        click.option(
            "--on", metavar="DEVICE,...", shell_complete=complete_device,
            help="Does it fit, and how long does it take? rtx-4090, cpu:32GiB, or memory alone: 24GiB. All: weigh devices.",
        ),
        click.option("--here", is_flag=True, help="On this machine: its memory and its GPUs."),
        click.option(
            "--context", metavar="SIZE",
            help="Taken beside tensors, such as 512MiB; weigh probe measures it. [the device's card]",
        ),
        click.option(
            "--alloc-conf", metavar="TEXT",
            help="As PYTORCH_CUDA_ALLOC_CONF, such as expandable_segments:True.",
        ),
    )  # fmt: skip
    return with_options(options, command)


def timed_options(command: Command) -> Command:
    """On which devices a step is timed."""
    options = (
        click.option(
            "--on", metavar="DEVICE,...", shell_complete=complete_device,
            help="How long does a step take? On rtx-4090, cpu, or several. All: weigh devices.",
        ),
        click.option("--here", is_flag=True, help="On this machine: its GPUs and its processor."),
    )  # fmt: skip
    return with_options(options, command)


def counting_options(command: Command) -> Command:
    """How figures are totalled, and over what."""
    options = (
        click.option(
            "--rule", "learning_rule", type=click.Choice(("sample", "batch", "epoch")),
            default="batch", help="When weights are updated. [batch]",
        ),
        click.option("--dataset", type=int, metavar="N", help="Samples in the data set."),
        click.option(
            "--convention", type=click.Choice(("macs", "lecture", "exact", "paper")),
            default="macs",
            help="What a total counts: MACs; the lecture's operations, bias included; all arithmetic; "
            "what papers print, 1 FLOP a MAC, masked ones too. [macs]",
        ),
    )  # fmt: skip
    return with_options(options, command)


def output_options(command: Command) -> Command:
    """What form the result takes, and where it goes."""
    return with_options((*_written(".json .csv .md .tex .html .txt"), *SCREEN_OPTIONS), command)


def picture_options(command: Command) -> Command:
    """The same of what can be drawn as well."""
    forms = "a picture .png .svg .pdf, or .json .csv .md .tex .html .txt"
    return with_options((*_written(forms), *SCREEN_OPTIONS), command)


def drawn_options(command: Command) -> Command:
    """What form a picture takes, how wide it is, and where it goes."""
    span = click.option(
        "--span",
        type=click.IntRange(1, 2),
        default=2,
        help="Columns of a paper that it spans: 1 (3.5 in) or 2 (7.2 in). [2]",
    )
    return picture_options(with_options((span,), command))


def _written(forms: str) -> tuple[Callable[[Command], Command], ...]:
    return (
        click.option("--json", "as_json", is_flag=True, help="Everything, as JSON."),
        click.option(
            "-o", "output", metavar="FILE",
            help=f"Write a file; its suffix says in which form: {forms}.",
        ),
    )  # fmt: skip


SCREEN_OPTIONS = (
    click.option(
        "--width",
        type=click.IntRange(min=20),
        metavar="N",
        help="Characters in a line. [the terminal's]",
    ),
    click.option("--color/--no-color", default=None, help="[on a terminal, unless NO_COLOR]"),
)


def screen_options(command: Command) -> Command:
    """How a screen looks."""
    return with_options(SCREEN_OPTIONS, command)


def with_options(options: Sequence[Callable[[Command], Command]], command: Command) -> Command:
    """The command with these options, listed in this order."""
    for option in reversed(options):
        command = option(command)
    return command


def complete_model(
    ctx: click.Context, param: click.Parameter | None, incomplete: str
) -> list[CompletionItem]:
    """The zoo's networks, and Python files."""
    from ..frontends import zoo

    names = [name for name in zoo.names() if name.startswith(incomplete)]
    return [*map(CompletionItem, names), CompletionItem(incomplete, type="file")]


def complete_device(
    ctx: click.Context, param: click.Parameter | None, incomplete: str
) -> list[CompletionItem]:
    """The keys of devices."""
    from ..devices import names

    return [CompletionItem(name) for name in names() if name.startswith(incomplete)]
