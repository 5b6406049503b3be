"""Which nodes must stay float32 when a network computes in a 16-bit format.

Half precision holds numbers from 6.1e-5 (less precisely: 6e-8) to 65504; bfloat16 has the range of
float32. What goes beyond becomes infinite or zero without a word, so nodes that read or write such
numbers are found beforehand: from constants, and from the ranges that calibration has seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Protocol

import onnx_ir as ir

from .. import half_precision
from ..matching import array_of, is_op, shape_of

#: How many times larger than in calibration a number may become: two bits of headroom.
MARGIN: Final = 4.0


class Range(Protocol):
    """What calibration knows of a value."""

    @property
    def minimum(self) -> float: ...
    @property
    def maximum(self) -> float: ...


class Ranges(Protocol):
    """A calibration: what is known, by the value's name."""

    @property
    def values(self) -> Mapping[str, Range]: ...


def observed(model: ir.Model) -> tuple[str, ...]:
    """Return the names of the values whose ranges decide: all float32 ones, in graph order."""
    nodes = (value for node in model.graph for value in node.outputs if value.name)
    values = (*model.graph.inputs, *nodes)
    return tuple(str(value.name) for value in values if value.dtype == ir.DataType.FLOAT)


def keep_list(
    model: ir.Model,
    calibration: Ranges | None = None,
    dtype: ir.DataType = ir.DataType.FLOAT16,
    margin: float = MARGIN,
) -> dict[str, str]:
    """Return the nodes that must stay float32, in graph order, with the reason.

    Without calibration they are those that the format's or the operator's definition excludes, and
    those with a constant that the format cannot hold. With it, also those that read or write a
    value which, `margin` times as large as seen, is beyond the largest number, or which was never
    as large as the least normal number; and those whose sums, squares and other numbers inside are
    beyond it (`_INNER`).

    Args:
        calibration: the ranges of the values that `observed` names; of others nothing is said.
        dtype: FLOAT16 or BFLOAT16.
    """
    found: dict[str, str] = {}
    marked: dict[ir.Value, str] = {}
    if calibration is not None:
        marked = dict(_out_of_range(model, calibration, dtype, margin))
    for node in model.graph:
        reason = _excluded(node, dtype)
        if reason is None:
            reason = _unfit_constant(node, dtype)
            if reason is not None and is_op(node, "Add", "Sub"):
                marked.setdefault(node.outputs[0], f"what it reads is beyond the range: {reason}")
        if reason is None:
            reason = next(
                (marked[value] for value in (*node.outputs, *node.inputs) if value in marked), None
            )
        if reason is None:
            reason = _overflows_inside(node, calibration, dtype, margin)
        if reason is not None:
            found[str(node.name)] = reason
    return found


def _excluded(node: ir.Node, dtype: ir.DataType) -> str | None:
    """Return why an operator with float32 data never computes in the format."""
    values = (*node.inputs, *node.outputs)
    if not any(value is not None and value.dtype == ir.DataType.FLOAT for value in values):
        return None
    if node.domain == "" and node.op_type in half_precision.KEPT:
        return half_precision.KEPT[node.op_type]
    if is_op(node, "Cast") or half_precision.positions(node, dtype).inputs:
        return None
    return f"its definition does not take {half_precision.NAMES[dtype]}"


def _unfit_constant(node: ir.Node, dtype: ir.DataType) -> str | None:
    for index in half_precision.positions(node, dtype).inputs:
        array = array_of(node.inputs[index])
        if array is None or half_precision.bounds(node, index):
            continue
        reason = half_precision.objection(array, dtype)
        if reason is not None:
            value = node.inputs[index]
            return f"the constant {value.name if value is not None else ''!r}: {reason}"
    return None


def _out_of_range(
    model: ir.Model, calibration: Ranges, dtype: ir.DataType, margin: float
) -> Iterator[tuple[ir.Value, str]]:
    """Yield the values that the format cannot hold, with the reason."""
    least, largest = half_precision.range_of(dtype)
    nodes = (value for node in model.graph for value in node.outputs)
    for value in (*model.graph.inputs, *nodes):
        peak = _peak(value, calibration)
        if peak is not None and peak * margin > largest:
            yield value, f"{value.name!r} reaches {peak:.4g}; x {margin:g} is beyond {largest:.6g}"
        elif peak is not None and 0 < peak < least:
            yield value, f"{value.name!r} reaches only {peak:.4g}, which is below {least:.3g}"


