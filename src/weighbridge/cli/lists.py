"""The commands that list what is known: published tables, operators, networks, devices; and the shell's completion."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from .delivery import deliver, look_of, progress
from .group import main
from .options import complete_device, screen_options


@main.command(short_help="A published table beside the computed one.")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Every cell, as JSON.")
@screen_options
def paper(name: str | None, as_json: bool, width: int | None, color: bool | None) -> None:
    """A published table beside the computed one, and why they differ where they do.

    \b
    Examples:
      weigh paper               which tables there are
      weigh paper googlenet
    """
    if name is None:
        from ..papers import names

        deliver("\n".join(names()))
        return
    from ..api import paper as published

    report = published(name)
    deliver(report.to_json() if as_json else report.screen(**look_of(None, width, color)))


@main.command(short_help="Every operator that has a rule.")
@click.argument("family", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@screen_options
def ops(family: str | None, as_json: bool, width: int | None, color: bool | None) -> None:
    """Every operator that has a rule, by family: what it is, and PyTorch's names for it."""
    from ..reports import listing

    look = look_of(None, width, color)
    deliver(listing.operators_json(family) if as_json else listing.operators(family, **look))


@main.command(short_help="The names of all networks.")
@click.argument("frontend", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@screen_options
def networks(frontend: str | None, as_json: bool, width: int | None, color: bool | None) -> None:
    """The names of all networks, by where they are from: zoo, torchvision, timm."""
    from ..api import networks as known
    from ..reports import listing

    with progress("the names of networks"):
        names = known(frontend)
    look = look_of(None, width, color)
    deliver(listing.networks_json(names) if as_json else listing.networks(names, **look))


@main.command(short_help="Devices: memory, bandwidth, peaks, power, price.")
@click.argument("name", required=False, shell_complete=complete_device)
@click.option(
    "--kind",
    type=click.Choice(("gpu", "accelerator", "apple", "jetson", "cpu", "board")),
    help="Only devices of one kind.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@screen_options
def devices(
    name: str | None, kind: str | None, as_json: bool, width: int | None, color: bool | None
) -> None:
    """The machines that are known: memory, bandwidth, dense peaks, power, and what renting one costs.

    \b
    Examples:
      weigh devices --kind gpu
      weigh devices rtx-4090      one card, with where each number is from
    """
    from .. import devices as catalogue
    from ..reports import devices as cards

    look, prices = look_of(None, width, color), catalogue.instances()
    if name is not None:
        device = catalogue.parse(name)
        deliver(cards.card_json(device, prices) if as_json else cards.card(device, prices, **look))
        return
    known = [device for device in catalogue.load_all() if kind in (None, device.kind)]
    deliver(cards.listing_json(known) if as_json else cards.listing(known, prices, **look))


@main.command(short_help="Measures what a process takes of this machine's GPU beside tensors.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@screen_options
def probe(as_json: bool, width: int | None, color: bool | None) -> None:
    """Measures the context and the workspaces of cuBLAS and cuDNN on this machine's GPU, beside its card.

    Runs a few small kernels. Ends with 1 where there is no GPU that PyTorch can use.
    """
    from ..reports import probe as probed
    from ..rooms import probe as measure

    with progress("the GPU"):
        found = measure()
    deliver(
        probed.render_json(found)
        if as_json
        else probed.render(found, **look_of(None, width, color))
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
    deliver(kind(main, {}, "weigh", "_WEIGH_COMPLETE").source())
