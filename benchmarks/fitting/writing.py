"""Writing down what was fitted of a device, as `weighbridge.devices.measured` reads it."""

from __future__ import annotations

from pathlib import Path

from weighbridge.devices import Efficiencies, Efficiency, load

FITTED = Path(__file__).parents[2] / "src" / "weighbridge" / "devices" / "fitted"


def write(key: str, found: Efficiencies | None, compiled: Efficiencies | None = None) -> None:
    """Writes the device's file."""
    (FITTED / f"{key}.toml").write_text(text(key, found, compiled), encoding="utf-8")


def text(key: str, found: Efficiencies | None, compiled: Efficiencies | None = None) -> str:
    """The file's text: of eager programs, of compiled ones, or of both."""
    lines = [f"# {load(key).name}. Written by `python -m benchmarks fit`; do not edit."]
    if found is not None:
        lines += _lines(found, "classes")
    if compiled is not None:
        lines += ["", "[compiled]", *_lines(compiled, "compiled.classes")]
    return "\n".join(lines) + "\n"


def _lines(found: Efficiencies, classes: str) -> list[str]:
    lines = [
        f"dispatch_s = {found.dispatch_s:g}",
        f"low = {found.low:.3g}",
        f"high = {found.high:.3g}",
        f'basis = "{found.basis}"',
        f"default = {{ {', '.join(_shares(found.default))} }}",
    ]
    ends = (f'"{sort}" = [{low:.3g}, {high:.3g}]' for sort, (low, high) in found.intervals.items())
    between = ", ".join(ends)
    lines += [
        f"overlap = {found.overlap:.3g}",
        f"cached = {found.cached:.3g}",
        *([] if found.beyond_cache is None else [f"beyond_cache = {found.beyond_cache:.3g}"]),
        f"intervals = {{ {between} }}" if between else "intervals = {}",
    ]
    for (kind, part), share in sorted(found.classes.items()):
        lines += [
            "",
            f"[[{classes}]]",
            f'kind = "{kind}"',
            f'part = "{part}"',
            *_shares(share),
            f"sizes = [{share.least:.3g}, {share.most:.3g}]",
        ]
    return lines


def _shares(share: Efficiency) -> tuple[str, ...]:
    return (
        f"compute = {share.compute:.3g}",
        f"bandwidth = {share.bandwidth:.3g}",
        f"launch_s = {share.launch_s:.3g}",
        *([f"half_rows = {share.half_rows:.3g}"] if share.half_rows else []),
    )
