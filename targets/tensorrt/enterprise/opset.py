"""A lowered model said in an older opset, which is all that a version of TensorRT reads.

The working opset is newer. Of the operators that changed between the two, most only take more
dtypes or have one more attribute: a node that uses neither means the same, word for word, in the
older opset. The others are taken apart before (`expanded`), or refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Final, cast

import onnx
import onnx_ir as ir

from ....errors import ModelError, Problem
from ....lowering.matching import nodes_of, shape_of
from ....lowering.opset import WORKING_OPSET
from ....lowering.passes.expand_functions import ExpandFunctions
from ....lowering.spatial import Ints, window_attributes
from ...constraints import place_of
from .operators import Table

#: From this opset on integers may be dequantized to another dtype than that of their scale.
MIXED_SCALES: Final = 23

#: Operators that are taken in some forms only, and as well without being whole.
_APART: Final = frozenset({"Attention"})

#: Operators of which a node, as valid as it may be in an older opset, means another thing there,
#: and the first opset in which it does not.
_CHANGED: Final = {"GroupNormalization": 21}


def expanded(table: Table) -> ExpandFunctions:
    """Return the pass that takes apart what a version does not take and ONNX defines by others."""
    # The stubs lack what is asked of the schemas here.
    schemas: Any = onnx.defs.get_all_schemas_with_history()
    defined = {
        schema.name
        for schema in schemas
        if schema.domain == ""
        and schema.since_version <= WORKING_OPSET
        and (schema.has_function or schema.has_context_dependent_function)
    }
    changed = {name for name, since in _CHANGED.items() if table.opset < since}
    return ExpandFunctions("+".join(sorted(defined - table.dtypes.keys() | changed | _APART)))


#: Operators whose windows slide over their input.
_POOLS: Final = ("AveragePool", "LpPool", "MaxPool")


@dataclasses.dataclass(frozen=True)
class Converted:
    """A model in an older opset.

    Attributes:
        model: a copy that shares the constants; only of worth where there are no problems.
        problems: every node that cannot be said in that opset.
    """

    model: ir.Model
    problems: tuple[Problem, ...]


def converted(model: ir.Model, table: Table) -> Converted:
    """Return a lowered model in the newest opset that a version reads."""
    copy = model.clone()
    problems = [problem for node in nodes_of(copy) for problem in _say(node, table)]
    copy.graph.opset_imports[""] = table.opset
    copy.ir_version = onnx.helper.find_min_ir_version_for(
        [onnx.helper.make_opsetid("", table.opset)]
    )
    return Converted(copy, tuple(problems))


def require_valid(content: bytes) -> None:
    """Raise ModelError where ONNX's own checker does not take a file."""
    try:
        onnx.checker.check_model(content, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(
            "the network for TensorRT is not valid ONNX", [Problem("onnx.checker", str(error))]
        ) from error


def _say(node: ir.Node, table: Table) -> Iterator[Problem]:
    """Say a node in the older opset, in place; yield why that cannot be."""
    if node.domain != "":
        yield _problem(node, f"is of the domain {node.domain!r}", table)
        return
    new = onnx.defs.get_schema(node.op_type, WORKING_OPSET, "")
    if new.since_version <= table.opset:
        return
    try:
        old = onnx.defs.get_schema(node.op_type, table.opset, "")
    except onnx.defs.SchemaError:
        yield _problem(node, f"there is no such operator before opset {new.since_version}", table)
        return
    if table.opset < _CHANGED.get(node.op_type, 0):
        yield _problem(node, f"means another thing before opset {_CHANGED[node.op_type]}", table)
        return
    if node.op_type in _POOLS and _ends_in_padding(node):
        yield _problem(node, "has windows that start in the padding, which are left out", table)
        return
    if unknown := list(_strip(node, old, new)):
        yield from (_problem(node, f"{said} is not known there", table) for said in unknown)
    else:
        yield from (_problem(node, what, table) for what in _not_typed(node, old))


def _strip(node: ir.Node, old: onnx.defs.OpSchema, new: onnx.defs.OpSchema) -> Iterator[str]:
    """Remove the attributes that the old schema lacks; yield those that mean something."""
    for name in [name for name in node.attributes if name not in old.attributes]:
        if not _is_implied(node, node.attributes[name], new):
            yield f"{name} = {node.attributes[name].value!r}"
        del node.attributes[name]


def _ends_in_padding(node: ir.Node) -> bool:
    """Whether a pooling leaves out a last window that starts in the padding, as it does since 22.

    Before, the output has one more element: ceil((input + pads - window) / stride) + 1.
    """
    found = window_attributes(node)
    given, result = shape_of(node.inputs[0]), shape_of(node.outputs[0])
    if not node.attributes.get_int("ceil_mode", 0) or not (found and given and result):
        return False
    names = ("kernel_shape", "strides", "dilations", "pads")
    window, steps, gaps, pads = (cast(Ints, found[name]) for name in names)
    ends = zip(given[2:], window, steps, gaps, pads, pads[len(window) :], strict=False)
    before = tuple(
        -(-(size + start + end - gap * (width - 1) - 1) // step) + 1
        for size, width, step, gap, start, end in ends
    )
    return before != result[2:]


def _problem(node: ir.Node, what: str, table: Table) -> Problem:
    reason = f"TensorRT {table.version} reads ONNX up to opset {table.opset}"
    return Problem(place_of(node), what, reason)


def _is_implied(node: ir.Node, attribute: ir.Attr, schema: onnx.defs.OpSchema) -> bool:
    """Whether a node means the same without an attribute that its schema has."""
    if attribute.name == "output_dtype" and attribute.value != 0:
        # A quantized value has the dtype of its zero point, a real one that of its scale.
        index = 2 if node.op_type == "QuantizeLinear" else 1
        implied = node.inputs[index] if index < len(node.inputs) else None
        return implied is not None and implied.dtype == attribute.value
    default = schema.attributes[attribute.name].default_value
    if not default.name:
        return False
    return bool(ir.serde.deserialize_attribute(default).value == attribute.value)


def _not_typed(node: ir.Node, schema: onnx.defs.OpSchema) -> Iterator[str]:
    """Yield each dtype that a schema does not allow where a node has it."""
    bound: dict[str, ir.DataType] = {}
    found: dict[str, None] = {}
    for values, formal in ((node.inputs, schema.inputs), (node.outputs, schema.outputs)):
        for index, value in enumerate(values):
            if value is None or value.dtype is None or not value.name or not formal:
                continue
            place = formal[min(index, len(formal) - 1)]
            spelt = _SPELT.get(value.dtype, value.dtype.name.lower())
            if f"tensor({spelt})" not in place.types:
                found[f"has {value.dtype.name}, which {node.op_type} has later only"] = None
            elif place.is_homogeneous and bound.setdefault(place.type_str, value.dtype) != (
                value.dtype
            ):
                found[f"mixes {bound[place.type_str].name} and {value.dtype.name}"] = None
    yield from found


#: How schemas spell the dtypes whose names differ.
_SPELT: Final = {ir.DataType.FLOAT: "float", ir.DataType.DOUBLE: "double"}
