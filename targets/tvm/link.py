"""From compiled objects to a shared library for the device, by one linker for every architecture.

`ziglang` carries a linker and the C libraries of all targets, so a library for another machine is
linked as one for this machine is, and the same objects give the same bytes anywhere.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from ...errors import Problem, TapeoutError
from ...profiles.schema import Toolchain
from . import host

#: The C library that ziglang links against, by the architecture of the LLVM triple.
_ZIG_TARGETS: Final = {
    "x86_64": "x86_64-linux-gnu",
    "aarch64": "aarch64-linux-gnu",
    "armv7a": "arm-linux-gnueabihf",
    "riscv64": "riscv64-linux-gnu",
}


def link_command(toolchain: Toolchain, output: str, objects: Sequence[str]) -> list[str]:
    """Return the command that links `objects` to the shared library `output`; runs nothing.

    The library is stripped and holds no build id, no path and no comment of a tool's version.
    """
    zig = _ZIG_TARGETS[host.architecture(toolchain.triple)]
    target = f"{zig}.{toolchain.glibc}" if toolchain.glibc else zig
    flags = ["-shared", "-fPIC", "-s", "-Wl,--build-id=none"]
    command = [sys.executable, "-m", "ziglang", "cc", "-target", target]
    return [*command, *flags, "-o", output, *objects]


def link(executable: Any, toolchain: Toolchain, output: Path, scratch: Path) -> None:
    """Write a compiled executable, its kernels and its weights to the library `output`.

    Args:
        executable: of `compile.Compiled`.
        scratch: an empty folder for the objects.

    Raises:
        TapeoutError: the linker failed; shows its command and what it said.
    """

    def run(library: str, objects: Sequence[str], **_: Any) -> None:
        command = link_command(toolchain, library, objects)
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines()[-20:]
            raise TapeoutError(
                f"linking failed with exit code {done.returncode}: {' '.join(command)}",
                [Problem("", line) for line in said],
            )

    run.output_format = "so"  # type: ignore[attr-defined]  # how TVM learns the kind of file
    executable.export_library(str(output), fcompile=run, workspace_dir=str(scratch))
