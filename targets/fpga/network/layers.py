"""What one node of the lowered model becomes: a layer of the integer graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import onnx_ir as ir

from ....lowering import resizing
from ....lowering.integer import operators
from ....lowering.matching import array_of, shape_of
from ....lowering.opset import DOMAIN
from .coarsen import coarsened
from .graph import (
    Add,
    AveragePool,
    Concat,
    Conv,
    Layer,
    MaxPool,
    Resize,
    Table,
    Tensor,
    Window,
)
from .requantize import ratios, reach, requantization
from .sources import Source, UnsupportedError, image_of


def layer_of(node: ir.Node, sources: Sequence[Source]) -> Layer:
    """Return the layer that does a node's work.

    Args:
        node: its constants are inputs of it; `is_layer` holds of it.
        sources: what it reads besides, in order.

    Raises:
        UnsupportedError: no engine can; says why.
    """
    return _LAYERS[_key(node)](node, *sources)


def is_layer(node: ir.Node) -> bool:
    """Whether the operator is one that engines are there for, and all its numbers are int8."""
    values = (*node.outputs, *data_of(node))
    return _key(node) in _LAYERS and all(value.dtype == ir.DataType.INT8 for value in values)


def data_of(node: ir.Node) -> list[ir.Value]:
    """Return the inputs of a node that are computed, in order."""
    return [value for value in node.inputs if value is not None and array_of(value) is None]


def _key(node: ir.Node) -> str:
    return node.op_type if node.domain in ("", DOMAIN) else ""


def _image(node: ir.Node) -> tuple[int, int, int]:
    """Return the image that a node gives, as the model sees it."""
    return image_of((shape_of(node.outputs[0]) or ())[1:])


def _output(node: ir.Node, shape: tuple[int, int, int]) -> Tensor:
    return Tensor(str(node.outputs[0].name), *shape)


def _constant(node: ir.Node, name: str) -> np.ndarray:
    """Return a constant input of one of our integer operators by name."""
    found = array_of(node.inputs[operators()[node.op_type].inputs.index(name)])
    if found is None:
        raise UnsupportedError(f"its {name} is computed", "engines hold it as a constant")
    return found


def _number(node: ir.Node, name: str) -> int:
    return int(_constant(node, name).reshape(()))


def _require_streams(sources: Sequence[Source], count: int) -> None:
    if len(sources) != count:
        constants = count - len(sources)
        raise UnsupportedError(f"{constants} of {count} inputs are constants", "all are streams")
    if len({source.last for source in sources}) > 1:
        names = " and ".join(repr(source.tensor.name) for source in sources)
        raise UnsupportedError(f"reads {names} in different layouts", "let all have channels last")


def _window(node: ir.Node, source: Tensor, output: tuple[int, int, int]) -> Window:
    """Return the window of a channels-last node, with pads up to where the last window ends."""
    kernel, strides, dilations, pads = (
        tuple(node.attributes.get_ints(name, ()))
        for name in ("kernel_shape", "strides", "dilations", "pads")
    )
    missing = 2 - len(kernel)  # of a signal the height, 1
    ones, rank = (1,) * missing, len(kernel)
    (height, width), (down, across), (y, x) = (
        ones + found for found in (kernel, strides, dilations)
    )
    (top, left), (bottom, right) = ((0,) * missing + found for found in (pads[:rank], pads[rank:]))
    bottom = max(bottom, (output[0] - 1) * down + (height - 1) * y + 1 - source.height - top)
    right = max(right, (output[1] - 1) * across + (width - 1) * x + 1 - source.width - left)
    window = Window((height, width), (down, across), (y, x), (top, left, bottom, right))
    last = (output[0] - 1) * down - top, (output[1] - 1) * across - left
    before = top >= window.reach[0] or left >= window.reach[1]
    if before or last[0] >= source.height or last[1] >= source.width:
        raise UnsupportedError(
            "has windows that lie beside the image", "pad by less than the window reaches"
        )
    return window


def _factors(node: ir.Node, channels: int) -> np.ndarray:
    """Return the factors from sums to steps of the result, float64 [channels]."""
    given = _constant(node, "multiplier").reshape(-1).astype(np.float64)
    return np.broadcast_to(given, (channels,))


def _bounds(node: ir.Node) -> tuple[int, int, int]:
    """Return the zero point, the least and the greatest integer of the result."""
    low, high = (node.attributes.get_int(name, 0) for name in ("low", "high"))
    return _number(node, "y_zero_point"), low, high


def _weighted(
    node: ir.Node, source: Tensor, shape: tuple[int, int, int], window: Window, weights: np.ndarray
) -> Conv:
    """Return a convolution; weights as `Conv` has them."""
    pad, channels, bounds = _number(node, "x_zero_point"), len(weights), _bounds(node)
    bias = np.broadcast_to(_constant(node, "bias").reshape(-1), (channels,)).astype(np.int64)
    span = max(abs(bound - bounds[0]) for bound in bounds)
    weights, bias, factors = coarsened(weights, bias, _factors(node, channels), span)
    bias = bias - pad * weights.astype(np.int64).sum(axis=(1, 2, 3))
    return Conv(
        name=str(node.name),
        inputs=(source.name,),
        output=_output(node, shape),
        window=window,
        weights=np.ascontiguousarray(weights),
        bias=bias,
        groups=node.attributes.get_int("group", 1),
        pad=pad,
        requantization=requantization(factors, reach(weights, bias), *bounds),
    )


def _conv(node: ir.Node, source: Source) -> Layer:
    weights = _constant(node, "w")  # out x in / groups x kernel
    if weights.ndim == 3:
        weights = weights[:, :, None]
    image, shape = source.channels_last, _image(node)
    window = _window(node, image, shape)
    return _weighted(node, image, shape, window, weights.transpose(0, 2, 3, 1))


def _matmul(node: ir.Node, source: Source) -> Layer:
    """Return a convolution of 1 x 1, or of the whole image if the model flattens one before."""
    weights, given, shape = _constant(node, "w"), source.tensor, _image(node)  # in x out
    if len(source.shape) == 1:
        kernel = given.shape
        window = Window(kernel[:2])
    else:
        kernel, window = (1, 1, source.channels_last.channels), Window()
    return _weighted(node, given, shape, window, weights.T.reshape(-1, *kernel))


def _average_pool(node: ir.Node, source: Source) -> Layer:
    image, shape = source.channels_last, _image(node)
    window, zero = _window(node, image, shape), _number(node, "x_zero_point")
    bias, channels = -window.taps * zero, image.channels
    ends = (bias - 128 * window.taps, bias + 127 * window.taps)
    least, greatest = (np.full(channels, end, np.int64) for end in ends)
    return AveragePool(
        name=str(node.name),
        inputs=(image.name,),
        output=_output(node, shape),
        window=window,
        bias=bias,
        pad=zero,
        requantization=requantization(_factors(node, channels), (least, greatest), *_bounds(node)),
    )


def _max_pool(node: ir.Node, source: Source) -> Layer:
    image, shape = source.channels_last, _image(node)
    window = _window(node, image, shape)
    return MaxPool(str(node.name), (image.name,), _output(node, shape), window)


def _add(node: ir.Node, *sources: Source) -> Layer:
    if len(sources) == 1:
        return _offset(node, sources[0])
    _require_streams(sources, 2)
    first, second = (source.tensor for source in sources)
    if first.shape != second.shape:
        what = f"adds images of {list(first.shape)} and {list(second.shape)}"
        raise UnsupportedError(what, "give both one shape: streams are not broadcast")
    scale = float(_constant(node, "multiplier").reshape(()))
    offset, *factors = (_number(node, name) * scale for name in ("bias", "a_factor", "b_factor"))
    multipliers, shift = ratios((factors[0], factors[1]))
    zero, low, high = _bounds(node)
    return Add(
        name=str(node.name),
        inputs=(first.name, second.name),
        output=_output(node, first.shape),
        multipliers=multipliers,
        bias=round(math.ldexp(offset, shift)),
        shift=shift,
        zero=zero,
        low=low,
        high=high,
    )


def _offset(node: ir.Node, source: Source) -> Layer:
    """Return the sum with a constant as a kernel of one number, with six bits for the bias."""
    index, constant = _per_channel(node, source)
    own, other = (_number(node, f"{name}_factor") for name in ("ba", "ab")[index])
    sums = (constant * other + _number(node, "bias")) / abs(own) * _STEPS_OF_BIAS
    bias = np.rint(sums.clip(-_MOST, _MOST)).astype(np.int64)
    weights = np.full(bias.shape, math.copysign(_STEPS_OF_BIAS, own))
    factor = abs(own) * float(_constant(node, "multiplier").reshape(()))
    return _channelwise(node, source, weights, bias, np.full(bias.shape, factor / _STEPS_OF_BIAS))


def _product(node: ir.Node, *sources: Source) -> Layer:
    """Return the product with a constant as a kernel of one sign, the rest being its factor."""
    if len(sources) != 1:
        raise UnsupportedError("multiplies one stream by another", "no engine does")
    [source] = sources
    index, constant = _per_channel(node, source)
    x, other = (_number(node, f"{name}_zero_point") for name in ("ba", "ab")[index])
    weights = np.sign(constant - other)
    factors = np.abs(constant - other) * float(_constant(node, "multiplier").reshape(()))
    return _channelwise(node, source, weights, (-x * weights).astype(np.int64), factors)


#: What an input is multiplied by to add a constant, whose steps are as much finer.
_STEPS_OF_BIAS: Final = 64

#: The largest bias: all results are saturated by then.
_MOST: Final = 1 << 30


def _per_channel(node: ir.Node, source: Source) -> tuple[int, np.ndarray]:
    """Return which of the two inputs is a constant, and that, float64 [channels]."""
    arrays = [array_of(value) for value in node.inputs[:2]]
    index = 0 if arrays[0] is not None else 1
    found = np.asarray(arrays[index], np.float64)
    rank = len(source.shape) + 1
    shape = (1,) * (rank - found.ndim) + found.shape
    across = [size for axis, size in enumerate(shape) if axis != (rank - 1 if source.last else 1)]
    if set(across) != {1}:
        what = f"computes with a constant of shape {list(found.shape)}"
        raise UnsupportedError(what, "engines have one number for each channel")
    return index, np.broadcast_to(found.reshape(-1), (source.image.channels,))


def _channelwise(
    node: ir.Node, source: Source, weights: np.ndarray, bias: np.ndarray, factors: np.ndarray
) -> Layer:
    """Return a kernel of 1 x 1 for each channel alone; weights [channels]."""
    image, kernels = source.image, weights.astype(np.int8).reshape(-1, 1, 1, 1)
    return Conv(
        name=str(node.name),
        inputs=(image.name,),
        output=_output(node, image.shape),
        window=Window(),
        weights=kernels,
        bias=bias,
        groups=image.channels,
        pad=0,
        requantization=requantization(factors, reach(kernels, bias), *_bounds(node)),
    )


def _table(node: ir.Node, source: Source) -> Layer:
    values = np.roll(_constant(node, "table").reshape(-1), 128)
    return _function(node, source, values)


def _rescale(node: ir.Node, source: Source) -> Layer:
    """Return the table of a change of scale, which rounds as the operator does."""
    zero, low, high = _bounds(node)
    centred = (np.arange(-128, 128) - _number(node, "x_zero_point")).astype(np.float32)
    steps = np.rint(centred * _constant(node, "multiplier").reshape(())) + zero
    return _function(node, source, np.clip(steps, low, high).astype(np.int8))


def _function(node: ir.Node, source: Source, values: np.ndarray) -> Table:
    given = source.tensor
    return Table(str(node.name), (given.name,), _output(node, given.shape), values)


def _concat(node: ir.Node, *sources: Source) -> Layer:
    _require_streams(sources, len(node.inputs))
    images = [source.image for source in sources]
    rank = len(sources[0].shape)
    axis = node.attributes.get_int("axis", 0) % (rank + 1)
    if axis != (rank if sources[0].last else 1):
        raise UnsupportedError(f"axis = {axis}, which is not the channels", "join along these")
    height, width, _ = images[0].shape
    channels = sum(image.channels for image in images)
    names = tuple(image.name for image in images)
    return Concat(str(node.name), names, _output(node, (height, width, channels)))


def _resize(node: ir.Node, source: Source) -> Layer:
    image, rank = source.image, len(source.shape)
    mode = node.attributes.get_string("mode", "nearest")
    if mode != "nearest":
        raise UnsupportedError(f"mode = {mode!r}", "an engine repeats pixels: 'nearest'")
    factors = dict.fromkeys(range(rank + 1), 1)
    for axis in resizing.axes_of(node):
        factor, rest = divmod(axis.out, axis.size)
        if rest:
            what = f"axis {axis.axis} goes from {axis.size} to {axis.out}"
            raise UnsupportedError(what, "height and width grow by whole factors")
        if not np.array_equal(resizing.taps(node, axis)[0][:, 0], np.arange(axis.out) // factor):
            what = f"{resizing.mode_of(node)!r} does not repeat each pixel {factor} times"
            raise UnsupportedError(what, "use 'asymmetric' with 'floor'")
        factors[axis.axis] = factor
    frames, *grown = factors.values()
    down, across, deep = image_of(Source(image, tuple(grown), source.last).seen)
    if frames * deep != 1:
        raise UnsupportedError(f"repeats channels {deep} times", "height and width grow")
    shape = (image.height * down, image.width * across, image.channels)
    return Resize(str(node.name), (image.name,), _output(node, shape), (down, across))


def _both(name: str) -> tuple[str, str]:
    """Return the names of a channels-last operator, over signals and over images."""
    return f"{name}Nwc", f"{name}Nhwc"


_LAYERS: Final[dict[str, Callable[..., Layer]]] = {
    "Concat": _concat,
    "QAdd": _add,
    "QMatMul": _matmul,
    "QMul": _product,
    "QRescale": _rescale,
    "QTable": _table,
    "Resize": _resize,
    **dict.fromkeys(_both("MaxPool"), _max_pool),
    **dict.fromkeys(_both("QAveragePool"), _average_pool),
    **dict.fromkeys(_both("QConv"), _conv),
}
