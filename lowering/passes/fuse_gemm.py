"""Bring fully connected layers to one form: Gemm."""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
import onnx_ir as ir

from .. import affine
from ..editing import Editor
from ..integer_constants import IntegerConstant, integer_constant
from ..matching import (
    TOLERANCES,
    array_of,
    is_interior,
    is_op,
    nodes_of,
    other_input,
    shape_of,
    sole_user,
)

#: The attributes of Gemm that concern the product, not what is added to it.
_PRODUCT: Final = ("alpha", "transA", "transB")


@dataclasses.dataclass(frozen=True)
class _Product:
    """alpha A B + beta C, with A and B turned or not, as a node states it."""

    node: ir.Node
    a: ir.Value
    b: ir.Value
    c: ir.Value | None = None
    turned_a: bool = False
    turned_b: bool = False
    alpha: float = 1.0
    beta: float = 1.0


@dataclasses.dataclass(frozen=True)
class FuseGemm(ir.passes.InPlacePass):
    """Turn matrix products with a constant into Gemm in normal form, every other Gemm into MatMul.

    The normal form is y = x wᵀ + b: x of shape [M, K], a constant w of shape [N, K] and, if there
    is one, a constant b of shape [N]; transB = 1, transA = 0, alpha = beta = 1 (folded into w and
    b). The weight lies as [N, K] because then the numbers of one output are neighbours: it is how
    PyTorch stores a Linear layer, what TFLite's FULLY_CONNECTED takes, and one row is what one
    unit of an FPGA reads. A turned weight is a view of the old one, not a copy. A constant may be
    stored as integers behind a DequantizeLinear, and stays so.

    MatMul is rewritten where x has two dimensions; an Add or Sub of one constant a column that
    follows, with no other use in between, becomes the bias. A Gemm of a variable matrix becomes
    MatMul, with Transpose, Mul and Add as needed, and so does one of a constant that other
    operators need as it lies, if the model's constants would grow too much.

    Attributes:
        growth: bytes; how much the pass may add to the model's constants.
    """

    growth: int = 16 << 20

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        edit = Editor(model)
        weights: Weights = {}
        for node in nodes_of(model):
            product = _product_of(node)
            if product is None:
                continue
            if product.c is not None and not _has_constant_bias(product):
                product = _split(product, product.c, edit)
            weight = self._weight(product, weights, edit)
            if weight is not None:
                _to_normal_form(product, weight, edit)
            elif product.node.op_type == "Gemm":
                _to_matmul(product, edit)
        return edit.result(model)

    def _weight(self, product: _Product, weights: Weights, edit: Editor) -> ir.Value | None:
        """Return alpha B as a constant [N, K]; None if B is variable or it costs too much."""
        node, value, turned = product.node, product.b, product.turned_b
        users = [node]
        producer = value.producer()
        if producer is not None and _swaps(producer):
            users = [node, producer] if sole_user(value) is node else []
            value, turned = producer.inputs[0] or value, not turned
        figures: Constant | None = array_of(value)
        figures = integer_constant(value) if figures is None else figures
        if figures is None:
            return None
        if turned and product.alpha == 1:
            return value
        key = (value, turned, product.alpha, node.graph)
        if key not in weights:
            if not is_interior(value, users) and edit.grown + figures.nbytes > self.growth:
                return None
            if not turned:
                figures = figures.transpose((1, 0))
            if product.alpha != 1:
                figures = _times(figures, product.alpha)
            if figures is None:
                return None
            weights[key] = _written(figures, "weight", value.dtype, node, edit)
        return weights[key]


Constant = np.ndarray | IntegerConstant

Weights = dict[tuple[ir.Value, bool, float, ir.Graph | ir.Function | None], ir.Value]


def _times(figures: Constant, factor: float) -> Constant | None:
    if isinstance(figures, IntegerConstant):
        return figures.scaled(factor)
    return affine.scaled(figures, np.array(factor))


def _written(
    figures: Constant, name: str, dtype: ir.DataType | None, before: ir.Node, edit: Editor
) -> ir.Value:
    if isinstance(figures, IntegerConstant):
        return figures.insert(edit, before, name)
    return edit.constant(before, name, figures, dtype)


def _swaps(node: ir.Node) -> bool:
    return is_op(node, "Transpose") and node.attributes.get_ints("perm", (1, 0)) == (1, 0)


def _product_of(node: ir.Node) -> _Product | None:
    if not is_op(node, "Gemm", "MatMul") or node.inputs[0] is None or node.inputs[1] is None:
        return None
    a, b, *rest = node.inputs
    ranks = [len(shape_of(value) or ()) for value in (a, b)]
    if a is None or b is None or ranks != [2, 2] or a.dtype not in TOLERANCES:
        return None
    if node.op_type == "MatMul":
        return _Product(node, a, b)
    attributes = node.attributes
    return _Product(
        node,
        a,
        b,
        rest[0] if rest else None,
        attributes.get_int("transA", 0) != 0,
        attributes.get_int("transB", 0) != 0,
        attributes.get_float("alpha", 1.0),
        attributes.get_float("beta", 1.0),
    )


