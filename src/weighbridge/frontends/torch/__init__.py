"""PyTorch: run the user's own code, on tensors that hold no data.

Every parameter, buffer and input is replaced by one on the `meta` device: it has a shape, a dtype and a
storage with a size, and nothing in it. Then forward, loss, backward and the optimizer's step run as
they would anywhere, each operator is written down as it passes the dispatcher, and storages are watched
as they come and go. No weights are read, no arithmetic is done, and the user's module is not touched:
what runs is a copy of its structure.

What is not seen: the work inside an operator (a library's scratch memory), and anything that depends on
values, for there are none. A network that asks for a value is refused with the line that asks.

The rooms: `twin` copies a module to meta, `inputs` and `loss` feed the step, `scopes` knows which
module is running, `interception` takes attention and dropout whole and keeps new tensors on meta,
`recording` writes operators down, `translation` gives them our kinds, operands and attributes,
`sequences` knows what transformers would look at values for, `optimizers` updates, `failures` says what
went wrong, `tracing` runs it all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ...program import Program
from ...workload import Workload

if TYPE_CHECKING:
    from torch import nn

    from .inputs import Examples


def trace(
    model: nn.Module | Callable[..., object],
    workload: Workload,
    *,
    network: str,
    source: str,
    frontend: str = "torch",
    examples: Examples | None = None,
) -> Program:
    """One step of `model` under the workload, run without data.

    `examples` gives the arguments of forward themselves (a tensor, a tuple for positional arguments, a
    mapping for named ones); only their shapes and dtypes are used, and the first axis of the first
    tensor is the batch. Without them the workload's inputs are made, batch axis in front. The returned
    program's workload holds the inputs that were used.

    Raises:
        UsageError: no input shape is known, or the workload's dtype is none that PyTorch computes in.
        WeighError: the network failed, or needs data to run; the message names the user's line.
    """
    from .catching import Caught, catch
    from .failures import ends_the_program, no_tree
    from .tracing import trace_model

    catch(Caught(model=model, workload=workload, network=network, examples=examples))
    try:
        return trace_model(
            model, workload, network=network, source=source, frontend=frontend, examples=examples
        )
    except SystemExit as error:
        raise ends_the_program(error, network) from error
    except (RecursionError, TypeError) as error:
        reason = no_tree(model)
        if reason is None:
            raise
        raise reason from error
