"""What TVM cannot take, or would compute wrongly: every such node, with the reason."""

from __future__ import annotations

import onnx_ir as ir

from ...errors import Problem
from .converters import CONVERTERS


def check(model: ir.Model) -> list[Problem]:
    """Return a problem for each node of the lowered model that has no converter."""
    return [
        Problem(f"node {node.name!r}", f"TVM cannot take the operator {node.op_type!r}")
        for node in model.graph
        if (node.domain, node.op_type) not in CONVERTERS
    ]
