"""CPUs that are not here: how many instructions convolutions take, against the naive build's.

qemu executes the kernels and counts (tests/emulated_kernels.py); nothing is timed, and the same
versions give the same figures anywhere. Every output is compared with ONNX Runtime's.

    python benchmarks/instructions.py [--devices NAME ...] > benchmarks/results/instructions.md
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx_ir as ir

from tapeout.lowering.reference import Reference
from tapeout.profiles import catalog

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))  # where the two below are

import convolutions
from emulated_kernels import Build, program

DEVICES: Final = (
    "raspberry-pi-3b-plus", "raspberry-pi-4b", "raspberry-pi-5", "aws-graviton3", "banana-pi-f3",
    "visionfive-2", "x86-64-v3",
)  # fmt: skip

#: Type -> how a layer of it is made, and how far outputs may be off, as a share of the largest.
TYPES: Final[dict[str, tuple[Callable[[int, int, int], ir.Model], float]]] = {
    "float32": (convolutions.of_floats, 1e-5),
    "float16": (convolutions.of_halves, 1e-2),
    "int8": (convolutions.of_integers, 0),
}

#: (channels, groups) of 3x3 convolutions over 14 x 14 places.
LAYERS: Final = ((64, 1), (32, 1), (64, 64))
SIZE: Final = 14

BUILDS: Final[tuple[Build, ...]] = ("scheduled", "naive", "vectorized")

HEADER: Final = f"""# Instructions of convolutions

`python benchmarks/instructions.py`: instructions that the kernels of one layer execute for each of
its multiply-adds, counted by qemu 7.2 (`tests/emulated_kernels.py` says how). Layers are 3x3
convolutions of {SIZE} x {SIZE} places, channels last, followed by ReLU, on one core; outputs are
those of ONNX Runtime, int8 bit for bit. float16 is there for cores that compute in it.

- scheduled: the engine that a bundle has
- naive: TVM's own pipeline for CPUs, which emits plain loops, with the options of LLVM that engines
  are compiled with; fewer: how many times as many instructions it takes
- vectorized: the same with LLVM's own options. Its loop vectorizer is on then, which engines keep
  off because it miscompiles (see `targets/tvm/compile.py`)
- of float16, naive and vectorized are what float32 takes: TVM's code has no way to add in float32
- an instruction is no measure of time: a vector of RISC-V may be a group of four registers

| device | type | channels | scheduled | naive | fewer | vectorized | fewer |
|---|---|---|--:|--:|--:|--:|--:|"""


def counted(
    device: str, model: ir.Model, multiplies: float, tolerance: float, builds: Sequence[Build]
) -> list[float]:
    """Return the instructions for each multiply-add, by build."""
    feeds = convolutions.feeds(model)
    [wanted] = Reference(model).run(feeds).values()
    found = []
    for build in builds:
        with tempfile.TemporaryDirectory() as folder:
            made = program(model, catalog.load(device), feeds, Path(folder), build)
            [output] = made.outputs()
            off = np.abs(output.astype(np.float64) - wanted).max()
            if off > tolerance * np.abs(wanted).max():
                raise ValueError(f"the {build} build for {device} is {off} off")
            found.append(made.instructions / multiplies)
    return found


def rows(devices: list[str]) -> Iterator[str]:
    for device in devices:
        plain: dict[tuple[int, int], list[float]] = {}
        for dtype, (layer, tolerance) in TYPES.items():
            if dtype == "float16" and catalog.load(device).peak(dtype) is None:
                continue  # it is stored in half precision, and computed in single
            for channels, groups in LAYERS:
                multiplies = SIZE**2 * channels * channels // groups * 9
                model = layer(SIZE, channels, groups)
                builds = BUILDS[:1] if dtype == "float16" else BUILDS
                ours, *others = counted(device, model, multiplies, tolerance, builds)
                naive, other = others or plain[channels, groups]
                plain.setdefault((channels, groups), [naive, other])
                kind = f"{channels} depthwise" if groups > 1 else str(channels)
                yield (
                    f"| `{device}` | {dtype} | {kind} | {ours:.3f} | {naive:.2f} "
                    f"| {naive / ours:.1f} | {other:.2f} | {other / ours:.1f} |"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--devices", nargs="+", choices=DEVICES, default=list(DEVICES))
    print(HEADER)
    for row in rows(parser.parse_args().devices):
        print(row, flush=True)


if __name__ == "__main__":
    main()
