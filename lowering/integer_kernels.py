"""What operators of `lowering.integer` a quantized operator becomes: their constants, exactly.

With real = scale x (integer - zero), a sum of products of data and weights is scale_x x scale_w
times an integer sum; so the integers of the result are that sum times scale_x x scale_w / scale_y,
rounded, plus the result's zero point (Jacob et al., 2018, equation 4).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from .clamps import Clamp, clamp_of
from .integer import Operator
from .layout.nhwc import is_channels_last
from .matching import array_of, is_op, other_input, shape_of, sole_user
from .quantization.scheme import limits
from .quantized import Quantized, dequantized, quantized
from .spatial import is_windowed, window_attributes

#: Where the integers of a sum must lie.
_INT32 = (1 << 31) - 1

#: Bits of the factors of a sum of two scales: 2 x 255 x 2**21 is less than 2**31.
_FACTOR_BITS = 21

#: The largest ratio of an input's scale to the output's: beyond it, the rounding of the factors
#: might be seen (255 x 2**8 / 2**20 is a sixteenth of a step).
_LARGEST_RATIO = 1 << 8

Constants = tuple[tuple[str, np.ndarray | ir.Value], ...]
Attributes = dict[str, int | tuple[int, ...]]


@dataclasses.dataclass(frozen=True, eq=False)
class Tail:
    """How the result of an operator becomes integers.

    Attributes:
        nodes: the operator and the Clip behind it, if there is one.
        quantize: the QuantizeLinear at the end; `output` says what it gives.
        low, high: the integers' limits, those of the Clip within those of their dtype.
    """

    nodes: tuple[ir.Node, ...]
    quantize: ir.Node
    output: Quantized
    low: int
    high: int

    @classmethod
    def of(cls, node: ir.Node) -> Tail | None:
        """Return what follows a node up to a QuantizeLinear; None if something else reads it."""
        user, clamp = sole_user(node.outputs[0]), Clamp()
        nodes: tuple[ir.Node, ...] = (node,)
        found = clamp_of(user) if user is not None and is_op(user, "Clip") else None
        if user is not None and found is not None and found[0] is node.outputs[0]:
            nodes, clamp = (node, user), found[1]
            user = sole_user(user.outputs[0])
        output = quantized(user)
        if user is None or output is None or not output.is_narrow:
            return None
        if user.inputs[0] is not nodes[-1].outputs[0]:
            return None
        low, high = limits(output.dtype)
        if clamp.low is not None:
            low = _placed(clamp.low, output)
        if clamp.high is not None:
            high = _placed(clamp.high, output)
        return cls(nodes, user, output, min(low, high), high)

    @property
    def bounds(self) -> Attributes:
        return {"low": self.low, "high": self.high}


def _placed(bound: float, output: Quantized) -> int:
    """Return the integer that QuantizeLinear makes of a number."""
    low, high = limits(output.dtype)
    steps = float(np.rint(np.float32(bound) / np.float32(output.scale)))
    return int(min(max(steps + int(output.zero), low), high))


@dataclasses.dataclass(frozen=True)
class Kernel:
    """One integer operator, ready to be written.

    Attributes:
        last: the node whose result it gives, or whose result the tail makes integers.
        inputs: names and values of its inputs, without the output's zero point.
        tail: None if it gives real numbers.
    """

    op_type: str
    last: ir.Node
    inputs: Constants
    attributes: Attributes
    tail: Tail | None

    @classmethod
    def of(
        cls,
        base: str,
        rank: int | None,
        last: ir.Node,
        inputs: Constants,
        tail: Tail | None,
        attributes: Attributes | None = None,
    ) -> Kernel:
        operator = Operator(base, rank, floats=tail is None)
        bounds: Attributes = {} if tail is None else tail.bounds
        return cls(operator.name, last, inputs, (attributes or {}) | bounds, tail)


def narrow(value: ir.Value | None) -> Quantized | None:
    """Return the int8 or uint8 with one scale that a value is made from; None if it is not."""
    found = dequantized(value)
    return found if found is not None and found.is_narrow else None


def _zero_point(found: Quantized) -> np.ndarray:
    return np.asarray(found.zero).astype(found.dtype.numpy())


def _multiplier(scale: np.ndarray | float, tail: Tail | None) -> np.ndarray | None:
    """Return the float32 factor from sums to the output's integers; None if it is out of range."""
    factor = np.asarray(scale, np.float64)
    if tail is not None:
        factor = factor / np.float64(tail.output.scale)
    with np.errstate(over="ignore"):
        found = factor.astype(np.float32)
    return found if np.isfinite(found).all() else None


def _reach(found: Quantized) -> int:
    """Return the largest distance of an integer from the zero point."""
    low, high = limits(found.dtype)
    return max(int(found.zero) - low, high - int(found.zero))


@dataclasses.dataclass(frozen=True, eq=False)
class _Weights:
    """Symmetric weights.

    Attributes:
        integers: int8: O x I x kernel of a convolution, K x N of a matrix.
        scale: float64, one number for each output channel, or one.
        largest: how much the weights of each channel may add up to.
    """

    integers: np.ndarray
    scale: np.ndarray
    largest: np.ndarray


