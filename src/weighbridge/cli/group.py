"""The group that all commands are of: `weigh MODEL` beside the verbs, and every error as one message."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

import click
from click.shell_completion import CompletionItem

from .. import __version__
from ..errors import WeighError
from .options import complete_model

INTERRUPTED = 130
"""What a shell expects of a command that Ctrl-C ended."""

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
  weigh resnet50 --batch 64 --train sgd --on rtx-4090,a100-80gb
  weigh compare vgg16 googlenet resnet50 densenet121
"""

EXITS = (
    "Exit codes: 0 fine, 1 the network could not be weighed, 2 asked for in a way that makes no sense, "
    "3 --strict and something was not counted."
)

COMMAND = "model"
"""The command that runs where none is named; `weigh model NAME` is the long form of `weigh NAME`."""

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
        return [*verbs, *complete_model(ctx, None, incomplete)]

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
            _complain(error.format_message(), f"see: {_asked(error)} --help")
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


def _asked(error: click.ClickException) -> str:
    """The command that was asked for, as it is typed: `weigh plot depth`; of a network that is `weigh` alone."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    return context.command_path.removesuffix(f" {COMMAND}") if context else "weigh"


def _complain(message: str, *hints: str) -> None:
    click.echo("\n  ".join((f"weigh: {message}", *hints)), err=True)


def _accept_any_character() -> None:
    """Prints what the terminal's encoding lacks as '?', where it would otherwise fail."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None and (stream.encoding or "").lower().replace("-", "") != "utf8":
            reconfigure(errors="replace")


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
