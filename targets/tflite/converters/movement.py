"""Operators that move, copy or choose numbers."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ..call import Call, Converter, NotSaidError, static
from .windows import filling_of


def reshape(call: Call) -> None:
    call.reshape(call.input(), call.out_shape(), call.output())


def transpose(call: Call) -> None:
    perm = call.attr("perm", tuple(reversed(range(call.rank()))))
    call.transpose(call.input(), tuple(perm), call.output())


def concat(call: Call) -> None:
    inputs = [call.input(index) for index in range(len(call.node.inputs))]
    output = call.output()
    wanted = call.writer.tensors[output].quantization
    if call.integer and wanted is not None:
        inputs = [_alike(call, item, output) for item in inputs]
    fields = {"axis": call.axis(0), "fusedActivationFunction": 0}
    call.emit("CONCATENATION", inputs, output, ("ConcatenationOptions", fields))


def _alike(call: Call, tensor: int, output: int) -> int:
    """Return integers with the parameters of the output, which the kernel wants of its inputs."""
    known, wanted = call.writer.tensors[tensor], call.writer.tensors[output]
    keys = [item.quantization.key for item in (known, wanted) if item.quantization is not None]
    if len(keys) == 2 and keys[0] == keys[1]:
        return tensor
    changed = call.temporary(known.shape, output, f"rescaled_{tensor}")
    call.emit("QUANTIZE", [tensor], changed, ("QuantizeOptions", {}))
    return changed


def split(call: Call) -> None:
    axis = call.make(np.array(call.axis(0), np.int32), "axis")
    at = call.axis(0)
    sizes = [static(value)[at] for value in call.results]
    lengths = call.int32(sizes, "sizes")
    options = ("SplitVOptions", {"numSplits": len(sizes)})
    call.emit("SPLIT_V", [call.input(), lengths, axis], None, options)


def slice_(call: Call) -> None:
    shape = call.shape()
    starts, ends = call.ints(1), call.ints(2)
    axes = call.ints(3) if call.has(3) else tuple(range(len(starts)))
    steps = call.ints(4) if call.has(4) else (1,) * len(starts)
    begin, end, stride = [0] * len(shape), list(shape), [1] * len(shape)
    masked = 0
    for start, stop, axis, step in zip(starts, ends, axes, steps, strict=True):
        at = axis % len(shape)
        first, last, _ = slice(start, stop, step).indices(shape[at])
        begin[at], end[at], stride[at] = first, last, step
        if last < 0:  # a negative step to the very first element
            masked |= 1 << at
            end[at] = 0
    if all(step == 1 for step in stride):
        sizes = [stop - start for start, stop in zip(begin, end, strict=True)]
        inputs = [call.input(), call.int32(begin, "begin"), call.int32(sizes, "size")]
        call.emit("SLICE", inputs, None, ("SliceOptions", {}))
        return
    inputs = [call.input(), *map(call.int32, (begin, end, stride), ("begin", "end", "strides"))]
    call.emit("STRIDED_SLICE", inputs, None, ("StridedSliceOptions", {"endMask": masked}))


def pad(call: Call) -> None:
    mode = call.attr("mode", "constant")
    pads = call.ints(1)
    axes = call.ints(3) if call.has(3) else tuple(range(call.rank()))
    amounts = np.zeros((call.rank(), 2), np.int32)
    for index, axis in enumerate(axes):
        amounts[axis % call.rank()] = pads[index], pads[index + len(axes)]
    if mode in ("edge", "wrap") or (mode == "reflect" and (amounts < 0).any()):
        _padded_by_index(call, amounts, mode)
        return
    if (amounts < 0).any():
        raise NotSaidError("pads that add on one side and cut on another have no operator")
    data, sizes = call.input(), call.make(amounts, "pads")
    if mode == "reflect":
        options = ("MirrorPadOptions", {"mode": schema.MirrorPadMode.REFLECT})
        call.emit("MIRROR_PAD", [data, sizes], None, options)
        return
    value = call.array(2).reshape(-1)[0] if call.has(2) and call.array(2).size else 0
    known = call.writer.tensors[data].quantization
    # PAD fills integers with what stands for zero.
    zero = 0 if call.integer or known is None else int(known.zero_point[0])
    if value == zero:
        call.emit("PAD", [data, sizes], None, ("PadOptions", {}))
        return
    filling = filling_of(call, data, value)
    call.emit("PADV2", [data, sizes, filling], None, ("PadV2Options", {}))


def _padded_by_index(call: Call, amounts: np.ndarray, mode: str) -> None:
    """Repeat what is at the border, or beyond the other one: gathered, axis by axis."""
    data = call.input()
    changed = [axis for axis in range(call.rank()) if amounts[axis].any()]
    for axis in changed:
        size = call.shape()[axis]
        before, after = (int(amount) for amount in amounts[axis])
        places = np.pad(np.arange(size), (max(before, 0), max(after, 0)), mode)  # type: ignore[call-overload]  # a mode of numpy's own
        places = places[max(-before, 0) : len(places) - max(-after, 0)]
        shape = list(call.shape_of(data))
        shape[axis] = len(places)
        last = axis == changed[-1]
        output = call.output() if last else call.temporary(shape, data, f"padded_{axis}")
        where = call.int32(places.tolist(), f"places_{axis}")
        call.emit("GATHER", [data, where], output, ("GatherOptions", {"axis": axis}))
        data = output
    if not changed:
        call.reshape(data, call.out_shape(), call.output())


def expand(call: Call) -> None:
    sizes = call.int32(call.out_shape(), "shape")
    call.emit("BROADCAST_TO", [call.input(), sizes], None, ("BroadcastToOptions", {}))


def tile(call: Call) -> None:
    repeats = call.int32(call.ints(1), "repeats")
    call.emit("TILE", [call.input(), repeats], None, ("TileOptions", {}))


def depth_to_space(call: Call) -> None:
    """Channels first: through channels last and back; of the mode CRD, in another order."""
    n, channels, h, w = call.shape()
    block = int(call.attr("blocksize"))
    data = call.transpose(call.input(), (0, 2, 3, 1))
    if call.attr("mode", "DCR") == "CRD":
        order = np.arange(channels).reshape(-1, block * block).T.reshape(-1)
        sorted_ = call.temporary((n, h, w, channels), data, "sorted")
        where = call.int32(order.tolist(), "order")
        call.emit("GATHER", [data, where], sorted_, ("GatherOptions", {"axis": 3}))
        data = sorted_
    _blocks(call, data, "DEPTH_TO_SPACE", "DepthToSpaceOptions")


def space_to_depth(call: Call) -> None:
    data = call.transpose(call.input(), (0, 2, 3, 1))
    _blocks(call, data, "SPACE_TO_DEPTH", "SpaceToDepthOptions")


def _blocks(call: Call, data: int, operator: str, options: str) -> None:
    n, c, h, w = call.out_shape()
    moved = call.temporary((n, h, w, c), data, "moved")
    call.emit(operator, [data], moved, (options, {"blockSize": int(call.attr("blocksize"))}))
    call.transpose(moved, (0, 3, 1, 2), call.output())


def trilu(call: Call) -> None:
    """Keep what is on one side of a diagonal, by a constant mask; the rest is zero."""
    rows, columns = call.shape()[-2:]
    shift = int(call.array(1).reshape(-1)[0]) if call.has(1) else 0
    side = np.triu if call.attr("upper", 1) else np.tril
    data = call.input()
    mask = call.make(side(np.ones((rows, columns), bool), shift), "mask")
    inputs = [mask, data, filling_of(call, data, 0)]
    call.emit("SELECT_V2", inputs, None, ("SelectV2Options", {}))


def one_hot(call: Call) -> None:
    """Indices from -depth on count from the back; beyond, every value is off."""
    indices, depth = call.input(0), int(call.array(1).reshape(-1)[0])
    known = call.writer.tensors[indices]
    if known.dtype not in ("int32", "int64"):
        raise NotSaidError("its indices are neither int32 nor int64")
    counted, shifted = (call.temporary(known.shape, indices, name) for name in ("from", "shifted"))
    negative = call.writer.tensor(f"{call.node.name}/negative", known.shape, "bool")
    zero, size = (call.make(np.array(n, known.dtype), "n") for n in (0, depth))
    call.emit("LESS", [indices, zero], negative, ("LessOptions", {}))
    call.emit("ADD", [indices, size], shifted, ("AddOptions", {"fusedActivationFunction": 0}))
    call.emit("SELECT_V2", [negative, shifted, indices], counted, ("SelectV2Options", {}))
    off, on = (call.make(np.asarray(item), "value") for item in call.array(2).reshape(-1))
    axis = int(call.attr("axis", -1)) % (call.rank() + 1)
    options = ("OneHotOptions", {"axis": -1 if axis == call.rank() else axis})
    inputs = [counted, call.make(np.array(depth, np.int32), "depth"), on, off]
    call.emit("ONE_HOT", inputs, None, options)


def cumsum(call: Call) -> None:
    axis = call.make(np.array(call.ints(1)[0] % call.rank(), np.int32), "axis")
    fields: dict[str, Any] = {
        "exclusive": bool(call.attr("exclusive", 0)),
        "reverse": bool(call.attr("reverse", 0)),
    }
    call.emit("CUMSUM", [call.input(), axis], None, ("CumsumOptions", fields))


MOVEMENT: Final[dict[str, Converter]] = {
    "Concat": concat,
    "CumSum": cumsum,
    "DepthToSpace": depth_to_space,
    "Expand": expand,
    "Flatten": reshape,
    "Identity": reshape,
    "OneHot": one_hot,
    "Pad": pad,
    "Reshape": reshape,
    "Slice": slice_,
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "Squeeze": reshape,
    "Tile": tile,
    "Transpose": transpose,
    "Trilu": trilu,
    "Unsqueeze": reshape,
}