def _vector_of(product: _Product) -> np.ndarray | None:
    """Return beta C as one float64 a column, if it is a constant that is the same in every row."""
    shape = shape_of(product.node.outputs[0])
    vector = affine.vector_of(product.c, shape, 1) if shape is not None else None
    return None if vector is None else product.beta * vector


def _stored_vector(value: ir.Value | None, product: _Product) -> IntegerConstant | None:
    """Return a constant that is stored as integers, if it is one number a column of the result."""
    found, columns = integer_constant(value), (shape_of(product.node.outputs[0]) or ())[1:]
    if found is None or value is None or value.dtype != product.a.dtype:
        return None
    return found.reshaped(columns) if shape_of(value) in (columns, (1, *columns)) else None


def _has_constant_bias(product: _Product) -> bool:
    return _vector_of(product) is not None or _stored_bias(product) is not None


def _stored_bias(product: _Product) -> IntegerConstant | None:
    """Return beta C, if C is stored as integers."""
    found = _stored_vector(product.c, product)
    return found if found is None or product.beta == 1 else found.scaled(product.beta)


def _to_normal_form(product: _Product, weight: ir.Value, edit: Editor) -> None:
    node = product.node
    bias: Constant | None = _stored_bias(product)
    shifts: list[ir.Node] = []
    if bias is None:
        bias, shifts = _bias_behind(product)
    if not shifts and _is_normal(product) and weight is product.b:
        return
    root = shifts[-1] if shifts else node
    inputs = [_turned(product.a, node, edit) if product.turned_a else product.a, weight]
    if bias is not None:
        near = root if isinstance(bias, IntegerConstant) else node
        inputs.append(_written(bias, "bias", product.a.dtype, near, edit))
    constants = [product.b, product.c, *(value for shift in shifts for value in shift.inputs)]
    replaced = [
        value.producer() for value in constants if value is not None and value not in inputs
    ]
    absorbed = [node, *shifts, *(item for item in replaced if item is not None)]
    edit.replace(root, "Gemm", inputs, {"transB": 1}, absorbed=absorbed, name=node.name)


def _is_normal(product: _Product) -> bool:
    columns = (shape_of(product.node.outputs[0]) or ())[1:]
    is_vector = product.c is None or shape_of(product.c) == columns
    is_plain = product.alpha == product.beta == 1 and not product.turned_a
    return product.node.op_type == "Gemm" and is_plain and product.turned_b and is_vector


def _bias_behind(product: _Product) -> tuple[Constant | None, list[ir.Node]]:
    """Return beta C with what Adds and Subs behind the product add to it, and those nodes.

    Each alone uses what came before. Integers are taken as they are, nothing is added to them.
    """
    bias, value, nodes = _vector_of(product), product.node.outputs[0], list[ir.Node]()
    while (user := sole_user(value)) is not None and is_op(user, "Add", "Sub"):
        found = affine.affine_of(user, value, 1)
        if found is None or np.any(found.scale != 1):
            break
        bias = found.offset if bias is None else bias + found.offset
        nodes.append(user)
        value = user.outputs[0]
    if bias is None and user is not None and is_op(user, "Add"):
        stored = _stored_vector(other_input(user, value), product)
        if stored is not None and shape_of(user.outputs[0]) == shape_of(value):
            return stored, [user]
    return bias, nodes


def _split(product: _Product, c: ir.Value, edit: Editor) -> _Product:
    """Let an Add of beta C follow the product; return the product without it."""
    node = product.node
    kept = {name: node.attributes[name] for name in _PRODUCT if name in node.attributes}
    value = edit.insert(
        node,
        "Gemm",
        [product.a, product.b],
        kept,
        name="product",
        dtype=product.a.dtype,
        shape=shape_of(node.outputs[0]),
    )
    addend = c if product.beta == 1 else _scaled(c, product.beta, "beta", node, edit)
    edit.replace(node, "Add", [value, addend])
    return dataclasses.replace(product, node=value.producer() or node, c=None, beta=1.0)


def _to_matmul(product: _Product, edit: Editor) -> None:
    node, bias = product.node, _stored_bias(product)
    figures: Constant | None = _vector_of(product) if bias is None else bias
    a = _turned(product.a, node, edit) if product.turned_a else product.a
    b = _turned(product.b, node, edit) if product.turned_b else product.b
    if product.alpha != 1:
        a = _scaled(a, product.alpha, "alpha", node, edit)
    if figures is None:
        edit.replace(node, "MatMul", [a, b])
        return
    shape = shape_of(node.outputs[0])
    value = edit.insert(node, "MatMul", [a, b], name="product", dtype=a.dtype, shape=shape)
    edit.replace(node, "Add", [value, _written(figures, "bias", a.dtype, node, edit)])


def _turned(value: ir.Value, before: ir.Node, edit: Editor) -> ir.Value:
    shape = tuple(reversed(shape_of(value) or ()))
    return edit.insert(
        before,
        "Transpose",
        [value],
        {"perm": (1, 0)},
        name="turned",
        dtype=value.dtype,
        shape=shape,
    )


def _scaled(value: ir.Value, factor: float, name: str, before: ir.Node, edit: Editor) -> ir.Value:
    constant = edit.constant(before, name, np.array(factor), value.dtype)
    return edit.insert(
        before, "Mul", [value, constant], name="scaled", dtype=value.dtype, shape=shape_of(value)
    )
