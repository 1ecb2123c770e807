"""The commands about this machine: what it is, how fast it is, and how fast a network really runs on it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import click

from .delivery import check_output, deliver, keywords, look_of, progress, read_inputs
from .group import main
from .options import complete_model, output_options, screen_options, workload_options

SILENT_PROFILER = ("KINETO_LOG_LEVEL", "99")
"""PyTorch's profiler writes lines of its own on stderr, an ERROR too where there is no GPU."""


@main.command(short_help="What this machine is, and whether it is calibrated.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@screen_options
def here(as_json: bool, width: int | None, color: bool | None) -> None:
    """What this machine is: processor, caches, memory, GPUs; and what `weigh calibrate` measured of it, and when.

    A calibration under other conditions (another processor, another PyTorch) is named as stale, and not used.
    """
    from ..devices import processor
    from ..machine import calibrated
    from ..reports import machine as drawn
    from ..rooms import here as devices

    with progress("this machine"):
        rooms = devices()
        kinds = ("cuda", "cpu") if len(rooms) > 1 else ("cpu",)
        known = {kind: calibrated(kind) for kind in kinds}
    what = (rooms, processor.name(), processor.cores(), processor.caches(), known)
    deliver(drawn.here_json(*what) if as_json else drawn.here(*what, **look_of(None, width, color)))


@main.command(short_help="Measures this machine, for --here and --on here.")
@click.option(
    "--device",
    type=click.Choice(("cpu", "cuda", "mps")),
    default="cpu",
    help="What is measured. [cpu]",
)
@click.option(
    "--threads",
    multiple=True,
    type=int,
    metavar="N",
    help="A number of threads to measure beside the one that PyTorch takes. Repeat for several. [1]",
)
@click.option("--force", is_flag=True, help="Keep it although the machine is noisy.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@screen_options
def calibrate(
    device: Literal["cpu", "cuda", "mps"],
    threads: tuple[int, ...],
    force: bool,
    as_json: bool,
    width: int | None,
    color: bool | None,
) -> None:
    """Times the operators of networks on this machine, one to three minutes, and keeps what it finds.

    Some of them are timed on another number of threads as well, and in half precision where the processor has
    instructions for it. Let nothing else run meanwhile. It is kept in the user's data folder; interrupted, it leaves the one before.
    """
    from ..calibration import path
    from ..machine import measured_clock
    from ..measuring import calibrate as measured
    from ..reports import machine as drawn

    with _bar() as tell:
        found = measured(device, threads=threads or None, force=force, progress=tell)
    if as_json:
        from ..reports import json

        deliver(json.render(drawn.state_json(found, ())))
        return
    seen = measured_clock(found).device
    deliver(
        drawn.calibrated(
            found,
            dict(seen.vector_flop_per_s.items()),
            seen.bandwidth_bytes_per_s or 0.0,
            str(path(device)),
            **look_of(None, width, color),
        )
    )


@main.command(short_help="Runs a network here, and puts the clock beside the prediction.")
@click.argument("model", shell_complete=complete_model)
@workload_options
@click.option(
    "--device",
    type=click.Choice(("cpu", "cuda")),
    help="What it runs on. [the first GPU that PyTorch finds, else the processor]",
)
@click.option(
    "--no-memory", "memory", flag_value=False, default=True, help="Leave the allocator out."
)
@output_options
def measure(
    model: str,
    device: Literal["cpu", "cuda"] | None,
    memory: bool,
    as_json: bool,
    output: str | None,
    width: int | None,
    color: bool | None,
    inputs: tuple[str, ...],
    strict: bool,
    **settings: object,
) -> None:
    """Runs a step of MODEL on this machine, on random data, beside its predicted time and memory.

    \b
    Examples:
      weigh measure resnet18 --batch 4
      weigh measure resnet18 --batch 4 --device cpu
      weigh measure timm:mixer_s32_224 --batch 8 --train sgd
    """
    os.environ.setdefault(*SILENT_PROFILER)
    from ..measuring import measure as measured

    check_output(output, text_of="", as_json=as_json)
    with progress(model):
        report = measured(
            model, read_inputs(inputs), device=device, memory=memory, **keywords(settings)
        )
    if strict:
        from ..analyses.weighing import Weighing

        Weighing(program=report.program).check_strict()
    deliver(report.to_json() if as_json else report.screen(**look_of(output, width, color)), output)


@contextmanager
def _bar() -> Iterator[Callable[[int, int, str], None]]:
    """Shows on stderr how far it is, where somebody watches."""
    if not sys.stderr.isatty():
        yield lambda done, total, what: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("calibrating", total=None)

        def tell(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=what[:40] or "calibrating")

        yield tell
