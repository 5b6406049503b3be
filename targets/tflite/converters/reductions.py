"""Reductions, softmax and normalizations."""

from __future__ import annotations

from typing import Final

import numpy as np

from ..call import Call, Converter
from .windows import filling_of

_NONE: Final = {"fusedActivationFunction": 0}


def axes_of(call: Call) -> tuple[int, ...]:
    """Return the axes of a reduction, as input 1 or all."""
    if call.has(1):
        return tuple(axis % max(1, call.rank()) for axis in call.ints(1))
    return () if call.attr("noop_with_empty_axes", 0) else tuple(range(call.rank()))


def reduction(operator: str) -> Converter:
    def convert(call: Call) -> None:
        axes = axes_of(call)
        if not axes:
            call.reshape(call.input(), call.out_shape(), call.output())
            return
        options = ("ReducerOptions", {"keepDims": bool(call.attr("keepdims", 1))})
        call.emit(operator, [call.input(), call.int32(axes, "axes")], None, options)

    return convert


def extreme(operator: str, of_booleans: str) -> Converter:
    """Return a converter of the least or the largest; booleans have operators of their own."""

    def convert(call: Call) -> None:
        booleans = call.writer.tensors[call.input()].dtype == "bool"
        reduction(of_booleans if booleans else operator)(call)

    return convert


def prepared(before: str, after: str = "") -> Converter:
    """Return a converter of the sum of what `before` makes of each element, and `after` of it."""

    def convert(call: Call) -> None:
        data, axes = call.input(), axes_of(call)
        if before == "MUL":
            made = call.temporary(call.shape(), data, "made")
            call.emit("MUL", [data, data], made, ("MulOptions", _NONE))
        elif before:
            made = call.temporary(call.shape(), data, "made")
            call.emit(before, [data], made)
        else:
            made = data
        total = call.temporary(call.out_shape(), data, "total") if after else call.output()
        summed(call, made, axes, total)
        if after:
            call.emit(after, [total])

    return convert


def summed(call: Call, data: int, axes: tuple[int, ...], output: int) -> None:
    """Add up over axes, if there are any."""
    if not axes:
        call.reshape(data, call.out_shape(), output)
        return
    options = ("ReducerOptions", {"keepDims": bool(call.attr("keepdims", 1))})
    call.emit("SUM", [data, call.int32(axes, "axes")], output, options)


def log_sum_exp(call: Call) -> None:
    """log(sum(exp(x - m))) + m, with the largest m, so that nothing overflows."""
    data, axes, shape = call.input(), axes_of(call), call.shape()
    small = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    where, keep = call.int32(axes, "axes"), ("ReducerOptions", {"keepDims": True})
    largest = call.temporary(small, data, "largest")
    call.emit("REDUCE_MAX", [data, where], largest, keep)
    moved = call.temporary(shape, data, "moved")
    call.emit("SUB", [data, largest], moved, ("SubOptions", _NONE))
    powers = call.temporary(shape, data, "powers")
    call.emit("EXP", [moved], powers, ("ExpOptions", {}))
    total = call.temporary(small, data, "total")
    call.emit("SUM", [powers, where], total, keep)
    logarithm = call.temporary(small, data, "logarithm")
    call.emit("LOG", [total], logarithm)
    result = call.temporary(small, data, "result")
    call.emit("ADD", [logarithm, largest], result, ("AddOptions", _NONE))
    call.reshape(result, call.out_shape(), call.output())


