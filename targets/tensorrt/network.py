"""The network as the builder reads it: an ONNX file with the precision of every tensor in it."""

from __future__ import annotations

from typing import Final

import onnx_ir as ir

from ...errors import ModelError, Problem
from ..memo import per_model

#: A protobuf cannot be longer.
_LONGEST: Final = (2 << 30) - 1


@per_model
def onnx_of(model: ir.Model) -> bytes:
    """Return the file of a lowered model.

    Raises:
        ModelError: it does not fit into a protobuf.
    """
    size = sum(
        value.const_value.nbytes
        for value in model.graph.initializers.values()
        if value.const_value is not None
    )
    if size > _LONGEST:
        raise ModelError(
            "the network is too large for TensorRT-RTX",
            [Problem("weights", f"{size:,} bytes; an ONNX file holds at most {_LONGEST:,}")],
        )
    content: bytes = ir.to_proto(model).SerializeToString(deterministic=True)
    return content