def _peak(value: ir.Value | None, calibration: Ranges) -> float | None:
    """Return the largest magnitude of a float32 value or constant; None if it is not known."""
    if value is None or value.dtype != ir.DataType.FLOAT:
        return None
    array = array_of(value)
    if array is not None:
        return float(abs(array).max(initial=0.0))
    seen = calibration.values.get(str(value.name))
    return None if seen is None else max(abs(float(seen.minimum)), abs(float(seen.maximum)))


def _overflows_inside(
    node: ir.Node, calibration: Ranges | None, dtype: ir.DataType, margin: float
) -> str | None:
    """Return why what a kernel may compute on the way is beyond the format's range."""
    row = _INNER.get(half_precision.standard(node)) if half_precision.is_known(node) else None
    if row is None:
        return None
    what, count = row
    seen = (
        (lambda value: None) if calibration is None else (lambda value: _peak(value, calibration))
    )
    inner = count(node, seen)
    largest = half_precision.range_of(dtype)[1]
    if inner is None or inner * margin <= largest:
        return None
    return f"{what} reach {inner:.4g} inside; x {margin:g} is beyond {largest:.6g}"


#: Returns the largest magnitude of a value; None if it is not known.
_Seen = Callable[[ir.Value | None], float | None]


def _elements(value: ir.Value | None) -> int:
    return math.prod(shape_of(value) or ())


def _summed_mean(node: ir.Node, seen: _Seen) -> float | None:
    """A mean is a sum first: so many times the largest mean."""
    mean = seen(node.outputs[0])
    many = _elements(node.inputs[0]) / max(1, _elements(node.outputs[0]))
    return None if mean is None else mean * many


def _summed_window(node: ir.Node, seen: _Seen) -> float | None:
    mean = seen(node.outputs[0])
    return None if mean is None else mean * math.prod(node.attributes.get_ints("kernel_shape", ()))


def _exponentials(node: ir.Node, seen: _Seen) -> float | None:
    """The largest exponential is 1, since the maximum is subtracted first."""
    shape = shape_of(node.inputs[0]) or (1,)
    return float(shape[node.attributes.get_int("axis", -1)])


def _squares(node: ir.Node, seen: _Seen) -> float | None:
    """The sum of squares, unless the operator's own definition computes it in float32."""
    peak = seen(node.inputs[0])
    if peak is None or node.attributes.get_int("stash_type", 1) == 1:
        return None
    axis = node.attributes.get_int("axis", -1)
    return peak * peak * math.prod((shape_of(node.inputs[0]) or ())[axis:])


def _grouped_squares(node: ir.Node, seen: _Seen) -> float | None:
    peak = seen(node.inputs[0])
    if peak is None or node.attributes.get_int("stash_type", 1) == 1:
        return None
    shape = shape_of(node.inputs[0]) or (1, 1)
    groups = shape[0] * node.attributes.get_int("num_groups", 1)
    return peak * peak * math.prod(shape) / max(1, groups)


def _cubes(node: ir.Node, seen: _Seen) -> float | None:
    """Gelu's approximation by tanh has x^3 in it."""
    peak = seen(node.inputs[0])
    tanh = node.attributes.get_string("approximate", "none") == "tanh"
    return None if peak is None or not tanh else peak**3


def _six_times(node: ir.Node, seen: _Seen) -> float | None:
    """x min(max(x + 3, 0), 6), before it is divided by 6."""
    peak = seen(node.inputs[0])
    return None if peak is None else 6 * peak


def _scores(node: ir.Node, seen: _Seen) -> float | None:
    """Scaled products of queries and keys, at most: that is what a row is divided by last."""
    query, key = seen(node.inputs[0]), seen(node.inputs[1])
    shape = shape_of(node.inputs[0])
    if query is None or key is None or not shape:
        return None
    heads = 1 if len(shape) == 4 else node.attributes.get_int("q_num_heads", 1)
    size = shape[-1] / heads
    return query * key * size * node.attributes.get_float("scale", 1 / math.sqrt(size))


#: Operator -> what may overflow in it though its output does not, and how large that becomes.
#: Partial sums may be larger than the sum, where signs differ: they are covered by the margin.
_INNER: Final[dict[str, tuple[str, Callable[[ir.Node, _Seen], float | None]]]] = {
    **dict.fromkeys(("GlobalAveragePool", "ReduceMean"), ("sums", _summed_mean)),
    **dict.fromkeys(("LogSoftmax", "Softmax"), ("sums of exponentials", _exponentials)),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), ("sums of squares", _squares)),
    "Attention": ("scores", _scores),
    "AveragePool": ("sums", _summed_window),
    "Gelu": ("third powers", _cubes),
    "GroupNormalization": ("sums of squares", _grouped_squares),
    "HardSwish": ("products", _six_times),
}
