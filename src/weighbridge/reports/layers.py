"""The sheet of layers: one row a module, folded to a depth, with the columns that users ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat

from ..analyses.layers import Layer, depth_of, folded
from ..analyses.repetition import merged
from ..analyses.time.step import StepTime
from ..analyses.weighing import Weighing
from ..dims import Shape
from ..errors import UsageError, nearest
from ..ops import Cost, rule_of
from ..program import Phase, Program
from .formulas import Board
from .sheet import Cell, Column, Duration, Partial, Row, Share, Sheet, durations, shares, summed

FITS = 48
"""Rows that a screen takes: the deepest folding with no more of them is shown where none is asked for."""

MOST = 20_000
"""Rows above which no folding is tried for a screen's sake."""

Value = Callable[[Weighing, Layer], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A column of whole numbers: what it says of a layer, and of which phase's rules it depends."""

    column: Column
    value: Value
    phase: Phase | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A column of words or shapes."""

    column: Column
    value: Callable[[Weighing, Layer], str]


def _cost(phase: Phase, amount: Callable[[Cost], int]) -> Value:
    return lambda weighing, layer: amount(
        {"forward": layer.forward, "backward": layer.backward, "update": layer.update}[phase]
    )


def _counted(phase: Phase) -> Value:
    return lambda weighing, layer: weighing.operations(layer.ops, phase)


def _forward(key: str, title: str, amount: Callable[[Cost], int], unit: str = "") -> Figure:
    return Figure(
        column=Column(key=key, title=title, unit=unit, rank=6),
        value=_cost("forward", amount),
        phase="forward",
    )


TEXTS: Mapping[str, Text] = {
    "kind": Text(
        column=Column(key="kind", title="kind", align="left", rank=3),
        value=lambda weighing, layer: _kind(weighing.program, layer),
    ),
    "input": Text(
        column=Column(key="input", title="input", align="left", rank=5),
        value=lambda weighing, layer: _shapes(layer.inputs),
    ),
    "output": Text(
        column=Column(key="output", title="output", align="left", rank=2),
        value=lambda weighing, layer: _shapes(layer.outputs),
    ),
    "kernel": Text(
        column=Column(key="kernel", title="kernel", align="left", rank=4),
        value=lambda weighing, layer: _kernel(layer),
    ),
}

FIGURES: Mapping[str, Figure] = {
    "params": Figure(
        column=Column(key="params", title="params"), value=lambda weighing, layer: layer.params
    ),
    "operations": Figure(
        column=Column(key="operations", title=""), value=_counted("forward"), phase="forward"
    ),
    "macs": _forward("macs", "MACs", lambda cost: cost.macs),
    "flops": _forward("flops", "FLOPs", lambda cost: cost.flops),
    "multiplications": _forward("multiplications", "multiplications", lambda c: c.multiplications),
    "additions": _forward("additions", "additions", lambda cost: cost.additions),
    "other": _forward("other", "other operations", lambda cost: cost.other),
    "backward": Figure(
        column=Column(key="backward", title="backward", rank=1),
        value=_counted("backward"),
        phase="backward",
    ),
    "update": Figure(
        column=Column(key="update", title="update operations", rank=6),
        value=_cost("update", lambda cost: cost.operations),
        phase="update",
    ),
    "activation": Figure(
        column=Column(key="activation", title="activation", unit="bytes", rank=6),
        value=lambda weighing, layer: layer.activation_bytes,
    ),
    "read": _forward("read", "read", lambda cost: cost.read_bytes, "bytes"),
    "write": _forward("write", "write", lambda cost: cost.write_bytes, "bytes"),
}

SHARES: Mapping[str, tuple[Column, str]] = {
    "share": (Column(key="share", title="share", unit="%", rank=4), "operations"),
    "share-params": (Column(key="share-params", title="params share", unit="%", rank=5), "params"),
}
"""Columns of percentages, and the figure that each is of."""

TIMES = ("time", "share-time")
"""Columns of the time of a step: a column each of every device."""

COLUMNS = ("layer", *TEXTS, *FIGURES, *SHARES, *TIMES, "formula")
"""What `--columns` takes."""


def chosen_columns(
    weighing: Weighing, columns: Sequence[str] | None, times: Sequence[StepTime] = ()
) -> tuple[str, ...]:
    """The columns to show, in order; those of the first screen where none are asked for.

    Raises:
        UsageError: there is no such column, or times are asked for without a device.
    """
    if columns is None:
        training = ("backward",) if weighing.program.workload.training else ()
        time = ("time",) if len(times) == 1 else ()
        return ("kind", "output", "params", "operations", *training, "share", *time)
    check_columns(columns)
    if not times and (asked := [name for name in columns if name in TIMES]):
        raise UsageError(
            f"the column {asked[0]!r} is of the time on a device, and none is known",
            "name a device of which it is, as in --on rtx-4090",
        )
    return tuple(name for name in dict.fromkeys(columns) if name not in ("layer", "formula"))


def check_columns(columns: Sequence[str]) -> None:
    """Refuses unknown columns, if need be before anything is weighed.

    Raises:
        UsageError: there is no such column.
    """
    for name in columns:
        if name not in COLUMNS:
            near = nearest(name, COLUMNS)
            raise UsageError(
                f"no column is called {name!r}",
                *([f"nearest: {', '.join(near)}"] if near else []),
                f"there are: {', '.join(COLUMNS)}",
            )


def layer_sheet(
    weighing: Weighing,
    *,
    depth: int | None = None,
    columns: Sequence[str] | None = None,
    formulas: bool = False,
    merge: bool = False,
    times: Sequence[StepTime] = (),
) -> Sheet:
    """The layers down to `depth`, every operator and parameter in exactly one row.

    `merge` puts the copies of a repeated block on one row. `times` are those of the step on the devices that
    were named: the time of one is shown unless columns are chosen, that of several where it is asked for.

    Raises:
        UsageError: there is no such column, or times are asked for without a device.
    """
    names = chosen_columns(weighing, columns, times)
    layers = merged(weighing.layers(depth)) if merge else weighing.layers(depth)
    inner = _inner(layers)
    shown = [
        pair
        for name in names
        for pair in (
            _timed(layers, inner, name, times)
            if name in TIMES
            else [(_column(weighing, name), _cells(weighing, layers, inner, name))]
        )
    ]
    by_column = [cells for _, cells in shown]
    write_formulas = formulas or "formula" in (columns or ())
    board = Board(weighing)
    by_row = zip(*by_column, strict=True) if by_column else repeat((), len(layers))
    rows = tuple(
        Row(
            path=layer.scope or weighing.program.network,
            name=layer.name or weighing.program.network,
            indent=max(layer.depth - 1, 0),
            cells=cells,
            notes=board.lines(layer) if write_formulas else (),
        )
        for layer, cells in zip(layers, by_row, strict=True)
        if layer.scope or _says_something(cells)
    )
    return Sheet(
        subject="layer",
        columns=tuple(column for column, _ in shown),
        rows=rows,
        totals=tuple(summed(cells) for cells in by_column),
    )


def fitting_depth(weighing: Weighing, *, merge: bool) -> int | None:
    """The deepest folding whose rows fit a screen, but no less than 1; None where all of them fit."""
    program = weighing.program
    scopes = {module.scope for module in program.modules} | {op.scope for op in program.ops}
    deepest = max(map(depth_of, scopes), default=0)
    for depth in range(deepest, 1, -1):
        rows = len({folded(scope, depth) for scope in scopes})
        if rows > FITS and merge and rows <= MOST:
            rows = len(merged(weighing.layers(depth)))
        if rows <= FITS:
            return None if depth == deepest else depth
    return 1


def short_unit(weighing: Weighing) -> str:
    """The unit of a total by the weighing's convention, short enough for a heading."""
    return "FLOPs (1 a MAC)" if weighing.convention == "paper" else weighing.unit


def _column(weighing: Weighing, name: str) -> Column:
    if name in TEXTS:
        return TEXTS[name].column
    if name in SHARES:
        return SHARES[name][0]
    column, unit = FIGURES[name].column, short_unit(weighing)
    if name == "operations":
        return Column(key=name, title=unit, rank=column.rank)
    if name == "backward":
        return Column(key=name, title=f"backward {unit}", rank=column.rank)
    return column


def _cells(
    weighing: Weighing, layers: Sequence[Layer], inner: frozenset[str], name: str
) -> tuple[Cell, ...]:
    if name in TEXTS:
        return tuple(_words(weighing, layer, inner, name) for layer in layers)
    figure = FIGURES[SHARES[name][1] if name in SHARES else name]
    values = [figure.value(weighing, layer) for layer in layers]
    if name in SHARES:
        return tuple(
            _share(layer, share, figure.phase, inner)
            for layer, share in zip(layers, shares(values), strict=True)
        )
    return tuple(
        _count(layer, value, figure.phase, inner)
        for layer, value in zip(layers, values, strict=True)
    )


def _timed(
    layers: Sequence[Layer], inner: frozenset[str], name: str, times: Sequence[StepTime]
) -> Iterator[tuple[Column, tuple[Cell, ...]]]:
    """A column of each device: its seconds of every row, or their shares."""
    for time in times:
        device = f" {time.device.name}" if len(times) > 1 else ""
        seconds = _seconds(layers, time)
        if name == "share-time":
            column = Column(key=name, title=f"time share{device}", unit="%", rank=4)
            parts: Sequence[Share | Duration] = shares([round(value * 1e15) for value in seconds])
        else:
            unit, parts = durations(seconds)
            column = Column(key=name, title=f"time{device}", unit=unit, data_unit="s")
        cells = (
            None
            if layer.scope in inner and not seconds[place]
            else replace(parts[place], partial=bool(layer.uncounted))
            for place, layer in enumerate(layers)
        )
        yield column, tuple(cells)


def _seconds(layers: Sequence[Layer], time: StepTime) -> list[float]:
    """Each row's seconds; modules that have no row, which another backend may run, count as the network's own."""
    left = dict(time.by_scope)
    found = [
        sum(left.pop(scope, 0.0) for scope in dict.fromkeys(op.scope for op in layer.ops))
        for layer in layers
    ]
    return [
        seconds + (0.0 if layer.scope else sum(left.values()))
        for layer, seconds in zip(layers, found, strict=True)
    ]


def _words(weighing: Weighing, layer: Layer, inner: frozenset[str], name: str) -> str:
    """What a module is and makes; '-' where it does nothing in this workload."""
    idle = name in ("input", "output") and layer.scope not in inner
    return TEXTS[name].value(weighing, layer) or ("-" if idle else "")


def _count(layer: Layer, value: int, phase: Phase | None, inner: frozenset[str]) -> Cell:
    """A figure; nothing where a module's figures all stand in the rows below it."""
    if _misses(layer, phase):
        return Partial(known=value)
    return None if layer.scope in inner and not value else value


def _share(layer: Layer, share: Share, phase: Phase | None, inner: frozenset[str]) -> Cell:
    """A share of what is known; nothing where the rows below have it."""
    if _misses(layer, phase):
        return replace(share, partial=True)
    return None if layer.scope in inner and not share.part else share


def _misses(layer: Layer, phase: Phase | None) -> bool:
    """Whether operators without a rule are missing from the row's figures of the phase."""
    return bool(phase and layer.uncounted) and any(
        op.phase == phase and rule_of(op.kind) is None for op in layer.ops
    )


def _inner(layers: Sequence[Layer]) -> frozenset[str]:
    """The scopes that have rows below them."""
    return frozenset(
        ".".join(parts[:end])
        for parts in (layer.scope.split(".") for layer in layers)
        for end in range(1, len(parts))
    )


def _says_something(cells: tuple[Cell, ...]) -> bool:
    """Whether any figure is not zero: views and the like leave the network's own row empty."""
    return any(
        isinstance(cell, Partial)
        or (isinstance(cell, int) and cell != 0)
        or (isinstance(cell, Duration) and cell.seconds != 0)
        for cell in cells
    )


def _kind(program: Program, layer: Layer) -> str:
    """The module's class, and how many of it: '3 x Bottleneck' of copies, or of what a container holds."""
    if layer.copies > 1:
        return f"{layer.copies} x {layer.kind}"
    if layer.kind not in ("Sequential", "ModuleList"):
        return layer.kind
    children = [
        module.kind
        for module in program.modules
        if module.scope.rpartition(".")[0] == layer.scope and layer.scope
    ]
    folded_here = any(op.scope != layer.scope for op in layer.ops)
    if folded_here and len(set(children)) == 1 and len(children) > 1:
        return f"{len(children)} x {children[0]}"
    return layer.kind


def _shapes(shapes: Sequence[Shape]) -> str:
    return " ".join(",".join(map(str, shape)) or "scalar" for shape in shapes)


def _kernel(layer: Layer) -> str:
    """The window of the one operator that slides one, as '3,3'; nothing for rows of several."""
    sliding = [
        op
        for op in layer.ops
        if op.phase == "forward" and {"stride", "padding"} <= set(op.attributes)
    ]
    windows = {
        op.integers("window") if "window" in op.attributes else op.inputs[1].shape[2:]
        for op in sliding
    }
    return ",".join(map(str, windows.pop())) if len(windows) == 1 else ""
