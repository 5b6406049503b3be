"""The operators outside ONNX that can be imported: those of ONNX Runtime's quantization.

Source: docs/ContribOperators.md of ONNX Runtime.
"""

from __future__ import annotations

from typing import Final

import onnx_ir as ir

DOMAIN: Final = "com.microsoft"

_INT: Final = ir.AttributeType.INT
_INTS: Final = ir.AttributeType.INTS
_FLOAT: Final = ir.AttributeType.FLOAT
_STRING: Final = ir.AttributeType.STRING

#: Operator -> its attributes and their types.
ATTRIBUTES: Final[dict[str, dict[str, ir.AttributeType]]] = {
    "DequantizeLinear": {"axis": _INT},
    "DynamicQuantizeMatMul": {},
    "MatMulIntegerToFloat": {},
    "MatMulNBits": {
        "K": _INT,
        "N": _INT,
        "accuracy_level": _INT,
        "bits": _INT,
        "block_size": _INT,
        "weight_prepacked": _INT,
    },
    "QGemm": {"alpha": _FLOAT, "transA": _INT, "transB": _INT},
    "QLinearAdd": {},
    "QLinearAveragePool": {
        "auto_pad": _STRING,
        "ceil_mode": _INT,
        "channels_last": _INT,
        "count_include_pad": _INT,
        "kernel_shape": _INTS,
        "pads": _INTS,
        "strides": _INTS,
    },
    "QLinearConcat": {"axis": _INT},
    "QLinearGlobalAveragePool": {"channels_last": _INT},
    "QLinearLeakyRelu": {"alpha": _FLOAT},
    "QLinearMul": {},
    "QLinearSigmoid": {},
    "QLinearSoftmax": {"axis": _INT, "opset": _INT},
    "QLinearWhere": {},
    "QuantizeLinear": {"axis": _INT},
}


def is_contributed(domain: str, op_type: str) -> bool:
    """Whether `contributed.said_in_onnx` knows the operator."""
    return domain == DOMAIN and op_type in ATTRIBUTES
