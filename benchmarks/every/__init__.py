"""Every network that the installed libraries know by name, weighed and held against independent counts.

`python -m benchmarks every [torchvision|timm|hf ...] [--train] [--only TEXT] [--again] [--fresh]` weighs each network
without data, or on random data where it asks for values, in a worker process, and writes a line of JSON for each to
`build/every/`; a run that was cut off goes on where it was. Then it prints how many are exact, and lists those that
are not with what they said. Without names it makes all five surveys; `--page FILE` writes them down.

The rooms: `networks` knows the names, `weighing` weighs one beside its witness, `survey` weighs many and remembers,
`page` says what was found, `command` is the command.
"""

from benchmarks.every.command import main
from benchmarks.every.weighing import Result, weigh

__all__ = ["Result", "main", "weigh"]
