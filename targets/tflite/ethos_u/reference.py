"""A TFLite file run by LiteRT's reference kernels: what ``run.py`` is given to run it with.

Arm tests the operators of an Ethos-U for the very bits of these kernels (Vela's README: "Vela is
tested by comparing the bit exact numerical behaviour of the Ethos-U optimised operators against
that of the corresponding TensorFlow Lite reference kernels"). XNNPACK rounds otherwise.
"""

from __future__ import annotations

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


class Engine:
    """A loaded model, its tensors allocated."""

    def __init__(
        self, file: Path, inputs: Sequence[Tensor], outputs: Sequence[Tensor], threads: int | None
    ) -> None:
        """Load it; raises ImportError without the runtime, RuntimeError where it is broken."""
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        try:
            kernels = OpResolverType.BUILTIN_REF
            interpreter = Interpreter(str(file), experimental_op_resolver_type=kernels)
            self._runner = interpreter.get_signature_runner(SIGNATURE)
        except ValueError as error:
            raise RuntimeError(str(error)) from error
        self._wanted = [tensor.name for tensor in outputs]

    def run(self, piece: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run on one compiled batch and return the outputs in the manifest's order."""
        found = self._runner(**piece)
        return [found[name] for name in self._wanted]
