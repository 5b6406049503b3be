"""What the tests of schedules share."""

from __future__ import annotations

import pytest

from tapeout.targets.tvm.schedules import apply

import kernels


@pytest.fixture
def no_kernel_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a schedule that does not fit its kernel be an error."""
    monkeypatch.setattr(apply, "_MISFITS", kernels.NeverRaisedError)
