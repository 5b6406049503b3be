"""An engine's kernels as one program, run by qemu: their outputs, and what they execute.

The program calls the engine's function on one thread. It needs no runtime and no root, so that it
runs for every architecture of qemu's user-mode emulation.

How instructions are counted: qemu translates code in blocks, and is told to log each block that it
translates, with its instructions, and each execution of a block. The log of a program that runs
the kernels once is compared with that of the same program running them never: what is done to
start, to read and to write drops out.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np
import onnx_ir as ir
import tvm_ffi.libinfo
from tvm.target import Target

from tapeout.profiles.schema import Profile, Toolchain
from tapeout.targets.tvm.compile import Compiled, compile_model, compile_module, processor
from tapeout.targets.tvm.host import architecture, processor_features
from tapeout.targets.tvm.program import INFER
from tapeout.targets.tvm.relax_import import to_relax
from tapeout.targets.tvm.schedules.core import Core

#: How a model is compiled.
Build: TypeAlias = Literal["scheduled", "naive", "vectorized"]

#: Architecture -> qemu's program, and a processor with all that it knows.
_EMULATORS: Final = {
    "aarch64": ("qemu-aarch64-static", "max"),
    "riscv64": (
        "qemu-riscv64-static",
        "rv64,v=true,vext_spec=v1.0,vlen={vector_bits},Zfh=true,zba=true,zbb=true,zbc=true,"
        "zbs=true",
    ),
    "x86_64": ("qemu-x86_64-static", "max"),
}

#: Extensions of RISC-V that qemu 7.2 does not know.
_UNKNOWN: Final = ("-zicond",)

_KINDS: Final = {"float": "kDLFloat", "int": "kDLInt", "uint": "kDLUInt", "bool": "kDLBool"}

#: The bytes of an instruction of x86 that did not fit on the line before.
_CONTINUED: Final = re.compile(rb"0x[0-9a-f]+:( +[0-9a-f]{2})+\s*")

_ALIGNMENT: Final = 64

#: For the kernels' own use.
_SCRATCH: Final = 16 << 20

_SOURCE: Final = Path(__file__).with_suffix(".c")


@dataclasses.dataclass(frozen=True)
class _Tensor:
    number: int
    shape: tuple[int, ...]
    dtype: str
    offset: int

    @property
    def count(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def size(self) -> int:
        return self.count * np.dtype(self.dtype).itemsize

    @property
    def end(self) -> int:
        """Where the next tensor begins."""
        return self.offset + max(1, -(-self.size // _ALIGNMENT)) * _ALIGNMENT

    @property
    def definition(self) -> str:
        kind, bits = self.dtype.rstrip("0123456789"), 8 * np.dtype(self.dtype).itemsize
        dims = ", ".join(map(str, (*self.shape, 1)))  # C has no empty arrays
        return (
            f"static int64_t s{self.number}[] = {{{dims}}};\n"
            f"static DLTensor t{self.number} = {{memory + {self.offset}, {{kDLCPU, 0}}, "
            f"{len(self.shape)}, {{{_KINDS[kind]}, {bits}, 1}}, s{self.number}, NULL, 0}};"
        )


@dataclasses.dataclass(frozen=True)
class Program:
    """A program that runs under qemu.

    Attributes:
        vector_bits: of the emulated core, where its instruction set leaves them open.
        given: the bytes of inputs and constants.
    """

    file: Path
    toolchain: Toolchain
    vector_bits: int
    given: bytes
    results: Sequence[_Tensor]

    def outputs(self) -> list[np.ndarray]:
        """Return what the kernels compute."""
        command, given = self._command(()), b"\1" + self.given
        printed = subprocess.run(command, input=given, capture_output=True, check=True).stdout
        starts = np.cumsum([0, *(tensor.size for tensor in self.results)])
        return [
            np.frombuffer(printed, tensor.dtype, tensor.count, start).reshape(tensor.shape)
            for tensor, start in zip(self.results, starts, strict=False)
        ]

    @functools.cached_property
    def instructions(self) -> int:
        """How many instructions the kernels execute."""
        return self.executed(1) - self.executed(0)

    def executed(self, inferences: int, *options: str) -> int:
        """Return how many instructions the whole program executes, given options of qemu."""
        reading, writing = os.pipe()
        log = f"/proc/self/fd/{writing}"
        command = self._command(("-d", "in_asm,exec,nochain", "-D", log, *options))
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=[writing]
        ) as process:
            os.close(writing)
            with os.fdopen(reading, "rb", buffering=1 << 20) as lines:
                assert process.stdin is not None
                process.stdin.write(bytes([inferences]) + self.given)
                process.stdin.close()
                total = _executed(lines)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        return total

    def _command(self, options: Sequence[str]) -> list[str]:
        emulator, core = _EMULATORS[architecture(self.toolchain.triple)]
        cpu = core.format(vector_bits=max(128, self.vector_bits))
        return [emulator, "-cpu", cpu, *options, str(self.file)]


def _executed(log: Iterable[bytes]) -> int:
    """Return the instructions of all executions of blocks; a new block stands before its first."""
    lengths: dict[bytes, int] = {}
    total = translated = 0
    for line in log:
        if line.startswith(b"0x"):
            translated += not _CONTINUED.fullmatch(line)
        elif line.startswith(b"Trace"):
            block = line.split(b" ", 3)[2]  # where its translation lies
            if translated:
                lengths[block], translated = translated, 0
            total += lengths[block]
    return total


def program(
    model: ir.Model,
    profile: Profile,
    feeds: Mapping[str, np.ndarray],
    folder: Path,
    build: Build = "scheduled",
) -> Program:
    """Compile a lowered model for one core of a device, and link its kernels into a program.

    Args:
        build: with our schedules; by TVM's own pipeline for CPUs, without any; or that with LLVM's
            own options, among them the loop vectorizer that ours keep off.
    """
    cpu, toolchain = profile.cpu, profile.toolchain
    assert cpu is not None
    if architecture(toolchain.triple) == "riscv64":
        features = (*toolchain.features, *_UNKNOWN)
        toolchain = toolchain.model_copy(update={"features": features})
    if build == "scheduled":
        compiled = compile_model(model, toolchain, Core.of(cpu, processor_features(toolchain)))
    else:
        target = dict(processor(toolchain).export())
        if build == "vectorized":
            del target["cl-opt"]
        compiled = compile_module(to_relax(model, None), Target(target), None)
    inputs = [feeds[str(value.name)] for value in model.graph.inputs]
    outputs = [np.empty(value.shape.numpy(), value.dtype.numpy()) for value in model.graph.outputs]
    given, results = _write_header(compiled, inputs, outputs, folder / "engine.h")
    file = _linked(compiled, toolchain, folder)
    return Program(file, toolchain, cpu.vector_bits.value, given, results)


def _write_header(
    compiled: Compiled, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray], file: Path
) -> tuple[bytes, list[_Tensor]]:
    """Write what the program is made of; return what it is given, and what it computes."""
    weights, workspace = compiled.program.weights, np.empty(compiled.program.workspace, np.uint8)
    tensors: list[_Tensor] = []
    for array in (*inputs, weights, *outputs, workspace):
        offset = tensors[-1].end if tensors else 0
        tensors.append(_Tensor(len(tensors), array.shape, str(array.dtype), offset))
    given = b"".join(
        array.tobytes().ljust(place.end - place.offset, b"\0")
        for array, place in zip((*inputs, weights), tensors, strict=False)
    )
    *first, last = tensors
    split = len(inputs)
    results = first[split + 1 :]
    file.write_text(_header([*first[:split], *results, first[split], last], results, len(given)))
    return given, results


def _header(arguments: Sequence[_Tensor], results: Sequence[_Tensor], given: int) -> str:
    places = ", ".join(f"{{{tensor.offset}, {tensor.size}}}" for tensor in results)
    pointers = ", ".join(f"&t{tensor.number}" for tensor in arguments)
    lines = [
        f"enum {{ GIVEN = {given}, SCRATCH = {_SCRATCH}, RESULTS = {len(results)} }};",
        f"static const unsigned long results[][2] = {{{places}}};",
        f"static unsigned char memory[{max(tensor.end for tensor in arguments)}] ALIGNED;",
        *(tensor.definition for tensor in arguments),
        f"int __tvm_ffi_{INFER}(void *, const TVMFFIAny *, int32_t, TVMFFIAny *);",
        "static int infer(void) {",
        f"  return call(__tvm_ffi_{INFER}, {len(arguments)}, (DLTensor *[]){{{pointers}}});",
        "}",
    ]
    return "\n".join([*lines, ""])


def _linked(compiled: Compiled, toolchain: Toolchain, folder: Path) -> Path:
    kernels = str(folder / "kernels.o")
    compiled.library.write_to_file(kernels, "o")
    includes = (tvm_ffi.libinfo.find_include_path(), tvm_ffi.libinfo.find_dlpack_include_path())
    command = [sys.executable, "-m", "ziglang", "cc", "-O2", "-fno-builtin"]
    command += ["-target", f"{architecture(toolchain.triple)}-linux-none", "-static", "-nostdlib"]
    command += [f"-I{path}" for path in (folder, *includes)]
    file = folder / "program"
    subprocess.run(
        [*command, "-o", str(file), str(_SOURCE), kernels],
        check=True,
        env={**os.environ, "ZIG_LOCAL_CACHE_DIR": str(folder)},
    )
    return file
