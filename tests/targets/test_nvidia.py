"""The driver's library is stood in for by one of our own, of the same C interface."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tapeout.targets import nvidia
from tapeout.targets.nvidia import Card, DriverError

SOURCE = """
#include <stdio.h>
#include <stddef.h>
typedef int device;
static const int major[] = {8, 12};
int cuInit(unsigned flags) { return flags == 0 ? INIT : 1; }
int cuDeviceGetCount(int *count) { *count = COUNT; return 0; }
int cuDeviceGet(device *one, int index) { *one = index + 40; return 0; }
int cuDeviceGetName(char *name, int size, device one) {
  return snprintf(name, size, "NVIDIA card %d", one - 40) >= size;
}
int cuDeviceGetAttribute(int *value, int attribute, device one) {
  if (attribute != 75 && attribute != 76) return 1;
  *value = attribute == 75 ? major[one - 40] : 9 * (one == 40);
  return 0;
}
int cuGetErrorString(int error, const char **text) {
  *text = error == 100 ? "no CUDA-capable device is detected" : NULL;
  return 0;
}
"""


def library(folder: Path, code: int = 0, count: int = 2, source: str = SOURCE) -> str:
    file = folder / "libcuda.so.1"
    flags = [f"-DINIT={code}", f"-DCOUNT={count}", "-shared", "-fPIC", "-o", str(file)]
    subprocess.run(["gcc", *flags, "-xc", "-"], input=source, text=True, check=True)
    return str(file)


def test_every_card_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia, "LIBRARY", library(tmp_path))
    assert nvidia.cards() == (Card("NVIDIA card 0", "8.9"), Card("NVIDIA card 1", "12.0"))


@pytest.mark.parametrize(
    ("code", "count", "source", "message"),
    [
        (100, 1, SOURCE, "cuInit gives 100, 'no CUDA-capable device is detected'"),
        (999, 1, SOURCE, "cuInit gives 999, ''"),
        (0, 0, SOURCE, "no NVIDIA GPU that programs see"),
        (0, 1, "int strange;", "is no NVIDIA driver: it lacks cuInit"),
    ],
)
def test_a_driver_that_serves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    count: int,
    source: str,
    message: str,
) -> None:
    monkeypatch.setattr(nvidia, "LIBRARY", library(tmp_path, code, count, source))
    with pytest.raises(DriverError, match=message):
        nvidia.cards()


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia, "LIBRARY", "libcuda.so.nowhere")
    with pytest.raises(DriverError, match="no NVIDIA driver \\(libcuda.so.nowhere\\)"):
        nvidia.cards()