def linear(node: ir.Node) -> Kernel | None:
    """Return the kernel of a convolution or matrix product with integer constants as weights.

    What is added to every channel behind a product without a bias is its bias.
    """
    if node.outputs[0].dtype != ir.DataType.FLOAT or not _is_plain(node):
        return None
    data, weights = narrow(node.inputs[0]), _weights(node)
    if data is None or weights is None:
        return None
    scale = np.float64(data.scale) * weights.scale
    channels, given = len(weights.largest), len(node.inputs) > 2
    last, bias = node, _bias(node.inputs[2] if given else None, scale, channels)
    adding = None if given else _adding(node)
    if adding is not None:
        added = _bias(other_input(adding, node.outputs[0]), scale, channels)
        last, bias = (last, bias) if added is None else (adding, added)
    tail = Tail.of(last)
    multiplier = _multiplier(scale, tail)
    if multiplier is None or bias is None:
        return None
    if (weights.largest * _reach(data) + np.abs(bias) > _INT32).any():
        return None
    window = _window(node)
    if window is None:
        return None
    rank = len(shape_of(node.outputs[0]) or ())
    if node.domain == "" and window:  # channels first
        ones = (1,) * (rank - 2)
        bias = bias.reshape(-1, *ones)
        multiplier = multiplier.reshape(-1, *ones) if multiplier.ndim else multiplier
    inputs: Constants = (
        ("x", data.integers),
        ("weight", weights.integers),
        ("bias", bias.astype(np.int32)),
        ("multiplier", multiplier),
        ("x_zero_point", _zero_point(data)),
    )
    base = "Conv" if window else "MatMul"
    return Kernel.of(base, rank if is_channels_last(node) else None, last, inputs, tail, window)


def _adding(node: ir.Node) -> ir.Node | None:
    """Return the Add that alone reads a matrix product and adds one number to each column."""
    user, shape = sole_user(node.outputs[0]), shape_of(node.outputs[0]) or ()
    if user is None or not is_op(user, "Add") or not is_op(node, "Gemm", "MatMul"):
        return None
    addend = shape_of(other_input(user, node.outputs[0])) or ()
    is_row = math.prod(addend) in (1, *shape[-1:]) and shape_of(user.outputs[0]) == shape
    return user if is_row else None


def _is_plain(node: ir.Node) -> bool:
    """Whether a Gemm is a product of the data and the weights, and nothing more."""
    given = node.attributes
    return node.op_type != "Gemm" or (
        given.get_float("alpha", 1.0) == given.get_float("beta", 1.0) == 1.0
        and not given.get_int("transA", 0)
    )


def _weights(node: ir.Node) -> _Weights | None:
    found = dequantized(node.inputs[1])
    array = None if found is None else array_of(found.integers)
    if found is None or array is None or array.ndim < 2:
        return None
    is_matrix = node.op_type in ("Gemm", "MatMul")
    if is_matrix and array.ndim != 2:
        return None
    turned = node.op_type == "Gemm" and node.attributes.get_int("transB", 0) != 0
    outputs = 1 if is_matrix and not turned else 0
    if found.axis not in (None, outputs):
        return None
    centred = array.astype(np.int32) - _along(found.zero, outputs, array.ndim)
    low, high = limits(ir.DataType.INT8)
    if not array.size or centred.min() < low or centred.max() > high:
        return None
    rest = tuple(axis for axis in range(array.ndim) if axis != outputs)
    integers = centred.astype(np.int8)
    return _Weights(
        np.ascontiguousarray(integers.T) if turned else integers,
        found.scale.astype(np.float64),
        np.abs(centred).sum(axis=rest, dtype=np.int64),
    )


def _along(array: np.ndarray, axis: int, rank: int) -> np.ndarray:
    if array.ndim == 0:
        return array
    return array.reshape([-1 if index == axis else 1 for index in range(rank)])


def _bias(value: ir.Value | None, scale: np.ndarray, channels: int) -> np.ndarray | None:
    """Return the bias in units of the sums, int64; None if it is no constant for each channel."""
    if value is None:
        return np.zeros(channels, np.int64)
    found = dequantized(value)
    given = array_of(value if found is None else found.integers)
    if given is None or (shape_of(value) or ())[-1:] not in ((), (1,), (channels,)):
        return None
    if given.size not in (1, channels) or (found is None and given.dtype.kind != "f"):
        return None
    units = given.reshape(-1).astype(np.float64)
    factor = 1 / scale
    if found is not None:
        units = units - found.zero.reshape(-1)
        factor = found.scale.astype(np.float64) / scale
        if np.allclose(factor, 1, rtol=1e-6, atol=0):
            factor = np.ones(())
    rounded = np.rint(units * factor)
    if not np.isfinite(rounded).all() or (np.abs(rounded) > _INT32).any():
        return None
    return np.broadcast_to(rounded.astype(np.int64), (channels,))


