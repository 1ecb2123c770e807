"""The command `weigh`: a thin skin over :mod:`weighbridge.api`.

Options are the keyword names of the functions called. Results go to stdout, the rest to stderr; every
error is one message with its hints, never a traceback. Nothing but click is loaded until a command runs.

    $ weigh vgg16 --batch 32 --train sgd
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from threading import Timer
from typing import TYPE_CHECKING, Literal, TypedDict, TypeVar, cast

import click
from click.shell_completion import CompletionItem, get_completion_class

from . import __version__
from .errors import UsageError, WeighError
from .workload import BACKENDS, CHECKPOINTINGS, IMPLEMENTATIONS, PRECISIONS

if TYPE_CHECKING:
    from rich.status import Status

    from .analyses.memory.timeline import Round
    from .api import By, Choice, MemoryBy
    from .settings import Settings
    from .workload import InputSpec

INTERRUPTED = 130
"""What a shell expects of a command that Ctrl-C ended."""

SLOW_SECONDS = 1.0
"""What takes longer shows that it is at work."""

EXAMPLES = """\b
Examples:
  weigh vgg16                                     a network of the zoo, without any framework
  weigh "(Input)(3,224,224)->(Conv)6c5w1s0p"      a line of notation
  weigh resnet50 --batch 32 --train sgd           a training step
  weigh timm:convnext_tiny --depth 2              torchvision:, timm:, hf: and zoo: say where from
  weigh mynet.py:Net --input 3,224,224            your own module: RUNS THE FILE
  weigh "100 -> (fc)10" --convention lecture --formulas
  weigh densenet121 -o layers.csv                 .json .csv .md .tex .html .txt
  weigh gpt2 --space --train adamw                disk, memory, optimizers
  weigh compare vgg16 googlenet resnet50 densenet121
"""

EXITS = (
    "Exit codes: 0 fine, 1 the network could not be weighed, 2 asked for in a way that makes no sense, "
    "3 --strict and something was not counted."
)

COMMAND = "model"
"""The command that runs where none is named; `weigh model NAME` is the long form of `weigh NAME`."""

Command = TypeVar("Command", bound=Callable[..., object])


SECTIONS: Mapping[str, str] = {
    "inputs": "How it is used",
    "train": "How it is trained",
    "on": "Where it is to run",
    "learning_rule": "How it is counted",
    "depth": "What is shown",
    "as_json": "Where it goes",
}
"""The option that begins a section of the help, and the section's title."""


class Sectioned(click.Command):
    """A command with so many options that its help has sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        title = ""
        for param in self.get_params(ctx):
            title = SECTIONS.get(param.name or "", title)
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


class Weigh(click.Group):
    """`weigh MODEL` beside the verbs: where the first word is no verb, it is a network."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args:
            args = ["--help"]
        if args[0] not in self.commands and args[0] not in ("--help", "-h", "--version"):
            args = [COMMAND, *args]
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage("weigh", "MODEL [OPTIONS]")
        formatter.write_usage("weigh", "COMMAND [ARGUMENTS]", prefix="       ")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options of `weigh MODEL`, then the verbs."""
        self.commands[COMMAND].format_options(ctx, formatter)
        self.format_commands(ctx, formatter)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        verbs = super().shell_complete(ctx, incomplete)
        return [*verbs, *_complete_model(ctx, None, incomplete)]

    def main(  # type: ignore[override]  # click's own is overloaded on standalone_mode
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        **extra: object,
    ) -> None:
        """Runs the command and exits with its code; every error becomes one message."""
        sys.exit(self._run(list(sys.argv[1:] if args is None else args), complete_var))

    def _run(self, args: list[str], complete_var: str | None) -> int:
        _accept_any_character()
        try:
            code = super().main(
                args, prog_name="weigh", complete_var=complete_var, standalone_mode=False
            )
        except (click.Abort, KeyboardInterrupt):
            return INTERRUPTED
        except click.ClickException as error:
            _complain(error.format_message(), "see: weigh --help")
            return error.exit_code
        except WeighError as error:
            _complain(error.message, *error.hints)
            return error.exit_code
        except Exception as error:
            if os.environ.get("WEIGH_DEBUG"):
                raise
            _complain(
                f"internal error: {type(error).__name__}: {error}",
                "this is a bug of weighbridge, not of the network",
                "WEIGH_DEBUG=1 shows where it happened",
            )
            return 1
        return code if isinstance(code, int) else 0


def _complain(message: str, *hints: str) -> None:
    click.echo("\n  ".join((f"weigh: {message}", *hints)), err=True)


def _accept_any_character() -> None:
    """Prints what the terminal's encoding lacks as '?', where it would otherwise fail."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None and (stream.encoding or "").lower().replace("-", "") != "utf8":
            reconfigure(errors="replace")


