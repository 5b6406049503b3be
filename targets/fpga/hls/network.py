"""The network as hls4ml's importer reads it: few operators, channels last, names of its own making.

hls4ml knows convolutions and poolings of qonnx's channels-last domain, and neither bounds on both
sides, nor products with a bias, nor (rightly) global averages: each of these is written as what
comes to the same. What it is not known to compute rightly is not written at all (`constraints`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper, numpy_helper

from ....lowering.matching import array_of, scalar_of, shape_of

#: qonnx's domain of operators whose data is channels-last, and weights O x kH x kW x I.
CHANNELS_LAST: Final = "qonnx.custom_op.channels_last"

#: What the version of onnx that hls4ml needs can read.
_OPSET: Final = 13
_IR_VERSION: Final = 8


class Writer:
    """An ONNX graph in the making; every value and node gets a new name, and a shape."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.values: list[onnx.ValueInfoProto] = []
        self._names: dict[ir.Value, str] = {}

    def define(self, value: ir.Value, name: str) -> None:
        """Say what a value of the model is called."""
        self._names[value] = name

    def of(self, value: ir.Value | None) -> str:
        """Return what a value is called; a constant is added for each use: hls4ml folds it away."""
        if value is None:
            raise ValueError("an input that a writer needs is left out")
        if value in self._names:
            return self._names[value]
        array = array_of(value)
        if array is None:
            raise ValueError(f"{value.name!r} is neither computed nor a constant")
        return self.constant(array)

    def constant(self, array: np.ndarray) -> str:
        """Add a constant and return its name."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        self.values.append(_info(name, array.shape, array.dtype.name))
        return name

    def add(
        self,
        op: str,
        inputs: list[str],
        shape: tuple[int, ...],
        domain: str = "",
        **attributes: Any,
    ) -> str:
        """Add a node and return the name of its one output, of this shape: the node's own."""
        name = f"{op.lower()}_{len(self.nodes)}"
        node = helper.make_node(op, inputs, [name], name=name, domain=domain, **attributes)
        self.nodes.append(node)
        self.values.append(_info(name, shape))
        return name


def _info(name: str, shape: tuple[int, ...], dtype: str = "float32") -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, kind, shape)


def written(model: ir.Model) -> onnx.ModelProto:
    """Return the model that hls4ml is given, of a canonical channels-last one without problems."""
    writer = Writer()
    for index, value in enumerate(model.graph.inputs):
        writer.define(value, f"input_{index}")
    for node in model.graph:
        writer.define(node.outputs[0], WRITERS[node.op_type](writer, node))
    ends = [writer.of(value) for value in model.graph.outputs]
    known = {value.name: value for value in writer.values}
    graph = helper.make_graph(
        writer.nodes,
        "network",
        [_info(writer.of(value), _shape(value)) for value in model.graph.inputs],
        [known[name] for name in ends],
        writer.constants,
        value_info=[value for name, value in known.items() if name not in ends],
    )
    imports = [helper.make_opsetid("", _OPSET), helper.make_opsetid(CHANNELS_LAST, 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=_IR_VERSION)


def _shape(value: ir.Value | None) -> tuple[int, ...]:
    found = shape_of(value)
    if found is None:
        raise ValueError("a value has no static shape")
    return found


def _result(node: ir.Node) -> tuple[int, ...]:
    return _shape(node.outputs[0])


def _conv(writer: Writer, node: ir.Node) -> str:
    weights = array_of(node.inputs[1])
    if weights is None:
        raise ValueError(f"the weights of {node.name!r} are computed")
    inputs = [writer.of(node.inputs[0]), writer.constant(np.moveaxis(weights, 1, -1))]
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        inputs.append(writer.of(node.inputs[2]))
    names = ("dilations", "group", "kernel_shape", "pads", "strides")
    return writer.add("Conv", inputs, _result(node), CHANNELS_LAST, **_attributes(node, names))


def _attributes(node: ir.Node, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: node.attributes[name].value for name in names if name in node.attributes}


def _pool(writer: Writer, node: ir.Node) -> str:
    op = node.op_type.removesuffix("Nhwc")
    attributes = _attributes(node, ("dilations", "kernel_shape", "pads", "strides"))
    return writer.add(op, [writer.of(node.inputs[0])], _result(node), CHANNELS_LAST, **attributes)


def _global_average(writer: Writer, node: ir.Node) -> str:
    """An average over a window that is the whole image: hls4ml's own global one is wrong."""
    kernel = _shape(node.inputs[0])[1:-1]
    return writer.add(
        "AveragePool",
        [writer.of(node.inputs[0])],
        _result(node),
        CHANNELS_LAST,
        kernel_shape=kernel,
        strides=kernel,
        pads=(0,) * 2 * len(kernel),
    )


def _gemm(writer: Writer, node: ir.Node) -> str:
    weights = array_of(node.inputs[1])
    if weights is None:
        raise ValueError(f"the weights of {node.name!r} are computed")
    turned = weights.T if node.attributes.get_int("transB", 0) else weights
    inputs = [writer.of(node.inputs[0]), writer.constant(turned)]
    product = writer.add("MatMul", inputs, _result(node))
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return product
    return writer.add("Add", [product, writer.of(node.inputs[2])], _result(node))


def _clip(writer: Writer, node: ir.Node) -> str:
    """Relu(x) where 0 is the only bound; with h above, Relu(x) - Relu(x - h)."""
    source, shape = writer.of(node.inputs[0]), _result(node)
    found = writer.add("Relu", [source], shape)
    high = scalar_of(node.inputs[2]) if len(node.inputs) > 2 else None
    if high is None:
        return found
    bound = writer.constant(np.full(1, -high, np.float32))
    above = writer.add("Relu", [writer.add("Add", [source, bound], shape)], shape)
    return writer.add("Sub", [found, above], shape)


def _reshape(writer: Writer, node: ir.Node) -> str:
    shape = _result(node)
    target = writer.constant(np.asarray(shape, np.int64))
    return writer.add("Reshape", [writer.of(node.inputs[0]), target], shape)


def _same(writer: Writer, node: ir.Node) -> str:
    """The operator as it stands."""
    attributes = {name: item.value for name, item in node.attributes.items()}
    inputs = [writer.of(value) for value in node.inputs]
    return writer.add(node.op_type, inputs, _result(node), **attributes)


#: Operator of the canonical dialect -> what writes it.
WRITERS: Final[Mapping[str, Callable[[Writer, ir.Node], str]]] = {
    "Add": _same,
    "AveragePoolNhwc": _pool,
    "Clip": _clip,
    "Concat": _same,
    "ConvNhwc": _conv,
    "Gemm": _gemm,
    "GlobalAveragePoolNhwc": _global_average,
    "MaxPoolNhwc": _pool,
    "Reshape": _reshape,
    "Sigmoid": _same,
    "Tanh": _same,
}
