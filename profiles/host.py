"""The profile `host`: what this machine is, read from the files that Linux keeps about it.

Only what stays the same between two runs is read: the nominal clock and never the momentary one,
the whole memory and never the free part. What a file does not tell is assumed, and says so.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from ..errors import Problem, ProfileError
from .isa import ISAS, Figure, Isa, figure

#: Architecture -> the family file that says which runtimes such a machine under Linux carries.
_FAMILIES: Final = {"x86_64": "x86-64", "aarch64": "aarch64"}
_ANY_FAMILY: Final = "tvm-linux"

#: Of cores of several kinds the big ones are described: those above this share of the biggest.
_BIG: Final = 0.75

_CPUS: Final = "sys/devices/system/cpu"
_ASSUMED_CACHES: Final = {1: 32 * 1024, 2: 256 * 1024}
_ASSUMED_MEMORY: Final = 2**30


def family() -> str:
    """Return the name of the family file that this machine belongs to."""
    return _FAMILIES.get(platform.machine().lower(), _ANY_FAMILY)


def detect(
    root: Path = Path("/"), machine: str | None = None, available: Iterable[int] | None = None
) -> dict[str, Any]:
    """Return what this machine adds to its `family`, quantities in base units.

    Args:
        root: where ``proc`` and ``sys`` are.
        machine: the architecture as ``uname -m`` names it; by default this one's.
        available: the CPUs that may be used; by default those of this process.

    Raises:
        ProfileError: an architecture or system that is not known here.
    """
    machine = (machine or platform.machine()).lower()
    if machine not in ISAS or platform.system() != "Linux":
        what = f"{machine!r} on {platform.system()} cannot be detected"
        fix = f"name a device, or a profile's file; detected are: Linux on {', '.join(ISAS)}"
        raise ProfileError("the profile host cannot be made", [Problem("host", what, fix)])
    return _Machine(root, machine, available).profile()


class _Machine:
    """Reads the files under one root."""

    def __init__(self, root: Path, machine: str, available: Iterable[int] | None) -> None:
        self.root = root
        allowed = sorted(os.sched_getaffinity(0) if available is None else available)
        self.cpus = self._big(allowed)
        info = self._cpuinfo()
        self.info = info.get(self.cpus[0], next(iter(info.values()), {}))
        self.isa: Isa = ISAS[machine](self.info)

    def profile(self) -> dict[str, Any]:
        isa, memory = self.isa, self._memory()
        return {
            "name": "host",
            "title": f"This machine: {self.info.get('model name', isa.triple.partition('-')[0])}",
            "vendor": self.info.get("vendor_id", "unknown"),
            "dtypes": list(isa.dtypes),
            "cpu": {
                "cores": self._cores(),
                "clock": self._clock(),
                "vector_bits": figure(isa.vector_bits, "measured", "/proc/cpuinfo"),
                "vector_registers": figure(
                    isa.vector_registers, "datasheet", f"the registers {isa.triple} code can name"
                ),
                "fma_units": isa.fma_units,
                "l1": self._cache(1),
                "l2": self._cache(2),
                "l3": self._cache(3),
            },
            "compute": {dtype: self._compute(dtype) for dtype in isa.peaks},
            "memories": [
                {
                    "name": "dram",
                    "size": memory,
                    "bandwidth": isa.bandwidth,
                    "holds": ["weights", "activations", "code", "io"],
                }
            ],
            "toolchain": {
                "triple": isa.triple,
                "cpu": isa.cpu,
                "features": list(isa.features),
                "glibc": _glibc(),
            },
            "limits": {"threads": self._threads()},
            "budget": {"memory": memory["value"]},
        }

    def _read(self, path: str) -> str:
        """Return a file's text; nothing where it is not there or may not be read."""
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return (self.root / path).read_text().strip()
        return ""

    def _integer(self, path: str) -> int | None:
        text = self._read(path)
        return int(text) if text.isdecimal() else None

    def _cpuinfo(self) -> dict[int, dict[str, str]]:
        """Return processor number -> key -> value."""
        found: dict[int, dict[str, str]] = {}
        for block in re.split(r"\n\s*\n", self._read("proc/cpuinfo")):
            pairs = (line.partition(":") for line in block.splitlines())
            info = {key.strip(): value.strip() for key, _, value in pairs}
            if info.get("processor", "").isdecimal():
                found[int(info["processor"])] = info
        return found

    def _big(self, cpus: list[int]) -> list[int]:
        """Return the CPUs of the biggest kind, where the kernel tells kinds apart."""
        capacity = {cpu: self._integer(f"{_CPUS}/cpu{cpu}/cpu_capacity") or 0 for cpu in cpus}
        least = _BIG * max(capacity.values())
        return [cpu for cpu in cpus if capacity[cpu] >= least]

    def _cores(self) -> Figure:
        siblings = [
            self._read(f"{_CPUS}/cpu{cpu}/topology/thread_siblings_list") for cpu in self.cpus
        ]
        if all(siblings):
            note = "cores of the CPUs this process may use, of the biggest kind"
            return figure(len(set(siblings)), "measured", note)
        return figure(len(self.cpus), "assumed", "every CPU is a core: /sys has no topology")

    def _threads(self) -> Figure:
        cores = self._cores()
        quota, _, period = self._read("sys/fs/cgroup/cpu.max").partition(" ")
        if quota.isdecimal() and period.isdecimal() and int(period):
            granted = max(1, int(quota) // int(period))
            if granted < cores["value"]:
                return figure(granted, "measured", "the CPU time that the control group grants")
        return figure(cores["value"], cores["source"], "one for each core")

    def _clock(self) -> Figure:
        folder = f"{_CPUS}/cpu{self.cpus[0]}/cpufreq"
        if kilohertz := self._integer(f"{folder}/base_frequency"):
            return figure(kilohertz * 1e3, "measured", "the base clock in cpufreq/base_frequency")
        name = self.info.get("model name", "")
        if match := re.search(r"@ *([0-9]+(?:\.[0-9]+)?) *GHz", name):
            return figure(round(float(match[1]) * 1e9), "datasheet", f"the model's name: {name}")
        if kilohertz := self._integer(f"{folder}/cpuinfo_max_freq"):
            return figure(kilohertz * 1e3, "measured", "the highest in cpufreq/cpuinfo_max_freq")
        return self.isa.clock

    def _cache(self, level: int) -> Figure | None:
        """Return the data cache of a level; None if there is no third one."""
        caches = f"{_CPUS}/cpu{self.cpus[0]}/cache"
        for index in range(8):
            folder = f"{caches}/index{index}"
            size = re.fullmatch(r"([0-9]+)K", self._read(f"{folder}/size"))
            data = self._read(f"{folder}/type") in ("Data", "Unified")
            if size and data and self._integer(f"{folder}/level") == level:
                return figure(int(size[1]) * 1024, "measured", f"/{folder}/size")
        if level in _ASSUMED_CACHES:
            return figure(_ASSUMED_CACHES[level], "assumed", f"/{caches} does not tell it")
        return None

    def _compute(self, dtype: str) -> dict[str, Figure]:
        """Return the factors of a peak that do not follow from the cpu block."""
        for other, (lanes, instruction) in self.isa.lanes.items():
            if other == dtype:
                return {"lanes": figure(lanes, "datasheet", instruction)}
        return {}

    def _memory(self) -> Figure:
        match = re.search(r"^MemTotal: *([0-9]+) kB", self._read("proc/meminfo"), re.MULTILINE)
        total = int(match[1]) * 1024 if match else None
        limit = self._integer("sys/fs/cgroup/memory.max")
        if limit and (total is None or limit < total):
            return figure(limit, "measured", "the memory that the control group grants")
        if total:
            return figure(total, "measured", "MemTotal in /proc/meminfo")
        return figure(_ASSUMED_MEMORY, "assumed", "/proc/meminfo does not tell it")


def _glibc() -> str | None:
    """Return the version of this machine's glibc, None where the C library is another."""
    name, version = platform.libc_ver()
    return version if name == "glibc" else None
