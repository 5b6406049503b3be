"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest

import support


@pytest.fixture(scope="session")
def models() -> Path:
    """The folder of real models and data that stands beside the project."""
    return support.MODELS
