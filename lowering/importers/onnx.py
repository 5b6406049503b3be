"""Import an ONNX file: from untrusted bytes to one graph in the working opset, all static."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from ...errors import ModelError, Problem
from ..opset import IR_VERSION, SOURCE_OPSET, WORKING_OPSET
from .elaboration import elaborate
from .inference import REJECTIONS, reason
from .input_shapes import declared_dims, fix_input_shapes
from .onnx_file import read
from .onnx_functions import settle_imports
from .onnx_proto import normalize, skeleton
from .onnx_structure import Structure
from .onnx_tensors import TensorReader


def load(path: Path, shapes: Mapping[str, tuple[int, ...]] | None = None) -> ir.Model:
    """Return the model of an ``.onnx`` file, ready for passes.

    It is one graph in the working opset; its functions are inlined; every node has a unique name;
    every value has a dtype and a static shape; constants are initializers, all used and none an
    input; external data is mapped, not read. `Model.metadata_props` notes the opset of the file.

    Args:
        path: the file; its external data must lie in its folder.
        shapes: shapes of inputs by name. A symbolic first dimension is 1 without it.

    Raises:
        ModelError: the file is no valid model or cannot be imported; lists every finding.
        UsageError: `shapes` does not fit the model, or more of it is needed.
    """
    reader = TensorReader(path.parent)
    model = _deserialized(_parsed(path, reader), reader)
    source = model.opset_imports.get("", 0)
    _strip(model)
    _settle_constants(model)
    common.RemoveUnusedNodesPass()(model)
    dimensions = fix_input_shapes(model, shapes or {})
    problems = settle_imports(model) or elaborate(model, dimensions)
    if problems:
        raise ModelError(f"{path.name} cannot be imported", problems)
    return _finished(model, source)


def declared(path: Path) -> dict[str, tuple[int | str | None, ...] | None]:
    """Return the dimensions of each input as the file has them: sizes, names, None for neither.

    Raises:
        ModelError: the file holds no ONNX model; whether it is a valid one is not looked at.
    """
    return declared_dims(read(path))


def _parsed(path: Path, reader: TensorReader) -> onnx.ModelProto:
    """Return the normalized protobuf of a valid model."""
    proto = read(path)
    problems = Structure(proto, reader).problems
    if not problems:
        normalize(proto)
        problems = list(_checked(proto))
    if problems:
        raise ModelError(f"{path.name} is not a valid ONNX model", problems)
    return proto


def _checked(proto: onnx.ModelProto) -> Iterator[Problem]:
    """Yield the finding of onnx.checker, which sees the model without its weights."""
    try:
        # A function may be written in another opset than the model: each node is converted alone.
        onnx.checker.check_model(skeleton(proto), skip_opset_compatibility_check=True)
    except REJECTIONS as error:
        yield Problem("onnx.checker", reason(error))


def _deserialized(proto: onnx.ModelProto, reader: TensorReader) -> ir.Model:
    try:
        model = ir.serde.deserialize_model(proto)
    except (ir.serde.SerdeError, *REJECTIONS) as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise ModelError(
            "the file is not a valid ONNX model", [Problem("model", reason(cause))]
        ) from error
    for graph in [model.graph, *(function.graph for function in model.functions.values())]:
        _read_tensors(graph, reader)
    return model


def _read_tensors(graph: ir.Graph, reader: TensorReader) -> None:
    """Let every tensor be an array: of the file that it lies in, or copied out of the protobuf."""
    for inner in [graph, *graph.subgraphs()]:
        for value in inner.initializers.values():
            if value.const_value is not None:
                value.const_value = _as_array(value.const_value, reader)
    for node in graph.all_nodes():
        for name, attribute in list(node.attributes.items()):
            if attribute.type == ir.AttributeType.TENSOR:
                node.attributes[name] = ir.AttrTensor(name, _as_array(attribute.value, reader))


def _as_array(tensor: ir.TensorProtocol, reader: TensorReader) -> ir.TensorProtocol:
    if isinstance(tensor, ir.ExternalTensor):
        return reader.map(tensor)
    # Once: a protobuf hands out a copy at every look. What is packed or text stays as it is.
    if isinstance(tensor, ir.serde.TensorProtoTensor) and tensor.dtype.bitwidth >= 8:
        return ir.Tensor(tensor.numpy(), tensor.dtype, name=tensor.name)
    return tensor


def _strip(model: ir.Model) -> None:
    """Drop what a bundle must not carry, above all the traces of the exporter's source files."""
    common.ClearMetadataAndDocStringPass()(model)
    model.device_configurations = ()
    for node in model.graph.all_nodes():
        node.device_configurations = ()
    for graph in [*model.graphs(), *(function.graph for function in model.functions.values())]:
        for value in ir.convenience.create_value_mapping(graph).values():
            value.doc_string = None
            value.metadata_props.clear()


def _settle_constants(model: ir.Model) -> None:
    """Make initializers that are inputs constants; a constant's own type is what counts."""
    common.RemoveInitializersFromInputsPass()(model)
    for value in model.graph.initializers.values():
        if value.const_value is not None:
            value.type = ir.TensorType(value.const_value.dtype)
            value.shape = ir.Shape(value.const_value.shape.numpy())


def _finished(model: ir.Model, source: int) -> ir.Model:
    """Drop what the walk left unused, and say which ONNX the model is written in."""
    model.functions.clear()
    common.RemoveUnusedNodesPass()(model)
    model.opset_imports[""] = WORKING_OPSET
    common.RemoveUnusedOpsetsPass()(model)
    model.ir_version = IR_VERSION
    model.graph.name = model.graph.name or "graph"
    model.metadata_props[SOURCE_OPSET] = str(source)
    for node in model.graph:
        node.version = None
    return model
