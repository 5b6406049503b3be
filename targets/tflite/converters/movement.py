"""Operators that move, copy or choose numbers."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ..call import Call, Converter, NotSaidError
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
    sizes = [value.shape[at] for value in call.results if value.shape is not None]
    lengths = call.int32([int(size) for size in sizes], "sizes")
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
    if (amounts < 0).any():
        raise NotSaidError("negative pads, which cut, have no operator")
    data, sizes = call.input(), call.make(amounts, "pads")
    if mode == "reflect":
        options = ("MirrorPadOptions", {"mode": schema.MirrorPadMode.REFLECT})
        call.emit("MIRROR_PAD", [data, sizes], None, options)
        return
    if mode != "constant":
        raise NotSaidError(f"mode {mode!r} has no operator")
    value = call.array(2).reshape(-1)[0] if call.has(2) and call.array(2).size else 0
    if value == 0:
        call.emit("PAD", [data, sizes], None, ("PadOptions", {}))
        return
    filling = filling_of(call, data, value)
    call.emit("PADV2", [data, sizes, filling], None, ("PadV2Options", {}))


def gather(call: Call) -> None:
    axis = call.axis(0)
    indices = call.constant(1)
    where = call.input(1)
    if indices is not None:
        array = indices.array
        where = call.make(np.where(array < 0, array + call.shape()[axis], array), "indices")
    else:
        where = from_the_front(call, where, call.shape()[axis])
    options = ("GatherOptions", {"axis": axis, "batchDims": 0})
    call.emit("GATHER", [call.input(), where], None, options)


def from_the_front(call: Call, indices: int, size: int) -> int:
    """Return indices, which may count from the back, counted from the front."""
    known = call.writer.tensors[indices]
    counted = call.temporary(known.shape, indices, "counted")
    sizes = call.make(np.array(size, known.dtype), "size")
    call.emit("FLOOR_MOD", [indices, sizes], counted, ("FloorModOptions", {}))
    return counted


def gather_nd(call: Call) -> None:
    if call.attr("batch_dims", 0):
        raise NotSaidError("GATHER_ND has no batch dimensions")
    call.emit("GATHER_ND", [call.input(0), call.input(1)], None, ("GatherNdOptions", {}))


def expand(call: Call) -> None:
    sizes = call.int32(call.out_shape(), "shape")
    call.emit("BROADCAST_TO", [call.input(), sizes], None, ("BroadcastToOptions", {}))


def tile(call: Call) -> None:
    repeats = call.int32(call.ints(1), "repeats")
    call.emit("TILE", [call.input(), repeats], None, ("TileOptions", {}))


def depth_to_space(call: Call) -> None:
    """Channels first: through channels last and back, for the mode DCR."""
    if call.attr("mode", "DCR") != "DCR":
        raise NotSaidError("mode CRD has no operator")
    _blocks(call, "DEPTH_TO_SPACE", "DepthToSpaceOptions")


def space_to_depth(call: Call) -> None:
    _blocks(call, "SPACE_TO_DEPTH", "SpaceToDepthOptions")


def _blocks(call: Call, operator: str, options: str) -> None:
    data = call.transpose(call.input(), (0, 2, 3, 1))
    n, c, h, w = call.out_shape()
    moved = call.temporary((n, h, w, c), data, "moved")
    call.emit(operator, [data], moved, (options, {"blockSize": int(call.attr("blocksize"))}))
    call.transpose(moved, (0, 3, 1, 2), call.output())


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
    "Gather": gather,
    "GatherND": gather_nd,
    "Identity": reshape,
    "Pad": pad,
    "Reshape": reshape,
    "Slice": slice_,
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "Squeeze": reshape,
    "Tile": tile,
    "Transpose": transpose,
    "Unsqueeze": reshape,
}
