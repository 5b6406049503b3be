"""Who is compared on CPUs: what each is given, and what it makes of it before it is timed."""

from __future__ import annotations

import dataclasses
import importlib.util
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cpu_networks import Network
from cpu_peers import BundleEngine, Iree, OnnxRuntime, OpenVino, compile_with_iree
from turns import Engine

from tapeout import compiler
from tapeout.bundle import Bundle
from tapeout.errors import TapeoutError
from tapeout.profiles import catalog
from tapeout.targets.base import Precision


@dataclasses.dataclass(frozen=True)
class Case:
    """One network in one precision on so many threads."""

    network: Network
    precision: Precision
    threads: int

    def path(self, suffix: str) -> Path:
        return self.network.folder / f"{self.network.name}.{self.precision}.{suffix}"


class LeftOutError(Exception):
    """Why a contender does not take part in a case."""


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What a contender is timed on.

    Attributes:
        bundle: where it is one.
        seconds: what it took to make.
    """

    file: Path
    bundle: Bundle | None = None
    seconds: float = 0

    @property
    def estimate(self) -> float | None:
        """The estimated latency in seconds, where there is one."""
        latency = self.bundle.usage.latency if self.bundle else None
        return latency.value if latency else None

    @property
    def runtime(self) -> str:
        """The runtime that the bundle is for."""
        return self.bundle.manifest.runtime.name if self.bundle else ""


@dataclasses.dataclass(frozen=True)
class Contender:
    """One column of the table.

    Attributes:
        packages: that it needs, as they are imported.
        make: makes what it is timed on; raises LeftOutError.
    """

    packages: tuple[str, ...]
    engine: type[Engine]
    make: Callable[[Case], Prepared]

    def prepare(self, case: Case) -> Prepared:
        """Make what it is timed on; raises LeftOutError."""
        for package in self.packages:
            if importlib.util.find_spec(package) is None:
                raise LeftOutError(f"{package} is not installed: see benchmarks/cpu_peers.txt")
        start = time.perf_counter()
        found = self.make(case)
        return dataclasses.replace(found, seconds=time.perf_counter() - start)


def _bundle(runtime: str | None, device: str = catalog.HOST) -> Callable[[Case], Prepared]:
    def make(case: Case) -> Prepared:
        output = case.path(f"{runtime or 'auto'}.{device}.{case.threads}.bundle")
        options = compiler.Options(
            case.precision,
            runtime,
            calibration=str(case.network.calibration) if case.precision == "int8" else None,
            plan={"threads": str(case.threads)},
        )
        try:
            bundle = compiler.compile(case.network.file, device, output, options=options)
        except TapeoutError as error:
            first, *rest = [line.strip() for line in str(error).splitlines() if line.strip()]
            said = ": ".join([first, *rest[-1:]])  # a traceback ends with what is wrong
            raise LeftOutError(f"{type(error).__name__}: {said}") from error
        return Prepared(output, bundle)

    return make


def _file_for_onnx_runtime(case: Case) -> Prepared:
    network = case.network
    return Prepared(network.file if case.precision == "fp32" else network.quantized_by_onnx_runtime)


def _file(case: Case) -> Prepared:
    network = case.network
    return Prepared(network.file if case.precision == "fp32" else network.quantized)


def _iree_module(case: Case) -> Prepared:
    """Compile once for any number of threads, or find out once why it cannot be."""
    output, failure = case.path("vmfb"), case.path("vmfb.txt")
    if failure.exists():
        raise LeftOutError(failure.read_text())
    if not output.exists():
        try:
            compile_with_iree(_file(case).file, output)
        except subprocess.CalledProcessError as error:
            first, _, _ = error.stderr.partition("\n")
            failure.write_text(f"it does not compile: {first.rpartition('error: ')[2]}")
        except subprocess.TimeoutExpired as error:
            failure.write_text(f"it compiles for more than {error.timeout:g} s")
        if failure.exists():
            raise LeftOutError(failure.read_text())
    return Prepared(output)


#: Ours, by name: for the runtime TVM, also with no more than AVX2 where the machine has more; and
#: for whichever of the runtimes compiles to the fastest.
OURS: Final = {
    "tvm": Contender(("tvm",), BundleEngine, _bundle("tvm")),
    "tvm, AVX2": Contender(("tvm",), BundleEngine, _bundle("tvm", "x86-64-v3")),
    "auto": Contender(("tvm", "ai_edge_litert"), BundleEngine, _bundle(None)),
}

#: The others; what LiteRT with XNNPACK is given is our own TFLite file.
PEERS: Final = {
    "ONNX Runtime": Contender(("onnxruntime",), OnnxRuntime, _file_for_onnx_runtime),
    "LiteRT": Contender(("ai_edge_litert",), BundleEngine, _bundle("tflite")),
    "OpenVINO": Contender(("openvino",), OpenVino, _file),
    "IREE": Contender(("iree.compiler", "iree.runtime"), Iree, _iree_module),
}
