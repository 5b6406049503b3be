"""Operators that move, select or make elements without computing on them."""

from __future__ import annotations

import numpy as np
from tvm import relax, te, tirx

from .call import Call, Converted, Converter, Expr, Shape, constant, reshaped, scalar

op = relax.op


def _to_output_shape(call: Call) -> Expr:
    """Reshape, Squeeze, Unsqueeze, Flatten: the order of the elements stays."""
    return reshaped(call[0], call.out_shape())


def _transpose(call: Call) -> Expr:
    return op.permute_dims(call[0], call.attr("perm", tuple(reversed(range(call.rank())))))


def _concat(call: Call) -> Expr:
    axis = call.attr("axis") % len(call.out_shape())
    parts = [x for k, x in enumerate(call.inputs) if 0 not in call.shape(k)]
    return op.concat(parts, axis)


def _split(call: Call) -> Converted:
    axis = call.axis(0)
    shapes = [call.out_shape(k) for k in range(len(call.node.outputs))]
    sizes = [shape[axis] for shape in shapes if shape[axis]]
    if len(sizes) == 1:
        parts = iter([call[0]])
    else:
        ends = [int(end) for end in np.cumsum(sizes)[:-1]]
        pieces = call.emit(op.split(call[0], ends, axis))
        parts = (relax.TupleGetItem(pieces, k) for k in range(len(sizes)))
    empty = np.zeros((0,), call.dtype())
    return [next(parts) if shape[axis] else constant(empty.reshape(shape)) for shape in shapes]


def _slice(call: Call) -> Expr:
    starts, ends = call.ints(1), call.ints(2)
    axes = call.ints(3) if call.has(3) else tuple(range(len(starts)))
    steps = call.ints(4) if call.has(4) else (1,) * len(starts)
    axes = tuple(axis % call.rank() for axis in axes)
    result, forward = call[0], []
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        span = range(*slice(start, end, step).indices(call.shape()[axis]))
        if step > 0:
            forward.append((axis, span.start, span.stop, step))
        else:
            result = op.take(result, constant(np.array(span, "int64")), axis)
    return op.strided_slice(result, *zip(*forward, strict=True)) if forward else result


def _pad(call: Call) -> Expr:
    rank, mode = call.rank(), call.attr("mode", "constant")
    pads = call.ints(1)
    axes = [a % rank for a in call.ints(3)] if call.has(3) else list(range(rank))
    before, after = [0] * rank, [0] * rank
    for k, axis in enumerate(axes):
        before[axis], after[axis] = pads[k], pads[k + len(axes)]
    result = _cropped(call[0], call.shape(), before, after)
    shape = tuple(
        size + min(0, low) + min(0, high)
        for size, low, high in zip(call.shape(), before, after, strict=True)
    )
    widths = [(max(0, low), max(0, high)) for low, high in zip(before, after, strict=True)]
    if not any(low or high for low, high in widths):
        return result
    if mode == "constant":
        return _pad_constant(call, result, shape, widths)
    for axis, width in enumerate(widths):
        if any(width):
            picked = np.pad(np.arange(shape[axis], dtype="int64"), width, mode=mode)
            result = op.take(result, constant(picked), axis)
    return result


def _cropped(x: Expr, shape: Shape, before: list[int], after: list[int]) -> Expr:
    """Apply the negative pads, which cut."""
    axes = [a for a in range(len(shape)) if before[a] < 0 or after[a] < 0]
    if not axes:
        return x
    begin = [max(0, -before[a]) for a in axes]
    end = [shape[a] - max(0, -after[a]) for a in axes]
    return op.strided_slice(x, axes, begin, end)


def _pad_constant(call: Call, x: Expr, shape: Shape, widths: list[tuple[int, int]]) -> Expr:
    dtype = call.dtype()
    value = call.node.inputs[2] if call.has(2) else None
    if value is None or value.const_value is not None:
        fill = 0 if value is None else call.array(2).reshape(-1)[0].item()
        return padded(call, x, shape, widths, tirx.const(fill, dtype))
    inside = np.pad(np.ones(shape, "bool"), widths)
    zero = padded(call, x, shape, widths, tirx.const(0, dtype))
    return op.where(constant(inside), zero, reshaped(call[2], ()))


