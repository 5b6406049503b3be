"""A stand-in for CUDA's runtime: one GPU, whose compute capability FAKE_CAPABILITY is."""

from __future__ import annotations

import enum
import os
from types import SimpleNamespace

cudaError_t = enum.Enum("cudaError_t", "cudaSuccess cudaErrorNoDevice")  # noqa: N816 - its name


def cudaGetDevice() -> tuple[object, int]:  # noqa: N802 - its name
    return cudaError_t.cudaSuccess, 0


def cudaGetDeviceProperties(device: int) -> tuple[object, SimpleNamespace]:  # noqa: N802 - its name
    major, minor = map(int, os.environ["FAKE_CAPABILITY"].split("."))
    return cudaError_t.cudaSuccess, SimpleNamespace(name=b"a card", major=major, minor=minor)


def cudaMemGetInfo() -> tuple[object, int, int]:  # noqa: N802 - its name
    return cudaError_t.cudaSuccess, 1_000_000, 2_000_000
