"""Scale and zero point: how integers stand for real numbers.

real = scale x (integer - zero point), as in Jacob et al., "Quantization and Training of Neural
Networks for Efficient Integer-Arithmetic-Only Inference", 2018, and as ONNX's QuantizeLinear:
integer = saturate(round half to even(real / scale) + zero point).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir

from .scheme import Scheme, limits, next_power_of_two

#: The least scale: below it, a product of two scales would leave float32's normal numbers.
LEAST_SCALE = 2.0**-60


@dataclasses.dataclass(frozen=True, eq=False)
class Parameters:
    """How one tensor is quantized.

    Attributes:
        scale: float32, of shape () or, along `axis`, (channels,); positive and finite.
        zero_point: of the integers' dtype, of the scale's shape.
        dtype: of the integers: INT8, UINT8, INT4 or INT32; or FLOAT8E4M3FN, whose numbers take
            their place.
        axis: the axis along which the scales lie; None for one scale.
        narrow: whether the least integer is left out.
    """

    scale: np.ndarray
    zero_point: np.ndarray
    dtype: ir.DataType
    axis: int | None = None
    narrow: bool = False

    def __post_init__(self) -> None:
        if not (np.isfinite(self.scale).all() and (self.scale > 0).all()):
            raise ValueError(f"a scale is not positive and finite: {self.scale}")

    def integers(self, array: np.ndarray) -> np.ndarray:
        """Return the integers for real numbers, saturated, of the numpy dtype of `dtype`."""
        integers: np.ndarray = self.steps(array) + self._aligned(array.ndim)[1]
        return integers.astype(self.dtype.numpy())

    def reals(self, integers: np.ndarray) -> np.ndarray:
        """Return the float32 numbers that integers stand for."""
        scale, zero = self._aligned(integers.ndim)
        steps = (integers.astype(zero.dtype) - zero).astype(np.float32)
        return np.asarray(steps * scale.astype(np.float32))

    def steps(self, array: np.ndarray) -> np.ndarray:
        """Return each number in steps of its scale: the integer less the zero point, as a float."""
        low, high = limits(self.dtype, narrow=self.narrow)
        scale, zero = self._aligned(array.ndim)
        result = np.asarray(array / scale)  # of rank 0, too
        if self.dtype == ir.DataType.FLOAT8E4M3FN:
            return nearest_float8(result)
        np.rint(result, out=result)
        np.clip(result, low - zero, high - zero, out=result)
        return result

    def rounded(self, array: np.ndarray) -> np.ndarray:
        """Return each number's nearest that the integers can stand for, float32."""
        result = self.steps(array)
        result *= self._aligned(array.ndim)[0]
        return result.astype(np.float32, copy=False)

    def _aligned(self, rank: int) -> tuple[np.ndarray, np.ndarray]:
        """Return scale and zero point to compute with: float64 if float32 lacks the integers."""
        wide = np.float64 if self.dtype == ir.DataType.INT32 else np.float32
        scale = self.scale.astype(wide)
        zero = self.zero_point.astype(wide)
        if self.axis is None:
            return scale, zero
        shape = [-1 if axis == self.axis % rank else 1 for axis in range(rank)]
        return scale.reshape(shape), zero.reshape(shape)


def nearest_float8(array: np.ndarray) -> np.ndarray:
    """Return the nearest numbers that FLOAT8E4M3FN has, saturated, in the array's dtype."""
    low, high = limits(ir.DataType.FLOAT8E4M3FN)
    kept = np.clip(array, low, high).astype(ir.DataType.FLOAT8E4M3FN.numpy())
    return np.asarray(kept.astype(array.dtype))


def of_range(low: float, high: float, scheme: Scheme) -> Parameters:
    """Return the parameters of activations in a range.

    The range is widened to hold zero, which padding and ReLU need exactly. An empty range (a
    tensor that is zero throughout) has scale 1.
    """
    if not np.isfinite([low, high]).all():
        raise ValueError(f"the range {low}..{high} is not finite")
    low, high = min(low, 0.0), max(high, 0.0)
    least, greatest = limits(scheme.activations)
    middle = (least + greatest + 1) // 2
    if scheme.symmetric or scheme.power_of_two:
        # Narrow, so that the range is the same on both sides of zero.
        scale = max(-low, high) / (greatest - middle)
    else:
        scale = (high - low) / (greatest - least)
    if scale == 0:
        scale = 1.0
    scale = float(np.float32(max(scale, LEAST_SCALE)))
    if scheme.power_of_two:
        scale = next_power_of_two(scale)
    if scheme.symmetric or scheme.power_of_two:
        zero = middle
    else:
        zero = int(np.clip(np.rint(least - low / scale), least, greatest))
    return Parameters(
        np.array(scale, np.float32), np.array(zero, scheme.activations.numpy()), scheme.activations
    )


def of_weights(weights: np.ndarray, axis: int, scheme: Scheme) -> Parameters:
    """Return the symmetric parameters that hold the largest weight (of each channel of `axis`).

    A channel of zeros has scale 1.
    """
    rest = tuple(index for index in range(weights.ndim) if index != axis)
    largest = np.abs(weights).max(axis=rest if scheme.per_channel else None, initial=0.0)
    scale = np.asarray(largest, np.float64) / limits(scheme.weights, narrow=True)[1]
    scale = np.where(scale == 0, 1.0, np.maximum(scale, LEAST_SCALE)).astype(np.float32)
    if scheme.power_of_two:
        scale = np.vectorize(next_power_of_two, otypes=[np.float32])(scale)
    return Parameters(
        np.asarray(scale),
        np.zeros(scale.shape, scheme.weights.numpy()),
        scheme.weights,
        axis if scheme.per_channel else None,
        narrow=True,
    )


def of_bias(activations: Parameters, weights: Parameters) -> Parameters:
    """Return the int32 parameters of a bias: the scale of input times weight, zero point 0."""
    scale = (activations.scale.astype(np.float64) * weights.scale).astype(np.float32)
    scale = np.maximum(scale, np.finfo(np.float32).tiny)
    return Parameters(
        np.asarray(scale),
        np.zeros(scale.shape, np.int32),
        ir.DataType.INT32,
        None if scale.ndim == 0 else 0,
    )