def padded(
    call: Call, x: Expr, shape: Shape, widths: list[tuple[int, int]], fill: tirx.Expr
) -> Expr:
    """Return `x` with so many elements of the value `fill` before and after it on every axis."""
    total = [low + size + high for size, (low, high) in zip(shape, widths, strict=True)]

    def compute(data: te.Tensor) -> te.Tensor:
        def at(*index: tirx.Expr) -> tirx.Expr:
            source, inside = [], []
            for i, size, (low, high) in zip(index, shape, widths, strict=True):
                source.append(i - low if low else i)
                inside += [i >= low] if low else []
                inside += [i < low + size] if high else []
            return tirx.if_then_else(tirx.all(*inside), data(*source), fill)

        return te.compute(total, at, name="pad")

    return call.builder.emit_te(compute, call.emit(x), primfunc_name_hint="pad")


def from_front(call: Call, index: int, sizes: Shape) -> Expr:
    """Return an integer input whose last axis (or all) counts from the front, not from the end.

    `sizes`: one extent for all elements, or one for each position of the last axis.
    """
    dtype = call.dtype(index)
    value = call.node.inputs[index]
    extent = np.array(sizes if len(sizes) > 1 else sizes[0], dtype)
    if value is not None and value.const_value is not None:
        indices = value.const_value.numpy()
        return constant(np.where(indices < 0, indices + extent, indices).astype(dtype))
    if dtype.startswith("uint"):
        return call[index]
    indices = call.emit(call[index])
    return op.where(op.less(indices, scalar(0, dtype)), op.add(indices, constant(extent)), indices)


def _gather(call: Call) -> Expr:
    axis = call.axis(0)
    count = int(np.prod(call.shape(1)))
    indices = reshaped(from_front(call, 1, (call.shape()[axis],)), (count,))
    return reshaped(op.take(call[0], indices, axis, mode="clip"), call.out_shape())


def _gather_elements(call: Call) -> Expr:
    axis = call.axis(0)
    return op.gather_elements(call[0], from_front(call, 1, (call.shape()[axis],)), axis)


def _gather_nd(call: Call) -> Expr:
    batch = call.attr("batch_dims", 0)
    depth = call.shape(1)[-1]
    indices = from_front(call, 1, call.shape()[batch : batch + depth])
    return reshaped(op.gather_nd(call[0], indices, batch), call.out_shape())


_REDUCTIONS = {"none": "update", "add": "add", "mul": "mul", "max": "max", "min": "min"}


def _scatter_elements(call: Call) -> Expr:
    axis = call.axis(0)
    indices = from_front(call, 1, (call.shape()[axis],))
    return op.scatter_elements(
        call[0], indices, call[2], axis, _REDUCTIONS[call.attr("reduction", "none")]
    )


def _scatter_nd(call: Call) -> Expr:
    indices = from_front(call, 1, call.shape()[: call.shape(1)[-1]])
    return op.scatter_nd(call[0], indices, call[2], _REDUCTIONS[call.attr("reduction", "none")])


def _compress(call: Call) -> Expr:
    kept = np.flatnonzero(call.array(1)).astype("int64")
    if "axis" not in call.node.attributes:
        return op.take(reshaped(call[0], (-1,)), constant(kept), 0)
    return op.take(call[0], constant(kept), call.axis(0))


