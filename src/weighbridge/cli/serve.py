"""The command that serves the page, with a box to type a network in."""

from __future__ import annotations

import click

from .group import main


@main.command(short_help="The page in a browser, with a box to type a network in.")
@click.option(
    "--host",
    default="127.0.0.1",
    metavar="ADDRESS",
    help="Whom to serve. [127.0.0.1: this machine alone]",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8147,
    metavar="N",
    help="0: one that is free. [8147]",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=2,
    metavar="N",
    help="Networks weighed at a time. [2]",
)
@click.option(
    "--deadline",
    type=click.FloatRange(min=1),
    default=60.0,
    metavar="SECONDS",
    help="For a network. [60]",
)
@click.option("--memory", default="4GiB", metavar="SIZE", help="For a network. [4GiB]")
def serve(host: str, port: int, workers: int, deadline: float, memory: str) -> None:
    """Serves the page of a network with a box to type it in: a name, notation, or an uploaded config.json.

    Until Ctrl-C. No Python is run, no pickle read, and no path from a request opened.

    \b
    Examples:
      weigh serve
      weigh serve --port 0 --workers 4
    """
    from .. import server
    from ..devices import size_of

    server.check_installed()
    limits = server.Limits(workers=workers, seconds=deadline, memory_bytes=size_of(memory))
    listening = server.bind(host, port)
    at = listening.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"weighbridge is at http://{shown}:{at}/  (Ctrl-C ends it)", err=True)
    if not server.is_loopback(host):
        click.echo(
            f"  not only this machine: whoever reaches {shown} can weigh networks here, without a password, "
            "and take its processors and memory",
            err=True,
        )
    server.serve(listening, host, limits)
