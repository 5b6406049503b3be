"""Integers and scales of constant weights alone, with the least squared error.

A block is what shares a scale: consecutive weights along the summed axis, or all of one output
channel. The activations are not known, so the weights themselves are to be met.
"""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
import onnx_ir as ir

from .parameters import LEAST_SCALE
from .scheme import limits

#: Parts of the scale at which the largest weight is just held, that a search begins from. Fewer
#: bits leave more to gain by cutting large weights off, and more ways to do it.
_STARTS: Final = {ir.DataType.INT4: (0.8, 0.87, 0.93, 1.0), ir.DataType.INT8: (0.9, 1.0)}

#: How often integers and scale are fitted to each other; the error never grows.
_ROUNDS: Final = 3

#: Weights that are searched at once: some 10 MB of intermediate results.
_AT_ONCE: Final = 1 << 19

#: float16's least normal number: scales below it would lose precision.
_LEAST_HALF: Final = 2.0**-14


@dataclasses.dataclass(frozen=True, eq=False)
class Blocks:
    """Weights as integers, scale by scale.

    Attributes:
        integers: of the weight's shape, of the numpy dtype of the scheme's (int8, int4).
        scales: float32 or float16, positive; of the weight's shape but along `axis`, where there
            is one for each block; for whole channels of shape (channels,).
        axis: that of the blocks (the last may be shorter) or, for whole channels, of the channels.
        size: of a block; 0 for whole channels.
    """

    integers: np.ndarray
    scales: np.ndarray
    axis: int
    size: int


def in_channels(weight: np.ndarray, axis: int, dtype: ir.DataType) -> Blocks:
    """Quantize a weight with one scale for each index of an axis, float32."""
    rows = np.moveaxis(weight, axis, 0)
    integers, scales = _fit(rows.reshape(len(rows), -1), dtype, np.float32)
    found = np.moveaxis(integers.reshape(rows.shape), 0, axis)
    return Blocks(np.ascontiguousarray(found).astype(dtype.numpy()), scales, axis, 0)


def in_blocks(
    weight: np.ndarray, axis: int, size: int, dtype: ir.DataType, *, half: bool = False
) -> Blocks:
    """Quantize a weight with one scale for each block of `size` along an axis.

    The scales are float16, which costs half a bit for each weight of a block of 32 less than
    float32; but float32 if one is not a normal number there.

    Args:
        half: let scales that are too small for float16 be the least that it has, so that a block
            of next to nothing becomes zeros.
    """
    rows = np.moveaxis(weight, axis, -1)
    count = -(-rows.shape[-1] // size)
    padding = [(0, 0)] * (rows.ndim - 1) + [(0, count * size - rows.shape[-1])]
    blocks = np.pad(rows, padding).reshape(-1, size)
    largest = np.abs(blocks).max(axis=1)
    coarse = largest[largest > 0] / -limits(dtype)[0]
    low, high = coarse.min(initial=1.0) / 2, coarse.max(initial=1.0) * 2
    fits = (half or low >= _LEAST_HALF) and high <= np.finfo(np.float16).max
    integers, scales = _fit(blocks, dtype, np.float16 if fits else np.float32)
    whole = integers.reshape(*rows.shape[:-1], count * size)[..., : rows.shape[-1]]
    return Blocks(
        np.ascontiguousarray(np.moveaxis(whole, -1, axis)).astype(dtype.numpy()),
        np.ascontiguousarray(np.moveaxis(scales.reshape(*rows.shape[:-1], count), -1, axis)),
        axis,
        size,
    )


def _fit(rows: np.ndarray, dtype: ir.DataType, stored: type) -> tuple[np.ndarray, np.ndarray]:
    """Return the int8 integers of rows that share a scale, and the scales (rows,)."""
    step = max(1, _AT_ONCE // max(1, rows.shape[1]))
    parts = [
        _fitted(rows[start : start + step].astype(np.float32), dtype, stored)
        for start in range(0, len(rows), step)
    ]
    integers, scales = (np.concatenate(items) for items in zip(*parts, strict=True))
    return integers, scales


def _fitted(rows: np.ndarray, dtype: ir.DataType, stored: type) -> tuple[np.ndarray, np.ndarray]:
    """Search the scale of each row from several starts, and keep the best.

    From each, scale and integers are fitted in turn, each the best for the other (Zhang et al.,
    "LQ-Nets: Learned Quantization for Highly Accurate and Compact Deep Neural Networks", 2018,
    section 3.2, with one basis). INT4 has -8, which one sign alone can use; INT8 is narrow, so
    that kernels never meet the product of two least numbers.
    """
    low, high = limits(dtype, narrow=dtype == ir.DataType.INT8)
    widest = np.abs(rows).max(axis=1, initial=0.0)
    # In units near the largest of each row, squares are in range.
    unit = np.exp2(np.floor(np.log2(np.where(widest > 0, widest, 1.0))))
    rows, widest = rows / unit[:, None], np.where(widest > 0, widest / unit, 1.0) / high
    best = _stored(widest, unit, stored)
    error = np.full(len(rows), np.inf, np.float32)
    for start in _STARTS[dtype]:
        scale = _stored(widest * start, unit, stored)
        for _ in range(_ROUNDS):
            integers = np.clip(np.rint(rows / scale[:, None]), low, high)
            found = np.square(rows - integers * scale[:, None]).sum(axis=1)
            better = found < error
            best, error = np.where(better, scale, best), np.where(better, found, error)
            squares = np.square(integers).sum(axis=1)
            products = (integers * rows).sum(axis=1)
            fitted = np.where(products > 0, products / np.maximum(squares, 1), scale)
            scale = _stored(fitted, unit, stored)
    integers = np.clip(np.rint(rows / best[:, None]), low, high).astype(np.int8)
    return integers, (best * unit).astype(stored)


def _stored(scale: np.ndarray, unit: np.ndarray, dtype: type) -> np.ndarray:
    """Return scales as they will be stored, in float32, so that integers are fitted to those."""
    least = _LEAST_HALF if dtype is np.float16 else LEAST_SCALE
    bounded = np.maximum(scale * unit, least).astype(np.float32)
    stored: np.ndarray = bounded.astype(dtype).astype(np.float32) / unit
    return stored
