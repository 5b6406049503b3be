"""NVIDIA GPUs: TensorRT engines, built where there is no GPU."""

from __future__ import annotations

from .target import RtxTarget

TARGETS = (RtxTarget(),)
