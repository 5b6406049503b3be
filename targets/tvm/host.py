"""Whether this machine's processor runs what was compiled for a device's.

LLVM says which features the device's processor name stands for, and Linux which of them this
machine has. The two spell them differently: `_SPELLINGS` lists the features that code generation
uses on its own, by LLVM's name, with the name in ``/proc/cpuinfo`` where it is another. Features
for operating systems, or only reached through intrinsics, do not matter here: virtual machines
hide many of them.
"""

from __future__ import annotations

import functools
import platform
from pathlib import Path
from typing import Final

from ...errors import MissingToolError, Problem
from ...profiles.schema import Toolchain

CPUINFO: Final = Path("/proc/cpuinfo")

_SAME_X86: Final = (
    "sse", "sse2", "ssse3", "sse4a", "avx", "avx2", "fma", "fma4", "f16c", "xop", "bmi2", "tbm",
    "adx", "popcnt", "movbe", "cmov", "cx8", "cx16", "gfni", "avx512f", "avx512cd", "avx512bw",
    "avx512dq", "avx512vl", "avx512ifma", "avx512vbmi",
)  # fmt: skip

_SAME_AARCH64: Final = (
    "sve", "sve2", "i8mm", "bf16", "sha3", "flagm", "dit", "sme", "sme2", "mops", "cssc",
)  # fmt: skip

_SPELLINGS: Final[dict[str, dict[str, str]]] = {
    "x86_64": {
        **{name: name for name in _SAME_X86},
        "sse3": "pni",
        "sse4.1": "sse4_1",
        "sse4.2": "sse4_2",
        "bmi": "bmi1",
        "lzcnt": "abm",
        "sahf": "lahf_lm",
        "avx512vbmi2": "avx512_vbmi2",
        "avx512vnni": "avx512_vnni",
        "avx512bitalg": "avx512_bitalg",
        "avx512vpopcntdq": "avx512_vpopcntdq",
        "avx512bf16": "avx512_bf16",
        "avx512fp16": "avx512_fp16",
        "avxvnni": "avx_vnni",
        "avxifma": "avx_ifma",
        "avxvnniint8": "avx_vnni_int8",
        "avxneconvert": "avx_ne_convert",
        "amx-tile": "amx_tile",
        "amx-int8": "amx_int8",
        "amx-bf16": "amx_bf16",
        "amx-fp16": "amx_fp16",
    },
    "aarch64": {
        **{name: name for name in _SAME_AARCH64},
        "neon": "asimd",
        "fp-armv8": "fp",
        "crc": "crc32",
        "lse": "atomics",
        "rdm": "asimdrdm",
        "fullfp16": "asimdhp",
        "fp16fml": "asimdfhm",
        "dotprod": "asimddp",
        "complxnum": "fcma",
        "jsconv": "jscvt",
        "rcpc": "lrcpc",
        "rcpc-immo": "ilrcpc",
        "fptoint": "frint",
        "altnzcv": "flagm2",
        "f32mm": "svef32mm",
        "f64mm": "svef64mm",
    },
}

_ALIASES: Final = {"amd64": "x86_64", "arm64": "aarch64"}


def architecture(triple: str) -> str:
    """Return the architecture of an LLVM triple: ``x86_64``, ``aarch64``, ``armv7a``, ..."""
    first = triple.partition("-")[0].lower()
    return _ALIASES.get(first, first)


def machine() -> str:
    """Return this machine's architecture, spelt as `architecture` does."""
    return architecture(platform.machine())


def missing_features(toolchain: Toolchain, cpuinfo: str) -> list[str]:
    """Return what the device's processor has and this one lacks, by LLVM's names, sorted.

    Args:
        toolchain: of a device with this machine's architecture.
        cpuinfo: the text of ``/proc/cpuinfo``.

    Raises:
        MissingToolError: TVM, whose LLVM knows the processors, is not installed.
    """
    spellings = _SPELLINGS.get(architecture(toolchain.triple), {})
    needed = processor_features(toolchain)
    present = _flags(cpuinfo)
    return sorted(name for name in needed if name in spellings and spellings[name] not in present)


def _flags(cpuinfo: str) -> set[str]:
    """Return the flags that all processors of a ``/proc/cpuinfo`` share."""
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    flags = [set(value.split()) for key, _, value in lines if key.strip() in ("flags", "Features")]
    return set.intersection(*flags) if flags else set()


@functools.cache
def processor_features(toolchain: Toolchain) -> frozenset[str]:
    """Return what LLVM generates code with for a processor, by its names.

    TVM's libraries answer by themselves: all of its Python would take ten times as long to import.

    Raises:
        MissingToolError: TVM, whose LLVM knows the processors, is not installed.
    """
    try:
        import tvm_ffi
        from tvm_ffi.libinfo import load_lib_ctypes

        for name, mode in (("tvm_runtime", "RTLD_GLOBAL"), ("tvm_compiler", "RTLD_LOCAL")):
            load_lib_ctypes("apache-tvm", name, mode)
    except (ImportError, RuntimeError, OSError) as error:
        fix = "pip install 'tapeout[cpu]'"
        raise MissingToolError("TVM is not installed", [Problem("tvm", str(error), fix)]) from error
    target = tvm_ffi.get_global_func("target.Target")(
        {
            "kind": "llvm",
            "mtriple": toolchain.triple,
            "mcpu": toolchain.cpu,
            "mattr": list(toolchain.features),
        }
    )
    found = tvm_ffi.get_global_func("target.llvm_get_cpu_features")(target)
    return frozenset(str(name) for name in found)
