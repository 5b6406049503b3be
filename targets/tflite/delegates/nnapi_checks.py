"""What NNAPI's delegate demands of one operator or two; the rest of its checks are in `rules`.

Each is a condition of ``NNAPIDelegateKernel::Validate``; `nnapi_rules` says for which operators and
from when.
"""

from __future__ import annotations

import math

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ..operators import Graph, Operand, Operator
from .rules import QUANTIZED, Check, one


def hybrid(data: int, weight: int) -> Check:
    def check(operator: Operator, graph: Graph) -> str | None:
        found = one(operator.input(data)).dtype, one(operator.input(weight)).dtype
        if found[0] != "float32" or found[1] not in QUANTIZED:
            return None
        return f"it multiplies float32 data by {found[1]} weights"

    return check


def restricted_scale(operator: Operator, graph: Graph) -> str | None:
    data, weight = one(operator.input(0)), one(operator.input(1))
    product, result = np.float32(data.scale) * np.float32(weight.scale), operator.outputs[0].scale
    if data.dtype != "uint8" or product < np.float32(result):
        return None
    return f"its scales multiply to {product:g}, it must be less than its output's {result:g}"


def per_channel(operator: Operator, graph: Graph) -> str | None:
    count = len(one(operator.input(1)).scales)
    return None if count <= 1 else f"its weights have {count} scales, one per channel"


def grouped(operator: Operator, graph: Graph) -> str | None:
    data, weight = one(operator.input(0)), one(operator.input(1))
    if data.shape[3] == weight.shape[3]:
        return None
    return f"it is a grouped convolution: {data.shape[3]} channels, {weight.shape[3]} in a group"


def large_window(operator: Operator, graph: Graph) -> str | None:
    sizes = operator.fields.get("filterHeight", 0), operator.fields.get("filterWidth", 0)
    if one(operator.input(0)).dtype not in QUANTIZED or math.prod(sizes) <= 256:
        return None
    return f"its window of integers is {sizes[0]} x {sizes[1]}, more than 256 elements"


def same_parameters(operator: Operator, graph: Graph) -> str | None:
    first, *others = (one(item) for item in operator.inputs)
    if first.dtype != "uint8":
        return None
    for item in others:
        if (item.scale, item.zero_point) != (first.scale, first.zero_point):
            return f"{item.name!r} has other quantization parameters than {first.name!r}"
    return None


def positive_scale(operand: Operand, what: str) -> str | None:
    return None if operand.scale > 0 else f"{what} has the scale {operand.scale:g}"


def quantize_input(operator: Operator, graph: Graph) -> str | None:
    data = one(operator.input(0))
    return positive_scale(data, "its input") if data.dtype in QUANTIZED else None


def quantize_output(operator: Operator, graph: Graph) -> str | None:
    return positive_scale(operator.outputs[0], "its output")


def not_empty(operator: Operator, graph: Graph) -> str | None:
    shape = one(operator.input(0)).shape
    return f"its input of shape {list(shape)} has no elements" if 0 in shape else None


def scalars_constant(operator: Operator, graph: Graph) -> str | None:
    for index in range(2):
        operand = one(operator.input(index))
        if operand.rank == 0 and not operand.is_constant:
            return f"input {index} is a scalar that is no constant"
    return None


def no_crops(operator: Operator, graph: Graph) -> str | None:
    found = one(operator.input(2)).array
    if found is not None and found.nbytes == 16 and not found.any():
        return None
    return "its crops are not four constant int32 zeros"


def axis32(operator: Operator, graph: Graph) -> str | None:
    axis = one(operator.input(1))
    if axis.dtype == "int32" or (axis.dtype == "int64" and axis.array is not None):
        return None
    return f"its axis is {axis.dtype}, it must be int32 or a constant"


def split_sizes(operator: Operator, graph: Graph) -> str | None:
    found, axis = one(operator.input(1)).array, one(operator.input(2)).array
    if found is None or axis is None:
        return None
    sizes = [int(item) for item in found.reshape(-1)]
    if -1 in sizes:
        total = one(operator.input(0)).shape[int(axis.reshape(-1)[0])]
        rest = total - sum(item for item in sizes if item != -1)
        sizes = [rest if item == -1 else item for item in sizes]
    return f"its sizes are {sizes}, none may be 0" if 0 in sizes else None


