"""The pass ``window-global-max``."""

from __future__ import annotations

import dataclasses

import onnx_ir as ir

from .. import own_operators
from ..editing import Editor
from ..layout.nhwc import is_channels_last
from ..matching import is_op, shape_of


@dataclasses.dataclass(frozen=True)
class WindowGlobalMax(ir.passes.InPlacePass):
    """Write maxima over all of space as MaxPool with a window as large as that, in either layout.

    ONNX has MaxPool of integers, and no GlobalMaxPool: so integers can pass through.

    Requires: static shapes. Ensures: the same numbers.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        edit = Editor(model)
        for node in model.graph:
            shape, last = shape_of(node.inputs[0]) if node.inputs else None, is_channels_last(node)
            own = last and node.op_type.startswith("GlobalMaxPool")
            if shape is None or not (own or is_op(node, "GlobalMaxPool")):
                continue
            space = shape[1:-1] if last else shape[2:]
            attributes: dict[str, int | tuple[int, ...]] = {
                "ceil_mode": 0,
                "dilations": (1,) * len(space),
                "kernel_shape": space,
                "pads": (0,) * 2 * len(space),
                "strides": (1,) * len(space),
            }
            name = node.op_type.removeprefix("Global")
            edit.replace(node, name, [node.inputs[0]], attributes, domain=node.domain)
        changed = own_operators.define_used(model)
        return ir.passes.PassResult(model, edit.modified or changed)
