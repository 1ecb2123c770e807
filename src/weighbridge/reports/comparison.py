"""Networks side by side, and in sentences what their figures say about depth, space and compute."""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal, get_args

from ..analyses.alignment import Aligned
from ..analyses.comparison import (
    Compared,
    Comparison,
    DeeperIsLighter,
    LargerIsCheaper,
    Pace,
    Part,
)
from ..analyses.weighing import Json
from ..units import count, duration, durations, integer, plural, significant, unit
from ..workload import check_choice
from .sheet import Cell, Column, Figure, Row, Sheet, Size
from .table import Line, labelled, render, written

By = Literal["network", "module", "map", "path"]

ELSEWHERE = "elsewhere"
"""What a network has in no place that another has."""


def screen(comparison: Comparison, sheet: Sheet, *, width: int | None, color: bool) -> str:
    """The table and the findings."""
    blank: Line = ()
    lines = list(render(sheet, width=width))
    for sentence in (*findings(comparison), basis(comparison)):
        lines += [blank, *labelled("", sentence, width=width)]
    return written(lines, color=color)


def sheet(comparison: Comparison, by: By) -> Sheet:
    """A row a network, a module of each, or a place where they align.

    Raises:
        UsageError: rows of something else are asked for.
    """
    check_choice("row", by, get_args(By))
    if by == "network":
        return network_sheet(comparison)
    if by == "module":
        return module_sheet(comparison)
    if by == "map":
        return _aligned_sheet(comparison, comparison.maps, "maps of")
    return _aligned_sheet(comparison, comparison.paths, "module")


def labels(comparison: Comparison) -> tuple[str, ...]:
    """The networks' names; of those that share one, where they are from too."""
    names = [network.network for network in comparison.networks]
    return tuple(
        network.network if names.count(network.network) == 1 else network.source
        for network in comparison.networks
    )


def network_sheet(comparison: Comparison) -> Sheet:
    """One row a network, with ratios to the first."""
    first = comparison.networks[0]
    columns = [
        Column(key="depth", title="weight layers deep", rank=1),
        Column(key="params", title="params"),
        Column(key="params-ratio", title="params ratio", rank=2),
        Column(key="macs", title="MACs"),
        Column(key="macs-ratio", title="MACs ratio", rank=2),
        Column(key="peak", title="peak", data_unit="bytes", rank=2),
        Column(key="model", title="weights", data_unit="bytes", rank=4),
        Column(key="activation", title="activations", data_unit="bytes", rank=5),
        Column(key="activation-ratio", title="activations ratio", rank=6),
    ]
    for pace in first.paces:
        columns.append(Column(key="time", title=f"a step on {pace.device}", data_unit="s"))
        columns.append(Column(key="between", title="between", rank=3))
    if any(network.accuracy for network in comparison.networks):
        columns.append(Column(key="top1", title="top-1", unit="%", rank=3))
    return Sheet(
        subject="network",
        columns=tuple(columns),
        rows=tuple(
            Row(path=label, name=label, cells=_cells(network, first)[: len(columns)])
            for label, network in zip(labels(comparison), comparison.networks, strict=True)
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


def _aligned_sheet(comparison: Comparison, aligned: Aligned, subject: str) -> Sheet:
    """One row a place, with each network's parameters and MACs there, and what it has in none of them."""
    columns = tuple(
        Column(key=f"{key}-{place}", title=f"{label} {title}")
        for place, label in enumerate(labels(comparison))
        for key, title in (("params", "params"), ("macs", "MACs"))
    )
    rows = [(place.name, place.sides) for place in aligned.places]
    return Sheet(
        subject=subject,
        columns=columns,
        rows=tuple(
            Row(
                path=name,
                name=name,
                cells=tuple(
                    cell
                    for side in sides
                    for cell in (("-", "-") if side is None else (side.params, side.macs))
                ),
            )
            for name, sides in (*rows, (ELSEWHERE, aligned.apart))
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
    parts = [f"MACs of a forward pass, 1 MAC = 2 FLOPs | batch {batch}"]
    networks = comparison.networks
    if any(pace.seconds for network in networks for pace in network.paces):
        parts.append("times are predicted: nine of ten lie between")
    sets = {one.accuracy.dataset for one in networks if one.accuracy is not None}
    if sets:
        parts.append(f"top-1 on {' and '.join(sorted(sets))}, one crop, as published")
    return " | ".join(parts)


def record(comparison: Comparison) -> dict[str, Json]:
    """The comparison as plain data: networks, modules, where they align, accuracy against cost, and the findings."""
    return {
        "networks": [_network(network) for network in comparison.networks],
        "modules": [dict(asdict(part)) for part in comparison.parts],
        "maps": _aligned(comparison.maps),
        "paths": _aligned(comparison.paths),
        "unbeaten": [
            {
                "measure": tradeoff.measure,
                "device": tradeoff.device or None,
                "networks": [
                    comparison.networks.index(one.network)
                    for one in tradeoff.networks
                    if one.unbeaten
                ],
            }
            for tradeoff in comparison.tradeoffs
        ],
        "findings": list(findings(comparison)),
    }


def _network(network: Compared) -> dict[str, Json]:
    return {**asdict(network), "paces": [dict(asdict(pace)) for pace in network.paces]}


def _aligned(aligned: Aligned) -> dict[str, Json]:
    return {
        "places": [
            {
                "name": place.name,
                "sides": [None if side is None else dict(asdict(side)) for side in place.sides],
            }
            for place in aligned.places
        ],
        "apart": [{"params": side.params, "macs": side.macs} for side in aligned.apart],
    }


def _cells(network: Compared, first: Compared) -> tuple[Cell, ...]:
    found: list[Cell] = [
        network.depth,
        network.params,
        ratio(network.params, first.params),
        network.macs,
        ratio(network.macs, first.macs),
        Size(bytes=network.peak_bytes),
        Size(bytes=network.weights_bytes),
        Size(bytes=network.activation_bytes),
        ratio(network.activation_bytes, first.activation_bytes),
    ]
    for pace in network.paces:
        found += _pace(pace)
    top1 = network.top1
    found.append("?" if top1 is None else Figure(value=100 * top1, text=f"{100 * top1:.2f}"))
    return tuple(found)


def _pace(pace: Pace) -> tuple[Cell, Cell]:
    found = pace.seconds
    if found is None:
        return "?", ""
    return (
        Figure(value=found.value, text=f"~{duration(found.value)}"),
        durations(found.low, found.high),
    )


def ratio(value: int, first: int) -> str:
    """'0.185 x' of the first; '-' where that has none."""
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