def no_broadcast(operator: Operator, graph: Graph) -> str | None:
    first, second = one(operator.input(0)).shape, one(operator.input(1)).shape
    if len(first) == len(second) and first[:-2] == second[:-2]:
        return None
    return f"it broadcasts {list(first)} and {list(second)}"


def same_dtype(operator: Operator, graph: Graph) -> str | None:
    first, second = one(operator.input(0)).dtype, one(operator.input(1)).dtype
    return None if first == second else f"it multiplies {first} by {second}"


def select_shape(operator: Operator, graph: Graph) -> str | None:
    condition, value = one(operator.input(0)).shape, one(operator.input(1)).shape
    if condition == value:
        return None
    return f"its condition has shape {list(condition)}, its values {list(value)}"


def pack_axis(operator: Operator, graph: Graph) -> str | None:
    axis, last = operator.fields.get("axis", 0), one(operator.input(0)).rank
    return f"its axis {axis} is the last one" if axis in (-1, last) else None


def unpack_axis(operator: Operator, graph: Graph) -> str | None:
    axis, last = operator.fields.get("axis", 0), one(operator.input(0)).rank - 1
    return f"its axis {axis} is the last one" if axis in (-1, last) else None


def square(operator: Operator, graph: Graph) -> str | None:
    _, height, width, *_ = operator.outputs[0].shape
    return None if height == width else f"its output is {height} x {width}, not square"


def symmetric(operator: Operator, graph: Graph) -> str | None:
    data = one(operator.input(0))
    if data.dtype != "int8" or data.zero_point == 0:
        return None
    return f"its int8 input has zero point {data.zero_point}, it must be 0"


def is_other_data(operator: Operator) -> bool:
    """Whether the input is anything but float16 data."""
    data = one(operator.input(0))
    return data.dtype != "float16" or data.is_constant


def basic(operator: Operator) -> bool:
    return len(operator.inputs) == 5


def full(operator: Operator) -> bool:
    return not basic(operator)


def lstm_parameters(which: str, scale: float, zero: int) -> Check:
    """The data of a basic LSTM has these parameters."""

    def check(operator: Operator, graph: Graph) -> str | None:
        operand = one(operator.input(0)) if which == "input" else operator.outputs[0]
        if (operand.scale, operand.zero_point) == (scale, zero):
            return None
        return f"its {which} has scale {operand.scale:g} and zero point {operand.zero_point}"

    return check


def lstm_state(operator: Operator, graph: Graph) -> str | None:
    state = operator.outputs[1]
    if state.scale == 16 / 32768 or state.zero_point == 0:
        return None
    return f"its cell state has scale {state.scale:g} and zero point {state.zero_point}"


def is_integer(operator: Operator) -> bool:
    return one(operator.input(0)).dtype == "int32"


def sparse(operator: Operator) -> bool:
    return bool(operator.fields.get("type", 0) == schema.LSHProjectionType.SPARSE)


def dense(operator: Operator) -> bool:
    return not sparse(operator)


def rank_2_or_4(operator: Operator) -> bool:
    return one(operator.input(0)).rank in (2, 4)


def has_shape(operator: Operator) -> bool:
    return len(operator.inputs) > 1


def no_shape(operator: Operator) -> bool:
    return not has_shape(operator)


def new_shape(operator: Operator, graph: Graph) -> str | None:
    found = operator.fields.get("newShape")
    sizes = [] if found is None else [int(item) for item in found]
    return "it makes a scalar" if sizes in ([], [0]) else None


def names_axes(operator: Operator) -> bool:
    found = operator.fields.get("squeezeDims")
    return found is not None and len(found) > 0


def not_24(operator: Operator) -> bool:
    return len(operator.inputs) != 24


def not_int16(operator: Operator) -> bool:
    return operator.outputs[0].dtype != "int16"


def fits_int32(operator: Operator, graph: Graph) -> str | None:
    found = one(operator.input(1))
    limits = np.iinfo(np.int32)
    if found.array is None or found.dtype != "int64":
        return None
    value = int(found.array.reshape(-1)[0])
    return None if limits.min <= value <= limits.max else f"its value {value} is no int32"
