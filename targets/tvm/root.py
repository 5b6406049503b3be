"""The roots in which engines for another architecture run under emulation.

    python -m tapeout.targets.tvm.root

prepares them; see `targets.emulation`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Final

from ..emulation import ARM64, Recipe, main

#: By the architecture of the LLVM triple. PyPI has no runtime for armv7 and riscv64.
RECIPES: Final[Mapping[str, Recipe]] = {
    "aarch64": Recipe(
        ARM64,
        runtime="tvm",
        command="python -m tapeout.targets.tvm.root",
        wheels=(
            ("apache-tvm", "0.27.0.post1"),
            ("apache-tvm-ffi", "0.1.14.post1"),
            ("numpy", "2.4.6"),
            ("typing-extensions", "4.16.0"),
        ),
        probe="import tvm_ffi.libinfo as info; "
        "info.load_lib_ctypes('apache-tvm', 'tvm_runtime', 'RTLD_GLOBAL')",
        # The compiler is 40 times the runtime.
        kept=(("apache-tvm", ("tvm/lib/libtvm_runtime.so", ".dist-info/")),),
    )
}

if __name__ == "__main__":
    sys.exit(main(RECIPES.values()))
