"""The NVIDIA GPUs of this machine, as the driver tells them; nothing needs to be installed."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ..errors import Problem, UsageError
from ..profiles.schema import Profile
from . import process
from .base import Arrays, Execution, Where

#: The library that the driver brings.
LIBRARY: Final = {"win32": "nvcuda.dll"}.get(sys.platform, "libcuda.so.1")

#: The oldest driver for CUDA 13 (CUDA Toolkit Release Notes, table of drivers).
DRIVER: Final = "NVIDIA driver 580 or newer"

#: What a program on a GPU has to see of the environment: which GPUs, where its libraries are, and
#: where compiled kernels are kept.
ENVIRONMENT: Final = (
    "CUDA_CACHE_PATH",
    "CUDA_DEVICE_ORDER",
    "CUDA_VISIBLE_DEVICES",
    "HOME",
    "LD_LIBRARY_PATH",
)

#: CUdevice_attribute of the driver API.
_MAJOR, _MINOR = 75, 76

_NAME: Final = 256  # bytes that hold any name


class DriverError(Exception):
    """Why there is no GPU to run on."""


@dataclasses.dataclass(frozen=True)
class Card:
    """A GPU: its name, as the driver has it, and its compute capability: "8.9"."""

    name: str
    capability: str

    def __str__(self) -> str:
        return f"{self.name} of compute capability {self.capability}"


def cards() -> tuple[Card, ...]:
    """Return the GPUs, one at least, in the order in which CUDA counts them.

    Raises:
        DriverError: there is no driver, none that works, or no GPU.
    """
    try:
        driver = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise DriverError(f"this machine has no NVIDIA driver ({LIBRARY})") from error
    _call(driver, "cuInit", 0)
    count = ctypes.c_int()
    _call(driver, "cuDeviceGetCount", ctypes.byref(count))
    if count.value < 1:
        raise DriverError("this machine has no NVIDIA GPU that programs see")
    return tuple(_card(driver, index) for index in range(count.value))


def fitting(capabilities: Sequence[str]) -> Card:
    """Return the first GPU of one of some compute capabilities.

    Raises:
        DriverError: as `cards` does; there is none of them, with those that there are.
    """
    found = cards()
    for card in found:
        if card.capability in capabilities:
            return card
    has, wanted = ", ".join(map(str, found)), " or ".join(capabilities)
    raise DriverError(f"this machine has {has}, the engine is for compute capability {wanted}")


def obstacle(profile: Profile) -> Problem | None:
    """Return why no engine for a device runs on the GPUs of this machine; None if one can."""
    capabilities = _capabilities(profile)
    try:
        fitting(capabilities)
    except DriverError as error:
        fix = (
            "run it on the device, as run/README.md in the bundle says; it takes a GPU of compute "
            f"capability {' or '.join(capabilities)} and {DRIVER}"
        )
        return Problem(profile.name, str(error), fix)
    return None


def _where(profile: Profile) -> Where:
    """Return what a run here is on: the device itself, or another GPU that its engine serves."""
    same = fitting(_capabilities(profile)).name == profile.title.partition(" (")[0]
    return "device" if same else "host"


def _capabilities(profile: Profile) -> tuple[str, ...]:
    return profile.gpu.capabilities if profile.gpu is not None else ()


def execute(bundle: Path, engine: Path, profile: Profile, feeds: Arrays, repeat: int) -> Execution:
    """Run a bundle on a GPU of this machine; see `Target.execute` and `process.execute`.

    Raises:
        UsageError: there is no GPU that its engine serves.
    """
    if problem := obstacle(profile):
        raise UsageError(f"a bundle for {profile.name} cannot run on this machine", [problem])
    return process.execute(
        bundle,
        engine,
        feeds,
        where=_where(profile),
        python=[sys.executable],
        environment=environment(),
        repeat=repeat,
    )


def environment() -> dict[str, str]:
    """Return what a program on a GPU has to see of the environment."""
    return {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}


def _card(driver: ctypes.CDLL, index: int) -> Card:
    device, name = ctypes.c_int(), ctypes.create_string_buffer(_NAME)
    _call(driver, "cuDeviceGet", ctypes.byref(device), index)
    _call(driver, "cuDeviceGetName", name, _NAME, device)
    numbers = []
    for attribute in (_MAJOR, _MINOR):
        value = ctypes.c_int()
        _call(driver, "cuDeviceGetAttribute", ctypes.byref(value), attribute, device)
        numbers.append(str(value.value))
    return Card(name.value.decode(errors="replace"), ".".join(numbers))


def _call(driver: ctypes.CDLL, function: str, *arguments: object) -> None:
    try:
        result = driver[function](*arguments)
    except AttributeError as error:
        raise DriverError(f"{LIBRARY} is no NVIDIA driver: it lacks {function}") from error
    if result == 0:
        return
    text = ctypes.c_char_p()
    driver.cuGetErrorString(result, ctypes.byref(text))
    told = (text.value or b"").decode(errors="replace")
    raise DriverError(f"the NVIDIA driver does not start: {function} gives {result}, {told!r}")