def _depth_to_space(call: Call) -> Expr:
    n, c, h, w = call.shape()
    b = call.attr("blocksize")
    if call.attr("mode", "DCR") == "DCR":
        blocks, order = (n, b, b, c // (b * b), h, w), (0, 3, 4, 1, 5, 2)
    else:
        blocks, order = (n, c // (b * b), b, b, h, w), (0, 1, 4, 2, 5, 3)
    return reshaped(op.permute_dims(reshaped(call[0], blocks), order), call.out_shape())


def _space_to_depth(call: Call) -> Expr:
    n, c, h, w = call.shape()
    b = call.attr("blocksize")
    blocks = reshaped(call[0], (n, c, h // b, b, w // b, b))
    order = (0, 3, 5, 1, 2, 4) if call.attr("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    return reshaped(op.permute_dims(blocks, order), call.out_shape())


def _trilu(call: Call) -> Expr:
    offset = call.ints(1)[0] if call.has(1) else 0
    rows, columns = call.shape()[-2:]
    kept = np.triu if call.attr("upper", 1) else np.tril
    mask = kept(np.ones((rows, columns), "bool"), offset)
    return op.where(constant(mask), call[0], scalar(0, call.dtype()))


def _one_hot(call: Call) -> Expr:
    """`values` is (off, on); an index outside of the depth's range gives a row of off."""
    (depth,) = call.ints(1)
    axis = call.attr("axis", -1) % (call.rank() + 1)
    dtype = call.dtype()
    indices = call.emit(call[0])
    if not dtype.startswith("uint"):
        below = op.less(indices, scalar(0, dtype))
        indices = op.where(below, op.add(indices, scalar(depth, dtype)), indices)
    classes = np.arange(depth).astype(dtype)
    classes = classes.reshape([-1 if k == axis else 1 for k in range(call.rank() + 1)])
    hit = op.equal(op.expand_dims(indices, axis), constant(classes))
    off, on = (reshaped(op.take(call[2], constant(np.array([k], "int64")), 0), ()) for k in (0, 1))
    return op.where(hit, on, off)


def _reverse_sequence(call: Call) -> Expr:
    """Element t of a sequence of length n comes from n - 1 - t while t < n."""
    time, batch = call.attr("time_axis", 0), call.attr("batch_axis", 1)

    def compute(data: te.Tensor, lengths: te.Tensor) -> te.Tensor:
        def at(*index: tirx.Expr) -> tirx.Expr:
            source = list(index)
            length = tirx.Cast("int64", lengths[index[batch]])
            turned = length - 1 - index[time]
            source[time] = tirx.if_then_else(index[time] < length, turned, index[time])
            return data(*source)

        return te.compute(data.shape, at, name="reverse_sequence")

    return call.builder.emit_te(compute, call.emit(call[0]), call.emit(call[1]))


def _max_unpool(call: Call) -> Expr:
    """The indices count in the flattened tensor that the pooling read."""
    pooled = _unpooled_shape(call)
    zeros = op.zeros((int(np.prod(pooled)),), call.dtype())
    flat = op.scatter_elements(zeros, reshaped(call[1], (-1,)), reshaped(call[0], (-1,)), 0)
    result = reshaped(flat, pooled)
    if pooled == call.out_shape():
        return result
    widths = [(0, out - size) for out, size in zip(call.out_shape(), pooled, strict=True)]
    return padded(call, result, pooled, widths, tirx.const(0, call.dtype()))


def _unpooled_shape(call: Call) -> Shape:
    kernel = call.attr("kernel_shape")
    strides = call.attr("strides", (1,) * len(kernel))
    pads = call.attr("pads", (0,) * 2 * len(kernel))
    totals = zip(pads[: len(kernel)], pads[len(kernel) :], strict=True)
    spatial = tuple(
        (size - 1) * stride + extent - low - high
        for size, stride, extent, (low, high) in zip(
            call.shape()[2:], strides, kernel, totals, strict=True
        )
    )
    return (*call.shape()[:2], *spatial)


def _dropout(call: Call) -> Converted:
    return [call[0], constant(np.ones(call.shape(), "bool"))][: len(call.node.outputs)]


def _eye_like(call: Call) -> Expr:
    rows, columns = call.shape()
    return constant(np.eye(rows, columns, call.attr("k", 0), dtype=call.out_dtype()))


def _shape(call: Call) -> Expr:
    start, end = call.attr("start", 0), call.attr("end", None)
    return constant(np.array(call.shape()[start:end], "int64"))


MOVEMENT: dict[str, Converter] = {
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), _to_output_shape),
    "Compress": _compress,
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "Dropout": _dropout,
    "Expand": lambda call: op.broadcast_to(call[0], call.out_shape()),
    "EyeLike": _eye_like,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Identity": lambda call: call[0],
    "MaxUnpool": _max_unpool,
    "OneHot": _one_hot,
    "Pad": _pad,
    "ReverseSequence": _reverse_sequence,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "Shape": _shape,
    "Size": lambda call: constant(np.array(np.prod(call.shape()), "int64")),
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Tile": lambda call: op.tile(call[0], call.ints(1)),
    "Transpose": _transpose,
    "Trilu": _trilu,
}
