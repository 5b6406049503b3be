"""Operators that reduce along axes, and scans and selections along one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from tvm import relax, te, tirx

from .call import Call, Converted, Converter, Expr, constant, is_float, reshaped, scalar
from .rows import LARGEST, SMALLEST, SUM, reduction, softmax, takes

op = relax.op

Reduce = Callable[..., Expr]


def axes_of(call: Call) -> tuple[int, ...]:
    """Return the axes of a reduction: input 1, all of them if it is absent or empty.

    No axes at all where ``noop_with_empty_axes`` says that an empty list reduces nothing.
    """
    axes = call.ints(1) if call.has(1) else call.attr("axes", ())
    if axes:
        return tuple(axis % call.rank() for axis in axes)
    return () if call.attr("noop_with_empty_axes", 0) else tuple(range(call.rank()))


def reduced(call: Call, function: Reduce, x: Expr) -> Expr:
    """Reduce `x`, which has the shape of input 0, into the shape of the output."""
    axes = axes_of(call)
    if not axes:
        return x
    if function is op.sum and takes(call, axes):
        return reshaped(reduction(call, x, len(axes), SUM), call.out_shape())
    return reshaped(call.emit(function(x, axes, keepdims=True)), call.out_shape())


def _reduce(function: Reduce) -> Converter:
    return lambda call: reduced(call, function, call[0])


def extreme(call: Call, x: Expr, axes: Sequence[int], largest: bool) -> Expr:
    """Return the largest or smallest of `x`, of the shape and dtype of input 0; axes stay as 1.

    It starts from infinity. TVM's own maximum starts from the least finite number, which is wrong
    where all elements are minus infinity.
    """
    shape, dtype = call.shape(), call.dtype()
    if takes(call, axes):
        found = reduction(call, x, len(axes), LARGEST if largest else SMALLEST)
        return reshaped(found, [1 if k in axes else size for k, size in enumerate(shape)])
    choose, worst = (tirx.max, tirx.min_value) if largest else (tirx.min, tirx.max_value)
    start = tirx.const(-np.inf if largest else np.inf, dtype) if is_float(dtype) else worst(dtype)
    reducer = te.comm_reducer(lambda a, b: choose(a, b), lambda _: start, name="extreme")
    target = [1 if k in axes else size for k, size in enumerate(shape)]

    def compute(data: te.Tensor) -> te.Tensor:
        def at(*index: tirx.Expr) -> tirx.Expr:
            reduced = {axis: te.reduce_axis((0, shape[axis]), f"k{axis}") for axis in axes}
            place = [reduced.get(k, i) for k, i in enumerate(index)]
            return reducer(data(*place), axis=list(reduced.values()))

        return te.compute(target, at, name="extreme")

    hint = "max" if largest else "min"
    return call.builder.emit_te(compute, call.emit(x), primfunc_name_hint=hint)


def _extreme(largest: bool) -> Converter:
    """Of booleans: any or all."""

    def convert(call: Call) -> Expr:
        axes = axes_of(call)
        if not axes:
            return call[0]
        if call.dtype() == "bool":
            function = op.max if largest else op.min
            found = function(op.astype(call[0], "int8"), axes, keepdims=True)
            return reshaped(call.emit(op.astype(found, "bool")), call.out_shape())
        return reshaped(extreme(call, call[0], axes, largest), call.out_shape())

    return convert


def _mean(call: Call) -> Expr:
    axes = axes_of(call)
    total = reduced(call, op.sum, call[0])
    count = int(np.prod([call.shape()[axis] for axis in axes], dtype="int64"))
    return op.divide(total, scalar(count, call.dtype()))


def _sum_of(before: Callable[[Expr], Expr], after: Callable[[Expr], Expr]) -> Converter:
    return lambda call: after(reduced(call, op.sum, before(call.emit(call[0]))))


def _same(x: Expr) -> Expr:
    return x


def _square(x: Expr) -> Expr:
    return op.multiply(x, x)


def _log_sum_exp(call: Call) -> Expr:
    """max + log(sum(exp(x - max))), which does not overflow; an infinite maximum is the result."""
    axes, dtype = axes_of(call), call.dtype()
    x = call.emit(call[0])
    if not axes:
        return x
    largest = extreme(call, x, axes, largest=True)
    finite = op.less(op.abs(largest), scalar(np.inf, dtype))
    shift = call.emit(op.where(finite, largest, scalar(0, dtype)))
    total = op.sum(op.exp(op.subtract(x, shift)), axes, keepdims=True)
    return reshaped(op.add(op.log(total), shift), call.out_shape())


def _softmax(call: Call) -> Expr:
    axis = call.axis(-1)
    return softmax(call, call[0]) if takes(call, [axis]) else op.nn.softmax(call[0], axis)


def _arg(function: Reduce) -> Converter:
    """The index of the extreme; of several equal ones the first, or the last if asked for."""

    def convert(call: Call) -> Expr:
        axis = call.axis(0)
        last = call.attr("select_last_index", 0)
        found = function(op.flip(call[0], axis) if last else call[0], axis, keepdims=True)
        if last:
            found = op.subtract(scalar(call.shape()[axis] - 1, "int64"), found)
        return reshaped(found, call.out_shape())

    return convert


def _cumulative(function: Callable[..., Expr]) -> Converter:
    def convert(call: Call) -> Expr:
        axis = call.ints(1)[0] % call.rank()
        backwards = call.attr("reverse", 0)
        x = op.flip(call[0], axis) if backwards else call[0]
        exclusive = bool(call.attr("exclusive", 0))
        total = function(x, axis, dtype=call.dtype(), exclusive=exclusive)
        return op.flip(total, axis) if backwards else total

    return convert


def _top_k(call: Call) -> Converted:
    """Values and indices of the k best along an axis, in order; equal ones by index.

    The place of an element is how many come before it: n² comparisons, which need no sort from
    outside of the generated code. ``sorted=0`` allows any order, so this one too.
    """
    axis, largest = call.axis(-1), bool(call.attr("largest", 1))
    shape, kept = call.shape(), call.out_shape()
    count = shape[axis]

    def at(index: tuple[tirx.Expr, ...], position: tirx.Expr) -> tuple[tirx.Expr, ...]:
        return (*index[:axis], position, *index[axis + 1 :])

    def place(data: te.Tensor) -> te.Tensor:
        def compute(*index: tirx.Expr) -> tirx.Expr:
            other = te.reduce_axis((0, count), "other")
            mine, theirs = data(*index), data(*at(index, other))
            better = theirs > mine if largest else theirs < mine
            first = tirx.all(theirs.equal(mine), other < index[axis])
            return te.sum(
                tirx.Select(
                    tirx.any(better, first), tirx.const(1, "int32"), tirx.const(0, "int32")
                ),
                axis=other,
            )

        return te.compute(shape, compute, name="place")

    def pick(places: te.Tensor) -> te.Tensor:
        def compute(*index: tirx.Expr) -> tirx.Expr:
            source = te.reduce_axis((0, count), "source")
            hit = places(*at(index, source)).equal(tirx.Cast("int32", index[axis]))
            return te.sum(
                tirx.Select(hit, tirx.Cast("int64", source), tirx.const(0, "int64")), axis=source
            )

        return te.compute(kept, compute, name="pick")

    x = call.emit(call[0])
    places = call.builder.emit_te(place, x, primfunc_name_hint="top_k_place")
    indices = call.builder.emit_te(pick, places, primfunc_name_hint="top_k_pick")
    return [op.gather_elements(x, indices, axis), indices]


def _hardmax(call: Call) -> Expr:
    """One at the first maximum along the axis, zero elsewhere."""
    axis = call.axis(-1)
    shape = [-1 if k == axis else 1 for k in range(call.rank())]
    positions = constant(np.arange(call.shape()[axis], dtype="int64").reshape(shape))
    hit = op.equal(op.argmax(call[0], axis, keepdims=True), positions)
    return op.astype(hit, call.dtype())


REDUCTIONS: dict[str, Converter] = {
    "ArgMax": _arg(op.argmax),
    "ArgMin": _arg(op.argmin),
    "CumProd": _cumulative(op.cumprod),
    "CumSum": _cumulative(op.cumsum),
    "Hardmax": _hardmax,
    "LogSoftmax": lambda call: op.nn.log_softmax(call[0], call.axis(-1)),
    "ReduceL1": _sum_of(op.abs, _same),
    "ReduceL2": _sum_of(_square, op.sqrt),
    "ReduceLogSum": _sum_of(_same, op.log),
    "ReduceLogSumExp": _log_sum_exp,
    "ReduceMax": _extreme(largest=True),
    "ReduceMean": _mean,
    "ReduceMin": _extreme(largest=False),
    "ReduceProd": _reduce(op.prod),
    "ReduceSum": _reduce(op.sum),
    "ReduceSumSquare": _sum_of(_square, _same),
    "Softmax": _softmax,
    "TopK": _top_k,
}
