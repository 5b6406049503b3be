"""Let integers come in and go out, in the place of the real numbers they stand for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import onnx_ir as ir

from ...errors import ModelError, Problem
from ..editing import Editor
from ..matching import shape_of
from ..passing import passed_on
from ..quantized import Quantized, dequantized, quantized


@dataclasses.dataclass(frozen=True)
class IntegerBorders(ir.passes.InPlacePass):
    """Make the real inputs and outputs of a quantized network int8.

    An input that is rounded before anything is computed with it is given rounded, an output that
    is made from integers is given as these; what only moves numbers, such as a Reshape, may stand
    in between. A DequantizeLinear behind the input and a QuantizeLinear before the output say what
    the integers mean; `sink-dequantize` lets them meet their counterparts and vanish.

    Inputs and outputs that are integers or booleans, such as indices, stay what they are.

    Requires: a model as after import. Ensures: on rounded inputs, the outputs are those of the
    model before, rounded, to the bit.

    Raises:
        ModelError: an input is computed with in float or rounded in several ways, an output is
            computed in float; names them all, with the nodes.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        edit = Editor(model)
        inputs = {value: _rounded(value) for value in model.graph.inputs if _is_real(value)}
        outputs = {
            index: _made_from(value, inputs)
            for index, value in enumerate(model.graph.outputs)
            if _is_real(value)
        }
        found = (*inputs.values(), *outputs.values())
        if problems := [item for item in found if isinstance(item, Problem)]:
            raise ModelError("not all inputs and outputs can be int8", problems)
        for index, item in outputs.items():
            if isinstance(item, Quantized):
                _give(edit, model.graph, index, item)
        for value, item in inputs.items():
            if isinstance(item, Quantized):
                _take(edit, value, item)
        return edit.result(model)


def _is_real(value: ir.Value) -> bool:
    return value.dtype is not None and value.dtype.is_floating_point()


def _rounded(value: ir.Value) -> Quantized | Problem:
    """Return how a graph's input is rounded by all that computes with it."""
    where = f"input {value.name!r}"
    fix = "leave it float: --io float"
    readers = list(_readers(value))
    found = [quantized(node) for node in readers]
    for node, item in zip(readers, found, strict=True):
        if item is None:
            return Problem(where, f"is read in float by node {node.name!r} ({node.op_type})", fix)
        if not _is_int8(item):
            return Problem(where, f"is rounded to {item.dtype}, not to int8 of one scale", fix)
    first = found[0] if found else None
    if first is None:
        return Problem(where, "is not rounded to integers: nothing computes with it", fix)
    if not all(item is not None and item.is_like(first) for item in found):
        scales = ", ".join(f"{float(item.scale):.6g}" for item in found if item is not None)
        return Problem(where, f"is rounded with several parameters: the scales {scales}", fix)
    return first


def _is_int8(item: Quantized) -> bool:
    return item.is_narrow and item.dtype == ir.DataType.INT8


def _readers(value: ir.Value) -> Iterator[ir.Node]:
    """Yield what reads the numbers of a value, past what only moves them."""
    waiting, seen = [value], {value}
    while waiting:
        for use in waiting.pop().uses():
            if use.idx >= passed_on(use.node):
                yield use.node
                continue
            further = [item for item in use.node.outputs if item not in seen]
            waiting += further
            seen.update(further)


def _made_from(value: ir.Value, inputs: dict[ir.Value, Quantized | Problem]) -> Quantized | Problem:
    """Return the integers that a graph's output stands for."""
    where, source = f"output {value.name!r}", value
    while (node := source.producer()) is not None:
        found = dequantized(source)
        if found is not None and _is_int8(found):
            return found
        first = node.inputs[0] if passed_on(node) == 1 else None
        if first is None:
            what = f"is computed in float by node {node.name!r} ({node.op_type})"
            return Problem(where, what, "leave it float: --io float")
        source = first
    return inputs.get(source, Problem(where, "is a constant", "leave it float: --io float"))


def _take(edit: Editor, value: ir.Value, item: Quantized) -> None:
    """Let an input be integers; what read it reads the real numbers that they stand for."""
    uses = list(value.uses())
    value.type = ir.TensorType(item.dtype)
    real = edit.follow(
        value,
        "DequantizeLinear",
        [value, *item.node.inputs[1:]],
        name=f"{value.name}/dequantized",
        dtype=ir.DataType.FLOAT,
        shape=shape_of(value),
        sources=[uses[0].node],
    )
    for use in uses:
        edit.set_input(use.node, use.idx, real)


def _give(edit: Editor, graph: ir.Graph, index: int, item: Quantized) -> None:
    """Let an output be integers, under its name."""
    value = graph.outputs[index]
    integers = edit.follow(
        value,
        "QuantizeLinear",
        [value, *item.node.inputs[1:]],
        name=f"{value.name}/quantized",
        dtype=item.dtype,
        shape=shape_of(value),
        sources=[item.node],
    )
    value.name, integers.name = integers.name, value.name
    graph.outputs[index] = integers
