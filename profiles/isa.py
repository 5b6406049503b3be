"""What /proc/cpuinfo says of an instruction set, in the terms of a profile.

Everything here is a table: kernel flags and LLVM's names for the same thing, and how many vector
multiply-adds the cores that people have start per cycle. The peaks of those cores were measured by
github.com/pigirons/cpufp or stand in their vendors' software optimization guides.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Container, Mapping
from typing import Any, Final

from .schema import DType, Source

#: A figure as a profile writes it: value in the base unit, source, note.
Figure = dict[str, Any]


def figure(value: float, source: Source, note: str) -> Figure:
    """Return a figure as `schema.Sourced` takes it."""
    return {"value": value, "source": source, "note": note}


@dataclasses.dataclass(frozen=True)
class Isa:
    """What code for a machine may use.

    Attributes:
        triple, cpu, features: LLVM's names.
        vector_bits, vector_registers: of the vector registers that fixed-length code uses.
        fma_units: float32 multiply-adds of that width that one core starts per cycle.
        dtypes: what it computes with.
        lanes: dtype -> (multiply-adds in one instruction, which instruction), where it is not
            simply vector_bits over the dtype's.
        peaks: the dtypes that have a peak.
        clock: hertz, where no file tells it outright.
        bandwidth: bytes/s of the main memory, which no file readable by everyone tells.
    """

    triple: str
    cpu: str
    features: tuple[str, ...]
    vector_bits: int
    vector_registers: int
    fma_units: Figure
    dtypes: tuple[DType, ...]
    peaks: tuple[DType, ...]
    lanes: Mapping[DType, tuple[int, str]]
    clock: Figure
    bandwidth: Figure


@dataclasses.dataclass(frozen=True)
class _Core:
    """A row of the table of x86 cores: float32 FMAs per cycle, 256 and 512 bits wide.

    Attributes:
        boost: the clock that its servers keep, of the one that their time-stamp counter has.
    """

    name: str
    vendor: str
    family: int
    models: Container[int]
    at_256: float
    at_512: float
    boost: float = 1.0


_INTEL: Final = "GenuineIntel"
_AMD: Final = "AuthenticAMD"

_X86_CORES: Final = (
    _Core("Skylake-SP or Cascade Lake", _INTEL, 6, (85,), 2, 2),
    _Core("Ice Lake-SP", _INTEL, 6, (106, 108), 2, 2),
    _Core("Sapphire or Emerald Rapids", _INTEL, 6, (143, 207), 2, 2),
    _Core("Granite Rapids", _INTEL, 6, (173, 174), 2, 2),
    _Core("Ice, Tiger or Rocket Lake", _INTEL, 6, (125, 126, 140, 141, 167), 2, 1),
    _Core("Haswell or Broadwell", _INTEL, 6, (60, 61, 63, 69, 70, 71, 79, 86), 2, 0),
    _Core("Skylake client", _INTEL, 6, (78, 94, 142, 158, 165, 166), 2, 0),
    _Core("Alder or Raptor Lake", _INTEL, 6, (151, 154, 183, 186, 191), 2, 0),
    _Core("Gracemont", _INTEL, 6, (190,), 1, 0),
    _Core("Zen", _AMD, 23, range(0x30), 1, 0),
    _Core("Zen 2", _AMD, 23, range(0x30, 0x100), 2, 0),
    _Core("Zen 3 or Zen 4", _AMD, 25, range(0x100), 2, 1, boost=1.4),
    _Core("Zen 5", _AMD, 26, range(0x100), 2, 2),
)

#: The flags that each level of the x86-64 psABI adds, as the kernel spells them.
_X86_LEVELS: Final = (
    ("x86-64-v2", ("cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3")),
    ("x86-64-v3", ("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave")),
    ("x86-64-v4", ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")),
)

#: Kernel flag -> LLVM feature, for what numerical code gains from; the order of the output.
_X86_FEATURES: Final = {
    "ssse3": "ssse3", "sse4_1": "sse4.1", "sse4_2": "sse4.2", "popcnt": "popcnt",
    "avx": "avx", "f16c": "f16c", "fma": "fma", "avx2": "avx2", "bmi1": "bmi", "bmi2": "bmi2",
    "abm": "lzcnt", "movbe": "movbe",
    "avx512f": "avx512f", "avx512bw": "avx512bw", "avx512cd": "avx512cd",
    "avx512dq": "avx512dq", "avx512vl": "avx512vl",
    "avx512ifma": "avx512ifma", "avx512vbmi": "avx512vbmi", "avx512_vbmi2": "avx512vbmi2",
    "avx512_vnni": "avx512vnni", "avx512_bitalg": "avx512bitalg",
    "avx512_vpopcntdq": "avx512vpopcntdq", "avx512_bf16": "avx512bf16",
    "avx512_fp16": "avx512fp16", "gfni": "gfni",
    "avx_vnni": "avxvnni", "avx_vnni_int8": "avxvnniint8", "avx_ifma": "avxifma",
    "avx_ne_convert": "avxneconvert",
}  # fmt: skip

#: Arm Ltd's cores, by part number: name, and 128-bit float32 FMAs per cycle.
_ARM_CORES: Final = {
    0xD03: ("Cortex-A53", 1), 0xD05: ("Cortex-A55", 1), 0xD07: ("Cortex-A57", 1),
    0xD08: ("Cortex-A72", 1), 0xD09: ("Cortex-A73", 1), 0xD0A: ("Cortex-A75", 1),
    0xD0B: ("Cortex-A76", 2), 0xD0C: ("Neoverse N1", 2), 0xD0D: ("Cortex-A77", 2),
    0xD40: ("Neoverse V1", 4), 0xD41: ("Cortex-A78", 2), 0xD44: ("Cortex-X1", 4),
    0xD47: ("Cortex-A710", 2), 0xD48: ("Cortex-X2", 4), 0xD49: ("Neoverse N2", 2),
    0xD4F: ("Neoverse V2", 4),
}  # fmt: skip

_ARM_LTD: Final = 0x41

#: Kernel flag -> LLVM feature. SVE is left out: fixed-length code uses the 128-bit registers.
_ARM_FEATURES: Final = {
    "atomics": "lse", "asimdrdm": "rdm", "asimdhp": "fullfp16", "asimddp": "dotprod",
    "i8mm": "i8mm", "bf16": "bf16",
}  # fmt: skip

_PLAIN: Final[tuple[DType, ...]] = (
    "float64", "float32",
    "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool",
)  # fmt: skip


def x86_64(info: Mapping[str, str]) -> Isa:
    """Return what one processor's block of /proc/cpuinfo says; an empty block gives the least."""
    flags = frozenset(info.get("flags", "").split())
    cpu, implied = "x86-64", frozenset[str]()
    for level, added in _X86_LEVELS:
        if not flags.issuperset(added):
            break
        cpu, implied = level, implied.union(added)
    bits = 512 if "avx512f" in flags else 256 if "avx" in flags else 128
    features = (name for flag, name in _X86_FEATURES.items() if flag in flags - implied)
    half: tuple[DType, ...] = ("float16",) if "f16c" in flags else ()
    return Isa(
        triple="x86_64-linux-gnu",
        cpu=cpu,
        features=tuple(f"+{feature}" for feature in features),
        vector_bits=bits,
        vector_registers=32 if bits == 512 else 16,
        fma_units=_x86_units(info, bits, "fma" in flags),
        dtypes=(*_PLAIN, *half),
        peaks=("float64", "float32", *(half if "avx512_fp16" in flags else ()), "int8"),
        lanes={"int8": _x86_int8(flags, bits)},
        clock=_x86_clock(info, flags),
        bandwidth=_X86_BANDWIDTH[bits],
    )


