"""NVIDIA GPUs: TensorRT engines, built where there is no GPU, or prepared for where there is."""

from __future__ import annotations

from .enterprise.target import EnterpriseTarget
from .target import RtxTarget

TARGETS = (RtxTarget(), EnterpriseTarget())
