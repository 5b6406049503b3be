"""From compiled objects to a shared library for the device, by one linker for every architecture.

`ziglang` carries a linker and the C libraries of all targets, so a library for another machine is
linked as one for this machine is, and the same objects give the same bytes anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ...profiles.schema import Toolchain
from . import host

#: The C library that ziglang links against, by the architecture of the LLVM triple.
_ZIG_TARGETS: Final = {
    "x86_64": "x86_64-linux-gnu",
    "aarch64": "aarch64-linux-gnu",
    "armv7a": "arm-linux-gnueabihf",
    "riscv64": "riscv64-linux-gnu",
}

#: Stripped, no build id; of the compiler's own library only what is used, and that optimized.
_FLAGS: Final = ("-O2", "-shared", "-fPIC", "-s", "-Wl,--build-id=none", "-Wl,--gc-sections")


def link_command(toolchain: Toolchain, output: str, objects: Sequence[str]) -> tuple[str, ...]:
    """Return the command that links `objects` to the shared library `output`; runs nothing.

    The library holds no path, no time and no comment but the linker's version.
    """
    zig = _ZIG_TARGETS[host.architecture(toolchain.triple)]
    target = f"{zig}.{toolchain.glibc}" if toolchain.glibc else zig
    return ("python", "-m", "ziglang", "cc", "-target", target, *_FLAGS, "-o", output, *objects)