_X86_BANDWIDTH: Final = {
    bits: figure(rate, "assumed", f"one channel of {kind}: which are populated only root can read")
    for bits, rate, kind in (
        (128, 10.7e9, "DDR3-1333"),
        (256, 25.6e9, "DDR4-3200"),
        (512, 25.6e9, "DDR4-3200"),
    )
}


def _x86_int8(flags: Container[str], bits: int) -> tuple[int, str]:
    if "avx512_vnni" in flags or "avx_vnni" in flags:
        return bits // 8, "VPDPBUSD: four int8 products to each int32"
    return bits // 16, "VPMADDWD on values widened to int16"


def _x86_units(info: Mapping[str, str], bits: int, fma: bool) -> Figure:
    if not fma:
        return figure(1, "assumed", "no FMA: one multiplication and one addition per cycle")
    core = _x86_core(info)
    units = 0.0 if core is None else core.at_512 if bits == 512 else core.at_256
    if core is not None and units:
        return figure(units, "datasheet", f"{core.name}: {bits}-bit FMAs per cycle")
    shown = " ".join(info.get(key, "?") for key in ("vendor_id", "cpu family", "model"))
    return figure(1 if bits == 512 else 2, "assumed", f"{shown}: not in the table of cores")


def _x86_core(info: Mapping[str, str]) -> _Core | None:
    known = (info.get("vendor_id"), _number(info, "cpu family"))
    model = _number(info, "model")
    rows = (row for row in _X86_CORES if (row.vendor, row.family) == known and model in row.models)
    return next(rows, None)


