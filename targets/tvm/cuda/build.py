"""How an engine for a GPU is built: the plan of `targets.tvm.build`, with another compiler."""

from __future__ import annotations

from typing import Final

from ....profiles.schema import Toolchain
from ..build import KERNELS, Recipe

#: What TVM packs with the program, the kernels' source replaced; and the assembly that embeds it.
CONTENT: Final = "program.bin"
PROGRAM: Final = "program.S"

#: The machine that the GPU is in: it only checks shapes and launches kernels.
HOST: Final = Toolchain(triple="x86_64-linux-gnu", cpu="x86-64", glibc="2.28")

CUDA: Final = Recipe("tapeout.targets.tvm.cuda.compiler_process", (KERNELS, PROGRAM), host=HOST)
