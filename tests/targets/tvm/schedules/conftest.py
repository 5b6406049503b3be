"""What the tests of schedules share."""

from __future__ import annotations

import pytest

from tapeout.targets.tvm.schedules import apply, parallel, shares

import kernels


@pytest.fixture
def no_kernel_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a schedule that does not fit its kernel be an error."""
    monkeypatch.setattr(apply, "_MISFITS", kernels.NeverRaisedError)


@pytest.fixture
def threads_share_whatever_they_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let threads share every loop that has more than one round, however little that gains."""
    for module in (parallel, shares):
        monkeypatch.setattr(module, "is_worth_sharing", lambda cycles, parts, *_: parts > 1)
