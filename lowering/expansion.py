"""An operator's definition as an ONNX function, followed for one node whose inputs are known.

Following is partial evaluation: shapes are static, so whatever the definition computes from shapes
and attributes is computed here, and branches on it are decided. What is left is plain operators.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from . import evaluation
from .matching import shape_of

if TYPE_CHECKING:
    import onnx

#: Constants of so many elements at most are shown to shape inference.
_SHOWN = 1024

Scope = dict[ir.Value, ir.Value | None]


class NotFollowedError(Exception):
    """The definition cannot be followed; the message says why."""


@dataclasses.dataclass(frozen=True)
class Expanded:
    """What a node comes down to.

    Attributes:
        nodes: in order; they read the inputs of the node and each other's outputs. Constants that
            they read are values with a tensor, in no graph yet.
        outputs: the values that stand for the node's outputs; None for one that is not used.
    """

    nodes: tuple[ir.Node, ...]
    outputs: tuple[ir.Value | None, ...]


@dataclasses.dataclass(frozen=True)
class Definition:
    """A function, its results in the order of the operator's outputs, and attribute defaults.

    A result is None where the function leaves out an output that is not asked for.
    """

    function: ir.Function
    outputs: tuple[ir.Value | None, ...]
    defaults: dict[str, ir.Attr]


def definition_of(node: ir.Node, opset: int) -> Definition | None:
    """Return what ONNX defines the node's operator by; None if it is not a function."""
    import onnx  # heavy, and rarely needed

    try:
        # Its stubs lack what is asked of it here.
        schema: Any = onnx.defs.get_schema(node.op_type, opset, node.domain)
    except onnx.defs.SchemaError:
        return None
    proto = schema.function_body if schema.has_function else _body_in_context(node, schema, opset)
    if proto is None or not proto.node:
        return None
    produced = {name for inner in proto.node for name in inner.output}
    names = list(proto.output)
    proto.output[:] = [name for name in names if name in produced]
    function = ir.serde.deserialize_function(proto)
    found = {str(value.name): value for value in function.outputs}
    defaults = [
        ir.serde.deserialize_attribute(attribute.default_value)
        for attribute in schema.attributes.values()
        if attribute.default_value.name
    ]
    return Definition(
        function,
        tuple(found.get(name) for name in names),
        {attribute.name: attribute for attribute in defaults},
    )


def _body_in_context(node: ir.Node, schema: Any, opset: int) -> onnx.FunctionProto | None:
    """Return the body of an operator whose definition depends on the types of its inputs."""
    import onnx

    versions = [v for v in schema.context_dependent_function_opset_versions if v <= opset]
    if not versions:
        return None
    types = [
        b""
        if value is None or value.dtype is None
        else onnx.helper.make_tensor_type_proto(value.dtype, shape_of(value)).SerializeToString()
        for value in node.inputs
    ]
    serialized = ir.serde.serialize_node(node).SerializeToString()
    body: bytes = schema.get_context_dependent_function_with_opset_version(
        max(versions), serialized, types
    )
    proto = onnx.FunctionProto()
    proto.ParseFromString(body)
    return proto


def expand(node: ir.Node, opset: int) -> Expanded:
    """Follow the definition of a node whose inputs have static shapes.

    Raises:
        NotFollowedError: there is no definition, or it branches on data, or loops, or leaves a
            shape open.
    """
    definition = definition_of(node, opset)
    if definition is None:
        raise NotFollowedError(f"ONNX does not define {node.op_type} by a function")
    formal = definition.function.inputs
    given = (*node.inputs, *(None,) * (len(formal) - len(node.inputs)))
    scope: Scope = dict(zip(formal, given, strict=True))
    follower = _Follower(opset, {**definition.defaults, **node.attributes})
    follower.follow(definition.function, scope)
    outputs = tuple(
        scope[inner] if inner is not None and (outer.uses() or outer.is_graph_output()) else None
        for inner, outer in zip(definition.outputs, node.outputs, strict=False)
    )
    return Expanded(_needed(follower.nodes, outputs), outputs)


