"""The root in which tests run TFLite files on the kernels of another architecture, emulated.

    python tests/tflite_root.py

prepares it; see `targets.emulation`. It holds the older package tflite-runtime: the newer
ai-edge-litert crashes under qemu's user-mode emulation.
"""

from __future__ import annotations

import sys

from tapeout.targets.emulation import ARM64, Recipe, main

AARCH64 = Recipe(
    ARM64,
    runtime="tflite",
    command="python tests/tflite_root.py",
    wheels=(("tflite-runtime", "2.14.0"), ("numpy", "1.26.4")),  # it breaks on numpy 2
    probe="import tflite_runtime.interpreter",
)

if __name__ == "__main__":
    sys.exit(main([AARCH64]))
