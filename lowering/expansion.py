"""An operator's definition as an ONNX function, followed for one node whose inputs are known.

Following is partial evaluation: shapes are static, so whatever the definition computes from shapes
and attributes is computed here, and branches on it are decided. What is left is plain operators.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from . import evaluation
from .importers.inference import InvalidNodeError, infer
from .matching import shape_of

if TYPE_CHECKING:
    import onnx

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
    try:
        follower.follow(definition.function, scope)
        outputs = tuple(
            scope[inner]
            if inner is not None and (outer.uses() or outer.is_graph_output())
            else None
            for inner, outer in zip(definition.outputs, node.outputs, strict=False)
        )
        return Expanded(follower.keep(outputs), outputs)
    finally:
        follower.release()


class _Follower:
    """Follows a body, step by step; `nodes` is what is left to compute at run time."""

    def __init__(self, opset: int, attributes: Mapping[str, ir.Attr]) -> None:
        self._steps: list[ir.Node] = []
        self._kept: set[ir.Node] = set()
        # Constants are initializers of a graph of their own while the body is followed.
        self._constants = ir.Graph([], [], nodes=[])
        self._opset = opset
        self._attributes = attributes

    def follow(self, body: Iterable[ir.Node], scope: Scope) -> None:
        """Follow nodes; `scope` says what stands for each value, and learns their outputs."""
        for node in body:
            inputs = [None if value is None else scope[value] for value in node.inputs]
            if node.op_type == "If":
                outputs = self._branch(node, inputs[0], scope)
            else:
                outputs = self._step(node, inputs)
            scope.update(zip(node.outputs, outputs, strict=True))

    def keep(self, outputs: Sequence[ir.Value | None]) -> tuple[ir.Node, ...]:
        """Return the steps that the outputs depend on, in order."""
        wanted = {value for value in outputs if value is not None}
        for step in reversed(self._steps):
            if not wanted.isdisjoint(step.outputs):
                self._kept.add(step)
                wanted.update(value for value in step.inputs if value is not None)
        return tuple(step for step in self._steps if step in self._kept)

    def release(self) -> None:
        """Let go of the constants, and let steps that are not kept use nothing any longer."""
        for name in list(self._constants.initializers):
            del self._constants.initializers[name]
        for step in self._steps:
            if step not in self._kept:
                step.resize_inputs(0)

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

    def _step(self, node: ir.Node, inputs: Sequence[ir.Value | None]) -> Sequence[ir.Value]:
        """Compute a node if all it reads is known; else add it to what is left."""
        outputs = [ir.Value(name=value.name) for value in node.outputs]
        attributes = list(self._resolved(node))
        step = ir.Node(node.domain, node.op_type, inputs, attributes, outputs=outputs)
        self._steps.append(step)
        tensors = self._computed(step)
        if tensors is not None:
            return [self._constant(tensor) for tensor in tensors]
        self._infer(step)
        return outputs

    def _resolved(self, node: ir.Node) -> Iterable[ir.Attr]:
        """Yield the attributes, those that refer to the function's own taken from the call."""
        for attr in node.attributes.values():
            if not attr.is_ref():
                yield attr
            elif found := self._attributes.get(str(attr.ref_attr_name)):
                yield ir.Attr(attr.name, found.type, found.value)

    def _constant(self, tensor: ir.TensorProtocol) -> ir.Value:
        name = f"constant_{len(self._constants.initializers)}"
        value = ir.val(name, const_value=tensor)
        self._constants.register_initializer(value)
        return value

    def _computed(self, step: ir.Node) -> Sequence[ir.TensorProtocol] | None:
        """Return the outputs of a step if all that it reads is known, and it is computed here."""
        if step.op_type == "Constant":
            tensor = ir.convenience.get_const_tensor(step.outputs[0])
            return None if tensor is None else [tensor]
        if step.op_type in ("Shape", "Size"):
            return _shape_read(step)
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
        """Give the step's outputs their dtypes and static shapes."""
        try:
            inferred = infer(step, {"": self._opset})
        except InvalidNodeError as error:
            raise NotFollowedError(f"{step.op_type} in its definition: {error}") from error
        for value, (dtype, dims) in zip(step.outputs, inferred, strict=True):
            known = [dim for dim in dims or () if dim is not None]
            if dims is None or len(known) < len(dims) or dtype == ir.DataType.UNDEFINED:
                raise NotFollowedError(f"{step.op_type} in its definition gives an unknown shape")
            value.type, value.shape = ir.TensorType(dtype), ir.Shape(known)


def _shape_read(step: ir.Node) -> Sequence[ir.TensorProtocol] | None:
    shape = shape_of(step.inputs[0])
    if shape is None:
        return None
    if step.op_type == "Size":
        return [ir.Tensor(np.array(math.prod(shape), np.int64))]
    start, end = step.attributes.get_int("start", 0), step.attributes.get_int("end", len(shape))
    return [ir.Tensor(np.array(shape[start:end], np.int64))]
