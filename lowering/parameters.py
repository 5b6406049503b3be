"""The canonical parameters of standard operators: attributes, and constant inputs that steer.

ONNX has several ways to say the same: defaults said or left out, axes counted from the end, pads by
name, a number of equal parts. Here is one: axes, which count from the front, and windows are always
said in full, and any other attribute is left out where it has its default value. The pass
``normalize-attributes`` writes it, and the dialect holds a model against it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import onnx
import onnx_ir as ir

from .matching import array_of, shape_of
from .opset import WORKING_OPSET
from .spatial import INDIRECT, is_windowed, window_attributes

Constants = dict[int, np.ndarray]

_OPTIONAL: Final = onnx.defs.OpSchema.FormalParameterOption.Optional

#: Attributes that count axes; ``axis`` of these operators counts those of the output.
_AXIS_LISTS: Final = ("CenterCropPad", "MeanVarianceNormalization", "Resize")
_AXIS_OF_OUTPUT: Final = ("OneHot",)

_QUANTIZING: Final = ("DequantizeLinear", "QuantizeLinear")


@dataclasses.dataclass
class Parameters:
    """What is not canonical in one node, and what it should be.

    Attributes:
        attributes: name -> value.
        absent: attributes that should not be there.
        constants: input -> array.
        inputs: how many inputs there should be; outputs: how many outputs.
    """

    attributes: dict[str, Any]
    absent: tuple[str, ...]
    constants: Constants
    inputs: int
    outputs: int

    def __str__(self) -> str:
        parts = [f"{name} = {value!r}" for name, value in self.attributes.items()]
        parts += [f"no {name}" for name in self.absent]
        parts += [f"input {index} = {array.tolist()}" for index, array in self.constants.items()]
        return ", ".join([*parts, f"{self.inputs} inputs", f"{self.outputs} outputs"])


def corrections(node: ir.Node) -> Parameters | None:
    """Return what to correct in a node of the default domain; None if it is canonical."""
    schema = schema_of(node.op_type) if node.domain == "" else None
    if schema is None:
        return None
    given = {name: attribute.value for name, attribute in node.attributes.items()}
    defaults = _defaults(node.op_type)
    window = window_attributes(node) if is_windowed(node) else None
    absent = [*(INDIRECT if window is not None else ()), *_redundant(node)]
    said = _axes_said(node, defaults | given) | (window or {})
    said = {name: value for name, value in said.items() if name not in absent}
    needless = [name for name in given if name not in said and _is_default(name, given, defaults)]
    row = _CONSTANTS.get(node.op_type)
    constants = row(node) if row is not None else {}
    found = Parameters(
        attributes={name: value for name, value in said.items() if given.get(name) != value},
        absent=tuple(sorted({*needless, *(name for name in absent if name in given)})),
        constants={i: array for i, array in constants.items() if not _equals(node, i, array)},
        inputs=_input_count(node, constants),
        outputs=_output_count(node, schema),
    )
    changed = found.attributes or found.absent or found.constants
    same = (found.inputs, found.outputs) == (len(node.inputs), len(node.outputs))
    return None if same and not changed else found


@functools.cache
def schema_of(op_type: str) -> onnx.defs.OpSchema | None:
    """Return the schema of an operator of the default domain at the working opset, if there is."""
    if not onnx.defs.has(op_type, WORKING_OPSET):
        return None
    return onnx.defs.get_schema(op_type, WORKING_OPSET)


@functools.cache
def _defaults(op_type: str) -> dict[str, Any]:
    """Return the attributes that have a default value."""
    schema = schema_of(op_type)
    found = {}
    for name, attribute in (schema.attributes if schema is not None else {}).items():
        if attribute.default_value.type:
            found[name] = ir.serde.deserialize_attribute(attribute.default_value).value
    return found


def _is_default(name: str, given: dict[str, Any], defaults: dict[str, Any]) -> bool:
    value, default = given[name], defaults.get(name)
    if isinstance(default, float):  # attributes are stored in single precision
        return bool(np.float32(value) == np.float32(default))
    return bool(value == default)


def _rank(value: ir.Value | None) -> int:
    return len(shape_of(value) or ())


def _axes_said(node: ir.Node, given: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes that count axes, defaults too, counted from the front."""
    rank = _rank(node.outputs[0] if node.op_type in _AXIS_OF_OUTPUT else node.inputs[0])
    found: dict[str, Any] = {}
    if isinstance(given.get("axis"), int):
        found["axis"] = given["axis"] % rank if -rank <= given["axis"] < 0 else given["axis"]
    if node.op_type in _AXIS_LISTS and "axes" in given:
        found["axes"] = tuple(axis % rank for axis in given["axes"])
    if node.op_type == "Transpose":
        found["perm"] = tuple(given.get("perm", reversed(range(rank))))
    return found


