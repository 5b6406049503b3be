"""CPUs through Apache TVM: compile for the profile's triple, link, read the memory plan, run."""

from __future__ import annotations

from .target import TvmTarget

__all__ = ["TARGET", "TARGETS"]

TARGET = TvmTarget()
TARGETS = (TARGET,)
