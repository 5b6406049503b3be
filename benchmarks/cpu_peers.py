"""The engines that are compared on CPUs, each by the shortest way that its Python package has.

Inputs are set once and stay; no engine copies its outputs to numpy. Peers are optional packages,
pinned in cpu_peers.txt; they are imported where they are used, in the process of the engine.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from tapeout.targets import run

#: IREE's best of those tried (ResNet-18, MobileNetV2, BERT); ukernels and im2col are no faster.
_IREE_FLAGS: Final = (
    "--iree-input-type=onnx",
    "--iree-hal-target-device=local",
    "--iree-hal-local-target-device-backends=llvm-cpu",
    "--iree-llvmcpu-target-cpu=host",
    "--iree-opt-level=O3",
    "--iree-dispatch-creation-data-tiling",
)


class BundleEngine:
    """The engine of one of our bundles, as the program in it loads and times it."""

    def __init__(self, file: Path, threads: int, feeds: Mapping[str, np.ndarray]) -> None:
        self._bundle = run.Bundle.read(file)
        if self._bundle.threads not in (None, threads):
            raise RuntimeError(f"the bundle is for {self._bundle.threads} threads")
        self._feeds = self._bundle.stored(feeds)
        self._engine = run.load_engine(file / "run" / "engine.py", self._bundle)
        self.infer = self._engine.infer

    def outputs(self) -> list[np.ndarray]:
        return self._engine.run(self._feeds)


class OnnxRuntime:
    """ONNX Runtime's CPU provider, with inputs and outputs bound to its own buffers."""

    def __init__(self, file: Path, threads: int, feeds: Mapping[str, np.ndarray]) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        provider = ["CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(str(file), options, providers=provider)
        self._binding = self._session.io_binding()
        for name, array in feeds.items():
            self._binding.bind_cpu_input(name, array)
        for output in self._session.get_outputs():
            self._binding.bind_output(output.name)

    def infer(self) -> None:
        self._session.run_with_iobinding(self._binding)

    def outputs(self) -> list[np.ndarray]:
        self.infer()
        return list(self._binding.copy_outputs_to_cpu())


class OpenVino:
    """OpenVINO's CPU plug-in, on one stream; float stays float32 where there is bfloat16, too."""

    def __init__(self, file: Path, threads: int, feeds: Mapping[str, np.ndarray]) -> None:
        import openvino

        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",
        }
        self._model = openvino.Core().compile_model(str(file), "CPU", settings)
        self._request = self._model.create_infer_request()
        for name, array in feeds.items():
            self._request.set_tensor(name, openvino.Tensor(array))

    def infer(self) -> None:
        self._request.infer()

    def outputs(self) -> list[np.ndarray]:
        self.infer()
        return [self._request.get_tensor(port).data.copy() for port in self._model.outputs]


#: Seconds that IREE may take to compile a network.
_PATIENCE: Final = 240


def compile_with_iree(model: Path, output: Path) -> None:
    """Compile an ONNX file for this machine.

    Raises:
        subprocess.CalledProcessError: with what it printed.
        subprocess.TimeoutExpired: it takes too long.
    """
    graph, tools = output.with_suffix(".mlir"), Path(sys.executable).parent
    for command in (
        [tools / "iree-import-onnx", model, "-o", graph],
        [tools / "iree-compile", graph, "-o", output, *_IREE_FLAGS],
    ):
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_PATIENCE)


class Iree:
    """IREE's local device: synchronous on one thread, and its task system on several."""

    def __init__(self, file: Path, threads: int, feeds: Mapping[str, np.ndarray]) -> None:
        from iree import runtime

        self._runtime = runtime
        if threads > 1:
            runtime.flags.parse_flags(f"--task_topology_max_group_count={threads}")
        self._device = runtime.get_device("local-sync" if threads == 1 else "local-task")
        instance = runtime.VmInstance()
        hal = runtime.create_hal_module(instance, self._device)
        module = runtime.VmModule.mmap(instance, str(file))
        self._context = runtime.VmContext(instance, [hal, module])
        [name] = [name for name in module.function_names if not name.endswith(("$async", "__init"))]
        self._function = module.lookup_function(name)
        self._arguments = runtime.VmVariantList(len(feeds))
        for array in feeds.values():
            self._arguments.push_ref(runtime.asdevicearray(self._device, array)._buffer_view)

    def infer(self) -> Any:
        results = self._runtime.VmVariantList(1)
        self._context.invoke(self._function, self._arguments, results)
        return results

    def outputs(self) -> list[np.ndarray]:
        results, view = self.infer(), self._runtime.HalBufferView
        arrays = [results.get_as_object(index, view) for index in range(results.size)]
        return [self._runtime.DeviceArray(self._device, item).to_host() for item in arrays]
