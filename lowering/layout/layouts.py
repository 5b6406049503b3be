"""Layouts of tensors, and how a node is made to work in another layout.

A *layout* is a permutation of a tensor's axes: the tensor stored in layout `p` is
``transpose(tensor, p)``, so that ``stored.shape[i] == tensor.shape[p[i]]``. The identity is the
layout in which the graph gives the tensor.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import onnx_ir as ir

from ..attributes import attribute
from ..editing import Editor
from ..matching import array_of, is_op, shape_of

Layout = tuple[int, ...]
T = TypeVar("T")


def identity(rank: int) -> Layout:
    """Return the layout that changes nothing."""
    return tuple(range(rank))


def is_identity(layout: Layout) -> bool:
    """Whether the layout changes nothing."""
    return layout == identity(len(layout))


def invert(layout: Layout) -> Layout:
    """Return the layout that undoes `layout`."""
    return tuple(layout.index(axis) for axis in range(len(layout)))


def compose(first: Layout, then: Layout) -> Layout:
    """Return the one layout that equals `first` and, on its result, `then`."""
    return tuple(first[axis] for axis in then)


def permuted(items: Sequence[T], layout: Layout) -> tuple[T, ...]:
    """Return what belongs to each axis (sizes, pads, scales), in the order of the layout."""
    return tuple(items[axis] for axis in layout)


def order_of(shape: Sequence[int], layout: Layout) -> Layout:
    """Return the order of the axes wider than 1: layouts that agree in it store the same bytes."""
    return tuple(axis for axis in layout if shape[axis] != 1)


def keeps_order(shape: Sequence[int], layout: Layout) -> bool:
    """Whether the stored bytes stay as they are: only axes of size 1 change places."""
    return order_of(shape, layout) == order_of(shape, identity(len(shape)))


def permutation(node: ir.Node | None) -> Layout | None:
    """Return the permutation of a Transpose; None if the node is not one, or its rank unknown."""
    if node is None or not is_op(node, "Transpose"):
        return None
    if "perm" in node.attributes:
        return tuple(node.attributes["perm"].as_ints())
    shape = shape_of(node.inputs[0])
    return None if shape is None else tuple(reversed(range(len(shape))))


def source(value: ir.Value) -> tuple[ir.Value, Layout]:
    """Return the value before all transposes, and the layout of it that `value` is."""
    layout = identity(len(shape_of(value) or ()))
    while (node := value.producer()) is not None and (step := permutation(node)) is not None:
        before = node.inputs[0]
        if before is None:
            break
        value, layout = before, compose(step, layout)
    return value, layout


@dataclasses.dataclass(frozen=True)
class Move:
    """How one node works in another layout, its numbers unchanged.

    Attributes:
        inputs: the layout it then reads each input in; None: the input stays as it is.
        outputs: the layout it then gives each output in.
        attributes: those that change.
        constants: inputs that are parameters (axes, pads), and what they become.
    """

    inputs: tuple[Layout | None, ...]
    outputs: tuple[Layout, ...]
    attributes: Mapping[str, int | tuple[int, ...]] = dataclasses.field(default_factory=dict)
    constants: Mapping[int, np.ndarray] = dataclasses.field(default_factory=dict)


def apply(editor: Editor, node: ir.Node, move: Move) -> None:
    """Make the node work in another layout, between transposes that undo it."""
    for index, layout in enumerate(move.inputs):
        value = node.inputs[index]
        if value is not None and layout is not None and not is_identity(layout):
            editor.set_input(node, index, _transposed(editor, node, value, layout))
    for index, array in move.constants.items():
        editor.set_input(node, index, editor.constant(node, f"input_{index}", array))
    for name, plain in move.attributes.items():
        node.attributes.add(attribute(name, plain))
    for value, layout in zip(node.outputs, move.outputs, strict=True):
        shape = shape_of(value)
        if shape is not None and not is_identity(layout):
            perm = {"perm": attribute("perm", invert(layout))}
            name = f"{value.name}/transpose"
            editor.interpose(value, "Transpose", perm, name=name, shape=shape)
            value.shape = ir.Shape(permuted(shape, layout))
    editor.modified = True


def _transposed(editor: Editor, node: ir.Node, value: ir.Value, layout: Layout) -> ir.Value:
    """Return the value in a layout: a new constant, or the output of a new Transpose."""
    array = array_of(value)
    if array is not None:
        return editor.constant(node, "transposed", transposed_constant(array, layout), value.dtype)
    return editor.insert(
        node,
        "Transpose",
        [value],
        {"perm": attribute("perm", layout)},
        name="transpose",
        dtype=value.dtype,
        shape=permuted(shape_of(value) or (), layout),
    )


def transposed_constant(array: np.ndarray, layout: Layout) -> np.ndarray:
    """Return a constant in the layout of the tensor it is broadcast to.

    One of a lower rank than that tensor gets no needless axes of size 1 in front.
    """
    missing = len(layout) - array.ndim
    full = array.reshape((1,) * missing + array.shape).transpose(layout)
    if missing:
        wide = [axis for axis, size in enumerate(full.shape) if size != 1]
        full = full.reshape(full.shape[min(wide, default=full.ndim) :])
    return np.ascontiguousarray(full)
