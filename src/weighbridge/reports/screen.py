"""The first screen: what was weighed and how, what it comes to, the table, and what was not counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..analyses.weighing import Weighing
from ..ops import Cost
from ..program import Phase, Program
from ..units import count, flops, integer, macs, memory, percent, plural
from .sheet import Sheet
from .table import Line, Style, labelled, render, written

RUNGS: Mapping[str, str] = {
    "declared": "described layer by layer",
    "meta": "traced on meta tensors",
    "fake": "traced on fake tensors",
    "real": "run on small real data",
    "scale": "weighed as it ran",
}
"""How a network was read, by the rung of the ladder (Program.rung)."""


def screen(
    weighing: Weighing,
    sheet: Sheet,
    *,
    above: Sequence[Line] = (),
    below: Sequence[str] = (),
    width: int | None = None,
    color: bool = False,
) -> str:
    """Everything that `weigh NETWORK` prints: heading, verdicts, facts, the table, what it calls for, the coverage."""
    blank: Line = ()
    first = (*above, blank) if above else ()
    said = [line for text in below for line in (blank, *labelled("", text, width=width))]
    body = (*first, *facts(weighing, width=width), blank, *render(sheet, width=width), *said)
    return framed(weighing, body, width=width, color=color)


def framed(weighing: Weighing, body: Iterable[Line], *, width: int | None, color: bool) -> str:
    """The body between the heading and the footing, which no screen is without."""
    blank: Line = ()
    above, below = heading(weighing, width=width), footing(weighing, width=width)
    return written((*above, blank, *body, blank, *below), color=color)


def heading(weighing: Weighing, *, width: int | None = None) -> tuple[Line, ...]:
    """The network, where it came from, what goes in, and what a step is."""
    program = weighing.program
    parts = (provenance(program), given(weighing), step(weighing))
    return labelled(program.network, " · ".join(parts), width=width)


def provenance(program: Program) -> str:
    """Where a network is from and how it was read: 'zoo · described layer by layer'."""
    return " · ".join((*_origin(program), RUNGS.get(program.rung, program.rung)))


def title(weighing: Weighing) -> str:
    """The heading as one line."""
    return "".join(span.text for line in heading(weighing) for span in line)


def remarks(weighing: Weighing) -> tuple[str, ...]:
    """The footing as plain lines, for files."""
    return tuple(text for text, _ in _remarks(weighing))


def _origin(program: Program) -> tuple[str, ...]:
    """The frontend, and the source where name and frontend do not say it already."""
    said = (f"{program.frontend}:{program.network}", program.network)
    if program.source in said or program.source.startswith(program.network.rstrip("…")):
        return (program.frontend,)
    return (program.frontend, program.source)


def given(weighing: Weighing) -> str:
    """The inputs, batch included: 'input 32 x 3 x 224 x 224 float32'."""
    inputs = [
        f"{tensor.name or 'input'} {' x '.join(map(str, tensor.shape)) or 'scalar'} {tensor.dtype}"
        for tensor in weighing.program.inputs
        if tensor.name != "targets"
    ]
    return ", ".join(inputs) or f"batch {integer(weighing.program.workload.batch)}"


def step(weighing: Weighing) -> str:
    """'inference', or 'training, sgd momentum 0.9, amp-bf16'."""
    workload = weighing.program.workload
    parts: list[str] = [workload.mode]
    if workload.training:
        parts.append(workload.optimizer.text if workload.optimizer else "no update")
    if workload.precision == "tf32" or workload.autocast is not None:
        parts.append(workload.precision)
    said = (
        ("on the CPU", workload.backend == "cpu"),
        ("with autograd", not workload.no_grad),
        ("with input gradient", workload.input_gradient),
        (f"{integer(workload.accumulation)} batches an update", workload.accumulation > 1),
        (f"only {' and '.join(workload.trained)}", bool(workload.trained)),
        ("blocks checkpointed", workload.checkpointing == "blocks"),
        ("gradients kept", not workload.set_to_none),
        ("channels last", workload.layout == "channels-last"),
        ("compiled", workload.compiled),
        (plural(workload.threads or 0, "thread"), workload.threads is not None),
        ("a gradient of each sample", workload.per_sample_gradients),
    )
    return ", ".join((*parts, *(text for text, asked in said if asked)))


def facts(weighing: Weighing, *, width: int | None = None) -> tuple[Line, ...]:
    """Parameters and operations by phase, each with its unit."""
    return tuple(
        line
        for label, text in named_facts(weighing)
        for line in labelled(f"  {label:<12}", text, width=width)
    )


def named_facts(weighing: Weighing) -> tuple[tuple[str, str], ...]:
    """The facts by name."""
    found = weighing.compute
    rows = [("parameters", _parameters(weighing)), ("forward", _phase(weighing, "forward"))]
    if weighing.program.workload.training:
        rows.append(("backward", _phase(weighing, "backward")))
        rows.append(("update", _arithmetic(found.update)))
    rows.append(("arithmetic", f"{_arithmetic(found.forward)} (forward)"))
    return tuple(rows)


def footing(weighing: Weighing, *, width: int | None = None) -> tuple[Line, ...]:
    """What the figures are of and for, and what is missing from them."""
    return tuple(
        line
        for text, style in _remarks(weighing)
        for line in labelled("", text, width=width, style=style)
    )


def _remarks(weighing: Weighing) -> list[tuple[str, Style]]:
    remarks = [(coverage(weighing), "")]
    for entry in weighing.compute.uncounted:
        through = f"{plural(entry.count, 'time')}, {memory(entry.bytes)} of operands"
        remarks.append((f"not counted: {entry.op}, {through}: it has no rule", "yellow"))
    if weighing.compute.uncounted:
        share = percent(weighing.compute.uncounted_share)
        remarks.append(
            (f"operators without a rule move {share} of the bytes; totals lack them", "")
        )
    if not weighing.program.complete:
        remarks.append(
            ("the network stopped half-way: totals are of what ran, and lower bounds", "bold red")
        )
    remarks.extend((f"warning: {warning}", "yellow") for warning in weighing.warnings)
    return remarks


def coverage(weighing: Weighing) -> str:
    """'4.09 GMACs = 8.18 GFLOPs (1 MAC = 2 FLOPs) | 175 of 175 operators counted | batch 1, ...'."""
    found = weighing.compute
    parts = [f"{macs(found.forward.macs)} = {flops(found.forward.flops)} (1 MAC = 2 FLOPs)"]
    if weighing.convention in COUNTS:
        parts.insert(0, f"{integer(weighing.total('forward'))} {COUNTS[weighing.convention]}")
    if weighing.program.workload.training:
        parts[0] = f"forward {parts[0]}"
    parts.append(f"{integer(found.counted)} of {plural(found.operators, 'operator')} counted")
    parts.append(f"batch {integer(weighing.program.workload.batch)}, {given(weighing)}")
    return " | ".join(parts)


COUNTS: Mapping[str, str] = {
    "lecture": "operations (multiplications + additions of contractions)",
    "exact": "operations (all arithmetic of all operators)",
    "paper": "FLOPs as papers print them (1 a MAC)",
}
"""What a total counts, where the convention is not MACs."""


def _parameters(weighing: Weighing) -> str:
    params = weighing.parameters
    if not params.total:
        return "0"
    parts = [
        f"{integer(params.total)} = {memory(params.bytes)} {weighing.program.workload.dtype}",
        f"{integer(params.trainable)} trainable, {integer(params.frozen)} frozen"
        if params.frozen
        else "all trainable",
    ]
    if params.shared:
        parts.append(f"{integer(params.shared)} shared, counted once")
    if params.buffers:
        parts.append(f"buffers {integer(params.buffers)} = {memory(params.buffer_bytes)}")
    return " · ".join(parts)


def _phase(weighing: Weighing, phase: Phase) -> str:
    cost = weighing.compute.phase(phase)
    batch = weighing.program.workload.batch
    if weighing.convention in COUNTS:
        return f"{count(weighing.total(phase))} {COUNTS[weighing.convention]}"
    each = f" · {macs(cost.macs // batch)} a sample" if batch > 1 and phase == "forward" else ""
    return f"{macs(cost.macs)} = {flops(cost.flops)} (1 MAC = 2 FLOPs){each}"


def _arithmetic(cost: Cost) -> str:
    kinds = (
        (cost.multiplications, "multiplication"),
        (cost.additions, "addition"),
        (cost.comparisons, "comparison"),
        (cost.divisions, "division"),
        (cost.transcendentals, "exp, sqrt, tanh, ..."),
    )
    return ", ".join(_amount(amount, name) for amount, name in kinds if amount) or "none"


def _amount(amount: int, name: str) -> str:
    ending = "s" if amount != 1 and name.isalpha() else ""
    return f"{count(amount)} {name}{ending}"
