"""What all tests share: `--update-golden`, with which expected screens are rewritten instead of compared."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite expected screens; read the diff"
    )


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether expected screens are to be rewritten."""
    return bool(request.config.getoption("--update-golden"))
