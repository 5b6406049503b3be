"""A card that is not there: TVM's CUDA runtime as it is, on a driver that runs kernels on the CPU.

The driver and CUDA's runtime library are replaced by small ones (``targets/tvm/cuda/emulated``);
the kernels are compiled for the CPU from the very source that NVRTC is given. All else is real: the
engine, TVM's virtual machine, the launches with their arguments and extents, the bundle's program.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

import numpy as np

_SOURCES: Final = Path(__file__).resolve().parent / "targets/tvm/cuda/emulated"
_KERNEL: Final = re.compile(r"__global__ void (?:__launch_bounds__\(\d+\) )?(\w+)\([^)]*\) \{")

_LAUNCH: Final = """
extern "C" bool emulated_launch(
    const char* name, const unsigned* grid, const unsigned* size, void** arguments) {
  static const std::map<std::string, void (*)(void**)> kernels = {
%s
  };
  const auto found = kernels.find(name);
  if (found == kernels.end() || grid == nullptr) return found != kernels.end();
  emulated::Launch(found->second, {grid[0], grid[1], grid[2]}, {size[0], size[1], size[2]},
                   arguments);
  return true;
}
"""


def make(folder: Path, source: str) -> None:
    """Write the libraries of a card that runs the kernels of some CUDA source."""
    names = sorted(set(_KERNEL.findall(source)))
    call = '    {"%s", [](void** given) { emulated::Call(%s, given); }},'
    table = "\n".join(call % (name, name) for name in names)
    text = '#include "device.h"\n' + source + _LAUNCH % table
    (folder / "kernels.cc").write_text(text, encoding="utf-8")
    cuda = f"-I{metadata.distribution('nvidia-cuda-runtime').locate_file('nvidia/cu13/include')}"
    _compile(folder, "kernels.so", [str(folder / "kernels.cc"), f"-I{_SOURCES}", cuda, "-O1"])
    _compile(folder, "libcuda.so.1", [str(_SOURCES / "driver.cc"), cuda])
    versions = f"-Wl,--version-script={_SOURCES / 'runtime.map'}"
    _compile(folder, "libcudart.so.13", [str(_SOURCES / "runtime.cc"), versions])


def run(
    card: Path,
    bundle: Path,
    feeds: Mapping[str, np.ndarray],
    capability: str = "90",
    order: str = "forward",
    repeat: int = 0,
) -> subprocess.CompletedProcess[str]:
    """Run a bundle by its own program; ``outputs.npz`` and ``memory`` are then beside the card.

    Args:
        order: in which the threads of a block go on; ``reverse`` is the other one.
    """
    np.savez(card / "inputs.npz", **dict(feeds))
    environment = {
        "PATH": os.environ["PATH"],
        "LD_LIBRARY_PATH": str(card),
        "LD_PRELOAD": str(card / "libcudart.so.13"),
        "EMULATED_KERNELS": str(card / "kernels.so"),
        "EMULATED_CAPABILITY": capability,
        "EMULATED_MEMORY": str(card / "memory"),
        "EMULATED_ORDER": order,
    }
    command = [sys.executable, "-I", "-B", str(bundle / "run" / "run.py"), "--repeat", str(repeat)]
    command += ["-i", str(card / "inputs.npz"), "-o", str(card / "outputs.npz")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def _compile(folder: Path, name: str, words: Sequence[str]) -> None:
    command = ["g++", "-std=c++20", "-w", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", name]
    subprocess.run([*command, *words], cwd=folder, check=True)
