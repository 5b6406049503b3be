"""One node of any opset, said in the working opset.

Most operators changed by new dtypes and new optional parameters alone: they are kept. The others
are in `_CHANGED`; ONNX's own version converter says them anew, one node at a time, because on
whole models it loses what it does not know. Where it was measured to change the meaning or to stop
short (compared in ONNX Runtime before and after, operator by operator), the adapter is ours.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final

import numpy as np
import onnx
import onnx_ir as ir

from ..expansion import definition_of
from ..matching import array_of, shape_of
from ..opset import IR_VERSION, WORKING_OPSET
from .calls import instantiate
from .inference import REJECTIONS, InvalidNodeError, infer, reason, type_proto
from .onnx_structure import schema_of
from .splicing import Replacement

#: Operator -> the first opset from which on a node means the same, word for word, in the working
#: one. `tests/lowering/importers/test_conversion.py` holds the table against ONNX's schemas.
_CHANGED: Final = {
    **dict.fromkeys(
        (
            "ReduceL1",
            "ReduceL2",
            "ReduceLogSum",
            "ReduceLogSumExp",
            "ReduceMax",
            "ReduceMean",
            "ReduceMin",
            "ReduceProd",
            "ReduceSumSquare",
        ),
        18,
    ),
    "BatchNormalization": 14,
    "Clip": 11,
    "DFT": 20,
    "Dropout": 12,
    "GridSample": 20,
    "GroupNormalization": 21,
    "Hardmax": 13,
    "LogSoftmax": 13,
    "Pad": 11,
    "ReduceSum": 13,
    "Resize": 11,
    "RoiAlign": 16,
    "Scatter": WORKING_OPSET,
    "Slice": 10,
    "Softmax": 13,
    "Split": 18,
    "Squeeze": 13,
    "TopK": 10,
    "Unsqueeze": 13,
    "Upsample": WORKING_OPSET,
}


_BATCH_NORM: Final = ("epsilon", "momentum")


def is_converted(op_type: str, version: int) -> bool:
    """Whether an operator of the default domain must be said anew for the working opset."""
    schema = schema_of("", op_type, version)
    if schema is None:
        return False
    if version > WORKING_OPSET:
        return schema.since_version > WORKING_OPSET
    return schema.since_version < _CHANGED.get(op_type, 0)


def convert(node: ir.Node, version: int) -> Replacement:
    """Return what stands for a node of the default domain for which `is_converted` holds.

    Args:
        node: its inputs have dtypes and static shapes.
        version: the opset it is written in.

    Raises:
        InvalidNodeError: it cannot be said in the working opset, or is invalid in its own.
    """
    try:
        if version < WORKING_OPSET:
            adapter = _ADAPTERS.get(node.op_type, _by_onnx)
            return adapter(node, version)
        infer(node, {"": version})
        if schema_of("", node.op_type, WORKING_OPSET) is None:
            return _by_definition(node, version)
        try:
            return _by_onnx(node, version)
        except InvalidNodeError as first:
            try:
                return _by_definition(node, version)
            except InvalidNodeError:
                raise first from None
    except InvalidNodeError as error:
        raise InvalidNodeError(
            f"{node.op_type} of opset {version} cannot be said in opset {WORKING_OPSET}: {error}"
        ) from error


def _by_onnx(node: ir.Node, version: int) -> Replacement:
    """Convert by ONNX's version converter a model of this node alone."""
    proto = ir.serde.serialize_node(node)
    given = [(f"i{index}", value) for index, value in enumerate(node.inputs)]
    proto.input[:] = [name if value is not None else "" for name, value in given]
    proto.output[:] = [f"o{index}" if v.name else "" for index, v in enumerate(node.outputs)]
    proto.name, proto.doc_string = "n", ""
    del proto.metadata_props[:]
    present = [(name, value) for name, value in given if value is not None]
    inputs = [onnx.helper.make_value_info(name, type_proto(value)) for name, value in present]
    outputs = [onnx.ValueInfoProto(name=name) for name in proto.output if name]
    model = onnx.helper.make_model(
        onnx.helper.make_graph([proto], "g", inputs, outputs),
        opset_imports=[onnx.helper.make_opsetid("", version)],
        ir_version=min(
            IR_VERSION,
            onnx.helper.find_min_ir_version_for(
                [onnx.helper.make_opsetid("", version)], ignore_unknown=True
            ),
        ),
    )
    graph = ir.serde.deserialize_graph(
        onnx.GraphProto.FromString(_converted(model.SerializeToString()))
    )
    for inner, (_, outer) in zip(graph.inputs, present, strict=True):
        inner.replace_all_uses_with(outer)
    found = {str(value.name): value for value in graph.outputs}
    nodes = tuple(graph)
    graph.outputs.clear()
    graph.initializers.clear()  # the values stay, and become constants of the other graph
    graph.remove(nodes)
    return Replacement(nodes, tuple(found.get(f"o{index}") for index in range(len(node.outputs))))


@functools.lru_cache(maxsize=4096)  # ten milliseconds a call, and networks repeat themselves
def _converted(model: bytes) -> bytes:
    try:
        converted = onnx.version_converter.convert_version(
            onnx.ModelProto.FromString(model), WORKING_OPSET
        )
    except REJECTIONS as error:
        raise InvalidNodeError(reason(error)) from error
    return bytes(converted.graph.SerializeToString())


