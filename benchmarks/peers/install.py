"""`python -m benchmarks.peers.install`: an environment for the other counters, beside the project's own.

It sees the packages of the environment that runs this (torch is not installed twice), and the tools
themselves go into `.venv-peers`, so that what they need never changes what the project is tested with.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / ".venv-peers"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def python() -> Path:
    """The interpreter of the tools' environment."""
    return ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


@cache
def installed(package: str) -> str:
    """The version of a package as the tools see it."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    asked = subprocess.run(
        [str(python()), "-c", code], check=True, capture_output=True, text=True
    )  # fmt: skip
    return asked.stdout.strip()


def main() -> int:
    """Makes the environment, or brings it up to date; returns the exit code."""
    if not python().exists():
        venv.create(ENVIRONMENT, with_pip=True)
    _share_packages()
    pip = [str(python()), "-m", "pip", "install", "--disable-pip-version-check"]
    # DeepSpeed's build asks torch whether it can compile kernels, so it must see torch; it need not.
    environment = {**os.environ, "DS_BUILD_OPS": "0"}
    subprocess.run([*pip, "setuptools", "wheel"], check=True)
    return subprocess.run(
        [*pip, "--no-build-isolation", "--requirement", str(REQUIREMENTS)], env=environment
    ).returncode


def _share_packages() -> None:
    """Appends this interpreter's packages, editable ones included, behind the environment's own."""
    own = subprocess.run(
        [str(python()), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    shared = sysconfig.get_path("purelib")
    Path(own, "project.pth").write_text(f"import site; site.addsitedir({shared!r})\n")


if __name__ == "__main__":
    sys.exit(main())