class _Follower:
    def __init__(self, opset: int, attributes: Mapping[str, ir.Attr]) -> None:
        self.nodes: list[ir.Node] = []
        self._opset = opset
        self._attributes = attributes

    def follow(self, body: Iterable[ir.Node], scope: Scope) -> None:
        for node in body:
            inputs = [None if value is None else scope[value] for value in node.inputs]
            attributes = list(self._resolved(node))
            if node.op_type == "If":
                outputs = self._branch(node, inputs[0], scope)
            else:
                outputs = self._step(node, inputs, attributes)
            scope.update(zip(node.outputs, outputs, strict=True))

    def _resolved(self, node: ir.Node) -> Iterable[ir.Attr]:
        """Yield the attributes, those that refer to the function's own taken from the call."""
        for attr in node.attributes.values():
            if not attr.is_ref():
                yield attr
            elif found := self._attributes.get(str(attr.ref_attr_name)):
                yield ir.Attr(attr.name, found.type, found.value)

    def _branch(
        self, node: ir.Node, condition: ir.Value | None, scope: Scope
    ) -> Sequence[ir.Value | None]:
        if condition is None or condition.const_value is None:
            raise NotFollowedError("its definition branches on data")
        taken = bool(condition.const_value.numpy())
        branch = node.attributes["then_branch" if taken else "else_branch"].as_graph()
        inner = dict(scope)
        self.follow(branch, inner)
        return [inner[value] for value in branch.outputs]

    def _step(
        self, node: ir.Node, inputs: Sequence[ir.Value | None], attributes: Sequence[ir.Attr]
    ) -> Sequence[ir.Value | None]:
        """Compute the node if all it reads is known; else add it to what is left."""
        outputs = [ir.Value(name=value.name) for value in node.outputs]
        step = ir.Node(node.domain, node.op_type, inputs, attributes, outputs=outputs)
        tensors = self._computed(step)
        if tensors is not None:
            step.graph = None
            for index in range(len(inputs)):
                step.replace_input_with(index, None)
            return [_constant(str(v.name), t) for v, t in zip(outputs, tensors, strict=True)]
        self._infer(step)
        self.nodes.append(step)
        return outputs

    def _computed(self, step: ir.Node) -> Sequence[ir.TensorProtocol] | None:
        if step.op_type == "Constant":
            tensor = ir.convenience.get_const_tensor(step.outputs[0])
            return None if tensor is None else [tensor]
        if step.op_type in ("Shape", "Size"):
            shape = shape_of(step.inputs[0])
            if shape is None:
                return None
            if step.op_type == "Size":
                return [ir.Tensor(np.array(np.prod(shape), np.int64))]
            start = step.attributes.get_int("start", 0)
            end = step.attributes.get_int("end", len(shape))
            return [ir.Tensor(np.array(shape[start:end], np.int64))]
        tensors = [None if value is None else value.const_value for value in step.inputs]
        pairs = zip(step.inputs, tensors, strict=True)
        if any(value is not None and tensor is None for value, tensor in pairs):
            return None
        if step.op_type == "Identity" and tensors[0] is not None:
            return [tensors[0]]
        results = evaluation.foresee(step, tensors, self._opset)
        if results is None:
            return None
        return evaluation.compute(step, tensors, results, self._opset)

    def _infer(self, step: ir.Node) -> None:
        """Give the node's outputs their dtypes and static shapes."""
        import onnx

        proto = ir.serde.serialize_node(step)
        types, data = {}, {}
        for index, value in enumerate(step.inputs):
            if value is None:
                continue
            shape = shape_of(value)
            if value.dtype is None or shape is None:
                raise NotFollowedError(f"its input {value.name!r} has no static shape")
            name = proto.input[index] = f"i{index}"
            types[name] = onnx.helper.make_tensor_type_proto(value.dtype, shape)
            if value.const_value is not None and value.const_value.size <= _SHOWN:
                data[name] = ir.serde.serialize_tensor(value.const_value)
        names = [f"o{index}" if name else "" for index, name in enumerate(proto.output)]
        proto.output[:] = names
        schema = onnx.defs.get_schema(step.op_type, self._opset, step.domain)
        imports = [onnx.helper.make_opsetid("", self._opset)]
        try:
            found = onnx.shape_inference.infer_node_outputs(
                schema, proto, types, data, opset_imports=imports
            )
        except onnx.shape_inference.InferenceError as error:
            raise NotFollowedError(f"{step.op_type} in its definition: {error}") from error
        for name, value in zip(names, step.outputs, strict=True):
            if name:
                _set_type(step, value, found.get(name))


def _set_type(step: ir.Node, value: ir.Value, found: onnx.TypeProto | None) -> None:
    if found is not None:
        value.shape = ir.serde.deserialize_type_proto_for_shape(found)
        value.type = ir.serde.deserialize_type_proto_for_type(found)
    if value.dtype is None or shape_of(value) is None:
        raise NotFollowedError(
            f"{step.op_type} in its definition gives a shape that depends on data"
        )


def _constant(name: str, tensor: ir.TensorProtocol) -> ir.Value:
    return ir.Value(
        name=name,
        shape=ir.Shape(tensor.shape.numpy()),
        type=ir.TensorType(tensor.dtype),
        const_value=tensor,
    )


def _needed(nodes: Sequence[ir.Node], outputs: Sequence[ir.Value | None]) -> tuple[ir.Node, ...]:
    """Return the nodes that the outputs depend on, in order."""
    wanted = {value for value in outputs if value is not None}
    kept = []
    for node in reversed(nodes):
        if any(value in wanted for value in node.outputs):
            kept.append(node)
            wanted.update(value for value in node.inputs if value is not None)
        else:
            for index in range(len(node.inputs)):
                node.replace_input_with(index, None)
    return tuple(reversed(kept))
