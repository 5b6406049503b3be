"""Linear nodes as matrices: y = Wᵀ x + b for every group of channels and position.

A convolution is a matrix product of its windows (im2col; Chellapilla et al., "High Performance
Convolutional Neural Networks for Document Processing", 2006). What is summed for one output are
its columns: the channels of its group, each with its taps.
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
        return int(self.weight.size) // max(int(self.weight.shape[self.axis]), 1)

    def matrix(self, array: np.ndarray) -> np.ndarray:
        """Return an array of the weight's shape as float64 (groups, columns, group outputs)."""
        weight = array.astype(np.float64)
        if self.node.op_type != "Conv":
            return (weight.T if self.axis == 0 else weight)[None]
        rows = weight.reshape(self.groups, len(weight) // self.groups, -1)
        matrices: np.ndarray = rows.transpose(0, 2, 1)
        return matrices

    def like_weight(self, matrix: np.ndarray) -> np.ndarray:
        """Return what `matrix` was made of: the way back."""
        if self.node.op_type != "Conv":
            return np.asarray(matrix[0].T if self.axis == 0 else matrix[0])
        return matrix.transpose(0, 2, 1).reshape(self.weight.shape)


#: The axis of the weight that counts output channels. Of a ConvTranspose it counts those of one
#: group: the groups share scales.
_AXES = {"Conv": 0, "ConvTranspose": 1, "Gemm": 0, "MatMul": -1}


class Windows:
    """The inputs that a linear node multiplies with its matrix, at chosen positions.

    Args:
        linear: one that `is_matrix`.
        positions: how many to take of each input; all of them if there are no more.
    """

    def __init__(self, linear: Linear, positions: int) -> None:
        self._linear, self._most = linear, positions
        self._is_conv = linear.node.op_type == "Conv"
        if self._is_conv:
            window = window_attributes(linear.node) or {}
            self._kernel, self._strides, self._dilations, self._pads = (
                np.ravel(window[name]) for name in ("kernel_shape", "strides", "dilations", "pads")
            )
            self._outer = (shape_of(linear.node.outputs[0]) or ())[2:]

    def of(self, x: np.ndarray, index: int) -> np.ndarray:
        """Return an array (groups, columns, positions), a copy.

        The positions are spread evenly, by a Kronecker sequence, and differ from one input to the
        next; zeros of the padding are among the columns as the operator sees them.

        Args:
            x: the node's input.
            index: the input's number.
        """
        if not self._is_conv:
            flat = x.reshape(-1, x.shape[-1])
            return np.ascontiguousarray(flat[_spread(len(flat), self._most, index)].T)[None]
        samples, channels, *sizes = x.shape
        most = -(-self._most // samples)
        outer = np.unravel_index(_spread(math.prod(self._outer), most, index), self._outer)
        places, inside = self._places(outer, sizes)
        taken = np.take(x.reshape(samples, channels, -1), places, axis=2, mode="clip")
        if not inside.all():
            taken *= inside
        groups, length = self._linear.groups, places.shape[1]
        # One sample, the usual case, is a view.
        columns = np.moveaxis(taken.reshape(samples, -1, length), 0, 1)
        return columns.reshape(groups, -1, samples * length)

    def _places(
        self, outer: tuple[np.ndarray, ...], sizes: list[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return (taps, positions): where in the flat space each tap reads, and whether inside."""
        place: np.ndarray = np.zeros((1, len(outer[0])), np.int64)
        inside = np.ones_like(place, bool)
        for axis, size in enumerate(sizes):
            taps = np.arange(self._kernel[axis]) * self._dilations[axis] - self._pads[axis]
            read = outer[axis] * self._strides[axis] + taps[:, None]
            within = (read >= 0) & (read < size)
            place = place[:, None] * size + np.clip(read, 0, size - 1)
            inside = inside[:, None] & within
            place, inside = (array.reshape(-1, len(outer[0])) for array in (place, inside))
        return place, inside


def _spread(total: int, most: int, index: int) -> np.ndarray:
    """Return positions among `total`: the next `most` of a Kronecker sequence, or all."""
    if total <= most:
        return np.arange(total)
    steps = np.arange(index * most, (index + 1) * most, dtype=np.float64)
    found: np.ndarray = np.floor(steps * _GOLDEN % 1.0 * total).astype(np.int64)
    return found


#: The fractional part of the golden ratio: its multiples spread most evenly over the unit interval.
_GOLDEN = (math.sqrt(5) - 1) / 2
