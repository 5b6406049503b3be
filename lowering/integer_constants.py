"""Constants that are stored as integers: DequantizeLinear of a constant, as weights have it.

Such a constant can be put in another layout or shape as any other: its integers are, and the axis
of its scales follows.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import onnx_ir as ir

from .editing import Editor
from .layout.layouts import Layout, permutation
from .matching import array_of, is_op, shape_of
from .scales import scales_of

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray | None]


@dataclasses.dataclass(frozen=True, eq=False)
class IntegerConstant:
    """scale x (integers - zero point).

    Attributes:
        node: the DequantizeLinear that says it.
        given: its inputs.
        integers: an array of any shape.
        scale, zero: scalars; or vectors along `axis`; or, where they are for blocks along `axis`,
            of the rank of the integers. `zero` is None for 0.
        axis: None for scalars.
    """

    node: ir.Node
    given: Arrays
    integers: np.ndarray
    scale: np.ndarray
    zero: np.ndarray | None
    axis: int | None

    @property
    def is_blocked(self) -> bool:
        """Whether there is one scale for a block of elements."""
        return self.node.attributes.get_int("block_size", 0) != 0

    @property
    def nbytes(self) -> int:
        """The bytes of the integers, as they are stored."""
        value = self.node.inputs[0]
        return 0 if value is None or value.const_value is None else value.const_value.nbytes

    def transpose(self, layout: Layout) -> IntegerConstant:
        """Return the constant in another layout."""
        axis = None if self.axis is None else layout.index(self.axis)
        scale, zero = self.scale, self.zero
        if self.is_blocked:
            scale = scale.transpose(layout)
            zero = None if zero is None else zero.transpose(layout)
        return dataclasses.replace(
            self, integers=self.integers.transpose(layout), scale=scale, zero=zero, axis=axis
        )

    def reshaped(self, shape: Sequence[int]) -> IntegerConstant | None:
        """Return the constant in another shape; None where the axis of its scales is lost."""
        axis = self.axis
        if axis is not None:
            size, before = self.integers.shape[axis], math.prod(self.integers.shape[:axis])
            places = (
                place
                for place, length in enumerate(shape)
                if length == size and math.prod(shape[:place]) == before
            )
            axis = next(places, None)
            if axis is None or self.is_blocked:
                return None
        return dataclasses.replace(self, integers=self.integers.reshape(shape), axis=axis)

    def reordered(self, axis: int, order: np.ndarray) -> IntegerConstant | None:
        """Return the constant with the positions of an axis in another order; None for blocks."""
        if self.is_blocked:
            return None
        scale, zero = self.scale, self.zero
        if axis == self.axis:
            scale, zero = scale[order], None if zero is None else zero[order]
        integers = np.take(self.integers, order, axis)
        return dataclasses.replace(self, integers=integers, scale=scale, zero=zero)

    def scaled(self, factor: float) -> IntegerConstant | None:
        """Return the constant times a number; None if it is not one for float32 scales to say."""
        if self.scale.dtype != np.float32:
            return None
        with np.errstate(over="ignore", under="ignore"):
            scale = np.asarray(self.scale * np.float64(factor)).astype(np.float32)
        if not (np.isfinite(scale).all() and (scale >= np.finfo(np.float32).tiny).all()):
            return None
        return dataclasses.replace(self, scale=scale)

    def insert(self, edit: Editor, before: ir.Node, name: str) -> ir.Value:
        """Insert the constant before a node; parts that have not changed are shared."""
        arrays = (self.integers, self.scale, self.zero)
        names = ("integers", "scale", "zero_point")
        inputs = list(self.node.inputs)
        for index, value in enumerate(self.node.inputs):
            array = arrays[index]
            if value is not None and array is not None and array is not self.given[index]:
                part = f"{name}_{names[index]}"
                inputs[index] = edit.constant(before, part, array, value.dtype)
        attributes = dict(self.node.attributes)
        attributes.pop("axis", None)
        if self.axis is not None:
            attributes["axis"] = ir.AttrInt64("axis", self.axis)
        return edit.insert(
            before,
            "DequantizeLinear",
            inputs,
            attributes,
            name=name,
            dtype=self.node.outputs[0].dtype,
            shape=self.integers.shape,
        )


def integer_constant(value: ir.Value | None) -> IntegerConstant | None:
    """Return what a DequantizeLinear of constants says; None if the value is not given by one."""
    node = value.producer() if value is not None else None
    if node is None or not is_op(node, "DequantizeLinear"):
        return None
    integers, found = array_of(node.inputs[0]), scales_of(node)
    if integers is None or found is None:
        return None
    scale, zero = found.scale, found.zero
    if zero is not None and zero.size != scale.size:
        return None
    given = (integers, scale, zero)
    if found.is_single:
        point = None if zero is None else _scalar(zero)
        return IntegerConstant(node, given, integers, _scalar(scale), point, None)
    if found.axis is None:
        return None
    return IntegerConstant(node, given, *given, found.axis)


#: Operators that move the elements of a tensor, all of them.
MOVING: Final = ("Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


def moved_constant(node: ir.Node) -> IntegerConstant | None:
    """Return the constant that a node of `MOVING` gives, if it moves one stored as integers."""
    constant, shape = integer_constant(node.inputs[0]), shape_of(node.outputs[0])
    if constant is None or shape is None:
        return None
    layout = permutation(node)
    return constant.transpose(layout) if layout is not None else constant.reshaped(shape)


def _scalar(array: np.ndarray) -> np.ndarray:
    return array if array.ndim == 0 else array.reshape(())