def _by_definition(node: ir.Node, version: int) -> Replacement:
    """Take an operator apart that ONNX defines by others."""
    definition = definition_of(node, version)
    if definition is None:
        raise InvalidNodeError("there it is not known, and ONNX does not define it by others")
    return instantiate(
        node,
        definition.function,
        definition.outputs,
        definition.defaults,
        definition.function.opset_imports.get("", version),
    )


def _batch_normalization(node: ir.Node, version: int) -> Replacement:
    """Several outputs once meant training; statistics could be those of every element."""
    if sum(1 for value in node.outputs if value.name) > 1:
        raise InvalidNodeError("it has several outputs, as in training")
    if node.attributes.get_int("spatial", 1) != 1:
        raise InvalidNodeError("spatial is 0: a mean and variance for every element")
    kept = {name: node.attributes[name] for name in _BATCH_NORM if name in node.attributes}
    return _replacement(ir.node("BatchNormalization", node.inputs, kept))


def _dropout(node: ir.Node, version: int) -> Replacement:
    """Dropout at inference is the identity, but its mask changed twice."""
    if len(node.outputs) > 1 and (node.outputs[1].uses() or node.outputs[1].is_graph_output()):
        raise InvalidNodeError("its mask is used")
    return _replacement(ir.node("Dropout", [node.inputs[0]]))


def _group_normalization(node: ir.Node, version: int) -> Replacement:
    """Scale and bias were one number a group; they are one a channel.

    ONNX's version converter keeps the node as it is.
    """
    shape, groups = shape_of(node.inputs[0]) or (), node.attributes.get_int("num_groups", 1)
    if len(shape) < 2 or groups < 1 or shape[1] % groups:
        raise InvalidNodeError(f"input of shape {list(shape)} has no {groups} groups of channels")
    repeats = shape[1] // groups
    nodes: list[ir.Node] = []
    spread: list[ir.Value | None] = []
    for value in node.inputs[1:]:
        if shape_of(value) != (groups,):
            raise InvalidNodeError(f"scale and bias must have {groups} elements")
        column = ir.node("Reshape", [value, _ints(groups, 1)])
        expanded = ir.node("Expand", [column.outputs[0], _ints(groups, repeats)])
        row = ir.node("Reshape", [expanded.outputs[0], _ints(shape[1])])
        nodes += [column, expanded, row]
        spread.append(row.outputs[0])
    attributes = dict(node.attributes)
    return _replacement(
        *nodes, ir.node("GroupNormalization", [node.inputs[0], *spread], attributes)
    )


def _hardmax(node: ir.Node, version: int) -> Replacement:
    """Hardmax saw its input as a matrix, split at its axis.

    ONNX's version converter keeps the node as it is.
    """
    value, shape = node.inputs[0], shape_of(node.inputs[0]) or ()
    axis = node.attributes.get_int("axis", 1)
    if not -len(shape) <= axis <= len(shape):
        raise InvalidNodeError(f"axis {axis} is not in an input of {len(shape)} dimensions")
    if axis % max(len(shape), 1) == len(shape) - 1:
        return _replacement(ir.node("Hardmax", [value], {"axis": -1}))
    matrix = ir.node("Flatten", [value], {"axis": axis})
    inner = ir.node("Hardmax", [matrix.outputs[0]], {"axis": -1})
    return _replacement(matrix, inner, ir.node("Reshape", [inner.outputs[0], _ints(*shape)]))


def _resize(node: ir.Node, version: int) -> Replacement:
    """Upsample, and Resize before opset 11: output element i lies at i / scale of the input.

    ONNX's version converter leaves the coordinates to Resize's default, which is another. The
    nearest element is the one before, but the one after where it gets smaller, as in ONNX Runtime.
    """
    listed = node.attributes.get("scales")
    scales = array_of(node.inputs[1]) if listed is None else np.array(listed.as_floats())
    if scales is None:
        raise InvalidNodeError("its scales are not constant")
    if len(scales) != len(shape_of(node.inputs[0]) or ()) or not (scales > 0).all():
        raise InvalidNodeError(f"its scales are {scales.tolist()}")
    mode = node.attributes.get_string("mode", "nearest")
    attributes = {"mode": mode, "coordinate_transformation_mode": "asymmetric"}
    if mode == "nearest":
        if (scales < 1).any() and (scales > 1).any():
            raise InvalidNodeError(f"its scales {scales.tolist()} enlarge and reduce")
        attributes["nearest_mode"] = "ceil" if (scales < 1).any() else "floor"
    constant = _constant(scales.astype(np.float32))
    return _replacement(ir.node("Resize", [node.inputs[0], None, constant], attributes))


def _roi_align(node: ir.Node, version: int) -> Replacement:
    """The coordinates had no half pixel; ONNX's version converter leaves them to the default."""
    mode = ir.AttrString("coordinate_transformation_mode", "output_half_pixel")
    attributes = {**node.attributes, mode.name: mode}
    return _replacement(ir.node("RoiAlign", node.inputs, attributes))


_ADAPTERS: Final[dict[str, Callable[[ir.Node, int], Replacement]]] = {
    "BatchNormalization": _batch_normalization,
    "Dropout": _dropout,
    "GroupNormalization": _group_normalization,
    "Hardmax": _hardmax,
    "Resize": _resize,
    "RoiAlign": _roi_align,
    "Upsample": _resize,
}


def _replacement(*nodes: ir.Node) -> Replacement:
    return Replacement(nodes, (nodes[-1].outputs[0],))


def _ints(*numbers: int) -> ir.Value:
    return _constant(np.array(numbers, np.int64))


def _constant(array: np.ndarray) -> ir.Value:
    return ir.val("", const_value=ir.Tensor(array))
