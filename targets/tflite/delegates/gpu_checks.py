"""What the GPU delegate demands of its operators; the checks that delegates share are in `rules`.

Each is a condition of the delegate's code that `gpu_rules` names; it says for which operators.
"""

from __future__ import annotations

from typing import Final

from ai_edge_litert import schema_py_generated as schema

from ..operators import Graph, Operand, Operator
from .rules import Check, one

FLOATS: Final = ("float32", "float16")


def data_of(operator: Operator) -> tuple[Operand, ...]:
    return tuple(item for item in operator.inputs if item is not None and not item.is_constant)


def constants_of(operator: Operator) -> tuple[Operand, ...]:
    return tuple(item for item in operator.inputs if item is not None and item.is_constant)


def counts(*taken: tuple[int, int], results: int = 1) -> Check:
    """It has so many data inputs, constant ones and results; -1 for any number of constants."""

    def check(operator: Operator, graph: Graph) -> str | None:
        data, fixed = len(data_of(operator)), len(constants_of(operator))
        counts = any(data == one_ and two in (-1, fixed) for one_, two in taken)
        if counts and len(operator.outputs) == results:
            return None
        return f"it has {data} data inputs, {fixed} constant ones and {len(operator.outputs)} " + (
            "results, taken: "
            + " or ".join(f"{x} and {'any' if y < 0 else y}" for x, y in taken)
            + f", {results}"
        )

    return check


def tensors(taken_in: tuple[str, ...], taken_out: tuple[str, ...]) -> Check:
    """Data and results have one of these dtypes; constants are converted."""

    def check(operator: Operator, graph: Graph) -> str | None:
        for operand in data_of(operator):
            if operand.dtype not in taken_in:
                return f"its input {operand.name!r} is {operand.dtype}, taken: " + (
                    ", ".join(taken_in)
                )
        for operand in operator.outputs:
            if operand.dtype not in taken_out:
                return f"its output is {operand.dtype}, taken: {', '.join(taken_out)}"
        return None

    return check


def ranks(operator: Operator, graph: Graph) -> str | None:
    for operand in (*operator.inputs, *operator.outputs):
        if operand is not None and operand.rank > 4:
            return f"{operand.name!r} has rank {operand.rank}, taken: 0 to 4"
    return None


def broadcast(operator: Operator, graph: Graph) -> str | None:
    if len(operator.inputs) != 2:
        return None
    first, second = (one(item).shape for item in operator.inputs)
    longer, shorter = (first, second) if len(first) >= len(second) else (second, first)
    if len(longer) == len(shorter) or len(shorter) < 2:
        return None
    if len(longer) == 4 and len(shorter) == 3 and longer[0] == 1:
        return None
    if len(longer) == 4 and len(shorter) == 2:
        if longer[0] == 1 and shorter == (1, 1):
            return None
        if (longer[0], longer[3]) == shorter:
            return None
    return f"it broadcasts {list(first)} and {list(second)}"


def positive(*names: str) -> Check:
    def check(operator: Operator, graph: Graph) -> str | None:
        for name in names:
            found = operator.fields.get(name, 1)
            if found <= 0:
                return f"{name} is {found}"
        return None

    return check


def weights(operator: Operator, graph: Graph) -> str | None:
    if len(data_of(operator)) in (1, 2) and len(operator.outputs) == 1:
        return None
    return f"it has {len(data_of(operator))} data inputs, taken: 1 or 2"


def depthwise(operator: Operator, graph: Graph) -> str | None:
    data, weight, result = one(operator.input(0)), one(operator.input(1)), operator.outputs[0]
    shapes = [item.shape for item in (data, weight, result)]
    if any(len(shape) != 4 for shape in shapes):
        return f"its shapes are {', '.join(str(list(shape)) for shape in shapes)}, not of rank 4"
    channels, multiplier = data.shape[3], operator.fields.get("depthMultiplier", 1)
    if not result.shape[3] == weight.shape[3] == channels * multiplier:
        return f"depthMultiplier is {multiplier}, it has {channels} channels and {weight.shape[3]}"
    bias = operator.input(2)
    if bias is not None and bias.size != result.shape[3]:
        return f"its bias has {bias.size} elements, it has {result.shape[3]} channels"
    return None


def select_shapes(operator: Operator, graph: Graph) -> str | None:
    condition, result = one(operator.input(0)).shape, operator.outputs[0].shape
    ends = result[len(result) - len(condition) :] if len(condition) <= len(result) else None
    if ends is None or any(a not in (b, 1) for a, b in zip(condition, ends, strict=True)):
        return f"its condition of shape {list(condition)} does not broadcast to {list(result)}"
    for item in (one(operator.input(1)), one(operator.input(2))):
        if item.shape not in ((), (1,), (0,), result):
            return f"{item.name!r} has shape {list(item.shape)}: neither one element nor the result"
        if not item.is_constant and item.rank == 2:
            return f"{item.name!r} is data of rank 2"
    return None