def _x86_clock(info: Mapping[str, str], flags: Container[str]) -> Figure:
    """Return the clock that the time-stamp counter tells of: BogoMIPS are twice its rate.

    It has the base clock on cores where it is constant. The file's last digits are not the same
    after each start of the system.
    """
    with contextlib.suppress(ValueError):
        rate = round(float(info.get("bogomips", "")) / 2, -1) * 1e6
        if "constant_tsc" in flags and rate > 0:
            core = _x86_core(info)
            counter = f"the time-stamp counter has {rate / 1e9:g} GHz"
            if core is None or core.boost == 1:
                return figure(rate, "measured", counter)
            boost = f"{core.name} boost to {core.boost:g} times that"
            return figure(core.boost * rate, "assumed", f"{counter}; servers with {boost}")
    return figure(2.0e9, "assumed", "neither cpufreq nor the model's name gives one")


def aarch64(info: Mapping[str, str]) -> Isa:
    """Return what one processor's block of /proc/cpuinfo says; an empty block gives the least."""
    flags = frozenset(info.get("Features", "").split())
    matrix = (32, "SMMLA: 2 x 8 by 8 x 2 int8 to 2 x 2 int32")
    dot = (16, "SDOT: four int8 products to each int32")
    long = (8, "SMLAL on values widened to int16")
    half: tuple[DType, ...] = ("float16",)
    return Isa(
        triple="aarch64-linux-gnu",
        cpu="generic",
        features=tuple(f"+{name}" for flag, name in _ARM_FEATURES.items() if flag in flags),
        vector_bits=128,
        vector_registers=32,
        fma_units=_arm_units(info),
        dtypes=(*_PLAIN, *half),
        peaks=("float64", "float32", *(half if "asimdhp" in flags else ()), "int8"),
        lanes={"int8": matrix if "i8mm" in flags else dot if "asimddp" in flags else long},
        clock=figure(1.5e9, "assumed", "neither cpufreq nor the model's name gives one"),
        bandwidth=figure(12.8e9, "assumed", "32 bits of LPDDR4-3200: no file tells the memory's"),
    )


def _arm_units(info: Mapping[str, str]) -> Figure:
    implementer, part = _number(info, "CPU implementer"), _number(info, "CPU part")
    if implementer == _ARM_LTD and part in _ARM_CORES:
        name, units = _ARM_CORES[part]
        return figure(units, "datasheet", f"{name}: 128-bit FMLAs per cycle")
    shown = " ".join(info.get(key, "?") for key in ("CPU implementer", "CPU part"))
    return figure(2, "assumed", f"{shown}: not in the table of cores")


def _number(info: Mapping[str, str], key: str) -> int:
    """Return a number of /proc/cpuinfo, decimal or 0x; -1 if it is not there."""
    try:
        return int(info.get(key, ""), 0)
    except ValueError:
        return -1


#: platform.machine() -> how to read its /proc/cpuinfo.
ISAS: Final[dict[str, Callable[[Mapping[str, str]], Isa]]] = {
    "x86_64": x86_64,
    "amd64": x86_64,
    "aarch64": aarch64,
    "arm64": aarch64,
}
