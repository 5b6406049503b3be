"""Data that kernels round to 8 bits as they run: which nodes' data, and how to say it in ONNX."""

from __future__ import annotations

from typing import Final

import onnx_ir as ir

from .editing import Editor
from .matching import nodes_of, shape_of

#: The key of `Node.metadata_props` that a node has whose kernel rounds its data, and the value.
_KEY: Final = "tapeout.data"
_ROUNDED: Final = "int8"


def let_round(node: ir.Node) -> None:
    """Let a node's kernel round its data, the first input, to 8 bits over the range of each run."""
    node.metadata_props[_KEY] = _ROUNDED


def rounds_at_run_time(node: ir.Node) -> bool:
    """Whether a node's kernel rounds its data."""
    return node.metadata_props.get(_KEY) == _ROUNDED


def written_out(model: ir.Model) -> ir.Model:
    """Return the model with that rounding as nodes; itself if nothing rounds.

    DynamicQuantizeLinear and DequantizeLinear round a whole tensor by one scale. Kernels of matrix
    products take one for each row, which loses less.
    """
    if not any(map(rounds_at_run_time, nodes_of(model))):
        return model
    model = model.clone()
    edit = Editor(model)
    for node in list(nodes_of(model)):
        data = node.inputs[0] if rounds_at_run_time(node) else None
        if data is None:
            continue
        shape = shape_of(data)
        made = (("data", ir.DataType.UINT8, shape), ("scale", ir.DataType.FLOAT, ()))
        zero = ("zero_point", ir.DataType.UINT8, ())
        integers = edit.insert_several(node, "DynamicQuantizeLinear", [data], (*made, zero))
        real = edit.insert(
            node, "DequantizeLinear", integers, name="rounded", dtype=data.dtype, shape=shape
        )
        edit.set_input(node, 0, real)
        del node.metadata_props[_KEY]
    return model
