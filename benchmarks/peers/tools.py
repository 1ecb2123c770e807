"""Each tool asked in its own words, and its answer brought to multiply-accumulates.

`Tool.load` imports the tool and returns the function that asks it, so that what importing costs is no
part of what counting costs. All are asked as their documentation shows it, with default settings.
"""

from __future__ import annotations

import contextlib
import inspect
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What a tool answers: multiply-accumulates and parameters; None for what it doesn't count.

    `flops` is a second number, of a tool that gives both. `uncounted` names the operators that the tool itself says
    it has not counted, if it says so.
    """

    macs: int | None
    params: int | None
    flops: int | None = None
    uncounted: tuple[str, ...] = ()


BEYOND = "it adds operations beyond products, such as biases, normalisations or activations"

Count = Callable[["nn.Module", tuple[Any, ...]], Counted]
"""Asks a tool about a module and the positional arguments of its forward."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A counter. `says` is what it calls its number, `more` what it adds beyond products, if anything.

    `forks` is False for a tool that refuses to work in a forked process, `meta` for one that refuses tensors without
    data.
    """

    name: str
    package: str
    says: str
    load: Callable[[], Count]
    device: str = "cpu"
    more: str = ""
    forks: bool = True
    meta: bool = True


def _weighbridge() -> Count:
    from torch import Tensor

    import weighbridge.api
    import weighbridge.frontends.torch.tracing

    def count(model: nn.Module, arguments: tuple[Any, ...]) -> Counted:
        if not all(isinstance(argument, Tensor) for argument in arguments):
            report = weighbridge.weigh(model, arguments)
        else:
            specs = [_spec(tensor) for tensor in arguments]
            report = weighbridge.weigh(model, specs, batch=len(arguments[0]))
        return Counted(
            macs=report.compute.forward.macs,
            params=report.parameters.total,
            uncounted=tuple(each.op for each in report.uncounted),
        )

    return count


def _spec(tensor: Tensor) -> Any:
    import weighbridge

    dtype = str(tensor.dtype).removeprefix("torch.")
    return weighbridge.InputSpec(shape=tuple(tensor.shape[1:]), dtype=dtype)


def _flop_counter() -> Count:
    from torch.utils.flop_counter import FlopCounterMode

    def count(model: nn.Module, arguments: tuple[Any, ...]) -> Counted:
        counter = FlopCounterMode(display=False)
        with counter:
            model(*arguments)
        return Counted(macs=counter.get_total_flops() // 2, params=None)

    return count


def _torchinfo() -> Count:
    import torchinfo

    def count(model: nn.Module, arguments: tuple[Any, ...]) -> Counted:
        device = next(model.parameters()).device
        found = torchinfo.summary(model, input_data=arguments, verbose=0, device=device)
        return Counted(macs=int(found.total_mult_adds), params=found.total_params)

    return count


def _fvcore() -> Count:
    from fvcore.nn import FlopCountAnalysis, parameter_count

    def count(model: nn.Module, arguments: tuple[Any, ...]) -> Counted:
        analysis = FlopCountAnalysis(model, arguments).unsupported_ops_warnings(False)
        return Counted(
            macs=int(analysis.total()),
            params=parameter_count(model)[""],
            uncounted=tuple(analysis.unsupported_ops()),
        )

    return count


def _ptflops(backend: str) -> Count:
    from ptflops import get_model_complexity_info
    from torch import Tensor

    def count(model: nn.Module, arguments: tuple[Any, ...]) -> Counted:
        names = inspect.signature(model.forward).parameters
        # A mapping is passed by name, anything else as the one argument: by name its hooks see no input.
        named = dict(zip(names, arguments, strict=False))
        alone = isinstance(arguments[0], Tensor) and len(arguments) == 1
        given = arguments[0] if alone else named
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            macs, params = get_model_complexity_info(
                model,
                (1,),  # not used where the inputs are constructed
                input_constructor=lambda _: given,
                as_strings=False,
                print_per_layer_stat=False,
                backend=backend,
            )
        if macs is None:  # it catches what the network raises, and prints it
            raise RuntimeError(" ".join(printed.getvalue().split()))
        # The module backend divides by the batch where it sees one, by position; the other one does not.
        samples = len(arguments[0]) if backend == "pytorch" and alone else 1
        return Counted(macs=int(macs) * samples, params=int(params))

    return count


def _thop() -> Count:
    import thop

    def count(model: nn.Module, arguments: tuple[Any, ...]) -> Counted:
        macs, params = thop.profile(model, inputs=arguments, verbose=False)
        return Counted(macs=int(macs), params=int(params))

    return count


def _calflops() -> Count:
    from calflops import calculate_flops

    def count(model: nn.Module, arguments: tuple[Any, ...]) -> Counted:
        flops, macs, params = calculate_flops(
            model,
            args=list(arguments),
            print_results=False,
            print_detailed=False,
            output_as_string=False,
        )
        return Counted(macs=int(macs), params=int(params), flops=int(flops))

    return count


def _deepspeed() -> Count:
    from deepspeed.profiling.flops_profiler import get_model_profile

    def count(model: nn.Module, arguments: tuple[Any, ...]) -> Counted:
        flops, macs, params = get_model_profile(
            model,
            args=list(arguments),
            print_profile=False,
            detailed=False,
            warm_up=0,
            as_string=False,
        )
        return Counted(macs=int(macs), params=int(params), flops=int(flops))

    return count


def _torchlens() -> Count:
    import torchlens

    def count(model: nn.Module, arguments: tuple[Any, ...]) -> Counted:
        trace = torchlens.trace(model, arguments)
        return Counted(
            macs=int(trace.total_macs_forward),
            params=int(trace.num_params),
            uncounted=tuple(map(str, trace.macs_unknown_split_ops)),
        )

    return count


def _torchprofile() -> Count:
    from torchprofile import profile_macs

    def count(model: nn.Module, arguments: tuple[Any, ...]) -> Counted:
        return Counted(macs=int(profile_macs(model, arguments)), params=None)

    return count


def _forward() -> Count:
    """No counter: the network's own forward, the yardstick of the speed comparison."""

    def count(model: nn.Module, arguments: tuple[Any, ...]) -> Counted:
        model(*arguments)
        return Counted(macs=None, params=None)

    return count


