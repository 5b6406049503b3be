"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest

import support


@pytest.fixture(scope="session")
def models() -> Path:
    """The folder of real models and data that stands beside the project."""
    return support.MODELS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the slow tests, so that no worker waits for one at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