def pad_shape(operator: Operator, graph: Graph) -> str | None:
    found = one(operator.input(1)).shape
    return None if found in ((3, 2), (4, 2)) else f"its paddings have shape {list(found)}"


def at_least(count: int) -> Check:
    def check(operator: Operator, graph: Graph) -> str | None:
        found = len(operator.inputs)
        return None if found >= count else f"it has {found} inputs, taken: {count} or more"

    return check


def corners(operator: Operator) -> bool:
    return not (operator.fields.get("alignCorners") and operator.fields.get("halfPixelCenters"))


def kept_rank(operator: Operator, graph: Graph) -> str | None:
    first, result = one(operator.input(0)).rank, operator.outputs[0].rank
    if not operator.fields.get("keepNumDims") or first == result:
        return None
    return f"it keeps the rank, but makes {result} of {first}"


def data_count(most: int) -> Check:
    def check(operator: Operator, graph: Graph) -> str | None:
        found = len(data_of(operator))
        return None if found <= most else f"it has {found} data inputs, taken: up to {most}"

    return check


def input_is_data(operator: Operator) -> bool:
    return not one(operator.input(0)).is_constant


def read_by_select(operator: Operator, graph: Graph) -> str | None:
    """A truth value exists on the GPU only between two operators."""
    readers = graph.readers(operator.outputs[0])
    if len(readers) != 1:
        return f"{len(readers)} operators read its result, it must be one"
    reader = readers[0]
    wanted = ("CAST", "SELECT", "SELECT_V2")
    if reader.name in wanted and reader.outputs[0].dtype in FLOATS:
        return None
    return f"its result goes into {reader.name}, it must go into {', '.join(wanted)} to float"


_CASTS: Final = (
    *(("bool", name) for name in FLOATS),
    *((name, "bool") for name in FLOATS),
    *((a, b) for a in ("float32", "int32") for b in ("float32", "int32")),
)


def cast(operator: Operator, graph: Graph) -> str | None:
    pair = one(operator.input(0)).dtype, operator.outputs[0].dtype
    return None if pair in _CASTS else f"it casts {pair[0]} to {pair[1]}"


def cast_between(operator: Operator, graph: Graph) -> str | None:
    data, result = one(operator.input(0)), operator.outputs[0]
    if data.dtype != "bool" or result.dtype not in FLOATS:
        return None
    alone = len(graph.readers(data)) == 1 == len(graph.readers(result))
    if graph.producer(data) is not None and alone:
        return None
    return "its truth values are not made and read by one operator each"


def one_hot(operator: Operator, graph: Graph) -> str | None:
    indices = one(operator.input(0))
    for item in (one(operator.input(2)), one(operator.input(3))):
        if not item.is_constant or item.dtype != "float32" or item.shape not in ((), (1,)):
            return f"{item.name!r} is no float32 constant of one element"
    axis = operator.fields.get("axis", 0)
    if axis != -1 and (not indices.rank or axis != indices.shape[-1]):
        return f"axis is {axis}, it must be -1"
    start = 1 if indices.rank > 3 else 0
    if any(size != 1 for size in indices.shape[start:-1]):
        return f"its indices have shape {list(indices.shape)}"
    return None


def lstm(operator: Operator, graph: Graph) -> str | None:
    tanh = schema.ActivationFunctionType.TANH
    fields, count = operator.fields, len(operator.inputs)
    basic = fields.get("kernelType", 0) == schema.LSTMKernelType.BASIC
    activation = fields.get("fusedActivationFunction", 0)
    if activation != tanh:
        return f"fusedActivationFunction is {activation}, it must be tanh"
    if not basic:
        good = count in (20, 24) and len(operator.outputs) == 1
        return None if good else f"it has {count} inputs, taken: 20 or 24"
    counts = len(data_of(operator)), len(constants_of(operator)), len(operator.outputs)
    if counts != (3, 2, 4):
        return "it has {} data inputs, {} constant ones and {} results".format(*counts)
    clips = fields.get("cellClip", 0), fields.get("projClip", 0)
    if any(clips):
        return f"it clips to {clips}"
    depth = operator.outputs[3].shape[-1:]
    return f"its depth {depth[0]} is no multiple of 4" if depth and depth[0] % 4 else None


def block_over_1(operator: Operator) -> bool:
    return bool(operator.fields.get("blockSize", 0) > 1)


def not_int16(operator: Operator, graph: Graph) -> str | None:
    return "its input is int16" if one(operator.input(0)).dtype == "int16" else None


def same_dtype(operator: Operator, graph: Graph) -> str | None:
    first, result = one(operator.input(0)).dtype, operator.outputs[0].dtype
    return None if first == result else f"it makes {result} of {first}"
