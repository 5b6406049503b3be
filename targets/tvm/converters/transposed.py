"""Transposed convolutions: by phases, as one product whose channels are moved, or of spread data.

Output o of a transposed convolution with strides s is a sum over all taps k, and data i, with

    s i + dilation k = o + pad

so that outputs whose places leave the same remainder by s, a *phase*, are an ordinary convolution
of the data with every s-th tap (Shi et al., "Is the deconvolution layer the same as a convolutional
layer?", 2016). `phases` are kernels of one loop nest, which writes what it has computed where it
belongs.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from tvm import relax, te, tirx

from ....lowering.layout.nhwc import SUFFIXES
from ..schedules.annotations import TRANSPOSED as STRIDES
from ..schedules.arithmetic import FLOAT
from .call import Call, Converter, Expr, Shape, core_of, reshaped
from .movement import padded
from .products import FUSABLE, Plan, product
from .storage import Storage
from .tiles import Index, Tensor
from .window import Window
from .windows import add_bias, convolve, is_scheduled, scheduled, weight_of, window_of

op = relax.op

#: So many phases have loops of their own in one kernel, at most: its code grows with them.
_MOST_PHASES: Final = 16


def _conv_transpose(call: Call) -> Expr:
    """x, weight (I, O / group, ...), bias; what `window_attributes` gives as pads cuts the output.

    A constant weight of channels-last data becomes products, or else a convolution of the data,
    spread out by the strides, with the kernel turned around.
    """
    window, weight = window_of(call), weight_of(call)
    if not is_scheduled(call, window) or not isinstance(weight, np.ndarray):
        result = _of_spread_data(call, window, weight)
    elif _is_joined(call, window):
        result = _joined(call, window, weight)
    elif _is_phased(call, window):
        result = _phased(call, window, weight)
    else:
        result = _of_spread_data(call, window, weight)
    return add_bias(call, window, result, call[2]) if call.has(2) else result


@dataclasses.dataclass(frozen=True)
class _Line:
    """Outputs o of one axis with the same remainder by the stride: a convolution of the data.

    Attributes:
        taps: those of the kernel that take part, in the order of the data that they meet.
        begin: how far the first window begins before the data.
    """

    taps: tuple[int, ...]
    begin: int = 0


def _lines(window: Window, axis: int) -> list[_Line]:
    """Return what the outputs o = 0, 1, ... stride - 1 of an axis, and so on, are sums of."""
    stride, dilation = window.strides[axis], window.dilations[axis]
    common = math.gcd(stride, dilation)
    found = []
    for at in range(window.begin[axis], window.begin[axis] + stride):
        meeting = [tap for tap in range(window.kernel[axis]) if (at - dilation * tap) % stride == 0]
        taps = tuple(reversed(meeting))
        # The first of them meets data i = (at - dilation tap) / stride for the first output.
        begin = (dilation * taps[0] - at) // stride if taps else 0
        found.append(_Line(taps, begin))
        assert all(a - b == stride // common for a, b in itertools.pairwise(taps))
    return found


@dataclasses.dataclass(frozen=True)
class _Phase:
    """Outputs whose places leave the same remainders by the strides.

    Attributes:
        remainders: one for each axis.
        lines: of each axis.
        window: over the data; what it needs of pads is in `begin`, which may be negative.
    """

    remainders: Shape
    lines: tuple[_Line, ...]
    window: Window


def _phases(window: Window) -> list[_Phase]:
    """Return the phases of a window that has taps for them; the outputs of others are zero."""
    rank = window.rank
    each = [list(enumerate(_lines(window, axis))) for axis in range(rank)]
    steps = tuple(
        dilation // math.gcd(stride, dilation)
        for stride, dilation in zip(window.strides, window.dilations, strict=True)
    )
    found = []
    for numbered in itertools.product(*each):
        lines = tuple(line for _, line in numbered)
        if all(line.taps for line in lines):
            plain = dataclasses.replace(
                window,
                kernel=tuple(len(line.taps) for line in lines),
                strides=(1,) * rank,
                dilations=steps,
                begin=tuple(line.begin for line in lines),
                end=(0,) * rank,
            )
            found.append(_Phase(tuple(at for at, _ in numbered), lines, plain))
    return found


def _is_phased(call: Call, window: Window) -> bool:
    """Whether each phase is worth loops of its own."""
    inputs = call.shape(1)[0] // window.group
    return 1 < math.prod(window.strides) <= _MOST_PHASES and (window.group == 1 or inputs > 1)


def _phased(call: Call, window: Window, weight: np.ndarray) -> Expr:
    """Return the transposed convolution as a kernel with sums for each phase."""
    ordered = _ordered(weight, window)
    phases, shape, out = _phases(window), call.shape(), call.out_shape()
    places = tuple(
        -(-size // stride) for size, stride in zip(window.space(out), window.strides, strict=True)
    )
    union = _union(phases, places, window.space(shape))
    taps = sum(phase.window.taps for phase in phases)
    grid = (out[0], *places, out[-1])
    storage = Storage(FLOAT, "float32")
    plan = Plan.of(union, ordered.shape, shape, grid, storage, core_of(call), taps=taps)
    weights = [ordered[np.ix_(*(line.taps for line in phase.lines))] for phase in phases]

    def compute(x: Tensor, *packed: Tensor) -> Tensor:
        read, _ = plan.reader(x)
        said = {STRIDES: list(window.strides)}

        def of_phase(number: int, phase: _Phase, w: Tensor) -> Tensor:
            shifts = [low - own for low, own in zip(union.begin, phase.window.begin, strict=True)]

            def shifted(outer: Index, block: Any, place: Index, inner: Any) -> Any:
                moved = [at + shift for at, shift in zip(place, shifts, strict=True)]
                return read(outer, block, moved, inner)

            return plan.sums(
                lambda outer, *index: w(*index),
                shifted,
                phase.window.strides,
                phase.window,
                number,
                **said,
            )

        sums = [of_phase(k, *pair) for k, pair in enumerate(zip(phases, packed, strict=True))]

        def element(*index: Any) -> Any:
            image, *space, channel = index
            steps = list(zip(space, window.strides, strict=True))
            source = (image, *(tirx.floordiv(at, step) for at, step in steps), channel)
            value: Any = tirx.const(0, "float32")
            for phase, tensor in zip(phases, sums, strict=True):
                own = [
                    tirx.floormod(at, step) == remainder
                    for (at, step), remainder in zip(steps, phase.remainders, strict=True)
                ]
                value = tirx.Select(tirx.all(*own), plan.of_tile(tensor, source), value)
            return value

        return te.compute(out, element, name="product")

    return call.builder.emit_te(
        compute,
        call[0],
        *(relax.const(plan.packed(part)) for part in weights),
        primfunc_name_hint="transposed",
        primfunc_attrs={"op_pattern": FUSABLE},
    )


def _union(phases: Sequence[_Phase], places: Shape, sizes: Shape) -> Window:
    """Return the window over all data that one output of each phase is of."""
    windows = [phase.window for phase in phases]
    begin = tuple(max(lows) for lows in zip(*(item.begin for item in windows), strict=True))
    reached = [
        max(extent - low for extent, low in zip(extents, lows, strict=True))
        for extents, lows in zip(
            zip(*(item.extents for item in windows), strict=True),
            zip(*(item.begin for item in windows), strict=True),
            strict=True,
        )
    ]
    extents = tuple(low + reach for low, reach in zip(begin, reached, strict=True))
    end = tuple(
        max(0, count - 1 + reach - size)
        for count, reach, size in zip(places, reached, sizes, strict=True)
    )
    return dataclasses.replace(
        windows[0], kernel=extents, dilations=(1,) * len(places), begin=begin, end=end
    )


def _ordered(weight: np.ndarray, window: Window) -> np.ndarray:
    """Return the weight (I, O / group, kernel) as (kernel, I / group, O)."""
    inputs, each, *kernel = weight.shape
    split = weight.reshape(window.group, inputs // window.group, each, *kernel)
    space = range(3, 3 + window.rank)
    return split.transpose(*space, 1, 0, 2).reshape(
        *kernel, inputs // window.group, window.group * each
    )


def _is_joined(call: Call, window: Window) -> bool:
    """Whether phases are better computed as channels: they are many, or alone would fill no vector.

    A window begins in the data or before it.
    """
    if window.group > 1 or max(window.dilations) > 1 or max(window.strides) == 1:
        return False
    if any(low >= size for low, size in zip(window.begin, window.kernel, strict=True)):
        return False
    outputs = call.out_shape()[-1]
    return math.prod(window.strides) > _MOST_PHASES or outputs < core_of(call).lanes


def _joined(call: Call, window: Window, weight: np.ndarray) -> Expr:
    """Return the transposed convolution as one product with all phases as channels, moved after.

    Phases here are those of o + pad. All are sums of the same windows: taps that some have not are
    zero.
    """
    strides, out, sizes = window.strides, call.out_shape(), window.space(call.shape())
    outputs, rank = out[-1], window.rank
    counts = [-(-k // stride) for k, stride in zip(window.kernel, strides, strict=True)]
    first = [low // stride for low, stride in zip(window.begin, strides, strict=True)]
    last = [
        (size - 1 + low) // stride
        for size, low, stride in zip(window.space(out), window.begin, strides, strict=True)
    ]
    grid = tuple(end - start + 1 for start, end in zip(first, last, strict=True))
    over = dataclasses.replace(
        window,
        kernel=tuple(counts),
        strides=(1,) * rank,
        begin=tuple(count - 1 - start for count, start in zip(counts, first, strict=True)),
        end=tuple(max(0, end - size + 1) for end, size in zip(last, sizes, strict=True)),
    )
    shape = (out[0], *grid, math.prod(strides) * outputs)
    ordered = _with_phases(_ordered(weight, window), counts, strides)
    found = call.emit(product(call, call[0], ordered, over, shape))

    def compute(x: Tensor) -> Tensor:
        def element(*index: Any) -> Any:
            image, *space, channel = index
            place, phase = [], tirx.const(0, "int64")
            for at, low, stride, start in zip(space, window.begin, strides, first, strict=True):
                place.append(tirx.floordiv(at + low, stride) - start)
                phase = phase * stride + tirx.floormod(at + low, stride)
            return x(image, *place, phase * outputs + channel)

        return te.compute(out, element, name="moved")

    return call.builder.emit_te(compute, found, primfunc_name_hint="moved")


def _with_phases(weight: np.ndarray, counts: Sequence[int], strides: Shape) -> np.ndarray:
    """Return a weight (kernel, I, O) as (counts, I, phases x O), each phase turned around."""
    rank = len(counts)
    *kernel, inputs, outputs = weight.shape
    spare = [
        (0, count * stride - size)
        for count, stride, size in zip(counts, strides, kernel, strict=True)
    ]
    split = [part for pair in zip(counts, strides, strict=True) for part in pair]
    filled = np.pad(weight, [*spare, (0, 0), (0, 0)]).reshape(*split, inputs, outputs)
    turned = np.flip(filled, tuple(range(0, 2 * rank, 2)))
    order = (*range(0, 2 * rank, 2), 2 * rank, *range(1, 2 * rank, 2), 2 * rank + 1)
    return turned.transpose(order).reshape(*counts, inputs, -1)


def _of_spread_data(call: Call, window: Window, weight: Expr | np.ndarray) -> Expr:
    """Return the transposed convolution as a plain one of the data, spread out by the strides."""
    data, sizes = _spread(call, window)
    # out = size + low + high - extent + 1, and low is what the pads leave of a full convolution.
    lows = [extent - 1 - low for extent, low in zip(window.extents, window.begin, strict=True)]
    highs = [
        out + extent - 1 - size - low
        for out, extent, size, low in zip(
            window.space(call.out_shape()), window.extents, sizes, lows, strict=True
        )
    ]
    if min(*lows, *highs) < 0:
        begin = [max(0, -low) for low in lows]
        end = [size - max(0, -high) for size, high in zip(sizes, highs, strict=True)]
        data = op.strided_slice(data, _axes(window), begin, end)
    plain = dataclasses.replace(
        window,
        strides=(1,) * window.rank,
        begin=tuple(max(0, low) for low in lows),
        end=tuple(max(0, high) for high in highs),
    )
    turned = _turned(call, window, weight)
    if isinstance(turned, np.ndarray) and is_scheduled(call, plain):
        return scheduled(call, plain, call.emit(data), turned)
    return convolve(call, plain, data, turned)


def _axes(window: Window) -> list[int]:
    """Return the axes of the space."""
    first = 1 if window.channels_last else 2
    return list(range(first, first + window.rank))


def _spread(call: Call, window: Window) -> tuple[Expr, Shape]:
    """Put stride - 1 zeros between the elements; return the tensor and its extents in space."""
    shape, axes = call.shape(), _axes(window)
    space = window.space(shape)
    if all(stride == 1 for stride in window.strides):
        return call[0], space
    strides = dict(zip(axes, window.strides, strict=True))
    loose, widths, joined = [], [], []
    for axis, size in enumerate(shape):
        stride = strides.get(axis)
        loose += [size] if stride is None else [size, 1]
        widths += [(0, 0)] if stride is None else [(0, 0), (0, stride - 1)]
        joined.append(size * (stride or 1))
    zero = tirx.const(0, call.dtype())
    with_zeros = padded(call, reshaped(call[0], loose), tuple(loose), widths, zero)
    ends = [joined[axis] - stride + 1 for axis, stride in strides.items()]
    data = op.strided_slice(reshaped(with_zeros, joined), axes, [0] * window.rank, ends)
    return data, tuple(ends)


def _turned(call: Call, window: Window, weight: Expr | np.ndarray) -> Expr | np.ndarray:
    """Return the weight (in, out / group, ...) as (out, in / group, ...), reversed in space."""
    groups, space = window.group, call.shape(1)[2:]
    inputs, outputs = call.shape(1)[:2]
    split = (groups, inputs // groups, outputs, *space)
    joined = (groups * outputs, inputs // groups, *space)
    order = (0, 2, 1, *range(3, 3 + window.rank))
    if isinstance(weight, np.ndarray):
        turned = weight.reshape(split).transpose(order).reshape(joined)
        return np.flip(turned, tuple(range(2, 2 + window.rank)))
    turned = reshaped(op.permute_dims(reshaped(weight, split), order), joined)
    for axis in range(2, 2 + window.rank):
        turned = op.flip(turned, axis)
    return turned


TRANSPOSED: dict[str, Converter] = {"ConvTranspose": _conv_transpose}

#: The operators of our own domain: the same, with data channels-last.
LAST: dict[str, Converter] = {
    f"ConvTranspose{layout}": _conv_transpose for layout in SUFFIXES.values()
}
