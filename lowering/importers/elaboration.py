"""One walk over a graph, after which every node is in the working opset and every value static.

In topological order, each node sees inputs whose dtypes and static shapes are known, and small
constants: it is said in the working opset, its outputs' types are inferred, and it is computed if
all it reads is known. So the chains of small integer arithmetic that exporters write around shapes
are gone before the Reshape or Resize at their end is looked at. Whatever goes wrong at one node is
noted, what depends on it is passed over, and the walk goes on: all findings come at once.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from math import prod
from typing import Final

import numpy as np
import onnx_ir as ir

from ...errors import Problem
from ..evaluation import compute, foresee
from ..matching import array_of, is_op, is_random, shape_of, tensor_of
from ..opset import WORKING_OPSET
from ..rules.operators import REFUSED
from ..rules.places import place
from .calls import instantiate
from .contributed import said_in_onnx
from .contributed_operators import is_contributed
from .conversion import convert, is_converted
from .inference import Dims, InvalidNodeError, infer
from .limits import MAX_FOLDED_ELEMENTS, MAX_NODES
from .onnx_tensors import size_fault
from .splicing import Names, Replacement, replace_by_constants, splice, take_branch

_SHAPES_OF: Final = ("Shape", "Size")


def elaborate(model: ir.Model, dimensions: Mapping[str, int]) -> list[Problem]:
    """Bring a model with static inputs to the working opset, with all types and shapes.

    Functions are inlined, and so are branches of If whose condition is constant; all else that
    holds graphs, and sequences, random numbers and text, are refused as the dialect's table says.

    Args:
        model: sorted, changed in place; its functions do not call each other in a circle.
        dimensions: the sizes of the symbolic dimensions that the file names.

    Returns:
        What cannot be imported, in the order of the graph.
    """
    walk = _Walk(model, dimensions)
    walk.run()
    return walk.problems


class _Walk:
    def __init__(self, model: ir.Model, dimensions: Mapping[str, int]) -> None:
        self.problems: list[Problem] = []
        self._graph = model.graph
        self._functions = model.functions
        self._dimensions = dimensions
        self._source = model.opset_imports.get("", WORKING_OPSET)
        self._opsets = {**model.opset_imports, "": WORKING_OPSET}
        self._names = Names(model.graph)
        self._unknown: set[ir.Value] = set()

    def run(self) -> None:
        pending = collections.deque(self._graph)
        visited = 0
        while pending:
            visited += 1
            if visited > 4 * MAX_NODES:
                self.problems.append(Problem("model", f"comes down to over {visited} nodes"))
                return
            node = pending.popleft()
            try:
                pending.extendleft(reversed(self._visit(node)))
            except InvalidNodeError as error:
                self.problems.append(Problem(place(node), str(error)))
                self._unknown.update(node.outputs)

    def _visit(self, node: ir.Node) -> Sequence[ir.Node]:
        """Bring one node there; return the nodes that stand for it and are still to be visited."""
        if not self._unknown.isdisjoint(node.inputs):
            self._unknown.update(node.outputs)
            return ()
        function = self._functions.get(node.op_identifier())
        if function is not None:
            return splice(node, self._called(node, function), self._names)
        if is_contributed(node.domain, node.op_type):
            return splice(node, said_in_onnx(node), self._names)
        if is_op(node, "Constant"):
            self._lift(node)
            return ()
        if is_op(node, "If") and (condition := array_of(node.inputs[0])) is not None:
            if condition.size != 1:
                raise InvalidNodeError(f"its condition has shape {list(condition.shape)}")
            branch = "then_branch" if condition.item() else "else_branch"
            node.version = node.version or self._source
            return take_branch(node, node.attributes[branch].as_graph(), self._names)
        if node.domain == "":
            if node.op_type in REFUSED:
                raise InvalidNodeError(f"{node.op_type} is not supported: {REFUSED[node.op_type]}")
            version = node.version or self._source
            if version != WORKING_OPSET and is_converted(node.op_type, version):
                return splice(node, convert(node, version), self._names)
            node.version = WORKING_OPSET
        self._type(node)
        tensors = self._computed(node)
        if tensors is not None:
            replace_by_constants(node, tensors, self._names)
        return ()

    def _called(self, node: ir.Node, function: ir.Function) -> Replacement:
        """Return what a call of a function of the model comes down to."""
        defaults = {
            attr.name: attr for attr in function.attributes.values() if attr.value is not None
        }
        version = function.opset_imports.get("", self._source)
        copy = function.clone()
        return instantiate(node, copy, copy.outputs, defaults, version)

    def _lift(self, node: ir.Node) -> None:
        """Make a Constant an initializer."""
        try:
            tensor = ir.convenience.get_const_tensor(node.outputs[0])
        except ValueError as error:
            raise InvalidNodeError("it must have exactly one value") from error
        if tensor is None:
            raise InvalidNodeError("it refers to an attribute that is not given")
        replace_by_constants(node, (tensor,), self._names)

    def _type(self, node: ir.Node) -> None:
        """Give every output of a node its dtype and its static shape."""
        for value, (dtype, dims) in zip(node.outputs, infer(node, self._opsets), strict=True):
            if not value.name:
                continue
            if dtype == ir.DataType.UNDEFINED:
                dtype = value.dtype or dtype
            if dtype == ir.DataType.UNDEFINED:
                raise InvalidNodeError(f"the dtype of its output {value.name!r} cannot be inferred")
            if value.dtype not in (None, ir.DataType.UNDEFINED, dtype):
                declared = value.type if value.dtype is None else value.dtype.name
                raise InvalidNodeError(
                    f"gives {dtype.name}, but its output {value.name!r} is declared {declared}"
                )
            merged = self._merged(dims, value.shape)
            shape = None if merged is None else [dim for dim in merged if dim is not None]
            if merged is None or shape is None or len(shape) < len(merged):
                raise InvalidNodeError(_not_static(node, value, merged))
            if fault := size_fault(dtype, tuple(shape)):
                raise InvalidNodeError(f"its output {value.name!r} {fault}")
            if is_op(node, "Reshape") and prod(shape) != prod(shape_of(node.inputs[0]) or ()):
                before = list(shape_of(node.inputs[0]) or ())
                raise InvalidNodeError(f"{before} cannot be reshaped to {shape}")
            value.type = ir.TensorType(dtype)
            value.shape = ir.Shape(shape)

    def _merged(self, inferred: Dims | None, declared: ir.Shape | None) -> Dims | None:
        """Return an inferred shape; the file's own says what inference does not know."""
        if declared is None or (inferred is not None and len(inferred) != len(declared)):
            return inferred
        known = [
            dim if isinstance(dim, int) else self._dimensions.get(str(dim.value))
            for dim in declared
        ]
        known = [None if dim is not None and dim < 0 else dim for dim in known]
        if inferred is None:
            return known
        return [a if a is not None else b for a, b in zip(inferred, known, strict=True)]

    def _computed(self, node: ir.Node) -> tuple[ir.TensorProtocol, ...] | None:
        """Return the outputs of a typed node if they are small and all it reads is known."""
        if node.domain != "" or is_random(node) or _gives_output(node):
            return None
        sizes = [prod(shape_of(value) or ()) for value in node.outputs if value.name]
        if max(sizes, default=0) > MAX_FOLDED_ELEMENTS:
            return None
        if node.op_type in _SHAPES_OF:
            return (_shape(node),)
        tensors = [tensor_of(value) for value in node.inputs]
        for value, tensor in zip(node.inputs, tensors, strict=True):
            if value is not None and (tensor is None or tensor.size > MAX_FOLDED_ELEMENTS):
                return None
        if node.op_type == "Identity":
            return tuple(tensor for tensor in tensors if tensor is not None)
        results = foresee(node, tensors, WORKING_OPSET)
        if results is None:
            return None
        try:
            found = iter(compute(node, tensors, results, WORKING_OPSET) or ())
        except ValueError as error:  # numpy, for what inference let through
            raise InvalidNodeError(f"it cannot be computed: {error}") from error
        empty = ir.Tensor(np.zeros(0, np.float32))  # stands for an output that is left out
        outputs = tuple(next(found, None) if v.name else empty for v in node.outputs)
        known = tuple(tensor for tensor in outputs if tensor is not None)
        return known if len(known) == len(outputs) else None


def _gives_output(node: ir.Node) -> bool:
    """Whether the node is there to give a constant as an output of the graph."""
    return node.op_type == "Identity" and node.outputs[0].is_graph_output()


def _shape(node: ir.Node) -> ir.TensorProtocol:
    dims = shape_of(node.inputs[0]) or ()
    if node.op_type == "Size":
        return ir.Tensor(np.array(np.prod(dims, dtype=np.int64)))
    start = node.attributes.get_int("start", 0)
    end = node.attributes.get_int("end", len(dims))
    return ir.Tensor(np.array(dims, np.int64)[start:end])


def _not_static(node: ir.Node, value: ir.Value, dims: Dims | None) -> str:
    shown = "of no known rank" if dims is None else str(["?" if d is None else d for d in dims])
    steering = [v.name for v in node.inputs[1:] if v is not None and tensor_of(v) is None]
    cause = f"; it depends on the data of {', '.join(map(repr, steering))}" if steering else ""
    return f"the shape of its output {value.name!r} is not static: {shown}{cause}"
