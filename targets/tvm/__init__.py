"""Apache TVM: compile for the profile's triple or GPU, link, read the memory plan, run."""

from __future__ import annotations

from .cuda.target import CudaTarget
from .target import TvmTarget

__all__ = ["TARGET", "TARGETS"]

TARGET = TvmTarget()
TARGETS = (TARGET, CudaTarget())