def _redundant(node: ir.Node) -> tuple[str, ...]:
    """Return the attributes that say what an input says, or that have nothing to say."""
    if node.op_type == "Split":
        return ("num_outputs",)
    if node.op_type not in _QUANTIZING:
        return ()
    found = ["axis"] if shape_of(node.inputs[1]) == () or 1 in _single(node) else []
    if node.op_type == "QuantizeLinear":
        said = _input(node, 2) is not None or 2 in _quantization(node)
    else:
        scale = node.inputs[1]
        said = scale is not None and scale.dtype == node.outputs[0].dtype
    return (*found, "output_dtype") if said else tuple(found)


def _input(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None


def _equals(node: ir.Node, index: int, wanted: np.ndarray) -> bool:
    array = array_of(_input(node, index))
    return array is not None and array.dtype == wanted.dtype and np.array_equal(array, wanted)


def _input_count(node: ir.Node, constants: Constants) -> int:
    """Return the number of inputs without absent ones at the end."""
    count = 2 if node.op_type == "Pad" and _input(node, 2) is None else len(node.inputs)
    count = min(count, 3) if node.op_type == "Pad" and 1 in constants else count
    count = max(count, *(index + 1 for index in constants), 0)
    while count > 0 and count - 1 not in constants and _input(node, count - 1) is None:
        count -= 1
    return count


def _output_count(node: ir.Node, schema: onnx.defs.OpSchema) -> int:
    """Return the number of outputs without optional ones at the end that nothing uses."""
    count = len(node.outputs)
    while count > schema.min_output and count <= len(schema.outputs):
        value = node.outputs[count - 1]
        if schema.outputs[count - 1].option != _OPTIONAL or value.uses() or value.is_graph_output():
            break
        count -= 1
    return count


def _axes(node: ir.Node, index: int, count: int) -> list[int] | None:
    """Return the axes in an input, by default the first `count`; None if they are computed."""
    value, rank = _input(node, index), _rank(node.inputs[0])
    if value is None:
        return list(range(count))
    array = array_of(value)
    return None if array is None or not rank else [int(axis) % rank for axis in array.reshape(-1)]


def _reduction(node: ir.Node) -> Constants:
    """The axes are listed; a reduction that lists none is one over all of them."""
    axes = _axes(node, 1, _rank(node.inputs[0]))
    if axes is None or node.attributes.get_int("noop_with_empty_axes"):
        return {}
    return {1: np.array(axes or range(_rank(node.inputs[0])), np.int64)}


def _along(index: int) -> Callable[[ir.Node], Constants]:
    """The input is one axis."""

    def row(node: ir.Node) -> Constants:
        array, rank = array_of(_input(node, index)), _rank(node.inputs[0])
        return {} if array is None or not rank else {index: np.asarray(array % rank, array.dtype)}

    return row


def _pad(node: ir.Node) -> Constants:
    """The pads are those of all axes."""
    rank, pads = _rank(node.inputs[0]), array_of(node.inputs[1])
    axes = _axes(node, 3, rank)
    if pads is None or axes is None:
        return {}
    full = np.zeros((2, rank), np.int64)
    full[:, axes] = pads.reshape(2, -1)
    return {1: full.reshape(-1)}


def _slice(node: ir.Node) -> Constants:
    """Axes and steps are listed, starts and ends lie in the tensor.

    An end before the first element, for a step backwards, is minus the size minus 1.
    """
    shape = shape_of(node.inputs[0])
    arrays = [array_of(_input(node, index)) for index in (1, 2)]
    if shape is None or arrays[0] is None or arrays[1] is None or 0 in shape:
        return {}
    starts, ends = ([int(item) for item in array] for array in arrays if array is not None)
    axes = _axes(node, 3, len(starts))
    given = array_of(_input(node, 4))
    if axes is None or (given is None and _input(node, 4) is not None):
        return {}
    steps = [1] * len(axes) if given is None else [int(item) for item in given]
    for place, (axis, step) in enumerate(zip(axes, steps, strict=True)):
        size, low, high = shape[axis], 0 if step > 0 else -1, shape[axis] - (step < 0)
        start, end = (
            min(max(item + size if item < 0 else item, low), high)
            for item in (starts[place], ends[place])
        )
        starts[place] = max(start, 0)
        ends[place] = end if end >= 0 else -size - 1
    listed = (starts, ends, axes, steps)
    return {index: np.array(items, np.int64) for index, items in enumerate(listed, 1)}


def _split(node: ir.Node) -> Constants:
    """The size of every part is listed."""
    axis = node.attributes.get_int("axis", 0)
    shapes = [shape_of(value) for value in node.outputs]
    sizes = [shape[axis] for shape in shapes if shape]
    return {1: np.array(sizes, np.int64)} if len(sizes) == len(shapes) else {}


def _expand(node: ir.Node) -> Constants:
    """The shape is the output's."""
    shape = shape_of(node.outputs[0])
    return {} if shape is None else {1: np.array(shape, np.int64)}


def _gather(node: ir.Node) -> Constants:
    """Constant indices count from the front."""
    shape, indices = shape_of(node.inputs[0]), array_of(node.inputs[1])
    if not shape or indices is None:
        return {}
    size = shape[node.attributes.get_int("axis", 0)]
    return {1: np.where(indices < 0, indices + size, indices).astype(indices.dtype)}


def _single(node: ir.Node) -> Constants:
    """One scale, and its zero point, are scalars."""
    scale, zero = array_of(node.inputs[1]), array_of(_input(node, 2))
    if scale is None or scale.size != 1 or (zero is None and _input(node, 2) is not None):
        return {}
    found = {1: scale.reshape(())}
    if zero is not None and zero.size == 1:
        found[2] = zero.reshape(())
    return found


def _quantization(node: ir.Node) -> Constants:
    """The zero point is said, unless the scales lie in blocks."""
    if node.attributes.get_int("block_size", 0):
        return {}
    found = _single(node)
    shape = () if found else shape_of(node.inputs[1])
    integers = node.inputs[0] if node.op_type == "DequantizeLinear" else node.outputs[0]
    dtype = None if integers is None else integers.dtype
    if shape is not None and dtype is not None and dtype.is_integer() and _input(node, 2) is None:
        found[2] = np.zeros(shape, dtype.numpy())
    return found


#: The operators called Reduce and one of these.
_REDUCTIONS: Final = "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare"

_CONSTANTS: Final[dict[str, Callable[[ir.Node], Constants]]] = {
    **{f"Reduce{name}": _reduction for name in _REDUCTIONS.split()},
    "CumProd": _along(1),
    "CumSum": _along(1),
    "DFT": _along(2),
    "DequantizeLinear": _quantization,
    "Expand": _expand,
    "Gather": _gather,
    "Pad": _pad,
    "QuantizeLinear": _quantization,
    "Slice": _slice,
    "Split": _split,
}
