"""The engine of a bundle, loaded by LiteRT: ai_edge_litert, or tflite_runtime where that is."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

#: The only signature of the file.
SIGNATURE = "serving_default"


class Tensor(Protocol):
    """An input or output, as the manifest declares it."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def interpreter_type() -> Any:
    """Return the class Interpreter of the runtime that is installed; the newer one if both are."""
    for package in ("ai_edge_litert", "tflite_runtime"):
        try:
            return importlib.import_module(f"{package}.interpreter").Interpreter
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] != package:
                raise
    raise ImportError("neither ai_edge_litert nor tflite_runtime is installed")


class Engine:
    """A loaded model, its tensors allocated."""

    def __init__(
        self, file: Path, inputs: Sequence[Tensor], outputs: Sequence[Tensor], threads: int | None
    ) -> None:
        """Load it; raises ImportError without the runtime, RuntimeError where it is broken."""
        interpreter = interpreter_type()
        try:
            self._interpreter = interpreter(model_path=str(file), num_threads=threads or 1)
            self._interpreter.allocate_tensors()
            runner = self._interpreter.get_signature_runner(SIGNATURE)
            details = {**runner.get_input_details(), **runner.get_output_details()}
            self._index = {name: item["index"] for name, item in details.items()}
        except (ValueError, KeyError) as error:
            raise RuntimeError(str(error)) from error
        self._given = [tensor.name for tensor in inputs]
        self._wanted = [tensor.name for tensor in outputs]

    def infer(self) -> None:
        """Run once on what the inputs hold."""
        self._interpreter.invoke()

    def run(self, piece: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run on one compiled batch and return the outputs in the manifest's order."""
        for name in self._given:
            self._interpreter.set_tensor(self._index[name], piece[name])
        self.infer()
        return [self._interpreter.get_tensor(self._index[name]) for name in self._wanted]
