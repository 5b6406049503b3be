"""Recognise HardSigmoid and HardSwish where an exporter wrote them out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Final

import onnx_ir as ir

from ..editing import Editor
from ..matching import is_close, is_op, nodes_of, scalar_of, shape_of, sole_user
from ..polynomials import climb, read, term

#: The dtypes for which the reference, ONNX Runtime, has HardSigmoid.
_DTYPES: Final = (ir.DataType.FLOAT, ir.DataType.FLOAT16)


@dataclasses.dataclass(frozen=True)
class RestoreHardSwish(ir.passes.InPlacePass):
    """Turn Clip(x + 3, 0, 6) / 6, in any spelling, into HardSigmoid, and its product with x.

    HardSigmoid is Clip(alpha x + beta, 0, 1); recognised is any alpha with beta = 1/2. HardSwish
    is x HardSigmoid(x) with alpha = 1/6. No value in between may have another use.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        edit = Editor(model)
        for node in nodes_of(model):
            if is_op(node, "Clip", "HardSigmoid") and node.outputs[0].dtype in _DTYPES:
                _restore_first(list(_lines_of(node)), edit)
        return edit.result(model)


@dataclasses.dataclass(frozen=True)
class _Line:
    """Clip(slope x + offset, 0, high), where it is computed, and the arithmetic below it."""

    node: ir.Node
    x: ir.Value
    slope: float
    offset: float
    high: float
    below: tuple[ir.Node, ...]


def _lines_of(node: ir.Node) -> Iterator[_Line]:
    """Yield the ways to read the node: how much of the arithmetic below it belongs to it."""
    argument = node.inputs[0]
    if argument is None:
        return
    if node.op_type == "HardSigmoid":
        alpha, beta = (
            node.attributes.get_float("alpha", 0.2),
            node.attributes.get_float("beta", 0.5),
        )
        yield _Line(node, argument, alpha, beta, 1.0, ())
        return
    low, high = [scalar_of(value) for value in (*node.inputs[1:], None, None)[:2]]
    if low != 0 or high is None or high <= 0 or sole_user(argument) is not node:
        return
    for depth in (2, 1):
        found = read(argument, depth=depth)
        line = found.line() if found is not None else None
        if found is not None and line is not None:
            yield _Line(node, *line, high, found.nodes)


def _restore_first(lines: list[_Line], edit: Editor) -> None:
    for line in lines:
        if _restore(line, edit):
            return


def _restore(line: _Line, edit: Editor) -> bool:
    """Put one operator for it, if it is one; return whether."""
    x, result = line.x, line.node.outputs[0]
    if shape_of(x) is None or shape_of(x) != shape_of(result):
        return False
    below = [*line.below, line.node]
    sigmoid = (line.node, 1.0, below) if _is_sigmoid(line, 1.0) else None
    for outer in climb(result, (x, result)):
        root = outer.nodes[0]
        swish, gate = outer.terms.get(term(x, result)), outer.terms.get(term(result))
        if len(outer.terms) == 1 and swish is not None and _is_swish(line, swish):
            edit.replace(root, "HardSwish", [x], absorbed=[*below, *outer.nodes])
            return True
        if len(outer.terms) == 1 and gate is not None and _is_sigmoid(line, gate):
            sigmoid = root, gate, [*below, *outer.nodes]
    if sigmoid is None or line.node.op_type == "HardSigmoid":
        return False
    root, factor, absorbed = sigmoid
    form = {"alpha": line.slope * factor, "beta": 0.5}
    edit.replace(root, "HardSigmoid", [x], form, absorbed=absorbed)
    return True


def _is_sigmoid(line: _Line, factor: float) -> bool:
    """Whether factor * Clip(...) is a HardSigmoid."""
    dtype = line.x.dtype
    return is_close(line.high * factor, 1.0, dtype) and is_close(line.offset * factor, 0.5, dtype)


def _is_swish(line: _Line, factor: float) -> bool:
    """Whether x * factor * Clip(...) is HardSwish."""
    return _is_sigmoid(line, factor) and is_close(line.slope * factor, 1 / 6, line.x.dtype)
