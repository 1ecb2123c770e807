"""This machine as devices: its memory, and its GPUs where the driver's `nvidia-smi` tells of any.

What a process may take is the least of three: what the machine has, what the control groups that it runs in
allow, and what is free of both right now. The machine's own files are read and nothing is measured.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ..errors import UsageError
from ..units import memory
from .catalogue import load
from .device import Device

MIB = 2**20
KIB = 2**10

SMI = (
    "nvidia-smi",
    "--query-gpu=name,memory.total,compute_cap",
    "--format=csv,noheader,nounits",
)
SMI_USED = ("nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits")
SMI_SECONDS = 10.0

DRIVERS = ("nvidia*", "nvhost*", "kfd", "dxg")
"""Files of drivers under /dev: NVIDIA's, its Jetsons', AMD's, and Windows' for Linux in it."""


def here(root: Path = Path("/")) -> Device:
    """This machine's memory as a device; `root` is where its files are.

    Raises:
        UsageError: the system does not say how much memory it has.
    """
    meminfo = _meminfo(root)
    total = meminfo.get("MemTotal") or _physical_bytes()
    if total is None:
        raise UsageError(
            "this system does not say how much memory it has", "say it: --on cpu:32GiB"
        )
    free = meminfo.get("MemAvailable", total)
    for limit, used in _limits(root):
        if limit < total:
            total, free = limit, min(free, max(limit - used, 0))
    return Device(
        name=f"this machine's memory, {memory(free)} of {memory(total)} free",
        key="here",
        kind="cpu",
        backend="cpu",
        memory_bytes=total,
        usable_memory_bytes=free,
        default_foreach=False,
    )


def may_have_gpus(root: Path = Path("/")) -> bool:
    """Whether there may be a GPU that PyTorch can use: on Linux its driver shows a file, elsewhere nothing tells."""
    if platform.system() != "Linux":
        return True
    return any(found for name in DRIVERS for found in (root / "dev").glob(name))


def gpus_by_driver() -> tuple[Device, ...]:
    """The GPUs that `nvidia-smi` lists; none where there is no such program or it fails."""
    try:
        done = subprocess.run(SMI, capture_output=True, text=True, timeout=SMI_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(_listed(done.stdout))


def used_by_driver() -> int | None:
    """Bytes of the first GPU that anybody holds, as `nvidia-smi` says; None where it cannot be asked."""
    try:
        done = subprocess.run(
            SMI_USED, capture_output=True, text=True, timeout=SMI_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    first = done.stdout.strip().partition("\n")[0].strip()
    return int(first) * MIB if first.isdigit() else None


def gpu(
    name: str,
    *,
    driver_bytes: int | None = None,
    usable_bytes: int | None = None,
    capability: tuple[int, int] | None = None,
    backend: Literal["cuda", "rocm"] = "cuda",
) -> Device:
    """A GPU of this machine: what its card knows, with the memory that this very one has."""
    try:
        known = load(name)
    except UsageError:
        known = Device(name=name, kind="gpu", backend=backend, compute_capability=capability)
    return replace(
        known,
        name=f"{known.name} here",
        driver_name=name,
        driver_memory_bytes=driver_bytes or known.driver_memory_bytes,
        usable_memory_bytes=usable_bytes or known.usable_memory_bytes,
    )


def _listed(text: str) -> Iterator[Device]:
    for line in text.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) != 3 or not parts[1].isdigit():
            continue
        found = re.fullmatch(r"(\d+)\.(\d+)", parts[2])
        capability = (int(found[1]), int(found[2])) if found else None
        yield gpu(parts[0], driver_bytes=int(parts[1]) * MIB, capability=capability)


def _meminfo(root: Path) -> Mapping[str, int]:
    """/proc/meminfo in bytes; empty where there is none (proc(5): its kB are 1024 bytes)."""
    text = _read(root / "proc/meminfo") or ""
    return {m[1]: int(m[2]) * KIB for m in re.finditer(r"^(\w+): +(\d+) kB$", text, re.MULTILINE)}


def _physical_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _limits(root: Path) -> Iterator[tuple[int, int]]:
    """The limits of the control groups that this process is in, each with what is used and cannot be let go of.

    Version 2 has one tree, version 1 one of its own for memory (Linux, admin-guide/cgroup-v2 and
    cgroup-v1/memory). A container may see only its own group, at the top of the tree.
    """
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            tree, names = "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            tree = "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        inner = [part for part in path.split("/") if part]
        for end in range(len(inner) + 1):
            folder = root.joinpath(tree, *inner[:end])
            limit = (_read(folder / names[0]) or "").strip()
            if limit.isdigit():
                used = int((_read(folder / names[1]) or "0").strip())
                cached = re.search(
                    rf"^{names[2]} (\d+)$", _read(folder / "memory.stat") or "", re.M
                )
                yield int(limit), max(used - (int(cached[1]) if cached else 0), 0)


def _read(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except OSError:
        return None
