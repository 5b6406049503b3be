"""Which processors run the code of which others."""

from __future__ import annotations

import pytest

from tapeout.profiles.schema import Toolchain
from tapeout.targets.tvm.host import architecture, missing_features

#: As Linux prints them: one block for each processor.
HASWELL = """\
processor\t: 0
model name\t: Intel(R) Core(TM) i7-4770
flags\t\t: fpu cmov cx8 fxsr mmx sse sse2 pni ssse3 fma cx16 sse4_1 sse4_2 movbe popcnt aes xsave \
avx f16c rdrand lahf_lm abm bmi1 avx2 bmi2 invpcid
bugs\t\t: spectre_v1
"""
CORTEX_A76 = """\
processor\t: 0
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc \
dcpop asimddp ssbs
CPU part\t: 0xd0b
"""
CORTEX_A53 = """\
processor\t: 1
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid
CPU part\t: 0xd03
"""


@pytest.mark.parametrize(
    ("triple", "expected"),
    [
        ("x86_64-linux-gnu", "x86_64"),
        ("amd64-linux-gnu", "x86_64"),
        ("arm64-apple-macosx", "aarch64"),
        ("armv7a-linux-gnueabihf", "armv7a"),
        ("riscv64", "riscv64"),
    ],
)
def test_architecture(triple: str, expected: str) -> None:
    assert architecture(triple) == expected


@pytest.mark.parametrize(
    ("cpu", "features", "cpuinfo", "missing"),
    [
        ("haswell", (), HASWELL, []),
        ("x86-64-v3", (), HASWELL, []),
        ("x86-64-v4", (), HASWELL, ["avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"]),
        ("x86-64-v2", ("+avxvnni",), HASWELL, ["avxvnni"]),
        ("x86-64-v4", ("-avx512f",), HASWELL, []),  # and with it all that needs it
        ("cortex-a76", (), CORTEX_A76, []),
        ("cortex-a53", (), CORTEX_A76, []),
        (
            "cortex-a76",
            (),
            CORTEX_A53,
            ["dotprod", "fullfp16", "lse", "rcpc", "rdm"],
        ),
        # big.LITTLE: a thread may run on either kind of core.
        ("cortex-a76", (), CORTEX_A76 + CORTEX_A53, ["dotprod", "fullfp16", "lse", "rcpc", "rdm"]),
    ],
)
def test_missing_features(
    cpu: str, features: tuple[str, ...], cpuinfo: str, missing: list[str]
) -> None:
    triple = "aarch64-linux-gnu" if cpu.startswith("cortex") else "x86_64-linux-gnu"
    toolchain = Toolchain(triple=triple, cpu=cpu, features=features)
    assert missing_features(toolchain, cpuinfo) == missing
