"""transformers: a network from its configuration, `hf:path/to/config.json` or the folder that holds it.

The configuration is read from disk and the network built from it, without weights and without asking
any server. A configuration that brings its own code (`auto_map`) is refused: no code is ever run that
the user did not write or install.

The rooms: `configurations` reads the file, `architectures` finds the class and builds it, `inputs` knows
what each kind of forward takes. What holds of full sequences, where transformers would look at values,
is in `torch/sequences`, since modules of transformers are traced from Python too.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from ...errors import UsageError, WeighError
from ...program import Program
from ...workload import Workload


def installed() -> bool:
    """Whether transformers can be imported; without importing it."""
    return find_spec("transformers") is not None and find_spec("torch") is not None


def names() -> tuple[str, ...]:
    """None: networks of transformers go by the path of their configuration."""
    return ()


def knows(name: str) -> bool:
    """Whether the text is the path of a configuration."""
    from .configurations import file_of

    return file_of(Path(name)).is_file()


def read(name: str, workload: Workload) -> Program:
    """The network of the configuration at the path; without given inputs, what its kind of network takes.

    An input with a name of forward's is that argument; one called `seq`, `target`, `image`, `frames` or
    `audio` is a size, of which the arguments are made. What is not given comes from the configuration,
    and where it says nothing, a usual size is taken and said so.

    Raises:
        UsageError: transformers or a package that the network needs is not installed, there is no such
            configuration, or it is not known what forward takes.
        WeighError: the configuration brings its own code, or the network cannot be built or run.
    """
    from .configurations import configuration, record_of

    path = Path(name)
    record = record_of(path)
    if not installed():
        raise UsageError("transformers is not installed", "try: pip install 'weighbridge[hf]'")
    from ..torch import trace
    from ..torch.building import build
    from .architectures import class_of, make, missing_package
    from .dropped import remarks
    from .inputs import fed

    config = configuration(path, record)
    kind, notes = class_of(config, record)
    try:
        model = build(partial(make, kind, config), f"hf:{name}", keeping_constants=True)
    except WeighError as error:
        if isinstance(error.__cause__, ImportError):
            raise missing_package(record, error.__cause__) from error
        raise
    given = fed(model, config, workload, f"hf:{name}")
    notes = (*notes, *given.remarks, *remarks(config, workload))
    stem = path.name if path.is_dir() else path.stem
    program = trace(
        model,
        given.workload,
        network=kind.__name__ if stem == "config" else stem,
        source=f"hf:{name}",
        frontend="transformers",
        examples=given.examples,
    )
    if given.examples is not None:  # of which nobody can tell what the batch is
        inputs, dtype = given.workload.inputs, program.workload.dtype
        program = replace(program, workload=replace(given.workload, inputs=inputs, dtype=dtype))
    return replace(program, warnings=(*program.warnings, *notes))
