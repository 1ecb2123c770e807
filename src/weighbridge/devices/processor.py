"""The processor of this machine: its name and its caches, as the system tells them."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

SYSCTL_SECONDS = 5.0


def name(root: Path = Path("/")) -> str:
    """What the processor calls itself: 'AMD EPYC 9354 32-Core Processor'."""
    found = re.search(r"^model name\s*: (.+)$", _read(root / "proc/cpuinfo"), re.MULTILINE)
    if found:
        return found[1].strip()
    return _sysctl("machdep.cpu.brand_string") or platform.processor() or platform.machine()


def cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def caches(root: Path = Path("/")) -> dict[str, int]:
    """Bytes of the first processor's caches by level: {'L1': 32768, 'L2': 1048576, 'L3': 33554432}."""
    found: dict[str, int] = {}
    folder = root / "sys/devices/system/cpu/cpu0/cache"
    for entry in sorted(folder.glob("index*")):
        size = re.fullmatch(r"(\d+)K", _read(entry / "size").strip())
        if size and _read(entry / "type").strip() != "Instruction":
            found[f"L{_read(entry / 'level').strip()}"] = int(size[1]) * 1024
    if found:
        return found
    told = {
        "L1": "hw.perflevel0.l1dcachesize",
        "L2": "hw.perflevel0.l2cachesize",
        "L3": "hw.l3cachesize",
    }
    sizes = {level: _sysctl(key) for level, key in told.items()}
    return {level: int(size) for level, size in sizes.items() if size.isdigit() and int(size)}


def _sysctl(key: str) -> str:
    """What macOS says; nothing elsewhere."""
    if platform.system() != "Darwin":
        return ""
    try:
        done = subprocess.run(
            ("sysctl", "-n", key),
            capture_output=True,
            text=True,
            timeout=SYSCTL_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""
