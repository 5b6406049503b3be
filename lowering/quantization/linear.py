"""Linear nodes as matrices: y = x W + b for every group of channels and every position.

A convolution is a matrix product of its windows (im2col; Chellapilla et al., "High Performance
Convolutional Neural Networks for Document Processing", 2006). One window is one row; its columns
are ordered by tap first, then by channel of the group, so that the channels of one pixel are
neighbours.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import onnx_ir as ir

from ..matching import array_of, shape_of
from ..spatial import window_attributes


@dataclasses.dataclass(frozen=True, eq=False)
class Linear:
    """A Conv, Gemm, MatMul or ConvTranspose with a constant weight.

    Attributes:
        node: the node; its input 0 is x, its input 1 the weight.
        weight: as the node has it.
        axis: of the weight: the output channels.
        bias: one number for each output channel, zeros where the node has none; None for MatMul,
            which takes none.
        groups: of channels.
    """

    node: ir.Node
    weight: np.ndarray
    axis: int
    bias: np.ndarray | None
    groups: int

    @classmethod
    def of(cls, node: ir.Node) -> Linear:
        """Describe a node of the canonical stage.

        Raises:
            ValueError: it is not one of these operators, or its weight is not constant.
        """
        weight = array_of(node.inputs[1]) if len(node.inputs) > 1 else None
        if weight is None or node.domain or node.op_type not in _AXES:
            raise ValueError(f"{node.op_type} {node.name!r} has no constant weight")
        turned = node.op_type == "Gemm" and not node.attributes.get_int("transB", 0)
        axis = 1 if turned else _AXES[node.op_type] % weight.ndim
        groups = node.attributes.get_int("group", 1) if "Conv" in node.op_type else 1
        bias = None
        if node.op_type != "MatMul":
            channels = (shape_of(node.outputs[0]) or ())[1]
            found = array_of(node.inputs[2]) if len(node.inputs) > 2 else None
            bias = np.zeros(channels, np.float32) if found is None else found.reshape(-1)
            bias = np.broadcast_to(bias, channels)
        return cls(node, weight, axis, bias, groups)

    @property
    def is_matrix(self) -> bool:
        """Whether `matrix` and `Windows` are defined: not for ConvTranspose and MatMul stacks."""
        return self.node.op_type == "Conv" or (
            self.node.op_type in ("Gemm", "MatMul") and self.weight.ndim == 2
        )

    @property
    def columns(self) -> int:
        """How many products are summed for one output."""
        return self.weight.size // max(self.weight.shape[self.axis], 1)

    def matrix(self, array: np.ndarray) -> np.ndarray:
        """Return an array of the weight's shape as float64 (groups, columns, group outputs)."""
        weight = array.astype(np.float64)
        if self.node.op_type != "Conv":
            return (weight.T if self.axis == 0 else weight)[None]
        outputs, channels = weight.shape[:2]
        taps = weight.reshape(self.groups, outputs // self.groups, channels, -1)
        return taps.transpose(0, 3, 2, 1).reshape(self.groups, -1, outputs // self.groups)

    def like_weight(self, matrix: np.ndarray) -> np.ndarray:
        """Return what `matrix` was made of: the way back."""
        if self.node.op_type != "Conv":
            return matrix[0].T if self.axis == 0 else matrix[0]
        _, channels, *kernel = self.weight.shape
        taps = matrix.reshape(self.groups, math.prod(kernel), channels, -1)
        return taps.transpose(0, 3, 2, 1).reshape(self.weight.shape)


#: The axis of the weight that counts output channels. Of a ConvTranspose it counts those of one
#: group: the groups share scales.
_AXES = {"Conv": 0, "ConvTranspose": 1, "Gemm": 0, "MatMul": -1}


class Windows:
    """The rows of inputs that a linear node multiplies with its matrix, at chosen positions.

    Args:
        linear: one that `is_matrix`.
        rows: how many rows of each input to take; all of them if there are no more.
    """

    def __init__(self, linear: Linear, rows: int) -> None:
        self._linear, self._rows = linear, rows
        self._is_conv = linear.node.op_type == "Conv"
        self._taps: np.ndarray | None = None
        if self._is_conv:
            self._window = window_attributes(linear.node) or {}
            self._outer = (shape_of(linear.node.outputs[0]) or ())[2:]

    def of(self, x: np.ndarray, index: int) -> np.ndarray:
        """Return rows (groups, positions, columns) of one input, a copy.

        The positions are spread evenly, by a Kronecker sequence, and differ from one input to the
        next; zeros of the padding are in the rows as the operator sees them.

        Args:
            x: the node's input.
            index: the input's number.
        """
        if not self._is_conv:
            flat = x.reshape(-1, x.shape[-1])
            return flat[self._positions(len(flat), index)][None]
        positions = self._positions(x.shape[0] * math.prod(self._outer), index)
        sample, *outer = np.unravel_index(positions, (x.shape[0], *self._outer))
        places, inside = self._places(outer, x.shape[2:])
        pixels = x.reshape(*x.shape[:2], -1)[sample[:, None], :, places]
        if not inside.all():
            pixels[~inside] = 0
        groups = self._linear.groups
        if groups == 1:
            return pixels.reshape(1, len(positions), -1)
        rows = pixels.reshape(*places.shape, groups, -1).transpose(2, 0, 1, 3)
        return rows.reshape(groups, len(positions), -1)

    def _positions(self, total: int, index: int) -> np.ndarray:
        if total <= self._rows:
            return np.arange(total)
        steps = np.arange(index * self._rows, (index + 1) * self._rows, dtype=np.float64)
        found: np.ndarray = np.floor(steps * _GOLDEN % 1.0 * total).astype(np.int64)
        return found

    def _places(
        self, outer: list[np.ndarray], sizes: tuple[int, ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return (positions, taps): where in the flat space each tap reads, and whether inside."""
        kernel = np.ravel(self._window["kernel_shape"])
        taps = np.indices(kernel).reshape(len(kernel), -1)
        place = np.zeros((len(outer[0]), taps.shape[1]), np.int64)
        inside = np.ones(place.shape, bool)
        strides, dilations, pads = (
            np.ravel(self._window[name]) for name in ("strides", "dilations", "pads")
        )
        for axis, size in enumerate(sizes):
            read = outer[axis][:, None] * strides[axis] + taps[axis] * dilations[axis] - pads[axis]
            inside &= (read >= 0) & (read < size)
            place = place * size + np.clip(read, 0, size - 1)
        return place, inside


#: The fractional part of the golden ratio: its multiples spread most evenly over the unit interval.
_GOLDEN = (math.sqrt(5) - 1) / 2
