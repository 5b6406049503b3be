"""The independent reference: any stage of the IR, run by ONNX Runtime.

Operators of our own domain carry their definition as ONNX functions in the model, so every stage
of the pipeline stays a model that ONNX Runtime can run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir

from ..errors import ModelError, Problem
from .editing import Editor
from .matching import is_op, nodes_of, shape_of
from .run_time import written_out
from .widening import has_half, widened

Arrays = dict[str, np.ndarray]


class Reference:
    """A model loaded into ONNX Runtime, on one thread.

    Args:
        model: a stage of the IR, or the path of an ``.onnx`` file.
        optimized: let ONNX Runtime change the graph, which is faster but may round differently;
            else it computes every node as it stands.

    Raises:
        ModelError: ONNX Runtime does not take the model; quotes its message.
    """

    def __init__(self, model: ir.Model | Path, *, optimized: bool = False) -> None:
        import onnxruntime  # heavy: only when numerics are asked for

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        levels = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = (
            levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
        )
        options.log_severity_level = 4
        source = str(model) if isinstance(model, Path) else _serialized(model)
        try:
            self._session = onnxruntime.InferenceSession(
                source, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise ModelError(
                "ONNX Runtime, the reference, cannot load the model",
                [Problem("onnxruntime", str(error))],
            ) from error
        self.inputs = tuple(value.name for value in self._session.get_inputs())
        self.outputs = tuple(value.name for value in self._session.get_outputs())

    def run(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        """Return every output by name, for one set of inputs by name.

        Raises:
            ModelError: ONNX Runtime cannot run the model on them; quotes its message.
        """
        try:
            outputs = self._session.run(None, dict(feeds))
        except Exception as error:
            raise ModelError(
                "ONNX Runtime, the reference, cannot run the model",
                [Problem("onnxruntime", str(error))],
            ) from error
        return dict(zip(self.outputs, outputs, strict=True))


def _serialized(model: ir.Model) -> bytes:
    content: bytes = ir.to_proto(_runnable(model)).SerializeToString()
    return content


def _runnable(model: ir.Model) -> ir.Model:
    """Return the model without what ONNX Runtime lacks, in a copy that shares the constants.

    What kernels round as they run is rounded by nodes (`lowering.run_time`).

    There is one operator of the working opset, Swish: it is put as x * sigmoid(alpha x). And half
    precision and bfloat16 are put as float32, rounded after every node (`lowering.widening`).
    """
    model = written_out(model)
    if has_half(model):
        model = widened(model)
    if not any(is_op(node, "Swish") for node in nodes_of(model)):
        return model
    model = model.clone()
    edit = Editor(model)
    for node in nodes_of(model):
        x = node.inputs[0] if is_op(node, "Swish") else None
        if x is None:
            continue
        alpha = np.array(node.attributes.get_float("alpha", 1.0))
        dtype, shape = x.dtype, shape_of(x)
        factors = [x, edit.constant(node, "alpha", alpha, dtype)]
        scaled = edit.insert(node, "Mul", factors, name="scaled", dtype=dtype, shape=shape)
        gate = edit.insert(node, "Sigmoid", [scaled], name="gate", dtype=dtype, shape=shape)
        edit.replace(node, "Mul", [x, gate])
    return model