# -- options -------------------------------------------------------------------------------------


def _workload_options(command: Command) -> Command:
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
    )  # fmt: skip
    return _with(options, command)


def _device_options(command: Command) -> Command:
    """Where it is to run."""
    options = (
        click.option(
            "--on", metavar="DEVICE,...", shell_complete=_complete_device,
            help="Does it fit? rtx-4090, a size of memory such as 24GiB, cpu:32GiB. All: weigh devices.",
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
    return _with(options, command)


def _counting_options(command: Command) -> Command:
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
    return _with(options, command)


def _output_options(command: Command) -> Command:
    """What form the result takes, and where it goes."""
    options = (
        click.option("--json", "as_json", is_flag=True, help="Everything, as JSON."),
        click.option(
            "-o", "output", metavar="FILE",
            help="Write a file; its suffix says in which form: .json .csv .md .tex .html .txt.",
        ),
        *_SCREEN_OPTIONS,
    )  # fmt: skip
    return _with(options, command)


_SCREEN_OPTIONS = (
    click.option(
        "--width",
        type=click.IntRange(min=20),
        metavar="N",
        help="Characters in a line. [the terminal's]",
    ),
    click.option("--color/--no-color", default=None, help="[on a terminal, unless NO_COLOR]"),
)


def _screen_options(command: Command) -> Command:
    return _with(_SCREEN_OPTIONS, command)


def _with(options: Sequence[Callable[[Command], Command]], command: Command) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def _complete_model(
    ctx: click.Context, param: click.Parameter | None, incomplete: str
) -> list[CompletionItem]:
    """The zoo's networks, and Python files."""
    from .frontends import zoo

    names = [name for name in zoo.names() if name.startswith(incomplete)]
    return [*map(CompletionItem, names), CompletionItem(incomplete, type="file")]


def _complete_device(
    ctx: click.Context, param: click.Parameter | None, incomplete: str
) -> list[CompletionItem]:
    """The keys of devices."""
    from .devices import names

    return [CompletionItem(name) for name in names() if name.startswith(incomplete)]


# -- commands ------------------------------------------------------------------------------------


@click.group(
    cls=Weigh,
    epilog=f"{EXAMPLES}\n{EXITS}",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="weigh", message="%(prog)s %(version)s")
def main() -> None:
    """Weighs a neural network before it runs: parameters, operations and bytes, layer by layer.

    MODEL is a name (resnet50), a line of notation, file.py:Name, or has a prefix that says where it is
    from (zoo:, torchvision:, timm:, hf:). A Python file that is named is run; no other file ever is.
    """


@main.command(
    COMMAND, cls=Sectioned, hidden=True, epilog=f"{EXAMPLES}\n{EXITS}", options_metavar="[OPTIONS]"
)
@click.argument("model", shell_complete=_complete_model)
@_workload_options
@_device_options
@_counting_options
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
@_output_options
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
    from .api import weigh
    from .reports.layers import check_columns

    place = _place(settings)
    chosen = None if columns is None else tuple(name.strip() for name in columns.split(","))
    check_columns(chosen or ())
    views = {"--tree": tree, "--space": space, "--json": as_json, "--by operator": by == "operator"}
    _check_views(views, {"--columns": columns is not None, "--formulas": formulas, "--each": each})
    _check_output(output, text_of="--tree" if tree else "--space" if space else "", as_json=as_json)
    with _progress(model):
        report = weigh(model, _read(inputs), **place, **_keywords(settings))
        _ = report.placed  # works at it while it says so
    look = _look(output, width, color)
    choice: Choice = {"depth": depth, "columns": chosen, "formulas": formulas, "by": by}
    if each:
        choice["each"] = True
    if tree:
        _deliver(report.tree(depth=depth, **look), output)
    elif space:
        _deliver(report.space_screen(**look), output)
    elif output is not None:
        report.save(output, **choice)
    elif as_json:
        _deliver(report.to_json())
    else:
        _deliver(report.screen(**choice, **look))


@main.command(short_help="Networks side by side, with ratios to the first.")
@click.argument("models", nargs=-1, required=True, shell_complete=_complete_model)
@_workload_options
@click.option(
    "--by",
    type=click.Choice(("network", "module")),
    default="network",
    help="A row each. [network]",
)
@click.option(
    "--depth", type=click.IntRange(min=1), default=1, metavar="N", help="Level of modules. [1]"
)
@_output_options
def compare(
    models: tuple[str, ...],
    by: By,
    depth: int,
    as_json: bool,
    output: str | None,
    width: int | None,
    color: bool | None,
    inputs: tuple[str, ...],
    **settings: object,
) -> None:
    """Networks side by side: depth, parameters, operations, activations, and ratios to the first.

    \b
    Examples:
      weigh compare vgg16 googlenet resnet50 densenet121
      weigh compare googlenet --by module
    """
    from .api import compare as compare_models

    _check_output(output, text_of="", as_json=as_json)
    with _progress(", ".join(models)):
        report = compare_models(models, _read(inputs), depth=depth, **_keywords(settings))
    if output is not None:
        report.save(output, by=by)
    elif as_json:
        _deliver(report.to_json())
    else:
        _deliver(report.screen(by=by, **_look(output, width, color)))


@main.command(short_help="Memory over a step: the curve, and what is alive at its peak.")
@click.argument("model", shell_complete=_complete_model)
@_workload_options
@_device_options
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
@_output_options
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
    from .api import weigh

    place = _place(settings)
    _check_output(output, text_of="", as_json=as_json)
    with _progress(model):
        report = weigh(model, _read(inputs), **place, **_keywords(settings))
        _ = report.placed
    if output is not None:
        report.save_memory(output, by)
    elif as_json:
        _deliver(report.memory_json())
    else:
        _deliver(report.memory_screen(step=step, depth=depth, **_look(output, width, color)))


@main.command(short_help="Does it fit? The largest batch, what binds, what would make it fit.")
@click.argument("model", shell_complete=_complete_model)
@_workload_options
@_device_options
@_output_options
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
    from .fitting import fit as weigh_fit

    place = _place(settings)
    _check_output(output, text_of="", as_json=as_json)
    with _progress(model):
        report = weigh_fit(model, _read(inputs), **place, **_keywords(settings))
    if strict:
        report.weighing.check_strict()
    if output is not None:
        report.save(output)
    elif as_json:
        _deliver(report.to_json())
    else:
        _deliver(report.screen(**_look(output, width, color)))


@main.command(short_help="A published table beside the computed one.")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Every cell, as JSON.")
@_screen_options
def paper(name: str | None, as_json: bool, width: int | None, color: bool | None) -> None:
    """A published table beside the computed one, and why they differ where they do.

    \b
    Examples:
      weigh paper               which tables there are
      weigh paper googlenet
    """
    if name is None:
        from .papers import names

        _deliver("\n".join(names()))
        return
    from .api import paper as published

    report = published(name)
    _deliver(report.to_json() if as_json else report.screen(**_look(None, width, color)))


@main.command(short_help="Every operator that has a rule.")
@click.argument("family", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@_screen_options
def ops(family: str | None, as_json: bool, width: int | None, color: bool | None) -> None:
    """Every operator that has a rule, by family: what it is, and PyTorch's names for it."""
    from .reports import listing

    look = _look(None, width, color)
    _deliver(listing.operators_json(family) if as_json else listing.operators(family, **look))


@main.command(short_help="The names of all networks.")
@click.argument("frontend", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@_screen_options
def networks(frontend: str | None, as_json: bool, width: int | None, color: bool | None) -> None:
    """The names of all networks, by where they are from: zoo, torchvision, timm."""
    from .api import networks as known
    from .reports import listing

    with _progress("the names of networks"):
        names = known(frontend)
    look = _look(None, width, color)
    _deliver(listing.networks_json(names) if as_json else listing.networks(names, **look))


@main.command(short_help="Devices: memory, bandwidth, peaks, power, price.")
@click.argument("name", required=False, shell_complete=_complete_device)
@click.option(
    "--kind",
    type=click.Choice(("gpu", "accelerator", "apple", "jetson", "cpu", "board")),
    help="Only devices of one kind.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@_screen_options
def devices(
    name: str | None, kind: str | None, as_json: bool, width: int | None, color: bool | None
) -> None:
    """The machines that are known: memory, bandwidth, dense peaks, power, and what renting one costs.

    \b
    Examples:
      weigh devices --kind gpu
      weigh devices rtx-4090      one card, with where each number is from
    """
    from . import devices as catalogue
    from .reports import devices as cards

    look, prices = _look(None, width, color), catalogue.instances()
    if name is not None:
        device = catalogue.parse(name)
        _deliver(cards.card_json(device, prices) if as_json else cards.card(device, prices, **look))
        return
    known = [device for device in catalogue.load_all() if kind in (None, device.kind)]
    _deliver(cards.listing_json(known) if as_json else cards.listing(known, prices, **look))


@main.command(short_help="Measures what a process takes of this machine's GPU beside tensors.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@_screen_options
def probe(as_json: bool, width: int | None, color: bool | None) -> None:
    """Measures the context and the workspaces of cuBLAS and cuDNN on this machine's GPU, beside its card.

    Runs a few small kernels. Ends with 1 where there is no GPU that PyTorch can use.
    """
    from .reports import probe as probed
    from .rooms import probe as measure

    with _progress("the GPU"):
        found = measure()
    _deliver(
        probed.render_json(found) if as_json else probed.render(found, **_look(None, width, color))
    )


@main.command(short_help="The script that completes names in a shell.")
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion(shell: str) -> None:
    """Prints the script that makes a shell complete `weigh` with the Tab key.

    \b
    Examples:
      weigh completion bash >> ~/.bashrc
      weigh completion zsh >> ~/.zshrc
      weigh completion fish > ~/.config/fish/completions/weigh.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None  # click has all three
    _deliver(kind(main, {}, "weigh", "_WEIGH_COMPLETE").source())


# -- reading and writing -------------------------------------------------------------------------


def _read(inputs: tuple[str, ...]) -> list[InputSpec] | None:
    from .settings import read_input

    return [read_input(text) for text in inputs] or None


class Place(TypedDict):
    """Where a step is to run."""

    on: str | None
    context: str | None
    alloc_conf: str | None


def _place(options: dict[str, object]) -> Place:
    """The devices, of which this machine is one more: taken out of the options, which hold the network's settings."""
    on, here, context, alloc_conf = (
        options.pop(name) for name in ("on", "here", "context", "alloc_conf")
    )
    assert on is None or isinstance(on, str)
    assert context is None or isinstance(context, str)
    assert alloc_conf is None or isinstance(alloc_conf, str)
    named = ",".join(filter(None, (on, "here" if here else None))) or None
    if named is None and (context or alloc_conf):
        raise UsageError(
            f"{'--context' if context else '--alloc-conf'} without a device",
            "name one, as in --on rtx-4090, or --here",
        )
    return Place(on=named, context=context, alloc_conf=alloc_conf)


def _keywords(options: Mapping[str, object]) -> Settings:
    """The options that were given, as keywords."""
    return cast("Settings", {name: value for name, value in options.items() if value is not None})


class Look(TypedDict):
    """How wide a screen is, None where there is no limit, and whether it has colour."""

    width: int | None
    color: bool


def _look(output: str | None, width: int | None, color: bool | None) -> Look:
    """What was asked for; else what the terminal takes, and plain and unlimited text elsewhere."""
    terminal = sys.stdout.isatty() and output is None
    if width is None and output is None and (terminal or os.environ.get("COLUMNS")):
        from shutil import get_terminal_size

        width = get_terminal_size().columns
    if color is None:
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        color = terminal and not plain
    return Look(width=width, color=color)


def _check_views(views: Mapping[str, bool], details: Mapping[str, bool]) -> None:
    """Refuses two views at once, and details of the table of layers beside another view.

    Raises:
        UsageError: one of them would not be heeded.
    """
    asked = [view for view, wanted in views.items() if wanted]
    if len(asked) > 1:
        raise UsageError(f"{' and '.join(asked)} at once", "choose one of them")
    for detail, wanted in details.items():
        if wanted and asked:
            raise UsageError(
                f"{detail} with {asked[0]}", f"{detail} is for the table of layers: leave one out"
            )


def _check_output(output: str | None, *, text_of: str, as_json: bool) -> None:
    """Refuses what cannot be written, before anything is weighed; `text_of` is a view that is a text.

    Raises:
        UsageError: the suffix names no form, or not the one that was asked for.
    """
    if output is None:
        return
    from pathlib import Path

    from .reports import files

    suffix = files.suffix_of(Path(output))
    expected = ".txt" if text_of else ".json" if as_json else suffix
    if suffix != expected:
        raise UsageError(
            f"{text_of or '--json'} is written to a {expected} file, and {output!r} is none",
            f"give -o {Path(output).with_suffix(expected)}",
        )


def _deliver(text: str, output: str | None = None) -> None:
    """To the file, or to stdout just as it is."""
    if output is None:
        click.echo(text.rstrip("\n"), color=True)
        return
    from pathlib import Path

    from .reports import files

    files.write(Path(output), text + "\n")


@contextmanager
def _progress(what: str) -> Iterator[None]:
    """Says on stderr what is being read, where that takes more than a second and somebody watches.

    What a network prints while it is read goes to stderr too: stdout holds the result alone.
    """
    if not sys.stderr.isatty():
        with redirect_stdout(sys.stderr):
            yield
        return
    shown: list[Status] = []

    def show() -> None:
        from rich.console import Console

        text = what if len(what) <= 60 else what[:59] + "…"
        shown.append(Console(stderr=True).status(f"reading {text} …"))
        shown[0].start()

    timer = Timer(SLOW_SECONDS, show)
    timer.daemon = True
    timer.start()
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        timer.cancel()
        timer.join()
        for status in shown:
            status.stop()