def rms_norm(call: Call) -> None:
    """x / sqrt(mean(x^2) + epsilon) * scale, over the axes from `axis` on."""
    data, shape = call.input(), call.shape()
    axes = tuple(range(call.axis(-1), call.rank()))
    small = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    squares, mean = call.temporary(shape, data, "squares"), call.temporary(small, data, "mean")
    call.emit("MUL", [data, data], squares, ("MulOptions", _NONE))
    keep = ("ReducerOptions", {"keepDims": True})
    call.emit("MEAN", [squares, call.int32(axes, "axes")], mean, keep)
    safe, inverse = call.temporary(small, data, "safe"), call.temporary(small, data, "inverse")
    epsilon = filling_of(call, data, float(call.attr("epsilon", 1e-5)))
    call.emit("ADD", [mean, epsilon], safe, ("AddOptions", _NONE))
    call.emit("RSQRT", [safe], inverse)
    normalized = call.temporary(shape, data, "normalized")
    call.emit("MUL", [data, inverse], normalized, ("MulOptions", _NONE))
    _affine(call, normalized, call.input(1), None)


def arg(operator: str, options: str) -> Converter:
    """Return a converter to the place of an extreme; the last of equal ones, counted backwards."""

    def convert(call: Call) -> None:
        axis, data, shape = call.axis(0), call.input(), call.shape()
        at = call.make(np.array(axis, np.int32), "axis")
        small = [size for index, size in enumerate(shape) if index != axis]
        output = call.output()
        last = bool(call.attr("select_last_index", 0))
        if last:
            reversed_ = call.temporary(shape, data, "reversed")
            call.emit("REVERSE_V2", [data, call.int32((axis,), "axes")], reversed_)
            data = reversed_
        kept = bool(call.attr("keepdims", 1))
        found = call.temporary(small, output, "places") if kept or last else output
        field = {"outputType": 4}  # TensorType.INT64
        call.emit(operator, [data, at], found, (options, field))
        if last:
            whole = call.make(np.array(shape[axis] - 1, np.int64), "last")
            counted = call.temporary(small, output, "counted") if kept else output
            call.emit("SUB", [whole, found], counted, ("SubOptions", _NONE))
            found = counted
        if kept:
            call.reshape(found, call.out_shape(), output)

    return convert


def softmax(call: Call) -> None:
    _on_last(call, "SOFTMAX", ("SoftmaxOptions", {"beta": 1.0}))


def log_softmax(call: Call) -> None:
    _on_last(call, "LOG_SOFTMAX", ("LogSoftmaxOptions", {}))


def _on_last(call: Call, operator: str, options: tuple[str, dict[str, float]]) -> None:
    """Add an operator that works along the last axis, with transposes if the node's is another."""
    axis, rank = call.axis(-1), call.rank()
    if axis == rank - 1:
        call.emit(operator, [call.input()], None, options)
        return
    perm = [index for index in range(rank) if index != axis] + [axis]
    data = call.transpose(call.input(), perm)
    result = call.temporary(call.shape_of(data), call.output(), "result")
    call.emit(operator, [data], result, options)
    call.transpose(result, [perm.index(index) for index in range(rank)], call.output())


