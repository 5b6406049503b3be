"""Fold batch normalization, and other constants per channel, into the operators beside them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from .. import affine, provenance
from ..affine import Affine
from ..editing import Editor
from ..integer_constants import integer_constant
from ..matching import array_of, is_op, nodes_of, shape_of, sole_user


@dataclasses.dataclass(frozen=True)
class _Step:
    """A node that is affine per channel in its input `index`."""

    node: ir.Node
    index: int
    effect: Affine


@dataclasses.dataclass(frozen=True)
class FoldBatchNorm(ir.passes.InPlacePass):
    """Fold what scales and shifts channels into the weight and bias of a Conv, ConvTranspose, Gemm.

    Folded are BatchNormalization in inference and Add, Sub, Mul, Div with a constant per channel:
    those that follow the operator, then those before it (shifts only where it pads nothing), also
    through Transposes. Values in between must have no other use, and weight and bias be constant.
    A weight that is stored as integers stays so: only what shifts channels is folded, and that
    where there is no bias of integers. A BatchNormalization that remains becomes Mul and Add with
    constants.

    Attributes:
        growth: bytes; how much the pass may add to the model's constants, which grow where nodes
            that share a weight are scaled differently.
    """

    growth: int = 16 << 20

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        edit = Editor(model)
        for node in nodes_of(model):
            if is_op(node, *affine.LINEAR) and integer_constant(node.inputs[1]) is not None:
                _fold_shifts(node, edit)
            elif is_op(node, *affine.LINEAR):
                self._fold_following(node, edit)
                self._fold_preceding(node, edit)
        for node in nodes_of(model):
            if is_op(node, "BatchNormalization"):
                _decompose(node, edit)
        return edit.result(model)

    def _fold_following(self, linear: ir.Node, edit: Editor) -> None:
        """s (W x + b) + t = (s W) x + (s b + t)"""
        weight, bias = array_of(linear.inputs[1]), _bias_of(linear)
        if weight is None or bias is None:
            return
        steps, total = [], None
        for step in _following(linear):
            steps.append(step)
            total = step.effect if total is None else step.effect.after(total)
        if total is None:
            return
        factor = affine.output_factor(linear, weight, total.scale)
        new_bias = total.scale * bias + total.offset
        if self._rewrite(linear, weight, factor, new_bias, edit):
            _absorb(linear, [linear, *(step.node for step in steps)], steps, edit)

    def _fold_preceding(self, linear: ir.Node, edit: Editor) -> None:
        """W (s x + t) + b = (W s) x + (W t + b)"""
        weight, bias = array_of(linear.inputs[1]), _bias_of(linear)
        if weight is None or bias is None:
            return
        steps: list[_Step] = []
        total = None
        for step in _preceding(linear):
            composed = step.effect if total is None else total.after(step.effect)
            if composed.offset.any() and not affine.takes_offset(linear):
                break
            steps.append(step)
            total = composed
        if total is None:
            return
        factor = affine.input_factor(linear, weight, total.scale)
        if total.offset.any():
            bias = bias + affine.output_offset(linear, weight, total.offset)
        if self._rewrite(linear, weight, factor, bias, edit):
            _absorb(linear, [*(step.node for step in reversed(steps)), linear], steps, edit)

    def _rewrite(
        self,
        linear: ir.Node,
        weight: np.ndarray,
        factor: np.ndarray,
        bias: np.ndarray,
        edit: Editor,
    ) -> bool:
        """Give the operator weight * factor and the bias; False if that cannot be or grows much."""
        old = linear.inputs[1]
        with np.errstate(over="ignore"):
            rounded = bias.astype(weight.dtype)
        if old is None or not np.isfinite(rounded).all():
            return False
        if np.any(factor != 1):
            grown = 0 if sole_user(old) is linear else weight.nbytes
            product = None if edit.grown + grown > self.growth else affine.scaled(weight, factor)
            if product is None:
                return False
            edit.set_input(linear, 1, edit.constant(linear, "weight", product, old.dtype))
        if rounded.any() or (len(linear.inputs) > 2 and linear.inputs[2] is not None):
            edit.set_input(linear, 2, edit.constant(linear, "bias", rounded, old.dtype))
            linear.attributes.pop("beta", None)
        return True


def _fold_shifts(linear: ir.Node, edit: Editor) -> None:
    """Fold what is added behind the operator into its bias; the weight is integers, and stays."""
    bias, steps = _bias_of(linear), []
    if bias is None or linear.inputs[0] is None:
        return
    for step in _following(linear):
        if np.any(step.effect.scale != 1):
            break
        steps.append(step)
        bias = bias + step.effect.offset
    dtype = linear.inputs[0].dtype
    with np.errstate(over="ignore"):
        rounded = bias if dtype is None else bias.astype(dtype.numpy())
    if steps and np.isfinite(rounded).all():
        edit.set_input(linear, 2, edit.constant(linear, "bias", rounded, dtype))
        linear.attributes.pop("beta", None)
        _absorb(linear, [linear, *(step.node for step in steps)], steps, edit)


def _following(linear: ir.Node) -> Iterator[_Step]:
    """Yield the affine nodes after the operator, the nearest first."""
    value, axis = linear.outputs[0], 1
    while (user := sole_user(value)) is not None:
        if is_op(user, "Transpose"):
            axis = _permutation(user).index(axis)
        else:
            found = affine.affine_of(user, value, axis)
            if found is None:
                return
            yield _Step(user, list(user.inputs).index(value), found)
        value = user.outputs[0]


def _preceding(linear: ir.Node) -> Iterator[_Step]:
    """Yield the affine nodes before the operator, the nearest first."""
    value, axis = linear.inputs[0], 1
    if linear.attributes.get_int("transA", 0):
        return
    while value is not None and sole_user(value) is not None:
        node = value.producer()
        if node is None:
            return
        if is_op(node, "Transpose"):
            axis = _permutation(node)[axis]
            value = node.inputs[0]
            continue
        step = next(_steps(node, axis), None)
        if step is None:
            return
        yield step
        value = node.inputs[step.index]


def _steps(node: ir.Node, axis: int) -> Iterator[_Step]:
    """Yield the inputs, at most one in a folded graph, in which the node is affine."""
    for index, value in enumerate(node.inputs[:2]):
        if value is not None and (found := affine.affine_of(node, value, axis)) is not None:
            yield _Step(node, index, found)


def _permutation(node: ir.Node) -> tuple[int, ...]:
    rank = len(shape_of(node.inputs[0]) or ())
    return tuple(node.attributes.get_ints("perm", tuple(reversed(range(rank)))))


def _bias_of(linear: ir.Node) -> np.ndarray | None:
    """Return the bias, one float64 a channel, zeros if there is none; None if it is not that."""
    shape = shape_of(linear.outputs[0])
    if shape is None:
        return None
    value = linear.inputs[2] if len(linear.inputs) > 2 else None
    if value is None:
        return np.zeros(shape[1])
    if linear.op_type != "Gemm":
        return affine.vector_of(value, shape[1:2], 0)
    vector = affine.vector_of(value, shape, 1)
    return None if vector is None else linear.attributes.get_float("beta", 1.0) * vector


def _absorb(linear: ir.Node, sources: list[ir.Node], steps: list[_Step], edit: Editor) -> None:
    provenance.record(linear, sources)
    for step in steps:
        value = step.node.inputs[step.index]
        if value is not None:
            edit.bypass(step.node.outputs[0], value)


def _decompose(node: ir.Node, edit: Editor) -> None:
    """Replace a BatchNormalization by a Mul and an Add; only one of them if that is enough."""
    value = node.inputs[0]
    shape, found = shape_of(value), affine.affine_of(node, value, 1) if value else None
    if value is None or shape is None or found is None:
        return
    dims = (-1, *[1] * (len(shape) - 2))
    scale = edit.constant(node, "scale", found.scale.reshape(dims), value.dtype)
    if not found.offset.any():
        edit.replace(node, "Mul", [value, scale])
        return
    product = edit.insert(
        node, "Mul", [value, scale], name="scaled", dtype=value.dtype, shape=shape
    )
    offset = edit.constant(node, "offset", found.offset.reshape(dims), value.dtype)
    edit.replace(node, "Add", [product, offset])
