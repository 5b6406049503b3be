"""Why a version of TensorRT does not take a node: every reason, by the published list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import onnx_ir as ir

from ....errors import Problem
from ....lowering.matching import nodes_of
from ...constraints import broken, place_of
from .operators import Table
from .restrictions import RULES

#: Operators whose data is not their first input, and the number of that which is; the list says
#: nothing of conditions, indices and shapes.
_DATA: Final = {"OneHot": 2, "Where": 1}

#: Operators whose data is their output.
_MAKERS: Final = (
    "BlackmanWindow", "ConstantOfShape", "EyeLike", "HammingWindow", "HannWindow", "If", "Loop",
    "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Scan",
)  # fmt: skip

#: Operators that lead from one dtype to another, both of which must be in the list.
_CASTS: Final = ("Cast", "CastLike")


def unsupported(model: ir.Model, table: Table) -> list[Problem]:
    """Return every node of a model that is not in the table, or that a restriction forbids."""
    return [problem for node in nodes_of(model) for problem in _of(node, table)]


def _of(node: ir.Node, table: Table) -> Iterator[Problem]:
    source = f"the list of operators for TensorRT {table.version}"
    dtypes = table.dtypes.get(node.op_type)
    if dtypes is None or node.domain != "":
        yield Problem(place_of(node), f"is not in {source}")
        return
    for value in _data(node):
        if value.dtype is not None and value.dtype not in dtypes:
            known = ", ".join(dtype.name for dtype in dtypes)
            what = f"{value.name!r} is {value.dtype.name}, which is not in {source}"
            yield Problem(place_of(node), what, f"it takes {known}")
    rules = [RULES[name] for name in table.restrictions.get(node.op_type, ())]
    for problem in broken(node, rules):
        yield Problem(problem.where, f"{problem.what}, against {source}", problem.fix)


def _data(node: ir.Node) -> Iterator[ir.Value]:
    """Yield the values whose dtypes the list is about."""
    if node.op_type in _MAKERS or node.op_type in _CASTS:
        yield from node.outputs
    if node.op_type not in _MAKERS:
        index = _DATA.get(node.op_type, 0)
        value = node.inputs[index] if index < len(node.inputs) else None
        if value is not None:
            yield value
