"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import support

# A busy machine is no fault of what is tested: neither an example's time nor that of drawing one.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture(scope="session")
def models() -> Path:
    """The folder of real models and data that stands beside the project."""
    return support.MODELS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the slow tests, so that no worker waits for one at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
