"""What holds for every model from the importers on, and between all passes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

import onnx_ir as ir

from .. import own_operators
from ..matching import array_of, is_op, shape_of
from ..opset import DOMAIN, IR_VERSION, WORKING_OPSET
from ..parameters import schema_of
from .operators import REFUSED
from .places import Breach, Breaches, place, values_of

#: Dtypes that no value has, since they are not those of real numbers or booleans.
REFUSED_DTYPES: Final = (
    ir.DataType.COMPLEX64,
    ir.DataType.COMPLEX128,
    ir.DataType.STRING,
    ir.DataType.UNDEFINED,
)


def versions(model: ir.Model) -> Iterator[Breach]:
    """Models are written in one IR version and one opset, and in our own domain.

    The importer brings every model there.
    """
    if model.ir_version != IR_VERSION:
        yield "model", f"IR version {model.ir_version} instead of {IR_VERSION}"
    known = {"": WORKING_OPSET, DOMAIN: 1}
    for domain, version in sorted(model.opset_imports.items()):
        if known.get(domain) != version:
            yield "model", f"opset {version} of domain {domain or 'ai.onnx'!r}"


def known_operators(model: ir.Model) -> Iterator[Breach]:
    """Operators are those of ONNX that work on tensors, and our own.

    Replace the operator before export, or compute what it does outside the model.
    """
    for node in model.graph:
        standard = node.domain == "" and schema_of(node.op_type) is not None
        if not standard and not own_operators.is_own(node):
            called = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
            yield place(node), f"no operator {called!r} is known at opset {WORKING_OPSET}"
        elif standard and node.op_type in REFUSED:
            yield place(node), f"{node.op_type} is not supported: {REFUSED[node.op_type]}"


def inference_only(model: ir.Model) -> Iterator[Breach]:
    """Models are for inference.

    Export the model in evaluation mode.
    """
    for node in model.graph:
        if node.domain == "" and node.attributes.get_int("training_mode"):
            yield place(node), "training_mode = 1"
        elif is_op(node, "Dropout") and _drops(node):
            yield place(node), "its training_mode is not false"


def _drops(node: ir.Node) -> bool:
    ratio, mode = [*node.inputs[1:], None, None][:2]
    training, share = array_of(mode), array_of(ratio)
    if mode is None or (training is not None and not training.any()):
        return False
    return share is None or bool(share.any())


def one_graph(model: ir.Model) -> Iterator[Breach]:
    """There is one graph, without graphs or references in attributes.

    The importer inlines functions and refuses control flow.
    """
    for node in model.graph:
        for name, attribute in sorted(node.attributes.items()):
            if attribute.is_ref():
                yield place(node), f"attribute {name!r} refers to {attribute.ref_attr_name!r}"
            elif attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS):
                yield place(node), f"attribute {name!r} is a graph"


def own_operators_defined(model: ir.Model) -> Iterator[Breach]:
    """The functions of a model define our own operators, all that it uses, as we do.

    So every stage is a model that any ONNX runtime can run.
    """
    used = {node.op_type: node for node in model.graph if own_operators.is_own(node)}
    for domain, name, overload in sorted(model.functions):
        if domain != DOMAIN or name not in own_operators.operators():
            yield f"function {name!r}", f"it defines an operator of domain {domain!r}"
        elif overload or not own_operators.is_definition(model.functions[domain, name, overload]):
            yield f"function {name!r}", "it is not our definition of the operator"
    for name, node in sorted(used.items()):
        if (DOMAIN, name, "") not in model.functions:
            yield place(node), f"no function defines {name!r}"


def names(model: ir.Model) -> Iterator[Breach]:
    """Every node and value has a name, and no two nodes or values have the same.

    Messages and bundles call them by it.
    """
    yield from _not_unique("node", [node.name for node in model.graph])
    yield from _not_unique("value", [value.name for value in values_of(model)])


def _not_unique(kind: str, found: Iterable[str | None]) -> Iterator[Breach]:
    for name, count in Counter(found).items():
        if not name:
            yield "graph", f"{count} {kind}s without a name"
        elif count > 1:
            yield f"{kind} {name!r}", f"{count} {kind}s have the name"


def typed(model: ir.Model) -> Iterator[Breach]:
    """Every value is a tensor of real numbers or booleans, of a known dtype."""
    for value in values_of(model):
        if not isinstance(value.type, ir.TensorType) or value.dtype is None:
            yield place(value), f"its type is {value.type}"
        elif value.dtype in REFUSED_DTYPES:
            yield place(value), f"its dtype is {value.dtype.name}"


def static_shapes(model: ir.Model) -> Iterator[Breach]:
    """Every value has a static shape.

    Memory is planned before anything runs. Fix the inputs' shapes with --shape; a shape that
    depends on data (of NonZero, Compress, Unique, NonMaxSuppression, TopK with a computed K ...)
    must be replaced before export.
    """
    for value in values_of(model):
        if shape_of(value) is None:
            yield place(value), f"its shape is {value.shape if value.shape else 'not known'}"


def constants(model: ir.Model) -> Iterator[Breach]:
    """Constants are initializers: with a value, used, no input of the graph, no Constant node."""
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if tensor is None:
            yield place(value), "the constant has no value"
        elif (tensor.dtype, tuple(tensor.shape)) != (value.dtype, shape_of(value)):
            yield (
                place(value),
                f"the constant is {tensor.dtype.name}{tensor.shape}, not as declared",
            )
        if value.is_graph_input():
            yield place(value), "the constant is an input of the graph"
        elif not value.uses() and not value.is_graph_output():
            yield place(value), "nothing uses the constant"
    for node in model.graph:
        if node.domain == "" and node.op_type == "Constant":
            yield place(node), "the constant is a node"


def order(model: ir.Model) -> Iterator[Breach]:
    """Nodes stand after those whose outputs they use, and use nothing from outside the graph."""
    known = {*model.graph.inputs, *model.graph.initializers.values()}
    for node in model.graph:
        for value in node.inputs:
            if value is not None and value not in known:
                yield place(node), f"value {value.name!r} is not known there"
        known.update(node.outputs)
    for value in model.graph.outputs:
        if value not in known:
            yield place(value), "no node gives this output"


IMPORTED: Final[tuple[Breaches, ...]] = (
    versions,
    known_operators,
    inference_only,
    one_graph,
    own_operators_defined,
    names,
    typed,
    static_shapes,
    constants,
    order,
)