FORWARD = Tool(name="forward", package="torch", says="", load=_forward, device="meta")

TOOLS: tuple[Tool, ...] = (
    Tool(name="weighbridge", package="weighbridge", says="MACs", load=_weighbridge),
    Tool(
        name="FlopCounterMode, meta",
        package="torch",
        says="FLOPs, 2 a MAC",
        load=_flop_counter,
        device="meta",
    ),
    Tool(name="FlopCounterMode, CPU", package="torch", says="FLOPs, 2 a MAC", load=_flop_counter),
    Tool(
        name="torchinfo",
        package="torchinfo",
        says="mult-adds",
        load=_torchinfo,
        more=BEYOND,
    ),
    Tool(
        name="fvcore",
        package="fvcore",
        says="flops, 1 a MAC",
        load=_fvcore,
        more=BEYOND,
    ),
    Tool(
        name="ptflops",
        package="ptflops",
        says="MACs of one sample",
        load=lambda: _ptflops("pytorch"),
        more=BEYOND,
    ),
    Tool(
        name="ptflops, aten",
        package="ptflops",
        says="MACs",
        load=lambda: _ptflops("aten"),
        more=BEYOND,
    ),
    Tool(
        name="thop",
        package="thop",
        says="MACs",
        load=_thop,
        more=BEYOND,
    ),
    Tool(name="calflops", package="calflops", says="MACs", load=_calflops),
    Tool(name="DeepSpeed", package="deepspeed", says="MACs", load=_deepspeed),
    Tool(
        name="TorchLens", package="torchlens", says="MACs", load=_torchlens, forks=False, meta=False
    ),
    Tool(
        name="torchprofile",
        package="torchprofile",
        says="MACs",
        load=_torchprofile,
        more=BEYOND,
    ),
)

BY_NAME: Mapping[str, Tool] = {tool.name: tool for tool in (FORWARD, *TOOLS)}
