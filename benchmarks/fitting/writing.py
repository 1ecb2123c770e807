"""Writing down what was fitted of a device, as `weighbridge.devices.measured` reads it."""

from __future__ import annotations

from pathlib import Path

from weighbridge.devices import Efficiencies, Efficiency, load

FITTED = Path(__file__).parents[2] / "src" / "weighbridge" / "devices" / "fitted"


def write(key: str, found: Efficiencies) -> None:
    """Writes the device's file."""
    (FITTED / f"{key}.toml").write_text(text(key, found), encoding="utf-8")


def text(key: str, found: Efficiencies) -> str:
    """The file's text."""
    lines = [
        f"# {load(key).name}. Written by `python -m benchmarks fit`; do not edit.",
        f"dispatch_s = {found.dispatch_s:g}",
        f"low = {found.low:.3g}",
        f"high = {found.high:.3g}",
        f'basis = "{found.basis}"',
        f"default = {{ {', '.join(_shares(found.default))} }}",
    ]
    for (kind, part), share in sorted(found.classes.items()):
        lines += [
            "",
            "[[classes]]",
            f'kind = "{kind}"',
            f'part = "{part}"',
            *_shares(share),
        ]
    return "\n".join(lines) + "\n"


def _shares(share: Efficiency) -> tuple[str, ...]:
    return (
        f"compute = {share.compute:.3g}",
        f"bandwidth = {share.bandwidth:.3g}",
        f"launch_s = {share.launch_s:.3g}",
    )