def _window(node: ir.Node) -> Attributes | None:
    """Return the attributes of a window, none for a product; None if they are not known."""
    if is_channels_last(node):
        given = {name: attribute.value for name, attribute in node.attributes.items()}
        return {name: found for name, found in given.items() if name != "ceil_mode"}
    if not is_windowed(node):
        return {}
    found = window_attributes(node)
    return None if found is None else dict(found)


def summed(node: ir.Node) -> Kernel | None:
    """Return the kernel of the sum or the difference of two integer tensors."""
    tail = Tail.of(node)
    a, b = (narrow(value) for value in node.inputs)
    if a is None or b is None or tail is None:
        return None
    ratios = [float(item.scale) / float(tail.output.scale) for item in (a, b)]
    shift = _FACTOR_BITS - math.frexp(max(ratios))[1]
    if max(ratios) > _LARGEST_RATIO or not -126 <= -shift <= 0:
        return None
    factors = [round(math.ldexp(ratio, shift)) for ratio in ratios]
    if node.op_type == "Sub":
        factors[1] = -factors[1]
    bias = -sum(factor * int(item.zero) for factor, item in zip(factors, (a, b), strict=True))
    inputs: Constants = (
        ("a", a.integers),
        ("b", b.integers),
        ("bias", np.array(bias, np.int32)),
        ("multiplier", np.array(math.ldexp(1, -shift), np.float32)),
        ("a_factor", np.array(factors[0], np.int32)),
        ("b_factor", np.array(factors[1], np.int32)),
    )
    return Kernel.of("Add", None, node, inputs, tail)


def product(node: ir.Node) -> Kernel | None:
    """Return the kernel of the product of two integer tensors."""
    tail = Tail.of(node)
    a, b = (narrow(value) for value in node.inputs)
    if a is None or b is None or tail is None:
        return None
    multiplier = _multiplier(np.float64(a.scale) * np.float64(b.scale), tail)
    if multiplier is None:
        return None
    inputs: Constants = (
        ("a", a.integers),
        ("b", b.integers),
        ("multiplier", multiplier),
        ("a_zero_point", _zero_point(a)),
        ("b_zero_point", _zero_point(b)),
    )
    return Kernel.of("Mul", None, node, inputs, tail)


def rescaled(node: ir.Node) -> Kernel | None:
    """Return the kernel of a change of scale."""
    data, tail = narrow(node.outputs[0]), Tail.of(node)
    if data is None or tail is None or array_of(data.integers) is not None:
        return None
    multiplier = _multiplier(np.float64(data.scale), tail)
    if multiplier is None:
        return None
    inputs: Constants = (
        ("x", data.integers),
        ("multiplier", multiplier),
        ("x_zero_point", _zero_point(data)),
    )
    return Kernel.of("Rescale", None, node, inputs, tail)


def average(node: ir.Node) -> Kernel | None:
    """Return the kernel of means over windows, all of which have as many elements, or over all."""
    tail = Tail.of(node)
    data, shape = narrow(node.inputs[0]), shape_of(node.inputs[0])
    if data is None or tail is None or shape is None:
        return None
    last = is_channels_last(node)
    space = shape[1:-1] if last else shape[2:]
    window = _global(space) if node.op_type.startswith("Global") else _averaged(node, space, last)
    if window is None:
        return None
    count = math.prod(window["kernel_shape"])
    multiplier = _multiplier(np.float64(data.scale) / count, tail)
    if multiplier is None or count * _reach(data) > _INT32:
        return None
    inputs: Constants = (
        ("x", data.integers),
        ("multiplier", multiplier),
        ("x_zero_point", _zero_point(data)),
    )
    attributes: Attributes = {"channels": shape[-1] if last else shape[1], **window}
    return Kernel.of("AveragePool", len(shape) if last else None, node, inputs, tail, attributes)


def _global(space: Sequence[int]) -> dict[str, tuple[int, ...]]:
    ones = (1,) * len(space)
    zeros = (0,) * 2 * len(space)
    return {"kernel_shape": tuple(space), "strides": ones, "dilations": ones, "pads": zeros}


def _averaged(node: ir.Node, space: Sequence[int], last: bool) -> dict[str, tuple[int, ...]] | None:
    """Return the window if every mean is of as many elements, pads included."""
    names = ("kernel_shape", "strides", "dilations", "pads")
    given = _window(node) or {}
    found = {name: part for name in names if isinstance(part := given.get(name), tuple)}
    if len(found) < len(names):
        return None
    kernel, strides, dilations, pads = found.values()
    result = shape_of(node.outputs[0]) or ()
    outs, rank = (result[1:-1] if last else result[2:]), len(kernel)
    padded = any(pads) and not node.attributes.get_int("count_include_pad", 0)
    for axis in range(rank):
        reach = (outs[axis] - 1) * strides[axis] + (kernel[axis] - 1) * dilations[axis] + 1
        padded |= reach > space[axis] + pads[axis] + pads[axis + rank]
    return None if padded else found
