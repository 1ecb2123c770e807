"""The catalogue of devices: all of them by kind, and one card with where each of its numbers is from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import cast, get_args

from ..analyses.weighing import Json
from ..devices import Device, Instance, Kind, Range, Rates, Source, cheapest
from ..units import count, integer, memory, plural, significant, unit
from . import json
from .sheet import Column, Row, Sheet
from .table import Line, labelled, plain, render, written

HEADINGS: dict[Kind, str] = {
    "gpu": "graphics cards and data centre GPUs",
    "accelerator": "other accelerators",
    "apple": "Apple",
    "jetson": "Jetson",
    "cpu": "processors",
    "board": "boards",
}
UNKNOWN = "?"
NOT_APPLICABLE = "-"
MEMORY_KEYS = {
    "memory_bytes": "memory, by its name",
    "driver_memory_bytes": "memory, as nvidia-smi shows",
    "usable_memory_bytes": "memory, as a process sees",
    "memory_options_bytes": "memory, as bought",
    "l1_bytes": "L1 and shared memory, each",
    "l2_bytes": "L2",
    "l3_bytes": "last-level cache",
    "cublas_workspace_bytes": "cuBLAS workspace, a handle",
}
RATE_KEYS = {"vector_flop_per_s": "vector", "matrix_flop_per_s": "matrix"}


def listing(
    devices: Sequence[Device],
    instances: Sequence[Instance],
    *,
    width: int | None,
    color: bool,
) -> str:
    """The devices by kind: memory, bandwidth, dense peaks, power, and the lowest price of renting one."""
    lines: list[Line] = []
    for kind in get_args(Kind):
        members = sorted(
            (device for device in devices if device.kind == kind),
            key=lambda device: (device.vendor, device.year or 0, device.key),
        )
        if members:
            lines.append(plain(f"{HEADINGS[kind]}: {len(members)}", "bold"))
            lines.extend(render(_sheet(members, instances), width=width))
            lines.append(())
    lines.append(
        plain(f"{plural(len(devices), 'device')}; peaks are dense, at the boost clock", "dim")
    )
    lines.append(plain("? not known, - as the machine has; one card: weigh devices NAME", "dim"))
    return written(lines, color=color)


def listing_json(devices: Sequence[Device]) -> str:
    """The same as JSON, every card in full."""
    return json.render({"devices": [_json(device) for device in devices]})


def card(device: Device, instances: Sequence[Instance], *, width: int | None, color: bool) -> str:
    """One device: every number known of it, with a letter for each source, and the sources."""
    letters = {id(source): _letter(place) for place, source in enumerate(device.sources)}
    rows = tuple(
        Row(
            path=key,
            name=label,
            cells=(text, " ".join(letters[id(source)] for source in device.sources_of(key))),
        )
        for label, key, text in _rows(device)
    )
    columns = (
        Column(key="value", title="", align="left"),
        Column(key="source", title="source", align="left"),
    )
    lines: list[Line] = [*labelled(device.name, _about(device), width=width)]
    if device.aliases:
        lines.extend(labelled("also called", ", ".join(device.aliases), width=width))
    lines.append(())
    lines.extend(render(Sheet(subject="", columns=columns, rows=rows), width=width))
    lines.append(())
    lines.extend(_sources(device, letters, width))
    lines.extend(_rented(device, instances, width))
    return written(lines, color=color)


def card_json(device: Device, instances: Sequence[Instance]) -> str:
    """The same as JSON."""
    rented = [_json(instance) for instance in instances if instance.device == device.key]
    return json.render({"device": _json(device), "instances": rented})


def _sheet(devices: Sequence[Device], instances: Sequence[Instance]) -> Sheet:
    return Sheet(
        subject="device",
        columns=(
            Column(key="memory", title="memory"),
            Column(key="bandwidth", title="bandwidth", unit="B/s"),
            Column(key="float32", title="float32", unit="FLOP/s", rank=1),
            Column(key="bfloat16", title="bfloat16", unit="FLOP/s", rank=2),
            Column(key="float16", title="float16", unit="FLOP/s"),
            Column(key="tdp", title="TDP", rank=3),
            Column(key="price", title="from, an hour", rank=4),
            Column(key="year", title="year", rank=5),
        ),
        rows=tuple(
            Row(path=device.key, name=device.key, cells=_cells(device, instances))
            for device in devices
        ),
    )


def _cells(device: Device, instances: Sequence[Instance]) -> tuple[str, ...]:
    bandwidth = device.bandwidth_bytes_per_s
    return (
        _capacity(device),
        UNKNOWN if bandwidth is None else count(bandwidth),
        *(_peak(device, dtype) for dtype in ("float32", "bfloat16", "float16")),
        UNKNOWN if device.tdp_w is None else f"{device.tdp_w:g} W",
        " or ".join(_price(instance) for instance in cheapest(instances, device.key)),
        UNKNOWN if device.year is None else str(device.year),
    )


def _capacity(device: Device) -> str:
    if device.capacity_bytes is not None:
        return memory(device.capacity_bytes)
    if device.memory_options_bytes:
        smallest, *_, largest = (*device.memory_options_bytes, device.memory_options_bytes[-1])
        return f"{memory(smallest)} to {memory(largest)}"
    return NOT_APPLICABLE if device.kind == "cpu" else UNKNOWN


def _peak(device: Device, dtype: str) -> str:
    peak = device.peak_flop_per_s(dtype)
    return UNKNOWN if peak is None else count(peak)


def _price(instance: Instance) -> str:
    return f"{instance.price_per_device_hour:.2f} {instance.currency}"


def _about(device: Device) -> str:
    capability = device.compute_capability
    parts = (
        device.vendor,
        device.kind,
        device.architecture,
        f"compute capability {capability[0]}.{capability[1]}" if capability else "",
        str(device.year or ""),
        f"PyTorch's {device.backend}" if device.backend else "",
    )
    return " · ".join(filter(None, parts))


def _rows(device: Device) -> Iterator[tuple[str, str, str]]:
    """Label, key and text of what is known, in the order in which it matters."""
    for key in (
        "memory_bytes",
        "driver_memory_bytes",
        "usable_memory_bytes",
        "memory_options_bytes",
    ):
        yield from _memory_row(device, key)
    if device.bandwidth_bytes_per_s is not None:
        yield "bandwidth", "bandwidth_bytes_per_s", unit(device.bandwidth_bytes_per_s, "B/s")
    for key, label in RATE_KEYS.items():
        for dtype, rate in _rates(device, key):
            yield f"peak, {label} {_spelled(dtype)}", f"{key}.{dtype}", unit(rate, "FLOP/s")
    for dtype, share in device.matmul_efficiency.items():
        reached = f"{significant(100 * share)} % of the peak in large matrix products"
        yield f"measured, {dtype}", f"matmul_efficiency.{dtype}", reached
    yield from _hardware(device)
    for key in ("l1_bytes", "l2_bytes", "l3_bytes", "cublas_workspace_bytes"):
        yield from _memory_row(device, key)
    if device.context_bytes is not None:
        yield "context", "context_bytes", _range(device.context_bytes, memory)
    if device.launch_overhead_s is not None:
        launch = _range(device.launch_overhead_s, lambda value: f"{significant(1e6 * value)} us")
        yield "launch, an operator", "launch_overhead_s", launch
    if device.default_foreach is not None:
        default = "foreach" if device.default_foreach else "one tensor at a time"
        yield "optimizers' default", "default_foreach", default


def _hardware(device: Device) -> Iterator[tuple[str, str, str]]:
    for key, label in (("multiprocessors", "multiprocessors"), ("cores", "processor cores")):
        number: int | None = getattr(device, key)
        if number is not None:
            yield label, key, integer(number)
    for key, label in (("base_clock_hz", "base clock"), ("boost_clock_hz", "boost clock")):
        clock: float | None = getattr(device, key)
        if clock is not None:
            yield label, key, unit(clock, "Hz")
    if device.pcie_generation is not None and device.host_bytes_per_s is not None:
        link = f"PCIe {device.pcie_generation} x{device.pcie_lanes}, "
        yield "to the host", "pcie_generation", link + unit(device.host_bytes_per_s, "B/s each way")
    if device.peer_bytes_per_s is not None:
        peer = unit(device.peer_bytes_per_s, "B/s both ways together")
        yield "to other devices", "peer_bytes_per_s", peer
    if device.tdp_w is not None:
        yield "TDP", "tdp_w", f"{device.tdp_w:g} W"


def _memory_row(device: Device, key: str) -> Iterator[tuple[str, str, str]]:
    value: int | tuple[int, ...] | None = getattr(device, key)
    if isinstance(value, int):
        yield MEMORY_KEYS[key], key, f"{memory(value)} ({integer(value)} bytes)"
    elif value:
        yield MEMORY_KEYS[key], key, ", ".join(map(memory, value))


def _rates(device: Device, key: str) -> Iterator[tuple[str, float]]:
    rates: Rates = getattr(device, key)
    return rates.items()


def _range(value: Range, text: Callable[[float], str]) -> str:
    return f"about {text(value.typical)}, {text(value.low)} to {text(value.high)}"


def _spelled(dtype: str) -> str:
    return dtype.replace("_accumulate_float16", " summed in float16")


def _letter(place: int) -> str:
    """a to z, then aa, ab."""
    first, last = divmod(place, 26)
    return (chr(ord("a") + first - 1) if first else "") + chr(ord("a") + last)


def _sources(device: Device, letters: dict[int, str], width: int | None) -> Iterator[Line]:
    for source in device.sources:
        yield from labelled(f"{letters[id(source)]:>2}", _told(source), width=width, style="dim")


def _told(source: Source) -> str:
    known = f", read {source.read}" if source.read else ", quoted from knowledge of it"
    place = f"; {source.at}" if source.at else ""
    return f"{source.title}{place} ({source.date}{known}) {source.url}"


def _rented(device: Device, instances: Sequence[Instance], width: int | None) -> Iterator[Line]:
    rented = [instance for instance in instances if instance.device == device.key]
    if not rented:
        return
    yield ()
    yield plain("to rent", "bold")
    for instance in sorted(rented, key=lambda instance: instance.price_per_device_hour):
        about = (
            f"{instance.price_per_hour:g} {instance.currency} an hour for {instance.count}",
            instance.terms,
            instance.region,
            instance.date,
        )
        yield from labelled(
            f"  {instance.provider} {instance.name}", ", ".join(filter(None, about)), width=width
        )


def _json(value: object) -> Json:
    """A record as JSON: rates without the dtypes that have none, everything else in full."""
    if isinstance(value, Rates):
        return dict(value.items())
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [_json(item) for item in value]
    return cast(Json, value)
