"""One network, weighed beside its witnesses.

torch's own FlopCounterMode sees the same operators and counts the contractions among them by its own formulas, but
for attention, which this project takes whole, and for the grouped products of experts and distances, for which it has none
(both are checked by hand in the tests). LSTM, GRU and RNN are taken whole too: for the witness they run step by step
once more, forward; their gradients have no witness here. The parameters are those of a plain sum over the module; torchvision's
documentation prints both.

One formula of the witness is corrected. The gradient of a convolution's weights is as many products as the
convolution: each output, at each of k taps, multiplies C_in / g inputs, g being the groups. FlopCounterMode counts
C_in of them. For 8 channels in 8 groups and 3 taps a side over 8 x 8 places: forward 8*8 * 8*9*1 = 4,608, and as
many again for each gradient, 9,216; by its formula 4,608 + 8 * 4,608 = 41,472.
"""

from __future__ import annotations

import signal
import tempfile
import time
import warnings
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.every.networks import Mode, default_configuration, documented
from weighbridge.workload import Workload

SECONDS = 120
"""A network that takes longer than this to weigh, in seconds of all cores together, has failed."""

_WITHOUT_WITNESS = (
    "attention", "distance", "grouped_matmul", "lstm_backward", "gru_backward", "rnn_backward",
)  # fmt: skip
"""Kinds of operators that FlopCounterMode does not see as we do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one network. `macs_but_attention` are those that the witness counts too, `witness_macs`.

    `commit` is the version of the code that it was weighed with.
    """

    name: str
    mode: str
    error: str = ""
    params: int = 0
    module_params: int = 0
    documented_params: int | None = None
    macs: int = 0
    macs_but_attention: int = 0
    witness_macs: int = 0
    documented_gmacs: float | None = None
    operators: int = 0
    uncounted: dict[str, int] | None = None
    rung: str = ""
    complete: bool = True
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    commit: str = ""

    @property
    def exact(self) -> bool:
        """Whether it was weighed to the end, and parameters and MACs are the witness's to the last one."""
        return (
            not self.error
            and self.complete
            and self.params == self.module_params
            and self.macs_but_attention == self.witness_macs
        )


def weigh(frontend: str, name: str, mode: Mode, commit: str = "") -> Result:
    """Weighs one network in this process; whatever goes wrong is in the result."""
    signal.signal(signal.SIGPROF, _too_long)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # a busy machine takes nothing from a network
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        try:
            source = f"{frontend}:{name}"
            if frontend == "hf":
                source = f"hf:{default_configuration(name, folder)}"
            return _weigh(frontend, name, source, mode, commit)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            text = str(error).replace(str(Path.cwd()), ".").replace(f"{folder}/config.json", name)
            return Result(
                name=name,
                mode=mode,
                error=f"{type(error).__name__}: {text}"[:600],
                seconds=round(time.perf_counter() - start, 2),
                commit=commit,
            )
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)


