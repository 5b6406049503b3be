"""Fixtures for the tests of TVM's bundles."""

from __future__ import annotations

import engines
import pytest


@pytest.fixture(scope="session")
def host_bundle(tmp_path_factory: pytest.TempPathFactory) -> engines.Made:
    """A bundle for this machine."""
    return engines.compiled_bundle(tmp_path_factory.mktemp("host"), "host")


@pytest.fixture(scope="session")
def pi_bundle(tmp_path_factory: pytest.TempPathFactory) -> engines.Made:
    """A bundle for a Raspberry Pi 5."""
    return engines.compiled_bundle(tmp_path_factory.mktemp("pi"), "raspberry-pi-5")
