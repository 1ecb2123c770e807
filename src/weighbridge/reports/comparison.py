"""Networks side by side, and in sentences what their figures say about depth, space and compute."""

from __future__ import annotations

from dataclasses import asdict

from ..analyses.comparison import Compared, Comparison, DeeperIsLighter, LargerIsCheaper, Part
from ..analyses.weighing import Json
from ..units import count, integer, memory, plural, significant, unit
from .sheet import Cell, Column, Row, Sheet
from .table import Line, labelled, render, written


def screen(comparison: Comparison, sheet: Sheet, *, width: int | None, color: bool) -> str:
    """The table and the findings."""
    blank: Line = ()
    lines = list(render(sheet, width=width))
    for sentence in (*findings(comparison), basis(comparison)):
        lines += [blank, *labelled("", sentence, width=width)]
    return written(lines, color=color)


def network_sheet(comparison: Comparison) -> Sheet:
    """One row a network, with ratios to the first."""
    first = comparison.networks[0]
    return Sheet(
        subject="network",
        columns=(
            Column(key="depth", title="weight layers deep", rank=1),
            Column(key="params", title="params"),
            Column(key="params-ratio", title="params ratio", rank=2),
            Column(key="macs", title="MACs"),
            Column(key="macs-ratio", title="MACs ratio", rank=2),
            Column(key="model", title="weights", rank=3),
            Column(key="activation", title="activations", rank=3),
            Column(key="activation-ratio", title="activations ratio", rank=4),
        ),
        rows=tuple(
            Row(path=network.network, name=network.network, cells=_cells(network, first))
            for network in comparison.networks
        ),
    )


def module_sheet(comparison: Comparison) -> Sheet:
    """One row a module of each network."""
    return Sheet(
        subject="module",
        columns=(
            Column(key="kind", title="kind", align="left", rank=1),
            Column(key="params", title="params"),
            Column(key="macs", title="MACs"),
        ),
        rows=tuple(
            Row(
                path=f"{part.network}.{part.scope}",
                name=f"{part.network} {part.scope}".rstrip(),
                cells=(part.kind, part.params, part.macs),
            )
            for part in comparison.parts
        ),
    )


def findings(comparison: Comparison) -> tuple[str, ...]:
    """What the figures say: L20 of the networks, L19 of the networks and of each one's modules."""
    inside = tuple(_larger(pair) for pair in comparison.larger_parts)
    if len(comparison.networks) == 1:
        return inside
    return (_deeper(comparison.deeper), _larger(comparison.larger), *inside)


def basis(comparison: Comparison) -> str:
    """What the figures are of."""
    batches = sorted({network.batch for network in comparison.networks})
    batch = " and ".join(map(integer, batches))
    return f"MACs of a forward pass, 1 MAC = 2 FLOPs | batch {batch}"


def record(comparison: Comparison) -> dict[str, Json]:
    """The comparison as plain data: networks, modules and findings."""
    return {
        "networks": [dict(asdict(network)) for network in comparison.networks],
        "modules": [dict(asdict(part)) for part in comparison.parts],
        "findings": list(findings(comparison)),
    }


def _cells(network: Compared, first: Compared) -> tuple[Cell, ...]:
    return (
        network.depth,
        network.params,
        _ratio(network.params, first.params),
        network.macs,
        _ratio(network.macs, first.macs),
        memory(network.weights_bytes),
        memory(network.activation_bytes),
        _ratio(network.activation_bytes, first.activation_bytes),
    )


def _ratio(value: int, first: int) -> str:
    return f"{significant(value / first)} x" if first else "-"


def _deeper(pair: DeeperIsLighter | None) -> str:
    if pair is None:
        return "None of these is deeper than another and has fewer parameters or operations."
    deep, shallow = pair.deeper, pair.shallower
    params = f"{count(deep.params)} parameters against {count(shallow.params)}"
    spent = f"{unit(deep.macs, 'MACs')} against {unit(shallow.macs, 'MACs')}"
    less = " and ".join(
        text for text, true in ((params, pair.fewer_params), (spent, pair.fewer_macs)) if true
    )
    more = [
        text for text, true in ((params, pair.fewer_params), (spent, pair.fewer_macs)) if not true
    ]
    return (
        f"Deeper need not mean heavier: {deep.network} is {plural(deep.depth, 'weight layer')} deep "
        f"and {shallow.network} {integer(shallow.depth)}, yet it has {less}"
        + (f" (but {more[0]})." if more else ".")
    )


def _larger(pair: LargerIsCheaper | None) -> str:
    if pair is None:
        return "Of these networks, the one with more parameters always has more operations."
    large, small = pair.larger, pair.smaller
    return (
        f"More parameters need not mean more operations: {_name(large)} has "
        f"{count(large.params)} parameters and {unit(large.macs, 'MACs')}, {_name(small)} "
        f"{count(small.params)} and {unit(small.macs, 'MACs')}."
    )


def _name(one: Compared | Part) -> str:
    return one.network if isinstance(one, Compared) else f"{one.scope} of {one.network}"