def _weigh(frontend: str, name: str, source: str, mode: Mode, commit: str) -> Result:
    import torch
    from torch import nn
    from torch._ops import OpOverload

    from weighbridge.analyses.weighing import Weighing
    from weighbridge.frontends import read
    from weighbridge.frontends.torch import interception, tracing, twin
    from weighbridge.frontends.torch.answers import Answers
    from weighbridge.frontends.torch.recurrent import in_the_open
    from weighbridge.ops.optimizers import optimizer

    # Two samples, since batch normalisation does not train on one.
    workload = (
        Workload(mode=mode, optimizer=optimizer("sgd"), batch=2)
        if mode == "training"
        else Workload(mode=mode)
    )
    counter = _witness()
    # The module itself, to count its parameters without our code.
    seen: list[nn.Module] = []
    counting = ExitStack()
    names = twin.names_of

    def watching(model: nn.Module) -> twin.Names:
        """Called before each rung's run, of which the last is the one that counts."""
        if not seen:
            counting.enter_context(counter)  # not before: how a network is built is not counted
        seen.append(model)
        counter.flop_counts = defaultdict(lambda: defaultdict(int))
        return names(model)

    tracing.names_of = watching
    attend, run_whole = interception.attend, interception.run_whole

    def attending(recorder: Any, *args: Any, **kwargs: Any) -> Any:
        """Where attention is one operator, how it came by its values on real data is nobody's concern."""
        before, seen = _copied(counter.flop_counts), len(recorder.ops)
        result = attend(recorder, *args, **kwargs)
        if any(op.kind == "attention" for op in recorder.ops[seen:]):
            counter.flop_counts = before
        return result

    def recurring(recorder: Any, backend: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
        """What is taken whole runs once more for the witness alone, product by product."""
        before, seen = _copied(counter.flop_counts), len(recorder.ops)
        result = run_whole(recorder, backend, function, *args, **kwargs)
        if any(op.kind in ("lstm", "gru", "rnn") for op in recorder.ops[seen:]):
            counter.flop_counts = before
            with recorder.muted(), torch.no_grad():
                in_the_open(function, *args, **kwargs)
        return result

    interception.attend, interception.run_whole = attending, recurring
    # The witness sees what reaches PyTorch's kernels, which no answer of ours must spare where it has a formula.
    quick = Answers.of

    def answer(
        step: Answers, func: OpOverload, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> object:
        if func.overloadpacket in counter.flop_registry:
            return func(*args, **kwargs)
        return quick(step, func, types, args, kwargs)

    for ours in (answer, attending, recurring):  # or messages would show their lines as the user's
        ours.__code__ = ours.__code__.replace(co_filename="<witness>")
    Answers.of = answer  # type: ignore[method-assign]
    start = time.perf_counter()
    try:
        with warnings.catch_warnings(), counting:
            warnings.simplefilter("ignore")
            program = read(source, workload)
    finally:
        tracing.names_of, Answers.of = names, quick  # type: ignore[method-assign]
        interception.attend, interception.run_whole = attend, run_whole
    seconds = time.perf_counter() - start
    weighing = Weighing(program=program)
    found = weighing.compute
    attention = sum(
        cost.macs
        for op, cost in zip(program.ops, weighing.costs, strict=True)
        if cost is not None and op.kind.startswith(_WITHOUT_WITNESS)
    )
    macs = found.forward.macs + found.backward.macs
    params, gmacs = documented(frontend, name)
    return Result(
        name=name,
        mode=mode,
        params=weighing.parameters.total,
        module_params=sum(p.numel() for p in seen[-1].parameters()) if seen else 0,
        documented_params=params,
        macs=macs,
        macs_but_attention=macs - attention,
        witness_macs=counter.get_total_flops() // 2,
        documented_gmacs=gmacs,
        operators=found.operators,
        uncounted={entry.op: entry.count for entry in found.uncounted},
        rung=program.rung,
        complete=program.complete,
        warnings=weighing.warnings,
        seconds=round(seconds, 2),
        commit=commit,
    )


def _witness() -> Any:
    """FlopCounterMode without its eye on modules, and with the products of grouped convolutions' gradients."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(
        display=False, custom_mapping={torch.ops.aten.convolution_backward: _convolution_backward}
    )
    # It watches modules too, and fails where one hands on a parameter; its total needs none.
    counter.mod_tracker = _Nowhere()  # type: ignore[assignment]
    return counter


def _convolution_backward(*args: Any, out_shape: Any, **kwargs: Any) -> int:
    """torch's formula, whose products for the weights' gradient are those of one group too many times over."""
    from torch.utils.flop_counter import conv_backward_flop

    *shapes, groups, mask = args

    def flops(*asked: bool) -> int:
        return int(conv_backward_flop(*shapes, groups, asked, out_val=out_shape, **kwargs))

    return flops(mask[0], False, False) + flops(False, mask[1], False) // groups


def _copied(counts: Any) -> Any:
    """Flops by module and operator, to go on counting from."""
    return defaultdict(
        lambda: defaultdict(int), {scope: defaultdict(int, each) for scope, each in counts.items()}
    )


class _Nowhere:
    """Stands in for what tells FlopCounterMode which module is running."""

    parents = ("Global",)

    def __enter__(self) -> None:
        """Watches nothing."""

    def __exit__(self, *_: object) -> None:
        """Nothing to stop."""


def _too_long(*_: object) -> None:
    raise TimeoutError(f"took longer than {SECONDS} CPU seconds")
