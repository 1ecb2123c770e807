"""Tables that others published, read from the data shared beside the checkout.

The data is not part of the project; where it is absent, every test that asks for it is skipped and says so.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "published"

Rows = list[dict[str, str]]


@pytest.fixture(scope="session")
def published() -> Callable[[str], Rows]:
    """Reads a CSV of the published data: its rows by column name."""

    def read(path: str) -> Rows:
        if not (PUBLISHED / path).is_file():
            pytest.skip(f"no ../shared/data/published/{path} beside the checkout")
        with (PUBLISHED / path).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    return read
