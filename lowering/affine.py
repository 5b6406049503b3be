"""Nodes that scale and shift each channel by constants, and operators that can take that over.

Figures are computed in float64 and rounded once, to the dtype of the constant they end up in.
"""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
import onnx_ir as ir

from .matching import TOLERANCES, array_of, is_op, other_input, shape_of

#: Operators that are linear in their first input, with a weight and an optional bias vector.
LINEAR: Final = ("Conv", "ConvTranspose", "Gemm")

#: Axes that are longer are not looked at: a few bytes may claim terabytes, no network has them.
_CHANNELS: Final = 1 << 20


@dataclasses.dataclass(frozen=True)
class Affine:
    """y = scale * x + offset along one axis; both are float64 vectors, one entry a channel."""

    scale: np.ndarray
    offset: np.ndarray

    def after(self, first: Affine) -> Affine:
        """Return what `first` and then this one do."""
        return Affine(self.scale * first.scale, self.scale * first.offset + self.offset)

    @property
    def is_finite(self) -> bool:
        return bool(np.isfinite(self.scale).all() and np.isfinite(self.offset).all())


def affine_of(node: ir.Node, value: ir.Value, axis: int) -> Affine | None:
    """Return what a node does to `value`, its input, if it is affine per channel along `axis`.

    Known are BatchNormalization in inference and Add, Sub, Mul and Div with a constant that is the
    same for all other dimensions; None also where a figure is not finite.
    """
    shape = shape_of(value)
    if (
        shape is None
        or axis >= len(shape)
        or value.dtype not in TOLERANCES
        or shape_of(node.outputs[0]) != shape
    ):
        return None
    if is_op(node, "BatchNormalization"):
        found = _normalization(node, shape) if axis == 1 and node.inputs[0] is value else None
    elif is_op(node, "Add", "Sub", "Mul", "Div"):
        found = _arithmetic(node, value, shape, axis)
    else:
        found = None
    return found if found is not None and found.is_finite else None


def vector_of(value: ir.Value | None, shape: tuple[int, ...], axis: int) -> np.ndarray | None:
    """Return a constant that varies along one axis of `shape` at most, as a float64 vector."""
    array = array_of(value)
    if array is None or array.ndim > len(shape) or shape[axis] > _CHANNELS:
        return None
    dims = (1,) * (len(shape) - array.ndim) + array.shape
    if any(dim != 1 for index, dim in enumerate(dims) if index != axis):
        return None
    if dims[axis] not in (1, shape[axis]):
        return None
    return np.broadcast_to(array.reshape(-1).astype(np.float64), shape[axis])


def _arithmetic(node: ir.Node, value: ir.Value, shape: tuple[int, ...], axis: int) -> Affine | None:
    figures = vector_of(other_input(node, value), shape, axis)
    if figures is None:
        return None
    one, zero = np.ones_like(figures), np.zeros_like(figures)
    is_left = node.inputs[0] is value
    if node.op_type == "Add":
        return Affine(one, figures)
    if node.op_type == "Mul":
        return Affine(figures, zero)
    if node.op_type == "Sub":
        return Affine(one, -figures) if is_left else Affine(-one, figures)
    with np.errstate(divide="ignore"):
        return Affine(1 / figures, zero) if is_left else None


def _normalization(node: ir.Node, shape: tuple[int, ...]) -> Affine | None:
    """scale * (x - mean) / sqrt(variance + epsilon) + bias, as the ONNX operator defines it."""
    if node.attributes.get_int("training_mode", 0) or any(out.name for out in node.outputs[1:]):
        return None
    parameters = [vector_of(value, (1, shape[1]), 1) for value in node.inputs[1:5]]
    scale, bias, mean, variance = parameters
    if scale is None or bias is None or mean is None or variance is None:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        epsilon = node.attributes.get_float("epsilon", float(np.float32(1e-5)))
        factor = scale / np.sqrt(variance + epsilon)
        return Affine(factor, bias - factor * mean)


def takes_offset(linear: ir.Node) -> bool:
    """Whether every output of the operator sees the whole of its window.

    Then a constant added to the input adds a constant to the output: the operator pads nothing.
    """
    if linear.op_type == "Gemm":
        return True
    if linear.op_type != "Conv" or any(linear.attributes.get_ints("pads", ())):
        return False
    kernel = (shape_of(linear.inputs[1]) or ())[2:]
    auto = linear.attributes.get_string("auto_pad", "NOTSET")
    return auto in ("NOTSET", "VALID") or all(extent == 1 for extent in kernel)


def output_factor(linear: ir.Node, weight: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Return what multiplies the weight when `vector` multiplies the output channels."""
    if linear.op_type == "Gemm":
        return vector[:, None] if _is_turned(linear) else vector
    if linear.op_type == "Conv":
        return _trailing(vector, weight)
    groups = linear.attributes.get_int("group", 1)
    by_input = np.repeat(vector.reshape(groups, -1), weight.shape[0] // groups, axis=0)
    return _trailing(by_input, weight)


def input_factor(linear: ir.Node, weight: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Return what multiplies the weight when `vector` multiplies the input channels."""
    if linear.op_type == "Gemm":
        return vector if _is_turned(linear) else vector[:, None]
    if linear.op_type == "ConvTranspose":
        return _trailing(vector, weight)
    groups = linear.attributes.get_int("group", 1)
    by_output = np.repeat(vector.reshape(groups, -1), weight.shape[0] // groups, axis=0)
    return _trailing(by_output, weight)


def output_offset(linear: ir.Node, weight: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Return what `vector`, added to the input channels, adds to the outputs (`takes_offset`)."""
    if linear.op_type == "Gemm":
        turned = weight if _is_turned(linear) else weight.T
        alpha = linear.attributes.get_float("alpha", 1.0)
        sums = np.einsum("nk,k->n", turned, vector, dtype=np.float64, casting="unsafe")
        return np.asarray(alpha * sums)
    windows = weight.sum(axis=tuple(range(2, weight.ndim)), dtype=np.float64)
    factor = input_factor(linear, windows, vector)
    return np.asarray((windows * factor).sum(axis=1))


def scaled(weight: np.ndarray, factor: np.ndarray) -> np.ndarray | None:
    """Return weight * factor in the dtype of the weight; None if something overflows it.

    Only the result is allocated: the products are made in float64 piece by piece.
    """
    result = np.empty(weight.shape, weight.dtype)
    with np.errstate(over="ignore"):
        np.multiply(weight, factor, out=result, dtype=np.float64, casting="unsafe")
    if result.size and not (np.isfinite(result.max()) and np.isfinite(result.min())):
        return None
    return result


def _is_turned(linear: ir.Node) -> bool:
    return linear.attributes.get_int("transB", 0) != 0


def _trailing(figures: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return figures.reshape(figures.shape + (1,) * (weight.ndim - figures.ndim))
