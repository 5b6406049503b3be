"""All operators of our own domain: which there are, and that a model defines those it uses."""

from __future__ import annotations

import functools

import onnx_ir as ir

from . import integer
from .layout import nhwc
from .opset import DOMAIN

Operator = nhwc.Operator | integer.Operator


@functools.cache
def operators() -> dict[str, Operator]:
    """Return every operator of our domain by name."""
    return {**nhwc.operators(), **integer.operators()}


def is_own(node: ir.Node) -> bool:
    """Whether the node is one of our operators."""
    return node.domain == DOMAIN and node.op_type in operators()


def is_definition(function: ir.Function) -> bool:
    """Whether a function is the definition of the operator it is named after."""
    return _text(function) == _wanted(function.name)


@functools.cache
def _wanted(name: str) -> bytes:
    return _text(operators()[name].definition())


def _text(function: ir.Function) -> bytes:
    return bytes(ir.serde.serialize_function(function).SerializeToString(deterministic=True))


def define_used(model: ir.Model) -> bool:
    """Let the model define exactly those of our operators that its graph uses, ordered by name.

    Returns:
        Whether the model was changed.
    """
    used = sorted({node.op_type for node in model.graph if is_own(node)})
    present = [key for key in model.functions if key[0] == DOMAIN]
    if present == [(DOMAIN, name, "") for name in used]:
        return False
    for key in present:
        del model.functions[key]
    wanted = [operators()[name].definition() for name in used]
    model.functions.update({function.identifier(): function for function in wanted})
    if used:
        model.opset_imports[DOMAIN] = 1
    else:
        model.opset_imports.pop(DOMAIN, None)
    return True
