"""From the lowered model to a Relax module, node by node."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import tvm
from tvm import relax

from ...errors import ModelError, Problem
from .constraints import is_empty, is_packed
from .converters import AS_STORED, CONVERTERS, Call
from .converters.call import HALF, Expr, bound, constant, dtype_of, shape_of
from .schedules.core import Core

#: The name of the only function of the module.
ENTRY = "main"


def to_relax(model: ir.Model, core: Core | None) -> tvm.IRModule:
    """Return the model as a Relax module whose function ``main`` takes the inputs in order.

    A constant goes over as an array, not through protobuf. What a converter returns must have the
    shape and dtype that the model states.

    Args:
        core: what kernels of our own are made for; None: they get no loops.

    Raises:
        ModelError: a node has no converter, or its converter failed; names the node.
    """
    graph = model.graph
    builder = relax.BlockBuilder()
    values: dict[ir.Value, Expr] = {
        value: relax.Var(_name(k, value), _type(value)) for k, value in enumerate(graph.inputs)
    }
    parameters = list(values.values())
    for value in graph.initializers.values():
        if value.const_value is not None and value not in values:
            array = value.const_value.numpy()
            values[value] = constant(array.astype(np.int8) if is_packed(value) else array)
    with builder.function(ENTRY, parameters):
        with builder.dataflow():
            for node in graph:
                if not _fill_empty(node, values):
                    _convert(node, values, builder, core)
            results = [values[value] for value in graph.outputs]
            result = builder.emit_output(results[0] if len(results) == 1 else relax.Tuple(results))
        builder.emit_func_output(result)
    return builder.get()


def _convert(
    node: ir.Node, values: dict[ir.Value, Expr], builder: relax.BlockBuilder, core: Core | None
) -> None:
    converter = CONVERTERS.get((node.domain, node.op_type))
    if converter is None:
        raise _failure(node, "the operator has no converter")
    inputs = tuple(None if value is None else values[value] for value in node.inputs)
    widened = node.op_type not in AS_STORED and any(map(_is_half, (*node.inputs, *node.outputs)))
    if widened:
        inputs = tuple(
            relax.op.astype(expression, "float32") if _is_half(value) else expression
            for value, expression in zip(node.inputs, inputs, strict=True)
        )
    try:
        converted = converter(Call(node, inputs, builder, widened, core))
        outputs: Sequence[Expr] = converted if isinstance(converted, list | tuple) else [converted]
        for value, output in zip(node.outputs, outputs, strict=False):
            if value.name:
                result = bound(builder, output)
                if widened and str(result.ty.dtype) != dtype_of(value):
                    result = builder.emit(relax.op.astype(result, dtype_of(value)))
                values[value] = _checked(value, result)
    except Exception as error:  # TVM raises whatever its C++ side throws
        raise _failure(node, f"{type(error).__name__}: {error}") from error


def _fill_empty(node: ir.Node, values: dict[ir.Value, Expr]) -> bool:
    """Bind outputs without elements, of which nothing is to be computed; say if all are such."""
    outputs = [value for value in node.outputs if value.name]
    if not all(is_empty(value) for value in outputs):
        return False
    for value in outputs:
        values[value] = constant(np.zeros(shape_of(value), dtype_of(value)))
    return True


def _is_half(value: ir.Value | None) -> bool:
    return value is not None and value.dtype is not None and dtype_of(value) in HALF


def _checked(value: ir.Value, output: Expr) -> Expr:
    """Return the output if TVM's shape and dtype are those that the model states."""
    expected = _type(value)
    found = output.ty
    shape = tuple(int(dim) for dim in found.shape)
    if (shape, str(found.dtype)) != (shape_of(value), dtype_of(value)):
        raise TypeError(f"the model states {expected} for {value.name!r}, TVM gives {found}")
    return output


def _type(value: ir.Value) -> relax.TensorType:
    return relax.TensorType(shape_of(value), dtype_of(value))


def _name(position: int, value: ir.Value) -> str:
    """Return an identifier that is unique whatever the original names are."""
    return f"input{position}_" + re.sub(r"\W", "_", str(value.name), flags=re.ASCII)


def _failure(node: ir.Node, reason: str) -> ModelError:
    return ModelError(
        "TVM does not take the model", [Problem(f"node {node.name!r} ({node.op_type})", reason)]
    )
