"""The command `weigh`: a thin skin over :mod:`weighbridge.api`.

Options are the keyword names of the functions called. Results go to stdout, the rest to stderr; every
error is one message with its hints, never a traceback. Nothing but click is loaded until a command runs.

    $ weigh vgg16 --batch 32 --train sgd
"""

from __future__ import annotations

from . import lists, machine, networks, pictures, run, serve, sweep, timing
from .group import main

__all__ = ["lists", "machine", "main", "networks", "pictures", "run", "serve", "sweep", "timing"]