def layer_norm(call: Call) -> None:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, over the axes from `axis` on.

    The mean and 1 / sqrt(variance + epsilon) are outputs, too, if they are asked for.
    """
    axes = tuple(range(call.axis(-1), call.rank()))
    normalized, *moments = standardized(call, axes, float(call.attr("epsilon", 1e-5)))
    for index, found in enumerate(moments, 1):
        if index < len(call.results) and call.results[index].name:
            call.reshape(found, call.out_shape(index), call.output(index))
    _affine(call, normalized, call.input(1), call.input(2) if call.has(2) else None)


def instance_norm(call: Call) -> None:
    axes = tuple(range(2, call.rank()))
    normalized, _, _ = standardized(call, axes, float(call.attr("epsilon", 1e-5)))
    shape = (-1, *[1] * (call.rank() - 2))
    scale, bias = (call.make(call.array(index).reshape(shape), f"{index}") for index in (1, 2))
    _affine(call, normalized, scale, bias)


def standardized(call: Call, axes: tuple[int, ...], epsilon: float) -> tuple[int, int, int]:
    """Return (x - mean) / sqrt(variance + epsilon) over some axes, the mean and the divisor."""
    data = call.input()
    shape = call.shape()
    small = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    where, keep = call.int32(axes, "axes"), ("ReducerOptions", {"keepDims": True})
    mean = call.temporary(small, data, "mean")
    call.emit("MEAN", [data, where], mean, keep)
    centered = call.temporary(shape, data, "centered")
    call.emit("SUB", [data, mean], centered, ("SubOptions", _NONE))
    squares = call.temporary(shape, data, "squares")
    call.emit("MUL", [centered, centered], squares, ("MulOptions", _NONE))
    variance = call.temporary(small, data, "variance")
    call.emit("MEAN", [squares, where], variance, keep)
    safe = call.temporary(small, data, "safe")
    call.emit("ADD", [variance, filling_of(call, data, epsilon)], safe, ("AddOptions", _NONE))
    inverse = call.temporary(small, data, "inverse")
    call.emit("RSQRT", [safe], inverse)
    normalized = call.temporary(shape, data, "normalized")
    call.emit("MUL", [centered, inverse], normalized, ("MulOptions", _NONE))
    return normalized, mean, inverse


def _affine(call: Call, data: int, scale: int, bias: int | None) -> None:
    output = call.output(0)
    if bias is None:
        call.emit("MUL", [data, scale], output, ("MulOptions", _NONE))
        return
    scaled = call.temporary(call.shape_of(data), data, "scaled")
    call.emit("MUL", [data, scale], scaled, ("MulOptions", _NONE))
    call.emit("ADD", [scaled, bias], output, ("AddOptions", _NONE))


def top_k(call: Call) -> None:
    """The largest along the last axis; the smallest are the largest of the opposites."""
    axis, rank, data = call.axis(-1), call.rank(), call.input()
    count = call.make(np.array(call.ints(1)[0], np.int32), "k")
    perm = [index for index in range(rank) if index != axis] + [axis]
    moved, smallest = axis != rank - 1, not call.attr("largest", 1)
    if moved:
        data = call.transpose(data, perm)
    if smallest:
        data = _negated(call, data, None)
    shape = (*call.shape_of(data)[:-1], call.ints(1)[0])
    output, places = call.output(0), call.output(1)
    values = call.temporary(shape, data, "values") if moved or smallest else output
    found = call.writer.tensor(f"{call.node.name}/places", shape, "int32")
    call.emit("TOPK_V2", [data, count], [values, found], ("TopKV2Options", {}))
    if smallest:
        values = _negated(call, values, None if moved else output)
    if moved:
        back = [perm.index(index) for index in range(rank)]
        call.transpose(values, back, output)
        found = call.transpose(found, back)
    call.emit("CAST", [found], places, ("CastOptions", {}))


def _negated(call: Call, data: int, output: int | None) -> int:
    if output is None:
        output = call.temporary(call.shape_of(data), data, f"opposite_{data}")
    call.emit("NEG", [data], output, ("NegOptions", {}))
    return output


REDUCTIONS: Final[dict[str, Converter]] = {
    "ArgMax": arg("ARG_MAX", "ArgMaxOptions"),
    "ArgMin": arg("ARG_MIN", "ArgMinOptions"),
    "InstanceNormalization": instance_norm,
    "LayerNormalization": layer_norm,
    "LogSoftmax": log_softmax,
    "RMSNormalization": rms_norm,
    "ReduceL1": prepared("ABS"),
    "ReduceL2": prepared("MUL", "SQRT"),
    "ReduceLogSum": prepared("", "LOG"),
    "ReduceLogSumExp": log_sum_exp,
    "ReduceMax": extreme("REDUCE_MAX", "REDUCE_ANY"),
    "ReduceMean": reduction("MEAN"),
    "ReduceMin": extreme("REDUCE_MIN", "REDUCE_ALL"),
    "ReduceProd": reduction("REDUCE_PROD"),
    "ReduceSum": reduction("SUM"),
    "ReduceSumSquare": prepared("MUL"),
    "Softmax": softmax,
    "TopK": top_k,
}
