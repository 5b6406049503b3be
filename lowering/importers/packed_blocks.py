"""Weights of few bits, packed in bytes, as ONNX Runtime's MatMulNBits has them."""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_ir as ir

from ..matching import array_of, shape_of
from .inference import InvalidNodeError

#: Bits of one weight, and the least dtype of ONNX that holds it.
_DTYPES: Final = {2: ir.DataType.UINT4, 4: ir.DataType.UINT4, 8: ir.DataType.UINT8}

_INPUTS: Final = ("A", "B", "scales", "zero_points", "g_idx", "bias")


def unpacked(node: ir.Node) -> tuple[list[ir.Value], int]:
    """Return the weights of a MatMulNBits as inputs of DequantizeLinear, and the block's size.

    They are integers of shape [N, K], with scales and zero points of shape [N, blocks of K]. A
    block lies in bytes of its own, the first weight in the lowest bits; the zero points of a row
    lie likewise in a row of bytes, and are half of the range where there are none.

    Raises:
        InvalidNodeError: the inputs are not that, or not constant.
    """
    attributes = node.attributes
    rows, columns, block, bits = (
        attributes.get_int(name, 0) for name in ("N", "K", "block_size", "bits")
    )
    bits = bits if "bits" in attributes else 4
    if bits not in _DTYPES:
        raise InvalidNodeError(f"MatMulNBits of {bits} bits is not supported, only of 2, 4 and 8")
    if rows < 1 or columns < 1 or block < 1 or block * bits % 8:
        raise InvalidNodeError(f"N {rows}, K {columns} and block_size {block} do not go together")
    if attributes.get_int("weight_prepacked", 0) or _given(node, 4) is not None:
        raise InvalidNodeError("MatMulNBits with g_idx or prepacked weights is not supported")
    blocks = -(-columns // block)
    bytes_of_zeros = -(-blocks * bits // 8)
    packed = _constant(node, 1, [(rows, blocks, block * bits // 8)], np.dtype(np.uint8))
    scales = _constant(node, 2, [(rows, blocks), (rows * blocks,)], None)
    if _given(node, 3) is None:
        zeros = np.full((rows, blocks), 1 << (bits - 1), np.uint8)
    else:
        shapes = [(rows, bytes_of_zeros), (rows * bytes_of_zeros,)]
        found = _constant(node, 3, shapes, np.dtype(np.uint8))
        zeros = _split(found.reshape(rows, -1), bits)[:, :blocks]
    integers = _split(packed.reshape(rows, -1), bits)[:, :columns]
    dtype = _DTYPES[bits]
    parts = {
        "integers": ir.Tensor(integers.astype(dtype.numpy()), dtype),
        "scales": ir.Tensor(scales.reshape(rows, blocks)),
        "zero_points": ir.Tensor(zeros.astype(dtype.numpy()), dtype),
    }
    values = [ir.val(f"{node.name}/{name}", const_value=tensor) for name, tensor in parts.items()]
    return values, block


def _split(array: np.ndarray, bits: int) -> np.ndarray:
    """Return the numbers that lie in each row of bytes, the first in the lowest bits."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    parts = (array[..., None] >> shifts) & np.uint8((1 << bits) - 1)
    return parts.reshape(len(array), -1)


def _given(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None


def _constant(
    node: ir.Node, index: int, shapes: list[tuple[int, ...]], dtype: np.dtype[np.uint8] | None
) -> np.ndarray:
    value, name = _given(node, index), _INPUTS[index]
    array = array_of(value)
    if array is None:
        raise InvalidNodeError(f"{name} must be a constant")
    if shape_of(value) not in shapes:
        raise InvalidNodeError(f"{name} has shape {list(array.shape)}, not {list(shapes[0])}")
    if dtype is not None and array.dtype != dtype:
        raise InvalidNodeError(f"{name} of {array.dtype} is not supported, only of {dtype}")
    return array
